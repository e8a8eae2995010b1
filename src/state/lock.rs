//! File locks that die with their holder.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};

use super::stuck::{LOOK, Watch};

use crate::sys::fault;

/// A holder that nobody knows is waited for so long.
const PATIENCE: Duration = Duration::from_secs(60);

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
    /// When the file cannot be created, or its holder stands still ([`Stuck`](super::stuck::Stuck)).
    pub fn acquire(path: &Path) -> io::Result<Self> {
        if let Some(lock) = Self::try_acquire(path)? {
            return Ok(lock);
        }
        // The call has no limit of its own; the thread ends with its wait, or with this process.
        let (sender, receiver) = mpsc::channel();
        let awaited = path.to_owned();
        std::thread::spawn(move || sender.send(Self::wait(&awaited)));
        let what = format!("whoever holds the lock {}", path.display());
        let began = Instant::now();
        let mut watch = Watch::of(holder(path).unwrap_or(0));
        loop {
            match receiver.recv_timeout(LOOK) {
                Ok(lock) => return lock,
                Err(mpsc::RecvTimeoutError::Disconnected) => return Err(io::Error::other("the wait was interrupted")),
                Err(mpsc::RecvTimeoutError::Timeout) => {}
            }
            let now = holder(path).unwrap_or(0);
            if watch.pid() != now {
                watch = Watch::of(now);
            }
            // What a living holder does may take long; one that is not known has left the lock to somebody else.
            let late = began.elapsed() > PATIENCE && super::process::state(now).is_none();
            if let Some(stuck) = watch.look(&what).or_else(|| late.then(|| watch.silent(&what))) {
                return Err(io::Error::other(stuck));
            }
        }
    }

    fn wait(path: &Path) -> io::Result<Self> {
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

/// The process that holds a lock, as far as `proc_locks(5)` knows.
fn holder(path: &Path) -> Option<i32> {
    let wanted = path.metadata().ok()?;
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    locks.lines().find_map(|line| {
        // `12: FLOCK  ADVISORY  WRITE 4711 08:01:393228 0 EOF`; those that wait have an arrow behind the number.
        let fields: Vec<&str> = line.split_whitespace().collect();
        let &[_, "FLOCK", _, _, pid, file, ..] = &fields[..] else { return None };
        let mut parts = file.split(':');
        let (_, _, inode) = (parts.next()?, parts.next()?, parts.next()?);
        (inode.parse() == Ok(wanted.ino())).then(|| pid.parse().ok())?
    })
}

fn open(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        super::folder::make(folder)?;
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
