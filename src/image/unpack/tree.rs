//! A folder that is changed by descriptor only, one path component at a time, so that nothing an archive says can
//! reach outside it: no call is ever given a path with a slash, and none follows a link.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::ffi::{CString, OsStr};
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::rc::Rc;

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;

/// Open folders kept for the entries to come; archives are sorted by folder, so few serve well.
const CACHED: usize = 64;
/// Looking for an open parent must not cost more than walking from the root.
const NEAR: usize = 8;
/// As in the kernel.
const MOST_LINKS: usize = 40;
/// What remembering a folder takes beside its path.
const FOLDER: usize = 64;
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
    #[error("the archive has too many folders without an entry of their own")]
    TooManyImplicit,
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
    /// Bytes that the implicit folders take.
    remembered: usize,
    most_remembered: usize,
}

impl Tree {
    pub fn new(root: OwnedFd) -> Self {
        Self::bounded(root, usize::MAX)
    }

    /// A tree that remembers paths of implicit folders of so many bytes.
    pub fn bounded(root: OwnedFd, most_remembered: usize) -> Self {
        Self {
            root: Rc::new(Folder { fd: root, path: Vec::new() }),
            cache: HashMap::new(),
            implicit: BTreeSet::from([Vec::new()]),
            opaque: BTreeSet::new(),
            remembered: 0,
            most_remembered,
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
        let mut trail = VecDeque::with_capacity(NEAR + 1);
        let folder = self.walk(path, create, &mut trail)?;
        if self.cache.len() + trail.len() >= CACHED {
            self.cache.clear();
        }
        // Its parents are likely to be wanted next.
        for (length, folder) in trail {
            self.cache.insert(path[..length].join(&b'/'), folder);
        }
        self.cache.insert(key, Rc::clone(&folder));
        Ok(folder)
    }

    /// `trail` receives the last folders on the way with their number of components, as long as no link was met.
    fn walk(
        &mut self,
        path: &[&[u8]],
        create: bool,
        trail: &mut VecDeque<(usize, Rc<Folder>)>,
    ) -> Result<Rc<Folder>, TreeError> {
        let (mut current, done) = self.nearest(path);
        let mut ahead: Vec<Vec<u8>> = path[done..].iter().rev().map(|part| part.to_vec()).collect();
        let mut links = 0;
        while let Some(part) = ahead.pop() {
            if links == 0 && path.len() - ahead.len() > done + 1 {
                trail.push_back((path.len() - ahead.len() - 1, Rc::clone(&current)));
                if trail.len() > NEAR {
                    trail.pop_front();
                }
            }
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

    /// The deepest parent that is open already, if it is near, and how many components lead to it.
    fn nearest(&self, path: &[&[u8]]) -> (Rc<Folder>, usize) {
        let key = path.join(&b'/');
        let mut end = key.len();
        for up in 1..=NEAR.min(path.len() - 1) {
            end -= path[path.len() - up].len() + 1;
            if let Some(folder) = self.cache.get(&key[..end]) {
                return (Rc::clone(folder), path.len() - up);
            }
        }
        (self.root(), 0)
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
        self.remembered += folder.path.len() + FOLDER;
        if self.remembered > self.most_remembered {
            return Err(TreeError::TooManyImplicit);
        }
        self.implicit.insert(folder.path.clone());
        Ok(folder)
    }

    /// Takes away what is at `name`, unless it is a folder; answers whether it is one.
    pub fn clear_file(&mut self, parent: &Folder, name: &[u8]) -> Result<bool, Errno> {
        let Some(found) = stat(parent, name)? else { return Ok(false) };
        match FileType::from_raw_mode(found.st_mode) {
            FileType::Directory => return Ok(true),
            // Cached paths may lead through it.
            FileType::Symlink => self.cache.clear(),
            _ => {}
        }
        match remove_file(parent, name) {
            Ok(()) | Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    /// Forgets what was known about the folder at `path` and everything below it.
    pub fn forget(&mut self, path: &[u8]) {
        // A cached key may lead here through a link, so everything goes.
        self.cache.clear();
        for known in [&mut self.implicit, &mut self.opaque] {
            known.remove(path);
            let below: Vec<_> = known.range(below(path)).cloned().collect();
            for path in below {
                known.remove(&path);
            }
        }
    }
}

/// Makes a folder that only we can enter; its own mode comes when everything in it is there.
pub fn make_folder(parent: &Folder, name: &[u8]) -> Result<Folder, Errno> {
    fs::mkdirat(&parent.fd, os(name), Mode::RWXU)?;
    open_folder(parent, name)
}

pub fn open_folder(parent: &Folder, name: &[u8]) -> Result<Folder, Errno> {
    Ok(Folder { fd: enter(&parent.fd, name)?, path: parent.join(name) })
}

/// The folder `name` itself, not what a link there leads to.
pub fn enter(parent: &OwnedFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    fs::openat(parent, os(name), flags, Mode::empty())
}

/// The paths inside the folder at `path`.
pub fn below(path: &[u8]) -> Range<Vec<u8>> {
    // The byte after the slash.
    [path, b"/"].concat()..[path, b"0"].concat()
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

/// Removes a folder with everything in it. Folders inside it are first moved up beside it, so that neither time nor
/// descriptors grow with the depth of a hostile tree.
pub fn remove_folder(parent: &Folder, name: &[u8]) -> Result<(), Errno> {
    let mut doomed: Vec<Vec<u8>> = vec![name.to_vec()];
    let mut number = 0_u64;
    while let Some(name) = doomed.pop() {
        let folder = open_folder(parent, &name)?;
        let mut entries = fs::Dir::read_from(&folder.fd)?;
        while let Some(entry) = entries.read() {
            let entry = entry?;
            let child = entry.file_name().to_bytes();
            if child == b"." || child == b".." {
                continue;
            }
            match remove_file(&folder, child) {
                Err(Errno::ISDIR | Errno::PERM) => {}
                result => {
                    result?;
                    continue;
                }
            }
            match fs::unlinkat(&folder.fd, os(child), AtFlags::REMOVEDIR) {
                Err(Errno::NOTEMPTY | Errno::EXIST) => {}
                result => {
                    result?;
                    continue;
                }
            }
            loop {
                let aside = format!(".removed-{number}").into_bytes();
                number += 1;
                match fs::renameat_with(&folder.fd, os(child), &parent.fd, os(&aside), RenameFlags::NOREPLACE) {
                    Ok(()) => {
                        doomed.push(aside);
                        break;
                    }
                    // The image has something of this name.
                    Err(Errno::EXIST) => {}
                    Err(errno) => return Err(errno),
                }
            }
        }
        match fs::unlinkat(&parent.fd, os(&name), AtFlags::REMOVEDIR) {
            // Reading a folder while it shrinks may miss entries.
            Err(Errno::NOTEMPTY | Errno::EXIST) => doomed.push(name),
            result => result?,
        }
    }
    Ok(())
}

/// File systems differ in what attributes they take, and links and devices take no `user.` ones.
pub fn tolerate(key: &str) -> impl FnOnce(Errno) -> Result<(), Errno> + '_ {
    move |errno| match errno {
        Errno::OPNOTSUPP => {
            tracing::warn!("the file system does not store the attribute {key}");
            Ok(())
        }
        Errno::PERM if key.starts_with("user.") => Ok(()),
        errno => Err(errno),
    }
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
