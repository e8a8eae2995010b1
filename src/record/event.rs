//! What happens to containers, as it happens.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::HealthStatus;
use crate::runtime::spec::{ContainerId, ExitStatus};

#[derive(Debug, Clone, PartialEq)]
pub struct ContainerEvent {
    pub container: ContainerId,
    pub name: String,
    pub service: String,
    pub time: Timestamp,
    pub what: What,
}

#[derive(Debug, Clone, PartialEq)]
pub enum What {
    Created,
    Started,
    Health(HealthStatus),
    /// A signal was sent on a person's behalf.
    Killed {
        signal: i32,
    },
    /// A person wanted it to end, and it has.
    Stopped,
    Paused,
    Unpaused,
    /// `restart_ms`: the restart policy brings it back after that time.
    Exited {
        exit: ExitStatus,
        oom_killed: bool,
        restart_ms: Option<u64>,
    },
    Removed,
}

/// One event in Docker's words. The file is that of a log, with one of these as JSON in each line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventRecord {
    /// `container` or `network`.
    #[serde(default = "container")]
    pub kind: String,
    /// `create`, `start`, `die`, `health_status: healthy` ...
    pub action: String,
    pub id: String,
    pub service: String,
    /// `image`, `name`, the labels that are not Compose's own, and what belongs to the action.
    pub attributes: BTreeMap<String, String>,
}

fn container() -> String {
    "container".to_owned()
}
