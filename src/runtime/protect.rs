//! Masked and read-only paths of procfs and sysfs.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags, fstat, openat};
use rustix::io::Errno;
use rustix::mount::MountAttrFlags;

use crate::runtime::StartError;
use crate::runtime::error::Step;
use crate::runtime::filesystem::{attach, attach_with, clone_tree, create};
use crate::runtime::inroot;
use crate::sys::mount::{NODEV, NOEXEC, NOSUID, RDONLY};

/// Docker's list.
const MASKED: [&str; 12] = [
    "proc/acpi",
    "proc/asound",
    "proc/interrupts",
    "proc/kcore",
    "proc/keys",
    "proc/latency_stats",
    "proc/sched_debug",
    "proc/scsi",
    "proc/timer_list",
    "proc/timer_stats",
    "sys/devices/virtual/powercap",
    "sys/firmware",
];

const READ_ONLY: [&str; 5] = ["proc/bus", "proc/fs", "proc/irq", "proc/sys", "proc/sysrq-trigger"];

/// Covers what tells of the machine or of other containers, and makes read-only what changes the machine.
/// `null` is the `/dev/null` that we made: its place in the image's `/dev` may be anything.
pub(super) fn apply(root: BorrowedFd<'_>, null: BorrowedFd<'_>) -> Result<(), StartError> {
    for path in READ_ONLY {
        let step = || format!("make /{path} read-only");
        let Some(place) = find(root, path).step(step)? else { continue };
        let mount = clone_tree(place.as_fd(), Path::new(""), true).step(step)?;
        attach_with(&mount, &place, RDONLY | NOSUID | NODEV | NOEXEC, true).step(step)?;
    }
    // One empty file system serves all masked directories: each more would cost time when the container ends.
    let mut empty: Option<OwnedFd> = None;
    let throttles = (0..).map(|n| format!("sys/devices/system/cpu/cpu{n}/thermal_throttle"));
    let throttles = throttles.take_while(|path| find_any(root, path.trim_end_matches("/thermal_throttle")));
    for path in MASKED.iter().map(|path| (*path).to_owned()).chain(throttles) {
        let step = || format!("mask /{path}");
        let Some(place) = find(root, &path).step(step)? else { continue };
        let kind = FileType::from_raw_mode(fstat(&place).step(step)?.st_mode);
        if kind != FileType::Directory {
            let mount = clone_tree(null, Path::new(""), false).step(step)?;
            attach(&mount, &place).step(step)?;
            continue;
        }
        match &empty {
            Some(mounted) => {
                let mount = clone_tree(mounted.as_fd(), Path::new(""), false).step(step)?;
                attach(&mount, &place).step(step)?;
            }
            None => {
                let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY
                    | MountAttrFlags::MOUNT_ATTR_NOSUID
                    | MountAttrFlags::MOUNT_ATTR_NODEV
                    | MountAttrFlags::MOUNT_ATTR_NOEXEC;
                let options = [("nr_blocks", Some("1")), ("nr_inodes", Some("2"))];
                let mount = create(&step(), "tmpfs", &options, attributes)?;
                attach(&mount, &place).step(step)?;
                empty = Some(mount);
            }
        }
    }
    Ok(())
}

fn find(root: BorrowedFd<'_>, path: &str) -> std::io::Result<Option<OwnedFd>> {
    match inroot::open_without_links(root, Path::new(path), OFlags::PATH) {
        Ok(place) => Ok(Some(place)),
        Err(error)
            if matches!(
                error.raw_os_error().map(Errno::from_raw_os_error),
                Some(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS)
            ) =>
        {
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn find_any(root: BorrowedFd<'_>, path: &str) -> bool {
    matches!(find(root, path), Ok(Some(_)))
}

/// Opens the null device that we made on the tmpfs of `/dev` and makes sure that it is one.
pub(super) fn null_of(dev: BorrowedFd<'_>) -> Result<OwnedFd, StartError> {
    let step = || "open /dev/null";
    let null = openat(dev, "null", OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).step(step)?;
    if is_null(&null).step(step)? { Ok(null) } else { Err(StartError::new(step(), "it is not the null device")) }
}

/// The null device of a `/dev`, to be read and written.
pub(super) fn open_null(dev: &OwnedFd) -> Result<OwnedFd, StartError> {
    let step = || "open the container's /dev/null";
    // What is there is looked at before it is opened: another device might do something then.
    null_of(dev.as_fd())?;
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let null = openat(dev, "null", flags, Mode::empty()).step(step)?;
    if !is_null(&null).step(step)? {
        return Err(StartError::new(step(), "it is not the null device"));
    }
    rustix::fs::fcntl_setfl(&null, OFlags::empty()).step(step)?;
    Ok(null)
}

fn is_null(file: &OwnedFd) -> rustix::io::Result<bool> {
    let found = fstat(file)?;
    let kind = FileType::from_raw_mode(found.st_mode);
    Ok(kind == FileType::CharacterDevice && found.st_rdev == rustix::fs::makedev(1, 3))
}
