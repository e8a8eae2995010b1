//! A container's process anew, as quickly as it can be had: the same container, network, addresses and ports.

use std::rc::Rc;
use std::time::Duration;

use super::container::{Container, Purpose, Stopping};
use super::error::SupervisorError;
use super::project::Project;
use crate::record::{Status, signal};
use crate::runtime::spec::Namespace;

/// What a reload has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reloaded {
    Restarted,
    /// It had ended by itself, and runs again.
    Started,
    /// A person had stopped it: it stays so.
    LeftStopped,
}

impl Project {
    /// Ends a container's process and starts it again. Its network stays as it is meanwhile.
    ///
    /// A process that cannot hear its stop signal (the first one of a pid namespace gets only those that it asks for)
    /// is not waited for.
    ///
    /// # Errors
    /// When it cannot be stopped or not be started; it has ended then.
    pub async fn reload(&self, id: &str) -> Result<Reloaded, SupervisorError> {
        let container = self.find(id)?;
        let turn = container.turn.lock().await;
        let was_running = container.is_running();
        if !was_running && container.state().stopped_by_user {
            return Ok(Reloaded::LeftStopped);
        }
        container.cancel_restart();
        if was_running {
            self.end_process(&container).await?;
        }
        container.live.borrow_mut().restarts.reset();
        container.update_in_memory(|state| {
            state.stopped_by_user = false;
            state.restarts = 0;
        });
        if let Err(error) = self.bring_up(&container).await {
            container.update(|state| {
                if let Status::Restarting { exit, finished } = state.status {
                    state.status = Status::Exited { exit, started: None, finished };
                }
            });
            return Err(error);
        }
        drop(turn);
        self.run_hooks(&container, "post_start", &container.record.post_start, None).await?;
        Ok(if was_running { Reloaded::Restarted } else { Reloaded::Started })
    }

    async fn end_process(&self, container: &Rc<Container>) -> Result<(), SupervisorError> {
        let stopping = Stopping::new(Duration::from_millis(container.record.stop_grace_ms), Purpose::Restart);
        container.live.borrow_mut().stopping = Some(Rc::clone(&stopping));
        let stopped = if container.record.pre_stop.is_empty() && !container.is_paused() && is_deaf(container) {
            self.kill_all_of(container).await
        } else {
            self.stop_process(container, &stopping).await
        };
        container.live.borrow_mut().stopping = None;
        match stopped {
            // It has ended; what its hook did wrong is no reason not to start it again.
            Err(SupervisorError::Hook { .. }) => Ok(()),
            other => other,
        }
    }
}

/// Whether the stop signal would be lost on the container's process.
pub(super) fn is_deaf(container: &Container) -> bool {
    let Status::Running { pid, .. } = container.state().status else { return false };
    let number = signal::parse(&container.record.stop_signal).unwrap_or(nix::libc::SIGTERM);
    if container.record.spec.namespaces.pid != Namespace::Private
        || container.record.spec.init
        || waits_for_signals(pid)
    {
        return false;
    }
    std::fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|status| !hears(&status, number))
}

/// While a process waits in `rt_sigtimedwait(2)`, as `tini` does, the signals that it waits for are not shown as blocked.
fn waits_for_signals(pid: i32) -> bool {
    let call = std::fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
    call.split_whitespace().next().and_then(|number| number.parse().ok()) == Some(nix::libc::SYS_rt_sigtimedwait)
}

/// By the kernel's rule for the first process of a pid namespace: the signal is caught, or blocked (and read from a
/// descriptor, perhaps).
fn hears(status: &str, signal: i32) -> bool {
    let mask = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name))?;
        u64::from_str_radix(line.trim(), 16).ok()
    };
    let bit = u32::try_from(signal - 1).ok().and_then(|shift| 1u64.checked_shl(shift)).unwrap_or(u64::MAX);
    ["SigCgt:", "SigBlk:"].iter().any(|name| mask(name).is_none_or(|mask| mask & bit != 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_hears_what_it_catches_or_blocks() {
        let status = |blocked: &str, caught: &str| {
            format!("Name:\tx\nSigBlk:\t{blocked}\nSigIgn:\t0000000000004000\nSigCgt:\t{caught}\n")
        };
        let none = "0000000000000000";
        assert!(!hears(&status(none, none), 15));
        assert!(hears(&status(none, "0000000000004000"), 15));
        assert!(hears(&status("0000000000004000", none), 15));
        assert!(!hears(&status(none, "0000000000000002"), 15));
        assert!(hears(&status(none, "0000000200000000"), 34));
        assert!(hears("", 15), "what is not known is not decided");
    }
}
