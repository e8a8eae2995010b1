//! The folder of one volume, locked.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use rustix::fs::{Mode, OFlags, ResolveFlags};

use crate::state::paths::{volume_data, volume_record};
use crate::sys::{fault, spread};

/// `<volumes>/<name>`, under an exclusive `flock(2)` on the folder itself, so that no lock file outlives the volume.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    handle: Flock<File>,
}

impl Folder {
    /// Locks the folder; `None` when there is none.
    pub(super) fn lock(path: &Path) -> io::Result<Option<Self>> {
        loop {
            let file = match File::open(path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
                Err(error) => return Err(error),
            };
            let handle = flock(file, FlockArg::LockExclusive)?;
            // It may have been removed, and even made anew, while we waited.
            let ours = handle.metadata()?;
            match fs::symlink_metadata(path) {
                Ok(now) if now.ino() == ours.ino() && now.dev() == ours.dev() => {
                    return Ok(Some(Self { path: path.to_owned(), handle }));
                }
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
    }

    /// Locks the folder, which is created when missing.
    pub(super) fn create(path: &Path) -> io::Result<Self> {
        if let Some(root) = path.parent() {
            // Nobody but root passes: a volume may hold set-user-id programs and device nodes of an image.
            crate::state::folder::make(root)?;
            spread::below(root);
        }
        loop {
            match fault::around("make a volume", || DirBuilder::new().mode(0o755).create(path)) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
            if let Some(folder) = Self::lock(path)? {
                return Ok(folder);
            }
        }
    }

    pub(super) fn record(&self) -> PathBuf {
        volume_record(&self.path)
    }

    pub(super) fn data(&self) -> PathBuf {
        volume_data(&self.path)
    }

    /// Makes `_data` when missing.
    pub(super) fn create_data(&self) -> io::Result<()> {
        match fault::around("make the volume's data", || DirBuilder::new().mode(0o755).create(self.data())) {
            Ok(()) => fs::set_permissions(self.data(), std::os::unix::fs::PermissionsExt::from_mode(0o755)),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Makes `_data` anew, with nothing in it.
    pub(super) fn empty_data(&self) -> io::Result<()> {
        match fault::around("empty the volume's data", || fs::remove_dir_all(self.data())) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => self.create_data(),
        }
    }

    /// Whether a file system is mounted over `_data`.
    pub(super) fn is_mounted(&self) -> io::Result<bool> {
        match rustix::fs::openat2(
            &*self.handle,
            "_data",
            OFlags::PATH | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS,
        ) {
            Ok(_) => Ok(false),
            Err(rustix::io::Errno::XDEV) => Ok(true),
            Err(errno) => Err(errno.into()),
        }
    }

    /// Gives the name free at once and then deletes. A crash in between leaves a folder that [`sweep`] finds.
    pub(super) fn remove(self) -> io::Result<()> {
        let name = self.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let inode = self.handle.metadata()?.ino();
        let doomed = self.path.with_file_name(format!("{DOOMED}{inode}-{}", &name[..name.len().min(200)]));
        fault::around("rename a volume", || fs::rename(&self.path, &doomed))?;
        fault::around("remove a volume", || fs::remove_dir_all(&doomed))
    }
}

/// A volume name never starts with a dot.
const DOOMED: &str = ".rm-";

/// Deletes what an interrupted removal left. Best effort: whatever stays is tried again the next time.
pub(super) fn sweep(root: &Path) {
    let Ok(entries) = fs::read_dir(root) else { return };
    for entry in entries.flatten() {
        if !entry.file_name().to_string_lossy().starts_with(DOOMED) {
            continue;
        }
        // Still locked: another command is deleting it right now.
        if let Ok(file) = File::open(entry.path())
            && let Ok(_lock) = flock(file, FlockArg::LockExclusiveNonblock)
        {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

fn flock(mut file: File, how: FlockArg) -> io::Result<Flock<File>> {
    loop {
        match Flock::lock(file, how) {
            Ok(lock) => return Ok(lock),
            Err((back, Errno::EINTR)) => file = back,
            Err((_, errno)) => return Err(errno.into()),
        }
    }
}
