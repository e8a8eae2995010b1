//! What the command line asks of a project's supervisor, and what it hears back.

use serde::{Deserialize, Serialize};

use crate::network::spec::EndpointSpec;
use crate::plan::{Action, Desired, DesiredService, DownOptions, Selection, UpOptions};
use crate::runtime::spec::ExecSpec;
use crate::supervisor::logs::Stream;
use crate::supervisor::record::{Hook, ProjectRecord};
use crate::watch::{Outcome, Transfer};

/// One request a connection.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "snake_case")]
pub enum Request {
    /// Make the project look like this.
    Up {
        desired: Box<Desired>,
        options: UpOptions,
        /// Grace period for containers that are replaced or removed, instead of their own.
        timeout_ms: Option<u64>,
        /// Say what would be done and do nothing.
        dry_run: bool,
    },
    /// Make the project look like `desired`, then run a container of its own.
    Run {
        desired: Box<Desired>,
        oneoff: Box<DesiredService>,
        options: UpOptions,
        /// The client gets the other ends of its streams, and waits for its end.
        attach: bool,
        /// There is something to read for it.
        stdin: bool,
        dry_run: bool,
    },
    /// Stop and remove.
    Down {
        options: DownOptions,
        /// What the files say now, when there are files.
        project: Option<ProjectRecord>,
        timeout_ms: Option<u64>,
        dry_run: bool,
    },
    /// Do something to containers as they are.
    Act {
        action: Action,
        selection: Selection,
        /// Grace period for containers that are stopped, instead of their own.
        timeout_ms: Option<u64>,
        dry_run: bool,
    },
    /// Run a further process in a container.
    Exec { container: String, spec: Box<ExecSpec>, detach: bool },
    /// Hand out a container's input, and tell its exit code when it ends.
    Attach { container: String },
    /// Put a container into a network.
    Connect {
        container: String,
        endpoint: Box<EndpointSpec>,
        /// It was asked for before, of a supervisor that died meanwhile: what that one has done is no fault.
        again: bool,
    },
    /// Take a container out of a network.
    Disconnect { container: String, network: String, again: bool },
    /// Pause a container until [`Request::GiveUp`], or the end of the connection.
    Hold { container: String },
    /// Wait until every container named here runs, or is healthy when it has a health check.
    Wait { containers: Vec<String>, timeout_ms: Option<u64> },
    /// Tell about every exit of these containers, until all have ended and none will be started again.
    Follow { containers: Vec<String> },
    /// Files of the host have changed.
    Refresh(Refresh),
    /// After `Run` on its connection: nobody reads this stream of the container any more, and its writer is to hear it.
    Unread { stream: Stream },
    /// After another request on its connection: begin nothing more, and answer with what has become of it.
    GiveUp,
}

impl Request {
    /// The same for another supervisor, after one that died with it, where it is not the same.
    #[must_use]
    pub fn again(&self) -> Option<Self> {
        match self {
            Self::Connect { container, endpoint, .. } => {
                Some(Self::Connect { container: container.clone(), endpoint: endpoint.clone(), again: true })
            }
            Self::Disconnect { container, network, .. } => {
                Some(Self::Disconnect { container: container.clone(), network: network.clone(), again: true })
            }
            _ => None,
        }
    }

    /// Whether it only asks what would be done.
    #[must_use]
    pub fn is_dry(&self) -> bool {
        match self {
            Self::Up { dry_run, .. }
            | Self::Run { dry_run, .. }
            | Self::Down { dry_run, .. }
            | Self::Act { dry_run, .. } => *dry_run,
            _ => false,
        }
    }
}

/// What is to happen to a service's containers because files have changed, in this order.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Refresh {
    pub service: String,
    pub transfers: Vec<Transfer>,
    pub restart: bool,
    /// Restart only when something was copied or removed.
    pub only_if_changed: bool,
    /// It was made anew: restart the dependents that ask for it.
    #[serde(default)]
    pub renewed: bool,
    pub exec: Vec<Hook>,
}

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
pub enum Event {
    /// What is going to be made and started, in the order of what needs what.
    Outline {
        objects: Vec<(ObjectKind, String)>,
    },
    /// Something happens to an object of the project.
    Progress(Progress),
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
    /// The container of `run` runs. Descriptors when it is attached to: the master of its terminal, or the other ends of
    /// its stdin (if there is anything to read), stdout and stderr.
    RunStarted {
        container: ContainerRef,
    },
    /// The process of `exec` runs. Descriptors unless it is detached: the master of its terminal, or the other ends of its
    /// stdin, stdout and stderr.
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

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ContainerRef {
    pub id: String,
    pub name: String,
    pub service: String,
    pub number: u32,
}

/// A change of one object, in the words of `docker compose`: `Container shop-web-1  Started`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Progress {
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

/// Why a request failed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub message: String,
    pub causes: Vec<String>,
    /// Longer text that belongs to it: the last probe's output, the tail of the log.
    pub details: Vec<Detail>,
    pub hints: Vec<String>,
    pub exit_code: i32,
    /// A container did not start: the code that docker would exit with for it.
    #[serde(default)]
    pub start_code: i32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail {
    pub title: String,
    pub text: String,
}
