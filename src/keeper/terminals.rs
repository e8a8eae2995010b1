//! The terminals that an earlier process of the project holds.
//!
//! A terminal is hung up, and the programs on it with it, when the last descriptor of its master is closed; and a master
//! cannot be opened again. So it is taken out of the process that has it (`pidfd_getfd(2)`, Linux 5.6) before that one
//! ends: this needs no help of a process that may be of another version.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{fstat, major, minor};
use rustix::process::{ForeignRawFd, PidfdGetfdFlags, pidfd_getfd};
use rustix::termios::tcgetsid;

use crate::runtime::terminal::is_of_devpts;

/// Masters of which it is not known yet whose they are.
#[derive(Debug, Default)]
pub(super) struct Terminals(Vec<OwnedFd>);

impl Terminals {
    /// All that a process has open.
    ///
    /// # Errors
    /// When the kernel does not let us have one (`kernel.yama.ptrace_scope=3`).
    pub(super) fn of(process: BorrowedFd<'_>, pid: i32) -> io::Result<Self> {
        let mut masters: Vec<OwnedFd> = Vec::new();
        // A supervisor has two descriptors of each.
        let mut seen = HashSet::new();
        for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))?.flatten() {
            // Closed meanwhile, or no terminal: only those have an index.
            let text = fs::read_to_string(entry.path()).unwrap_or_default();
            let Some(index) = text.lines().find_map(|line| line.strip_prefix("tty-index:")) else { continue };
            let number = entry.file_name().to_str().and_then(|name| name.parse::<ForeignRawFd>().ok());
            let Some(number) = number else { continue };
            let master = match pidfd_getfd(process, number, PidfdGetfdFlags::empty()) {
                Ok(master) => master,
                Err(rustix::io::Errno::BADF) => continue,
                Err(errno) => return Err(errno.into()),
            };
            if is_of_devpts(&master)? && seen.insert((fstat(&master)?.st_dev, index.to_owned())) {
                masters.push(master);
            }
        }
        Ok(Self(masters))
    }

    /// The terminal of the container whose first process this is: the one that it leads the session of, or else the
    /// only one of a devpts that it has mounted (a program may let go of its terminal and still use it).
    pub(super) fn take(&mut self, pid: i32) -> Option<OwnedFd> {
        let leads = |master: &OwnedFd| tcgetsid(master).is_ok_and(|leader| leader.as_raw_nonzero().get() == pid);
        let index = self.0.iter().position(leads).or_else(|| {
            let mounted = fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap_or_default();
            let nobodys = |master: &OwnedFd| tcgetsid(master).is_err() && is_of(master, &mounted);
            let mut of_its = self.0.iter().enumerate().filter(|(_, master)| nobodys(master));
            match (of_its.next(), of_its.next()) {
                (Some((index, _)), None) => Some(index),
                _ => None,
            }
        })?;
        Some(self.0.swap_remove(index))
    }

    /// Those that nobody has asked for: of further processes in containers, which have ended with the process that
    /// served them.
    pub(super) fn let_go(&mut self) {
        self.0.clear();
    }
}

/// Whether a master belongs to a devpts in the text of a `mountinfo`, proc_pid_mountinfo(5).
fn is_of(master: &OwnedFd, mountinfo: &str) -> bool {
    let Ok(found) = fstat(master) else { return false };
    let device = format!("{}:{}", major(found.st_dev), minor(found.st_dev));
    mountinfo.lines().any(|line| {
        let kind = line.split_once(" - ").and_then(|(_, rest)| rest.split(' ').next());
        kind == Some("devpts") && line.split(' ').nth(2) == Some(&device)
    })
}
