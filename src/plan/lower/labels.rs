//! Compose's own labels, which other tools read (log viewers, proxies, editors), and the configuration hash.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::compose::model::{Project, Service};
use crate::supervisor::record::{Condition, Dependency};

use super::ServiceImage;

const PREFIX: &str = "com.docker.compose.";

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

/// Parts of a service that may change without its container being made anew.
const NOT_HASHED: &[&str] = &["build", "pull_policy", "scale", "depends_on", "profiles", "develop", "attach"];

/// Below this key a configuration has the digests of the secrets and configs that the service uses.
pub(crate) const CONTENTS: &str = "contents";

/// Below this key a configuration has the digests of what its packages depend on.
pub const PACKAGES: &str = "packages";

/// The service in canonical form without what does not concern its containers, and the SHA-256 of that.
pub(super) fn config(
    service: &Service,
    contents: &BTreeMap<String, String>,
    packages: &BTreeMap<String, String>,
) -> (serde_json::Value, String) {
    let mut value = serde_json::to_value(service).unwrap_or_default();
    if let Some(map) = value.as_object_mut() {
        for key in NOT_HASHED {
            map.remove(*key);
        }
        if let Some(deploy) = map.get_mut("deploy").and_then(serde_json::Value::as_object_mut) {
            deploy.remove("replicas");
            deploy.remove("update_config");
            deploy.remove("rollback_config");
        }
        map.retain(|_, value| !value.is_null());
        if !contents.is_empty() {
            map.insert(CONTENTS.to_owned(), serde_json::json!(contents));
        }
        if !packages.is_empty() {
            map.insert(PACKAGES.to_owned(), serde_json::json!(packages));
        }
        map.sort_keys();
    }
    let hash = hex::encode(Sha256::digest(value.to_string().as_bytes()));
    (value, hash)
}
