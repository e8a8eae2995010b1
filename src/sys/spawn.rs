//! Executing another role of this binary.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

/// Starts this very binary again as `role` (its argv\[0\]), with `socket` as descriptor 3 and `log` as stdout and
/// stderr. Answers with its pid; the caller reaps it.
///
/// # Errors
/// When the process cannot be made or the binary not be executed.
pub fn role(role: &str, args: &[&OsStr], socket: BorrowedFd<'_>, log: &File) -> io::Result<i32> {
    let raw = socket.as_raw_fd();
    let mut command = Command::new("/proc/self/exe");
    command.arg0(role).args(args).stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log.try_clone()?);
    // SAFETY: the closure only makes two async-signal-safe system calls on a descriptor that stays open in the parent.
    unsafe {
        command.pre_exec(move || {
            let result = if raw == 3 { libc::fcntl(3, libc::F_SETFD, 0) } else { libc::dup2(raw, 3) };
            if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
        });
    }
    let child = command.spawn()?;
    i32::try_from(child.id()).map_err(|_| io::ErrorKind::InvalidData.into())
}

/// Takes over descriptor 3, which the process that executed us has put there for this role. `None` when it is not open,
/// or taken already.
#[must_use]
pub fn inherited_socket() -> Option<OwnedFd> {
    static TAKEN: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);
    if TAKEN.swap(true, std::sync::atomic::Ordering::Relaxed) {
        return None;
    }
    // SAFETY: plain integers; fails when the descriptor is not open.
    if unsafe { libc::fcntl(3, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
        return None;
    }
    // SAFETY: open, and nobody else in this process owns what was inherited; the flag keeps a second owner away.
    Some(unsafe { OwnedFd::from_raw_fd(3) })
}
