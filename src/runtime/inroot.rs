//! Finding and making paths inside a container's root. The content of the root is hostile: nothing here follows a link
//! out of it, not even while somebody exchanges its parts.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path};

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags, fchmod, fstat, mkdirat, openat, readlinkat};
use rustix::io::Errno;

/// As many as the kernel follows.
pub(super) const MAX_LINKS: u32 = 40;

/// Opens an existing path of the root; symbolic links are followed as if the root were `/`.
///
/// # Errors
/// As `openat2(2)`.
pub fn open(root: impl AsFd, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    resolve(root, path, flags, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS)
}

/// The same, but a symbolic link anywhere in the path is an error.
pub(super) fn open_without_links(root: impl AsFd, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    resolve(root, path, flags, ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS)
}

/// Opens a path below a directory: neither `..` nor a link may leave it.
pub(super) fn open_beneath(root: impl AsFd, path: &Path, flags: OFlags) -> io::Result<OwnedFd> {
    resolve(root, path, flags, ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS)
}

fn resolve(root: impl AsFd, path: &Path, flags: OFlags, how: ResolveFlags) -> io::Result<OwnedFd> {
    let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
    Ok(crate::sys::resolve::open(root, path, flags, how)?)
}

/// What a mount point must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    File,
}

/// Opens (`O_PATH`) a path of the root and makes what is missing of it: directories, and at the end a directory or an
/// empty file.
pub(super) fn ensure(root: impl AsFd, path: &Path, kind: Kind) -> io::Result<OwnedFd> {
    let found = match open(&root, path, OFlags::PATH) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(root.as_fd(), path, kind)?,
        other => other?,
    };
    let is_directory = FileType::from_raw_mode(fstat(&found)?.st_mode) == FileType::Directory;
    match (kind, is_directory) {
        (Kind::Directory, false) => Err(Errno::NOTDIR.into()),
        (Kind::File, true) => Err(Errno::ISDIR.into()),
        _ => Ok(found),
    }
}

/// Walks the path by hand. Each step opens one name relative to a descriptor and never through a link; links are read
/// and their text takes the place of the name, `..` goes back to the descriptor that we came from.
fn create(root: BorrowedFd<'_>, path: &Path, kind: Kind) -> io::Result<OwnedFd> {
    let mut stack = vec![open(root, Path::new("/"), OFlags::PATH | OFlags::DIRECTORY)?];
    let mut names: VecDeque<OsString> = VecDeque::new();
    push(&mut names, path);
    let mut links = 0;
    while let Some(name) = names.pop_front() {
        if name == ".." {
            if stack.len() > 1 {
                stack.pop();
            }
            continue;
        }
        let Some(parent) = stack.last() else { return Err(Errno::NOENT.into()) };
        let next = match openat(parent, &name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()) {
            Err(Errno::NOENT) => make(parent.as_fd(), &name, if names.is_empty() { kind } else { Kind::Directory })?,
            other => other?,
        };
        match FileType::from_raw_mode(fstat(&next)?.st_mode) {
            FileType::Symlink => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(Errno::LOOP.into());
                }
                let text = OsString::from_vec(readlinkat(&next, c"", Vec::new())?.into_bytes());
                // A link of procfs has a text that means nothing; opening it would follow magic.
                if is_proc(&next)? {
                    return Err(Errno::LOOP.into());
                }
                if Path::new(&text).is_absolute() {
                    stack.truncate(1);
                }
                let rest = std::mem::take(&mut names);
                push(&mut names, Path::new(&text));
                names.extend(rest);
            }
            FileType::Directory => stack.push(next),
            _ if names.is_empty() => return Ok(next),
            _ => return Err(Errno::NOTDIR.into()),
        }
    }
    stack.pop().ok_or_else(|| Errno::NOENT.into())
}

/// The names of a path, each to be looked up on its own.
pub(super) fn push(names: &mut VecDeque<OsString>, path: &Path) {
    for component in path.components() {
        match component {
            Component::Normal(name) => names.push_back(name.to_owned()),
            Component::ParentDir => names.push_back(OsString::from("..")),
            _ => {}
        }
    }
}

fn make(parent: BorrowedFd<'_>, name: &OsStr, kind: Kind) -> io::Result<OwnedFd> {
    match kind {
        Kind::Directory => match mkdirat(parent, name, Mode::from_raw_mode(0o755)) {
            Ok(()) => {
                let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                // Whatever the umask is: the container's user may not be root.
                fchmod(openat(parent, name, flags, Mode::empty())?, Mode::from_raw_mode(0o755))?;
            }
            // Somebody was quicker; what they made is looked at like anything else.
            Err(Errno::EXIST) => {}
            Err(error) => return Err(error.into()),
        },
        Kind::File => {
            let flags = OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::WRONLY | OFlags::CLOEXEC;
            match openat(parent, name, flags, Mode::from_raw_mode(0o644)) {
                Ok(file) => fchmod(file, Mode::from_raw_mode(0o644))?,
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(openat(parent, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?)
}

/// Whether an open file lies on procfs.
pub(super) fn is_proc(file: impl AsFd) -> io::Result<bool> {
    const PROC_SUPER_MAGIC: u64 = 0x9fa0;
    Ok(u64::try_from(rustix::fs::fstatfs(file)?.f_type).unwrap_or(0) == PROC_SUPER_MAGIC)
}

/// Reads a regular file of the root, at most `limit` bytes; `None` when there is no such file.
pub(super) fn read(root: impl AsFd, path: &Path, limit: u64) -> io::Result<Option<Vec<u8>>> {
    use std::io::Read;
    // O_PATH first: opening a device or a named pipe of a hostile image may hang or act.
    let found = match open(&root, path, OFlags::PATH) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let before = fstat(&found)?;
    if FileType::from_raw_mode(before.st_mode) != FileType::RegularFile {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "is not a regular file"));
    }
    let file = open(&root, path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY)?;
    let after = fstat(&file)?;
    if (before.st_dev, before.st_ino) != (after.st_dev, after.st_ino) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "changed while it was opened"));
    }
    let mut bytes = Vec::new();
    std::fs::File::from(file).take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "is too long"));
    }
    Ok(Some(bytes))
}

/// The path as text for messages.
pub(super) fn show(path: &Path) -> String {
    String::from_utf8_lossy(path.as_os_str().as_bytes()).into_owned()
}
