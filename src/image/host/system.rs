//! The system folders that are shown as they are, each by an overlay of its own.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::FileType;
use rustix::io::Errno;

use super::error::HostError;
use super::walk;
use crate::sys::{mountinfo, overlay};

/// Top-level names that hold programs and nothing else. `/opt` is not one: software there keeps its settings, and so
/// its credentials, beside its programs.
pub(super) const SYSTEM: [&str; 9] = ["usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "nix", "gnu"];

/// A folder of the host, to be mounted at the same place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct System {
    pub source: PathBuf,
    pub target: PathBuf,
}

impl System {
    /// `usr-local` for `/usr/local`: a name for the folders that belong to it.
    pub(super) fn name(&self) -> String {
        self.target.to_string_lossy().trim_start_matches('/').replace('/', "-")
    }
}

/// The real folders among [`SYSTEM`], and what is mounted below them, which an overlay would show empty.
pub(super) fn find(root: &Path) -> Result<Vec<System>, HostError> {
    let mut systems = Vec::new();
    let table =
        fs::read("/proc/thread-self/mountinfo").map_err(HostError::io("read", "/proc/thread-self/mountinfo"))?;
    let mut mounted: Vec<PathBuf> = table.split(|byte| *byte == b'\n').filter_map(mount_point).collect();
    mounted.sort();
    mounted.dedup();
    for name in SYSTEM {
        let source = root.join(name);
        let stat = walk::stat(&source).map_err(HostError::io("look at", &source))?;
        if stat.is_none_or(|stat| FileType::from_raw_mode(stat.st_mode) != FileType::Directory) {
            continue;
        }
        let below = mounted.iter().filter(|point| point.starts_with(&source) && **point != source && point.is_dir());
        let below = below.map(|point| System { source: point.clone(), target: in_container(root, point) });
        systems.push(System { target: in_container(root, &source), source: source.clone() });
        systems.extend(below);
    }
    Ok(systems)
}

fn in_container(root: &Path, path: &Path) -> PathBuf {
    Path::new("/").join(path.strip_prefix(root).unwrap_or(path))
}

/// The fifth field, with the kernel's escapes (`\040`) undone. Files and automatic mount points are left out.
fn mount_point(line: &[u8]) -> Option<PathBuf> {
    let mut fields = line.split(|byte| *byte == b' ');
    let field = fields.nth(4)?;
    let kind = fields.skip_while(|field| *field != b"-").nth(1)?;
    if kind == b"autofs" {
        return None;
    }
    Some(mountinfo::unescape(field))
}

/// Makes one overlay for each folder, as a container would, to find out now and in clear words why it cannot.
pub(super) fn probe(folder: &Path, systems: &[System]) -> Result<(), HostError> {
    let (upper, work) = (folder.join("probe/upper"), folder.join("probe/work"));
    for path in [&upper, &work] {
        fs::create_dir_all(path).map_err(HostError::io("create", path))?;
    }
    let probed = systems.iter().try_for_each(|system| {
        match overlay::detached(std::slice::from_ref(&system.source), Some((&upper, &work))) {
            Ok(_) => Ok(()),
            Err(error) => Err(explain(folder, system, error)),
        }
    });
    let _ = fs::remove_dir_all(folder.join("probe"));
    probed
}

fn explain(folder: &Path, system: &System, source: io::Error) -> HostError {
    let errno = source.raw_os_error().map(Errno::from_raw_os_error);
    // What the writable side lies on decides most often.
    let magic = rustix::fs::statfs(folder).map(|found| found.f_type).unwrap_or_default();
    let reason = match magic {
        0x794c_7630 => "the data folder is itself on an overlay (inside a container?); put WINDLASS_HOME on a volume",
        0x6969 => "the data folder is on NFS; put WINDLASS_HOME on a local disk",
        0xf15f => "the data folder is on eCryptfs; put WINDLASS_HOME elsewhere",
        0x6573_5546 => "the data folder is on FUSE; put WINDLASS_HOME on a local disk",
        0x0102_1997 => "the data folder is on 9p; put WINDLASS_HOME on a local disk",
        _ if errno == Some(Errno::NODEV) => "this kernel has no overlayfs (`modprobe overlay`)",
        _ if errno == Some(Errno::PERM) => "only root may mount",
        _ if errno == Some(Errno::INVAL) && on_overlay(&system.source) => {
            return HostError::TooDeep { folder: system.target.clone(), source };
        }
        _ => "the kernel refuses the overlay; its log says more",
    };
    HostError::Unsupported { folder: system.target.clone(), reason: reason.into(), source }
}

fn on_overlay(path: &Path) -> bool {
    rustix::fs::statfs(path).is_ok_and(|found| found.f_type == 0x794c_7630)
}
