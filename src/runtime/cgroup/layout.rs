//! Where the hierarchies of this machine are: v1, hybrid or the unified one alone.

use std::io;
use std::path::{Path, PathBuf};

use crate::sys::mountinfo;

/// The mounted hierarchies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Layout {
    /// Mount point of the unified hierarchy.
    pub(super) unified: Option<PathBuf>,
    /// Controllers that the unified hierarchy has.
    pub(super) unified_controllers: Vec<String>,
    pub(super) v1: Vec<Hierarchy>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Hierarchy {
    pub mount: PathBuf,
    /// More than one when they are mounted together (`cpu,cpuacct`).
    pub controllers: Vec<String>,
}

/// The v1 controllers that a container may need. The others (`perf_event`, `net_cls` ...) limit nothing of ours.
const USED: [&str; 8] = ["cpu", "cpuacct", "cpuset", "memory", "devices", "freezer", "blkio", "pids"];

impl Layout {
    /// Reads the mounts of this process.
    ///
    /// # Errors
    /// When `/proc/self/mountinfo` cannot be read.
    pub fn detect() -> io::Result<Self> {
        let mut layout = Self::parse(&std::fs::read_to_string("/proc/self/mountinfo")?);
        if let Some(unified) = &layout.unified {
            let controllers = std::fs::read_to_string(unified.join("cgroup.controllers")).unwrap_or_default();
            layout.unified_controllers = controllers.split_whitespace().map(str::to_owned).collect();
        }
        Ok(layout)
    }

    fn parse(table: &str) -> Self {
        let mut layout = Self::default();
        for line in table.lines() {
            let Some((left, right)) = line.split_once(" - ") else { continue };
            let (Some(point), mut right) = (left.split(' ').nth(4), right.split(' ')) else { continue };
            let point = mountinfo::unescape(point.as_bytes());
            match (right.next(), right.nth(1)) {
                (Some("cgroup2"), _) if layout.unified.is_none() => layout.unified = Some(point),
                (Some("cgroup"), Some(options)) => {
                    let controllers: Vec<_> =
                        options.split(',').filter(|o| USED.contains(o)).map(str::to_owned).collect();
                    let seen = layout.v1.iter().any(|h| h.controllers == controllers);
                    if !controllers.is_empty() && !seen {
                        layout.v1.push(Hierarchy { mount: point, controllers });
                    }
                }
                _ => {}
            }
        }
        layout
    }

    /// The v1 mount point of a controller.
    pub(super) fn v1_of(&self, controller: &str) -> Option<&Path> {
        let hierarchy = self.v1.iter().find(|h| h.controllers.iter().any(|c| c == controller))?;
        Some(&hierarchy.mount)
    }

    /// Whether the unified hierarchy has the controller.
    pub(super) fn unified_has(&self, controller: &str) -> bool {
        self.unified_controllers.iter().any(|c| c == controller)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hybrid() {
        let layout = Layout::parse(
            "31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755\n\
             32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
             35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory\n\
             40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd\n\
             41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw",
        );
        assert_eq!(layout.unified.as_deref(), Some(Path::new("/sys/fs/cgroup/unified")));
        assert_eq!(layout.v1_of("cpuacct"), Some(Path::new("/sys/fs/cgroup/cpu,cpuacct")));
        assert_eq!(layout.v1.len(), 2);
    }

    #[test]
    fn unified_alone() {
        let layout = Layout::parse("30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate");
        assert_eq!(layout.unified.as_deref(), Some(Path::new("/sys/fs/cgroup")));
        assert!(layout.v1.is_empty());
    }
}
