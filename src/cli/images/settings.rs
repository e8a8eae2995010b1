//! What the environment and Docker's own files say about the store, registries and pulls.

use std::path::Path;

use serde::Deserialize;

use crate::cli::Context;
use crate::cli::exit::CommandError;
use crate::image::pull::PullOptions;
use crate::image::registry::{Client, Proxies, RegistryOptions};
use crate::image::{Store, StoreOptions};

/// Where Docker keeps the settings of its daemon.
const DOCKER_DAEMON: &str = "/etc/docker/daemon.json";

/// The image store; for a dry run as it is, or is not. `WINDLASS_IMAGE_BLOBS=drop` keeps no archives of layers: less space, but no `image save`.
///
/// # Errors
/// When its folders cannot be made.
pub fn open_store(context: &Context) -> Result<Store, CommandError> {
    if context.global.dry_run {
        return Ok(Store::at(&context.paths.images()));
    }
    let drop = context.environment.get("WINDLASS_IMAGE_BLOBS").is_some_and(|value| value == "drop");
    Ok(Store::open_with(&context.paths.images(), StoreOptions { keep_blobs: !drop })?)
}

/// A registry client set up from the environment: Docker's credentials, mirrors, insecure registries, proxies.
#[must_use]
pub fn registry(context: &Context) -> Client {
    let variable = |name: &str| context.environment.get(name).map(String::as_str).filter(|value| !value.is_empty());
    let list = |name: &str| -> Vec<String> {
        variable(name)
            .map(|value| value.split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect())
            .unwrap_or_default()
    };
    let docker = variable("DOCKER_CONFIG")
        .map(|folder| context.working_dir.join(folder))
        .or_else(|| context.home.as_ref().map(|home| home.join(".docker")))
        .map(|folder| folder.join("config.json"));
    let daemon = daemon_settings(Path::new(DOCKER_DAEMON));
    let mirrors = match list("WINDLASS_REGISTRY_MIRROR") {
        named if named.is_empty() => daemon.registry_mirrors,
        named => named,
    };
    let mut insecure = list("WINDLASS_INSECURE_REGISTRIES");
    insecure.extend(daemon.insecure_registries);
    Client::new(RegistryOptions {
        docker_config: docker,
        mirrors,
        insecure,
        proxies: Proxies::from_variables(variable),
        ..RegistryOptions::default()
    })
}

/// What of the Docker daemon's settings is about registries.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "kebab-case")]
struct DaemonSettings {
    registry_mirrors: Vec<String>,
    insecure_registries: Vec<String>,
}

fn daemon_settings(path: &Path) -> DaemonSettings {
    let Ok(text) = std::fs::read(path) else { return DaemonSettings::default() };
    serde_json::from_slice(&text).unwrap_or_else(|error| {
        tracing::warn!("{} is not understood and left out: {error}", path.display());
        DaemonSettings::default()
    })
}

/// How images are pulled when nothing else is said: for `DOCKER_DEFAULT_PLATFORM`, so many layers at once.
///
/// # Errors
/// When `DOCKER_DEFAULT_PLATFORM` is no platform.
pub fn pull_options(context: &Context) -> Result<PullOptions, CommandError> {
    let limit = context.environment.get("COMPOSE_PARALLEL_LIMIT").filter(|limit| !limit.is_empty());
    let number = |limit: &String| {
        limit.parse::<i32>().map_err(|_| {
            CommandError::new(format!("COMPOSE_PARALLEL_LIMIT is `{limit}`, and not a number"))
                .hint("write how many layers may be fetched at once, or -1 for no limit")
        })
    };
    let limit = limit.map(number).transpose()?;
    let mut options = PullOptions::default();
    if let Some(limit) = context.global.parallel.or(limit)
        && let Ok(limit) = usize::try_from(limit)
        && limit > 0
    {
        options.parallel = limit.min(options.parallel);
    }
    if let Some(platform) = context.environment.get("DOCKER_DEFAULT_PLATFORM").filter(|platform| !platform.is_empty()) {
        options.platform = Some(platform.parse()?);
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::global::GlobalArgs;

    #[test]
    fn so_many_layers_at_once_as_is_said() {
        let limit = |flag: Option<i32>, variable: Option<&str>| {
            let global = GlobalArgs { parallel: flag, ..GlobalArgs::default() };
            let mut context = Context::from_environment(global, false).unwrap();
            context.environment.extend(variable.map(|value| ("COMPOSE_PARALLEL_LIMIT".to_owned(), value.to_owned())));
            pull_options(&context).map(|options| options.parallel)
        };
        let most = PullOptions::default().parallel;
        assert_eq!(limit(None, Some("")).unwrap(), most);
        assert_eq!(limit(Some(2), Some("1")).unwrap(), 2);
        assert_eq!(limit(None, Some("1")).unwrap(), 1);
        assert_eq!(limit(Some(-1), None).unwrap(), most);
        assert!(limit(None, Some("many")).is_err());
    }

    #[test]
    fn docker_daemons_settings() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("daemon.json");
        let text = r#"{"registry-mirrors": ["https://m"], "insecure-registries": ["r:5000"], "debug": true}"#;
        std::fs::write(&path, text).unwrap();
        let settings = daemon_settings(&path);
        assert_eq!(settings.registry_mirrors, ["https://m"]);
        assert_eq!(settings.insecure_registries, ["r:5000"]);
        std::fs::write(&path, "nonsense").unwrap();
        assert!(daemon_settings(&path).registry_mirrors.is_empty());
    }
}
