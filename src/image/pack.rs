//! Packs a tree of files into an archive, by descriptor: for layers, and for what leaves a container.

use std::collections::HashMap;
use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{
    AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat, StatxFlags, fgetxattr, flistxattr, fstat, major, minor,
    openat, readlinkat, statat, statx,
};
use rustix::io::Errno;
use tar::{Builder, EntryType, Header};

use super::unpack::{OPAQUE_XATTR, OPAQUE_XATTR_USER};
use crate::sys::resolve;

/// What of a tree is packed.
pub struct PackOptions<'a> {
    /// Name of the top folder in the archive; empty for its contents alone.
    pub name: &'a OsStr,
    /// The tree is the upper folder of an overlay: deletions and opaque folders become an image's marks.
    pub layer: bool,
    /// What is mounted below is packed as an empty folder or file.
    pub one_mount: bool,
    /// Entries for which this holds are left out, with all below.
    pub skip: &'a dyn Fn(&Stat) -> bool,
}

impl std::fmt::Debug for PackOptions<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PackOptions").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Why a tree cannot be packed.
#[derive(Debug, thiserror::Error)]
#[error("cannot pack `{}`", path.display())]
pub struct PackError {
    path: PathBuf,
    source: io::Error,
}

/// Packs a folder.
///
/// # Errors
/// When something cannot be read, or nobody takes the archive.
pub fn tree(root: BorrowedFd<'_>, options: &PackOptions<'_>, out: &mut dyn Write) -> Result<(), PackError> {
    let mut packer = Packer { root, options, archive: Builder::new(out), links: HashMap::new(), mount: None };
    let at = |path: &Path| {
        let path = path.to_owned();
        move |source: io::Error| PackError { path, source }
    };
    let top = Path::new(".");
    let stat = fstat(root).map_err(|errno| at(top)(errno.into()))?;
    packer.mount = options.one_mount.then(|| mount_of(root, c"")).flatten();
    if !options.name.is_empty() {
        packer.folder_entry(root, Path::new(""), &stat).map_err(at(top))?;
    }
    let mut folders = vec![PathBuf::from(".")];
    while let Some(folder) = folders.pop() {
        let open = open_beneath(root, &folder).map_err(|errno| at(&folder)(errno.into()))?;
        for name in names(&open).map_err(|errno| at(&folder)(errno.into()))? {
            let path = folder.join(OsStr::from_bytes(name.to_bytes()));
            if packer.entry(&open, &name, &path).map_err(at(&path))? {
                folders.push(path);
            }
        }
    }
    packer.archive.finish().map_err(at(top))
}

/// Packs one entry that is no folder, under its own name.
///
/// # Errors
/// As [`tree`].
pub fn entry(parent: BorrowedFd<'_>, name: &CStr, out: &mut dyn Write) -> Result<(), PackError> {
    let options = PackOptions { name: OsStr::new(""), layer: false, one_mount: false, skip: &|_| false };
    let path = Path::new(OsStr::from_bytes(name.to_bytes()));
    let failed = |source| PackError { path: path.to_owned(), source };
    let mut packer =
        Packer { root: parent, options: &options, archive: Builder::new(out), links: HashMap::new(), mount: None };
    let stat = statat(parent, name, AtFlags::SYMLINK_NOFOLLOW).map_err(|errno| failed(errno.into()))?;
    packer.leaf(parent, name, path, &stat).map_err(failed)?;
    packer.archive.finish().map_err(failed)
}

struct Packer<'a> {
    root: BorrowedFd<'a>,
    options: &'a PackOptions<'a>,
    archive: Builder<&'a mut dyn Write>,
    /// First name of each file that has several.
    links: HashMap<(u64, u64), PathBuf>,
    mount: Option<u64>,
}

impl Packer<'_> {
    /// `true`: a folder whose entries are wanted too.
    fn entry(&mut self, parent: &OwnedFd, name: &CStr, path: &Path) -> io::Result<bool> {
        let stat = match statat(parent, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            // Removed since the folder was read.
            Err(Errno::NOENT) => return Ok(false),
            Err(errno) => return Err(errno.into()),
        };
        if (self.options.skip)(&stat) {
            return Ok(false);
        }
        let inner = path.strip_prefix(".").unwrap_or(path);
        let mounted = self.mount.is_some() && mount_of(parent.as_fd(), name).is_some_and(|id| Some(id) != self.mount);
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            if mounted {
                let mut header = header(EntryType::Regular, &stat);
                self.archive.append_data(&mut header, self.named(inner), io::empty())?;
                return Ok(false);
            }
            self.leaf(parent.as_fd(), name, inner, &stat)?;
            return Ok(false);
        }
        let folder = match open_beneath(self.root, path) {
            Ok(folder) => folder,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => return Ok(false),
            Err(errno) => return Err(errno.into()),
        };
        self.folder_entry(folder.as_fd(), inner, &stat)?;
        Ok(!mounted)
    }

    fn folder_entry(&mut self, folder: BorrowedFd<'_>, path: &Path, stat: &Stat) -> io::Result<()> {
        let xattrs = xattrs(folder)?;
        if self.options.layer {
            let mark = |wanted: &str| xattrs.all.iter().any(|(name, _)| name.to_bytes() == wanted.as_bytes());
            for kind in ["redirect", "metacopy"] {
                if mark(&format!("trusted.overlay.{kind}")) {
                    return Err(io::Error::other(format!(
                        "the kernel keeps it as a reference to the image (overlay's {kind})"
                    )));
                }
            }
        }
        self.extensions(&xattrs)?;
        let mut header = header(EntryType::Directory, stat);
        let mut name = self.named(path).into_os_string();
        name.push("/");
        self.archive.append_data(&mut header, name, io::empty())?;
        let opaque = [OPAQUE_XATTR, OPAQUE_XATTR_USER];
        let is_opaque = |(name, value): &(CString, Vec<u8>)| {
            opaque.iter().any(|known| known.as_bytes() == name.to_bytes()) && value == b"y"
        };
        if self.options.layer && xattrs.all.iter().any(is_opaque) {
            self.mark(&path.join(".wh..wh..opq"), stat)?;
        }
        Ok(())
    }

    /// Anything but a folder.
    fn leaf(&mut self, parent: BorrowedFd<'_>, name: &CStr, path: &Path, stat: &Stat) -> io::Result<()> {
        let kind = FileType::from_raw_mode(stat.st_mode);
        if kind == FileType::CharacterDevice && stat.st_rdev == 0 {
            if self.options.layer {
                let mut marked = std::ffi::OsString::from(".wh.");
                marked.push(OsStr::from_bytes(name.to_bytes()));
                self.mark(&path.with_file_name(marked), stat)?;
            }
            return Ok(());
        }
        if matches!(kind, FileType::Socket | FileType::Unknown | FileType::Directory) {
            return Ok(());
        }
        if stat.st_nlink > 1 {
            if let Some(first) = self.links.get(&(stat.st_dev, stat.st_ino)) {
                let (mut header, first) = (header(EntryType::Link, stat), self.named(first));
                return self.archive.append_link(&mut header, self.named(path), first);
            }
            self.links.insert((stat.st_dev, stat.st_ino), path.to_owned());
        }
        let target = self.named(path);
        match kind {
            FileType::RegularFile => {
                let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let file = openat(parent, name, flags, Mode::empty())?;
                let now = fstat(&file)?;
                if FileType::from_raw_mode(now.st_mode) != FileType::RegularFile {
                    return Err(io::Error::other("it changed while it was packed"));
                }
                self.extensions(&xattrs(file.as_fd())?)?;
                let mut header = header(EntryType::Regular, &now);
                let size = u64::try_from(now.st_size).unwrap_or(0);
                header.set_size(size);
                self.archive.append_data(&mut header, target, Padded { file: File::from(file), left: size })
            }
            FileType::Symlink => {
                let value = readlinkat(parent, name, Vec::new())?;
                let mut header = header(EntryType::Symlink, stat);
                self.archive.append_link(&mut header, target, OsStr::from_bytes(value.to_bytes()))
            }
            other => {
                let (kind, device) = match other {
                    FileType::CharacterDevice => (EntryType::Char, stat.st_rdev),
                    FileType::BlockDevice => (EntryType::Block, stat.st_rdev),
                    _ => (EntryType::Fifo, 0),
                };
                let mut header = header(kind, stat);
                header.set_device_major(major(device))?;
                header.set_device_minor(minor(device))?;
                self.archive.append_data(&mut header, target, io::empty())
            }
        }
    }

    /// An empty file whose name says something about the layers below.
    fn mark(&mut self, path: &Path, stat: &Stat) -> io::Result<()> {
        let mut header = header(EntryType::Regular, stat);
        header.set_mode(0o600);
        let name = self.named(path);
        self.archive.append_data(&mut header, name, io::empty())
    }

    fn extensions(&mut self, xattrs: &Xattrs) -> io::Result<()> {
        let kept: Vec<(String, &[u8])> = xattrs
            .all
            .iter()
            .filter(|(name, _)| {
                let ours = [&b"trusted.overlay."[..], b"user.overlay.", b"security.selinux"];
                !ours.iter().any(|prefix| name.to_bytes().starts_with(prefix))
            })
            .filter_map(|(name, value)| Some((format!("SCHILY.xattr.{}", name.to_str().ok()?), value.as_slice())))
            .collect();
        if kept.is_empty() {
            return Ok(());
        }
        self.archive.append_pax_extensions(kept.iter().map(|(name, value)| (name.as_str(), *value)))
    }

    fn named(&self, path: &Path) -> PathBuf {
        if self.options.name.is_empty() { path.to_owned() } else { Path::new(self.options.name).join(path) }
    }
}

fn header(kind: EntryType, stat: &Stat) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_mode(stat.st_mode & 0o7777);
    header.set_uid(stat.st_uid.into());
    header.set_gid(stat.st_gid.into());
    header.set_mtime(u64::try_from(stat.st_mtime).unwrap_or(0));
    header.set_size(0);
    header
}

struct Xattrs {
    all: Vec<(CString, Vec<u8>)>,
}

fn xattrs(file: BorrowedFd<'_>) -> io::Result<Xattrs> {
    let mut names = vec![0; 64 * 1024];
    let length = match flistxattr(file, &mut names[..]) {
        Ok(length) => length,
        Err(Errno::OPNOTSUPP | Errno::BADF) => 0,
        Err(errno) => return Err(errno.into()),
    };
    let mut all = Vec::new();
    for name in names[..length].split_inclusive(|byte| *byte == 0) {
        let Ok(name) = CStr::from_bytes_with_nul(name) else { continue };
        let mut value = vec![0; 64 * 1024];
        match fgetxattr(file, name, &mut value[..]) {
            Ok(length) => value.truncate(length),
            // Removed meanwhile, or of a kind that only the kernel reads.
            Err(Errno::NODATA | Errno::OPNOTSUPP) => continue,
            Err(errno) => return Err(errno.into()),
        }
        all.push((name.to_owned(), value));
    }
    Ok(Xattrs { all })
}

/// Sorted, so that the same tree makes the same archive.
fn names(folder: &OwnedFd) -> Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let name = entry?.file_name().to_owned();
        if !matches!(name.to_bytes(), b"." | b"..") {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

fn open_beneath(root: BorrowedFd<'_>, path: &Path) -> Result<OwnedFd, Errno> {
    let how = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    resolve::open(root, path, flags, how)
}

/// `None` before Linux 5.8.
fn mount_of(folder: BorrowedFd<'_>, name: &CStr) -> Option<u64> {
    let flags = AtFlags::SYMLINK_NOFOLLOW | AtFlags::EMPTY_PATH | AtFlags::NO_AUTOMOUNT;
    let found = statx(folder, name, flags, StatxFlags::MNT_ID).ok()?;
    (found.stx_mask & StatxFlags::MNT_ID.bits() != 0).then_some(found.stx_mnt_id)
}

/// Gives exactly as many bytes as the header has promised, whatever becomes of the file.
struct Padded {
    file: File,
    left: u64,
}

impl Read for Padded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let most = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let Some(buffer) = buffer.get_mut(..most).filter(|buffer| !buffer.is_empty()) else { return Ok(0) };
        let count = match self.file.read(buffer)? {
            0 => {
                buffer.fill(0);
                buffer.len()
            }
            count => count,
        };
        self.left -= count as u64;
        Ok(count)
    }
}
