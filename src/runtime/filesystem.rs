//! New file systems as detached mounts.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, StatVfsMountFlags, fstatvfs, openat};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
    fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount_change, mount_remount, move_mount,
    open_tree,
};

use crate::runtime::StartError;
use crate::sys::fault;
use crate::sys::mount::{NODEV, NOEXEC, NOSUID, RDONLY, mount_setattr};
use crate::sys::mountinfo;
use crate::sys::overlay::{by_option_string, takes_layers_one_by_one};

/// Makes a file system and a mount of it that is nowhere yet. An option without a value is a flag; the option `source`
/// is what `/proc/mounts` names first, its kind when it is not given.
pub(super) fn create(
    step: &str,
    kind: &str,
    options: &[(&str, Option<&str>)],
    attributes: MountAttrFlags,
) -> Result<OwnedFd, StartError> {
    let failed = |error: rustix::io::Errno| StartError::io(step, &error.into());
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).map_err(failed)?;
    if !options.iter().any(|(key, _)| *key == "source") {
        let name = if kind == "cgroup2" { "cgroup" } else { kind };
        fsconfig_set_string(&context, "source", name).map_err(|error| explain(step, &context, error))?;
    }
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

/// An overlay of read-only layers (the topmost first) and, when it is writable, an upper and a work directory. Without
/// these it must be attached read-only.
pub(super) fn overlay(step: &str, lower: &[PathBuf], writable: Option<(&Path, &Path)>) -> Result<OwnedFd, StartError> {
    let failed = |error: rustix::io::Errno| StartError::io(step, &error.into());
    if let ([only], None) = (lower, writable) {
        // The kernel wants two layers at least; one alone is a bind, which the caller attaches read-only.
        return clone_tree(rustix::fs::CWD, only, false).map_err(|error| StartError::io(step, &error));
    }
    for folder in lower.iter().map(PathBuf::as_path).chain(writable.iter().flat_map(|(u, w)| [*u, *w])) {
        if !folder.is_dir() {
            return Err(StartError::new(step, format!("the folder {} is missing", folder.display())));
        }
    }
    if !takes_layers_one_by_one() {
        return overlay_by_string(step, lower, writable);
    }
    // fsconfig(2) takes strings of at most 255 bytes.
    let mut paths = lower.iter().map(PathBuf::as_path).chain(writable.iter().flat_map(|(upper, work)| [*upper, *work]));
    if paths.any(|path| path.as_os_str().len() > 255) {
        return overlay_by_string(step, lower, writable);
    }
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC).map_err(failed)?;
    fsconfig_set_string(&context, "source", "overlay").map_err(|error| explain(step, &context, error))?;
    for layer in lower {
        fsconfig_set_string(&context, "lowerdir+", layer.as_path()).map_err(|error| explain(step, &context, error))?;
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

/// The caller is in the container's mount namespace.
fn overlay_by_string(step: &str, lower: &[PathBuf], writable: Option<(&Path, &Path)>) -> Result<OwnedFd, StartError> {
    by_option_string(lower, writable, MountFlags::empty(), ",index=off").map_err(|error| StartError::io(step, &error))
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
    Ok(fault::around("mount", || move_mount(mount, c"", target, c"", flags))?)
}

/// The same with attributes (`MOUNT_ATTR_*`) added to it, and `recursive`ly to the mounts below it.
pub(super) fn attach_with(mount: impl AsFd, target: impl AsFd, set: u64, recursive: bool) -> io::Result<()> {
    match mount_setattr(&mount, recursive, set, 0, 0) {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => {
            attach(&mount, target)?;
            remount(&mount, set)?;
            if recursive { remount_below(&mount, set) } else { Ok(()) }
        }
        other => other.and_then(|()| attach(mount, target)),
    }
}

/// Adds attributes to a mount that is attached.
pub(super) fn add_attributes(mount: impl AsFd, set: u64) -> io::Result<()> {
    match mount_setattr(&mount, false, set, 0, 0) {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => remount(mount, set),
        other => other,
    }
}

/// Sets the propagation (`MS_*`) of a mount.
pub(super) fn set_propagation(mount: impl AsFd, recursive: bool, propagation: u64) -> io::Result<()> {
    match mount_setattr(&mount, recursive, 0, 0, propagation) {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => {
            let recursive = if recursive { MountPropagationFlags::REC } else { MountPropagationFlags::empty() };
            let flags = MountPropagationFlags::from_bits_truncate(propagation as _) | recursive;
            Ok(mount_change(path_of(&mount), flags)?)
        }
        other => other,
    }
}

/// Every mount below an attached one, for kernels that do not do it by themselves.
fn remount_below(mount: impl AsFd, set: u64) -> io::Result<()> {
    let top = std::fs::read_link(path_of(&mount))?;
    for line in std::fs::read("/proc/thread-self/mountinfo")?.split(|byte| *byte == b'\n') {
        let Some(place) = line.split(|byte| *byte == b' ').nth(4).map(mountinfo::unescape) else { continue };
        if place.starts_with(&top) && place != top {
            remount(openat(CWD, &place, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?, set)?;
        }
    }
    Ok(())
}

/// Before Linux 5.12 only an attached mount takes attributes, and those below it do not follow.
fn remount(mount: impl AsFd, set: u64) -> io::Result<()> {
    let known = fstatvfs(&mount)?.f_flag;
    let mut flags = MountFlags::BIND;
    for (attribute, has, flag) in [
        (RDONLY, StatVfsMountFlags::RDONLY, MountFlags::RDONLY),
        (NOSUID, StatVfsMountFlags::NOSUID, MountFlags::NOSUID),
        (NODEV, StatVfsMountFlags::NODEV, MountFlags::NODEV),
        (NOEXEC, StatVfsMountFlags::NOEXEC, MountFlags::NOEXEC),
    ] {
        if set & attribute != 0 || known.contains(has) {
            flags |= flag;
        }
    }
    for (has, flag) in [
        (StatVfsMountFlags::NOATIME, MountFlags::NOATIME),
        (StatVfsMountFlags::NODIRATIME, MountFlags::NODIRATIME),
        (StatVfsMountFlags::RELATIME, MountFlags::RELATIME),
    ] {
        if known.contains(has) {
            flags |= flag;
        }
    }
    Ok(mount_remount(path_of(&mount), flags, c"")?)
}

/// For the old calls, which know only paths. `/proc` is the host's or ours, at any time.
fn path_of(file: impl AsFd) -> String {
    format!("/proc/self/fd/{}", file.as_fd().as_raw_fd())
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

#[cfg(test)]
mod tests {
    use super::*;

    /// In a thread with a mount namespace of its own, which goes with it.
    #[test]
    fn the_old_way_to_add_attributes() {
        assert!(rustix::process::geteuid().is_root(), "this test mounts: run it as root");
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().to_owned();
        std::thread::spawn(move || {
            let flags = nix::sched::CloneFlags::CLONE_NEWNS | nix::sched::CloneFlags::CLONE_FS;
            nix::sched::unshare(flags).unwrap();
            mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
            let mount = create("mount", "tmpfs", &[], MountAttrFlags::empty()).unwrap();
            attach(&mount, std::fs::File::open(&place).unwrap()).unwrap();
            std::fs::write(place.join("new"), "3").unwrap();
            let below = place.join("a folder below");
            std::fs::create_dir(&below).unwrap();
            let other = create("mount", "tmpfs", &[], MountAttrFlags::empty()).unwrap();
            attach(&other, std::fs::File::open(&below).unwrap()).unwrap();
            remount(&mount, RDONLY | NOEXEC).unwrap();
            assert!(std::fs::write(place.join("later"), "").is_err());
            assert!(std::fs::write(below.join("later"), "").is_ok());
            remount_below(&mount, RDONLY).unwrap();
            assert!(std::fs::write(below.join("later"), "").is_err());
            assert_eq!(std::fs::read(place.join("new")).unwrap(), b"3");
        })
        .join()
        .unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
