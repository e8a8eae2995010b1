//! A service and its attributes.

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::{Build, Bytes, Deploy, Duration, Extensions, FileReference, Mapping, PortRange, VolumeMount, record};

record! {
    /// Absent optional attributes are `None` or empty.
    pub struct Service {
        /// The key in the file.
        pub name: String,
        pub profiles: Vec<String>,
        pub annotations: Mapping,
        pub attach: Option<bool>,
        pub build: Option<Build>,
        pub develop: Option<Develop>,
        pub blkio_config: Option<BlkioConfig>,
        pub cap_add: Vec<String>,
        pub cap_drop: Vec<String>,
        pub cgroup_parent: Option<String>,
        /// `host` or `private`.
        pub cgroup: Option<String>,
        pub cpu_count: Option<i64>,
        pub cpu_percent: Option<f64>,
        /// Microseconds.
        pub cpu_period: Option<i64>,
        /// Microseconds.
        pub cpu_quota: Option<i64>,
        /// Microseconds.
        pub cpu_rt_period: Option<i64>,
        /// Microseconds.
        pub cpu_rt_runtime: Option<i64>,
        pub cpus: Option<f64>,
        pub cpuset: Option<String>,
        pub cpu_shares: Option<i64>,
        /// `None` is the image's; an empty list clears it.
        pub command: Option<Vec<String>>,
        pub configs: Vec<FileReference>,
        pub container_name: Option<String>,
        pub credential_spec: Option<CredentialSpec>,
        pub depends_on: IndexMap<String, Dependency>,
        pub deploy: Option<Deploy>,
        pub device_cgroup_rules: Vec<String>,
        pub devices: Vec<Device>,
        pub dns: Vec<String>,
        pub dns_opt: Vec<String>,
        pub dns_search: Vec<String>,
        pub domainname: Option<String>,
        /// `None` is the image's; an empty list clears it.
        pub entrypoint: Option<Vec<String>>,
        pub provider: Option<Provider>,
        /// With `env_file` merged in. `None` unsets the variable, also one of the image.
        pub environment: IndexMap<String, Option<String>>,
        pub env_file: Vec<EnvFile>,
        /// `6379`, `6379/udp`, `7000-7010`.
        pub expose: Vec<String>,
        pub extends: Option<Extends>,
        pub external_links: Vec<String>,
        /// `HOST` to addresses; an address may be `host-gateway`.
        #[serde(deserialize_with = "super::value::hosts")]
        pub extra_hosts: IndexMap<String, Vec<String>>,
        pub group_add: Vec<String>,
        pub gpus: Vec<DeviceRequest>,
        pub hostname: Option<String>,
        pub healthcheck: Option<Healthcheck>,
        pub image: Option<String>,
        pub init: Option<bool>,
        pub ipc: Option<String>,
        pub isolation: Option<String>,
        pub labels: Mapping,
        pub label_file: Vec<String>,
        /// `SERVICE` or `SERVICE:ALIAS`.
        pub links: Vec<String>,
        pub logging: Option<Logging>,
        pub mem_limit: Option<Bytes>,
        pub mem_reservation: Option<Bytes>,
        /// -1 is unlimited.
        pub memswap_limit: Option<Bytes>,
        pub mem_swappiness: Option<i64>,
        pub mac_address: Option<String>,
        pub models: IndexMap<String, Option<ServiceModel>>,
        /// `none`, `host`, `bridge`, `service:NAME`, `container:NAME`.
        pub network_mode: Option<String>,
        pub networks: IndexMap<String, Option<NetworkAttachment>>,
        pub oom_kill_disable: bool,
        pub oom_score_adj: Option<i32>,
        pub pid: Option<String>,
        pub pids_limit: Option<i64>,
        pub platform: Option<String>,
        pub ports: Vec<Port>,
        pub privileged: bool,
        pub pull_policy: Option<String>,
        pub pull_refresh_after: Option<String>,
        pub read_only: bool,
        /// `no`, `always`, `on-failure[:N]`, `unless-stopped`.
        pub restart: Option<String>,
        pub runtime: Option<String>,
        pub scale: Option<u32>,
        pub secrets: Vec<FileReference>,
        pub security_opt: Vec<String>,
        pub shm_size: Option<Bytes>,
        pub stdin_open: bool,
        pub stop_grace_period: Option<Duration>,
        pub stop_signal: Option<String>,
        pub storage_opt: Mapping,
        pub sysctls: Mapping,
        /// `path` or `path:options`.
        pub tmpfs: Vec<String>,
        pub tty: bool,
        pub ulimits: IndexMap<String, Ulimit>,
        pub use_api_socket: bool,
        pub user: Option<String>,
        pub userns_mode: Option<String>,
        pub uts: Option<String>,
        pub volumes: Vec<VolumeMount>,
        /// `SERVICE[:ro]` or `container:NAME[:ro]`.
        pub volumes_from: Vec<String>,
        pub working_dir: Option<String>,
        pub pre_start: Vec<PreStartHook>,
        pub post_start: Vec<Hook>,
        pub pre_stop: Vec<Hook>,
        /// `x-windlass`, decoded; the text stays in `extensions`.
        #[serde(rename = "#windlass")]
        pub windlass: Windlass,
        #[serde(rename = "#extensions")]
        pub extensions: Extensions,
    }
}

impl Service {
    /// Number of containers that the file asks for.
    #[must_use]
    pub fn replicas(&self) -> u32 {
        self.scale.or_else(|| self.deploy.as_ref().and_then(|deploy| deploy.replicas)).unwrap_or(1)
    }
}

record! {
    /// What only windlass understands: `x-windlass` of a service.
    pub struct Windlass {
        pub rootfs: Option<HostRootfs>,
        /// `{ python: "3.12", node: auto }`.
        pub toolchain: IndexMap<String, String>,
        /// `restart`: the process is restarted when watched files change.
        pub reload: Option<String>,
        /// How the service's packages are installed.
        pub install: Option<Install>,
        /// `match-user`, `match-user:NAME` or `off`.
        #[serde(rename = "bind-idmap")]
        pub bind_idmap: Option<String>,
        pub restart_unhealthy: bool,
    }
}

record! {
    /// `x-windlass.install`: a step that runs when lock files change, and its packages.
    pub struct Install {
        pub command: Vec<String>,
        /// Files that say what is installed; empty: those of known names where the service works.
        pub lock: Vec<String>,
        /// Where the packages are in the container.
        pub target: Option<String>,
        /// No lock file is no fault: whoever makes the first one needs a container to do it in.
        #[serde(skip)]
        pub optional: bool,
        /// Where known names are looked for, when `run` works somewhere else than the service.
        #[serde(skip)]
        pub working_dir: Option<String>,
    }
}

/// `rootfs: host`: this machine's own system files, below a copy-on-write layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HostRootfs {
    Host,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dependency {
    pub condition: Condition,
    /// This service is restarted when the dependency is.
    #[serde(skip_serializing_if = "super::is_default")]
    pub restart: bool,
    /// `false`: a missing or failed dependency is only a warning.
    pub required: bool,
    #[serde(rename = "#origin")]
    #[serde(skip_serializing_if = "super::is_default")]
    pub origin: DependencyOrigin,
    #[serde(rename = "#extensions")]
    #[serde(skip_serializing_if = "super::is_default")]
    pub extensions: Extensions,
}

impl Default for Dependency {
    fn default() -> Self {
        Self {
            condition: Condition::default(),
            restart: false,
            required: true,
            origin: DependencyOrigin::default(),
            extensions: Extensions::default(),
        }
    }
}

/// Where a dependency comes from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DependencyOrigin {
    #[default]
    DependsOn,
    /// `links`, `network_mode: service:x`, `volumes_from` and the like.
    Implied,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Condition {
    #[default]
    ServiceStarted,
    ServiceHealthy,
    ServiceCompletedSuccessfully,
}

/// An entry of `ports`, always in the long form with one target.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Port {
    #[serde(skip_serializing_if = "super::is_default")]
    pub name: Option<String>,
    #[serde(skip_serializing_if = "super::is_default")]
    pub mode: Option<String>,
    #[serde(skip_serializing_if = "super::is_default")]
    pub host_ip: Option<String>,
    pub target: u16,
    /// `None`, and a range from 0, is any free port.
    #[serde(skip_serializing_if = "super::is_default")]
    pub published: Option<PortRange>,
    pub protocol: Protocol,
    #[serde(skip_serializing_if = "super::is_default")]
    pub app_protocol: Option<String>,
    #[serde(rename = "#extensions")]
    #[serde(skip_serializing_if = "super::is_default")]
    pub extensions: Extensions,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    #[default]
    Tcp,
    Udp,
    Sctp,
}

record! {
    /// Settings that are `None` are the image's.
    pub struct Healthcheck {
        /// Begins with `NONE`, `CMD` or `CMD-SHELL`; empty is the image's.
        pub test: Vec<String>,
        pub timeout: Option<Duration>,
        pub interval: Option<Duration>,
        pub retries: Option<u32>,
        pub start_period: Option<Duration>,
        pub start_interval: Option<Duration>,
        pub disable: bool,
        #[serde(rename = "#extensions")]
        pub extensions: Extensions,
    }
}

record! {
    pub struct Logging {
        pub driver: Option<String>,
        pub options: Mapping,
        #[serde(rename = "#extensions")]
        pub extensions: Extensions,
    }
}

record! {
    /// A service's place in a network.
    pub struct NetworkAttachment {
        pub aliases: Vec<String>,
        pub driver_opts: Mapping,
        pub gw_priority: i64,
        pub interface_name: Option<String>,
        pub ipv4_address: Option<String>,
        pub ipv6_address: Option<String>,
        pub link_local_ips: Vec<String>,
        pub mac_address: Option<String>,
        pub priority: i64,
        #[serde(rename = "#extensions")]
        pub extensions: Extensions,
    }
}

record! {
    pub struct Device {
        /// A path, or the name of a CDI device.
        pub source: String,
        pub target: Option<String>,
        /// Letters of `rwm`.
        pub permissions: Option<String>,
        #[serde(rename = "#extensions")]
        pub extensions: Extensions,
    }
}

record! {
    pub struct DeviceRequest {
        pub capabilities: Vec<String>,
        pub driver: Option<String>,
        pub count: Option<DeviceCount>,
        pub device_ids: Vec<String>,
        pub options: Mapping,
        #[serde(rename = "#extensions")]
        pub extensions: Extensions,
    }
}

/// A number of devices; -1 is all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeviceCount(pub i64);

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EnvFile {
    /// Absolute path.
    pub path: String,
    pub required: bool,
    /// `raw` reads lines as they are.
    #[serde(skip_serializing_if = "super::is_default")]
    pub format: Option<String>,
}

impl Default for EnvFile {
    fn default() -> Self {
        Self { path: String::new(), required: true, format: None }
    }
}

record! {
    pub struct Extends {
        pub file: Option<String>,
        pub service: String,
    }
}

record! {
    pub struct Provider {
        #[serde(rename = "type")]
        pub kind: String,
        pub options: IndexMap<String, Vec<String>>,
        #[serde(rename = "#extensions")]
        pub extensions: Extensions,
    }
}

record! {
    pub struct ServiceModel {
        pub endpoint_var: Option<String>,
        pub model_var: Option<String>,
        #[serde(rename = "#extensions")]
        pub extensions: Extensions,
    }
}

record! {
    pub struct CredentialSpec {
        pub config: Option<String>,
        pub file: Option<String>,
        pub registry: Option<String>,
        #[serde(rename = "#extensions")]
        pub extensions: Extensions,
    }
}

record! {
    pub struct BlkioConfig {
        pub weight: Option<u16>,
        pub weight_device: Vec<BlkioWeight>,
        pub device_read_bps: Vec<BlkioLimit>,
        pub device_read_iops: Vec<BlkioLimit>,
        pub device_write_bps: Vec<BlkioLimit>,
        pub device_write_iops: Vec<BlkioLimit>,
        #[serde(rename = "#extensions")]
        pub extensions: Extensions,
    }
}

record! {
    pub struct BlkioWeight {
        pub path: String,
        pub weight: u16,
        #[serde(rename = "#extensions")]
        pub extensions: Extensions,
    }
}

record! {
    pub struct BlkioLimit {
        pub path: String,
        pub rate: Bytes,
        #[serde(rename = "#extensions")]
        pub extensions: Extensions,
    }
}

/// A limit of `ulimits`; -1 is unlimited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Ulimit {
    Single(i64),
    Range { soft: i64, hard: i64 },
}

impl Ulimit {
    #[must_use]
    pub fn soft(self) -> i64 {
        match self {
            Self::Single(value) => value,
            Self::Range { soft, .. } => soft,
        }
    }

    #[must_use]
    pub fn hard(self) -> i64 {
        match self {
            Self::Single(value) => value,
            Self::Range { hard, .. } => hard,
        }
    }
}

record! {
    /// `post_start` and `pre_stop`: a command inside the container.
    pub struct Hook {
        pub command: Vec<String>,
        pub user: Option<String>,
        pub privileged: bool,
        pub working_dir: Option<String>,
        pub environment: IndexMap<String, Option<String>>,
        #[serde(rename = "#extensions")]
        pub extensions: Extensions,
    }
}

record! {
    /// `pre_start`: a container that runs to its end before the service starts.
    pub struct PreStartHook {
        pub command: Option<Vec<String>>,
        /// `None` is the service's image.
        pub image: Option<String>,
        pub user: Option<String>,
        pub privileged: bool,
        pub working_dir: Option<String>,
        pub environment: IndexMap<String, Option<String>>,
        pub per_replica: bool,
        #[serde(rename = "#extensions")]
        pub extensions: Extensions,
    }
}

record! {
    pub struct Develop {
        pub watch: Vec<WatchRule>,
        #[serde(rename = "#extensions")]
        pub extensions: Extensions,
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct WatchRule {
    /// Absolute path.
    pub path: String,
    pub action: WatchAction,
    #[serde(skip_serializing_if = "super::is_default")]
    pub target: Option<String>,
    #[serde(skip_serializing_if = "super::is_default")]
    pub exec: Option<Hook>,
    #[serde(skip_serializing_if = "super::is_default")]
    pub include: Vec<String>,
    #[serde(skip_serializing_if = "super::is_default")]
    pub ignore: Vec<String>,
    #[serde(skip_serializing_if = "super::is_default")]
    pub initial_sync: bool,
    #[serde(rename = "#extensions")]
    #[serde(skip_serializing_if = "super::is_default")]
    pub extensions: Extensions,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum WatchAction {
    #[default]
    #[serde(rename = "sync")]
    Sync,
    #[serde(rename = "rebuild")]
    Rebuild,
    #[serde(rename = "restart")]
    Restart,
    #[serde(rename = "sync+restart")]
    SyncRestart,
    #[serde(rename = "sync+exec")]
    SyncExec,
}
