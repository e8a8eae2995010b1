//! Overlay mounts that are attached nowhere.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen,
};

/// Makes an overlay of `lower` (the topmost first) and, when it is to be written, `upper` and `work`.
///
/// It is gone when the descriptor is closed and nobody has mounted it. What is written to it is on disk only some time
/// later (`volatile`): otherwise its end would wait for everything that the whole file system has yet to write.
///
/// # Errors
/// When a folder is missing, or the file systems cannot be put together this way.
pub fn detached(lower: &[PathBuf], upper: Option<(&Path, &Path)>) -> Result<OwnedFd, Errno> {
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    // One by one (Linux 6.7): no limit of a page, and no escaping. Older kernels take the list in one string.
    let context = match lower.iter().try_for_each(|layer| fsconfig_set_string(&context, "lowerdir+", layer.as_path())) {
        Ok(()) => context,
        Err(Errno::INVAL) => {
            let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
            fsconfig_set_string(&context, "lowerdir", join(lower))?;
            context
        }
        Err(errno) => return Err(errno),
    };
    let mut attributes = MountAttrFlags::MOUNT_ATTR_NODEV;
    if let Some((upper, work)) = upper {
        fsconfig_set_string(&context, "upperdir", upper)?;
        fsconfig_set_string(&context, "workdir", work)?;
        fsconfig_set_flag(&context, "volatile")?;
    } else {
        attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY;
    }
    fsconfig_create(&context)?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// Paths in the options of overlayfs: `:` and `\` are escaped.
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
