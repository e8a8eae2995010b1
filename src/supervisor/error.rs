//! What can go wrong with containers, in words for people.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::keeper::protocol::StartError;
use crate::network::NetworkError;
use crate::network::ports::PortConflict;
use crate::record::ProbeResult;
use crate::runtime::spec::ExitStatus;
use crate::state::record::{ReadError, WriteError};
use crate::state::stuck::Stuck;
use crate::volumes::VolumeError;
use crate::volumes::bind::BindError;
use crate::volumes::files::FileError;

#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    #[error("there is no container {id}")]
    Unknown { id: String },
    #[error("container {name} is not running")]
    NotRunning { name: String },
    #[error("container {name} is running; stop it first")]
    Running { name: String },
    #[error("container {name} is paused; unpause it first")]
    Paused { name: String },
    #[error("container {name} is paused already")]
    PausedAlready { name: String },
    #[error("container {name} is not paused")]
    NotPaused { name: String },
    #[error("the container name {name} is in use by {holder}")]
    NameTaken { name: String, holder: Holder },
    #[error("there is no container {name}, in this project or another, whose {namespace} could be shared")]
    NoPeer { namespace: &'static str, name: String },
    #[error("the {namespace} of container {target} cannot be shared, because it is not running")]
    Shared { namespace: &'static str, target: String },
    #[error("container {name} is in network {network} already")]
    Connected { name: String, network: String },
    #[error("container {name} is not in network {network}")]
    NotConnected { name: String, network: String },
    #[error("container {name} cannot be connected to networks: {why}")]
    NoNetworks { name: String, why: &'static str },
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Network(#[from] NetworkError),
    #[error(transparent)]
    Port(#[from] PortConflict),
    #[error(transparent)]
    Volume(#[from] VolumeError),
    #[error(transparent)]
    File(#[from] FileError),
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error("{0}")]
    Read(#[from] ReadError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error("cannot {action} {}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("cannot {action}")]
    System { action: String, source: io::Error },
    #[error("{hook} hook `{command}` {}{}", how_it_ended(*exit), said(output))]
    Hook { hook: &'static str, command: String, exit: ExitStatus, output: String },
    #[error("`{text}` is not a signal")]
    Signal { text: String },
    #[error("{reason}")]
    Option { reason: String },
    #[error("extra host `{host}`: {reason}")]
    ExtraHost { host: String, reason: String },
    #[error("container {name} does not end, not even when killed; its processes hang in the kernel")]
    Immortal { name: String },
    #[error(transparent)]
    Stuck(#[from] Stuck),
    #[error("the keeper of the project has died; its containers are taken over by a new one, try again")]
    KeeperLost,
}

fn how_it_ended(exit: ExitStatus) -> String {
    match exit {
        ExitStatus::Code(code) => format!("ended with {code}"),
        ExitStatus::Signal(signal) => format!("was killed by signal {signal}"),
        ExitStatus::Unknown => "ended, nobody knows how".to_owned(),
    }
}

fn said(output: &str) -> String {
    if output.is_empty() { String::new() } else { format!(": {}", output.trim_end()) }
}

/// An error with its causes.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}

impl SupervisorError {
    pub(super) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }

    pub(super) fn system(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |source| Self::System { action, source }
    }

    /// The same for a file of messages: without what a container wrote, and without what it was told.
    #[must_use]
    pub fn for_messages(&self) -> String {
        match self {
            Self::Hook { hook, exit, .. } => format!("a {hook} hook {}", how_it_ended(*exit)),
            other => chain(other),
        }
    }

    /// The code that Docker would exit with for a failed start.
    #[must_use]
    pub fn exit_code(&self) -> i32 {
        match self {
            Self::Start(error) => error.exit_code,
            _ => 125,
        }
    }
}

/// Why a container will not be as somebody waits for it to be.
#[derive(Debug, Clone, thiserror::Error)]
#[error("container {container} {reason}")]
pub struct ConditionFailure {
    pub container: String,
    pub reason: Reason,
    /// The last probe, when health is what was waited for.
    pub probe: Option<ProbeResult>,
    /// The last lines of the container's log.
    pub log_tail: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    #[error("is unhealthy")]
    Unhealthy,
    #[error("exited ({0})")]
    Exited(i32),
    #[error("has no healthcheck configured")]
    NoHealthCheck,
    #[error("could not be started: {0}")]
    NotStarted(String),
    #[error("was removed")]
    Removed,
}

/// A container, as whoever wants its name is told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    pub project: String,
    pub id: String,
    pub name: String,
    pub service: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let short = self.id.get(..12).unwrap_or(&self.id);
        write!(f, "container {short} of service {} in project {}", self.service, self.project)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_causes_and_nothing_of_a_hook() {
        let (command, output) = ("login --token s3cret".to_owned(), "s3cret is wrong".to_owned());
        let hook = SupervisorError::Hook { hook: "post_start", command, exit: ExitStatus::Code(3), output };
        assert_eq!(hook.for_messages(), "a post_start hook ended with 3");
        let error = SupervisorError::System { action: "make a pipe".to_owned(), source: io::Error::other("none left") };
        assert_eq!(error.for_messages(), "cannot make a pipe: none left");
    }
}
