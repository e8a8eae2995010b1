//! Images of a project's services: found, or pulled with progress.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use super::Context;
use super::exit::CommandError;
use super::mounted;
use super::ui::progress::{self, Progress, State};
use crate::compose::model::{HostRootfs, Project, Service};
use crate::engine::images::{foresee_host_image, host_image, service_image};
use crate::image::pull::{Foresight, Need, PullOptions, PullPolicy, ensure_all, foresee};
use crate::image::registry::{Client, Proxies, RegistryOptions};
use crate::image::store::{could_be_id, is_whole_id};
use crate::image::{Image, ImageError, Platform, Reference, Store, StoreOptions, TransferEvent, TransferStatus};
use crate::plan::lower::{ImagePart, MountedImage, ServiceImage};

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

/// When images are pulled, as flags say it; `None` leaves it to each service's `pull_policy`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PullFlags {
    pub policy: Option<PullPolicy>,
    pub quiet: bool,
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
    let (mut result, failure) = gather(context, project, services, services, flags, progress)?;
    if let Some(failure) = failure {
        return Err(failure);
    }
    super::toolchains::apply(context, project, &mut result, progress)?;
    Ok(result)
}

/// An image that is wanted: by a service for itself, or for a mount of it.
struct Wanted {
    service: String,
    /// Its place in `volumes`.
    mount: Option<usize>,
    need: Need,
}

impl Wanted {
    fn path(&self) -> String {
        path_of(&self.service, self.mount)
    }
}

fn path_of(service: &str, mount: Option<usize>) -> String {
    match mount {
        None => format!("services.{service}.image"),
        Some(index) => format!("services.{service}.volumes[{index}].source"),
    }
}

/// What can be had of it, and why the rest cannot; also of what the services `mounting` mount.
///
/// # Errors
/// When an image's name or platform is none, or the store cannot be read.
pub fn gather(
    context: &Context,
    project: &Project,
    services: &[String],
    mounting: &[String],
    flags: PullFlags,
    progress: &Progress,
) -> Result<(BTreeMap<String, ServiceImage>, Option<CommandError>), CommandError> {
    let _span = tracing::info_span!(target: super::trace::TIMING, "images").entered();
    let store = open_store(context)?;
    let options = pull_options(context)?;
    let mut result = BTreeMap::new();
    let mut host: Option<ServiceImage> = None;
    let mut wanted: Vec<Wanted> = Vec::new();
    let mut mounted: Vec<(String, usize, ServiceImage)> = Vec::new();
    for name in mounting {
        for (index, source) in mounted::of(project, name) {
            let platform = match project.services.get(name) {
                Some(service) => platform_of(name, service, &options)?,
                None => None,
            };
            let path = path_of(name, Some(index));
            match asked_for(&store, project, source, name, &path)? {
                Asked::Here(text, image) => mounted.push((name.clone(), index, service_image(&text, &image))),
                Asked::Named(reference) => {
                    let need = Need { reference, policy: flags.policy.unwrap_or(PullPolicy::Missing), platform };
                    wanted.push(Wanted { service: name.clone(), mount: Some(index), need });
                }
            }
        }
    }
    for name in services {
        let Some(service) = project.services.get(name) else { continue };
        if service.windlass.rootfs == Some(HostRootfs::Host) {
            let image = match &host {
                Some(image) => image.clone(),
                None => {
                    let of_host = if context.global.dry_run { foresee_host_image } else { host_image };
                    host.insert(of_host(&context.paths.images())?).clone()
                }
            };
            result.insert(name.clone(), image);
            continue;
        }
        let platform = platform_of(name, service, &options)?;
        let text = match &service.image {
            Some(image) => image.clone(),
            None if service.build.is_some() => project.built_image(name),
            None => return Err(CommandError::new(format!("service \"{name}\" has neither an image nor a build"))),
        };
        match asked_for(&store, project, &text, name, &path_of(name, None))? {
            Asked::Here(text, image) => {
                let reference = image.references.first().cloned();
                if let Some(platform) = &platform
                    && platform.rank(&image.platform).is_none()
                {
                    let reference = reference.map_or_else(|| text.clone(), |reference| reference.familiar());
                    let (found, wanted) = (image.platform.to_string(), platform.to_string());
                    return Err(ImageError::Platform { reference, found, wanted }.into());
                }
                result.insert(name.clone(), service_image(&text, &image));
            }
            Asked::Named(reference) => {
                let policy = match (flags.policy, service.build.is_some() && service.image.is_none()) {
                    (_, true) => PullPolicy::Never,
                    (Some(policy), false) => policy,
                    (None, false) => policy_of(service),
                };
                wanted.push(Wanted { service: name.clone(), mount: None, need: Need { reference, policy, platform } });
            }
        }
    }
    let mut needs: Vec<Need> = Vec::new();
    let mut known: HashMap<(Reference, Option<Platform>), usize> = HashMap::new();
    for Wanted { need, .. } in &wanted {
        match known.entry((need.reference.clone(), need.platform.clone())) {
            Entry::Occupied(place) => {
                let have = &mut needs[*place.get()];
                have.policy = have.policy.more_eager(need.policy);
            }
            Entry::Vacant(place) => {
                place.insert(needs.len());
                needs.push(need.clone());
            }
        }
    }
    let found = match context.global.dry_run {
        true => foreseen(&store, &needs, progress),
        false => fetched(context, &store, &needs, &options, flags, progress),
    };
    let mut failures: Vec<(&Need, ImageError)> = Vec::new();
    let mut images: HashMap<(&Reference, Option<&Platform>), Found> = HashMap::new();
    for (need, found) in needs.iter().zip(found) {
        match found {
            Some(Ok(found)) => _ = images.insert((&need.reference, need.platform.as_ref()), found),
            Some(Err(error)) => failures.push((need, error)),
            None => {}
        }
    }
    for Wanted { service, mount, need } in &wanted {
        let image = match images.get(&(&need.reference, need.platform.as_ref())) {
            Some(Found::Here(image)) => service_image(&need.reference.familiar(), image),
            Some(Found::Elsewhere) => ServiceImage::not_here(&need.reference.familiar()),
            None => continue,
        };
        match mount {
            None => _ = result.insert(service.clone(), image),
            Some(index) => mounted.push((service.clone(), *index, image)),
        }
    }
    for (service, index, ServiceImage { reference, id, lower, .. }) in mounted {
        if let Some(image) = result.get_mut(&service) {
            image.mounted.insert(index, MountedImage { reference, id, part: ImagePart::Folders(lower) });
        }
    }
    let failure = failed(project, &wanted, &failures);
    Ok((result, failure))
}

/// An image that is wanted.
enum Found {
    Here(Box<Image>),
    /// It would be pulled.
    Elsewhere,
}

/// Each image, pulled where it must be; `None` for those that are not tried, because another cannot be had.
fn fetched(
    context: &Context,
    store: &Store,
    needs: &[Need],
    options: &PullOptions,
    flags: PullFlags,
    progress: &Progress,
) -> Vec<Option<Result<Found, ImageError>>> {
    let show = |event: TransferEvent| {
        if !flags.quiet {
            progress.event(shown(&event));
        }
    };
    let at_once = match context.global.parallel {
        Some(limit) if limit > 0 => usize::try_from(limit).unwrap_or(4),
        _ => 4,
    };
    let client = registry(context);
    let mut found: Vec<Option<Result<Found, ImageError>>> = needs.iter().map(|_| None).collect();
    // What may not be pulled comes first: when it is not here, nothing needs to be fetched.
    for local in [true, false] {
        if found.iter().flatten().any(Result::is_err) {
            break;
        }
        let is_meant = |need: &Need| (need.policy == PullPolicy::Never) == local;
        let places: Vec<usize> = (0..needs.len()).filter(|place| is_meant(&needs[*place])).collect();
        let chosen: Vec<Need> = places.iter().map(|place| needs[*place].clone()).collect();
        let images = ensure_all(store, &client, &chosen, options, at_once, &show);
        for (place, image) in places.into_iter().zip(images) {
            found[place] = Some(image.map(|image| Found::Here(Box::new(image))));
        }
    }
    found
}

/// Each image as it is, and what would be pulled, in words.
fn foreseen(store: &Store, needs: &[Need], progress: &Progress) -> Vec<Option<Result<Found, ImageError>>> {
    let found = needs.iter().map(|need| {
        let name = need.reference.familiar();
        Ok(match foresee(store, &need.reference, need.policy, need.platform.as_ref())? {
            Foresight::Here(image) => Found::Here(image),
            Foresight::Pull(Some(image)) => {
                progress.note(&format!(
                    "pull image {name}: the registry is to be asked whether it has changed; what follows is of the one that is here"
                ));
                Found::Here(image)
            }
            Foresight::Pull(None) => {
                progress.note(&format!(
                    "pull image {name}: it is not here; the command, user, volumes, ports and health check that it brings are \
                     known when it is"
                ));
                Found::Elsewhere
            }
        })
    });
    found.map(Some).collect()
}

/// The platform that a service is pinned to.
///
/// # Errors
/// When its text is none.
pub fn platform_of(name: &str, service: &Service, options: &PullOptions) -> Result<Option<Platform>, CommandError> {
    let Some(text) = &service.platform else { return Ok(options.platform.clone()) };
    let wrong = |error| CommandError::caused(format!("services.{name}.platform: `{text}` is no platform"), &error);
    text.parse::<Platform>().map(Some).map_err(wrong)
}

/// What a service says it runs on.
enum Asked {
    Named(Reference),
    /// By an id, which no registry knows.
    Here(String, Box<Image>),
}

fn asked_for(store: &Store, project: &Project, text: &str, name: &str, path: &str) -> Result<Asked, CommandError> {
    let text = text.to_owned();
    let place = || project.place(path).map_or_else(String::new, |at| format!(" ({at})"));
    let reference = text.parse::<Reference>().ok().filter(|_| !is_whole_id(&text));
    let is_here = |reference| store.has(reference, None);
    if let Some(reference) = reference {
        // `cafe` may be a name as well as the beginning of an id; names go first, as in `image inspect`.
        if !could_be_id(&text) || is_here(&reference)? {
            return Ok(Asked::Named(reference));
        }
        let found = store.by_id(&text)?;
        return Ok(found.map_or(Asked::Named(reference), |image| Asked::Here(text, Box::new(image))));
    }
    if is_whole_id(&text) {
        let found = store.by_id(&text).map_err(|error| {
            CommandError::caused(format!("the image {text} of service {name} is not available{}", place()), &error)
        })?;
        return found.map(|image| Asked::Here(text.clone(), Box::new(image))).ok_or_else(|| {
            CommandError::new(format!("no image with the id {text} of service {name} is here{}", place()))
                .hint("only a name can be pulled; `windlass image ls` lists what is here")
        });
    }
    let error = text.parse::<Reference>().err();
    let message = format!("{path}: `{text}` is no image name{}", place());
    Err(error.map_or_else(|| CommandError::new(message.clone()), |error| CommandError::caused(message.clone(), &error)))
}

/// When a service's image is to be pulled; the file was checked when it was read.
fn policy_of(service: &Service) -> PullPolicy {
    const DAY: u64 = 24 * 60 * 60;
    let days = |days| PullPolicy::Refresh(Duration::from_secs(days * DAY));
    match service.pull_policy.as_deref() {
        Some("always" | "refresh") => PullPolicy::Always,
        Some("never" | "build") => PullPolicy::Never,
        Some("daily") => days(1),
        Some("weekly") => days(7),
        Some(text) => text.strip_prefix("every_").and_then(every).map_or(PullPolicy::Missing, PullPolicy::Refresh),
        None => PullPolicy::Missing,
    }
}

/// `1d12h`
fn every(text: &str) -> Option<Duration> {
    text.split_inclusive(|c: char| !c.is_ascii_digit()).try_fold(Duration::ZERO, |sum, part| {
        let (number, unit) = part.split_at(part.len() - part.chars().next_back()?.len_utf8());
        let seconds = match unit {
            "w" => 7 * 24 * 60 * 60,
            "d" => 24 * 60 * 60,
            "h" => 60 * 60,
            "m" => 60,
            "s" => 1,
            _ => return None,
        };
        // Longer than any time there is means never again.
        Some(sum.saturating_add(Duration::from_secs(number.parse::<u64>().unwrap_or(u64::MAX).saturating_mul(seconds))))
    })
}

/// What cannot be had, each with the services that want it and their place.
fn failed(project: &Project, wanted: &[Wanted], failures: &[(&Need, ImageError)]) -> Option<CommandError> {
    let mut result: Option<CommandError> = None;
    for (need, error) in failures {
        let same = |other: &Need| other.reference == need.reference && other.platform == need.platform;
        let asking: Vec<&Wanted> = wanted.iter().filter(|other| same(&other.need)).collect();
        let mut users: Vec<&str> = asking.iter().map(|other| other.service.as_str()).collect();
        users.dedup();
        let service = |name: &str| project.services.get(name);
        let own = asking.iter().filter(|other| other.mount.is_none()).map(|other| other.service.as_str());
        let built = own.into_iter().find(|name| service(name).is_some_and(|service| service.build.is_some()));
        let place = |path: &str| project.place(path).map_or_else(String::new, |place| format!(" ({place})"));
        let never = matches!(error, ImageError::Never { .. });
        let reference = need.reference.familiar();
        let (message, cause): (String, Option<&ImageError>) = match (built, asking.first()) {
            (Some(built), _) if never => {
                let place = place(&format!("services.{built}.build"));
                (
                    format!(
                        "service {built} must be built, which windlass does not do yet, and no image {reference} is here{place}"
                    ),
                    None,
                )
            }
            (_, first) => {
                let place = first.map_or_else(String::new, |first| place(&first.path()));
                (format!("the image {reference} of service {} is not available{place}", users.join(", ")), Some(error))
            }
        };
        let next = match (result, cause) {
            (None, None) => CommandError::new(message),
            (None, Some(cause)) => CommandError::caused(message, cause),
            (Some(result), None) => result.beside(message),
            (Some(result), Some(cause)) => result.also(message, cause),
        };
        let next = error.remedy().into_iter().fold(next, CommandError::hint);
        result = Some(match built {
            Some(_) => {
                next.hint(format!("build it elsewhere, as {reference}, and bring it here with `windlass image load`"))
            }
            None => next,
        });
    }
    result
}

/// A pull's event in the words of `docker compose`.
#[must_use]
pub fn shown(event: &TransferEvent) -> progress::ProgressEvent {
    let (status, state) = match event.status {
        TransferStatus::Resolving | TransferStatus::Pulling { .. } => ("Pulling", State::Working),
        TransferStatus::Waiting => ("Waiting", State::Working),
        TransferStatus::Downloading { .. } => ("Downloading", State::Working),
        TransferStatus::Extracting => ("Extracting", State::Working),
        TransferStatus::Exists => ("Already exists", State::Done),
        TransferStatus::Complete => ("Pull complete", State::Done),
        TransferStatus::Done { changed: true } => ("Pulled", State::Done),
        TransferStatus::Done { changed: false } => ("Up to date", State::Done),
    };
    let image = format!("Image {}", event.image);
    let shown = match &event.layer {
        // Two images may share a layer, and each shows its own.
        Some(layer) => progress::ProgressEvent::new(format!("{layer} {}", event.image), status, state).of(image),
        None => progress::ProgressEvent::new(image, status, state),
    };
    match event.status {
        TransferStatus::Downloading { current, total } => shown.bytes(current, total),
        _ => shown,
    }
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
    fn policies_with_a_time() {
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        for (text, expected) in [
            ("12h", Some(hours(12))),
            ("1w2d", Some(hours(9 * 24))),
            ("90m30s", Some(Duration::from_secs(5430))),
            ("99999999999999999999w", Some(Duration::from_secs(u64::MAX))),
            ("12", None),
            ("x", None),
        ] {
            assert_eq!(every(text), expected, "{text}");
        }
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
