//! File locks that die with their holder.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

use crate::sys::fault;

/// An exclusive `flock(2)`; given back when dropped or when the process ends.
///
/// The order, for whoever needs several: project, then global, then image store.
#[derive(Debug)]
pub struct Lock {
    file: Flock<File>,
    path: PathBuf,
}

impl Lock {
    /// Waits for the lock. Creates the file, and the folder that holds it, when missing.
    ///
    /// # Errors
    /// When the file cannot be created or the wait is interrupted by a signal.
    pub fn acquire(path: &Path) -> io::Result<Self> {
        loop {
            let file = Flock::lock(open(path)?, FlockArg::LockExclusive).map_err(|(_, errno)| errno)?;
            let lock = Self { file, path: path.into() };
            // Whoever held it may have removed the file meanwhile; then this lock keeps nobody out.
            if lock.is_current()? {
                return Ok(lock);
            }
        }
    }

    /// `None` when somebody else holds it.
    ///
    /// # Errors
    /// When the file cannot be created.
    pub fn try_acquire(path: &Path) -> io::Result<Option<Self>> {
        loop {
            match Flock::lock(open(path)?, FlockArg::LockExclusiveNonblock) {
                Ok(file) => {
                    let lock = Self { file, path: path.into() };
                    if lock.is_current()? {
                        return Ok(Some(lock));
                    }
                }
                Err((_, nix::errno::Errno::EWOULDBLOCK)) => return Ok(None),
                Err((_, errno)) => return Err(errno.into()),
            }
        }
    }

    /// The lock as a file for another process, which holds it too until it closes that.
    ///
    /// # Errors
    /// When no descriptor is left.
    pub fn share(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Gives the lock back and removes its file: the end of what it guards.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn remove(self) -> io::Result<()> {
        fault::around_file("remove", &self.path, || std::fs::remove_file(&self.path))
    }

    fn is_current(&self) -> io::Result<bool> {
        match self.path.metadata() {
            Ok(named) => {
                let held = self.file.metadata()?;
                Ok((held.dev(), held.ino()) == (named.dev(), named.ino()))
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let open = || OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(path);
    fault::around_file("lock", path, open)
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

    #[test]
    fn a_lock_whose_file_was_removed_is_no_lock() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lock");
        let first = Lock::acquire(&path).unwrap();
        let waiting = std::thread::spawn({
            let path = path.clone();
            move || Lock::acquire(&path).unwrap()
        });
        first.remove().unwrap();
        let second = waiting.join().unwrap();
        assert!(path.exists(), "the second one guards a file that others find");
        assert!(Lock::try_acquire(&path).unwrap().is_none());
        drop(second);
    }
}
