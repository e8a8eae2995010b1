//! Images of a project's services: found, or pulled with progress.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use super::Context;
use super::exit::CommandError;
use super::ui::progress::{self, Progress, State};
use crate::compose::model::{HostRootfs, Project};
use crate::engine::images::{host_image, service_image};
use crate::image::pull::{Need, PullOptions, PullPolicy, ensure_all};
use crate::image::registry::{Client, Proxies, RegistryOptions};
use crate::image::{Event, Image, ImageError, Platform, Reference, Status, Store, StoreOptions};
use crate::plan::lower::ServiceImage;

/// Where Docker keeps the settings of its daemon.
const DOCKER_DAEMON: &str = "/etc/docker/daemon.json";

/// The image store. `WINDLASS_IMAGE_BLOBS=drop` keeps no archives of layers: less space, but no `image save`.
///
/// # Errors
/// When its folders cannot be made.
pub fn open_store(context: &Context) -> Result<Store, CommandError> {
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

/// When images are pulled, as flags say it; `None` leaves it to each service's `pull_policy`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PullFlags {
    pub policy: Option<PullPolicy>,
    pub quiet: bool,
    /// Go on with the other images when one fails; report them at the end.
    pub ignore_failures: bool,
}

/// What the named services run on: an image each, or the host root file system.
///
/// # Errors
/// Every image that is neither here nor can be pulled.
pub fn ensure(
    context: &Context,
    project: &Project,
    services: &[String],
    flags: PullFlags,
    progress: &Progress,
) -> Result<BTreeMap<String, ServiceImage>, CommandError> {
    let _span = tracing::info_span!(target: super::trace::TIMING, "images").entered();
    let store = open_store(context)?;
    let options = pull_options(context)?;
    let mut result = BTreeMap::new();
    let mut host: Option<ServiceImage> = None;
    let mut wanted: Vec<(String, Need)> = Vec::new();
    for name in services {
        let Some(service) = project.services.get(name) else { continue };
        if service.windlass.rootfs == Some(HostRootfs::Host) {
            let image = match &host {
                Some(image) => image.clone(),
                None => host.insert(host_image(&context.paths.images())?).clone(),
            };
            result.insert(name.clone(), image);
            continue;
        }
        let text = match &service.image {
            Some(image) => image.clone(),
            None if service.build.is_some() => format!("{}-{name}", project.name),
            None => {
                return Err(CommandError::new(format!("service \"{name}\" has neither an image nor a build")));
            }
        };
        let reference: Reference = text.parse().map_err(|error| {
            CommandError::caused(format!("services.{name}.image: `{text}` is no image name"), &error)
        })?;
        let platform = match &service.platform {
            Some(text) => Some(text.parse::<Platform>().map_err(|error| {
                CommandError::caused(format!("services.{name}.platform: `{text}` is no platform"), &error)
            })?),
            None => options.platform.clone(),
        };
        let policy = match (flags.policy, service.build.is_some() && service.image.is_none()) {
            (_, true) => PullPolicy::Never,
            (Some(policy), false) => policy,
            (None, false) => match service.pull_policy.as_deref() {
                Some("always" | "refresh") => PullPolicy::Always,
                Some("never" | "build") => PullPolicy::Never,
                _ => PullPolicy::Missing,
            },
        };
        wanted.push((name.clone(), Need { reference, policy, platform }));
    }
    let mut needs: Vec<Need> = Vec::new();
    for (_, need) in &wanted {
        let same = |have: &&mut Need| have.reference == need.reference && have.platform == need.platform;
        match needs.iter_mut().find(same) {
            Some(have) if need.policy == PullPolicy::Always => have.policy = PullPolicy::Always,
            Some(_) => {}
            None => needs.push(need.clone()),
        }
    }
    let show = |event: Event| {
        if !flags.quiet {
            progress.event(shown(&event));
        }
    };
    let at_once = match context.global.parallel {
        Some(limit) if limit > 0 => usize::try_from(limit).unwrap_or(4),
        _ => 4,
    };
    let client = registry(context);
    let images = ensure_all(&store, &client, &needs, &options, at_once, &show);
    let mut found: Vec<(&Need, Image)> = Vec::new();
    let mut failures: Vec<(&Need, ImageError)> = Vec::new();
    for (need, image) in needs.iter().zip(images) {
        match image {
            Ok(image) => found.push((need, image)),
            Err(error) => failures.push((need, error)),
        }
    }
    if !failures.is_empty() && !flags.ignore_failures {
        return Err(failed(project, &wanted, &failures));
    }
    for (name, need) in &wanted {
        let same = |have: &&(&Need, Image)| have.0.reference == need.reference && have.0.platform == need.platform;
        if let Some((_, image)) = found.iter().find(same) {
            result.insert(name.clone(), service_image(&need.reference.familiar(), image));
        }
    }
    super::toolchains::apply(context, project, &mut result, progress)?;
    Ok(result)
}

fn failed(project: &Project, wanted: &[(String, Need)], failures: &[(&Need, ImageError)]) -> CommandError {
    let (need, error) = &failures[0];
    let users: Vec<&str> = wanted
        .iter()
        .filter(|(_, other)| other.reference == need.reference)
        .map(|(service, _)| service.as_str())
        .collect();
    let place = users
        .first()
        .and_then(|service| project.place(&format!("services.{service}.image")))
        .map_or_else(String::new, |place| format!(" ({place})"));
    let message =
        format!("the image {} of service {} is not available{place}", need.reference.familiar(), users.join(", "));
    let mut result = CommandError::caused(message, error);
    for (other, error) in &failures[1..] {
        result = result.also(&format!("the image {} is not available either", other.reference.familiar()), error);
    }
    if let Some(remedy) = error.remedy() {
        result = result.hint(remedy);
    }
    let built =
        users.iter().any(|service| project.services.get(*service).is_some_and(|service| service.build.is_some()));
    if built {
        result = result.hint(
            "windlass does not build images yet: build it elsewhere and bring it here with `windlass image load`",
        );
    }
    result
}

/// A pull's event in the words of `docker compose`.
#[must_use]
pub fn shown(event: &Event) -> progress::Event {
    let (status, state) = match event.status {
        Status::Resolving | Status::Pulling { .. } => ("Pulling", State::Working),
        Status::Waiting => ("Waiting", State::Working),
        Status::Downloading { .. } => ("Downloading", State::Working),
        Status::Extracting => ("Extracting", State::Working),
        Status::Exists => ("Already exists", State::Done),
        Status::Complete => ("Pull complete", State::Done),
        Status::Done { changed: true } => ("Pulled", State::Done),
        Status::Done { changed: false } => ("Up to date", State::Done),
    };
    let image = format!("Image {}", event.image);
    let shown = match &event.layer {
        // Two images may share a layer, and each shows its own.
        Some(layer) => progress::Event::new(format!("{layer} {}", event.image), status, state).of(image),
        None => progress::Event::new(image, status, state),
    };
    match event.status {
        Status::Downloading { current, total } => shown.bytes(current, total),
        _ => shown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::GlobalArgs;

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
