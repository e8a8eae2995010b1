//! A plan: operations, what each waits for, and why it is there.

use std::fmt;

use super::desired::Install;
use crate::record::{ContainerRecord, Dependency};

/// Operations that form a directed acyclic graph: `after` holds indices of those that come first.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Plan {
    pub operations: Vec<Operation>,
    /// Remarks for the person, such as orphans that are left alone.
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    pub kind: OperationKind,
    /// Why: which field differs, what is missing.
    pub cause: String,
    pub after: Vec<usize>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum OperationKind {
    CreateNetwork {
        name: String,
    },
    RemoveNetwork {
        name: String,
    },
    CreateVolume {
        name: String,
    },
    RemoveVolume {
        name: String,
    },
    /// Runs a step in a container of its own, which fills a volume.
    Install {
        record: Box<ContainerRecord>,
        install: Box<Install>,
    },
    CreateContainer {
        record: Box<ContainerRecord>,
        /// Container that this one takes the place of.
        replaces: Option<String>,
    },
    StartContainer {
        id: String,
        name: String,
        service: String,
        /// What must hold first, and the containers that it must hold for.
        needs: Vec<(Dependency, Vec<String>)>,
    },
    StopContainer {
        id: String,
        name: String,
        /// It is started again by a later operation, and keeps its network until then.
        restart: bool,
    },
    /// Until it runs, or is healthy, and stays so.
    AwaitContainer {
        id: String,
        name: String,
        /// How long it must stay so.
        monitor_ms: u64,
        service: String,
        /// So many failures of the service's containers are told, and do not end the plan.
        tolerated: usize,
    },
    /// Between two batches of an update.
    Delay {
        service: String,
        ms: u64,
    },
    SignalContainer {
        id: String,
        name: String,
        /// Name or number.
        signal: String,
    },
    PauseContainer {
        id: String,
        name: String,
    },
    UnpauseContainer {
        id: String,
        name: String,
    },
    /// Several at once: tearing down networks one by one is what makes `down` slow.
    RemoveContainers {
        /// Id and name.
        containers: Vec<(String, String)>,
        anonymous_volumes: bool,
    },
}

impl Plan {
    /// Adds an operation and returns its index.
    pub fn push(&mut self, kind: OperationKind, cause: impl Into<String>, after: Vec<usize>) -> usize {
        self.operations.push(Operation { kind, cause: cause.into(), after });
        self.operations.len() - 1
    }
}

impl OperationKind {
    /// The names of the containers that it is about.
    #[must_use]
    pub fn containers(&self) -> Vec<&str> {
        match self {
            Self::CreateContainer { record, .. } => vec![&record.name],
            Self::StartContainer { name, .. }
            | Self::StopContainer { name, .. }
            | Self::AwaitContainer { name, .. }
            | Self::SignalContainer { name, .. }
            | Self::PauseContainer { name, .. }
            | Self::UnpauseContainer { name, .. } => vec![name],
            Self::RemoveContainers { containers, .. } => containers.iter().map(|(_, name)| name.as_str()).collect(),
            Self::CreateNetwork { .. }
            | Self::RemoveNetwork { .. }
            | Self::CreateVolume { .. }
            | Self::RemoveVolume { .. }
            | Self::Install { .. }
            | Self::Delay { .. } => vec![],
        }
    }
}

impl fmt::Display for OperationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CreateNetwork { name } => write!(f, "create network {name}"),
            Self::RemoveNetwork { name } => write!(f, "remove network {name}"),
            Self::CreateVolume { name } => write!(f, "create volume {name}"),
            Self::RemoveVolume { name } => write!(f, "remove volume {name}"),
            Self::Install { record, .. } => write!(f, "install the packages of {}", record.service),
            Self::CreateContainer { record, replaces: None } => write!(f, "create container {}", record.name),
            Self::CreateContainer { record, replaces: Some(_) } => write!(f, "recreate container {}", record.name),
            Self::StartContainer { name, .. } => write!(f, "start container {name}"),
            Self::StopContainer { name, .. } => write!(f, "stop container {name}"),
            Self::AwaitContainer { name, .. } => write!(f, "wait for container {name}"),
            Self::Delay { service, ms } => write!(f, "wait {ms} ms before the next of {service}"),
            Self::SignalContainer { name, signal, .. } => write!(f, "send {signal} to container {name}"),
            Self::PauseContainer { name, .. } => write!(f, "pause container {name}"),
            Self::UnpauseContainer { name, .. } => write!(f, "unpause container {name}"),
            Self::RemoveContainers { containers, .. } => {
                let names: Vec<&str> = containers.iter().map(|(_, name)| name.as_str()).collect();
                write!(f, "remove container {}", names.join(", "))
            }
        }
    }
}

impl fmt::Display for Plan {
    /// One line for each operation: `[0, 2] -> #3 start container shop-web-1 (not running)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, operation) in self.operations.iter().enumerate() {
            writeln!(f, "{:?} -> #{index} {} ({})", operation.after, operation.kind, operation.cause)?;
        }
        Ok(())
    }
}
