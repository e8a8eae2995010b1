//! New file systems as detached mounts.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{StatVfsMountFlags, fstatvfs};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags,
    fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount_change, mount_remount, move_mount,
    open_tree,
};

use crate::runtime::StartError;
use crate::sys::mount::{NODEV, NOEXEC, NOSUID, RDONLY, mount_setattr};

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
    // fsconfig(2) takes strings of at most 255 bytes.
    let mut paths = lower.iter().map(PathBuf::as_path).chain(writable.iter().flat_map(|(upper, work)| [*upper, *work]));
    if paths.any(|path| path.as_os_str().len() > 255) {
        return overlay_by_string(step, lower, writable);
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

/// The same with attributes (`MOUNT_ATTR_*`) added to it, and `recursive`ly to the mounts below it.
pub(super) fn attach_with(mount: impl AsFd, target: impl AsFd, set: u64, recursive: bool) -> io::Result<()> {
    match mount_setattr(&mount, recursive, set, 0, 0) {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => {
            attach(&mount, target)?;
            remount(mount, set)
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
            Ok(mount_change(path_of(mount), flags)?)
        }
        other => other,
    }
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
    Ok(mount_remount(path_of(mount), flags, c"")?)
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
    fn the_old_way_to_mount_an_overlay() {
        assert!(rustix::process::geteuid().is_root(), "this test mounts: run it as root");
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        // Characters that the option string would give a meaning to.
        for name in ["a:b", "c,d", "upper", "work"] {
            std::fs::create_dir(path(name)).unwrap();
        }
        std::fs::write(path("a:b").join("one"), "1").unwrap();
        std::fs::write(path("c,d").join("two"), "2").unwrap();
        let (lower, upper, work) = (vec![path("a:b"), path("c,d")], path("upper"), path("work"));
        let names = std::thread::spawn(move || {
            let flags = nix::sched::CloneFlags::CLONE_NEWNS | nix::sched::CloneFlags::CLONE_FS;
            nix::sched::unshare(flags).unwrap();
            mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
            let mount = overlay_by_string("mount", &lower, Some((&upper, &work))).unwrap();
            attach(&mount, std::fs::File::open(&work).unwrap()).unwrap();
            std::fs::write(work.join("new"), "3").unwrap();
            // Attributes too.
            remount(&mount, RDONLY | NOEXEC).unwrap();
            assert!(std::fs::write(work.join("later"), "").is_err());
            let mut names: Vec<_> = std::fs::read_dir(&work).unwrap().map(|e| e.unwrap().file_name()).collect();
            names.sort();
            names
        })
        .join()
        .unwrap();
        assert_eq!(names, ["new", "one", "two"]);
        assert_eq!(std::fs::read_dir(path("upper")).unwrap().count(), 1);
    }
}
