//! What a project should look like, in the drivers' terms: made of the file and the images, sent to the supervisor.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::inherit::inherit;
use crate::network::Claims;
use crate::network::spec::{EndpointSpec, NetworkSpec, PortSpec};
use crate::record::{ContainerRecord, Origin, ProjectRecord};
use crate::runtime::spec::{MountKind, Namespace, NetworkNamespace};
use crate::state::ProjectPaths;
use crate::state::paths::volume_data;
use crate::volumes::spec::VolumeSpec;
use crate::watch::Transfer;

/// The wanted state of the services that a command names.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Desired {
    pub project: ProjectRecord,
    /// Networks that the services use.
    pub networks: Vec<NetworkSpec>,
    /// By network: what the file gives to its services, run or not, of static addresses.
    #[serde(default)]
    pub claims: Claims,
    /// Named volumes that the services use.
    pub volumes: Vec<VolumeSpec>,
    /// In the order of the file.
    pub services: Vec<DesiredService>,
    /// By service: files that are brought into a container before it is started.
    #[serde(default)]
    pub initial_sync: BTreeMap<String, Vec<Transfer>>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DesiredService {
    pub name: String,
    pub replicas: u32,
    /// `container_name`: the name of the only replica.
    pub container_name: Option<String>,
    /// What joins the parts of the names of the others.
    #[serde(default = "hyphen")]
    pub separator: char,
    /// A container of the service but for what differs between replicas; see [`DesiredService::instantiate`].
    pub template: ContainerRecord,
    /// How its containers are made anew when there are several (`deploy.update_config`); all at once when absent.
    #[serde(default)]
    pub update: Option<Update>,
    /// How they are made as they were before (`deploy.rollback_config`); all at once when absent.
    #[serde(default)]
    pub rollback: Option<Update>,
    /// The packages that its containers mount.
    #[serde(default)]
    pub install: Option<Install>,
    /// Where the file says what a container is made anew for, by path below the service; for `--dry-run`.
    #[serde(default)]
    pub places: BTreeMap<String, String>,
    /// Where the file asks for what a start may fail for: by attribute, [`source_key`], [`port_key`], [`parent_key`] or [`address_key`].
    #[serde(default)]
    pub origins: BTreeMap<String, Origin>,
}

/// For something of the host: a bind mount, a secret, a device.
#[must_use]
pub fn source_key(path: &Path) -> String {
    format!("from {}", path.display())
}

#[must_use]
pub fn port_key(port: &PortSpec) -> String {
    let (first, last) = port.published.unwrap_or_default();
    format!("port {first}-{last}/{}", port.protocol)
}

/// `service:NAME` or `container:NAME` of `volumes_from`.
#[must_use]
pub fn parent_key(from: &str) -> String {
    format!("volumes of {from}")
}

/// A static address in a network.
#[must_use]
pub fn address_key(network: &str, address: IpAddr) -> String {
    format!("address {address} in {network}")
}

/// Packages in a volume of their own, which a step installs before a container mounts it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Install {
    /// Its name says what the packages depend on.
    pub volume: VolumeSpec,
    pub args: Vec<String>,
    pub working_dir: PathBuf,
    /// The files that say what is installed, and their SHA-256.
    pub locks: BTreeMap<PathBuf, String>,
    /// Those files in words.
    pub lock: String,
    /// The step does not run as root.
    pub open: bool,
    /// A network for the step alone, when the service's own have no way out.
    #[serde(default)]
    pub way_out: Option<String>,
}

/// `deploy.update_config` and `deploy.rollback_config`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Update {
    /// Containers at the same time; 0 is all.
    pub parallelism: usize,
    /// Between one batch and the next.
    pub delay_ms: u64,
    /// A new container must run, or be healthy, this long.
    pub monitor_ms: u64,
    /// The new container runs before the old one is stopped.
    pub start_first: bool,
    /// The part of the containers whose failure is told, and nothing more comes of it; 0 to 1.
    pub max_failure_ratio: f64,
    pub on_failure: OnFailure,
}

impl Update {
    /// How many of `count` containers may fail without an end of the update.
    #[must_use]
    pub fn tolerated(&self, count: usize) -> usize {
        match self.on_failure {
            OnFailure::Continue => usize::MAX,
            // A ratio that is not a number tolerates nothing.
            OnFailure::Pause | OnFailure::Rollback => (self.max_failure_ratio * count as f64) as usize,
        }
    }
}

/// What becomes of an update when a new container does not run or become healthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// The rest is left as it is.
    Pause,
    Continue,
    /// The service's containers are made as they were before.
    Rollback,
}

fn hyphen() -> char {
    '-'
}

/// `<project>-<service>-<part>`: the name of a container that has none of its own.
#[must_use]
pub fn generated_name(record: &ContainerRecord, separator: char, parts: &[&str]) -> String {
    let mut name = format!("{}{separator}{}", record.project, record.service);
    for part in parts {
        name.push(separator);
        name.push_str(part);
    }
    name
}

/// Placeholder in a template for "the container of this service" (`network_mode: service:db`).
pub const SERVICE_PREFIX: &str = "service:";

impl DesiredService {
    /// The record of replica `number`.
    ///
    /// `replaces` is the container whose place and anonymous volumes it takes.
    #[must_use]
    pub fn instantiate(
        &self,
        id: &str,
        number: u32,
        paths: &ProjectPaths,
        volumes: &Path,
        others: &dyn Others,
        replaces: Option<&ContainerRecord>,
    ) -> ContainerRecord {
        let mut record = self.template.clone();
        id.clone_into(&mut record.id);
        record.number = number;
        // No start fails for a variable or a label, and there may be many of them.
        let of_many = |key: &str| key.starts_with("environment.") || key.starts_with("labels.");
        let origins = self.origins.iter().filter(|(key, _)| !of_many(key));
        record.origins = origins.map(|(key, origin)| (key.clone(), origin.clone())).collect();
        record.name = match &self.container_name {
            Some(name) => name.clone(),
            None => generated_name(&record, self.separator, &[&number.to_string()]),
        };
        if !record.oneoff {
            record.labels.insert(LABEL_NUMBER.into(), number.to_string());
        }
        let short = &id[..id.len().min(12)];
        record.spec.id = id.to_owned();
        if record.spec.hostname.is_empty() {
            short.clone_into(&mut record.spec.hostname);
        }
        let container = paths.container(id);
        record.spec.rootfs.upper = container.upper();
        record.spec.rootfs.work = container.work();
        record.spec.etc.hosts = Some(container.etc("hosts"));
        record.spec.etc.hostname = Some(container.etc("hostname"));
        record.spec.etc.resolv_conf = Some(container.etc("resolv.conf"));
        record.spec.cgroup.path = format!("windlass/{}/{id}", paths.id());
        for mount in &mut record.spec.mounts {
            if let MountKind::Overlay { upper: Some(upper), work: Some(work), .. } = &mut mount.kind {
                // Relative in the template; joining leaves an absolute path as it is.
                *upper = container.data().join(&*upper);
                *work = container.data().join(&*work);
            }
        }
        for namespace in
            [&mut record.spec.namespaces.pid, &mut record.spec.namespaces.ipc, &mut record.spec.namespaces.uts]
        {
            if let Namespace::Container(target) = namespace
                && let Some(service) = target.strip_prefix(SERVICE_PREFIX)
                && let Some(id) = others.first(service)
            {
                *target = id;
            }
        }
        if let NetworkNamespace::Container(target) = &mut record.spec.namespaces.network
            && let Some(service) = target.strip_prefix(SERVICE_PREFIX)
            && let Some(id) = others.first(service)
        {
            *target = id;
        }
        for endpoint in &mut record.endpoints {
            name_endpoint(endpoint, &record.name, short);
        }
        // Anonymous volumes get a name of their own, or keep that of the container they replace.
        for index in 0..record.volumes.len() {
            if !record.volumes[index].anonymous {
                continue;
            }
            let target = record.volumes[index].target.clone();
            let kept = replaces.and_then(|old| old.own_anonymous_volumes().find(|volume| volume.target == target));
            let name = kept.map_or_else(|| anonymous_name(id, &target), |kept| kept.volume.clone());
            let data = volume_data(&volumes.join(&name));
            for mount in &mut record.spec.mounts {
                if mount.target == target
                    && let MountKind::Bind { source, .. } = &mut mount.kind
                    && source.as_os_str().is_empty()
                {
                    source.clone_from(&data);
                }
            }
            record.volumes[index].volume = name;
        }
        inherit(&mut record, |from| others.parent(from));
        record
    }
}

/// The other containers that one is made beside.
pub trait Others {
    /// The id of a service's first container.
    fn first(&self, service: &str) -> Option<String>;

    /// The container that `volumes_from` means by `service:NAME` or `container:NAME`.
    fn parent(&self, from: &str) -> Option<&ContainerRecord>;
}

fn name_endpoint(endpoint: &mut EndpointSpec, name: &str, short: &str) {
    for alias in [name, short] {
        if !endpoint.aliases.iter().any(|have| have == alias) {
            endpoint.aliases.push(alias.to_owned());
        }
    }
}

/// 64 hexadecimal digits, as Docker names anonymous volumes; the same container always gets the same name.
fn anonymous_name(id: &str, target: &Path) -> String {
    use sha2::{Digest, Sha256};
    let mut hash = Sha256::new();
    hash.update(id.as_bytes());
    hash.update([0]);
    hash.update(target.as_os_str().as_encoded_bytes());
    hex::encode(hash.finalize())
}

/// Compose's label for the number of a replica.
pub const LABEL_NUMBER: &str = "com.docker.compose.container-number";
