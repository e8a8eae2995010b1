//! `clone3(2)`: a copy of this process in new namespaces and in its own control group.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};

pub use flags::*;

use super::fault;

mod flags {
    pub const NEW_CGROUP: u64 = libc::CLONE_NEWCGROUP as u64;
    pub const NEW_IPC: u64 = libc::CLONE_NEWIPC as u64;
    pub const NEW_MOUNT: u64 = libc::CLONE_NEWNS as u64;
    pub const NEW_PID: u64 = libc::CLONE_NEWPID as u64;
    pub const NEW_USER: u64 = libc::CLONE_NEWUSER as u64;
    pub const NEW_UTS: u64 = libc::CLONE_NEWUTS as u64;
    /// The new process is a child of the caller's parent.
    pub const PARENT: u64 = libc::CLONE_PARENT as u64;
}

const PIDFD: u64 = libc::CLONE_PIDFD as u64;
const INTO_CGROUP: u64 = 0x2_0000_0000;

/// `struct clone_args` up to `cgroup` (`CLONE_ARGS_SIZE_VER2`).
#[repr(C)]
#[derive(Default)]
struct Args {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
    set_tid: u64,
    set_tid_size: u64,
    cgroup: u64,
}

/// A process that was cloned.
#[derive(Debug)]
pub struct Cloned {
    /// As this process's pid namespace counts.
    pub pid: i32,
    pub pidfd: OwnedFd,
}

/// Clones this process and runs `child` in the copy, which ends with the returned code. `cgroup` is a directory of the
/// unified hierarchy to be born in.
///
/// The copy has this process's memory but only the calling thread: call it from a process that has no other one, else
/// a lock that another thread held (the allocator's) stays locked in the copy for ever.
///
/// # Errors
/// As `clone3(2)`.
pub fn clone3(flags: u64, cgroup: Option<BorrowedFd<'_>>, child: impl FnOnce() -> i32) -> io::Result<Cloned> {
    let mut pidfd: libc::c_int = -1;
    let mut args = Args {
        flags: flags | PIDFD,
        pidfd: &raw mut pidfd as u64,
        // With CLONE_PARENT the signal is that of the caller.
        exit_signal: if flags & PARENT == 0 { libc::SIGCHLD as u64 } else { 0 },
        ..Args::default()
    };
    if let Some(cgroup) = cgroup {
        args.flags |= INTO_CGROUP;
        args.cgroup = cgroup.as_raw_fd() as u64;
    }
    // SAFETY: `args` is a valid `clone_args` of the size given and outlives the call; without CLONE_VM the child has its
    // own copy of the address space and of this stack, so both processes return here independently.
    let pid = fault::around("clone", || unsafe { libc::syscall(libc::SYS_clone3, &raw mut args, size_of::<Args>()) });
    match pid {
        -1 => Err(io::Error::last_os_error()),
        0 => {
            let code = catch_unwind(AssertUnwindSafe(child)).unwrap_or(125);
            // SAFETY: ends this process at once without running the parent's exit handlers.
            unsafe { libc::_exit(code) }
        }
        pid => {
            // SAFETY: the kernel wrote a new descriptor of ours to `pidfd` because of CLONE_PIDFD.
            let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
            Ok(Cloned { pid: i32::try_from(pid).unwrap_or(i32::MAX), pidfd })
        }
    }
}

/// Which of the two processes this is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fork {
    Child,
    /// With the child's pid.
    Parent(i32),
}

/// `fork(2)`, for a process that has no other thread.
///
/// # Errors
/// As `fork(2)`.
pub fn fork() -> io::Result<Fork> {
    // SAFETY: the callers have one thread, so that no lock can stay held in the child.
    match fault::around("fork", || unsafe { libc::fork() }) {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Child),
        pid => Ok(Fork::Parent(pid)),
    }
}
