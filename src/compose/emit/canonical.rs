//! A project as the value that `config` prints.

use std::cmp::Ordering;

use serde_json::{Map, Value, json};

use super::order::{natural, sort, sort_all};
use crate::compose::model::{Project, Service};

/// Small differences between the two forms.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Yaml,
    Json,
}

impl Format {
    fn order(self) -> fn(&str, &str) -> Ordering {
        match self {
            Self::Yaml => natural,
            Self::Json => |left, right| left.cmp(right),
        }
    }
}

/// Attributes whose value is a mapping of names that the file chooses; these are sorted.
const TABLES: [&str; 22] = [
    "additional_contexts",
    "annotations",
    "args",
    "aux_addresses",
    "configs",
    "depends_on",
    "driver_opts",
    "environment",
    "labels",
    "models",
    "networks",
    "options",
    "secrets",
    "services",
    "storage_opt",
    "sysctls",
    "ulimits",
    "volumes",
    "extra_hosts",
    "toolchain",
    "log_opt",
    "ssh",
];

/// The project in its canonical form. `keep_files`: `env_file` and `label_file` were not read.
#[must_use]
pub fn canonical(project: &Project, format: Format, keep_files: bool) -> Value {
    let mut root = Map::new();
    if !project.name.is_empty() {
        root.insert("name".to_owned(), project.name.as_str().into());
    }
    let services = project.services.iter().map(|(name, it)| (name.clone(), service(it, format, keep_files)));
    root.insert("services".to_owned(), Value::Object(services.collect()));
    let kinds = [
        ("networks", serde_json::to_value(&project.networks)),
        ("volumes", serde_json::to_value(&project.volumes)),
        ("secrets", serde_json::to_value(&project.secrets)),
        ("configs", serde_json::to_value(&project.configs)),
        ("models", serde_json::to_value(&project.models)),
    ];
    for (kind, value) in kinds {
        if let Ok(Value::Object(mut resources)) = value
            && !resources.is_empty()
        {
            for resource in resources.values_mut().filter_map(Value::as_object_mut) {
                resource.remove("#content");
                if kind == "configs" && resource.contains_key("environment") {
                    resource.remove("content");
                }
                if kind == "networks" && format == Format::Json {
                    place_after(resource, "ipam", json!({}), &["name", "driver", "driver_opts"]);
                }
            }
            root.insert(kind.to_owned(), Value::Object(resources));
        }
    }
    let mut value = Value::Object(root);
    tidy(&mut value, "", format);
    let extensions = serde_json::to_value(&project.extensions).unwrap_or_default();
    if let (Value::Object(root), Value::Object(mut extensions)) = (&mut value, extensions) {
        sort(&mut extensions, format.order());
        extensions.values_mut().for_each(|value| sort_all(value, format.order()));
        root.extend(extensions);
        if format == Format::Json {
            sort(root, format.order());
        }
    }
    value
}

fn service(service: &Service, format: Format, keep_files: bool) -> Value {
    let Ok(Value::Object(mut value)) = serde_json::to_value(service) else { return Value::Null };
    for hidden in ["name", "#windlass"] {
        value.shift_remove(hidden);
    }
    if !keep_files {
        value.shift_remove("env_file");
        value.shift_remove("label_file");
    }
    if let Some(Value::Number(number)) = value.get("mem_swappiness") {
        match number.to_string() {
            // As if unset.
            text if text == "0" => _ = value.shift_remove("mem_swappiness"),
            text => _ = value.insert("mem_swappiness".to_owned(), text.into()),
        }
    }
    if let Some(Value::Object(build)) = value.get_mut("build") {
        hosts_as_lines(build);
        if let (Format::Yaml, Some(Value::Array(keys))) = (format, build.get_mut("ssh")) {
            for key in keys {
                if let Some((id, path)) = key.as_str().and_then(|key| key.split_once('=')) {
                    *key = format!("{id}: {path}").into();
                }
            }
        }
    }
    hosts_as_lines(&mut value);
    for key in ["update_config", "rollback_config"] {
        if let Some(Value::Object(update)) = value.get_mut("deploy").and_then(|deploy| deploy.get_mut(key)) {
            update.retain(|_, value| value != "0s" && *value != json!(0.0));
        }
    }
    if format == Format::Json {
        // The peer writes these even when they are not set.
        place_after(&mut value, "command", Value::Null, BEFORE_COMMAND);
        place_after(&mut value, "entrypoint", Value::Null, BEFORE_ENTRYPOINT);
        if let Some(Value::Object(deploy)) = value.get_mut("deploy") {
            place_after(
                deploy,
                "resources",
                json!({}),
                &["mode", "replicas", "labels", "update_config", "rollback_config"],
            );
            place_after(
                deploy,
                "placement",
                json!({}),
                &["mode", "replicas", "labels", "update_config", "rollback_config", "resources", "restart_policy"],
            );
        }
    }
    Value::Object(value)
}

/// Attributes that stand before `command` in the canonical form.
const BEFORE_COMMAND: &[&str] = &[
    "profiles",
    "annotations",
    "attach",
    "build",
    "develop",
    "blkio_config",
    "cap_add",
    "cap_drop",
    "cgroup_parent",
    "cgroup",
    "cpu_count",
    "cpu_percent",
    "cpu_period",
    "cpu_quota",
    "cpu_rt_period",
    "cpu_rt_runtime",
    "cpus",
    "cpuset",
    "cpu_shares",
];

/// Attributes from `command` on that stand before `entrypoint`.
const BEFORE_ENTRYPOINT: &[&str] = &[
    "command",
    "configs",
    "container_name",
    "credential_spec",
    "depends_on",
    "deploy",
    "device_cgroup_rules",
    "devices",
    "dns",
    "dns_opt",
    "dns_search",
    "domainname",
];

/// `HOST` to addresses becomes a sorted list of `HOST=ADDRESS`.
fn hosts_as_lines(value: &mut Map<String, Value>) {
    let Some(hosts) = value.get_mut("extra_hosts") else { return };
    let Value::Object(table) = hosts else { return };
    let mut lines: Vec<String> = Vec::new();
    for (host, addresses) in table.iter() {
        for address in addresses.as_array().into_iter().flatten().filter_map(Value::as_str) {
            lines.push(format!("{host}={address}"));
        }
    }
    lines.sort();
    *hosts = lines.into();
}

/// Puts `key` behind those of `before` that are there, unless it is set.
fn place_after(mapping: &mut Map<String, Value>, key: &str, value: Value, before: &[&str]) {
    if mapping.contains_key(key) {
        return;
    }
    let mut entries: Vec<(String, Value)> = std::mem::take(mapping).into_iter().collect();
    let at = entries.iter().rposition(|(key, _)| before.contains(&key.as_str())).map_or(0, |index| index + 1);
    entries.insert(at, (key.to_owned(), value));
    mapping.extend(entries);
}

/// Sorts what the file names and moves extensions to the end of what they belong to.
fn tidy(value: &mut Value, key: &str, format: Format) {
    match value {
        Value::Object(mapping) => {
            let hidden = mapping.keys().any(|key| key.starts_with('#'));
            let extensions = hidden.then(|| {
                mapping.shift_remove("#origin");
                mapping.shift_remove("#extensions")
            });
            if TABLES.contains(&key) {
                sort(mapping, format.order());
            }
            for (key, value) in mapping.iter_mut() {
                tidy(value, key, format);
            }
            // The peer's JSON has no extensions but those of the top level.
            if let Some(Some(Value::Object(mut extensions))) = extensions
                && format == Format::Yaml
            {
                sort(&mut extensions, format.order());
                extensions.values_mut().for_each(|value| sort_all(value, format.order()));
                mapping.extend(extensions);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| tidy(item, "", format)),
        _ => {}
    }
}
