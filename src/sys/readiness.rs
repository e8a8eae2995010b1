//! Waiting for descriptors in the event loop.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Registers a descriptor with the event loop of the current runtime.
///
/// # Errors
/// When the kernel cannot wait for such a descriptor, or has no room.
pub fn register(fd: OwnedFd, interest: Interest) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` always names the same open descriptor until it is dropped, which the `AsyncFd` does itself
    // after it was deregistered.
    Ok(unsafe { AsyncFd::register_with_interest(fd, interest) }?)
}
