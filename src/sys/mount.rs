//! `mount_setattr(2)`; the rest of the mount interface is in `rustix`.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

pub const RDONLY: u64 = libc::MOUNT_ATTR_RDONLY;
pub const NOSUID: u64 = libc::MOUNT_ATTR_NOSUID;
pub const NODEV: u64 = libc::MOUNT_ATTR_NODEV;
pub const NOEXEC: u64 = libc::MOUNT_ATTR_NOEXEC;

/// Sets attributes of the mount that a descriptor stands for, and of those below it when `recursive`.
/// `propagation` is an `MS_*` value, 0 to leave it.
///
/// # Errors
/// As `mount_setattr(2)`; `ENOSYS` before Linux 5.12.
pub fn mount_setattr(mount: impl AsFd, recursive: bool, set: u64, clear: u64, propagation: u64) -> io::Result<()> {
    change(mount, recursive, &libc::mount_attr { attr_set: set, attr_clr: clear, propagation, userns_fd: 0 })
}

/// Shows the files of a mount that is not attached yet as somebody else's: an id on the disk that `user_namespace` has
/// inside is seen as the one outside, and the other way round when something is written.
///
/// # Errors
/// As `mount_setattr(2)`; `ENOSYS` before Linux 5.12, `EINVAL` for a file system that cannot.
pub fn map_ids(mount: impl AsFd, user_namespace: BorrowedFd<'_>) -> io::Result<()> {
    let userns_fd = u64::try_from(user_namespace.as_raw_fd()).unwrap_or(u64::MAX);
    change(mount, false, &libc::mount_attr { attr_set: libc::MOUNT_ATTR_IDMAP, attr_clr: 0, propagation: 0, userns_fd })
}

fn change(mount: impl AsFd, recursive: bool, attr: &libc::mount_attr) -> io::Result<()> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is an empty C string, `attr` is a valid `mount_attr` of the size given; both outlive the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_fd().as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attr),
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}
