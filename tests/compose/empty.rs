//! What an empty text means for each attribute: the table of the documentation against the loader.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use windlass::compose::emit::{Format, canonical};
use windlass::compose::{EmptyText, LoadOptions, LoadRequest, attributes, load};

use crate::untrusted::Sections;

const LISTS: [&str; 21] = [
    "services.*.ports",
    "services.*.volumes",
    "services.*.secrets",
    "services.*.configs",
    "services.*.build.secrets",
    "services.*.devices",
    "services.*.env_file",
    "services.*.develop.watch",
    "services.*.post_start",
    "services.*.pre_start",
    "services.*.pre_stop",
    "services.*.gpus",
    "services.*.deploy.resources.reservations.devices",
    "services.*.deploy.resources.reservations.generic_resources",
    "services.*.deploy.placement.preferences",
    "networks.*.ipam.config",
    "include",
    "services.*.blkio_config.weight_device",
    "services.*.blkio_config.device_read_bps",
    "services.*.blkio_config.device_write_bps",
    "services.*.blkio_config.device_read_iops",
];

/// What else must be there, so that only the empty text can be at fault.
fn beside(path: &str) -> Value {
    match path {
        "services.*" => json!({"image": "x"}),
        "services.*.build" => json!({"context": "/c"}),
        "services.*.develop.watch.*" => json!({"path": "/w", "action": "sync", "target": "/t"}),
        "services.*.deploy.resources.reservations.devices.*" => json!({"capabilities": ["gpu"]}),
        "services.*.ulimits.*" | "services.*.build.ulimits.*" => json!({"soft": 1, "hard": 2}),
        "services.*.depends_on.*" => json!({"condition": "service_started"}),
        "services.*.devices.*" => json!({"source": "/dev/null", "target": "/dev/x"}),
        "services.*.env_file.*" => json!({"path": "/project/empty.env"}),
        "services.*.post_start.*"
        | "services.*.pre_stop.*"
        | "services.*.develop.watch.*.exec"
        | "services.*.x-windlass.install" => json!({"command": "x"}),
        "services.*.x-windlass" => json!({"rootfs": "host"}),
        "services.*.ports.*" => json!({"target": 80}),
        "services.*.provider" => json!({"type": "x"}),
        "services.*.volumes.*" => json!({"type": "volume", "source": "k", "target": "/v"}),
        "services.*.secrets.*" | "services.*.configs.*" | "services.*.build.secrets.*" => json!({"source": "k"}),
        "services.*.extends" => json!({"service": "k"}),
        "secrets.*" | "configs.*" => json!({"file": "/s"}),
        "models.*" => json!({"model": "m"}),
        "include.*" => json!({"path": "other.yaml"}),
        _ => json!({}),
    }
}

/// The value at `path`, whose attribute is `last`, or is not there.
fn value(path: &str, rest: &[&str], last: Option<&Value>) -> Value {
    let Some((first, rest)) = rest.split_first() else { return last.cloned().unwrap_or_default() };
    let inner = if path.is_empty() { (*first).to_owned() } else { format!("{path}.{first}") };
    if LISTS.contains(&path) {
        return json!([value(&inner, rest, last)]);
    }
    let mut mapping = beside(path).as_object().cloned().unwrap_or_else(Map::new);
    match (rest.is_empty(), last) {
        (true, None) => _ = mapping.remove(*first),
        _ => _ = mapping.insert(if *first == "*" { "k" } else { first }.to_owned(), value(&inner, rest, last)),
    }
    Value::Object(mapping)
}

/// The project that the file makes, or why it is none.
fn project(path: &str, last: Option<&Value>) -> Result<Value, String> {
    let segments: Vec<&str> = path.split('.').collect();
    let mut file = value("", &segments, last);
    // What the attribute at hand may name, and what it would contradict.
    for (kind, key, body) in [
        ("services", "k", json!({"image": "y"})),
        ("networks", "k", json!({})),
        ("volumes", "k", json!({})),
        ("secrets", "k", json!({"file": "/s"})),
        ("configs", "k", json!({"file": "/s"})),
        ("models", "k", json!({"model": "m"})),
    ] {
        let name = if kind == "services" { "other" } else { key };
        let table = file.as_object_mut().unwrap().entry(kind).or_insert_with(|| json!({}));
        table.as_object_mut().into_iter().for_each(|table| _ = table.entry(name).or_insert_with(|| body.clone()));
    }
    let text = |value: &Value, from: &str, to: &str| value.to_string().replace(from, to);
    let mut file: Value = serde_json::from_str(&text(&file, "\"service\":\"k\"", "\"service\":\"other\"")).unwrap();
    if path.starts_with("services.*.depends_on.*") {
        file["services"]["k"]["depends_on"] = json!({"other": file["services"]["k"]["depends_on"]["k"]});
    }
    let mut nothing = json!({});
    let volume = file.pointer_mut("/services/k/volumes/0").filter(|it| it.is_object()).unwrap_or(&mut nothing);
    for (own, kind) in [("volumes.*.bind", "bind"), ("volumes.*.tmpfs", "tmpfs"), ("volumes.*.image", "image")] {
        if path.contains(own) {
            volume["type"] = json!(kind);
            volume["source"] = json!("/x");
        }
    }
    for key in ["file", "environment", "content"] {
        let of_file = path == format!("configs.*.{key}") || path == format!("secrets.*.{key}");
        let kind = path.split('.').next().unwrap_or_default();
        if of_file && key != "file" {
            file[kind]["k"].as_object_mut().unwrap().remove("file");
        }
    }
    file.pointer_mut("/services/k").and_then(Value::as_object_mut).into_iter().for_each(|service| {
        service.retain(|_, value| !(value.is_array() && value[0].is_null()));
        if path != "services.*.volumes" && service.get("volumes").is_some_and(Value::is_null) {
            service.remove("volumes");
        }
    });
    let file = file.to_string();
    let sections = Sections::new(
        "/project".into(),
        [("compose.yaml", file.as_str()), ("empty.env", ""), ("other.yaml", "services: {}")],
    );
    let request = LoadRequest {
        current_dir: "/project".into(),
        project_name: Some("p".to_owned()).filter(|_| path != "name"),
        environment: BTreeMap::from([("V".to_owned(), String::new())]),
        options: LoadOptions { all_resources: true, services: Vec::new(), ..LoadOptions::default() },
        ..LoadRequest::default()
    };
    match load(request, &sections) {
        Ok(loaded) => Ok(canonical(&loaded.project, Format::Json, true)),
        Err(failure) => Err(format!("{failure}\n{file}")),
    }
}

#[test]
fn an_empty_text_means_what_the_table_says() {
    let attributes = attributes();
    assert!(attributes.len() > 250);
    let mut wrong = Vec::new();
    for (path, means) in attributes {
        for written in ["", "${V:-}"] {
            let with = project(&path, Some(&json!(written)));
            let fine = match means {
                EmptyText::Unset => match (project(&path, None), &with) {
                    (Ok(without), Ok(with)) => without == *with,
                    (Err(_), Err(_)) => true,
                    _ => false,
                },
                EmptyText::Kept => with.is_ok(),
                EmptyText::Refused => with.is_err(),
            };
            if !fine {
                wrong.push(format!("{path} = {written:?} is not {means:?}: {with:?}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}
