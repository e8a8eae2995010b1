//! How many descriptors this process may have open, and a reserve of them for its own work.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Kept back for our own work: enough for the commands, records and pipes of a project that ends.
const RESERVE: u64 = 128;
/// Where the kernel sets no limit.
const UNLIMITED: u64 = 1 << 20;

/// Allows this process as many open files as it may have, less a reserve; answers with how many that is.
pub fn keep_reserve() -> usize {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let hard = maximum.unwrap_or(UNLIMITED);
    let soft = hard - RESERVE.min(hard / 8);
    // Where it is refused the limit is what it was.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(soft), maximum });
    let now = getrlimit(Resource::Nofile).current.unwrap_or(soft);
    usize::try_from(now).unwrap_or(usize::MAX)
}

/// Hands out the reserve.
pub fn release_reserve() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// Whether the kernel has no descriptor, or no memory for one, at the moment.
#[must_use]
pub fn are_used_up(error: &io::Error) -> bool {
    use rustix::io::Errno;
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::NOBUFS))
}
