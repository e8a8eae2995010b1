//! What holds for any project and any text.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::option::of;
use proptest::prelude::*;
use serde_json::{Map, Value, json};
use windlass::cli::commands::config::{ConfigArgs, render};
use windlass::compose::emit::{Format, canonical};
use windlass::compose::{LoadOptions, LoadRequest, Loaded, load};

use crate::untrusted::{self, Sections};

fn open(files: &[(&str, &str)], options: LoadOptions) -> Result<Loaded, String> {
    let sections = Sections::new("/project".into(), files.iter().copied());
    let request = LoadRequest {
        current_dir: sections.folder(),
        files: files
            .iter()
            .map(|(name, _)| name.into())
            .filter(|name: &std::path::PathBuf| name.extension().is_some())
            .collect(),
        environment: BTreeMap::from([("COMPOSE_DISABLE_ENV_FILE".to_owned(), "1".to_owned())]),
        options,
        ..LoadRequest::default()
    };
    load(request, &sections).map_err(|failure| failure.to_string())
}

/// What `config` prints.
fn printed(loaded: &Loaded) -> String {
    render(&ConfigArgs::default(), loaded).map_err(|_| "no output").unwrap()
}

fn word() -> impl Strategy<Value = String> {
    "[a-c]"
}

fn text() -> impl Strategy<Value = String> {
    // Without `$`, which means something.
    prop_oneof![3 => "[a-z0-9./:-]{1,8}", 1 => "[^$]{0,12}"]
}

fn mapping(keys: impl Strategy<Value = String>, values: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    btree_map(keys, values, 0..4).prop_map(|entries| Value::Object(entries.into_iter().collect()))
}

fn list(items: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    vec(items, 0..4).prop_map(Value::Array)
}

fn string(text: impl Strategy<Value = String>) -> impl Strategy<Value = Value> {
    text.prop_map(Value::String)
}

/// `KEY: value`, or `- KEY=value`.
fn pairs() -> impl Strategy<Value = Value> {
    prop_oneof![
        mapping("[A-C]".prop_map(String::from), string(text())),
        list(("[A-C]", "[a-z=]{0,4}").prop_map(|(key, value)| json!(format!("{key}={value}")))),
    ]
}

fn port() -> impl Strategy<Value = Value> {
    let number = || 1_u16..9;
    prop_oneof![
        number().prop_map(|target| json!(target)),
        (number(), number()).prop_map(|(published, target)| json!(format!("{published}:{target}"))),
        (number(), number(), any::<bool>()).prop_map(|(published, target, udp)| {
            json!(format!("127.0.0.1:{published}:{target}{}", if udp { "/udp" } else { "" }))
        }),
        (number(), number(), of("[a-c]")).prop_map(|(published, target, name)| {
            let mut port = json!({"target": target, "published": published.to_string()});
            if let Some(name) = name {
                port["name"] = json!(name);
            }
            port
        }),
    ]
}

fn volume() -> impl Strategy<Value = Value> {
    prop_oneof![
        (word(), word(), any::<bool>())
            .prop_map(|(from, to, ro)| json!(format!("./{from}:/{to}{}", if ro { ":ro" } else { "" }))),
        (word(), word()).prop_map(|(from, to)| json!(format!("{from}:/{to}"))),
        word().prop_map(|to| json!(format!("/{to}"))),
        (word(), word(), any::<bool>())
            .prop_map(|(from, to, ro)| json!({"type": "bind", "source": format!("./{from}"), "target": format!("/{to}"), "read_only": ro})),
        word().prop_map(|to| json!({"type": "tmpfs", "target": format!("/{to}"), "tmpfs": {"size": "1m"}})),
    ]
}

/// The attributes of a service, by the rule that they merge by.
fn attribute() -> impl Strategy<Value = (&'static str, Value)> {
    let size = || prop_oneof![Just(json!("64m")), Just(json!(4096)), Just(json!("1.5g"))];
    let duration = || prop_oneof![Just(json!("10s")), Just(json!("1m30s")), Just(json!("500ms"))];
    let command =
        || prop_oneof![string("[a-z ]{1,6}"), list(string("[a-z$]{1,4}".prop_map(|text| text.replace('$', ""))))];
    prop_oneof![
        string(word()).prop_map(|value| ("hostname", value)),
        string(text()).prop_map(|value| ("user", value)),
        command().prop_map(|value| ("command", value)),
        command().prop_map(|value| ("entrypoint", value)),
        pairs().prop_map(|value| ("environment", value)),
        pairs().prop_map(|value| ("labels", value)),
        pairs().prop_map(|value| ("sysctls", value)),
        list(port()).prop_map(|value| ("ports", value)),
        list(volume()).prop_map(|value| ("volumes", value)),
        prop_oneof![string(word()), list(string(word()))].prop_map(|value| ("dns", value)),
        prop_oneof![string("/[a-c]"), list(string("/[a-c]"))].prop_map(|value| ("tmpfs", value)),
        list(string(word())).prop_map(|value| ("cap_add", value)),
        list(prop_oneof![(1_u16..5).prop_map(|port| json!(port)), Just(json!("7"))])
            .prop_map(|value| ("expose", value)),
        mapping(word(), prop_oneof![Just(json!(5)), Just(json!({"soft": 1, "hard": 2}))])
            .prop_map(|value| ("ulimits", value)),
        prop_oneof![mapping("[a-c]{2}", string("1\\.1\\.1\\.[1-9]")), list(string("[a-c]{2}=1\\.1\\.1\\.[1-9]"))]
            .prop_map(|value| ("extra_hosts", value)),
        (of(duration()), of(0_u8..5), of(command())).prop_map(|(interval, retries, test)| {
            let mut check = Map::new();
            check.extend(interval.map(|value| ("interval".to_owned(), value)));
            check.extend(retries.map(|value| ("retries".to_owned(), json!(value))));
            check.extend(test.map(|value| match value {
                Value::Array(words) => {
                    let words = std::iter::once(json!("CMD")).chain(words);
                    ("test".to_owned(), words.collect())
                }
                value => ("test".to_owned(), value),
            }));
            ("healthcheck", Value::Object(check))
        }),
        (of(size()), of(1_u8..9)).prop_map(|(memory, pids)| {
            let mut limits = Map::new();
            limits.extend(memory.map(|value| ("memory".to_owned(), value)));
            limits.extend(pids.map(|value| ("pids".to_owned(), json!(value))));
            ("deploy", json!({"resources": {"limits": limits}}))
        }),
        mapping("max-[a-c]", string("[0-9]{1,3}")).prop_map(|options| ("logging", json!({"options": options}))),
        prop_oneof![
            list(string(word())),
            mapping(
                word(),
                prop_oneof![
                    Just(json!({"condition": "service_healthy"})),
                    Just(json!({"condition": "service_started", "restart": true}))
                ]
            ),
        ]
        .prop_map(|value| ("depends_on", value)),
        prop_oneof![
            list(string(word())),
            mapping(word(), prop_oneof![Just(json!(null)), list(string(word())).prop_map(|it| json!({"aliases": it}))])
        ]
        .prop_map(|value| ("networks", value)),
        list(string(word())).prop_map(|value| ("profiles", value)),
        size().prop_map(|value| ("shm_size", value)),
        duration().prop_map(|value| ("stop_grace_period", value)),
        any::<bool>().prop_map(|value| ("init", json!(value))),
        prop_oneof![Just("no"), Just("always"), Just("on-failure:3")].prop_map(|value| ("restart", json!(value))),
        string(text()).prop_map(|value| ("x-own", value)),
    ]
}

/// A file of some services; what they name need not exist.
fn file() -> impl Strategy<Value = Value> {
    let service = vec(attribute(), 0..6).prop_map(|attributes| {
        Value::Object(attributes.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    });
    let resource = prop_oneof![Just(json!(null)), pairs().prop_map(|labels| json!({"labels": labels}))];
    (mapping(word(), service), of(mapping(word(), resource))).prop_map(|(services, volumes)| {
        let mut file = json!({"services": services});
        if let Some(volumes) = volumes {
            file["volumes"] = volumes;
        }
        file
    })
}

/// The merged tree as a file: nothing is added to what the files say.
fn merged(files: &[&str]) -> Value {
    let names: Vec<String> = (0..files.len()).map(|index| format!("{index}.yaml")).collect();
    let files: Vec<(&str, &str)> = names.iter().map(String::as_str).zip(files.iter().copied()).collect();
    let options = LoadOptions {
        interpolate: false,
        normalise: false,
        resolve_paths: false,
        check_consistency: false,
        resolve_environment: false,
        ..LoadOptions::default()
    };
    match open(&files, options) {
        Ok(loaded) => loaded.tree,
        Err(failure) => panic!("{failure}\n{files:?}"),
    }
}

/// A file as JSON that is YAML, too: what that does not have as itself is escaped.
fn source(file: &Value) -> String {
    let is_escaped =
        |c: &char| "\u{2028}\u{2029}\u{feff}\u{fffe}\u{ffff}".contains(*c) || ('\u{7f}'..='\u{9f}').contains(c);
    let json = file.to_string();
    json.chars().map(|c| if is_escaped(&c) { format!("\\u{:04x}", c as u32) } else { c.to_string() }).collect()
}

/// The same with everything that is named, so that it loads as a whole.
fn complete(mut file: Value) -> Value {
    let names = ["a", "b", "c"];
    for name in names {
        let services = file["services"].as_object_mut().unwrap();
        let service = services.entry(name).or_insert_with(|| json!({})).as_object_mut().unwrap();
        service.insert("image".to_owned(), json!("image"));
        // Whatever a service waits for comes before it.
        service.shift_remove("profiles");
        let earlier = |other: &str| other < name;
        match service.get_mut("depends_on") {
            Some(Value::Array(others)) => others.retain(|it| earlier(it.as_str().unwrap())),
            Some(Value::Object(others)) => others.retain(|it, _| earlier(it)),
            _ => {}
        }
        // Two mounts at one place are a fault.
        if let Some(Value::Array(volumes)) = service.get_mut("volumes") {
            volumes.truncate(1);
        }
    }
    for kind in ["networks", "volumes"] {
        let resources = file.as_object_mut().unwrap().entry(kind).or_insert_with(|| json!({}));
        for name in names {
            resources.as_object_mut().unwrap().entry(name).or_insert(Value::Null);
        }
    }
    file
}

fn config() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    /// Which of two neighbours are merged first makes no difference. Exceptions that follow from the rules: `!reset` and
    /// `!override`, which are about the file below, and options of different log drivers, which never mix.
    #[test]
    fn merging_is_associative(a in file(), b in file(), c in file()) {
        let (a, b, c) = (source(&a), source(&b), source(&c));
        let all = merged(&[&a, &b, &c]);
        let left = merged(&[&source(&merged(&[&a, &b])), &c]);
        let right = merged(&[&a, &source(&merged(&[&b, &c]))]);
        prop_assert_eq!(&left, &all);
        prop_assert_eq!(&right, &all);
    }

    #[test]
    fn merging_a_file_with_itself_changes_nothing(a in file()) {
        let a = source(&a);
        prop_assert_eq!(merged(&[&a, &a]), merged(&[&a]));
    }

    #[test]
    fn config_of_config_is_the_same_text(file in file()) {
        let file = source(&complete(file));
        let loaded = open(&[("compose.yaml", &file)], LoadOptions::default());
        let once = printed(&loaded.map_err(TestCaseError::fail)?);
        let again = open(&[("compose.yaml", &once)], LoadOptions::default());
        let twice = printed(&again.map_err(|failure| TestCaseError::fail(format!("{failure}\n{once}")))?);
        prop_assert_eq!(twice, once);
    }

    #[test]
    fn json_and_yaml_of_config_are_the_same_project(file in file()) {
        let loaded = open(&[("compose.yaml", &source(&complete(file)))], LoadOptions::default());
        let loaded = loaded.map_err(TestCaseError::fail)?;
        let args = ConfigArgs { format: Some("json".to_owned()), ..ConfigArgs::default() };
        let form = render(&args, &loaded).map_err(|_| TestCaseError::fail("no output"))?;
        let again = open(&[("compose.yaml", &form)], LoadOptions::default()).map_err(TestCaseError::fail)?;
        // JSON has no extensions below the top level.
        let form = |loaded: &Loaded| canonical(&loaded.project, Format::Json, false);
        prop_assert_eq!(form(&again), form(&loaded));
    }

    #[test]
    fn a_text_without_a_dollar_stays_as_it_is(text in "[^$]*") {
        let file = json!({"services": {"a": {"image": "x", "labels": {"text": text}, "command": [text]}}});
        let file = source(&file);
        let loaded = open(&[("compose.yaml", &file)], LoadOptions::default()).map_err(TestCaseError::fail)?;
        let service = &loaded.project.services["a"];
        prop_assert_eq!(&service.labels["text"], &text);
        prop_assert_eq!(service.command.as_deref(), Some(&[text][..]));
        prop_assert!(loaded.trail.uses.is_empty());
    }

    #[test]
    fn env_files_say_what_was_written(values in btree_map("[A-Za-z_][A-Za-z0-9_.-]{0,5}", any::<String>(), 0..5)) {
        let lines = values.iter().map(|(key, value)| untrusted::dotenv_line(key, value)).collect::<String>();
        let read = windlass::compose::dotenv::parse(&lines, &|_| None);
        let read: BTreeMap<String, String> =
            read.unwrap().into_iter().map(|it| (it.key, it.value.unwrap())).collect();
        prop_assert_eq!(read, values);
    }

    #[test]
    fn no_text_breaks_a_reader(text in any::<String>()) {
        untrusted::yaml(&text);
        untrusted::template(&text);
        untrusted::dotenv(&text);
        untrusted::loader(&text);
        untrusted::reference(&text);
    }

    #[test]
    fn no_text_of_the_readers_own_signs_breaks_them(text in "[-a${}:?+#&*!|>'\"%@`\\[\\],.=~0-9 \\t\\n\\\\<]{0,60}") {
        untrusted::yaml(&text);
        untrusted::template(&text);
        untrusted::dotenv(&text);
        untrusted::loader(&text);
        untrusted::reference(&text);
    }

    /// A short syntax either reads the text, and what it made is read the same again, or says what is wrong.
    #[test]
    fn no_text_breaks_a_short_syntax(text in "([-a-z./:~,=0-9\\[\\]]|\\PC){0,24}", port in "[-0-9.:/a-z\\[\\]]{1,20}") {
        let mut attributes = Vec::new();
        for name in ["ports", "volumes", "devices", "extra_hosts", "env_file", "secrets", "configs", "tmpfs", "expose", "links", "depends_on", "dns", "environment", "gpus", "models", "networks", "security_opt"] {
            attributes.push((name, json!([text])));
            attributes.push((name, json!([port])));
        }
        for name in ["command", "build", "restart", "shm_size", "mem_limit", "stop_grace_period", "cpus", "init", "extends", "network_mode", "pull_policy"] {
            attributes.push((name, json!(text)));
            attributes.push((name, json!(port)));
        }
        for (name, value) in attributes {
            let file = json!({"services": {"a": {"image": "x", name: value}}}).to_string();
            let options = LoadOptions { check_consistency: false, interpolate: true, resolve_environment: false, ..LoadOptions::default() };
            if let Ok(loaded) = open(&[("compose.yaml", &file)], options.clone()) {
                let once = printed(&loaded);
                let again = open(&[("compose.yaml", &once)], options).map_err(|failure| TestCaseError::fail(format!("{failure}\n{once}")))?;
                prop_assert_eq!(printed(&again), once);
            }
        }
    }
}
