//! Processes that stand still: whoever waits for one says so, instead of waiting for ever without a word.

use std::time::{Duration, Instant};

use super::process;

/// How often whoever waits looks at the process that is waited for.
pub const LOOK: Duration = Duration::from_secs(5);

/// A process that is waited for, and why in vain.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} (process {pid}) does not answer: it is {}; {}", doing(*.state), remedy(*.pid, *.state))]
pub struct Stuck {
    pub what: String,
    pub pid: i32,
    /// As `proc_pid_stat(5)` has it.
    pub state: char,
}

/// What a person can do about it.
fn remedy(pid: i32, state: char) -> String {
    let go_on = match state {
        'T' => format!("`kill -CONT {pid}` lets it go on"),
        't' => "let the debugger go on".to_owned(),
        _ => "try again later".to_owned(),
    };
    format!("{go_on}, `kill -KILL {pid}` ends it for another one to go on from there")
}

fn doing(state: char) -> String {
    let word = match state {
        'T' => "stopped",
        't' => "stopped by a debugger",
        'D' => "waiting in the kernel, for a disk perhaps",
        'R' => "busy",
        'Z' | 'X' => "dead",
        _ => "asleep",
    };
    format!("{word} (state {state})")
}

/// Looks at a process from time to time. A short stop is no reason to give up.
#[derive(Debug)]
pub struct Watch {
    pid: i32,
    stopped: Option<Instant>,
}

impl Watch {
    #[must_use]
    pub fn of(pid: i32) -> Self {
        Self { pid, stopped: None }
    }

    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// `Some` when it was seen stopped before, [`LOOK`] or longer ago, and is so still.
    pub fn look(&mut self, what: &str) -> Option<Stuck> {
        let state = process::state(self.pid).filter(|state| matches!(state, 'T' | 't'));
        let Some(state) = state else {
            self.stopped = None;
            return None;
        };
        let since = *self.stopped.get_or_insert_with(Instant::now);
        // Timers are not exact.
        let long = since.elapsed() + Duration::from_millis(100) >= LOOK;
        long.then(|| Stuck { what: what.to_owned(), pid: self.pid, state })
    }

    /// The same of one that runs and has not answered for too long.
    #[must_use]
    pub fn silent(&self, what: &str) -> Stuck {
        let state = process::state(self.pid).unwrap_or('X');
        Stuck { what: what.to_owned(), pid: self.pid, state }
    }
}

#[cfg(test)]
mod tests {
    use nix::sys::signal::{Signal, kill};
    use nix::sys::wait::{WaitPidFlag, waitpid};
    use nix::unistd::Pid;

    use super::*;

    #[test]
    fn a_process_that_was_stopped_for_some_time_is_stuck() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let mut watch = Watch::of(pid);
        assert_eq!(watch.look("the sleeper"), None);
        kill(Pid::from_raw(pid), Signal::SIGSTOP).unwrap();
        waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WUNTRACED)).unwrap();
        assert_eq!(watch.look("the sleeper"), None, "a moment is no reason");
        watch.stopped = watch.stopped.and_then(|since| since.checked_sub(LOOK));
        let stuck = watch.look("the sleeper").unwrap();
        let text =
            format!("the sleeper (process {pid}) does not answer: it is stopped (state T); `kill -CONT {pid}` lets");
        assert!(stuck.to_string().starts_with(&text), "{stuck}");
        kill(Pid::from_raw(pid), Signal::SIGCONT).unwrap();
        waitpid(Pid::from_raw(pid), Some(WaitPidFlag::WCONTINUED)).unwrap();
        assert_eq!(watch.look("the sleeper"), None);
        child.kill().unwrap();
        child.wait().unwrap();
    }
}
