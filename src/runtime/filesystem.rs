//! New file systems as detached mounts.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, OpenTreeFlags, fsconfig_create, fsconfig_set_flag,
    fsconfig_set_string, fsmount, fsopen, move_mount, open_tree,
};

use crate::runtime::StartError;

/// Makes a file system and a mount of it that is nowhere yet. An option without a value is a flag.
pub(super) fn create(
    step: &str,
    kind: &str,
    options: &[(&str, Option<&str>)],
    attributes: MountAttrFlags,
) -> Result<OwnedFd, StartError> {
    let failed = |error: rustix::io::Errno| StartError::io(step, &error.into());
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).map_err(failed)?;
    for (key, value) in options {
        match value {
            Some(value) => fsconfig_set_string(&context, *key, *value),
            None => fsconfig_set_flag(&context, *key),
        }
        .map_err(|error| explain(step, &context, error))?;
    }
    fsconfig_create(&context).map_err(|error| explain(step, &context, error))?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).map_err(|error| explain(step, &context, error))
}

/// An overlay of read-only layers (the topmost first) and, when it is writable, an upper and a work directory.
pub(super) fn overlay(step: &str, lower: &[PathBuf], writable: Option<(&Path, &Path)>) -> Result<OwnedFd, StartError> {
    let failed = |error: rustix::io::Errno| StartError::io(step, &error.into());
    if let ([only], None) = (lower, writable) {
        // The kernel wants two layers at least; one alone is a read-only bind.
        let mount = clone_tree(rustix::fs::CWD, only, false).map_err(|error| StartError::io(step, &error))?;
        set_attributes(&mount, true, crate::sys::mount::RDONLY, 0).map_err(|error| StartError::io(step, &error))?;
        return Ok(mount);
    }
    for folder in lower.iter().map(PathBuf::as_path).chain(writable.iter().flat_map(|(u, w)| [*u, *w])) {
        if !folder.is_dir() {
            return Err(StartError::new(step, format!("the folder {} is missing", folder.display())));
        }
    }
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).map_err(failed)?;
    for layer in lower {
        if let Err(error) = fsconfig_set_string(&context, "lowerdir+", layer.as_path()) {
            // Linux before 6.8 takes all layers as one string.
            if error == rustix::io::Errno::INVAL {
                return overlay_by_string(step, lower, writable);
            }
            return Err(explain(step, &context, error));
        }
    }
    if let Some((upper, work)) = writable {
        fsconfig_set_string(&context, "upperdir", upper).map_err(|error| explain(step, &context, error))?;
        fsconfig_set_string(&context, "workdir", work).map_err(|error| explain(step, &context, error))?;
    }
    // With an index the kernel refuses an upper directory that was used with other layers, as after a new pull.
    let _ = fsconfig_set_string(&context, "index", "off");
    fsconfig_create(&context).map_err(|error| explain(step, &context, error))?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
        .map_err(|error| explain(step, &context, error))
}

/// `mount(2)` with one option string. The layers are named by descriptor, so that many of them fit into the page that
/// the string may fill, and no path needs escaping.
fn overlay_by_string(step: &str, lower: &[PathBuf], writable: Option<(&Path, &Path)>) -> Result<OwnedFd, StartError> {
    use rustix::fs::{CWD, Mode, OFlags, openat};
    use std::os::fd::AsRawFd;
    let failed = |error: io::Error| StartError::io(step, &error);
    let open = |path: &Path| -> io::Result<OwnedFd> {
        Ok(openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
    };
    let name = |fd: &OwnedFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
    let layers = lower.iter().map(|path| open(path)).collect::<io::Result<Vec<_>>>().map_err(failed)?;
    let mut options = format!("lowerdir={}", layers.iter().map(name).collect::<Vec<_>>().join(":"));
    let mut place = lower.first().cloned().unwrap_or_default();
    let mut held = Vec::new();
    if let Some((upper, work)) = writable {
        let (upper_fd, work_fd) = (open(upper).map_err(failed)?, open(work).map_err(failed)?);
        options.push_str(&format!(",upperdir={},workdir={}", name(&upper_fd), name(&work_fd)));
        held.extend([upper_fd, work_fd]);
        place = upper.to_owned();
    }
    options.push_str(",index=off");
    let options = std::ffi::CString::new(options).map_err(|error| StartError::new(step, error.to_string()))?;
    // Mounted at a folder of this (private) mount namespace for a moment, to be cloned from there.
    rustix::mount::mount("overlay", &place, "overlay", rustix::mount::MountFlags::empty(), options.as_c_str())
        .map_err(|error| failed(error.into()))?;
    let mount = clone_tree(rustix::fs::CWD, &place, false);
    let _ = rustix::mount::unmount(&place, rustix::mount::UnmountFlags::DETACH);
    mount.map_err(failed)
}

/// A detached copy of the mount at a path.
pub(super) fn clone_tree(at: BorrowedFd<'_>, path: &Path, recursive: bool) -> io::Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if path.as_os_str().is_empty() {
        flags |= OpenTreeFlags::AT_EMPTY_PATH;
    }
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    Ok(open_tree(at, path, flags)?)
}

/// Puts a detached mount onto an open (`O_PATH`) directory or file.
pub(super) fn attach(mount: impl AsFd, target: impl AsFd) -> io::Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    Ok(move_mount(mount, c"", target, c"", flags)?)
}

/// Sets mount attributes and propagation (`MS_*`, 0 to leave it).
pub(super) fn set_attributes(mount: impl AsFd, recursive: bool, set: u64, propagation: u64) -> io::Result<()> {
    crate::sys::mount::mount_setattr(mount, recursive, set, 0, propagation)
}

/// The error with what the kernel wrote about it into the context.
fn explain(step: &str, context: impl AsFd, error: rustix::io::Errno) -> StartError {
    let mut result = StartError::io(step, &error.into());
    let mut buffer = [0; 512];
    while let Ok(length) = rustix::io::read(&context, &mut buffer) {
        let text = String::from_utf8_lossy(&buffer[..length]);
        if let Some(message) = text.trim_end().strip_prefix("e ") {
            result.detail.push_str(&format!(" ({message})"));
        }
        if length == 0 {
            break;
        }
    }
    result
}

/// Whether a path is absolute and has no NUL, so that it can be given to the kernel.
pub(super) fn is_valid(path: &Path) -> bool {
    path.is_absolute() && !path.as_os_str().as_bytes().contains(&0)
}
