//! Temporary folders whose owner can be seen to be alive, and the lock between users and removers of content.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::fcntl::{Flock, FlockArg};

use crate::sys::spread;

/// A folder for what is not finished. Its lock file is held while its owner lives, so that whoever comes later can
/// tell the leftovers of a dead process from work in progress; pids and ages could not.
#[derive(Debug)]
pub struct Session {
    folder: PathBuf,
    lock: PathBuf,
    _held: Flock<File>,
    next: AtomicU32,
}

impl Session {
    /// Makes a new folder below `temporary`, and removes those of the dead.
    pub fn start(temporary: &Path) -> io::Result<Self> {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        sweep(temporary)?;
        loop {
            let name = format!("{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed));
            let lock = temporary.join(format!("{name}.lock"));
            let Some(held) = hold(&lock, FlockArg::LockExclusiveNonblock)? else { continue };
            let folder = temporary.join(name);
            match fs::DirBuilder::new().mode(0o700).create(&folder) {
                Ok(()) => {
                    // Each layer is unpacked in a folder in it.
                    spread::below(&folder);
                    return Ok(Self { folder, lock, _held: held, next: AtomicU32::new(0) });
                }
                // A dead process had our number and was not swept yet: take another.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// A path in the folder that nothing has yet. A name that was not there before either: where a folder is put on the
    /// disk depends on its name.
    pub fn path(&self, name: &str) -> PathBuf {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.subsec_nanos());
        self.folder.join(format!("{}-{now:x}-{name}", self.next.fetch_add(1, Ordering::Relaxed)))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if fs::remove_dir_all(&self.folder).is_ok() {
            let _ = fs::remove_file(&self.lock);
        }
    }
}

/// Opens and locks the file; `None` when somebody else holds it. Sure that the file locked is the file at the path:
/// a sweeper may have removed it in between.
fn hold(path: &Path, how: FlockArg) -> io::Result<Option<Flock<File>>> {
    loop {
        let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).mode(0o600).open(path)?;
        let file = match Flock::lock(file, how) {
            Ok(file) => file,
            Err((_, nix::errno::Errno::EWOULDBLOCK)) => return Ok(None),
            Err((_, errno)) => return Err(errno.into()),
        };
        match fs::symlink_metadata(path) {
            Ok(there) if there.ino() == file.metadata()?.ino() => return Ok(Some(file)),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
}

/// Removes what processes left that are dead.
pub fn sweep(temporary: &Path) -> io::Result<()> {
    for entry in fs::read_dir(temporary)? {
        let path = entry?.path();
        let folder = path.with_extension("");
        if path.extension().is_none_or(|extension| extension != "lock") {
            continue;
        }
        if let Some(_held) = hold(&path, FlockArg::LockExclusiveNonblock)? {
            match fs::remove_dir_all(&folder) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let _ = fs::remove_file(&path);
        }
    }
    Ok(())
}

/// A lock that stays until it is dropped.
#[derive(Debug)]
pub struct Held {
    _file: Flock<File>,
}

/// Held by many while they use content that no record names yet.
pub fn shared(path: &Path) -> io::Result<Held> {
    wait(path, FlockArg::LockShared)
}

/// Held by one: nobody else uses or removes.
pub fn exclusive(path: &Path) -> io::Result<Held> {
    wait(path, FlockArg::LockExclusive)
}

fn wait(path: &Path, how: FlockArg) -> io::Result<Held> {
    loop {
        match hold(path, how) {
            Ok(Some(file)) => return Ok(Held { _file: file }),
            Ok(None) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_living_keep_their_folders_and_the_dead_lose_them() {
        let temporary = tempfile::tempdir().unwrap();
        let alive = Session::start(temporary.path()).unwrap();
        fs::write(alive.path("x"), "x").unwrap();
        // What a killed process leaves: a folder and a lock file that nobody holds.
        fs::create_dir_all(temporary.path().join("1-0/deep/er")).unwrap();
        fs::write(temporary.path().join("1-0.lock"), "").unwrap();
        let second = Session::start(temporary.path()).unwrap();
        assert!(!temporary.path().join("1-0").exists());
        assert!(!temporary.path().join("1-0.lock").exists());
        assert_eq!(fs::read_dir(&alive.folder).unwrap().count(), 1);
        drop((alive, second));
        assert_eq!(fs::read_dir(temporary.path()).unwrap().count(), 0);
    }
}
