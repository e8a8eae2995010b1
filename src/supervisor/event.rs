//! What happens to containers, as it happens.

use jiff::Timestamp;

use crate::runtime::spec::{ContainerId, ExitStatus};
use crate::supervisor::record::HealthStatus;

#[derive(Debug, Clone, PartialEq)]
pub struct Event {
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
