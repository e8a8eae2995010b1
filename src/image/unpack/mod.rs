//! Unpacking one layer into a folder of its own that overlayfs can use as a lower layer as it is.

pub mod archive;
pub mod compression;
pub mod extract;
pub(super) mod tree;
pub(super) mod walk;

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::rc::Rc;

use rustix::fs::{self, AtFlags, FileType, Gid, Mode, OFlags, Timespec, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use archive::{Archive, ArchiveError, Entry, Kind};
use tree::{Folder, Tree, TreeError, lossy, os};
use walk::Walk;

const WHITEOUT: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";
pub const OPAQUE_XATTR: &str = "trusted.overlay.opaque";
/// The same for overlays mounted with `userxattr`.
pub const OPAQUE_XATTR_USER: &str = "user.overlay.opaque";
const IMPLICIT_MODE: u32 = 0o755;

/// How much a layer may hold before it is taken for an attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Uncompressed bytes.
    pub bytes: u64,
    pub entries: u64,
    /// Bytes of the paths of folders without an entry: each of them is remembered, and one path can ask for 2,000.
    pub names: usize,
    /// Uncompressed over compressed bytes, looked at once `ratio_from` bytes came out.
    pub ratio: u64,
    pub ratio_from: u64,
}

impl Default for Limits {
    /// gzip cannot do more than 1032 : 1, so that no gzip layer is refused for its ratio, not even one of zeros.
    fn default() -> Self {
        Self { bytes: 512 << 30, entries: 8 << 20, names: 256 << 20, ratio: 2_000, ratio_from: 1 << 30 }
    }
}

/// Why a layer cannot be unpacked.
#[derive(Debug, thiserror::Error)]
pub enum UnpackError {
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    #[error("`{path}` in the layer cannot be unpacked")]
    Entry { path: String, source: TreeError },
    #[error("`{path}` in the layer is refused: {why}")]
    Refused { path: String, why: String },
    #[error("the layer has more than {0} entries")]
    TooManyEntries(u64),
    #[error("cannot prepare the folder of the layer")]
    Root(#[source] io::Error),
}

/// What was unpacked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Bytes of all files, as `docker images` counts.
    pub size: u64,
    pub entries: u64,
    /// Folders the archive has no entry for. In the image they are what lower layers say; here they are root's, 0755.
    pub implicit: Vec<Vec<u8>>,
    /// Hard links whose target is in none of the entries before: link and target.
    pub outside_links: Vec<(Vec<u8>, Vec<u8>)>,
    /// The root hides everything below.
    pub opaque_root: bool,
}

struct FolderMeta {
    mode: u32,
    uid: u32,
    gid: u32,
    mtime: (i64, u32),
}

struct Unpacker {
    tree: Tree,
    /// Applied at the end, by path: a folder's times change with every entry made in it, and a mode without write
    /// permission or with the set-group bit must not act on what is still to come.
    folders: BTreeMap<Vec<u8>, FolderMeta>,
    outcome: Unpacked,
    buffer: Vec<u8>,
}

/// Unpacks the archive into the empty folder `root`, and gives back its reader, to be drained for its digest.
///
/// # Errors
/// When the archive is damaged or hostile, or the file system refuses. What was made so far stays; the caller owns
/// the folder and removes it.
pub fn unpack<R: Read>(input: R, root: OwnedFd, limits: &Limits) -> Result<(Unpacked, R), UnpackError> {
    let mut archive = Archive::new(input);
    let mut unpacker = Unpacker {
        tree: Tree::bounded(root, limits.names),
        folders: BTreeMap::new(),
        outcome: Unpacked::default(),
        buffer: vec![0; 256 << 10],
    };
    while let Some(entry) = archive.next_entry()? {
        unpacker.outcome.entries += 1;
        if unpacker.outcome.entries > limits.entries {
            return Err(UnpackError::TooManyEntries(limits.entries));
        }
        unpacker.entry(&entry, &mut archive).map_err(|error| error.at(&entry.path))?;
    }
    Ok((unpacker.finish()?, archive.into_inner()))
}

/// An error without the name of the entry yet.
enum Fault {
    Archive(ArchiveError),
    Tree(TreeError),
    Refused(String),
}

impl Fault {
    fn at(self, path: &[u8]) -> UnpackError {
        let path = lossy(&path[..path.len().min(400)]).escape_debug().to_string();
        match self {
            Self::Archive(error) => UnpackError::Archive(error),
            Self::Tree(source) => UnpackError::Entry { path, source },
            Self::Refused(why) => UnpackError::Refused { path, why },
        }
    }
}

impl<E: Into<TreeError>> From<E> for Fault {
    fn from(error: E) -> Self {
        Self::Tree(error.into())
    }
}

impl Unpacker {
    fn entry<R: Read>(&mut self, entry: &Entry, archive: &mut Archive<R>) -> Result<(), Fault> {
        let parts = tree::components(&entry.path)?;
        let Some((name, parents)) = parts.split_last() else {
            // `./`: the root itself.
            if entry.kind != Kind::Directory {
                return Err(Fault::Refused("only a directory can be the root of an image".into()));
            }
            let root = self.tree.root();
            return self.directory(&root, entry);
        };
        if parents.iter().any(|part| part.starts_with(WHITEOUT)) {
            return Err(Fault::Refused("names that start with .wh. mark deletions and hold nothing".into()));
        }
        let (uid, gid) = (owner(entry.uid)?, owner(entry.gid)?);
        let parent = self.tree.folder(parents, true)?;
        if let Some(deleted) = name.strip_prefix(WHITEOUT) {
            return self.whiteout(&parent, name, deleted);
        }
        if entry.kind == Kind::Directory {
            let folder = self.make_directory(&parent, name)?;
            return self.directory(&folder, entry);
        }
        if entry.kind == Kind::HardLink {
            return self.hard_link(&parent, name, entry);
        }
        if entry.kind == Kind::File {
            return self.file(&parent, name, entry, archive, (uid, gid));
        }
        self.clear(&parent, name)?;
        match entry.kind {
            Kind::Symlink => {
                if entry.link.is_empty() || entry.link.len() > tree::LONGEST_PATH {
                    return Err(Fault::Refused("a symbolic link needs a target of 1 to 4095 bytes".into()));
                }
                fs::symlinkat(os(&entry.link), &parent.fd, os(name))?;
                self.own(&parent, name, entry, (uid, gid), None)?;
            }
            Kind::Character | Kind::Block | Kind::Fifo => {
                let kind = match entry.kind {
                    Kind::Character => FileType::CharacterDevice,
                    Kind::Block => FileType::BlockDevice,
                    _ => FileType::Fifo,
                };
                let device = fs::makedev(entry.major, entry.minor);
                fs::mknodat(&parent.fd, os(name), kind, Mode::RUSR | Mode::WUSR, device).map_err(|errno| {
                    if errno == Errno::PERM {
                        Fault::Refused("the kernel lets only root make device nodes".into())
                    } else {
                        errno.into()
                    }
                })?;
                self.own(&parent, name, entry, (uid, gid), Some(entry.mode))?;
            }
            Kind::Directory | Kind::HardLink | Kind::File => {}
        }
        Ok(())
    }

    /// Takes away whatever is at `name`, so that it can be made anew.
    fn clear(&mut self, parent: &Folder, name: &[u8]) -> Result<(), Fault> {
        if self.tree.clear_file(parent, name)? {
            tree::remove_folder(parent, name)?;
            let path = parent.join(name);
            self.tree.forget(&path);
            self.folders.remove(&path);
            let below: Vec<_> = self.folders.range(tree::below(&path)).map(|(known, _)| known.clone()).collect();
            for known in below {
                self.folders.remove(&known);
            }
        }
        Ok(())
    }

    fn make_directory(&mut self, parent: &Folder, name: &[u8]) -> Result<Rc<Folder>, Fault> {
        match tree::make_folder(parent, name) {
            Ok(folder) => return Ok(Rc::new(folder)),
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno.into()),
        }
        if let Ok(folder) = tree::open_folder(parent, name) {
            return Ok(Rc::new(folder));
        }
        let hides = tree::stat(parent, name)?.is_some_and(|stat| tree::is_whiteout(&stat));
        self.clear(parent, name)?;
        let folder = tree::make_folder(parent, name)?;
        if hides {
            self.tree.opaque.insert(folder.path.clone());
        }
        Ok(Rc::new(folder))
    }

    fn directory(&mut self, folder: &Folder, entry: &Entry) -> Result<(), Fault> {
        let (uid, gid) = (owner(entry.uid)?, owner(entry.gid)?);
        self.tree.implicit.remove(&folder.path);
        for (key, value) in kept_xattrs(entry) {
            fs::fsetxattr(&folder.fd, key, value, XattrFlags::empty()).or_else(tree::tolerate(key))?;
        }
        let meta = FolderMeta { mode: entry.mode, uid, gid, mtime: entry.mtime };
        self.folders.insert(folder.path.clone(), meta);
        Ok(())
    }

    fn whiteout(&mut self, parent: &Folder, name: &[u8], deleted: &[u8]) -> Result<(), Fault> {
        if name == OPAQUE {
            self.tree.opaque.insert(parent.path.clone());
            return Ok(());
        }
        match deleted {
            b"" | b"." | b".." => return Err(Fault::Refused("it deletes nothing that could exist".into())),
            // aufs kept notes of its own in `.wh..wh.*`.
            deleted if deleted.starts_with(WHITEOUT) => return Ok(()),
            _ => {}
        }
        match tree::stat(parent, deleted)? {
            None => fs::mknodat(&parent.fd, os(deleted), FileType::CharacterDevice, Mode::empty(), 0)?,
            // What this layer itself has stays: the mark is about the layers below.
            Some(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Directory => {
                self.tree.opaque.insert(parent.join(deleted));
            }
            Some(_) => {}
        }
        Ok(())
    }

    fn hard_link(&mut self, parent: &Folder, name: &[u8], entry: &Entry) -> Result<(), Fault> {
        let target = tree::components(&entry.link).map_err(|error| {
            Fault::Refused(format!("the target `{}` of the hard link: {error}", lossy(&entry.link)))
        })?;
        let Some((target_name, target_parents)) = target.split_last() else {
            return Err(Fault::Refused("a hard link to the root directory".into()));
        };
        let found = match self.tree.folder(target_parents, false) {
            Ok(folder) => tree::stat(&folder, target_name)?.map(|stat| (folder, stat)),
            Err(TreeError::Missing(_)) => None,
            Err(error) => return Err(error.into()),
        };
        let Some((folder, stat)) = found.filter(|(_, stat)| !tree::is_whiteout(stat)) else {
            self.clear(parent, name)?;
            self.outcome.outside_links.push((parent.join(name), target.join(&b'/')));
            return Ok(());
        };
        if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
            return Err(Fault::Refused(format!("it is a hard link to the directory `{}`", lossy(&entry.link))));
        }
        if let Some(there) = tree::stat(parent, name)?
            && (there.st_dev, there.st_ino) == (stat.st_dev, stat.st_ino)
        {
            return Ok(());
        }
        self.clear(parent, name)?;
        fs::linkat(&folder.fd, os(target_name), &parent.fd, os(name), AtFlags::empty())?;
        Ok(())
    }

    fn file<R: Read>(
        &mut self,
        parent: &Folder,
        name: &[u8],
        entry: &Entry,
        archive: &mut Archive<R>,
        (uid, gid): (u32, u32),
    ) -> Result<(), Fault> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let make = || fs::openat(&parent.fd, os(name), flags, Mode::RUSR | Mode::WUSR);
        // Hardly ever is something there: to look first would be one call more for every file.
        let fd = match make() {
            Err(Errno::EXIST) => {
                self.clear(parent, name)?;
                make()?
            }
            made => made?,
        };
        loop {
            let read = archive.read_content(&mut self.buffer).map_err(Fault::Archive)?;
            if read == 0 {
                break;
            }
            let mut rest = &self.buffer[..read];
            while !rest.is_empty() {
                match rustix::io::write(&fd, rest) {
                    Ok(written) => rest = &rest[written..],
                    Err(Errno::INTR) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
        }
        self.outcome.size += entry.size;
        // Everything is made as root's: folders carry no set-group bit before the end. Owner before mode, because
        // changing the owner clears the set-user bits; capabilities last, for the same reason.
        if (uid, gid) != (0, 0) {
            fs::fchown(&fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))
                .map_err(|errno| chown_fault(errno, uid, gid))?;
        }
        fs::fchmod(&fd, Mode::from_raw_mode(entry.mode))?;
        for (key, value) in kept_xattrs(entry) {
            fs::fsetxattr(&fd, key, value, XattrFlags::empty()).or_else(tree::tolerate(key))?;
        }
        fs::futimens(&fd, &times(entry.mtime))?;
        Ok(())
    }

    /// Owner, mode, attributes and times of what cannot be opened without side effects.
    fn own(
        &mut self,
        parent: &Folder,
        name: &[u8],
        entry: &Entry,
        (uid, gid): (u32, u32),
        mode: Option<u32>,
    ) -> Result<(), Fault> {
        fs::chownat(
            &parent.fd,
            os(name),
            Some(Uid::from_raw(uid)),
            Some(Gid::from_raw(gid)),
            AtFlags::SYMLINK_NOFOLLOW,
        )
        .map_err(|errno| chown_fault(errno, uid, gid))?;
        if let Some(mode) = mode {
            // It was made a moment ago by us in a folder that nobody else can enter, so it is no link.
            fs::chmodat(&parent.fd, os(name), Mode::from_raw_mode(mode), AtFlags::empty())?;
        }
        for (key, value) in kept_xattrs(entry) {
            let path = tree::by_descriptor(parent, name)?;
            fs::lsetxattr(&path, key, value, XattrFlags::empty()).or_else(tree::tolerate(key))?;
        }
        fs::utimensat(&parent.fd, os(name), &times(entry.mtime), AtFlags::SYMLINK_NOFOLLOW)?;
        Ok(())
    }

    fn finish(mut self) -> Result<Unpacked, UnpackError> {
        let mut opaque = std::mem::take(&mut self.tree.opaque);
        // overlayfs does not look for the mark on a root; the image's list of layers is cut off instead.
        self.outcome.opaque_root = opaque.remove(&Vec::new());
        let root = self.tree.root();
        let top = root.fd.try_clone().map_err(UnpackError::Root)?;
        let mut walk = Walk::new(top);
        for path in &opaque {
            at(&mut walk, path, |folder| fs::fsetxattr(folder, OPAQUE_XATTR, b"y", XattrFlags::empty()))?;
        }
        let implicit = std::mem::take(&mut self.tree.implicit);
        for path in implicit.iter().rev() {
            at(&mut walk, path, |folder| fs::fchmod(folder, Mode::from_raw_mode(IMPLICIT_MODE)))?;
        }
        // What is deeper first: whoever is not root could not enter a folder after it got its mode.
        for (path, meta) in self.folders.iter().rev() {
            at(&mut walk, path, |folder| {
                fs::fchown(folder, Some(Uid::from_raw(meta.uid)), Some(Gid::from_raw(meta.gid)))?;
                fs::fchmod(folder, Mode::from_raw_mode(meta.mode))?;
                fs::futimens(folder, &times(meta.mtime))
            })?;
        }
        self.outcome.implicit = implicit.into_iter().collect();
        Ok(self.outcome)
    }
}

/// Does something to a folder that the walk goes to; its path holds no links.
fn at(walk: &mut Walk<OwnedFd>, path: &[u8], act: impl Fn(&OwnedFd) -> Result<(), Errno>) -> Result<(), UnpackError> {
    let parts: Vec<&[u8]> = path.split(|byte| *byte == b'/').filter(|part| !part.is_empty()).collect();
    walk.to(&parts, tree::enter)
        .and_then(act)
        .map_err(|errno| UnpackError::Entry { path: lossy(path), source: errno.into() })
}

/// `security.capability`, access lists and the user's own attributes. Not overlayfs's: an image could make it show
/// files of other layers under other names.
fn kept_xattrs(entry: &Entry) -> impl Iterator<Item = (&str, &[u8])> {
    entry.xattrs.iter().filter_map(|(key, value)| {
        let key = std::str::from_utf8(key).ok()?;
        let kept = key == "security.capability"
            || key.starts_with("system.posix_acl_")
            || (key.starts_with("user.") && !key.starts_with("user.overlay."));
        kept.then_some((key, value.as_slice()))
    })
}

/// -1 means "leave as it is" to the kernel, and larger numbers would be cut off.
fn owner(id: u64) -> Result<u32, Fault> {
    u32::try_from(id)
        .ok()
        .filter(|id| *id != u32::MAX)
        .ok_or_else(|| Fault::Refused(format!("{id} is no valid user or group id")))
}

fn chown_fault(errno: Errno, uid: u32, gid: u32) -> Fault {
    match errno {
        Errno::INVAL => Fault::Refused(format!("the owner {uid}:{gid} does not exist in this user namespace")),
        errno => errno.into(),
    }
}

fn times((seconds, nanoseconds): (i64, u32)) -> Timestamps {
    // The kernel takes what fits in the file system and clamps the rest; only nanoseconds have a range of their own.
    let time = Timespec { tv_sec: seconds, tv_nsec: i64::from(nanoseconds) };
    Timestamps { last_access: time, last_modification: time }
}

#[cfg(test)]
mod tests;
