//! One service: the template of its containers, and how they are updated.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::compose::model::{self, Duration, Project, Service, UpdateConfig};
use crate::network::spec::{EndpointSpec, PortSpec};
use crate::plan::desired::{DesiredService, OnFailure, Update};
use crate::record::{
    Condition, ContainerRecord, Dependency, DnsOptions, HealthSpec, Hook, ImageIdentity, Link, Logging, RestartPolicy,
    VolumesFrom,
};
use crate::runtime::spec::{
    Cgroup, ContainerSpec, Device, EtcFiles, MatchUser, Mount, MountKind, Namespaces, Process, Propagation, Rootfs,
    Security,
};

use super::install::Packages;
use super::mounts::Mounts;
use super::{
    Fault, Inputs, ServiceImage, devices, health, install, labels, limits, logging, mounts, namespaces, network,
    process, restarts, security, shared, volumes_from,
};

/// A service of the file, and what is needed to make something of it.
struct Source<'a> {
    project: &'a Project,
    name: &'a str,
    service: &'a Service,
    image: &'a ServiceImage,
    inputs: &'a Inputs<'a>,
}

/// What may be wrong with a service, part by part, each in the drivers' terms.
struct Parts {
    process: Process,
    health: Option<HealthSpec>,
    security: Security,
    mounts: Mounts,
    volumes_from: Vec<VolumesFrom>,
    packages: Option<Packages>,
    endpoints: Vec<EndpointSpec>,
    ports: Vec<PortSpec>,
    namespaces: Namespaces,
    devices: Vec<Device>,
    restart: RestartPolicy,
    logging: Logging,
}

/// What identifies a configuration, and what tells people about it.
struct Identity {
    config: serde_json::Value,
    config_hash: String,
    labels: BTreeMap<String, String>,
    depends_on: Vec<Dependency>,
}

/// What the file says of a service, as a template of its containers.
///
/// # Errors
/// Every fault of the service, together.
pub(super) fn lower(
    project: &Project,
    name: &str,
    service: &Service,
    inputs: &Inputs<'_>,
) -> Result<DesiredService, Vec<Fault>> {
    let empty = ServiceImage::default();
    let image = inputs.images.get(name).unwrap_or(&empty);
    let source = Source { project, name, service, image, inputs };
    let mut parts = source.parts()?;
    let install = parts.packages.take();
    let identity = source.identity(install.as_ref());
    let deploy = service.deploy.as_ref();
    Ok(DesiredService {
        name: name.to_owned(),
        replicas: inputs.scale.get(name).copied().unwrap_or_else(|| service.replicas()),
        container_name: service.container_name.clone(),
        separator: project.separator(),
        template: source.template(parts, identity),
        update: update(deploy.and_then(|deploy| deploy.update_config.as_ref())),
        rollback: update(deploy.and_then(|deploy| deploy.rollback_config.as_ref())),
        install: install.map(|packages| packages.install),
        places: BTreeMap::new(),
        origins: BTreeMap::new(),
    })
}

impl Source<'_> {
    /// Each part by itself, so that all faults are told at once.
    fn parts(&self) -> Result<Parts, Vec<Fault>> {
        let Source { project, name, service, image, inputs } = *self;
        let mut faults = Vec::new();
        let mut process = process::lower(name, service, image).map_err(|fault| faults.push(fault)).ok();
        let health = health::lower(name, service, image).map_err(|fault| faults.push(fault)).ok().flatten();
        let security = security::lower(name, service, &mut faults);
        let mut mounts = mounts::lower(project, name, service, image, inputs, &mut faults);
        let packages = process.as_mut().and_then(|process| self.packages(process, &mut faults));
        if let Some(packages) = &packages {
            mounts.add(packages.uses.clone(), packages.mount.clone(), packages.point.clone());
        }
        let endpoints = network::endpoints(project, name, service, &mut faults);
        network::check_words(name, service, &mut faults);
        shared::check(name, service, &mut faults);
        let mut ports = network::ports(name, service, &mut faults);
        if network::is_inside(project, service) {
            // As the peer: there is no way in.
            ports.clear();
        }
        let namespaces = namespaces::lower(name, service, &mut faults);
        let devices = devices::lower(name, service, &mut faults);
        let restart = restarts::policy(name, service, &mut faults);
        let volumes_from = volumes_from::lower(name, service, &mut faults);
        let logging = logging::lower(name, service, &mut faults);
        match process.filter(|_| faults.is_empty()) {
            None => Err(faults),
            Some(process) => Ok(Parts {
                process,
                health,
                security,
                mounts,
                volumes_from,
                packages,
                endpoints,
                ports,
                namespaces,
                devices,
                restart,
                logging,
            }),
        }
    }

    /// `process` gets the variables by which they are found.
    fn packages(&self, process: &mut Process, faults: &mut Vec<Fault>) -> Option<Packages> {
        let Source { project, name, service, image, inputs } = *self;
        let lowered = install::lower(project, name, service, image, inputs.locks.get(name), inputs.volumes, process);
        lowered.map_err(|fault| faults.push(fault)).ok().flatten()
    }

    /// Labels tell what the file says; what is started after as well, because a namespace is shared, comes on top.
    fn identity(&self, packages: Option<&Packages>) -> Identity {
        let Source { project, name, service, image, inputs } = *self;
        let none = BTreeMap::new();
        let contents = mounts::contents(project, service, image, inputs.digests);
        let (config, config_hash) = labels::config(service, &contents, packages.map_or(&none, |it| &it.inputs));
        let mut depends_on = depends_on(service);
        let labels = labels::lower(project, name, service, image, &depends_on, &config_hash, inputs.version);
        shared::dependencies(project, name, service, &mut depends_on);
        Identity { config, config_hash, labels, depends_on }
    }

    /// The record of a container of the service; what is of one container alone is filled in by
    /// [`instantiate`](DesiredService::instantiate).
    fn template(&self, parts: Parts, identity: Identity) -> ContainerRecord {
        let Source { project, name, service, image, .. } = *self;
        let Parts { process, security, namespaces, devices, mounts, .. } = parts;
        let Parts { volumes_from, endpoints, ports, health, restart, logging, .. } = parts;
        let command = process.args.join(" ");
        let mounted = (mounts.mounts, mounts.match_users);
        let spec = spec(service, image, process, security, namespaces, devices, mounted);
        let Identity { config, config_hash, labels, depends_on } = identity;
        ContainerRecord {
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
            dns: dns(service),
            extra_hosts: extra_hosts(service),
            links: links(service),
            volumes: mounts.volumes,
            volumes_from,
            binds: mounts.binds,
            files: mounts.files,
            health,
            restart,
            restart_limits: restarts::limits(service),
            restart_unhealthy: service.windlass.restart_unhealthy,
            auto_remove: false,
            stop_signal: stop_signal(service, image),
            stop_grace_ms: service.stop_grace_period.map_or(10_000, Duration::as_millis),
            logging,
            post_start: service.post_start.iter().map(hook).collect(),
            pre_stop: service.pre_stop.iter().map(hook).collect(),
            depends_on,
            command,
            config,
            origins: BTreeMap::new(),
        }
    }
}

/// What is run, and in what; the paths and names of one container are still empty.
fn spec(
    service: &Service,
    image: &ServiceImage,
    process: Process,
    security: Security,
    namespaces: Namespaces,
    devices: Vec<Device>,
    mounted: (Vec<Mount>, Vec<MatchUser>),
) -> ContainerSpec {
    let mut mounts = image_mounts(image);
    mounts.extend(mounted.0);
    ContainerSpec {
        id: String::new(),
        hostname: service.hostname.clone().unwrap_or_default(),
        domainname: service.domainname.clone(),
        rootfs: Rootfs {
            lower: image.lower.clone(),
            upper: PathBuf::new(),
            work: PathBuf::new(),
            read_only: service.read_only,
        },
        mounts,
        match_users: mounted.1,
        etc: EtcFiles::default(),
        namespaces,
        process,
        security,
        devices,
        device_cgroup_rules: service.device_cgroup_rules.clone(),
        sysctls: service.sysctls.iter().map(|(key, value)| (key.clone(), value.clone())).collect(),
        cgroup: Cgroup { path: String::new(), limits: limits::lower(service) },
        shm_size: shm_size(service),
        init: service.init.unwrap_or(false),
    }
}

/// What the root file system brings besides its layers; what the file mounts comes after.
fn image_mounts(image: &ServiceImage) -> Vec<Mount> {
    let overlays = image.overlays.iter().map(|part| Mount {
        target: part.target.clone(),
        kind: MountKind::Overlay {
            lower: part.lower.clone(),
            upper: Some(part.upper.clone()),
            work: Some(part.work.clone()),
        },
    });
    let tools = image.tools.iter().map(|(source, target)| Mount {
        target: target.clone(),
        kind: MountKind::Bind {
            source: source.clone(),
            subpath: None,
            read_only: true,
            recursive: false,
            propagation: Propagation::Rprivate,
        },
    });
    overlays.chain(tools).collect()
}

/// `shm_size`, or what Docker gives.
fn shm_size(service: &Service) -> u64 {
    const DEFAULT: u64 = 64 << 20;
    let said = service.shm_size.and_then(|size| u64::try_from(size.0).ok());
    said.filter(|&size| size > 0).unwrap_or(DEFAULT)
}

/// The service's, the image's, or what every program knows.
fn stop_signal(service: &Service, image: &ServiceImage) -> String {
    let said = service.stop_signal.as_ref().or(image.stop_signal.as_ref());
    said.cloned().unwrap_or_else(|| "SIGTERM".to_owned())
}

fn depends_on(service: &Service) -> Vec<Dependency> {
    let dependency = |(service, needed): (&String, &model::Dependency)| Dependency {
        service: service.clone(),
        condition: match needed.condition {
            model::Condition::ServiceStarted => Condition::ServiceStarted,
            model::Condition::ServiceHealthy => Condition::ServiceHealthy,
            model::Condition::ServiceCompletedSuccessfully => Condition::ServiceCompletedSuccessfully,
        },
        required: needed.required,
        restart: needed.restart,
    };
    service.depends_on.iter().map(dependency).collect()
}

fn dns(service: &Service) -> DnsOptions {
    DnsOptions {
        servers: service.dns.iter().filter_map(|server| server.parse().ok()).collect(),
        search: service.dns_search.clone(),
        options: service.dns_opt.clone(),
    }
}

/// One line for each address.
fn extra_hosts(service: &Service) -> Vec<(String, String)> {
    let lines = service
        .extra_hosts
        .iter()
        .flat_map(|(host, addresses)| addresses.iter().map(move |address| (host.clone(), address.clone())));
    lines.collect()
}

/// `SERVICE` or `SERVICE:ALIAS`
fn links(service: &Service) -> Vec<Link> {
    let link = |link: &String| {
        let (service, alias) = link.split_once(':').unwrap_or((link, link));
        Link { service: service.to_owned(), alias: alias.to_owned() }
    };
    service.links.iter().map(link).collect()
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

pub(super) fn hook(hook: &model::Hook) -> Hook {
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
