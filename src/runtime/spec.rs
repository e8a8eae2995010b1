//! What a container is to be, in the terms of the OCI runtime specification and the kernel.
//!
//! The specification is plain data: it is stored in the container's record and sent to the keeper as it is.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// 64 hexadecimal digits, as Docker's container ids; the first 12 are the short id.
pub type ContainerId = String;

/// Where programs are looked for when neither the image nor the file says it.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Everything the keeper needs to start a container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ContainerSpec {
    pub id: ContainerId,
    /// UTS host name; default is the short id.
    pub hostname: String,
    pub domainname: Option<String>,
    pub rootfs: Rootfs,
    /// The user's mounts in the order in which they are made. A mount at the target of a default mount replaces it.
    pub mounts: Vec<Mount>,
    #[serde(default)]
    pub match_users: Vec<MatchUser>,
    /// Files of the host that appear as `/etc/hosts`, `/etc/hostname` and `/etc/resolv.conf`.
    pub etc: EtcFiles,
    pub namespaces: Namespaces,
    pub process: Process,
    pub security: Security,
    pub devices: Vec<Device>,
    /// `device_cgroup_rules` of Compose: `c 1:3 rwm`.
    pub device_cgroup_rules: Vec<String>,
    pub sysctls: BTreeMap<String, String>,
    pub cgroup: Cgroup,
    /// Size of `/dev/shm` in bytes; Docker's default is 64 MiB.
    pub shm_size: u64,
    /// A small init of ours is pid 1: it forwards signals to the process and reaps orphans.
    pub init: bool,
}

/// The root file system: an overlay of shared read-only layers and a private upper directory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rootfs {
    /// Read-only layer directories, the topmost first.
    pub lower: Vec<PathBuf>,
    pub upper: PathBuf,
    pub work: PathBuf,
    /// The root is remounted read-only after all mounts are made.
    pub read_only: bool,
}

/// One mount of the user's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mount {
    /// Absolute path inside the container; resolved inside its root, missing parts are created.
    pub target: PathBuf,
    pub kind: MountKind,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum MountKind {
    /// A file or directory of the host (also the data directory of a named volume).
    Bind {
        source: PathBuf,
        /// Mount this path below `source` instead; resolved without leaving `source` (volume `subpath`).
        subpath: Option<PathBuf>,
        read_only: bool,
        /// Submounts come along (`rbind`), and are read-only too when `read_only` (kernel 5.12).
        recursive: bool,
        propagation: Propagation,
    },
    /// A tmpfs of the container's own. Flags are nosuid, nodev, noexec unless `options` say otherwise.
    Tmpfs {
        /// Bytes.
        size: Option<u64>,
        mode: Option<u32>,
        uid: Option<u32>,
        gid: Option<u32>,
        /// `exec`, `suid`, `dev`, `ro`, `noatime` and the like, as in the short syntax.
        options: Vec<String>,
    },
    /// An overlay of its own below the root (parts of the host root file system; image volumes).
    Overlay {
        /// The topmost first.
        lower: Vec<PathBuf>,
        /// `None` makes the overlay read-only.
        upper: Option<PathBuf>,
        work: Option<PathBuf>,
    },
}

/// A bind mount in which the owner of the source and a user of the container are one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MatchUser {
    /// As in [`Mount`].
    pub target: PathBuf,
    /// As [`Process::user`]; empty is that of the container's process.
    pub user: String,
}

/// Mount propagation of a bind, as in `mount(2)`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Propagation {
    Private,
    #[default]
    Rprivate,
    Shared,
    Rshared,
    Slave,
    Rslave,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct EtcFiles {
    pub hosts: Option<PathBuf>,
    pub hostname: Option<PathBuf>,
    pub resolv_conf: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Namespaces {
    pub network: NetworkNamespace,
    pub pid: Namespace,
    pub ipc: Namespace,
    pub uts: Namespace,
    pub cgroup: Namespace,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Namespace {
    Private,
    Host,
    /// That of another container of the same keeper, which must run.
    Container(ContainerId),
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkNamespace {
    /// A ready network namespace comes as a descriptor with the start message.
    Passed,
    Host,
    Container(ContainerId),
}

/// The process that runs as the container's own.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Process {
    pub args: Vec<String>,
    /// `KEY=value`. `PATH`, `HOSTNAME`, `HOME` and, with a terminal, `TERM` are added when absent.
    pub env: Vec<String>,
    pub cwd: PathBuf,
    /// `user`, `user:group`, `uid`, `uid:gid`; names are looked up inside the root. Empty is root.
    pub user: String,
    /// Supplementary groups (`group_add`): names or ids, added to those of the image's `/etc/group`.
    pub groups: Vec<String>,
    pub rlimits: Vec<Rlimit>,
    pub oom_score_adj: Option<i32>,
    /// A pseudo-terminal is the process's stdin, stdout and stderr.
    pub tty: bool,
    /// Stdin stays open (otherwise it is `/dev/null`).
    pub stdin_open: bool,
    /// Of the pseudo-terminal before anybody is attached to it.
    #[serde(default)]
    pub size: TerminalSize,
}

/// Rows and columns of a pseudo-terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TerminalSize {
    pub rows: u16,
    pub columns: u16,
}

impl Default for TerminalSize {
    /// What programs take for granted: a terminal without a size (0 x 0) makes editors and pagers fail.
    fn default() -> Self {
        Self { rows: 24, columns: 80 }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rlimit {
    /// `nofile`, `nproc` and so on, as in `getrlimit(2)` without `RLIMIT_`.
    pub name: String,
    /// -1 is unlimited.
    pub soft: i64,
    pub hard: i64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Security {
    pub privileged: bool,
    /// As written by the user (`ALL`, `net_admin`, `CAP_SYS_TIME`); applied to Docker's default set.
    pub cap_add: Vec<String>,
    pub cap_drop: Vec<String>,
    pub no_new_privileges: bool,
    pub seccomp: Seccomp,
    /// AppArmor profile; with `None` none is applied.
    pub apparmor: Option<String>,
    /// `security_opt: systempaths=unconfined` turns both lists off.
    pub mask_paths: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seccomp {
    #[default]
    Default,
    Unconfined,
    /// The text of a profile in Docker's JSON format.
    Profile(String),
}

/// A device node of the host made visible in the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Device {
    pub source: PathBuf,
    pub target: PathBuf,
    /// Letters of `rwm`.
    pub permissions: String,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Cgroup {
    /// Path below each hierarchy's root, for example `windlass/<project id>/<container id>`.
    pub path: String,
    pub limits: Limits,
}

/// Resource limits; `None` is "not limited".
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Limits {
    /// Billionths of a processor.
    pub nano_cpus: Option<u64>,
    pub cpu_shares: Option<u64>,
    /// Microseconds.
    pub cpu_quota: Option<i64>,
    /// Microseconds.
    pub cpu_period: Option<u64>,
    pub cpuset_cpus: Option<String>,
    pub cpuset_mems: Option<String>,
    /// Bytes.
    pub memory: Option<i64>,
    /// Bytes.
    pub memory_reservation: Option<i64>,
    /// Memory plus swap in bytes; -1 is unlimited.
    pub memory_swap: Option<i64>,
    pub memory_swappiness: Option<u64>,
    pub oom_kill_disable: Option<bool>,
    pub pids: Option<i64>,
    pub blkio_weight: Option<u16>,
    pub blkio_devices: Vec<BlkioDevice>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlkioDevice {
    pub path: PathBuf,
    pub setting: BlkioSetting,
    pub value: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BlkioSetting {
    Weight,
    /// Bytes per second.
    ReadBps,
    WriteBps,
    /// Operations per second.
    ReadIops,
    WriteIops,
}

/// A further process in a running container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExecSpec {
    pub args: Vec<String>,
    /// Added to (and overriding) the environment of the container's own process.
    pub env: Vec<String>,
    /// `None` is the container's own working directory.
    pub cwd: Option<PathBuf>,
    /// `None` is the container's own user.
    pub user: Option<String>,
    pub tty: bool,
    /// Of its terminal, when it has one.
    #[serde(default)]
    pub size: TerminalSize,
    pub privileged: bool,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExitStatus {
    Code(i32),
    Signal(i32),
    /// Nobody was there to see it (the keeper had died).
    Unknown,
}

impl ExitStatus {
    /// The code that a shell and Docker would show: 128 + signal for a killed process, 255 when unknown.
    #[must_use]
    pub fn code(self) -> i32 {
        match self {
            Self::Code(code) => code,
            Self::Signal(signal) => 128 + signal,
            Self::Unknown => 255,
        }
    }
}
