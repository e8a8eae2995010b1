//! What the supervisor says while it does what was asked.

use std::io;
use std::os::fd::OwnedFd;

use serde::{Deserialize, Serialize};

use super::failure::Failure;
use crate::sys::passed::PassedDescriptors;
use crate::watch::Outcome;

/// What has happened to them.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Refreshed {
    pub containers: Vec<ContainerRef>,
    pub outcome: Outcome,
    /// Names of the containers that were restarted, dependents included.
    pub restarted: Vec<String>,
    /// Packages were installed; otherwise they were there already.
    #[serde(default)]
    pub installed: bool,
    /// The end of what the commands wrote.
    pub output: Vec<String>,
}

/// Many events an answer; `Done` or `Failed` is the last.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Response {
    /// What is going to be made and started, in the order of what needs what.
    Outline {
        objects: Vec<(ObjectKind, String)>,
    },
    /// Something happens to an object of the project.
    Progress(ObjectProgress),
    Warning {
        text: String,
    },
    /// A line for the person.
    Note {
        text: String,
    },
    /// One line of a plan that is not carried out.
    Planned {
        text: String,
    },
    /// Ids of the containers that the request was about, in the order of the services.
    Containers {
        containers: Vec<ContainerRef>,
    },
    /// The container of `run` runs. Descriptors: the [`OtherEnds`](crate::runtime::OtherEnds) that the request says; none
    /// unless it is attached to.
    RunStarted {
        container: ContainerRef,
    },
    /// The process of `exec` runs. Descriptors: the [`OtherEnds`](crate::runtime::OtherEnds) of its streams; none when it
    /// is detached.
    ExecStarted {
        pid: i32,
    },
    /// Descriptor: the container's standard input or terminal, when it has one.
    Attached,
    /// What the hooks of a container that was started or stopped have written.
    Hooks {
        container: ContainerRef,
        lines: Vec<String>,
    },
    /// The container stands still.
    Held,
    /// Nothing has happened for some seconds, and the supervisor is well. Nobody sends it: the client says it to itself.
    #[serde(skip)]
    Quiet,
    /// A container ended; `final` when nothing will start it again.
    Exited {
        container: ContainerRef,
        exit_code: i32,
        #[serde(rename = "final")]
        last: bool,
    },
    /// How long a step took, for `--timings`; microseconds since the request came.
    Timing {
        step: String,
        start_us: u64,
        took_us: u64,
    },
    Refreshed(Refreshed),
    Done {
        exit_code: i32,
    },
    Failed(Failure),
}

/// What came with [`Response::Attached`].
///
/// # Errors
/// `InvalidData` when it is more than one descriptor.
pub fn input_of(received: Vec<OwnedFd>) -> io::Result<Option<OwnedFd>> {
    PassedDescriptors::optional(received)
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ContainerRef {
    pub id: String,
    pub name: String,
    pub service: String,
    pub number: u32,
}

/// A change of one object, in the words of `docker compose`: `Container shop-web-1  Started`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ObjectProgress {
    pub kind: ObjectKind,
    pub name: String,
    pub status: String,
    pub state: ProgressState,
    /// Microseconds since this object's first event.
    pub elapsed_us: u64,
    pub detail: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectKind {
    Container,
    Network,
    Volume,
    Image,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProgressState {
    Working,
    Done,
    Warning,
    Error,
}
