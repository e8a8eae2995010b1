//! The host root file system: this machine's own system files as the root of a container.
//!
//! Overlayfs refuses an upper folder inside its own lower folder, so `/` cannot be a layer. Instead the root is
//!
//! - one layer of our own with the top-level folders, the host's top-level links (`bin -> usr/bin`), an empty `/var`
//!   and a **copy** of what everybody may read in `/etc` ([`snapshot`]), and
//! - an overlay each for `/usr` and, where they are no links, `/bin`, `/sbin`, `/lib*`, `/nix`, `/gnu` ([`system`]),
//!   with a layer on top that hides what not everybody may read there.
//!
//! So a container sees what any user of the machine may read of its programs and their configuration, and nothing of
//! `/home`, `/root`, `/var`, `/srv`, `/opt`, `/mnt`, `/media`, `/boot`, `/run` and `/tmp`. `/etc` is a copy because a
//! layer must not change below a mount, and because a secret that is put there later must not appear.

mod error;
mod snapshot;
mod system;
#[cfg(test)]
mod tests;
mod walk;

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

pub use error::HostError;

use super::config::ImageConfig;
use crate::state::Lock;

/// What an image's configuration would say: a search path and a shell, no command.
#[must_use]
pub fn config() -> ImageConfig {
    ImageConfig {
        env: vec!["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into()],
        shell: Some(vec!["/bin/sh".into(), "-c".into()]),
        ..ImageConfig::default()
    }
}

/// The layers of the host root file system; the same for all containers until the host changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRootfs {
    /// Layers of the root, the topmost first.
    pub lower: Vec<PathBuf>,
    /// Mounted over the root in this order.
    pub overlays: Vec<HostOverlay>,
}

/// A system folder of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostOverlay {
    /// Where it is, on the host and in the container.
    pub target: PathBuf,
    /// The topmost first.
    pub lower: Vec<PathBuf>,
    /// Relative to the container's data folder.
    pub upper: PathBuf,
    /// Relative to the container's data folder.
    pub work: PathBuf,
}

/// Makes the layers, or finds those of an earlier call when nothing changed on the host since.
///
/// `store` is the image store's folder; what is made lies in its `host` folder.
///
/// # Errors
/// When the data root is at a place from which no container can run, or the disk refuses.
pub fn prepare(store: &Path) -> Result<HostRootfs, HostError> {
    prepare_from(Path::new("/"), store)
}

/// The same layers, which need not be there: nothing is made.
///
/// # Errors
/// As [`prepare`].
pub fn foresee(store: &Path) -> Result<HostRootfs, HostError> {
    let root = Path::new("/");
    let canonical = store.canonicalize().unwrap_or_else(|_| store.to_owned());
    let systems = system::find(root)?;
    refuse_inside(&canonical, &systems)?;
    let plan = snapshot::SnapshotLayout::make(root, &systems)?;
    Ok(layers(&plan, &store.join("host").join(plan.fingerprint()), systems))
}

fn prepare_from(root: &Path, store: &Path) -> Result<HostRootfs, HostError> {
    let failed = HostError::io("create", store);
    crate::state::folder::make(store).map_err(failed)?;
    let canonical = store.canonicalize().map_err(HostError::io("find", store))?;
    let systems = system::find(root)?;
    refuse_inside(&canonical, &systems)?;
    let plan = snapshot::SnapshotLayout::make(root, &systems)?;
    let folder = store.join("host").join(plan.fingerprint());
    plan.write(root, &folder, &systems)?;
    Ok(layers(&plan, &folder, systems))
}

fn refuse_inside(data: &Path, systems: &[system::System]) -> Result<(), HostError> {
    match systems.iter().find(|system| data.starts_with(&system.source)) {
        Some(inside) => Err(HostError::DataInside { data: data.to_owned(), folder: inside.source.clone() }),
        None => Ok(()),
    }
}

fn layers(plan: &snapshot::SnapshotLayout, folder: &Path, systems: Vec<system::System>) -> HostRootfs {
    let overlays = systems.into_iter().map(|system| {
        let name = system.name();
        let mask = folder.join("mask").join(&name);
        let lower = if plan.masks(&name) { vec![mask, system.source] } else { vec![system.source] };
        let base = Path::new("host").join(&name);
        HostOverlay { target: system.target, lower, upper: base.join("upper"), work: base.join("work") }
    });
    HostRootfs { overlays: overlays.collect(), lower: vec![folder.join("root")] }
}

/// Removes layers of earlier states of the host that none of `used` (layers of existing containers) lies in; returns
/// how many bytes came free. Those of the present state stay: a command may be about to use them.
///
/// # Errors
/// When something cannot be read or removed.
pub fn prune(store: &Path, used: &[PathBuf]) -> Result<u64, HostError> {
    prune_from(Path::new("/"), store, used)
}

fn prune_from(root: &Path, store: &Path, used: &[PathBuf]) -> Result<u64, HostError> {
    let folder = store.join("host");
    if !folder.is_dir() {
        return Ok(0);
    }
    let _lock = Lock::acquire(&folder.join(".lock")).map_err(HostError::io("lock", folder.join(".lock")))?;
    let current = snapshot::SnapshotLayout::make(root, &system::find(root)?)?;
    let mut freed = 0;
    for entry in fs::read_dir(&folder).map_err(HostError::io("read", &folder))? {
        let path = entry.map_err(HostError::io("read", &folder))?.path();
        let is_current = path.ends_with(current.fingerprint());
        if is_current || !path.is_dir() || used.iter().any(|layer| layer.starts_with(&path)) {
            continue;
        }
        let found = walk::walk(&path).map_err(HostError::io("read", &path))?;
        freed += found.iter().map(|entry| u64::try_from(entry.stat.st_blocks).unwrap_or(0) * 512).sum::<u64>();
        fs::remove_dir_all(&path).map_err(HostError::io("remove", &path))?;
    }
    Ok(freed)
}

/// Makes an upper folder that looks like the topmost lower one (its owner and mode are those of the mount's root), and
/// its work folder.
///
/// # Errors
/// When the disk refuses.
pub fn make_upper(lower: &Path, upper: &Path, work: &Path) -> io::Result<()> {
    let like = fs::metadata(lower)?;
    for folder in [upper, work] {
        crate::state::folder::make(folder)?;
    }
    std::os::unix::fs::chown(upper, Some(like.uid()), Some(like.gid()))?;
    fs::set_permissions(upper, fs::Permissions::from_mode(like.mode() & 0o7777))
}
