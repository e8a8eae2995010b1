//! Why a container or a further process in it did not start.

use std::io;

use serde::{Deserialize, Serialize};

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

impl StartError {
    /// A failure that no system call reported.
    pub fn new(step: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { step: step.into(), detail: detail.into(), errno: None, exit_code: 125 }
    }

    /// A failed system call, in the kernel's words.
    pub fn io(step: impl Into<String>, error: &io::Error) -> Self {
        let detail = match error.raw_os_error() {
            Some(errno) => nix::errno::Errno::from_raw(errno).desc().to_lowercase(),
            None => error.to_string(),
        };
        Self { step: step.into(), detail, errno: error.raw_os_error(), exit_code: 125 }
    }
}

/// Names the step at which a system call failed.
pub(crate) trait Step<T> {
    fn step<S: Into<String>>(self, step: impl FnOnce() -> S) -> Result<T, StartError>;
}

impl<T, E: Into<io::Error>> Step<T> for Result<T, E> {
    fn step<S: Into<String>>(self, step: impl FnOnce() -> S) -> Result<T, StartError> {
        self.map_err(|error| StartError::io(step(), &error.into()))
    }
}
