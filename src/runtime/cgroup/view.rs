//! `/sys/fs/cgroup` as the container sees it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{Mode, OFlags, mkdirat, symlinkat};
use rustix::mount::MountAttrFlags;

use super::layout::Hierarchy;
use crate::runtime::StartError;
use crate::runtime::error::Step;
use crate::runtime::filesystem::{add_attributes, attach, create};
use crate::runtime::inroot;
use crate::runtime::mounts::mount_below;
use crate::sys::mount::RDONLY;

/// The hierarchies in which a container has a directory.
#[derive(Debug)]
pub(crate) struct Hierarchies {
    pub(super) v1: Vec<Hierarchy>,
    pub(super) unified: bool,
}

const STEP: &str = "mount /sys/fs/cgroup";

impl Hierarchies {
    /// Mounts them below a mounted sysfs. The cgroup namespace decides what is seen.
    pub(crate) fn mount(&self, sys: BorrowedFd<'_>, attributes: MountAttrFlags) -> Result<(), StartError> {
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let Ok(place) = inroot::open_without_links(sys, Path::new("fs/cgroup"), flags) else { return Ok(()) };
        if self.v1.is_empty() {
            if self.unified {
                let mount = create(STEP, "cgroup2", &[], attributes)?;
                attach(&mount, &place).step(|| STEP)?;
            }
            return Ok(());
        }
        let writable = attributes - MountAttrFlags::MOUNT_ATTR_RDONLY;
        let folder = create(STEP, "tmpfs", &[("mode", Some("755"))], writable)?;
        attach(&folder, &place).step(|| STEP)?;
        for hierarchy in &self.v1 {
            let controllers: Vec<_> = hierarchy.controllers.iter().map(|name| (name.as_str(), None)).collect();
            let name = hierarchy.controllers.join(",");
            below(&folder, &name, "cgroup", &controllers, attributes)?;
            if hierarchy.controllers.len() > 1 {
                for controller in &hierarchy.controllers {
                    symlinkat(name.as_str(), &folder, controller.as_str()).step(|| STEP)?;
                }
            }
        }
        if self.unified {
            below(&folder, "unified", "cgroup2", &[], attributes)?;
        }
        if attributes.contains(MountAttrFlags::MOUNT_ATTR_RDONLY) {
            add_attributes(&folder, RDONLY).step(|| STEP)?;
        }
        Ok(())
    }
}

fn below(
    folder: &OwnedFd,
    name: &str,
    kind: &str,
    options: &[(&str, Option<&str>)],
    attributes: MountAttrFlags,
) -> Result<(), StartError> {
    mkdirat(folder, name, Mode::from_raw_mode(0o755)).step(|| STEP)?;
    mount_below(folder.as_fd(), name, STEP, kind, options, attributes).map(drop)
}
