use super::{Explanation, ValueOf};
use crate::compose::load::tests::{files, request};
use crate::compose::{LoadRequest, Loaded, load};

fn loaded_by(mut request: LoadRequest, texts: &[(&str, &str)]) -> Loaded {
    request.options.provenance = true;
    match load(request, &files(texts)) {
        Ok(loaded) => loaded,
        Err(failure) => panic!("{failure}"),
    }
}

fn loaded(texts: &[(&str, &str)]) -> Loaded {
    loaded_by(request(), texts)
}

/// The trail in short: `file:line effect`.
fn short(explanation: &Explanation) -> Vec<String> {
    let steps = explanation.trail.iter().map(|step| match &step.place {
        Some(place) => format!("{}:{} {}", place.name, place.line, step.effect),
        None => step.effect.clone(),
    });
    steps.collect()
}

fn trail(texts: &[(&str, &str)], path: &str) -> Vec<String> {
    short(&loaded(texts).explain(path).unwrap())
}

/// `over` as the override file of `base`, both the attributes of one service.
fn over(base: &str, over: &str) -> [(&'static str, String); 2] {
    let file = |text: &str| format!("services:\n  web:\n    image: a\n    {text}\n");
    [("compose.yaml", file(base)), ("compose.override.yaml", file(over))]
}

fn trail_over(base: &str, above: &str, path: &str) -> Vec<String> {
    let texts = over(base, above);
    let texts: Vec<(&str, &str)> = texts.iter().map(|(name, text)| (*name, text.as_str())).collect();
    trail(&texts, &format!("services.web.{path}"))
}

#[test]
fn every_rule_of_the_merge_has_its_words() {
    let base = "compose.yaml:4 set here";
    for (below, above, path, wanted) in [
        ("hostname: a", "hostname: b", "hostname", "replaces: the later file wins"),
        ("command: [a]", "command: [b]", "command", "replaces the whole list: commands and tests are never joined"),
        ("command: [a]", "command: !override [b]", "command", "`!override`: replaces all, nothing is merged"),
        ("hostname: a", "hostname: !reset null", "hostname", "`!reset`: takes it away"),
        ("expose: ['1']", "expose: ['2']", "expose", "its items were appended"),
        ("labels: { a: b }", "labels: { c: d }", "labels", "merged key by key"),
        ("ports: ['1:2']", "ports: ['1:2']", "ports[0]", "replaces: the same address, ports and protocol"),
        ("volumes: ['/a:/b']", "volumes: ['/c:/b']", "volumes[0]", "replaces: the same path in the container"),
        ("ulimits: { nofile: 1 }", "ulimits: { nofile: 2 }", "ulimits.nofile", "replaces: the later file wins"),
        ("environment: { A: 1 }", "environment: [A=2]", "environment.A", "replaces: the later file wins"),
        (
            "logging: { driver: none, options: { a: b } }",
            "logging: { driver: json-file }",
            "logging",
            "replaces all: options belong to one log driver",
        ),
    ] {
        let trail = trail_over(below, above, path);
        let kept = if path.contains('[') && trail.len() == 2 { trail[1].as_str() } else { base };
        assert_eq!(trail, [format!("compose.override.yaml:4 {wanted}"), kept.to_owned()], "{above}");
    }
}

#[test]
fn what_says_nothing_is_told_too() {
    assert_eq!(
        trail_over("hostname: a", "hostname:", "hostname"),
        ["compose.yaml:4 set here", "compose.override.yaml:4 no value here: what is there stays"]
    );
}

#[test]
fn a_value_after_a_reset_is_a_new_one() {
    let file = |text: &str| format!("services:\n  web:\n    image: a\n    {text}\n");
    let texts = [file("hostname: one"), file("hostname: !reset null"), file("hostname: two")];
    let texts = [("a.yaml", texts[0].as_str()), ("b.yaml", &texts[1]), ("c.yaml", &texts[2])];
    let request = LoadRequest { files: ["a.yaml", "b.yaml", "c.yaml"].map(Into::into).to_vec(), ..request() };
    let trail = short(&loaded_by(request, &texts).explain("services.web.hostname").unwrap());
    assert_eq!(trail, ["c.yaml:4 set again after `!reset`", "b.yaml:4 `!reset`: takes it away", "a.yaml:4 set here"]);
}

#[test]
fn env_files_and_label_files_lie_below() {
    let texts = [
        (
            "compose.yaml",
            "services:\n  web:\n    image: a\n    env_file: [one.env, two.env]\n    environment: { A: own }\n    \
             label_file: l.env\n    labels: { L: own }\n",
        ),
        ("one.env", "A=1\nB=1\n"),
        ("two.env", "\nB=2\n"),
        ("l.env", "L=1\nM=${HOME}\n"),
    ];
    let trail = |path| trail(&texts, path);
    assert_eq!(
        trail("services.web.environment.A"),
        ["compose.yaml:5 replaces: `environment` wins over `env_file`", "one.env:1 set here"]
    );
    assert_eq!(
        trail("services.web.environment.B"),
        ["two.env:2 replaces: the later env file wins", "one.env:2 set here"]
    );
    assert_eq!(
        trail("services.web.labels.L"),
        ["compose.yaml:7 replaces: `labels` wins over `label_file`", "l.env:1 set here"]
    );
    assert_eq!(trail("services.web.labels.M"), ["l.env:2 set here"]);
}

#[test]
fn a_name_alone_takes_the_variable_or_nothing() {
    let loaded = loaded(&[("compose.yaml", "services:\n  web:\n    image: a\n    environment: [HOME, NOBODY]\n")]);
    let explain = |path: &str| loaded.explain(path).unwrap();
    let rule = "compose.yaml:4 only the name stands here: the value is the variable's";
    for (name, from) in [("HOME", ValueOf::Shell), ("NOBODY", ValueOf::Unset)] {
        let explained = explain(&format!("services.web.environment.{name}"));
        assert_eq!((short(&explained), &explained.trail[0].variables[0].from), (vec![rule.to_owned()], &from));
    }
    let unset = loaded.variables().into_iter().find(|variable| variable.name == "NOBODY").unwrap();
    assert_eq!(unset.used[0].path, "services.web.environment.NOBODY");
}

#[test]
fn the_way_of_a_value_is_kept_through_files() {
    let loaded = loaded(&[
        (
            "compose.yaml",
            "include: [sub/compose.yaml]\nx-a: &a { LEVEL: 1, X: 2 }\nservices:\n  web:\n    extends: { file: base.yaml, service: top }\n    \
             environment: { <<: *a, LEVEL: 3 }\n    dns: &d [1.1.1.1]\n    dns_search: *d\n",
        ),
        (
            "base.yaml",
            "services:\n  top: { extends: bottom, environment: { LEVEL: 0 } }\n  bottom: { image: b, environment: { LEVEL: -1 } }\n",
        ),
        ("sub/compose.yaml", "services:\n  inner: { image: i }\n"),
    ]);
    let explain = |path: &str| loaded.explain(path).unwrap();
    let ways = |explanation: &Explanation| -> Vec<String> {
        let winner = &explanation.trail[0];
        winner.through.iter().map(|way| format!("{} {}", way.by, way.place.as_ref().unwrap())).collect()
    };
    assert_eq!(
        short(&explain("services.web.environment.LEVEL")),
        [
            "compose.yaml:6 replaces: a mapping's own keys win over `<<`",
            "compose.yaml:2 replaces: a service wins over what it extends",
            "base.yaml:2 replaces: a service wins over what it extends",
            "base.yaml:3 set here",
        ]
    );
    assert_eq!(
        ways(&explain("services.web.image")),
        ["extends bottom base.yaml:2:19", "extends top compose.yaml:5:42"]
    );
    assert_eq!(ways(&explain("services.web.environment.X")), ["<< compose.yaml:6:20"]);
    assert_eq!(ways(&explain("services.web.dns_search[0]")), ["*d compose.yaml:8:17"]);
    assert_eq!(ways(&explain("services.inner.image")), ["include compose.yaml:1:11"]);
}

#[test]
fn names_of_projects_and_what_no_file_says() {
    let texts = [(
        "compose.yaml",
        "name: mine\nservices:\n  web: { image: a, links: [db] }\n  db: { image: a }\nvolumes: { v: }\n",
    )];
    assert_eq!(trail(&texts, "name"), ["compose.yaml:1 set here"]);
    let flag = LoadRequest { project_name: Some("flag".to_owned()), ..request() };
    assert_eq!(short(&loaded_by(flag, &texts).explain("name").unwrap()), ["given with -p", "compose.yaml:1 set here"]);
    let mut variable = request();
    variable.environment.insert("COMPOSE_PROJECT_NAME".to_owned(), "env".to_owned());
    let explained = loaded_by(variable, &texts).explain("name").unwrap();
    assert_eq!(short(&explained)[0], "COMPOSE_PROJECT_NAME wins over `name`");
    assert_eq!(explained.trail[0].variables[0].from, ValueOf::Shell);
    assert_eq!(trail(&texts, "volumes.v.name"), ["the project's name and the key"]);
    assert_eq!(trail(&texts, "services.web.depends_on.db.condition"), ["compose.yaml:3 follows from what stands here"]);
    assert_eq!(
        trail(&texts, "services.web.networks.default"),
        ["a service that names no network is on the default one"]
    );
}

#[test]
fn a_load_that_was_not_asked_records_nothing() {
    let texts = [
        ("compose.yaml", "services:\n  web: { image: a }\n"),
        ("compose.override.yaml", "services:\n  web: { image: b }\n"),
    ];
    let loaded = load(request(), &files(&texts)).unwrap();
    assert!(loaded.explain("services.web.image").is_err());
    assert!(loaded.provenance.tree.is_none());
}

#[test]
fn keys_with_dots_and_quotes() {
    let loaded = loaded(&[(
        "compose.yaml",
        "services:\n  web: { image: a, labels: { a: 1, a.b: 2, 'a.b[0]': 3, '': 4 } }\n  web.two: { image: b }\n",
    )]);
    for (path, value) in [
        ("services.web.labels.a", "1"),
        ("services.web.labels.a.b", "2"),
        ("services.web.labels.a.b[0]", "3"),
        ("services.web.labels[\"a.b\"]", "2"),
        ("services.web.two.image", "b"),
        ("services[\"web.two\"].image", "b"),
    ] {
        let explanation = loaded.explain(path).unwrap();
        assert_eq!(serde_json::to_value(&explanation).unwrap()["value"], value, "{path}");
    }
    for path in [
        "",
        "services.web.labels.",
        "services.web.labels[0]",
        "services..web",
        "[0]",
        "services.web.image[",
        "x\u{7f}.",
    ] {
        // Whatever it is, it is answered.
        _ = loaded.explain(path);
    }
}
