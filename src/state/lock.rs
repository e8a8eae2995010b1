//! File locks that die with their holder.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use nix::fcntl::{Flock, FlockArg};

/// An exclusive `flock(2)`; given back when dropped or when the process ends.
///
/// The order, for whoever needs several: project, then global, then image store.
#[derive(Debug)]
pub struct Lock {
    _file: Flock<File>,
}

impl Lock {
    /// Waits for the lock. Creates the file, and the folder that holds it, when missing.
    ///
    /// # Errors
    /// When the file cannot be created or the wait is interrupted by a signal.
    pub fn acquire(path: &Path) -> io::Result<Self> {
        let file = open(path)?;
        Flock::lock(file, FlockArg::LockExclusive).map(|file| Self { _file: file }).map_err(|(_, errno)| errno.into())
    }

    /// `None` when somebody else holds it.
    ///
    /// # Errors
    /// When the file cannot be created.
    pub fn try_acquire(path: &Path) -> io::Result<Option<Self>> {
        match Flock::lock(open(path)?, FlockArg::LockExclusiveNonblock) {
            Ok(file) => Ok(Some(Self { _file: file })),
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => Ok(None),
            Err((_, errno)) => Err(errno.into()),
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_lock_is_refused_and_given_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/lock");
        let held = Lock::acquire(&path).unwrap();
        assert!(Lock::try_acquire(&path).unwrap().is_none());
        drop(held);
        assert!(Lock::try_acquire(&path).unwrap().is_some());
    }
}
