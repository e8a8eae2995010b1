//! From a loaded project to what a supervisor is asked to make of it: images, then lowering.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use clap::Args;

use super::exit::{CommandError, USAGE};
use super::images::{PullFlags, ensure};
use super::load::Loaded;
use super::ui::progress::Progress;
use super::{Context, mounted, names, ui};
use crate::compose::model::{Place, Project, VolumeMountType};
use crate::engine::packages;
use crate::image::pull::PullPolicy;
use crate::plan::desired::{address_key, parent_key, port_key, source_key};
use crate::plan::lower::{Fault, Inputs, Locks, PACKAGES, ServiceImage, check, lower, warnings};
use crate::plan::{Desired, DesiredService};
use crate::record::Origin;

/// Where images come from.
#[derive(Debug, Clone, Default, Args)]
pub struct ImageArgs {
    /// Build images first; refused with a service that has `build:`, since windlass does not build images yet
    #[arg(long, conflicts_with = "no_build")]
    pub build: bool,
    /// Do not build images, even when they are missing; always so
    #[arg(long)]
    pub no_build: bool,
    /// When to pull images
    #[arg(long, value_name = "POLICY", value_parser = ["always", "missing", "never", "policy"])]
    pub pull: Option<String>,
    /// Pull without progress output
    #[arg(long)]
    pub quiet_pull: bool,
    /// Build without progress output; nothing is built
    #[arg(long)]
    pub quiet_build: bool,
}

/// `None` leaves it to each service.
#[must_use]
pub fn policy(text: Option<&str>) -> Option<PullPolicy> {
    match text {
        Some("always") => Some(PullPolicy::Always),
        Some("missing") => Some(PullPolicy::Missing),
        Some("never") => Some(PullPolicy::Never),
        _ => None,
    }
}

impl ImageArgs {
    fn refuse_to_build(&self, project: &Project, services: &[String]) -> Result<(), CommandError> {
        let built = |name: &&String| project.services.get(*name).is_some_and(|service| service.build.is_some());
        match services.iter().find(built).filter(|_| self.build) {
            None => Ok(()),
            Some(name) => Err(CommandError::new(format!(
                "--build: service \"{name}\" cannot be built: windlass does not build images yet"
            ))
            .hint("build it elsewhere and bring it here with `windlass image load`, or leave --build out")),
        }
    }
}

/// The wanted state of `services`; their images are here then.
///
/// # Errors
/// When an image cannot be had, or the file does not fit it.
pub fn desired(
    context: &Context,
    loaded: &Loaded,
    services: &[String],
    scale: &BTreeMap<String, u32>,
    flags: &ImageArgs,
    progress: &Progress,
) -> Result<Desired, CommandError> {
    let project = &loaded.project;
    flags.refuse_to_build(project, services)?;
    let pull = PullFlags { policy: policy(flags.pull.as_deref()), mounted: None, quiet: flags.quiet_pull };
    let volumes = context.paths.volumes();
    let nothing = Nothing::default();
    let without_images = Inputs { scale, ..nothing.inputs(context, &volumes, services) };
    let faults = check(project, &without_images);
    if !faults.is_empty() {
        return Err(context.unfit(loaded, &faults));
    }
    let mut images = ensure(context, project, services, pull, progress)?;
    mounted::narrow(project, &mut images).map_err(|faults| context.unfit(loaded, &faults))?;
    let digests = digests(project, services).map_err(|faults| context.unfit(loaded, &faults))?;
    let locks = packages::locks(project, &images).map_err(|faults| context.unfit(loaded, &faults))?;
    let inputs = Inputs { images: &images, digests: &digests, locks: &locks, ..without_images };
    let mut desired = lower(project, &inputs).map_err(|faults| context.unfit(loaded, &faults))?;
    for warning in warnings(project, services) {
        let (hint, place) = (warning.hint.as_deref(), Some(warning.path.as_str()));
        progress.note(ui::watch::warning(&warning.message, hint, place, project, context.palette()).trim_end());
    }
    desired.project.environment_files.clone_from(&loaded.environment_files);
    for service in &mut desired.services {
        service.template.spec.process.size = super::terminal::size();
    }
    for service in &mut desired.services {
        service.origins = origins(project, service);
        if context.global.dry_run {
            service.places = places(project, service);
        }
    }
    Ok(desired)
}

/// What is not known yet while nothing but the file was read.
#[derive(Default)]
struct Nothing {
    images: BTreeMap<String, ServiceImage>,
    scale: BTreeMap<String, u32>,
    digests: BTreeMap<PathBuf, String>,
    locks: BTreeMap<String, Locks>,
}

impl Nothing {
    fn inputs<'a>(&'a self, context: &Context, volumes: &'a Path, services: &'a [String]) -> Inputs<'a> {
        Inputs {
            images: &self.images,
            volumes,
            services,
            scale: &self.scale,
            digests: &self.digests,
            locks: &self.locks,
            all_resources: context.global.all_resources,
            for_person: context.is_through_sudo(),
            version: env!("CARGO_PKG_VERSION"),
        }
    }
}

/// Values of these services that nothing can be made of, as far as the file alone shows them.
pub fn unfit(context: &Context, project: &Project, services: &[String]) -> Vec<Fault> {
    check(project, &Nothing::default().inputs(context, &context.paths.volumes(), services))
}

/// What the files of the services' secrets and configs hold. One that is missing is for the supervisor to tell of, when
/// it is needed.
fn digests(project: &Project, services: &[String]) -> Result<BTreeMap<PathBuf, String>, Vec<Fault>> {
    let (mut found, mut faults) = (BTreeMap::new(), Vec::new());
    for (path, file) in files_of(project, services) {
        match crate::volumes::packages::digest(Path::new(&file)) {
            Ok(digest) => _ = found.insert(PathBuf::from(file), digest),
            // Bound as it is, where nobody has to read it for that.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput && is_mountable(&file) => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                faults.push(Fault { path, message: format!("{file}: {error}"), hint: None });
            }
            Err(_) => {}
        }
    }
    if faults.is_empty() { Ok(found) } else { Err(faults) }
}

/// A folder, and a device as `/dev/null`; nothing that a program would wait for.
fn is_mountable(file: &str) -> bool {
    std::fs::metadata(file).is_ok_and(|found| found.is_dir() || found.file_type().is_char_device())
}

/// The files that secrets and configs of these services come from, each with its path in the project.
fn files_of(project: &Project, services: &[String]) -> BTreeMap<String, String> {
    let services = || services.iter().filter_map(|name| project.services.get(name));
    let secrets = services().flat_map(|service| &service.secrets).filter_map(|reference| {
        let file = project.secrets.get(&reference.source)?.file.clone()?;
        Some((format!("secrets.{}.file", reference.source), file))
    });
    let configs = services().flat_map(|service| &service.configs).filter_map(|reference| {
        let file = project.configs.get(&reference.source)?.file.clone()?;
        Some((format!("configs.{}.file", reference.source), file))
    });
    secrets.chain(configs).collect()
}

/// Where the file asks for what a start may fail for.
fn origins(project: &Project, service: &DesiredService) -> BTreeMap<String, Origin> {
    let name = &service.name;
    let Some(written) = project.services.get(name) else { return BTreeMap::new() };
    let of_service = |attribute: String| format!("services.{name}.{attribute}");
    let mut paths: Vec<(String, String)> = Vec::new();
    for (key, value) in service.template.config.as_object().into_iter().flatten() {
        paths.push((key.clone(), of_service(key.clone())));
        let inner = value.as_object().into_iter().flatten().map(|(inner, _)| format!("{key}.{inner}"));
        paths.extend(inner.map(|path| (path.clone(), of_service(path))));
    }
    for (path, file) in files_of(project, std::slice::from_ref(name)) {
        paths.push((source_key(Path::new(&file)), path));
    }
    for (index, mount) in written.volumes.iter().enumerate().filter(|(_, mount)| mount.kind == VolumeMountType::Bind) {
        let source = mount.source.as_deref().unwrap_or_default();
        paths.push((source_key(Path::new(source)), of_service(format!("volumes[{index}]"))));
    }
    for (index, from) in service.template.volumes_from.iter().enumerate() {
        paths.push((parent_key(&from.from), of_service(format!("volumes_from[{index}]"))));
    }
    for (index, device) in service.template.spec.devices.iter().enumerate() {
        paths.push((source_key(&device.source), of_service(format!("devices[{index}]"))));
    }
    for (index, port) in service.template.ports.iter().enumerate() {
        paths.push((port_key(port), of_service(format!("ports[{index}]"))));
    }
    for (key, config) in &written.networks {
        let (Some(network), Some(config)) = (project.networks.get(key), config) else { continue };
        for (attribute, text) in [("ipv4_address", &config.ipv4_address), ("ipv6_address", &config.ipv6_address)] {
            let Some(address) = text.as_ref().and_then(|text| text.parse().ok()) else { continue };
            paths.push((address_key(&network.name, address), of_service(format!("networks.{key}.{attribute}"))));
        }
    }
    let found = paths.into_iter().filter_map(|(key, path)| {
        let place = project.place(&path)?;
        let file = place.file.strip_prefix(&project.working_dir).unwrap_or(&place.file).to_owned();
        let place = Place { file, ..place.clone() }.to_string();
        Some((key, Origin { path, place }))
    });
    found.collect()
}

/// The lines of what a service is made of, down to the second level: `environment.DEBUG`.
fn places(project: &Project, service: &DesiredService) -> BTreeMap<String, String> {
    let mut paths: Vec<String> = Vec::new();
    for (key, value) in service.template.config.as_object().into_iter().flatten() {
        paths.push(key.clone());
        paths.extend(value.as_object().into_iter().flatten().map(|(inner, _)| format!("{key}.{inner}")));
    }
    let installs = |path: &str| path.split('.').next() == Some(PACKAGES);
    let found = paths.into_iter().filter_map(|path| {
        let attribute = if installs(&path) { "x-windlass.install" } else { &path };
        let place = project.place(&format!("services.{}.{attribute}", service.name))?;
        let file = place.file.strip_prefix(&project.working_dir).unwrap_or(&place.file);
        let line = if place.line == 0 { String::new() } else { format!(":{}", place.line) };
        Some((path, format!("{}{line}", file.display())))
    });
    found.collect()
}

/// `SERVICE=N`, as `--scale` and `scale` take it.
///
/// # Errors
/// When it is not that, the service is unknown, or it cannot have so many containers.
pub fn scale(arguments: &[String], project: &Project) -> Result<BTreeMap<String, u32>, CommandError> {
    let mut scale = BTreeMap::new();
    for argument in arguments {
        let parsed = argument.split_once('=').and_then(|(name, count)| Some((name, count.parse::<u32>().ok()?)));
        let Some((name, count)) = parsed else {
            return Err(CommandError::new(format!("invalid scale `{argument}`: expected SERVICE=N")).code(USAGE));
        };
        let Some(service) = project.services.get(name) else {
            return Err(names::no_such_service(&[name.to_owned()], &names::services(project)));
        };
        if count > 1 && service.container_name.is_some() {
            return Err(CommandError::new(format!(
                "service \"{name}\" has a container_name, so it cannot have {count} containers: names are unique"
            )));
        }
        scale.insert(name.to_owned(), count);
    }
    Ok(scale)
}
