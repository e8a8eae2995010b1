//! What keeper and supervisor say to each other: one JSON message a packet on a `SOCK_SEQPACKET` pair, descriptors
//! passed with it (`SCM_RIGHTS`). A message too long for a packet travels in a memfd that is the last descriptor.

use std::path::PathBuf;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::runtime::spec::{ContainerId, ContainerSpec, ExecSpec, ExitStatus};

/// Supervisor to keeper.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum Request {
    /// Starts a container. Descriptors: the network namespace, when the specification says `passed`.
    Start {
        seq: u64,
        spec: Box<ContainerSpec>,
        /// Folder of the named pipes `stdin`, `stdout`, `stderr`; the keeper makes them when missing.
        pipes: PathBuf,
        /// The exit is written here (`exit.json`) before it is told.
        exit_record: PathBuf,
    },
    /// Starts a further process in a running container. Descriptors: stdin, stdout, stderr, unless it has a terminal.
    Exec {
        seq: u64,
        exec: String,
        container: ContainerId,
        spec: Box<ExecSpec>,
    },
    /// Drops everything held for a container that has ended and is removed.
    Forget {
        container: ContainerId,
    },
    /// Keeps the descriptors of this message open under a name, for the next supervisor.
    Hold {
        key: String,
    },
    Release {
        key: String,
    },
    /// No container is left: the keeper ends after the supervisor does.
    Shutdown,
}

/// Keeper to supervisor.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Event {
    /// The program of the container has been executed. Descriptors: pidfd, then the terminal's master, or the write
    /// end of stdin and the read ends of stdout and stderr.
    Started {
        seq: u64,
        container: ContainerId,
        pid: i32,
        start_time: u64,
    },
    /// Descriptors: pidfd, and the terminal's master when it has one.
    ExecStarted {
        seq: u64,
        exec: String,
        pid: i32,
    },
    /// Nothing of what was asked for is left.
    Failed {
        seq: u64,
        error: StartError,
    },
    Exited {
        container: ContainerId,
        status: ExitStatus,
        at: Timestamp,
    },
    ExecExited {
        exec: String,
        status: ExitStatus,
    },
    /// To a new supervisor: a container that runs. Descriptors as in `Started`.
    Running {
        container: ContainerId,
        pid: i32,
        start_time: u64,
    },
    /// To a new supervisor: what the old one had put into keeping.
    Held {
        key: String,
    },
    /// To a new supervisor: that was all.
    Ready,
}

/// Why a container or a process in it did not start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{step}: {detail}")]
pub struct StartError {
    /// What was being done: `mount /data`, `exec /app/server`.
    pub step: String,
    /// Why it failed, in words.
    pub detail: String,
    pub errno: Option<i32>,
    /// 126 (found but not executable), 127 (not found) or 125 (everything else), as Docker's.
    pub exit_code: i32,
}

/// The file at `exit_record`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExitRecord {
    pub pid: i32,
    pub status: ExitStatus,
    pub at: Timestamp,
}

impl crate::state::record::Record for ExitRecord {
    const VERSION: u32 = 1;
}
