//! A folder that is changed by descriptor only, one path component at a time, so that nothing an archive says can
//! reach outside it: no call is ever given a path with a slash, and none follows a link.

use std::collections::{BTreeSet, HashMap};
use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

/// Open folders kept for the entries to come; archives are sorted by folder, so few serve well.
const CACHED: usize = 64;
/// As in the kernel.
const MOST_LINKS: usize = 40;
pub const LONGEST_PATH: usize = 4095;
pub const LONGEST_NAME: usize = 255;

/// An open folder inside the tree.
#[derive(Debug)]
pub struct Folder {
    pub fd: OwnedFd,
    /// Its place below the root without any link in it; empty is the root.
    pub path: Vec<u8>,
}

impl Folder {
    pub fn join(&self, name: &[u8]) -> Vec<u8> {
        if self.path.is_empty() { name.to_vec() } else { [&self.path, &b"/"[..], name].concat() }
    }
}

/// Why a path of an archive cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TreeError {
    #[error("the name leads out of the image with `..`")]
    Escapes,
    #[error("a name in it is longer than {LONGEST_NAME} bytes")]
    NameTooLong,
    #[error("the path is longer than {LONGEST_PATH} bytes")]
    PathTooLong,
    #[error("`{0}` is not a directory")]
    NotADirectory(String),
    #[error("`{0}` does not exist")]
    Missing(String),
    #[error("too many symbolic links on the way")]
    TooManyLinks,
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl From<Errno> for TreeError {
    fn from(errno: Errno) -> Self {
        Self::Io(errno.into())
    }
}

/// The root and what is known of the folders below it.
#[derive(Debug)]
pub struct Tree {
    root: Rc<Folder>,
    cache: HashMap<Vec<u8>, Rc<Folder>>,
    /// Folders that exist only because something is in them.
    pub implicit: BTreeSet<Vec<u8>>,
    /// Folders that hide what lower layers have at their place.
    pub opaque: BTreeSet<Vec<u8>>,
}

impl Tree {
    pub fn new(root: OwnedFd) -> Self {
        Self {
            root: Rc::new(Folder { fd: root, path: Vec::new() }),
            cache: HashMap::new(),
            implicit: BTreeSet::from([Vec::new()]),
            opaque: BTreeSet::new(),
        }
    }

    pub fn root(&self) -> Rc<Folder> {
        Rc::clone(&self.root)
    }

    /// Opens the folder at `path` (components without empty ones and dots), resolving links inside the root.
    /// With `create`, what is missing is made, and remembered as implicit.
    pub fn folder(&mut self, path: &[&[u8]], create: bool) -> Result<Rc<Folder>, TreeError> {
        if path.is_empty() {
            return Ok(self.root());
        }
        let key = path.join(&b'/');
        if let Some(folder) = self.cache.get(&key) {
            return Ok(Rc::clone(folder));
        }
        let folder = self.walk(path, create)?;
        if self.cache.len() >= CACHED {
            self.cache.clear();
        }
        self.cache.insert(key, Rc::clone(&folder));
        Ok(folder)
    }

    fn walk(&mut self, path: &[&[u8]], create: bool) -> Result<Rc<Folder>, TreeError> {
        // The deepest parent that is open already.
        let (mut current, done) = (1..path.len())
            .rev()
            .find_map(|length| Some((Rc::clone(self.cache.get(&path[..length].join(&b'/'))?), length)))
            .unwrap_or_else(|| (self.root(), 0));
        let mut ahead: Vec<Vec<u8>> = path[done..].iter().rev().map(|part| part.to_vec()).collect();
        let mut links = 0;
        while let Some(part) = ahead.pop() {
            if part == b".." {
                let up = current.path.iter().rposition(|byte| *byte == b'/').unwrap_or(0);
                current = self.reopen(&current.path[..up])?;
                continue;
            }
            match open_folder(&current, &part) {
                Ok(folder) => current = Rc::new(folder),
                Err(Errno::NOENT) if create => current = Rc::new(self.make_implicit(&current, &part)?),
                Err(Errno::NOENT) => return Err(TreeError::Missing(lossy(&current.join(&part)))),
                Err(Errno::NOTDIR | Errno::LOOP) => {
                    let at = current.join(&part);
                    let stat = stat(&current, &part)?.ok_or_else(|| TreeError::Missing(lossy(&at)))?;
                    if create && is_whiteout(&stat) {
                        // Deleted below and filled anew in the same layer.
                        remove_file(&current, &part)?;
                        let folder = self.make_implicit(&current, &part)?;
                        self.opaque.insert(folder.path.clone());
                        current = Rc::new(folder);
                        continue;
                    }
                    if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
                        return Err(TreeError::NotADirectory(lossy(&at)));
                    }
                    links += 1;
                    if links > MOST_LINKS {
                        return Err(TreeError::TooManyLinks);
                    }
                    let target = fs::readlinkat(&current.fd, os(&part), Vec::new())?.into_bytes();
                    if target.starts_with(b"/") {
                        current = self.root();
                    }
                    for part in target.split(|byte| *byte == b'/').rev() {
                        if !part.is_empty() && part != b"." {
                            ahead.push(part.to_vec());
                        }
                    }
                    if ahead.len() > LONGEST_PATH {
                        return Err(TreeError::PathTooLong);
                    }
                }
                Err(errno) => return Err(errno.into()),
            }
        }
        Ok(current)
    }

    /// Opens a path that holds no links.
    pub fn reopen(&self, path: &[u8]) -> Result<Rc<Folder>, TreeError> {
        let mut current = self.root();
        for part in path.split(|byte| *byte == b'/').filter(|part| !part.is_empty()) {
            current = Rc::new(open_folder(&current, part)?);
        }
        Ok(current)
    }

    fn make_implicit(&mut self, parent: &Folder, name: &[u8]) -> Result<Folder, TreeError> {
        let folder = make_folder(parent, name)?;
        self.implicit.insert(folder.path.clone());
        Ok(folder)
    }

    /// Forgets what was known about the folder at `path` and everything below it.
    pub fn forget(&mut self, path: &[u8]) {
        // A cached key may lead here through a link, so everything goes.
        self.cache.clear();
        let below = |known: &Vec<u8>| {
            known.strip_prefix(path).is_none_or(|rest| !rest.is_empty() && rest[0] != b'/') || path.is_empty()
        };
        self.implicit.retain(below);
        self.opaque.retain(below);
    }
}

/// Makes a folder that only we can enter; its own mode comes when everything in it is there.
pub fn make_folder(parent: &Folder, name: &[u8]) -> Result<Folder, Errno> {
    fs::mkdirat(&parent.fd, os(name), Mode::RWXU)?;
    open_folder(parent, name)
}

pub fn open_folder(parent: &Folder, name: &[u8]) -> Result<Folder, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = fs::openat(&parent.fd, os(name), flags, Mode::empty())?;
    Ok(Folder { fd, path: parent.join(name) })
}

/// What is at `name`, without following it.
pub fn stat(parent: &Folder, name: &[u8]) -> Result<Option<Stat>, Errno> {
    match fs::statat(&parent.fd, os(name), AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// overlayfs's mark for "deleted in this layer".
pub fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

pub fn remove_file(parent: &Folder, name: &[u8]) -> Result<(), Errno> {
    fs::unlinkat(&parent.fd, os(name), AtFlags::empty())
}

/// Removes a folder with everything in it, without recursion (a hostile tree may be deep).
pub fn remove_folder(parent: &Folder, name: &[u8]) -> Result<(), Errno> {
    // Names of the folders on the way down; each is opened from the one above, so depth costs no descriptors.
    let mut way: Vec<Vec<u8>> = vec![name.to_vec()];
    'descend: while let Some(deepest) = way.last().cloned() {
        let mut holder = Folder { fd: parent.fd.try_clone().map_err(|_| Errno::MFILE)?, path: Vec::new() };
        for part in &way[..way.len() - 1] {
            holder = open_folder(&holder, part)?;
        }
        let folder = open_folder(&holder, &deepest)?;
        let mut entries = fs::Dir::read_from(&folder.fd)?;
        while let Some(entry) = entries.read() {
            let entry = entry?;
            let child = entry.file_name().to_bytes();
            if child == b"." || child == b".." {
                continue;
            }
            match remove_file(&folder, child) {
                Ok(()) => {}
                Err(Errno::ISDIR | Errno::PERM) => {
                    way.push(child.to_vec());
                    continue 'descend;
                }
                Err(errno) => return Err(errno),
            }
        }
        fs::unlinkat(&holder.fd, os(&deepest), AtFlags::REMOVEDIR)?;
        way.pop();
    }
    Ok(())
}

/// A name for calls that take only paths (`lsetxattr`): through the folder's descriptor, its last part not followed.
pub fn by_descriptor(parent: &Folder, name: &[u8]) -> Result<CString, Errno> {
    let mut path = format!("/proc/self/fd/{}/", parent.fd.as_fd().as_raw_fd()).into_bytes();
    path.extend_from_slice(name);
    CString::new(path).map_err(|_| Errno::INVAL)
}

pub fn os(name: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(name))
}

pub fn lossy(path: &[u8]) -> String {
    String::from_utf8_lossy(path).into_owned()
}

/// Splits a path of an archive into components. Leading slashes and dots mean nothing, `..` is refused.
pub fn components(path: &[u8]) -> Result<Vec<&[u8]>, TreeError> {
    if path.len() > LONGEST_PATH {
        return Err(TreeError::PathTooLong);
    }
    let mut parts = Vec::new();
    for part in path.split(|byte| *byte == b'/') {
        match part {
            b"" | b"." => {}
            b".." => return Err(TreeError::Escapes),
            part if part.len() > LONGEST_NAME => return Err(TreeError::NameTooLong),
            part => parts.push(part),
        }
    }
    Ok(parts)
}
