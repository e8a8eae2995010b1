use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};

use crate::compose::model::{Project, Service};
use crate::compose::{FileSource, LoadRequest, load};
use crate::diag::{Paint, render_all};

/// Files in memory.
#[derive(Debug, Default)]
pub(in crate::compose) struct Texts(HashMap<PathBuf, String>);

impl FileSource for Texts {
    fn read(&self, path: &Path) -> io::Result<String> {
        self.0.get(path).cloned().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))
    }

    fn is_file(&self, path: &Path) -> bool {
        self.0.contains_key(path)
    }

    fn stdin(&self) -> io::Result<String> {
        self.read(Path::new("-"))
    }
}

pub(in crate::compose) fn files(files: &[(&str, &str)]) -> Texts {
    Texts(files.iter().map(|(name, text)| (Path::new("/shop").join(name), (*text).to_owned())).collect())
}

pub(in crate::compose) fn request() -> LoadRequest {
    LoadRequest {
        current_dir: PathBuf::from("/shop"),
        environment: BTreeMap::from([("HOME".to_owned(), "/home/me".to_owned())]),
        ..LoadRequest::default()
    }
}

fn project(texts: &[(&str, &str)]) -> Project {
    match load(request(), &files(texts)) {
        Ok(loaded) => loaded.project,
        Err(failure) => panic!("{failure}"),
    }
}

fn service(text: &str) -> Service {
    let text = format!("services:\n  web:\n    image: a\n{text}");
    project(&[("compose.yaml", &text)]).services.swap_remove("web").unwrap()
}

/// The faults as they are shown.
fn faults(texts: &[(&str, &str)]) -> String {
    match load(request(), &files(texts)) {
        Ok(loaded) => panic!("loaded: {:?}", loaded.project.services),
        Err(failure) => render_all(&failure.diagnostics, &failure.sources, Paint::Plain),
    }
}

#[test]
fn an_everyday_file() {
    let project = project(&[
        (
            "compose.yaml",
            "services:\n  web:\n    image: nginx:${TAG:-1}\n    ports: ['8080:80', 127.0.0.1:9000-9001:9000-9001/udp]\n    \
             volumes: [./html:/html:ro, data:/data, /anon]\n    depends_on: { db: { condition: service_healthy } }\n    \
             environment: [A=1, HOME]\n    secrets: [token]\n  db:\n    image: postgres\n    healthcheck: { test: pg_isready, interval: 90s }\n\
             volumes: { data: }\nsecrets: { token: { environment: TOKEN } }\n",
        ),
        (".env", "TAG=2\nTOKEN=s3cret\n"),
    ]);
    assert_eq!(project.name, "shop");
    let web = &project.services["web"];
    assert_eq!(web.image.as_deref(), Some("nginx:2"));
    assert_eq!(web.ports.len(), 3);
    assert_eq!(web.volumes[0].source.as_deref(), Some("/shop/html"));
    assert!(web.volumes[0].read_only);
    assert_eq!(web.environment["HOME"].as_deref(), Some("/home/me"));
    assert_eq!(web.secrets[0].target.as_deref(), Some("/run/secrets/token"));
    assert_eq!(project.secrets["token"].content.as_deref(), Some("s3cret"));
    assert_eq!(project.volumes["data"].name, "shop_data");
    assert_eq!(project.networks["default"].name, "shop_default");
    let health = project.services["db"].healthcheck.as_ref().unwrap();
    assert_eq!(health.test, ["CMD-SHELL", "pg_isready"]);
    assert_eq!(health.interval.unwrap().to_string(), "1m30s");
    assert_eq!(project.place("services.web.ports[1]").unwrap().to_string(), "/shop/compose.yaml:4:24");
}

#[test]
fn the_project_survives_json() {
    let project = project(&[(
        "compose.yaml",
        "services:\n  a:\n    image: x\n    ports: ['80:80']\n    extra_hosts: [a=1.1.1.1, a=2.2.2.2]\n    ulimits: { nofile: 5, nproc: { soft: 1, hard: 2 } }\n    \
         x-windlass: { rootfs: host }\n    deploy: { resources: { limits: { cpus: '0.1', memory: 1g } } }\n    configs: [{ source: c, mode: 0440 }]\n\
         configs: { c: { content: hi } }\n",
    )]);
    let text = serde_json::to_string(&project).unwrap();
    assert_eq!(serde_json::from_str::<Project>(&text).unwrap(), project);
    assert_eq!(project.services["a"].windlass.rootfs, Some(crate::compose::model::HostRootfs::Host));
    assert_eq!(project.services["a"].extra_hosts["a"], ["1.1.1.1", "2.2.2.2"]);
}

#[test]
fn override_files_merge() {
    let project = project(&[
        (
            "compose.yaml",
            "services:\n  web:\n    image: a\n    command: [one, two]\n    ports: ['80:80', '81:81']\n    environment: { A: 1, B: 2 }\n    dns: 1.1.1.1\n    \
             volumes: ['./x:/x', './y:/y']\n    cap_add: [A]\n    hostname: h\n    labels: [a=b]\n",
        ),
        (
            "compose.override.yaml",
            "services:\n  web:\n    command: three\n    ports: !override ['90:90']\n    environment: [B=3, C=4]\n    dns: [2.2.2.2]\n    \
             volumes: ['./z:/y']\n    cap_add: [A, B]\n    hostname: !reset null\n    labels: { a: c }\n",
        ),
    ]);
    let web = &project.services["web"];
    assert_eq!(web.command.as_deref(), Some(&["three".to_owned()][..]));
    assert_eq!(web.ports.len(), 1);
    assert_eq!(
        web.environment.iter().map(|(k, v)| format!("{k}={}", v.as_deref().unwrap())).collect::<Vec<_>>(),
        ["A=1", "B=3", "C=4"]
    );
    assert_eq!(web.dns, ["1.1.1.1", "2.2.2.2"]);
    assert_eq!(web.volumes.iter().map(|v| v.source.clone().unwrap()).collect::<Vec<_>>(), ["/shop/x", "/shop/z"]);
    assert_eq!(web.cap_add, ["A", "B"]);
    assert_eq!(web.hostname, None);
    assert_eq!(web.labels["a"], "c");
}

#[test]
fn extends_and_include() {
    let project = project(&[
        (
            "compose.yaml",
            "include: [sub/compose.yaml]\nservices:\n  web:\n    extends: { file: base/base.yaml, service: b }\n    environment: { L: 1 }\n  \
             two:\n    extends: web\n    image: two\n",
        ),
        (
            "base/base.yaml",
            "services:\n  b: { extends: bb, image: b, volumes: ['./x:/x'], environment: { L: 0, M: 2 } }\n  bb: { hostname: h }\n",
        ),
        ("sub/compose.yaml", "services:\n  inner: { image: '${WHO}', volumes: ['./y:/y'] }\n"),
        ("sub/.env", "WHO=sub\n"),
    ]);
    let two = &project.services["two"];
    assert_eq!((two.image.as_deref(), two.hostname.as_deref()), (Some("two"), Some("h")));
    assert_eq!(two.volumes[0].source.as_deref(), Some("/shop/base/x"));
    assert_eq!(two.environment["L"].as_deref(), Some("1"));
    let inner = &project.services["inner"];
    assert_eq!(inner.image.as_deref(), Some("sub"));
    assert_eq!(inner.volumes[0].source.as_deref(), Some("/shop/sub/y"));
}

#[test]
fn env_files_go_below_the_environment() {
    let project = project(&[
        (
            "compose.yaml",
            "services:\n  a:\n    image: x\n    env_file: [one.env, { path: none.env, required: false }]\n    environment: { B: own }\n",
        ),
        ("one.env", "A=1\nB=2\nC=${A}-${HOME}-${B}\n"),
    ]);
    let environment = &project.services["a"].environment;
    assert_eq!(environment["A"].as_deref(), Some("1"));
    assert_eq!(environment["B"].as_deref(), Some("own"));
    assert_eq!(environment["C"].as_deref(), Some("1-/home/me-own"));
}

#[test]
fn profiles_select_services() {
    let texts = [("compose.yaml", "services:\n  a: { image: x }\n  b: { image: x, profiles: [p] }\n")];
    assert_eq!(project(&texts).services.keys().collect::<Vec<_>>(), ["a"]);
    let all = LoadRequest { profiles: vec!["*".to_owned()], ..request() };
    assert_eq!(load(all, &files(&texts)).unwrap().project.services.len(), 2);
    let mut named = request();
    named.options.services = vec!["b".to_owned()];
    assert_eq!(load(named, &files(&texts)).unwrap().project.services.len(), 2);
}

#[test]
fn short_forms_of_one_service() {
    assert_eq!(service("    command: sh -c 'a b'\n").command.unwrap(), ["sh", "-c", "a b"]);
    assert_eq!(service("    command: []\n").command.unwrap(), Vec::<String>::new());
    assert_eq!(service("    build: .\n").build.unwrap().context, "/shop");
    assert_eq!(service("    stop_grace_period: 1m\n").stop_grace_period.unwrap().to_string(), "1m0s");
    assert_eq!(service("    gpus: all\n").gpus[0].count.unwrap().0, -1);
}

#[test]
fn all_faults_are_shown_together_in_order() {
    let shown = faults(&[(
        "compose.yaml",
        "services:\n  web:\n    imgae: a\n    ports: ['99999:80']\n    depends_on: [dbb]\n    user: 1000\n  db:\n    image: x\n",
    )]);
    let lines: Vec<&str> = shown.lines().filter(|line| line.starts_with("error")).collect();
    assert_eq!(
        lines,
        [
            "error: service \"web\" has neither an image nor a build context",
            "error: unknown key `imgae` in service",
            "error: invalid port \"99999:80\"",
            "error: service \"web\" depends on undefined service \"dbb\"",
            "error: `user` must be a string",
        ]
    );
}

#[test]
fn versions_of_the_projects_own_files_fill_variables() {
    let compose =
        "services: { a: { image: 'python:${PYTHON_VERSION:-3.9}-slim' }, b: { image: 'node:${NODE_VERSION}' } }\n";
    let images = |texts: &[(&str, &str)]| {
        let mut all = vec![("compose.yaml", compose)];
        all.extend_from_slice(texts);
        let project = project(&all);
        ["a", "b"].map(|name| project.services[name].image.clone().unwrap())
    };
    let both = [
        (".python-version", "3.12.1\n"),
        ("pyproject.toml", "[project]\nrequires-python = '>=3.10'\n"),
        (".nvmrc", "lts/jod"),
    ];
    assert_eq!(images(&both), ["python:3.12.1-slim", "node:22"]);
    assert_eq!(images(&both[1..]), ["python:3.14-slim", "node:22"]);
    // What a person sets wins, also when it is empty.
    let set = [both[0], both[2], (".env", "PYTHON_VERSION=3.11\nNODE_VERSION=\n")];
    assert_eq!(images(&set), ["python:3.11-slim", "node:"]);
    assert_eq!(images(&[(".nvmrc", "22")]), ["python:3.9-slim", "node:22"]);
}

#[test]
fn an_included_project_has_its_own_versions() {
    let project = project(&[
        ("compose.yaml", "include: [api/compose.yaml]\nservices: { web: { image: 'node:${NODE_VERSION}' } }\n"),
        ("api/compose.yaml", "services: { api: { image: 'node:${NODE_VERSION}', hostname: '${PYTHON_VERSION}' } }\n"),
        (".nvmrc", "18"),
        ("api/.nvmrc", "22"),
        (".python-version", "3.12"),
    ]);
    assert_eq!(project.services["web"].image.as_deref(), Some("node:18"));
    assert_eq!(project.services["api"].image.as_deref(), Some("node:22"));
    assert_eq!(project.services["api"].hostname.as_deref(), Some("3.12"));
}

#[test]
fn a_version_file_that_is_not_understood_is_told_where_it_matters() {
    let warnings = |compose: &str| {
        let loaded = load(request(), &files(&[("compose.yaml", compose), (".python-version", "my-env\n")])).unwrap();
        render_all(&loaded.warnings, &loaded.sources, Paint::Plain)
    };
    let told = warnings("services: { a: { image: 'python:${PYTHON_VERSION}' } }\n");
    assert!(told.contains(".python-version does not say what ${PYTHON_VERSION} is: line 1: `my-env`"), "{told}");
    assert_eq!(warnings("services: { a: { image: python } }\n"), "");
}

/// As docker compose 2.40.3 has it.
#[test]
fn items_that_say_nothing_are_refused_and_binary_text_is_read() {
    for (item, message) in [
        ("build: { context: ., ssh: [default, ''] }", "an SSH key has no name"),
        ("build: { context: ., additional_contexts: [''] }", "\"\" has no value"),
        ("build: { context: ., additional_contexts: [b] }", "\"b\" has no value"),
    ] {
        let text = faults(&[("compose.yaml", &format!("services:\n  web:\n    {item}\n"))]);
        assert!(text.contains(message) && text.contains("compose.yaml:3:"), "{text}");
    }
    assert!(service("    build: { context: ., additional_contexts: { b: '' } }").build.is_some());
    let web = service("    environment:\n      A: !!binary aGVs\n      B: !!binary |\n        aGVs\n        bG8=\n");
    let value = |key: &str| web.environment[key].clone();
    assert_eq!([value("A"), value("B")], ["hel", "hello"].map(|text| Some(text.to_owned())));
}
