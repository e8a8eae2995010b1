//! What an image has at a path: the folder from which a new volume is filled.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{OFlags, ResolveFlags};
use rustix::io::Errno;

use crate::sys::{overlay, resolve};

/// Opens the folder `path` of the image made of `layers` (the topmost first), as a container would see it: deletions
/// of upper layers count, and symbolic links are followed inside the image alone. `None` when there is none there.
///
/// Several layers are looked at through an overlay that is mounted nowhere, and is gone when the descriptor is closed.
///
/// # Errors
/// When a layer is missing or the kernel refuses the overlay.
pub fn open_in_layers(layers: &[PathBuf], path: &Path) -> io::Result<Option<OwnedFd>> {
    let Some(root) = overlay::root(layers)? else { return Ok(None) };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match resolve::open(&root, path, flags, ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS) {
        Ok(folder) => Ok(Some(folder)),
        // Nothing there, something that is no folder, or links that lead nowhere: an empty folder in the container.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}
