//! Folders on file systems that do not tell of changes made elsewhere: looked at again and again, by `notify`.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use notify::event::ModifyKind;
use notify::{Config, EventKind, PollWatcher, RecursiveMode, Watcher};
use rustix::event::{EventfdFlags, eventfd};

use super::tree::Kind;

/// How long a change may stay unseen.
pub const INTERVAL: Duration = Duration::from_secs(1);

/// File systems of other machines and of hypervisors, by the number that `statfs` has for them (`linux/magic.h`, and the
/// sources of their drivers).
const SILENT: &[(u64, &str)] = &[
    (0x6969, "NFS"),
    (0x517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB2"),
    (0x0102_1997, "9p"),
    (0x6573_5546, "FUSE"),
    (0x00c3_6400, "CephFS"),
    (0x5346_414f, "AFS"),
    (0x786f_4256, "VirtualBox shared folders"),
    (0xbacb_acbc, "VMware shared folders"),
    (0x7c7c_6673, "Parallels shared folders"),
];

/// The name of the file system of `folder`, when the kernel hears only of the changes that this machine makes.
#[must_use]
pub fn silent(folder: &Path) -> Option<&'static str> {
    let kind = rustix::fs::statfs(folder).ok()?.f_type;
    // Of the 64 bits the kernel fills 32, and fills the rest with their sign where the type has one.
    let kind = u64::try_from(i128::from(kind) & 0xffff_ffff).ok()?;
    SILENT.iter().find(|(magic, _)| *magic == kind).map(|(_, name)| *name)
}

/// Looks after a set of folders; each with what is directly in it.
#[derive(Debug)]
pub struct Polled {
    watcher: PollWatcher,
    seen: Arc<Mutex<Vec<(PathBuf, Kind)>>>,
    wake: Arc<OwnedFd>,
}

impl Polled {
    /// # Errors
    /// When the kernel has no descriptor, or the process no thread left.
    pub fn new(interval: Duration) -> io::Result<Self> {
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let seen: Arc<Mutex<Vec<(PathBuf, Kind)>>> = Arc::default();
        let (to, bell) = (Arc::clone(&seen), Arc::clone(&wake));
        let tell = move |event: notify::Result<notify::Event>| {
            let Ok(event) = event else { return };
            let Some(kind) = kind_of(event.kind) else { return };
            to.lock().unwrap_or_else(PoisonError::into_inner).extend(event.paths.into_iter().map(|path| (path, kind)));
            // It only fails when it has rung 2^64 times unheard.
            let _ = rustix::io::write(&*bell, &1u64.to_ne_bytes());
        };
        let watcher = PollWatcher::new(tell, Config::default().with_poll_interval(interval)).map_err(to_io)?;
        Ok(Self { watcher, seen, wake })
    }

    /// # Errors
    /// When the folder cannot be read.
    pub fn add(&mut self, folder: &Path) -> io::Result<()> {
        self.watcher.watch(folder, RecursiveMode::NonRecursive).map_err(to_io)
    }

    pub fn forget(&mut self, folder: &Path) {
        // One that has gone already is no news.
        let _ = self.watcher.unwatch(folder);
    }

    /// Readable when [`Polled::take`] has something to say.
    #[must_use]
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// What was seen since the last time.
    #[must_use]
    pub fn take(&self) -> Vec<(PathBuf, Kind)> {
        let mut count = [0u8; 8];
        let _ = rustix::io::read(&*self.wake, &mut count);
        std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn kind_of(kind: EventKind) -> Option<Kind> {
    match kind {
        EventKind::Create(_) | EventKind::Modify(ModifyKind::Any | ModifyKind::Data(_) | ModifyKind::Metadata(_)) => {
            Some(Kind::Settled)
        }
        EventKind::Remove(_) => Some(Kind::Gone),
        _ => None,
    }
}

fn to_io(error: notify::Error) -> io::Error {
    match error.kind {
        notify::ErrorKind::Io(source) => source,
        other => io::Error::other(format!("{other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_systems_are_told_apart() {
        assert_eq!(silent(Path::new("/proc")), None);
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(silent(folder.path()), None, "tests run on a file system of this machine");
        assert_eq!(silent(&folder.path().join("nothing")), None);
    }
}
