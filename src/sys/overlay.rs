//! Overlay mounts that are attached nowhere.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use nix::sched::{CloneFlags, unshare};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MountPropagationFlags, OpenTreeFlags, UnmountFlags,
    fsconfig_create, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, mount, mount_change, open_tree, unmount,
};

/// The root of an image made of `layers` (the topmost first), to be looked at: one layer itself, or an overlay that is
/// mounted nowhere. `None` without layers.
///
/// # Errors
/// When a layer is missing or the kernel refuses the overlay.
pub fn root(layers: &[PathBuf]) -> io::Result<Option<OwnedFd>> {
    use rustix::fs::{Mode, OFlags, open};
    match layers {
        [] => Ok(None),
        [layer] => Ok(Some(open(layer, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)),
        layers => detached(layers, None).map(Some),
    }
}

/// Makes an overlay of `lower` (the topmost first) and, when it is to be written, `upper` and `work`.
///
/// It is gone when the descriptor is closed and nobody has mounted it. What is written to it is on disk only some time
/// later (`volatile`): otherwise its end would wait for everything that the whole file system has yet to write.
///
/// # Errors
/// When a folder is missing, or the file systems cannot be put together this way.
pub fn detached(lower: &[PathBuf], upper: Option<(&Path, &Path)>) -> io::Result<OwnedFd> {
    // fsconfig(2) takes strings of at most 255 bytes.
    let mut paths = lower.iter().map(PathBuf::as_path).chain(upper.iter().flat_map(|(upper, work)| [*upper, *work]));
    if !takes_layers_one_by_one() || paths.any(|path| path.as_os_str().len() > 255) {
        let read_only = if upper.is_some() { MountFlags::empty() } else { MountFlags::RDONLY };
        let options = if upper.is_some() { ",volatile" } else { "" };
        return apart(|| by_option_string(lower, upper, MountFlags::NODEV | read_only, options));
    }
    let context = fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    for layer in lower {
        fsconfig_set_string(&context, "lowerdir+", layer.as_path())?;
    }
    let mut attributes = MountAttrFlags::MOUNT_ATTR_NODEV;
    if let Some((upper, work)) = upper {
        fsconfig_set_string(&context, "upperdir", upper)?;
        fsconfig_set_string(&context, "workdir", work)?;
        fsconfig_set_flag(&context, "volatile")?;
    } else {
        attributes |= MountAttrFlags::MOUNT_ATTR_RDONLY;
    }
    fsconfig_create(&context)?;
    Ok(fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?)
}

/// Whether the kernel knows `lowerdir+` (Linux 6.8). Up to 6.4 it is refused only when the file system is made.
pub fn takes_layers_one_by_one() -> bool {
    static TAKES: LazyLock<bool> = LazyLock::new(|| is_new(&rustix::system::uname().release().to_string_lossy()));
    *TAKES
}

fn is_new(release: &str) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse::<u32>().unwrap_or(0));
    (numbers.next(), numbers.next()) >= (Some(6), Some(8))
}

/// Makes an overlay by `mount(2)` with one option string, `options` at its end. It is at a folder for a moment, so the
/// caller has a mount namespace of its own that shares nothing with the host's.
///
/// The layers are named by descriptor, so that many of them fit into the page that the string may fill, and no path
/// needs escaping.
///
/// # Errors
/// As [`detached`].
pub fn by_option_string(
    lower: &[PathBuf],
    upper: Option<(&Path, &Path)>,
    flags: MountFlags,
    options: &str,
) -> io::Result<OwnedFd> {
    let open = |path: &Path| -> io::Result<OwnedFd> {
        Ok(openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
    };
    let name = |fd: &OwnedFd| format!("/proc/self/fd/{}", fd.as_raw_fd());
    let layers = lower.iter().map(|path| open(path)).collect::<io::Result<Vec<_>>>()?;
    let mut text = format!("lowerdir={}", layers.iter().map(name).collect::<Vec<_>>().join(":"));
    let mut place = lower.first().map(PathBuf::as_path).ok_or(io::ErrorKind::InvalidInput)?;
    let writable = upper.map(|(upper, work)| Ok::<_, io::Error>((open(upper)?, open(work)?))).transpose()?;
    if let (Some((upper_fd, work_fd)), Some((upper, _))) = (&writable, upper) {
        text.push_str(&format!(",upperdir={},workdir={}", name(upper_fd), name(work_fd)));
        place = upper;
    }
    text.push_str(options);
    mount("overlay", place, "overlay", flags, CString::new(text)?.as_c_str())?;
    let clone = open_tree(CWD, place, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC);
    let _ = unmount(place, UnmountFlags::DETACH);
    Ok(clone?)
}

/// Runs something in a thread with a mount namespace of its own, which goes with it.
fn apart<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("mount".into()).spawn_scoped(scope, || {
            unshare(CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_FS)?;
            mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
            work()
        })?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("the thread that mounts has panicked")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_that_take_layers_one_by_one() {
        let old = ["5.10.0-32-cloud-amd64", "6.1.176", "6.7.12"];
        let new = ["6.8.0", "6.12.94+deb13-cloud-amd64", "7.2"];
        assert!(old.iter().all(|release| !is_new(release)) && new.iter().all(|release| is_new(release)));
    }

    #[test]
    fn the_old_way() {
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
        let writable = Some((upper.as_path(), work.as_path()));
        let overlay = apart(|| by_option_string(&lower, writable, MountFlags::empty(), ",index=off")).unwrap();
        let inside = PathBuf::from(format!("/proc/self/fd/{}", overlay.as_raw_fd()));
        std::fs::write(inside.join("new"), "3").unwrap();
        let mut names: Vec<_> = std::fs::read_dir(&inside).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["new", "one", "two"]);
        assert!(path("upper/new").exists());
        // The host sees nothing of it.
        let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
        assert!(!mounts.contains(&folder.path().display().to_string()), "{mounts}");
    }
}
