//! Whose containers a new keeper takes over while that process still lives.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::keeper::process::{KeeperRecord, SUPERVISOR_ROLE};
use crate::keeper::terminals::Terminals;
use crate::state::process::{self, command_line, start_time_of_any};
use crate::sys::fault;

/// A process that has what a new keeper needs: it is named in the first arguments of the keeper.
#[derive(Debug)]
pub struct Predecessor {
    pid: i32,
    start_time: u64,
    /// It is a keeper, which does not end by itself.
    ends: bool,
}

/// First argument of a keeper that ends the keeper before it.
const INSTEAD_OF: &str = "instead-of";
/// First argument of a keeper that a supervisor starts when its own has died.
const AFTER: &str = "after";
/// A killed process may have to write its memory away first.
const PATIENCE: Duration = Duration::from_secs(30);

impl Predecessor {
    /// A keeper of another version. It and its supervisor are ended; the containers go on.
    #[must_use]
    pub fn keeper(keeper: &KeeperRecord) -> Self {
        Self { pid: keeper.pid, start_time: keeper.start_time, ends: true }
    }

    /// The calling supervisor, whose keeper has died.
    ///
    /// # Errors
    /// When `/proc` is not there.
    pub fn this_supervisor() -> io::Result<Self> {
        let pid = rustix::process::getpid().as_raw_nonzero().get();
        Ok(Self { pid, start_time: start_time_of_any(pid)?, ends: false })
    }

    pub(super) fn arguments(&self) -> [OsString; 3] {
        let first = if self.ends { INSTEAD_OF } else { AFTER };
        [first.into(), self.pid.to_string().into(), self.start_time.to_string().into()]
    }

    /// Takes it off the front of a keeper's arguments.
    pub(super) fn from_arguments(arguments: &[OsString]) -> io::Result<(Option<Self>, &[OsString])> {
        let ends = match arguments.first().and_then(|first| first.to_str()) {
            Some(INSTEAD_OF) => true,
            Some(AFTER) => false,
            _ => return Ok((None, arguments)),
        };
        let number = |index: usize| arguments.get(index).and_then(|text| text.to_str()?.parse::<u64>().ok());
        let pid = number(1).and_then(|pid| i32::try_from(pid).ok());
        match (pid, number(2)) {
            (Some(pid), Some(start_time)) => Ok((Some(Self { pid, start_time, ends }), &arguments[3..])),
            _ => Err(io::Error::other("the process before this one is not named by two numbers")),
        }
    }

    /// Has its terminals, and ends it if it does not end by itself. The caller holds the project's lock, so that nobody
    /// else starts a keeper meanwhile.
    pub(super) fn succeed(&self) -> io::Result<Terminals> {
        let pid = Pid::from_raw(self.pid).ok_or(io::ErrorKind::InvalidData)?;
        let Ok(process) = pidfd_open(pid, PidfdFlags::empty()) else { return Ok(Terminals::default()) };
        // Read after opening: it is this process that is meant.
        if process::start_time(self.pid)? != Some(self.start_time) {
            return Ok(Terminals::default());
        }
        let terminals = fault::around("take over the terminals", || Terminals::of(process.as_fd(), self.pid));
        match terminals {
            Ok(terminals) if self.ends => self.end(process).map(|()| terminals),
            // Those containers would end with it: it is left as it is.
            Err(error) if self.ends => {
                let text = format!("the terminals of its containers cannot be taken over: {error}");
                Err(io::Error::new(error.kind(), text))
            }
            Err(error) => {
                tracing::error!("the terminals of its containers cannot be taken over: {error}");
                Ok(Terminals::default())
            }
            Ok(terminals) => Ok(terminals),
        }
    }

    fn end(&self, keeper: OwnedFd) -> io::Result<()> {
        let mut ending = vec![keeper];
        ending.extend(supervisors(self.pid)?);
        // The keeper first: it would start its supervisor again.
        for process in &ending {
            kill(process)?;
        }
        let timeout = Timespec { tv_sec: PATIENCE.as_secs().cast_signed(), tv_nsec: 0 };
        for process in &ending {
            if poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&timeout))? == 0 {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        Ok(())
    }
}

/// The supervisors among a keeper's children.
pub(super) fn supervisors(keeper: i32) -> io::Result<Vec<OwnedFd>> {
    let supervisors = children(keeper)?.into_iter().filter_map(|pid| {
        let process = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
        // Read after opening: it is this process that is meant.
        is_supervisor(pid).then_some(process)
    });
    Ok(supervisors.collect())
}

pub(super) fn children(process: i32) -> io::Result<Vec<i32>> {
    let children = std::fs::read_to_string(format!("/proc/{process}/task/{process}/children"))?;
    Ok(children.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect())
}

pub(super) fn is_supervisor(pid: i32) -> bool {
    command_line(pid).starts_with(SUPERVISOR_ROLE.as_bytes())
}

pub(super) fn kill(process: &OwnedFd) -> io::Result<()> {
    match rustix::process::pidfd_send_signal(process, rustix::process::Signal::KILL) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
