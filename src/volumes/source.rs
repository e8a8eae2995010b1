//! What an image has at a path: the folder from which a new volume is filled.

use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen};

/// Opens the folder `path` of the image made of `layers` (the topmost first), as a container would see it: deletions
/// of upper layers count, and symbolic links are followed inside the image alone. `None` when there is none there.
///
/// Several layers are looked at through an overlay that is mounted nowhere, and is gone when the descriptor is closed.
///
/// # Errors
/// When a layer is missing or the kernel refuses the overlay.
pub fn open_in_layers(layers: &[PathBuf], path: &Path) -> io::Result<Option<OwnedFd>> {
    let root = match layers {
        [] => return Ok(None),
        [layer] => rustix::fs::open(layer, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?,
        layers => overlay(layers)?,
    };
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    match openat2(&root, path, flags, Mode::empty(), ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS) {
        Ok(folder) => Ok(Some(folder)),
        // Nothing there, something that is no folder, or links that lead nowhere: an empty folder in the container.
        Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

fn overlay(layers: &[PathBuf]) -> Result<OwnedFd, Errno> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    // One by one (Linux 6.7): no limit of a page, and no escaping. Older kernels take the list in one string.
    let one_by_one = layers.iter().try_for_each(|layer| fsconfig_set_string(&context, "lowerdir+", layer.as_path()));
    let context = match one_by_one {
        Ok(()) => context,
        Err(Errno::INVAL) => {
            let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
            fsconfig_set_string(&context, "lowerdir", join(layers))?;
            context
        }
        Err(errno) => return Err(errno),
    };
    fsconfig_create(&context)?;
    let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY | MountAttrFlags::MOUNT_ATTR_NODEV;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// Paths of overlayfs options: `:` and `\` are escaped.
fn join(layers: &[PathBuf]) -> Vec<u8> {
    use std::os::unix::ffi::OsStrExt;
    let mut option = Vec::new();
    for layer in layers {
        if !option.is_empty() {
            option.push(b':');
        }
        for &byte in layer.as_os_str().as_bytes() {
            if matches!(byte, b':' | b'\\') {
                option.push(b'\\');
            }
            option.push(byte);
        }
    }
    option
}
