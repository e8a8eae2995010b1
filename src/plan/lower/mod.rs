//! The file's words to the drivers' terms: a loaded project and its images make the [`Desired`] state.
//!
//! The only translator: nothing below knows Compose, nothing above builds a container's specification.

mod check;
mod health;
mod install;
pub(crate) mod labels;
mod limits;
mod logging;
mod mounts;
mod network;
mod process;
mod restarts;
mod security;
mod shared;
mod volumes_from;
mod watch;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::compose::model::{self, Duration, Project, Service, UpdateConfig};
use crate::record::{Condition, ContainerRecord, Dependency, DnsOptions, Hook, ImageIdentity, Link, ProjectRecord};
use crate::runtime::spec::{
    Cgroup, ContainerSpec, Device, EtcFiles, Mount, MountKind, Namespace, Namespaces, NetworkNamespace, Propagation,
    Rootfs,
};

use crate::record::CONTAINER_PREFIX;
use crate::volumes::spec::VolumeSpec;

use super::desired::{Desired, DesiredService, OnFailure, SERVICE_PREFIX, Update};

pub use check::check;
pub use install::{Locks, folder, is_lock};
pub use labels::PACKAGES;
pub use watch::{Watched, WatchedRule, watch, watch_locks};

/// A fault that only shows once the file meets its images: where in the file, what, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// `services.web.command`
    pub path: String,
    pub message: String,
    pub hint: Option<String>,
}

impl Fault {
    fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into(), hint: None }
    }

    fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// What a service's root file system comes from.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ServiceImage {
    /// As written in the file.
    pub reference: String,
    /// Digest of the image's config.
    pub id: String,
    /// Layer directories, the topmost first.
    pub lower: Vec<PathBuf>,
    /// Overlays below the root (host root file system).
    pub overlays: Vec<OverlayPart>,
    /// Folders of the host that it has read-only: where they are, and where they are in the container.
    pub tools: Vec<(PathBuf, PathBuf)>,
    pub env: Vec<String>,
    pub entrypoint: Option<Vec<String>>,
    pub cmd: Option<Vec<String>>,
    pub user: String,
    pub working_dir: String,
    /// Paths of VOLUME.
    pub volumes: Vec<String>,
    /// `80/tcp`
    pub exposed: Vec<String>,
    pub stop_signal: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub shell: Option<Vec<String>>,
    pub health: Option<ImageHealth>,
    /// Images that the service mounts, by their place in `volumes`.
    pub mounted: BTreeMap<usize, MountedImage>,
}

/// An image, or a part of it, that is mounted into a container (`type: image`).
#[derive(Debug, Clone, PartialEq)]
pub struct MountedImage {
    /// As written in the file.
    pub reference: String,
    /// Digest of the image's config.
    pub id: String,
    pub part: ImagePart,
}

/// What of an image is mounted.
#[derive(Debug, Clone, PartialEq)]
pub enum ImagePart {
    /// A folder, by those of the layers that make it up, the topmost first.
    Folders(Vec<PathBuf>),
    File(PathBuf),
}

/// In place of the digest of an image that is not here.
const NOT_HERE: &str = "not here";

impl ServiceImage {
    /// An image of which nothing is known yet.
    #[must_use]
    pub fn not_here(reference: &str) -> Self {
        Self { reference: reference.to_owned(), id: NOT_HERE.to_owned(), ..Self::default() }
    }

    /// Whether it is known what it says.
    #[must_use]
    pub fn is_here(&self) -> bool {
        is_known(&self.id)
    }
}

/// Whether the digest is that of an image which is here.
pub(super) fn is_known(id: &str) -> bool {
    id != NOT_HERE
}

/// A part of the root file system that is an overlay of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverlayPart {
    pub target: PathBuf,
    /// The topmost first.
    pub lower: Vec<PathBuf>,
    /// Relative to the container's data folder.
    pub upper: PathBuf,
    /// Relative to the container's data folder.
    pub work: PathBuf,
}

/// HEALTHCHECK of an image.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ImageHealth {
    /// `["NONE"]`, `["CMD", …]`, `["CMD-SHELL", "…"]`
    pub test: Vec<String>,
    /// Milliseconds; 0 is "not said".
    pub interval_ms: u64,
    pub timeout_ms: u64,
    pub start_period_ms: u64,
    pub start_interval_ms: u64,
    pub retries: u32,
}

/// What lowering needs besides the project.
#[derive(Debug)]
pub struct Inputs<'a> {
    /// By service name, for every service that is lowered.
    pub images: &'a BTreeMap<String, ServiceImage>,
    /// Folder of the volume store.
    pub volumes: &'a Path,
    /// Services to lower, in the order of the file.
    pub services: &'a [String],
    /// `--scale`
    pub scale: &'a BTreeMap<String, u32>,
    /// SHA-256 of the files that secrets and configs are made of.
    pub digests: &'a BTreeMap<PathBuf, String>,
    /// What packages depend on, by service.
    pub locks: &'a BTreeMap<String, Locks>,
    /// Networks and volumes that no service uses are wanted too.
    pub all_resources: bool,
    /// A person asked for it through sudo: what containers write into the project's folder is to be theirs.
    pub for_person: bool,
    /// The label `com.docker.compose.version`.
    pub version: &'a str,
}

/// Makes the desired state of the chosen services.
///
/// # Errors
/// Every fault of every service, together.
pub fn lower(project: &Project, inputs: &Inputs<'_>) -> Result<Desired, Vec<Fault>> {
    let mut faults = Vec::new();
    let mut services = Vec::new();
    for name in inputs.services {
        let Some(service) = project.services.get(name) else {
            faults.push(Fault::new(format!("services.{name}"), "no such service"));
            continue;
        };
        match lower_service(project, name, service, inputs) {
            Ok(lowered) => services.push(lowered),
            Err(found) => faults.extend(found),
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let used_networks: BTreeSet<&str> = services
        .iter()
        .flat_map(|service| {
            let way_out = service.install.as_ref().and_then(|install| install.way_out.as_deref());
            service.template.endpoints.iter().map(|endpoint| endpoint.network.as_str()).chain(way_out)
        })
        .collect();
    let used_volumes: BTreeSet<&str> = services
        .iter()
        .flat_map(|service| service.template.volumes.iter().filter(|volume| !volume.anonymous))
        .map(|volume| volume.volume.as_str())
        .collect();
    let record = project_record(project);
    let is_wanted = |used: &BTreeSet<&str>, name: &str| inputs.all_resources || used.contains(name);
    let networks: Vec<_> =
        record.networks.iter().filter(|network| is_wanted(&used_networks, &network.name)).cloned().collect();
    let mut volumes: Vec<_> =
        record.volumes.iter().filter(|volume| is_wanted(&used_volumes, &volume.name)).cloned().collect();
    let packages: BTreeMap<&str, &VolumeSpec> = services
        .iter()
        .filter_map(|service| service.install.as_ref())
        .map(|install| (install.volume.name.as_str(), &install.volume))
        .collect();
    volumes.extend(packages.into_values().cloned());
    let claims = network::claims(project);
    Ok(Desired { project: record, networks, claims, volumes, services, initial_sync: BTreeMap::new() })
}

/// What of the services asked for is without effect, though the file says it.
#[must_use]
pub fn warnings(project: &Project, services: &[String]) -> Vec<Fault> {
    let asked = services.iter().filter_map(|name| Some((name, project.services.get(name)?)));
    let closed = asked.clone().filter(|(_, service)| !service.ports.is_empty() && network::is_inside(project, service));
    let warning = |(name, service): (&String, &Service)| {
        let networks: Vec<&str> = service.networks.keys().map(String::as_str).collect();
        let message =
            format!("the ports of {name} are not published: {} has no way in (`internal`)", networks.join(", "));
        Fault::new(format!("services.{name}.ports"), message)
            .hint("put the service into a network that is not internal too, or take `ports` away")
    };
    let shared = asked.flat_map(|(name, service)| shared::warnings(name, service));
    closed.map(warning).chain(check::without_effect(project, services)).chain(shared).collect()
}

/// What a project is as a whole, without regard to images.
#[must_use]
pub fn project_record(project: &Project) -> ProjectRecord {
    ProjectRecord {
        name: project.name.clone(),
        working_dir: project.working_dir.clone(),
        config_files: project.compose_files.clone(),
        environment_files: vec![],
        services: project.services.keys().chain(project.disabled_services.keys()).cloned().collect(),
        networks: network::networks(project),
        volumes: mounts::volumes(project),
    }
}

fn lower_service(
    project: &Project,
    name: &str,
    service: &Service,
    inputs: &Inputs<'_>,
) -> Result<DesiredService, Vec<Fault>> {
    let mut faults = Vec::new();
    let empty = ServiceImage::default();
    let image = inputs.images.get(name).unwrap_or(&empty);
    let mut process = process::lower(name, service, image).map_err(|fault| faults.push(fault)).ok();
    let health = health::lower(name, service, image).map_err(|fault| faults.push(fault)).ok().flatten();
    let security = security::lower(name, service, &mut faults);
    let mut mounts = mounts::lower(project, name, service, image, inputs, &mut faults);
    let locks = inputs.locks.get(name);
    let packages =
        process.as_mut().map(|process| install::lower(project, name, service, image, locks, inputs.volumes, process));
    let packages = packages.transpose().map_err(|fault| faults.push(fault)).ok().flatten().flatten();
    if let Some(packages) = &packages {
        mounts.add(packages.uses.clone(), packages.mount.clone(), packages.point.clone());
    }
    let endpoints = network::endpoints(project, name, service, &mut faults);
    network::check_words(name, service, &mut faults);
    shared::check(name, service, &mut faults);
    let inside = network::is_inside(project, service);
    let mut ports = network::ports(name, service, &mut faults);
    if inside {
        // As the peer: there is no way in.
        ports.clear();
    }
    let namespaces = namespaces(name, service, &mut faults);
    let devices = devices(name, service, &mut faults);
    let restart = restarts::policy(name, service, &mut faults);
    let volumes_from = volumes_from::lower(name, service, &mut faults);
    let logging = logging::lower(name, service, &mut faults);
    let mut depends_on: Vec<Dependency> = service
        .depends_on
        .iter()
        .map(|(service, needed)| Dependency {
            service: service.clone(),
            condition: match needed.condition {
                model::Condition::ServiceStarted => Condition::ServiceStarted,
                model::Condition::ServiceHealthy => Condition::ServiceHealthy,
                model::Condition::ServiceCompletedSuccessfully => Condition::ServiceCompletedSuccessfully,
            },
            required: needed.required,
            restart: needed.restart,
        })
        .collect();
    let contents = mounts::contents(project, service, image, inputs.digests);
    let (config, config_hash) =
        labels::config(service, &contents, packages.as_ref().map(|it| &it.inputs).unwrap_or(&BTreeMap::new()));
    let labels = labels::lower(project, name, service, image, &depends_on, &config_hash, inputs.version);
    shared::dependencies(project, name, service, &mut depends_on);
    let Some(process) = process.filter(|_| faults.is_empty()) else { return Err(faults) };
    let command = process.args.join(" ");
    let mut all_mounts: Vec<Mount> = image
        .overlays
        .iter()
        .map(|part| Mount {
            target: part.target.clone(),
            kind: MountKind::Overlay {
                lower: part.lower.clone(),
                upper: Some(part.upper.clone()),
                work: Some(part.work.clone()),
            },
        })
        .collect();
    all_mounts.extend(image.tools.iter().map(|(source, target)| Mount {
        target: target.clone(),
        kind: MountKind::Bind {
            source: source.clone(),
            subpath: None,
            read_only: true,
            recursive: false,
            propagation: Propagation::Rprivate,
        },
    }));
    all_mounts.extend(mounts.mounts);
    let spec = ContainerSpec {
        id: String::new(),
        hostname: service.hostname.clone().unwrap_or_default(),
        domainname: service.domainname.clone(),
        rootfs: Rootfs {
            lower: image.lower.clone(),
            upper: PathBuf::new(),
            work: PathBuf::new(),
            read_only: service.read_only,
        },
        mounts: all_mounts,
        match_users: mounts.match_users,
        etc: EtcFiles::default(),
        namespaces,
        process,
        security,
        devices,
        device_cgroup_rules: service.device_cgroup_rules.clone(),
        sysctls: service.sysctls.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
        cgroup: Cgroup { path: String::new(), limits: limits::lower(service) },
        shm_size: service
            .shm_size
            .and_then(|size| u64::try_from(size.0).ok())
            .filter(|&size| size > 0)
            .unwrap_or(64 << 20),
        init: service.init.unwrap_or(false),
    };
    let replicas = inputs.scale.get(name).copied().unwrap_or_else(|| service.replicas());
    let template = ContainerRecord {
        id: String::new(),
        name: String::new(),
        project: project.name.clone(),
        service: name.to_owned(),
        number: 0,
        oneoff: false,
        created: jiff::Timestamp::UNIX_EPOCH,
        config_hash,
        image: ImageIdentity { reference: image.reference.clone(), id: image.id.clone() },
        mounted_images: mounts.images,
        labels,
        spec,
        endpoints,
        ports,
        exposed: exposed(service, image),
        dns: DnsOptions {
            servers: service.dns.iter().filter_map(|server| server.parse().ok()).collect(),
            search: service.dns_search.clone(),
            options: service.dns_opt.clone(),
        },
        extra_hosts: service
            .extra_hosts
            .iter()
            .flat_map(|(host, addresses)| addresses.iter().map(move |address| (host.clone(), address.clone())))
            .collect(),
        links: service
            .links
            .iter()
            .map(|link| {
                let (service, alias) = link.split_once(':').unwrap_or((link, link));
                Link { service: service.to_owned(), alias: alias.to_owned() }
            })
            .collect(),
        volumes: mounts.volumes,
        volumes_from,
        binds: mounts.binds,
        files: mounts.files,
        health,
        restart,
        restart_limits: restarts::limits(service),
        restart_unhealthy: service.windlass.restart_unhealthy,
        auto_remove: false,
        stop_signal: service
            .stop_signal
            .clone()
            .or_else(|| image.stop_signal.clone())
            .unwrap_or_else(|| "SIGTERM".to_owned()),
        stop_grace_ms: service.stop_grace_period.map_or(10_000, Duration::as_millis),
        logging,
        post_start: service.post_start.iter().map(hook).collect(),
        pre_stop: service.pre_stop.iter().map(hook).collect(),
        depends_on,
        command,
        config,
        origins: BTreeMap::new(),
    };
    Ok(DesiredService {
        name: name.to_owned(),
        replicas,
        container_name: service.container_name.clone(),
        separator: project.separator(),
        template,
        update: update(service.deploy.as_ref().and_then(|deploy| deploy.update_config.as_ref())),
        rollback: update(service.deploy.as_ref().and_then(|deploy| deploy.rollback_config.as_ref())),
        install: packages.map(|packages| packages.install),
        places: BTreeMap::new(),
        origins: BTreeMap::new(),
    })
}

fn namespaces(name: &str, service: &Service, faults: &mut Vec<Fault>) -> Namespaces {
    let is_peer = |text: &str| {
        [SERVICE_PREFIX, CONTAINER_PREFIX]
            .iter()
            .any(|prefix| text.strip_prefix(prefix).is_some_and(|name| !name.is_empty()))
    };
    let mut plain = |attribute: &str, value: Option<&String>| -> Namespace {
        match value.map(String::as_str) {
            None | Some("" | "private" | "shareable") => Namespace::Private,
            Some("host") => Namespace::Host,
            Some(text) if is_peer(text) && attribute != "cgroup" => Namespace::Container(text.to_owned()),
            Some(other) => {
                let hint = match attribute {
                    "cgroup" => "use `host` or `private`",
                    _ => "use `host`, `private`, `service:NAME` or `container:NAME`",
                };
                faults.push(
                    Fault::new(format!("services.{name}.{attribute}"), format!("`{other}` is not supported"))
                        .hint(hint),
                );
                Namespace::Private
            }
        }
    };
    let pid = plain("pid", service.pid.as_ref());
    let ipc = plain("ipc", service.ipc.as_ref());
    let uts = plain("uts", service.uts.as_ref());
    let cgroup = plain("cgroup", service.cgroup.as_ref());
    let network = match service.network_mode.as_deref() {
        None | Some("" | "none" | "bridge" | "default") => NetworkNamespace::Passed,
        Some("host") => NetworkNamespace::Host,
        Some(text) if is_peer(text) => NetworkNamespace::Container(text.to_owned()),
        Some(other) => {
            faults.push(
                Fault::new(format!("services.{name}.network_mode"), format!("`{other}` is not supported"))
                    .hint("use `host`, `none`, `service:NAME`, `container:NAME`, or `networks:`"),
            );
            NetworkNamespace::Passed
        }
    };
    Namespaces { network, pid, ipc, uts, cgroup }
}

fn devices(name: &str, service: &Service, faults: &mut Vec<Fault>) -> Vec<Device> {
    let mut devices = Vec::new();
    for (index, device) in service.devices.iter().enumerate() {
        if !device.source.starts_with('/') {
            faults.push(
                Fault::new(
                    format!("services.{name}.devices[{index}]"),
                    format!("`{}` is not a device of this machine: CDI names are not supported", device.source),
                )
                .hint("write the path of a device node, such as /dev/ttyUSB0"),
            );
            continue;
        }
        devices.push(Device {
            source: PathBuf::from(&device.source),
            target: PathBuf::from(device.target.clone().unwrap_or_else(|| device.source.clone())),
            permissions: device.permissions.clone().unwrap_or_else(|| "rwm".to_owned()),
        });
    }
    devices
}

/// `deploy.update_config` or `deploy.rollback_config`, one container at a time when it does not say more.
fn update(config: Option<&UpdateConfig>) -> Option<Update> {
    let config = config?;
    Some(Update {
        parallelism: config.parallelism.map_or(1, |count| usize::try_from(count).unwrap_or(0)),
        delay_ms: config.delay.map_or(0, Duration::as_millis),
        monitor_ms: config.monitor.map_or(0, Duration::as_millis),
        max_failure_ratio: config.max_failure_ratio.unwrap_or(0.0),
        start_first: config.order.as_deref() == Some("start-first"),
        on_failure: match config.failure_action.as_deref() {
            Some("continue") => OnFailure::Continue,
            Some("rollback") => OnFailure::Rollback,
            _ => OnFailure::Pause,
        },
    })
}

/// Ports that are only told, as `80/tcp`: EXPOSE of the image and `expose`.
fn exposed(service: &Service, image: &ServiceImage) -> Vec<String> {
    let with_protocol = |port: &String| if port.contains('/') { port.clone() } else { format!("{port}/tcp") };
    let all: BTreeSet<String> = image.exposed.iter().chain(&service.expose).map(with_protocol).collect();
    all.into_iter().collect()
}

fn hook(hook: &model::Hook) -> Hook {
    Hook {
        command: hook.command.clone(),
        user: hook.user.clone(),
        privileged: hook.privileged,
        working_dir: hook.working_dir.clone().map(PathBuf::from),
        environment: hook
            .environment
            .iter()
            .filter_map(|(key, value)| value.as_ref().map(|value| format!("{key}={value}")))
            .collect(),
    }
}
