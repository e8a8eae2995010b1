//! What a command asks of a project's supervisor.

use serde::{Deserialize, Serialize};

use crate::network::spec::EndpointSpec;
use crate::plan::{Action, Desired, DesiredService, DownOptions, Selection, UpOptions};
use crate::record::logs::Stream;
use crate::record::{Hook, ProjectRecord};
use crate::runtime::EndsKind;
use crate::runtime::spec::ExecSpec;
use crate::watch::Transfer;

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

    /// What of a process's streams comes with the answer that it runs.
    #[must_use]
    pub fn other_ends(&self) -> EndsKind {
        match self {
            Self::Run { attach: true, oneoff, .. } if oneoff.template.spec.process.tty => EndsKind::Terminal,
            Self::Run { attach: true, stdin, .. } => EndsKind::Pipes { stdin: *stdin },
            Self::Exec { spec, .. } if spec.tty => EndsKind::Terminal,
            Self::Exec { detach: false, .. } => EndsKind::Pipes { stdin: true },
            _ => EndsKind::None,
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
