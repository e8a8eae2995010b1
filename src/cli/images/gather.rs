//! All images of some services, each asked for once.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use super::PullFlags;
use super::obtain::{Obtained, fetched, foreseen};
use super::settings::{open_store, pull_options};
use super::wanted::{Asked, WantedImage, asked_for, image_of, is_built, path_of, platform_of, policy_of};
use crate::cli::exit::CommandError;
use crate::cli::ui::progress::Progress;
use crate::cli::{Context, mounted, toolchains, trace};
use crate::compose::model::{HostRootfs, Project};
use crate::engine::images::{foresee_host_image, host_image, service_image};
use crate::image::pull::{Need, PullOptions, PullPolicy};
use crate::image::{Image, ImageError, Platform, Reference, Store};
use crate::plan::lower::{ImagePart, MountedImage, ServiceImage};

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
    toolchains::apply(context, project, &mut result, progress)?;
    Ok(result)
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
    let _span = tracing::info_span!(target: trace::TIMING, "images").entered();
    let store = open_store(context)?;
    let options = pull_options(context)?;
    let asking = Asking { context, project, store: &store, options: &options, flags };
    let mut gathered = Gathered::default();
    for name in mounting {
        asking.mounts(name, &mut gathered)?;
    }
    for name in services {
        asking.service(name, &mut gathered)?;
    }
    let wanted = std::mem::take(&mut gathered.wanted);
    let needs = distinct(&wanted);
    let found = match context.global.dry_run {
        true => foreseen(&store, &needs, progress),
        false => fetched(context, &store, &needs, &options, flags, progress),
    };
    let mut failures: Vec<(&Need, ImageError)> = Vec::new();
    let mut images: HashMap<(&Reference, Option<&Platform>), Obtained> = HashMap::new();
    for (need, found) in needs.iter().zip(found) {
        match found {
            Some(Ok(found)) => _ = images.insert((&need.reference, need.platform.as_ref()), found),
            Some(Err(error)) => failures.push((need, error)),
            None => {}
        }
    }
    for WantedImage { service, mount, need } in &wanted {
        let image = match images.get(&(&need.reference, need.platform.as_ref())) {
            Some(Obtained::Here(image)) => service_image(&need.reference.familiar(), image),
            Some(Obtained::Elsewhere) => ServiceImage::not_here(&need.reference.familiar()),
            None => continue,
        };
        gathered.put(service, *mount, image);
    }
    let failure = failed(project, &wanted, &failures);
    Ok((gathered.by_service(), failure))
}

/// What is known so far.
#[derive(Default)]
struct Gathered {
    services: BTreeMap<String, ServiceImage>,
    /// What a service mounts, by its place in `volumes`.
    mounted: Vec<(String, usize, ServiceImage)>,
    /// What must be looked for, or pulled.
    wanted: Vec<WantedImage>,
    /// Made once, however many services run on it.
    host: Option<ServiceImage>,
}

impl Gathered {
    fn put(&mut self, service: &str, mount: Option<usize>, image: ServiceImage) {
        match mount {
            None => _ = self.services.insert(service.to_owned(), image),
            Some(index) => self.mounted.push((service.to_owned(), index, image)),
        }
    }

    /// Each service's own, with what it mounts.
    fn by_service(mut self) -> BTreeMap<String, ServiceImage> {
        for (service, index, ServiceImage { reference, id, lower, .. }) in self.mounted {
            if let Some(image) = self.services.get_mut(&service) {
                image.mounted.insert(index, MountedImage { reference, id, part: ImagePart::Folders(lower) });
            }
        }
        self.services
    }
}

/// What a service's images are asked for with.
struct Asking<'a> {
    context: &'a Context,
    project: &'a Project,
    store: &'a Store,
    options: &'a PullOptions,
    flags: PullFlags,
}

impl Asking<'_> {
    /// The images that a service mounts.
    fn mounts(&self, name: &str, gathered: &mut Gathered) -> Result<(), CommandError> {
        for (index, source) in mounted::of(self.project, name) {
            let path = path_of(name, Some(index));
            let named = mounted::service(self.project, source);
            let mounting = self.project.services.get_key_value(name).map(|(name, service)| (name.as_str(), service));
            let platform = match named.or(mounting) {
                Some((name, service)) => platform_of(name, service, self.options)?,
                None => None,
            };
            let (text, is_built) = match named {
                None => (source.to_owned(), false),
                Some((holder, service)) => (image_of(self.project, holder, service, &path)?, is_built(service)),
            };
            let policy = match is_built {
                true => PullPolicy::Never,
                false => self.flags.mounted.or(self.flags.policy).unwrap_or(PullPolicy::Missing),
            };
            match asked_for(self.store, self.project, &text, name, &path)? {
                Asked::Here(text, image) => gathered.put(name, Some(index), service_image(&text, &image)),
                Asked::Named(reference) => {
                    let need = Need { reference, policy, platform };
                    gathered.wanted.push(WantedImage { service: name.to_owned(), mount: Some(index), need });
                }
            }
        }
        Ok(())
    }

    /// What a service itself runs on.
    fn service(&self, name: &str, gathered: &mut Gathered) -> Result<(), CommandError> {
        let Some(service) = self.project.services.get(name) else { return Ok(()) };
        if service.windlass.rootfs == Some(HostRootfs::Host) {
            let image = self.host(gathered)?;
            gathered.put(name, None, image);
            return Ok(());
        }
        let platform = platform_of(name, service, self.options)?;
        let path = path_of(name, None);
        let text = image_of(self.project, name, service, &path)?;
        match asked_for(self.store, self.project, &text, name, &path)? {
            Asked::Here(text, image) => {
                fits(&text, &image, platform.as_ref())?;
                gathered.put(name, None, service_image(&text, &image));
            }
            Asked::Named(reference) => {
                let policy = match (self.flags.policy, is_built(service)) {
                    (_, true) => PullPolicy::Never,
                    (Some(policy), false) => policy,
                    (None, false) => policy_of(service),
                };
                let need = Need { reference, policy, platform };
                gathered.wanted.push(WantedImage { service: name.to_owned(), mount: None, need });
            }
        }
        Ok(())
    }

    fn host(&self, gathered: &mut Gathered) -> Result<ServiceImage, CommandError> {
        if let Some(image) = &gathered.host {
            return Ok(image.clone());
        }
        let of_host = if self.context.global.dry_run { foresee_host_image } else { host_image };
        Ok(gathered.host.insert(of_host(&self.context.paths.images())?).clone())
    }
}

/// An image that is meant by its id must be for the platform that is asked for.
fn fits(text: &str, image: &Image, platform: Option<&Platform>) -> Result<(), ImageError> {
    match platform.filter(|platform| platform.rank(&image.platform).is_none()) {
        None => Ok(()),
        Some(platform) => {
            let reference = image.references.first().map_or_else(|| text.to_owned(), Reference::familiar);
            Err(ImageError::Platform { reference, found: image.platform.to_string(), wanted: platform.to_string() })
        }
    }
}

/// Each image once, with the most eager of its policies.
fn distinct(wanted: &[WantedImage]) -> Vec<Need> {
    let mut needs: Vec<Need> = Vec::new();
    let mut known: HashMap<(Reference, Option<Platform>), usize> = HashMap::new();
    for WantedImage { need, .. } in wanted {
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
    needs
}

/// What cannot be had, each with the services that want it and their place.
fn failed(project: &Project, wanted: &[WantedImage], failures: &[(&Need, ImageError)]) -> Option<CommandError> {
    let mut result: Option<CommandError> = None;
    for (need, error) in failures {
        let same = |other: &Need| other.reference == need.reference && other.platform == need.platform;
        let asking: Vec<&WantedImage> = wanted.iter().filter(|other| same(&other.need)).collect();
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
