//! A process that is not the keeper's own, whose namespaces a container joins: it belongs to another project.

use std::fmt;
use std::os::fd::OwnedFd;

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::state::process;

const PREFIX: &str = "process:";

/// Stands where a container's id does, as `process:PID:START`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OtherProcess {
    pub pid: i32,
    pub start_time: u64,
}

impl OtherProcess {
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (pid, start_time) = text.strip_prefix(PREFIX)?.split_once(':')?;
        Some(Self { pid: pid.parse().ok()?, start_time: start_time.parse().ok()? })
    }

    /// `None` once it has ended.
    pub(super) fn open(self) -> Option<OwnedFd> {
        let opened = pidfd_open(Pid::from_raw(self.pid)?, PidfdFlags::empty()).ok()?;
        // In this order: the number may have been another's until it was opened.
        (process::start_time(self.pid).ok()? == Some(self.start_time)).then_some(opened)
    }
}

impl fmt::Display for OtherProcess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{PREFIX}{}:{}", self.pid, self.start_time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_that_is_another_process_by_now_is_not_opened() {
        let pid = i32::try_from(std::process::id()).unwrap();
        let own = OtherProcess { pid, start_time: process::start_time(pid).unwrap().unwrap() };
        assert_eq!(OtherProcess::parse(&own.to_string()), Some(own));
        assert!(own.open().is_some());
        assert!(OtherProcess { start_time: own.start_time + 1, ..own }.open().is_none());
        for text in ["", "process:", "process:1", "process:x:1", "0123456789ab"] {
            assert_eq!(OtherProcess::parse(text), None, "{text}");
        }
    }
}
