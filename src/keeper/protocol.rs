//! What keeper and supervisor say to each other: one JSON message a packet on a `SOCK_SEQPACKET` pair, descriptors
//! passed with it (`SCM_RIGHTS`), which `descriptors` packs and unpacks. A message too long for a packet travels in a memfd that is the last descriptor.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::keeper::descriptors::{ProcessBrings, StartBrings};
pub use crate::runtime::StartError;
use crate::runtime::spec::{ContainerId, ContainerSpec, ExecSpec, ExitStatus};
use crate::sys::packet;

/// Supervisor to keeper.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum KeeperRequest {
    /// Starts a container.
    Start {
        seq: u64,
        brings: StartBrings,
        spec: Box<ContainerSpec>,
        /// Folder of the named pipes `stdin`, `stdout`, `stderr`; the keeper makes them when missing.
        pipes: PathBuf,
        /// The exit is written here (`exit.json`) before it is told.
        exit_record: PathBuf,
    },
    /// Starts a further process in a running container.
    Exec {
        seq: u64,
        exec: String,
        container: ContainerId,
        spec: Box<ExecSpec>,
        /// Which of its stdin, stdout and stderr come with the message, as pipes; none with a terminal.
        piped: [bool; 3],
    },
    /// A container of an earlier keeper that died: it runs (or has ended) without a parent. The keeper opens its pipes
    /// and follows it; answered by `Running`, and by `Exited` when it is gone.
    Adopt {
        spec: Box<ContainerSpec>,
        pid: i32,
        start_time: u64,
        pipes: PathBuf,
        exit_record: PathBuf,
    },
    /// The container's stdin ends: its reader sees the end of the file. Only without a terminal.
    CloseStdin {
        container: ContainerId,
    },
    /// The supervisor's socket answers. Sent once by every supervisor; `keeper::spawn` returns then.
    Serving,
    /// Ends a container, or one further process in it, whose start nobody could be told of.
    Kill {
        container: ContainerId,
        exec: Option<String>,
    },
    /// The end of a container is worked on, or it is removed: drops everything that is held for it.
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
    /// Answered by `CaughtUp` once everything before it is done.
    CatchUp {
        seq: u64,
    },
    /// Answered by `Unknown` when no start with this number is under way: whoever waits for its answer waits in vain.
    Ask {
        seq: u64,
    },
    /// No container runs: the keeper ends after the supervisor does.
    Shutdown,
}

/// Keeper to supervisor.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum KeeperEvent {
    /// The program of the container has been executed.
    Started {
        seq: u64,
        container: ContainerId,
        pid: i32,
        start_time: u64,
        brings: ProcessBrings,
        /// What the kernel did not allow and the container runs without, in words.
        #[serde(default)]
        warnings: Vec<String>,
    },
    /// Brings its pidfd, and the terminal's master when it has one.
    ExecStarted {
        seq: u64,
        exec: String,
        pid: i32,
        brings: ProcessBrings,
    },
    /// Nothing of what was asked for is left.
    Failed {
        seq: u64,
        error: StartError,
    },
    CaughtUp {
        seq: u64,
    },
    Unknown {
        seq: u64,
    },
    Exited {
        container: ContainerId,
        status: ExitStatus,
        at: Timestamp,
        /// The kernel killed a process of the container for lack of memory.
        #[serde(default)]
        oom_killed: bool,
    },
    ExecExited {
        exec: String,
        status: ExitStatus,
    },
    /// To a new supervisor: a container that runs, or whose end nobody has worked on yet (`Exited` follows then).
    Running {
        container: ContainerId,
        pid: i32,
        start_time: u64,
        brings: ProcessBrings,
    },
    /// To a new supervisor: what the old one had put into keeping.
    Held {
        key: String,
    },
    /// To a new supervisor: that was all.
    Ready,
}

/// Sends one message with its descriptors.
///
/// # Errors
/// `WouldBlock` when the socket is non-blocking and full (nothing was sent then), `BrokenPipe` when the other end is
/// gone.
pub fn send<T: Serialize>(socket: impl AsFd, message: &T, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    packet::send(socket, &serde_json::to_vec(message)?, fds)
}

/// Receives one message with its descriptors; `None` when the other end is closed.
///
/// # Errors
/// `WouldBlock` when the socket is non-blocking and empty; `InvalidData` when the message is not one of these.
pub fn recv<T: DeserializeOwned>(socket: impl AsFd) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    match packet::recv(socket)? {
        Some((text, fds)) => Ok(Some((serde_json::from_slice(&text)?, fds))),
        None => Ok(None),
    }
}

/// A message of which the descriptors were lost on the way, because this process may not have more of them.
#[must_use]
pub fn stripped<T: DeserializeOwned>(error: &io::Error) -> Option<T> {
    serde_json::from_slice(packet::stripped(error)?).ok()
}

/// The file at `exit_record`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExitRecord {
    pub pid: i32,
    pub status: ExitStatus,
    pub at: Timestamp,
    #[serde(default)]
    pub oom_killed: bool,
}

impl crate::state::record::Record for ExitRecord {
    const VERSION: u32 = 1;
}
