//! The small init of `init: true`: pid 1 of the container, a copy of the keeper that never executes anything.

use std::os::fd::OwnedFd;

use rustix::process::{Signal, WaitOptions, wait};

use crate::runtime::StartError;
use crate::runtime::error::Step;
use crate::sys::{clone, process};

/// Returns in a child process that goes on to be the container's program. The calling process forwards signals to it,
/// reaps orphans, and ends as it ends.
pub(super) fn split(report: OwnedFd, terminal: bool) -> Result<OwnedFd, StartError> {
    // Those that somebody ignored would not be heard, nor passed on.
    process::reset_signals();
    process::block_signals();
    match clone::fork().step(|| "start the init process")? {
        clone::Fork::Child => {
            let own = rustix::process::getpid();
            // A group of its own, in front of the terminal, so that Ctrl-C reaches the program and not the init.
            let _ = rustix::process::setpgid(None, None);
            if terminal {
                let _ = rustix::termios::tcsetpgrp(rustix::stdio::stdin(), own);
            }
            process::reset_signals();
            Ok(report)
        }
        clone::Fork::Parent(child) => {
            drop(report);
            let _ = rustix::thread::set_name(c"init");
            process::set_title("windlass-init");
            serve(child)
        }
    }
}

fn serve(child: i32) -> ! {
    loop {
        let signal = process::next_signal();
        if signal == Signal::CHILD.as_raw() {
            while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
                if pid.as_raw_nonzero().get() == child {
                    let code = status.exit_status().or(status.terminating_signal().map(|s| 128 + s)).unwrap_or(255);
                    process::exit_now(code);
                }
            }
        } else if signal != Signal::TTIN.as_raw() && signal != Signal::TTOU.as_raw() {
            // The program may have ended a moment ago; its SIGCHLD is then the next signal.
            process::kill(child, signal);
        }
    }
}
