//! What a pidfd tells about a process that has ended (`PIDFD_GET_INFO`, Linux 6.15).

use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

const EXIT: u64 = 1 << 3;

/// `struct pidfd_info`, first version.
#[repr(C)]
#[derive(Default)]
struct Info {
    mask: u64,
    cgroup: u64,
    ids: [u32; 11],
    exit_code: i32,
}

/// The wait status of a process that was reaped by somebody else; `None` when the kernel cannot tell (yet).
#[must_use]
pub fn exit_status(pidfd: BorrowedFd<'_>) -> Option<i32> {
    let mut info = Info { mask: EXIT, ..Info::default() };
    // _IOWR(0xff, 11, struct pidfd_info)
    let request = (3u64 << 30 | (size_of::<Info>() as u64) << 16 | 0xff << 8 | 11) as libc::Ioctl;
    // SAFETY: the kernel writes at most the size that is part of the request, which is that of `info`.
    let result = unsafe { libc::ioctl(pidfd.as_raw_fd(), request, &raw mut info) };
    (result == 0 && info.mask & EXIT != 0).then_some(info.exit_code)
}

/// Whether the process has ended, whoever waits for it.
#[must_use]
pub fn has_ended(pidfd: impl AsFd) -> bool {
    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    poll(&mut [PollFd::new(pidfd.as_fd(), PollFlags::POLLIN)], PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

/// Sends a signal by number, real-time signals included.
///
/// # Errors
/// `ESRCH` when the process is gone; otherwise as `pidfd_send_signal(2)`.
pub fn send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> std::io::Result<()> {
    let info: *const libc::siginfo_t = std::ptr::null();
    // SAFETY: plain integers, and a null pointer that the call allows.
    let result = unsafe { libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, info, 0) };
    if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}
