//! Files of the host into a container's root, each whole or not at all. Everything in the container is hostile: paths
//! are resolved inside its root and by descriptor, and what lies in the way of a file is replaced, never written
//! through.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{
    AtFlags, CWD, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, Uid, chownat, fchmod,
    fchown, fstat, futimens, mkdirat, openat, readlinkat, renameat, statat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::runtime::inroot;
use crate::sys::{copy, resolve};

/// Changed paths of one folder (or file) of the host, and where they go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Transfer {
    /// Of the host.
    pub source: PathBuf,
    /// Of the container.
    pub target: PathBuf,
    /// Below both, folders before what is in them; empty is the source itself. What is not there (any more) is removed
    /// from the container.
    pub paths: Vec<String>,
    /// Nobody has touched these files: where the content is the same, not even the time is changed.
    pub initial: bool,
}

/// Who owns what is made: the user of the container's process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    pub uid: u32,
    pub gid: u32,
}

/// What was done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    pub copied: u64,
    pub removed: u64,
    /// Files that were the same already.
    pub same: u64,
    /// Paths of the container that could not be brought up to date, with the reason.
    pub failed: Vec<String>,
}

impl Outcome {
    pub fn add(&mut self, other: Self) {
        self.copied += other.copied;
        self.removed += other.removed;
        self.same += other.same;
        self.failed.extend(other.failed);
    }

    #[must_use]
    pub fn changed(&self) -> bool {
        self.copied + self.removed > 0
    }
}

/// Folders that a container may have nested in what is to be removed. Nobody's tree is deeper; a hostile one may be.
const DEEPEST: usize = 128;
/// What is copied of a mode: a set-id bit would be that of another user.
const PERMISSIONS: u32 = 0o1777;
/// Reasons that are told one by one.
const MOST_REASONS: usize = 5;

/// Brings the container's files up to date. A path that fails does not keep the others back.
#[must_use]
pub fn apply(root: BorrowedFd<'_>, owner: Owner, transfers: &[Transfer]) -> Outcome {
    let mut outcome = Outcome::default();
    let mut failed = 0;
    for transfer in transfers {
        let mut copy = Copy { root, owner, transfer, source: None, folders: HashMap::new() };
        for path in &transfer.paths {
            match copy.one(Path::new(path)) {
                Ok(Done::Copied) => outcome.copied += 1,
                Ok(Done::Removed) => outcome.removed += 1,
                Ok(Done::Same) => outcome.same += 1,
                Err(error) => {
                    failed += 1;
                    if failed <= MOST_REASONS {
                        outcome.failed.push(format!("{}: {error}", transfer.target.join(path).display()));
                    }
                }
            }
        }
    }
    if failed > MOST_REASONS {
        outcome.failed.push(format!("and {} more", failed - MOST_REASONS));
    }
    outcome
}

enum Done {
    Copied,
    Removed,
    Same,
}

struct Copy<'a> {
    root: BorrowedFd<'a>,
    owner: Owner,
    transfer: &'a Transfer,
    source: Option<OwnedFd>,
    /// Folders of the container that are open, by path; thousands of files share a few.
    folders: HashMap<PathBuf, Rc<OwnedFd>>,
}

/// Open folders at a time.
const MOST_FOLDERS: usize = 64;

fn beneath(source: BorrowedFd<'_>, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    Ok(resolve::open(source, path, flags | OFlags::NOFOLLOW, how)?)
}

fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

impl Copy<'_> {
    /// The source as it is now, held open without being read; `None` when it is gone.
    fn find(&mut self, path: &Path) -> io::Result<Option<(OwnedFd, Stat)>> {
        let found = if path.as_os_str().is_empty() {
            // The watched path itself may be a link.
            openat(CWD, &self.transfer.source, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(Into::into)
        } else {
            if self.source.is_none() {
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                match openat(CWD, &self.transfer.source, flags, Mode::empty()) {
                    Ok(source) => self.source = Some(source),
                    Err(Errno::NOENT | Errno::NOTDIR) => return Ok(None),
                    Err(errno) => return Err(errno.into()),
                }
            }
            match &self.source {
                Some(source) => beneath(source.as_fd(), path, OFlags::PATH),
                None => return Ok(None),
            }
        };
        match found {
            Ok(found) => {
                let stat = fstat(&found)?;
                Ok(Some((found, stat)))
            }
            // ELOOP: a folder on the way has become a link; what was below it is gone.
            Err(error)
                if matches!(
                    error.raw_os_error().map(Errno::from_raw_os_error),
                    Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP)
                ) =>
            {
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }

    fn one(&mut self, path: &Path) -> io::Result<Done> {
        let found = self.find(path)?;
        let target = match path.as_os_str().is_empty() {
            true => self.transfer.target.clone(),
            false => self.transfer.target.join(path),
        };
        let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else {
            // `/` is there.
            return Ok(Done::Same);
        };
        let Some((source, stat)) = found else { return self.remove(path, parent, Path::new(name)) };
        let folder = self.folder(parent)?;
        let name = Path::new(name);
        let done = match kind(&stat) {
            FileType::Directory => self.make_folder(&folder, name, &target, &stat),
            FileType::RegularFile => self.copy_file(&folder, name, &source, &stat),
            FileType::Symlink => self.copy_link(&folder, name, &source, &stat),
            // Sockets, pipes and devices are not content.
            _ => Ok(Done::Same),
        };
        done.map_err(|error| explain(error, &folder, name))
    }

    /// Opens a folder of the container; makes it when it is missing.
    fn folder(&mut self, path: &Path) -> io::Result<Rc<OwnedFd>> {
        if let Some(known) = self.folders.get(path) {
            return Ok(Rc::clone(known));
        }
        let opened = match inroot::open(self.root, path, OFlags::PATH | OFlags::DIRECTORY) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return Err(error) };
                let parent = self.folder(parent)?;
                let have = statat(&parent, Path::new(name), AtFlags::SYMLINK_NOFOLLOW);
                if path.starts_with(&self.transfer.target) && have.is_ok_and(|have| kind(&have) == FileType::Symlink) {
                    // A link that leads nowhere, where the host has a folder.
                    unlinkat(&*parent, Path::new(name), AtFlags::empty())?;
                }
                self.new_folder(&parent, Path::new(name), Mode::from_raw_mode(0o755))?;
                inroot::open(self.root, path, OFlags::PATH | OFlags::DIRECTORY)?
            }
            other => other?,
        };
        if self.folders.len() >= MOST_FOLDERS {
            self.folders.clear();
        }
        let opened = Rc::new(opened);
        self.folders.insert(path.to_owned(), Rc::clone(&opened));
        Ok(opened)
    }

    /// Makes a folder and gives it to the owner, unless somebody has put another one into its place meanwhile.
    fn new_folder(&self, parent: &OwnedFd, name: &Path, mode: Mode) -> io::Result<()> {
        mkdirat(parent, name, Mode::RWXU)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = openat(parent, name, flags, Mode::empty())?;
        let entries = Dir::read_from(&made)?.flatten().filter(|entry| !is_dots(entry.file_name())).count();
        if entries == 0 {
            fchown(&made, Some(Uid::from_raw(self.owner.uid)), Some(Gid::from_raw(self.owner.gid)))?;
            fchmod(&made, mode)?;
        }
        Ok(())
    }

    fn make_folder(&mut self, parent: &OwnedFd, name: &Path, path: &Path, stat: &Stat) -> io::Result<Done> {
        let mode = Mode::from_raw_mode(stat.st_mode & PERMISSIONS);
        match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(have) if kind(&have) == FileType::Directory => return Ok(Done::Same),
            // A link to a folder of the container stands for it.
            Ok(have) if kind(&have) == FileType::Symlink => {
                if inroot::open(self.root, path, OFlags::PATH | OFlags::DIRECTORY).is_ok() {
                    return Ok(Done::Same);
                }
                unlinkat(parent, name, AtFlags::empty())?;
            }
            Ok(_) => unlinkat(parent, name, AtFlags::empty())?,
            Err(Errno::NOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
        self.new_folder(parent, name, mode)?;
        Ok(Done::Copied)
    }

    fn copy_file(&mut self, parent: &OwnedFd, name: &Path, found: &OwnedFd, stat: &Stat) -> io::Result<Done> {
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        // Through the descriptor: it is this very file, whatever its name stands for by now.
        let mut source = File::from(openat(CWD, format!("/proc/self/fd/{}", found.as_raw_fd()), flags, Mode::empty())?);
        if self.is_same(parent, name, &mut source, stat)? {
            return Ok(Done::Same);
        }
        let temporary = temporary_name();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let mut target = File::from(openat(parent, &temporary, flags, Mode::RUSR | Mode::WUSR)?);
        let written = (|| {
            copy::data(&mut source, &mut target)?;
            fchown(&target, Some(Uid::from_raw(self.owner.uid)), Some(Gid::from_raw(self.owner.gid)))?;
            fchmod(&target, Mode::from_raw_mode(stat.st_mode & PERMISSIONS))?;
            futimens(&target, &times(stat))?;
            self.replace(parent, &temporary, name)
        })();
        if written.is_err() {
            let _ = unlinkat(parent, &temporary, AtFlags::empty());
        }
        written.map(|()| Done::Copied)
    }

    /// Whether the container has this file already. A different time or mode alone is put right without a copy.
    fn is_same(&self, parent: &OwnedFd, name: &Path, source: &mut File, stat: &Stat) -> io::Result<bool> {
        let Ok(have) = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) else { return Ok(false) };
        if kind(&have) != FileType::RegularFile || have.st_size != stat.st_size {
            return Ok(false);
        }
        let same_time = (have.st_mtime, have.st_mtime_nsec) == (stat.st_mtime, stat.st_mtime_nsec);
        let same_mode = have.st_mode & 0o7777 == stat.st_mode & PERMISSIONS;
        if same_time && same_mode {
            return Ok(true);
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let Ok(target) = openat(parent, name, flags, Mode::empty()) else { return Ok(false) };
        let opened = fstat(&target)?;
        if kind(&opened) != FileType::RegularFile || opened.st_nlink != 1 {
            return Ok(false);
        }
        let mut target = File::from(target);
        if !same_time && !same_content(source, &mut target)? {
            io::Seek::rewind(source)?;
            return Ok(false);
        }
        if !self.transfer.initial {
            if !same_mode {
                fchmod(&target, Mode::from_raw_mode(stat.st_mode & PERMISSIONS))?;
            }
            futimens(&target, &times(stat))?;
        }
        Ok(true)
    }

    fn copy_link(&mut self, parent: &OwnedFd, name: &Path, found: &OwnedFd, stat: &Stat) -> io::Result<Done> {
        let value = readlinkat(found, c"", Vec::new())?;
        if readlinkat(parent, name, Vec::new()).is_ok_and(|have| have == value) {
            return Ok(Done::Same);
        }
        let temporary = temporary_name();
        symlinkat(&value, parent, &temporary)?;
        let (uid, gid) = (Uid::from_raw(self.owner.uid), Gid::from_raw(self.owner.gid));
        let made = chownat(parent, &temporary, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            .and_then(|()| utimensat(parent, &temporary, &times(stat), AtFlags::SYMLINK_NOFOLLOW))
            .map_err(io::Error::from)
            .and_then(|()| self.replace(parent, &temporary, name));
        if made.is_err() {
            let _ = unlinkat(parent, &temporary, AtFlags::empty());
        }
        made.map(|()| Done::Copied)
    }

    /// Puts what is ready into its place.
    fn replace(&self, parent: &OwnedFd, temporary: &Path, name: &Path) -> io::Result<()> {
        match renameat(parent, temporary, parent, name) {
            Err(Errno::ISDIR | Errno::EXIST | Errno::NOTEMPTY) => {
                remove_tree(parent.as_fd(), name, DEEPEST)?;
                Ok(renameat(parent, temporary, parent, name)?)
            }
            other => Ok(other?),
        }
    }

    fn remove(&mut self, path: &Path, parent: &Path, name: &Path) -> io::Result<Done> {
        // A watched folder that is away as a whole may come back (another branch): the container keeps what it has.
        if path.as_os_str().is_empty() {
            let have = inroot::open(self.root, &self.transfer.target, OFlags::PATH).and_then(|have| Ok(fstat(have)?));
            if have.is_ok_and(|have| kind(&have) == FileType::Directory) {
                return Ok(Done::Same);
            }
        }
        let folder = match inroot::open(self.root, parent, OFlags::PATH | OFlags::DIRECTORY) {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Ok(Done::Same);
            }
            other => other?,
        };
        self.folders.retain(|known, _| !known.starts_with(parent.join(name)));
        match remove_tree(folder.as_fd(), name, DEEPEST) {
            Ok(()) => Ok(Done::Removed),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Done::Same),
            Err(error) => Err(explain(error, &folder, name)),
        }
    }
}

/// What the kernel means.
fn explain(error: io::Error, folder: &OwnedFd, name: &Path) -> io::Error {
    let text = match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::ROFS) => "is on a read-only file system of the container",
        Some(Errno::BUSY) => "is a mount point of the container",
        Some(Errno::PERM) if statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).is_ok() => "may not be changed",
        _ => return error,
    };
    io::Error::new(error.kind(), text)
}

fn is_dots(name: &std::ffi::CStr) -> bool {
    matches!(name.to_bytes(), b"." | b"..")
}

/// Watchers in the container know to overlook names that end so.
fn temporary_name() -> PathBuf {
    let mut bytes = [0u8; 8];
    let _ = rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty());
    PathBuf::from(format!(".wl-{}~", hex::encode(bytes)))
}

#[allow(clippy::cast_possible_wrap, reason = "nanoseconds are below 10^9")]
fn times(stat: &Stat) -> Timestamps {
    let time = Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as _ };
    Timestamps { last_access: time, last_modification: time }
}

fn same_content(one: &mut File, other: &mut File) -> io::Result<bool> {
    let (mut left, mut right) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    loop {
        let count = one.read(&mut left)?;
        if count == 0 {
            return Ok(true);
        }
        match other.read_exact(&mut right[..count]) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            other => other?,
        }
        if left[..count] != right[..count] {
            return Ok(false);
        }
    }
}

/// Removes a name with all below it; links are removed, never followed.
fn remove_tree(parent: BorrowedFd<'_>, name: &Path, depth: usize) -> io::Result<()> {
    match unlinkat(parent, name, AtFlags::empty()) {
        Err(Errno::ISDIR | Errno::PERM) => {}
        other => return Ok(other?),
    }
    if depth == 0 {
        return Err(io::Error::other("holds too many folders in each other to be removed"));
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let folder = openat(parent, name, flags, Mode::empty())?;
    for entry in Dir::read_from(&folder)? {
        let entry = entry?;
        if is_dots(entry.file_name()) {
            continue;
        }
        use std::os::unix::ffi::OsStrExt;
        let name = std::ffi::OsStr::from_bytes(entry.file_name().to_bytes());
        match remove_tree(folder.as_fd(), Path::new(name), depth - 1) {
            // Somebody was quicker.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            other => other?,
        }
    }
    Ok(unlinkat(parent, name, AtFlags::REMOVEDIR)?)
}

#[cfg(test)]
mod tests;
