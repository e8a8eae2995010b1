//! Layers seen as one read-only tree, without a mount: lookups by descriptor that honour deletions, opaque folders and
//! links, and never leave the layers.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::rc::Rc;

use rustix::fs::{self, AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::unpack::tree::{is_whiteout, os};
use super::unpack::{OPAQUE_XATTR, OPAQUE_XATTR_USER};

/// As in the kernel.
const MOST_LINKS: usize = 40;

/// The layers of an image, or the lower part of them.
#[derive(Debug)]
pub struct View {
    root: Rc<Merged>,
}

/// A folder that several layers contribute to, the topmost first.
#[derive(Debug)]
struct Merged {
    folders: Vec<OwnedFd>,
    stat: Stat,
}

/// What a name stands for.
#[derive(Debug)]
pub enum Found {
    /// The attributes are those of the topmost layer that has the folder.
    Folder {
        stat: Stat,
    },
    File(FoundFile),
}

/// Something that is no folder, and where it is.
#[derive(Debug)]
pub struct FoundFile {
    parent: OwnedFd,
    name: Vec<u8>,
    pub stat: Stat,
}

impl FoundFile {
    #[must_use]
    pub fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    /// Opens a regular file for reading.
    ///
    /// # Errors
    /// When it is something else; opening a device or a pipe would have effects.
    pub fn open(&self) -> io::Result<OwnedFd> {
        if self.kind() != FileType::RegularFile {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"));
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC | OFlags::NONBLOCK;
        Ok(fs::openat(&self.parent, os(&self.name), flags, Mode::empty())?)
    }

    /// Makes a further link to it.
    pub(super) fn parts(&self) -> (BorrowedFd<'_>, &[u8]) {
        use std::os::fd::AsFd;
        (self.parent.as_fd(), &self.name)
    }
}

/// One step down.
#[derive(Debug)]
enum Step {
    Nothing,
    Folder(Rc<Merged>),
    File(FoundFile),
}

/// A place in the layers, for looking at many of them one step at a time.
#[derive(Debug)]
pub(super) struct Place(Step);

impl Place {
    /// Outside of what the layers have, or hidden.
    pub fn nowhere() -> Self {
        Self(Step::Nothing)
    }

    /// The place `name` below this one. No link is followed.
    pub fn enter(&self, name: &[u8]) -> io::Result<Self> {
        Ok(Self(match &self.0 {
            Step::Folder(folder) => step(folder, name)?,
            Step::Nothing | Step::File(_) => Step::Nothing,
        }))
    }

    /// The attributes of what is there.
    pub fn stat(&self) -> Option<Stat> {
        match &self.0 {
            Step::Nothing => None,
            Step::Folder(folder) => Some(folder.stat),
            Step::File(file) => Some(file.stat),
        }
    }
}

/// Where something of the layers lies on this machine. No part of these paths is a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sources {
    /// The folders that make up one, the topmost first.
    Folders(Vec<PathBuf>),
    File(PathBuf),
}

/// A path with every link resolved, and what is there.
#[derive(Debug)]
pub struct Resolved {
    /// Components below the root, without links.
    pub path: Vec<Vec<u8>>,
    pub found: Option<Found>,
}

impl View {
    /// # Errors
    /// When a layer cannot be opened.
    pub fn open(layers: &[PathBuf]) -> io::Result<Self> {
        let mut folders = Vec::with_capacity(layers.len());
        for layer in layers {
            folders.push(fs::open(layer, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?);
        }
        let Some(first) = folders.first() else {
            return Err(io::Error::new(io::ErrorKind::NotFound, "there are no layers"));
        };
        let stat = fs::fstat(first)?;
        Ok(Self { root: Rc::new(Merged { folders, stat }) })
    }

    pub(super) fn top(&self) -> Place {
        Place(Step::Folder(Rc::clone(&self.root)))
    }

    /// Looks a path up without following any link.
    pub(super) fn look(&self, path: &[Vec<u8>]) -> io::Result<Place> {
        path.iter().try_fold(self.top(), |place, part| place.enter(part))
    }

    /// What a path stands for as paths of this machine; `None` when nothing is there. Links are followed as by
    /// [`View::resolve`].
    ///
    /// # Errors
    /// When a layer cannot be read, or links lead in a circle.
    pub fn sources(&self, path: &[u8]) -> io::Result<Option<Sources>> {
        let place = |folder: &OwnedFd| -> io::Result<PathBuf> {
            let link = fs::readlink(format!("/proc/self/fd/{}", folder.as_raw_fd()), Vec::new())?;
            Ok(PathBuf::from(OsString::from_vec(link.into_bytes())))
        };
        let resolved = self.resolve(path)?;
        if resolved.found.is_none() {
            return Ok(None);
        }
        Ok(match self.look(&resolved.path)?.0 {
            Step::Nothing => None,
            Step::Folder(folder) => {
                Some(Sources::Folders(folder.folders.iter().map(place).collect::<io::Result<_>>()?))
            }
            Step::File(file) => Some(Sources::File(place(&file.parent)?.join(os(&file.name)))),
        })
    }

    /// Looks a path up as a process inside would: links are followed, and nothing leads above the root.
    ///
    /// # Errors
    /// When a layer cannot be read, or links lead in a circle.
    pub fn resolve(&self, path: &[u8]) -> io::Result<Resolved> {
        let mut ahead: Vec<Vec<u8>> = Vec::new();
        push_reversed(&mut ahead, path);
        // Where we are, and every folder on the way there.
        let mut way: Vec<(Vec<u8>, Rc<Merged>)> = Vec::new();
        let mut links = 0;
        while let Some(part) = ahead.pop() {
            if part == b".." {
                way.pop();
                continue;
            }
            let here = way.last().map_or(&self.root, |(_, folder)| folder);
            let spell = |way: &[(Vec<u8>, Rc<Merged>)], rest: &[Vec<u8>]| {
                let done = way.iter().map(|(name, _)| name.clone());
                done.chain([part.clone()]).chain(rest.iter().rev().cloned()).collect::<Vec<_>>()
            };
            match step(here, &part)? {
                Step::Folder(folder) => way.push((part, folder)),
                Step::Nothing => return Ok(Resolved { path: spell(&way, &ahead), found: None }),
                Step::File(file) if file.kind() == FileType::Symlink => {
                    links += 1;
                    if links > MOST_LINKS {
                        return Err(Errno::LOOP.into());
                    }
                    let target = fs::readlinkat(&file.parent, os(&file.name), Vec::new())?.into_bytes();
                    if target.starts_with(b"/") {
                        way.clear();
                    }
                    push_reversed(&mut ahead, &target);
                }
                Step::File(file) => {
                    let found = ahead.is_empty().then_some(Found::File(file));
                    return Ok(Resolved { path: spell(&way, &ahead), found });
                }
            }
        }
        let stat = way.last().map_or(self.root.stat, |(_, folder)| folder.stat);
        let path = way.into_iter().map(|(name, _)| name).collect();
        Ok(Resolved { path, found: Some(Found::Folder { stat }) })
    }
}

fn push_reversed(ahead: &mut Vec<Vec<u8>>, path: &[u8]) {
    for part in path.split(|byte| *byte == b'/').rev() {
        if !part.is_empty() && part != b"." {
            ahead.push(part.to_vec());
        }
    }
}

fn step(folder: &Merged, name: &[u8]) -> io::Result<Step> {
    let mut folders: Vec<OwnedFd> = Vec::new();
    let mut top: Option<Stat> = None;
    for layer in &folder.folders {
        let stat = match fs::statat(layer, os(name), AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => continue,
            Err(errno) => return Err(errno.into()),
        };
        if is_whiteout(&stat) {
            break;
        }
        if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
            if top.is_none() {
                let parent = layer.try_clone()?;
                return Ok(Step::File(FoundFile { parent, name: name.to_vec(), stat }));
            }
            break;
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = fs::openat(layer, os(name), flags, Mode::empty())?;
        top.get_or_insert(stat);
        let opaque = is_opaque(&opened);
        folders.push(opened);
        if opaque {
            break;
        }
    }
    Ok(match top {
        Some(stat) => Step::Folder(Rc::new(Merged { folders, stat })),
        None => Step::Nothing,
    })
}

/// Whether a folder hides what is below it.
pub(super) fn is_opaque(folder: &OwnedFd) -> bool {
    [OPAQUE_XATTR, OPAQUE_XATTR_USER].iter().any(|name| {
        let mut value = [0_u8; 2];
        matches!(fs::fgetxattr(folder, *name, &mut value[..]), Ok(1) if value[0] == b'y')
    })
}
