//! Which files of the host everybody may read.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat, openat, statat};
use rustix::io::Errno;

/// One file or folder below the root of a walk.
#[derive(Debug)]
pub(super) struct Entry {
    pub path: PathBuf,
    pub stat: Stat,
    /// Everybody may read it, and enter it when it is a folder.
    pub public: bool,
}

/// Lists everything below `root` in a fixed order, but nothing below folders that are not public.
pub(super) fn walk(root: &Path) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let handle = match rustix::fs::open(root.join(&folder), flags | OFlags::NOFOLLOW, Mode::empty()) {
            Ok(handle) => handle,
            // Removed while we walk; a missing root is an empty one.
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => continue,
            Err(errno) => return Err(errno.into()),
        };
        let first = entries.len();
        list(&handle, &folder, &mut entries)?;
        entries[first..].sort_by(|a, b| a.path.cmp(&b.path));
        folders.extend(
            entries[first..]
                .iter()
                .rev()
                .filter(|entry| entry.public && entry.is_folder())
                .map(|entry| entry.path.clone()),
        );
    }
    Ok(entries)
}

/// Lists what lies directly in `folder`, which need not exist.
pub(super) fn top(folder: &Path) -> io::Result<Vec<Entry>> {
    let mut entries = Vec::new();
    if folder.is_dir() {
        list(&open(folder)?, Path::new(""), &mut entries)?;
        entries.sort_by(|a, b| a.path.cmp(&b.path));
    }
    Ok(entries)
}

fn list(handle: &OwnedFd, folder: &Path, entries: &mut Vec<Entry>) -> io::Result<()> {
    for entry in Dir::read_from(handle)? {
        let entry = entry?;
        let name = entry.file_name();
        if matches!(name.to_bytes(), b"." | b"..") {
            continue;
        }
        let stat = match statat(handle, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => continue,
            Err(errno) => return Err(errno.into()),
        };
        entries.push(Entry { path: folder.join(OsStr::from_bytes(name.to_bytes())), public: is_public(&stat), stat });
    }
    Ok(())
}

/// A plain user may read it. Links have no mode of their own.
pub(super) fn is_public(stat: &Stat) -> bool {
    let wanted = match FileType::from_raw_mode(stat.st_mode) {
        FileType::Symlink => return true,
        FileType::Directory => Mode::ROTH | Mode::XOTH,
        FileType::RegularFile => Mode::ROTH,
        _ => return false,
    };
    Mode::from_raw_mode(stat.st_mode).contains(wanted)
}

impl Entry {
    pub(super) fn is_folder(&self) -> bool {
        FileType::from_raw_mode(self.stat.st_mode) == FileType::Directory
    }
}

/// Follows no link in the last component.
pub(super) fn stat(path: &Path) -> io::Result<Option<Stat>> {
    match statat(rustix::fs::CWD, path, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

/// Opens a folder to copy from or to.
pub(super) fn open(path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(rustix::fs::CWD.as_fd(), path, flags, Mode::empty())?)
}
