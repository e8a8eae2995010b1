//! Compose's own labels, which other tools read (log viewers, proxies, editors), and the configuration hash.

use std::collections::BTreeMap;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::compose::model::{Project, Service};
use crate::record::{Condition, Dependency};

use super::ServiceImage;

/// What the keys of all of Compose's own labels begin with.
pub(crate) const PREFIX: &str = "com.docker.compose.";

/// Whether a container is none of a service's own.
pub(crate) const ONEOFF: &str = "com.docker.compose.oneoff";

pub(super) fn lower(
    project: &Project,
    name: &str,
    service: &Service,
    image: &ServiceImage,
    depends_on: &[Dependency],
    config_hash: &str,
    version: &str,
) -> BTreeMap<String, String> {
    let mut labels = image.labels.clone();
    labels.extend(service.labels.iter().map(|(key, value)| (key.clone(), value.clone())));
    let files: Vec<String> = project.compose_files.iter().map(|file| file.display().to_string()).collect();
    let mut own = |key: &str, value: String| labels.insert(format!("{PREFIX}{key}"), value);
    own("project", project.name.clone());
    own("service", name.to_owned());
    own("config-hash", config_hash.to_owned());
    own("oneoff", "False".to_owned());
    own("image", image.id.clone());
    own("project.working_dir", project.working_dir.display().to_string());
    own("project.config_files", files.join(","));
    own("version", version.to_owned());
    own(
        "depends_on",
        depends_on
            .iter()
            .map(|needed| {
                let condition = match needed.condition {
                    Condition::ServiceStarted => "service_started",
                    Condition::ServiceHealthy => "service_healthy",
                    Condition::ServiceCompletedSuccessfully => "service_completed_successfully",
                };
                format!("{}:{condition}:{}", needed.service, needed.restart)
            })
            .collect::<Vec<_>>()
            .join(","),
    );
    labels
}

/// Compose's labels of a network or volume; `kind` is `network` or `volume`.
pub(super) fn of_resource(project: &str, kind: &str, key: &str, labels: &mut BTreeMap<String, String>, config: &Value) {
    let hash = hash(config);
    for (name, value) in
        [("project", project), (kind, key), ("version", env!("CARGO_PKG_VERSION")), ("config-hash", &hash)]
    {
        labels.insert(format!("{PREFIX}{name}"), value.to_owned());
    }
}

/// Parts of a service that may change without its container being made anew: they are for other commands, or told by the
/// parts that they were put into.
const NOT_HASHED: &[&str] = &[
    EXTENSIONS,
    "attach",
    "build",
    "depends_on",
    "develop",
    "env_file",
    "extends",
    "label_file",
    "profiles",
    "pull_policy",
    "pull_refresh_after",
    "scale",
    // There is one value, and it changes nothing.
    "userns_mode",
];

/// The same of `deploy`: what only a scheduler or an update reads.
const NOT_HASHED_OF_DEPLOY: &[&str] =
    &["endpoint_mode", "labels", "mode", "placement", "replicas", "rollback_config", "update_config"];

/// Lists whose order means nothing.
const SETS: &[&str] = &[
    "aliases",
    "cap_add",
    "cap_drop",
    "configs",
    "devices",
    "expose",
    "external_links",
    "group_add",
    "links",
    "ports",
    "secrets",
    "security_opt",
    "volumes",
];

/// Tables whose keys are people's own.
const FREE: &[&str] =
    &["annotations", "driver_opts", "environment", "extra_hosts", "labels", "options", "storage_opt", "sysctls"];

/// Tables of a mount, whose absence is that of all their settings.
const OPTIONS: &[&str] = &["bind", "image", "tmpfs", "volume"];

/// Where the model keeps the `x-` keys.
const EXTENSIONS: &str = "#extensions";

/// Below this key a configuration has the digests of the secrets and configs that the service uses.
pub(crate) const CONTENTS: &str = "contents";

/// Below this key a configuration has the digests of what its packages depend on.
pub const PACKAGES: &str = "packages";

/// The service in canonical form without what does not concern its containers, and the SHA-256 of that.
pub(super) fn config(
    service: &Service,
    contents: &BTreeMap<String, String>,
    packages: &BTreeMap<String, String>,
) -> (Value, String) {
    let mut value = serde_json::to_value(service).unwrap_or_default();
    if let Some(map) = value.as_object_mut() {
        if !contents.is_empty() {
            map.insert(CONTENTS.to_owned(), serde_json::json!(contents));
        }
        if !packages.is_empty() {
            map.insert(PACKAGES.to_owned(), serde_json::json!(packages));
        }
    }
    let value = canonical(value);
    let hash = hash(&value);
    (value, hash)
}

pub(crate) fn hash(config: &Value) -> String {
    hex::encode(Sha256::digest(config.to_string().as_bytes()))
}

/// The same for every way to write the same container.
pub(crate) fn canonical(mut config: Value) -> Value {
    if let Some(map) = config.as_object_mut() {
        map.retain(|key, value| !NOT_HASHED.contains(&key.as_str()) && !value.is_null());
        if let Some(deploy) = map.get_mut("deploy").and_then(Value::as_object_mut) {
            deploy.retain(|key, _| !NOT_HASHED_OF_DEPLOY.contains(&key.as_str()));
        }
        for (key, value) in map.iter_mut() {
            plain(key, value);
        }
        // What is left empty was never said.
        map.retain(|key, value| key == "command" || key == "entrypoint" || !is_empty(value));
    }
    config.sort_all_objects();
    config
}

fn plain(key: &str, value: &mut Value) {
    match value {
        Value::Object(map) if key == "ulimits" => {
            for limit in map.values_mut().filter(|limit| limit.is_number()) {
                *limit = serde_json::json!({ "soft": limit, "hard": limit });
            }
        }
        Value::Object(map) if key == "networks" => {
            for place in map.values_mut() {
                plain("", place);
                // `front:` and `front: {}` are a place without settings.
                if is_empty(place) {
                    *place = Value::Null;
                }
            }
        }
        Value::Object(map) if !FREE.contains(&key) => {
            map.remove(EXTENSIONS);
            if key == "bind" && map.get("create_host_path") == Some(&Value::Bool(true)) {
                map.remove("create_host_path");
            }
            map.iter_mut().for_each(|(key, value)| plain(key, value));
            map.retain(|key, value| !(OPTIONS.contains(&key.as_str()) && is_empty(value)));
        }
        Value::Array(list) => {
            for item in list.iter_mut() {
                plain("", item);
                item.sort_all_objects();
            }
            if SETS.contains(&key) {
                list.sort_by_cached_key(Value::to_string);
            }
        }
        _ => {}
    }
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(serde_json::Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_means_the_same_is_the_same() {
        let one = json!({
            "image": "a", "environment": { "A": "1", "B": "2" }, "#extensions": { "x-a": 1 }, "cap_add": ["A", "B"],
            "ports": [{ "target": 80, "#extensions": { "x-b": 1 } }, { "target": 81 }], "ulimits": { "nofile": 5 },
            "deploy": { "replicas": 3, "placement": {} }, "env_file": [{ "path": "/a" }],
        });
        let other = json!({
            "cap_add": ["B", "A"], "environment": { "B": "2", "A": "1" }, "image": "a",
            "ports": [{ "target": 81 }, { "target": 80 }], "ulimits": { "nofile": { "hard": 5, "soft": 5 } },
        });
        assert_eq!(canonical(one.clone()).to_string(), canonical(other).to_string());
        assert_eq!(canonical(canonical(one.clone())), canonical(one));
    }

    #[test]
    fn what_means_something_else_is_something_else() {
        let base = json!({ "image": "a", "dns": ["1.1.1.1", "2.2.2.2"], "command": ["a", "b"], "environment": {} });
        for other in [
            json!({ "image": "a", "dns": ["2.2.2.2", "1.1.1.1"], "command": ["a", "b"] }),
            json!({ "image": "a", "dns": ["1.1.1.1", "2.2.2.2"], "command": ["b", "a"] }),
            json!({ "image": "a", "dns": ["1.1.1.1", "2.2.2.2"], "command": ["a", "b"], "environment": { "A": null } }),
            json!({ "image": "a", "dns": ["1.1.1.1", "2.2.2.2"], "command": ["a", "b"], "environment": { "#extensions": "" } }),
            json!({ "image": "a", "dns": ["1.1.1.1", "2.2.2.2"] }),
        ] {
            assert_ne!(canonical(base.clone()), canonical(other.clone()), "{other}");
        }
        // An empty command clears the image's.
        assert_ne!(canonical(json!({ "command": [] })), canonical(json!({})));
    }
}
