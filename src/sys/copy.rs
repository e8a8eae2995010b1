//! Copies a tree of files by descriptor: no symbolic link is followed on either side, and nothing outside of the two
//! roots is opened.

use std::collections::{HashMap, VecDeque};
use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, Dir, FileType, Gid, Mode, OFlags, ResolveFlags, Stat, Timespec, Timestamps, Uid, XattrFlags, chmodat,
    chownat, fchmod, fchown, fgetxattr, flistxattr, fsetxattr, fstat, futimens, linkat, mkdirat, mknodat, openat,
    readlinkat, statat, symlinkat, unlinkat, utimensat,
};
use rustix::io::Errno;

use crate::sys::resolve;

/// What was being copied when it failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} `{}`", path.display())]
pub struct CopyError {
    pub action: &'static str,
    /// Below the root of the copy.
    pub path: PathBuf,
    pub source: io::Error,
}

/// What to do with a file that the target already has under the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Somebody else made it meanwhile: it stays.
    Keep,
    /// It is left from an interrupted copy.
    Replace,
    /// A person wants it gone. A folder is never replaced by a file, nor a file by a folder.
    Overwrite,
}

/// What a copy takes over besides content and times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attributes {
    /// Owner, mode and extended attributes.
    All,
    /// The mode without its set-id bits: whoever copies owns the copy, and must not lend it his rights.
    Owned { uid: u32, gid: u32 },
}

/// How a tree is copied.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    pub existing: Existing,
    pub attributes: Attributes,
    /// The target folder itself gets the attributes of the source folder.
    pub top: bool,
    /// Device nodes are made; otherwise they are left out.
    pub devices: bool,
    /// Chooses by relative path and attributes. Nothing below a folder that is not chosen is copied.
    pub select: &'a dyn Fn(&Path, &Stat) -> bool,
    /// Hears what is left out: sockets, and devices when they are not made.
    pub left_out: &'a dyn Fn(&Path),
}

impl std::fmt::Debug for Options<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options").field("existing", &self.existing).finish_non_exhaustive()
    }
}

/// Copies owner, mode and extended attributes of one open folder to another.
///
/// # Errors
/// When one of them cannot be read or set.
pub fn attributes(source: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<(), CopyError> {
    let failed = |errno: Errno| failure("copy owner and mode of", Path::new("."), errno);
    let source = open_beneath(source, Path::new("."), OFlags::RDONLY | OFlags::DIRECTORY).map_err(failed)?;
    let stat = fstat(&source).map_err(failed)?;
    own(target, &stat).map_err(failed)?;
    copy_xattrs(source.as_fd(), target).map_err(failed)
}

/// Copies what `select` chooses below `source` (relative path, attributes) into `target`; returns how many entries
/// were made. Nothing below a folder that is not chosen is copied.
///
/// Folders are opened anew from the roots, each by its relative path, so that depth costs no descriptors.
///
/// # Errors
/// At the first entry that cannot be copied; what was copied before stays.
pub fn tree(
    source: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    existing: Existing,
    select: &dyn Fn(&Path, &Stat) -> bool,
) -> Result<u64, CopyError> {
    let options =
        Options { existing, attributes: Attributes::All, top: true, devices: true, select, left_out: &|_| {} };
    tree_with(source, target, &options)
}

/// The same with more of a choice.
///
/// # Errors
/// At the first entry that cannot be copied; what was copied before stays.
pub fn tree_with(source: BorrowedFd<'_>, target: BorrowedFd<'_>, options: &Options<'_>) -> Result<u64, CopyError> {
    let mut copy = Copy { source, target, options, links: HashMap::new(), entries: 0 };
    let mut folders = VecDeque::from([PathBuf::from(".")]);
    // Writing into a folder changes its times: they are set when all is written, children first.
    let mut times = Vec::new();
    while let Some(folder) = folders.pop_front() {
        let stat = copy.folder(&folder, &mut folders)?;
        times.push((folder, stat));
    }
    for (folder, stat) in times.into_iter().rev() {
        if !options.top && folder == Path::new(".") {
            continue;
        }
        let set = open_beneath(target, &folder, OFlags::RDONLY | OFlags::DIRECTORY)
            .and_then(|target| futimens(target, &timestamps(&stat)));
        set.map_err(|errno| failure("set the times of", &folder, errno))?;
    }
    Ok(copy.entries)
}

/// Copies one entry that is no folder, under a name of its own. `false`: it was left out.
///
/// # Errors
/// When it cannot be read or made.
pub fn entry(
    source: BorrowedFd<'_>,
    from: &CStr,
    target: BorrowedFd<'_>,
    to: &CStr,
    options: &Options<'_>,
) -> Result<bool, CopyError> {
    let path = Path::new(std::ffi::OsStr::from_bytes(from.to_bytes()));
    let failed = |errno: Errno| failure("copy", path, errno);
    let stat = statat(source, from, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
    let copy = Copy { source, target, options, links: HashMap::new(), entries: 0 };
    copy.make_entry(source, from, target, to, &stat, path).map_err(failed)
}

/// Writes anew what an earlier copy lost in a crash of the machine: files that are empty, but have the time of a source
/// that is not. Whatever else differs was changed on purpose. Returns how many there were.
///
/// # Errors
/// At the first file that cannot be looked at or written.
pub fn repair(source: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<u64, CopyError> {
    let mut repaired = 0;
    let mut folders = vec![PathBuf::from(".")];
    while let Some(folder) = folders.pop() {
        let failed = |errno: Errno| failure("look at", &folder, errno);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let from = open_beneath(source, &folder, flags).map_err(failed)?;
        // Deleted, or replaced by something else.
        let Ok(to) = open_beneath(target, &folder, flags) else { continue };
        for entry in Dir::read_from(&from).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let path = folder.join(std::ffi::OsStr::from_bytes(name.to_bytes()));
            let wanted = statat(&from, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed)?;
            match FileType::from_raw_mode(wanted.st_mode) {
                FileType::Directory => folders.push(path),
                FileType::RegularFile if wanted.st_size > 0 => {
                    let lost = statat(&to, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|have| {
                        FileType::from_raw_mode(have.st_mode) == FileType::RegularFile
                            && have.st_size == 0
                            && (have.st_mtime, have.st_mtime_nsec) == (wanted.st_mtime, wanted.st_mtime_nsec)
                    });
                    if lost {
                        rewrite(&from, &to, name, &wanted).map_err(|errno| failure("repair", &path, errno))?;
                        repaired += 1;
                    }
                }
                _ => {}
            }
        }
    }
    Ok(repaired)
}

fn rewrite(from: &OwnedFd, to: &OwnedFd, name: &CStr, stat: &Stat) -> Result<(), Errno> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut source = File::from(openat(from, name, flags | OFlags::RDONLY, Mode::empty())?);
    let mut target = File::from(openat(to, name, flags | OFlags::WRONLY, Mode::empty())?);
    data(&mut source, &mut target).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    futimens(&target, &timestamps(stat))
}

struct Copy<'a> {
    source: BorrowedFd<'a>,
    target: BorrowedFd<'a>,
    options: &'a Options<'a>,
    /// Where the first of several hard links was made.
    links: HashMap<(u64, u64), PathBuf>,
    entries: u64,
}

impl Copy<'_> {
    fn folder(&mut self, folder: &Path, folders: &mut VecDeque<PathBuf>) -> Result<Stat, CopyError> {
        let failed = |errno: Errno| failure("copy", folder, errno);
        let flags = OFlags::RDONLY | OFlags::DIRECTORY;
        let source = open_beneath(self.source, folder, flags).map_err(failed)?;
        let target = open_beneath(self.target, folder, flags).map_err(failed)?;
        let stat = fstat(&source).map_err(failed)?;
        if self.options.top || folder != Path::new(".") {
            self.attributes(source.as_fd(), target.as_fd(), &stat).map_err(failed)?;
        }
        for entry in Dir::read_from(&source).map_err(failed)? {
            let entry = entry.map_err(failed)?;
            let name = entry.file_name();
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let path = folder.join(std::ffi::OsStr::from_bytes(name.to_bytes()));
            self.entry(&source, &target, name, &path, folders).map_err(|errno| failure("copy", &path, errno))?;
        }
        Ok(stat)
    }

    fn entry(
        &mut self,
        from: &OwnedFd,
        to: &OwnedFd,
        name: &CStr,
        path: &Path,
        folders: &mut VecDeque<PathBuf>,
    ) -> Result<(), Errno> {
        let stat = statat(from, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let short = path.strip_prefix(".").unwrap_or(path);
        if !(self.options.select)(short, &stat) {
            return Ok(());
        }
        let made = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let made = self.make_folder(to, name)?;
                if made {
                    folders.push_back(path.to_owned());
                }
                made
            }
            _ if stat.st_nlink > 1 && self.link(to, name, &stat)? => true,
            _ => {
                let made = self.make_entry(from.as_fd(), name, to.as_fd(), name, &stat, short)?;
                if made && stat.st_nlink > 1 {
                    self.links.insert((stat.st_dev, stat.st_ino), path.to_owned());
                }
                made
            }
        };
        self.entries += u64::from(made);
        Ok(())
    }

    /// Anything but a folder.
    fn make_entry(
        &self,
        source: BorrowedFd<'_>,
        from: &CStr,
        target: BorrowedFd<'_>,
        to: &CStr,
        stat: &Stat,
        path: &Path,
    ) -> Result<bool, Errno> {
        match FileType::from_raw_mode(stat.st_mode) {
            // A whiteout of an overlay that is not mounted as one: a deletion, not a device.
            FileType::CharacterDevice if stat.st_rdev == 0 => Ok(false),
            FileType::Socket | FileType::Unknown => {
                (self.options.left_out)(path);
                Ok(false)
            }
            FileType::CharacterDevice | FileType::BlockDevice if !self.options.devices => {
                (self.options.left_out)(path);
                Ok(false)
            }
            FileType::Directory => Err(Errno::ISDIR),
            kind => self.make(target, to, Some(stat), || match kind {
                FileType::RegularFile => self.copy_file(source, from, target, to, stat),
                FileType::Symlink => self.copy_symlink(source, from, target, to, stat),
                _ => self.make_node(target, to, stat),
            }),
        }
    }

    /// Runs `make`, which fails when the name is taken, by the rule for existing files.
    fn make(
        &self,
        to: BorrowedFd<'_>,
        name: &CStr,
        source: Option<&Stat>,
        make: impl Fn() -> Result<(), Errno>,
    ) -> Result<bool, Errno> {
        match make() {
            Err(Errno::EXIST) if self.options.existing == Existing::Keep => Ok(false),
            Err(Errno::EXIST) => {
                // Two ways to one file, as through a bind mount: removing the copy would remove the source.
                let same = |have: Stat| source.is_some_and(|s| (s.st_dev, s.st_ino) == (have.st_dev, have.st_ino));
                if self.options.existing == Existing::Overwrite
                    && statat(to, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(same)
                {
                    return Ok(false);
                }
                unlinkat(to, name, AtFlags::empty())?;
                make().map(|()| true)
            }
            other => other.map(|()| true),
        }
    }

    fn make_folder(&self, to: &OwnedFd, name: &CStr) -> Result<bool, Errno> {
        let make = || mkdirat(to, name, Mode::RWXU);
        match make() {
            Err(Errno::EXIST) if self.options.existing == Existing::Keep => Ok(false),
            Err(Errno::EXIST) => {
                let stat = statat(to, name, AtFlags::SYMLINK_NOFOLLOW)?;
                if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                    if self.options.existing == Existing::Overwrite {
                        return Err(Errno::NOTDIR);
                    }
                    unlinkat(to, name, AtFlags::empty())?;
                    make()?;
                }
                Ok(true)
            }
            other => other.map(|()| true),
        }
    }

    /// Makes `name` another hard link of a file that was copied; `false` when this is its first name.
    fn link(&self, to: &OwnedFd, name: &CStr, stat: &Stat) -> Result<bool, Errno> {
        let Some(first) = self.links.get(&(stat.st_dev, stat.st_ino)) else { return Ok(false) };
        let first = open_beneath(self.target, first, OFlags::PATH)?;
        self.make(to.as_fd(), name, None, || linkat(&first, c"", to, name, AtFlags::EMPTY_PATH))?;
        Ok(true)
    }

    fn copy_file(
        &self,
        source: BorrowedFd<'_>,
        from: &CStr,
        target: BorrowedFd<'_>,
        to: &CStr,
        stat: &Stat,
    ) -> Result<(), Errno> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let source = openat(source, from, flags, Mode::empty())?;
        if FileType::from_raw_mode(fstat(&source)?.st_mode) != FileType::RegularFile {
            return Err(Errno::INVAL);
        }
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let target = openat(target, to, flags, Mode::RUSR | Mode::WUSR)?;
        let (mut source, mut target) = (File::from(source), File::from(target));
        data(&mut source, &mut target).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
        self.attributes(source.as_fd(), target.as_fd(), stat)?;
        futimens(&target, &timestamps(stat))
    }

    fn copy_symlink(
        &self,
        source: BorrowedFd<'_>,
        from: &CStr,
        target: BorrowedFd<'_>,
        to: &CStr,
        stat: &Stat,
    ) -> Result<(), Errno> {
        let value: CString = readlinkat(source, from, Vec::new())?;
        symlinkat(&value, target, to)?;
        let (uid, gid) = self.owner(stat);
        chownat(target, to, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        utimensat(target, to, &timestamps(stat), AtFlags::SYMLINK_NOFOLLOW)
    }

    fn make_node(&self, target: BorrowedFd<'_>, to: &CStr, stat: &Stat) -> Result<(), Errno> {
        let kind = FileType::from_raw_mode(stat.st_mode);
        mknodat(target, to, kind, Mode::RUSR | Mode::WUSR, stat.st_rdev)?;
        let (uid, gid) = self.owner(stat);
        chownat(target, to, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)?;
        // There is no chmod that does not follow: hold the node, see that it is the one, and go through the descriptor.
        let node = openat(target, to, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
        if FileType::from_raw_mode(fstat(&node)?.st_mode) == kind {
            let path = format!("/proc/self/fd/{}", node.as_raw_fd());
            chmodat(rustix::fs::CWD, path, self.mode(stat), AtFlags::empty())?;
        }
        utimensat(target, to, &timestamps(stat), AtFlags::SYMLINK_NOFOLLOW)
    }

    fn attributes(&self, source: BorrowedFd<'_>, target: BorrowedFd<'_>, stat: &Stat) -> Result<(), Errno> {
        match self.options.attributes {
            Attributes::All => {
                own(target, stat)?;
                copy_xattrs(source, target)
            }
            Attributes::Owned { .. } => {
                let (uid, gid) = self.owner(stat);
                fchown(target, Some(uid), Some(gid))?;
                fchmod(target, self.mode(stat))
            }
        }
    }

    fn owner(&self, stat: &Stat) -> (Uid, Gid) {
        match self.options.attributes {
            Attributes::All => owner(stat),
            Attributes::Owned { uid, gid } => (Uid::from_raw(uid), Gid::from_raw(gid)),
        }
    }

    fn mode(&self, stat: &Stat) -> Mode {
        match self.options.attributes {
            Attributes::All => Mode::from_raw_mode(stat.st_mode),
            Attributes::Owned { .. } => Mode::from_raw_mode(stat.st_mode & 0o1777),
        }
    }
}

/// Copies the content of a file. Holes stay holes: a file of the image may be far longer than what it takes on disk.
///
/// # Errors
/// When one cannot be read or the other not be written.
pub fn data(source: &mut File, target: &mut File) -> io::Result<()> {
    let length = source.metadata()?.len();
    if rustix::fs::ioctl_ficlone(&*target, &*source).is_ok() {
        return Ok(());
    }
    let mut offset = 0;
    while offset < length {
        let data = match rustix::fs::seek(&*source, rustix::fs::SeekFrom::Data(offset)) {
            Ok(data) => data,
            Err(Errno::NXIO) => break,
            // A file system that knows no holes.
            Err(Errno::INVAL | Errno::OPNOTSUPP) => offset,
            Err(errno) => return Err(errno.into()),
        };
        let hole = rustix::fs::seek(&*source, rustix::fs::SeekFrom::Hole(data)).unwrap_or(length);
        source.seek(SeekFrom::Start(data))?;
        target.seek(SeekFrom::Start(data))?;
        let copied = io::copy(&mut io::Read::take(&*source, hole - data), target)?;
        if copied == 0 {
            break;
        }
        offset = data + copied;
    }
    target.set_len(length)
}

/// Owner, then mode: a change of the owner drops the set-id bits.
fn own(file: BorrowedFd<'_>, stat: &Stat) -> Result<(), Errno> {
    let (uid, gid) = owner(stat);
    fchown(file, Some(uid), Some(gid))?;
    fchmod(file, Mode::from_raw_mode(stat.st_mode))
}

fn owner(stat: &Stat) -> (Uid, Gid) {
    (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid))
}

#[allow(clippy::cast_possible_wrap, reason = "nanoseconds are below 10^9")]
fn timestamps(stat: &Stat) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: stat.st_atime, tv_nsec: stat.st_atime_nsec as _ },
        last_modification: Timespec { tv_sec: stat.st_mtime, tv_nsec: stat.st_mtime_nsec as _ },
    }
}

/// All but those that belong to the overlay or to the host's policy; what the target cannot hold is left out.
fn copy_xattrs(from: BorrowedFd<'_>, to: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut names = vec![0; 64 * 1024];
    let length = match flistxattr(from, &mut names[..]) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP) => return Ok(()),
        Err(errno) => return Err(errno),
    };
    for name in names[..length].split_inclusive(|byte| *byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else { continue };
        if [&b"trusted.overlay."[..], b"user.overlay.", b"security.selinux"]
            .iter()
            .any(|prefix| name.to_bytes().starts_with(prefix))
        {
            continue;
        }
        let mut value = vec![0; 64 * 1024];
        let length = fgetxattr(from, name, &mut value[..])?;
        match fsetxattr(to, name, &value[..length], XattrFlags::empty()) {
            Ok(()) | Err(Errno::OPNOTSUPP) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}

fn open_beneath(root: BorrowedFd<'_>, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    resolve::open(root, path, flags | OFlags::NOFOLLOW, how)
}

fn failure(action: &'static str, path: &Path, errno: Errno) -> CopyError {
    CopyError { action, path: path.strip_prefix(".").unwrap_or(path).to_owned(), source: errno.into() }
}
