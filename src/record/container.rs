//! What is on disk for each container: what it is ([`ContainerRecord`]) and what it does ([`ContainerState`]).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

pub use crate::network::spec::EndpointState;
use crate::network::spec::{EndpointSpec, NetworkSpec, PortSpec, PublishedPort};
use crate::runtime::spec::{ContainerId, ContainerSpec, ExitStatus};
use crate::state::record::Record;
use crate::volumes::spec::VolumeSpec;

/// What stands before the name or id of a container that is looked for at each start.
pub const CONTAINER_PREFIX: &str = "container:";

/// What a container is. Written when it is created, never changed afterwards.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContainerRecord {
    pub id: ContainerId,
    /// `<project>-<service>-<n>` (joined with `_` for `--compatibility`), or `container_name`.
    pub name: String,
    pub project: String,
    pub service: String,
    /// From 1.
    pub number: u32,
    /// Made by `run`, not by `up`.
    pub oneoff: bool,
    pub created: Timestamp,
    /// SHA-256 of the service's configuration; a difference means that `up` makes the container anew.
    pub config_hash: String,
    pub image: ImageIdentity,
    /// Images that it mounts (`type: image`).
    #[serde(default)]
    pub mounted_images: Vec<ImageIdentity>,
    /// Compose's own and the user's.
    pub labels: BTreeMap<String, String>,
    pub spec: ContainerSpec,
    /// In the order of the interfaces; empty for `network_mode`.
    pub endpoints: Vec<EndpointSpec>,
    pub ports: Vec<PortSpec>,
    /// `expose` and the image's EXPOSE: `6379/tcp`.
    pub exposed: Vec<String>,
    /// Name servers and search domains of the service (`dns`, `dns_search`, `dns_opt`).
    pub dns: DnsOptions,
    /// `HOST=IP` lines of `extra_hosts`; the address may be `host-gateway`.
    pub extra_hosts: Vec<(String, String)>,
    /// Names of other services that this container alone knows by another name (`links`).
    #[serde(default)]
    pub links: Vec<Link>,
    /// Volumes in use, for `ps`, `down -v` and the fill at first use.
    pub volumes: Vec<VolumeUse>,
    /// Other containers whose mounts it has too, in the order of the file.
    #[serde(default)]
    pub volumes_from: Vec<VolumesFrom>,
    /// Files and folders of the host that are mounted; they must exist, or are created, before every start.
    #[serde(default)]
    pub binds: Vec<BindSource>,
    /// Secrets and configs that are written at every start.
    pub files: Vec<InjectedFile>,
    pub health: Option<HealthSpec>,
    pub restart: RestartPolicy,
    #[serde(default)]
    pub restart_limits: RestartLimits,
    /// Start it again when its health check says that it is unhealthy.
    #[serde(default)]
    pub restart_unhealthy: bool,
    /// Remove it, with its anonymous volumes, once it has ended (`run --rm`).
    #[serde(default)]
    pub auto_remove: bool,
    /// Name or number; the image's or `SIGTERM`.
    pub stop_signal: String,
    pub stop_grace_ms: u64,
    pub logging: Logging,
    pub post_start: Vec<Hook>,
    pub pre_stop: Vec<Hook>,
    /// What must hold before this container may start, and the order of stopping.
    pub depends_on: Vec<Dependency>,
    /// Short form of the command for the COMMAND column.
    pub command: String,
    /// The service as the file has it, in canonical form: what `config_hash` was made of, kept to say what changed.
    #[serde(default)]
    pub config: serde_json::Value,
    /// Where the file asked for what a start may fail for, when the container was made.
    #[serde(default)]
    pub origins: BTreeMap<String, Origin>,
}

/// A place of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// `services.web.volumes[0]`
    pub path: String,
    /// `compose.yaml:7:9`
    pub place: String,
}

impl Record for ContainerRecord {
    const VERSION: u32 = 1;
}

impl ContainerRecord {
    /// Whether `text` is its name, or enough of its id.
    #[must_use]
    pub fn is_called(&self, text: &str) -> bool {
        is_called(text, &self.name, &self.id)
    }

    /// Whether what is mounted there is another container's (`volumes_from`).
    #[must_use]
    pub fn is_inherited(&self, target: &Path) -> bool {
        self.volumes_from.iter().any(|from| from.targets.iter().any(|inherited| inherited == target))
    }

    /// Its anonymous volumes that are no other container's: they are carried over to its replacement.
    pub fn own_anonymous_volumes(&self) -> impl Iterator<Item = &VolumeUse> {
        self.volumes.iter().filter(|volume| volume.anonymous && !self.is_inherited(&volume.target))
    }
}

/// Digits of an id that are enough to name a container.
const SHORTEST_ID: usize = 12;

/// Whether `text` is the name of a container, or enough of its id.
#[must_use]
pub fn is_called(text: &str, name: &str, id: &str) -> bool {
    name == text || text.len() >= SHORTEST_ID && id.starts_with(text)
}

/// What is known of a project as a whole: written by `up`, removed by `down` with the last container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProjectRecord {
    pub name: String,
    pub working_dir: PathBuf,
    pub config_files: Vec<PathBuf>,
    pub environment_files: Vec<PathBuf>,
    /// Every service of the file, also those that are not up: what is not among them is an orphan.
    pub services: Vec<String>,
    /// Networks and volumes that exist for this project, external ones included.
    pub networks: Vec<NetworkSpec>,
    pub volumes: Vec<VolumeSpec>,
}

impl Record for ProjectRecord {
    const VERSION: u32 = 1;
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageIdentity {
    /// As written in the file; `rootfs: host` for the host root file system.
    pub reference: String,
    /// Digest of the image's config (Docker's image id), or of nothing for the host root file system.
    pub id: String,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DnsOptions {
    pub servers: Vec<IpAddr>,
    pub search: Vec<String>,
    pub options: Vec<String>,
}

/// `links: ["db:database"]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    pub service: String,
    pub alias: String,
}

/// Another container whose mounts are also those of this one (`volumes_from`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumesFrom {
    /// `service:NAME` or `container:NAME`.
    pub from: String,
    pub read_only: bool,
    /// Which one that was when this one was made.
    #[serde(default)]
    pub container: Option<ContainerId>,
    /// Where what comes from it is mounted.
    #[serde(default)]
    pub targets: Vec<PathBuf>,
}

/// A volume mounted by a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeUse {
    /// Name in the volume store.
    pub volume: String,
    pub target: PathBuf,
    /// Goes with its container (`down -v`, `rm -v`); carried over to a replacement.
    pub anonymous: bool,
    /// Do not fill from the image (`volume.nocopy`, and `external` volumes that hold something).
    pub no_copy: bool,
    /// For a VOLUME of the image: gives way to what other containers have there (`volumes_from`).
    #[serde(default)]
    pub of_image: bool,
}

/// The source of a bind mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BindSource {
    pub source: PathBuf,
    /// A folder is created when nothing is there (`create_host_path`); otherwise that is an error.
    pub create: bool,
    /// What is created belongs to whoever owns the folder that it is created in, instead of root.
    #[serde(default)]
    pub like_parent: bool,
}

/// A file made by us, on a tmpfs of the container's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InjectedFile {
    pub target: PathBuf,
    /// Stored with mode 0600 below the container's data folder.
    pub content: Vec<u8>,
    /// A file of the host that is read at every start, instead of `content`.
    #[serde(default)]
    pub source: Option<PathBuf>,
    /// `None` is that of the container's user.
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub mode: u32,
}

/// A health check with every field resolved (file, then image, then defaults).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HealthSpec {
    pub test: HealthTest,
    pub interval_ms: u64,
    pub timeout_ms: u64,
    pub start_period_ms: u64,
    pub start_interval_ms: u64,
    pub retries: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HealthTest {
    Command(Vec<String>),
    /// Run by the image's shell, `/bin/sh -c` when it names none.
    Shell(String),
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "policy", rename_all = "kebab-case")]
pub enum RestartPolicy {
    #[default]
    No,
    Always,
    UnlessStopped,
    OnFailure {
        /// `None` is for ever.
        max_retries: Option<u32>,
    },
}

/// What `deploy.restart_policy` says besides its condition.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestartLimits {
    /// Between an end and the next start, instead of the back-off.
    pub delay_ms: Option<u64>,
    /// Failed restarts before it is given up; `None` is no limit.
    pub max_attempts: Option<u32>,
    /// A restart has not failed once the container ran this long.
    pub window_ms: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Logging {
    /// `json-file`, `local` (the same file) or `none`.
    pub driver: String,
    pub options: BTreeMap<String, String>,
}

/// `post_start` or `pre_stop`: a command inside the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hook {
    pub command: Vec<String>,
    pub user: Option<String>,
    pub privileged: bool,
    pub working_dir: Option<PathBuf>,
    pub environment: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dependency {
    pub service: String,
    pub condition: Condition,
    /// `false`: a dependency that is missing or fails is only a warning.
    pub required: bool,
    /// This container is restarted when the dependency is.
    pub restart: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    ServiceStarted,
    ServiceHealthy,
    ServiceCompletedSuccessfully,
}

/// What a container does now. Replaced at every change.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContainerState {
    pub status: Status,
    pub endpoints: Vec<EndpointState>,
    pub ports: Vec<PublishedPort>,
    /// Those of its last run, which it does not hold any more: it gets them again when they are free.
    #[serde(default)]
    pub last_ports: Vec<PublishedPort>,
    pub restarts: u32,
    /// Stopped by a person: `unless-stopped` does not bring it back.
    pub stopped_by_user: bool,
    /// The kernel killed a process of the container for lack of memory.
    pub oom_killed: bool,
    /// Why the last start failed.
    pub error: Option<String>,
    /// Networks that a person has connected it to (`network connect`).
    #[serde(default)]
    pub connected: Vec<EndpointSpec>,
    /// Those of its record that a person has disconnected it from.
    #[serde(default)]
    pub disconnected: Vec<String>,
}

impl ContainerState {
    /// Of a container that was never started.
    #[must_use]
    pub fn created() -> Self {
        Self {
            status: Status::Created,
            endpoints: Vec::new(),
            ports: Vec::new(),
            last_ports: Vec::new(),
            restarts: 0,
            stopped_by_user: false,
            oom_killed: false,
            error: None,
            connected: Vec::new(),
            disconnected: Vec::new(),
        }
    }

    /// Its place in each network that it is in, or is in when it runs, in the order of the interfaces.
    #[must_use]
    pub fn wanted_endpoints(&self, record: &ContainerRecord) -> Vec<EndpointSpec> {
        let stays = |endpoint: &&EndpointSpec| !self.disconnected.contains(&endpoint.network);
        record.endpoints.iter().filter(stays).chain(&self.connected).cloned().collect()
    }
}

impl ContainerState {
    /// It has no network any more.
    pub fn disconnect(&mut self) {
        self.endpoints.clear();
        if !self.ports.is_empty() {
            self.last_ports = std::mem::take(&mut self.ports);
        }
    }
}

impl Record for ContainerState {
    const VERSION: u32 = 1;
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "status", rename_all = "lowercase")]
pub enum Status {
    Created,
    Running {
        pid: i32,
        start_time: u64,
        boot_id: String,
        started: Timestamp,
        health: Option<Health>,
        paused: bool,
    },
    /// Between two starts by the restart policy.
    Restarting {
        exit: ExitStatus,
        finished: Timestamp,
    },
    Exited {
        exit: ExitStatus,
        started: Option<Timestamp>,
        finished: Timestamp,
    },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Health {
    pub status: HealthStatus,
    pub failing_streak: u32,
    /// The last five probes, oldest first.
    pub log: Vec<ProbeResult>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthStatus {
    Starting,
    Healthy,
    Unhealthy,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProbeResult {
    pub start: Timestamp,
    pub end: Timestamp,
    /// `None`: killed at its timeout.
    pub exit_code: Option<i32>,
    /// At most 4096 bytes.
    pub output: String,
}
