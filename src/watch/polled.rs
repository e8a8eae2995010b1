//! Folders on file systems that do not tell of changes made elsewhere: looked at again and again, by `notify`.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use notify::{Config, PollWatcher, RecursiveMode, Watcher};
use rustix::event::{EventfdFlags, epoll, eventfd};
use rustix::fs::inotify::ReadFlags;

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

/// A set of folders that are looked at, each with what is directly in it, beside an inotify instance.
#[derive(Debug)]
pub struct Polled {
    watcher: PollWatcher,
    folders: BTreeSet<PathBuf>,
    seen: Arc<Mutex<Vec<(PathBuf, Seen)>>>,
    bell: Arc<OwnedFd>,
    /// Waits for both kinds of news.
    both: OwnedFd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    /// Come, or changed.
    There,
    Gone,
}

impl Polled {
    /// # Errors
    /// When the kernel has no descriptor, or the process no thread left.
    pub fn beside(inotify: BorrowedFd<'_>, interval: Duration) -> io::Result<Self> {
        let bell = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let both = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        for news in [inotify, bell.as_fd()] {
            epoll::add(&both, news, epoll::EventData::new_u64(0), epoll::EventFlags::IN)?;
        }
        let seen: Arc<Mutex<Vec<(PathBuf, Seen)>>> = Arc::default();
        let (to, ring) = (Arc::clone(&seen), Arc::clone(&bell));
        let tell = move |event: notify::Result<notify::Event>| {
            let Ok(event) = event else { return };
            let kind = if event.kind.is_remove() { Seen::Gone } else { Seen::There };
            to.lock().unwrap_or_else(PoisonError::into_inner).extend(event.paths.into_iter().map(|path| (path, kind)));
            // It only fails when it has rung 2^64 times unheard.
            let _ = rustix::io::write(&*ring, &1u64.to_ne_bytes());
        };
        let watcher = PollWatcher::new(tell, Config::default().with_poll_interval(interval)).map_err(to_io)?;
        Ok(Self { watcher, folders: BTreeSet::new(), seen, bell, both })
    }

    /// # Errors
    /// When the folder cannot be read.
    pub fn add(&mut self, folder: &Path) -> io::Result<()> {
        if !self.has(folder) {
            self.watcher.watch(folder, RecursiveMode::NonRecursive).map_err(to_io)?;
            self.folders.insert(folder.to_owned());
        }
        Ok(())
    }

    /// Forgets a folder and all below it.
    pub fn forget(&mut self, folder: &Path) {
        let below = self.folders.range(folder.to_owned()..).take_while(|path| path.starts_with(folder));
        for path in below.cloned().collect::<Vec<_>>() {
            // One that has gone already is no news.
            let _ = self.watcher.unwatch(&path);
            self.folders.remove(&path);
        }
    }

    #[must_use]
    pub fn has(&self, folder: &Path) -> bool {
        self.folders.contains(folder)
    }

    #[must_use]
    pub fn folders(&self) -> usize {
        self.folders.len()
    }

    /// Readable when inotify or [`Polled::take`] has something to say.
    #[must_use]
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.both.as_fd()
    }

    /// What was seen since the last time, in the words that inotify has for it.
    #[must_use]
    pub fn take(&self) -> Vec<(PathBuf, ReadFlags)> {
        let mut count = [0u8; 8];
        let _ = rustix::io::read(&*self.bell, &mut count);
        let seen = std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner));
        seen.into_iter().filter_map(|(path, kind)| self.flags(&path, kind).map(|flags| (path, flags))).collect()
    }

    fn flags(&self, path: &Path, kind: Seen) -> Option<ReadFlags> {
        match kind {
            Seen::Gone if self.has(path) => Some(ReadFlags::DELETE | ReadFlags::ISDIR),
            Seen::Gone => Some(ReadFlags::DELETE),
            // What is in a folder that has changed is told of by itself.
            Seen::There if self.has(path) => None,
            Seen::There if path.is_dir() => Some(ReadFlags::MOVED_TO | ReadFlags::ISDIR),
            Seen::There => Some(ReadFlags::MOVED_TO),
        }
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
