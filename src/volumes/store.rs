//! All named and anonymous volumes of the data root.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::{fs, io};

use super::driver::{self, DriverMount};
use super::error::VolumeError;
use super::fill::{self, Filled};
use super::folder::{self, Folder};
use super::name;
use super::spec::{FillState, InstallState, VolumeRecord, VolumeSpec};
use crate::state::Paths;
use crate::state::paths::{volume_data, volume_record};
use crate::state::record::{self, Durability, ReadError};
use crate::sys::mountinfo;

/// The volumes below one data root; safe under concurrent commands.
#[derive(Debug, Clone)]
pub struct Store {
    root: PathBuf,
}

/// What [`Store::ensure`] found or made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ensured {
    pub volume: VolumeRecord,
    pub created: bool,
}

impl Store {
    #[must_use]
    pub fn new(paths: &Paths) -> Self {
        Self { root: paths.volumes() }
    }

    /// The folder that a container mounts. It exists once [`Store::ensure`] returned, and holds the volume's files
    /// once [`Store::mount`] did.
    #[must_use]
    pub fn data(&self, name: &str) -> PathBuf {
        volume_data(&self.root.join(name))
    }

    /// Refuses a volume that cannot be made anywhere.
    ///
    /// # Errors
    /// When the name, the driver or an option is wrong.
    pub fn check(spec: &VolumeSpec) -> Result<(), VolumeError> {
        name::check(&spec.name)?;
        if !matches!(spec.driver.as_str(), "" | "local") {
            return Err(VolumeError::Driver { name: spec.name.clone(), driver: spec.driver.clone() });
        }
        DriverMount::parse(&spec.name, &spec.driver_opts).map(drop)
    }

    /// Makes the volume when there is none.
    ///
    /// # Errors
    /// When the name or the options are wrong, an external volume is missing, or the disk refuses.
    pub fn ensure(&self, spec: &VolumeSpec, project: Option<&str>) -> Result<Ensured, VolumeError> {
        if spec.external {
            name::check(&spec.name)?;
            return match self.find(&spec.name)? {
                Some(volume) => Ok(Ensured { volume, created: false }),
                None => Err(VolumeError::ExternalMissing { name: spec.name.clone() }),
            };
        }
        Self::check(spec)?;
        let path = self.root.join(&spec.name);
        let folder = Folder::create(&path).map_err(VolumeError::io("create volume folder", &path))?;
        let known = match record::read::<VolumeRecord>(&folder.record()) {
            // Another version knows what it is; only its files are safe with us.
            Err(error @ ReadError::Newer { .. }) => return Err(error.into()),
            _ => record::read_or_set_aside::<VolumeRecord>(&folder.record())?,
        };
        if let Some(mut volume) = known {
            folder.create_data().map_err(VolumeError::io("create", folder.data()))?;
            // Labels are no reason to lose what a volume holds.
            if volume.project.as_deref() == project && volume.labels != spec.labels {
                volume.labels.clone_from(&spec.labels);
                record::write(&folder.record(), &volume, Durability::Process)?;
            }
            return Ok(Ensured { volume, created: false });
        }
        folder.create_data().map_err(VolumeError::io("create", folder.data()))?;
        let volume = VolumeRecord {
            name: spec.name.clone(),
            key: spec.key.clone(),
            project: project.map(ToOwned::to_owned),
            driver: "local".into(),
            driver_opts: spec.driver_opts.clone(),
            labels: spec.labels.clone(),
            created: jiff::Timestamp::now(),
            // One whose record was lost has what it has.
            fill: if is_empty(&folder.data()) { FillState::Never } else { FillState::Done },
            fill_boot: None,
            install: InstallState::Never,
            install_boot: None,
        };
        // The record comes last: a folder without one is a creation that was interrupted, and is simply finished.
        record::write(&folder.record(), &volume, Durability::Machine)?;
        Ok(Ensured { volume, created: true })
    }

    /// # Errors
    /// When the name is none, or the record cannot be read.
    pub fn find(&self, name: &str) -> Result<Option<VolumeRecord>, VolumeError> {
        name::check(name)?;
        Ok(record::read(&volume_record(&self.root.join(name)))?)
    }

    /// In what a volume that exists and was made for `project` differs from what is wanted now: it would have to be made
    /// anew, with the loss of what it holds.
    #[must_use]
    pub fn divergence(&self, spec: &VolumeSpec, project: &str) -> Option<String> {
        if spec.external {
            return None;
        }
        let volume = self.find(&spec.name).ok()??;
        if volume.project.as_deref() != Some(project) {
            return None;
        }
        let keys: BTreeSet<&String> = volume.driver_opts.keys().chain(spec.driver_opts.keys()).collect();
        let said =
            |options: &BTreeMap<String, String>, key| options.get(key).map_or("(none)", String::as_str).to_owned();
        let changed: Vec<String> = keys
            .into_iter()
            .filter(|key| volume.driver_opts.get(*key) != spec.driver_opts.get(*key))
            .map(|key| {
                format!("driver_opts.{key} {} → {}", said(&volume.driver_opts, key), said(&spec.driver_opts, key))
            })
            .collect();
        (!changed.is_empty()).then(|| changed.join(", "))
    }

    /// Whether there is something for [`Store::remove`]: a volume, or one whose making was interrupted.
    #[must_use]
    pub fn has_begun(&self, name: &str) -> bool {
        name::check(name).is_ok() && self.root.join(name).is_dir()
    }

    /// Deletes what an interrupted removal has left. Best effort.
    pub fn sweep(&self) {
        folder::sweep(&self.root);
    }

    /// All volumes, by name.
    ///
    /// # Errors
    /// When the folder cannot be read. A volume whose record cannot is left out, which is logged.
    pub fn list(&self) -> Result<Vec<VolumeRecord>, VolumeError> {
        let entries = match fs::read_dir(&self.root) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(VolumeError::io("read", &self.root)(error)),
        };
        let mut volumes = Vec::new();
        for entry in entries {
            let entry = entry.map_err(VolumeError::io("read", &self.root))?;
            let name = entry.file_name();
            if name.to_str().is_none_or(|name| name::check(name).is_err()) {
                continue;
            }
            // Removed in the meantime, or not finished yet: not a volume.
            volumes.extend(record::read_if_whole::<VolumeRecord>(&volume_record(&entry.path())));
        }
        volumes.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(volumes)
    }

    /// Removes a volume with all that is in it; `false` when there was none.
    ///
    /// `users` names the containers that use it. It is asked under the volume's lock.
    ///
    /// # Errors
    /// When the volume is in use, something is mounted in it, or the disk refuses.
    pub fn remove(&self, name: &str, users: impl FnOnce() -> Vec<String>) -> Result<bool, VolumeError> {
        name::check(name)?;
        let path = self.root.join(name);
        folder::sweep(&self.root);
        let Some(folder) = Folder::lock(&path).map_err(VolumeError::io("lock", &path))? else { return Ok(false) };
        let users = users();
        if !users.is_empty() {
            return Err(VolumeError::InUse { name: name.to_owned(), users });
        }
        driver::unmount(name, &folder)?;
        // Deleting through a mount would delete files that are not the volume's.
        if let Some(path) = mounted_below(&path).map_err(VolumeError::io("read", "/proc/thread-self/mountinfo"))? {
            return Err(VolumeError::Mounted { name: name.to_owned(), path });
        }
        folder.remove().map_err(VolumeError::io("remove", &path))?;
        Ok(true)
    }

    /// Whether [`Self::remove`] would remove it, as far as can be known without a lock.
    ///
    /// # Errors
    /// When the volume is in use.
    pub fn removable(&self, name: &str, users: impl FnOnce() -> Vec<String>) -> Result<bool, VolumeError> {
        if self.find(name)?.is_none() {
            return Ok(false);
        }
        match users() {
            users if users.is_empty() => Ok(true),
            users => Err(VolumeError::InUse { name: name.to_owned(), users }),
        }
    }

    /// Mounts what the driver options ask for, unless it is mounted already. Nothing to do for a plain volume.
    ///
    /// # Errors
    /// When there is no such volume or the kernel refuses.
    pub fn mount(&self, name: &str) -> Result<(), VolumeError> {
        let (folder, volume) = self.locked(name)?;
        driver::mount(&volume, &folder)
    }

    /// Undoes [`Store::mount`] unless `users` names a container that still uses the volume.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn unmount(&self, name: &str, users: impl FnOnce() -> Vec<String>) -> Result<(), VolumeError> {
        name::check(name)?;
        let path = self.root.join(name);
        let Some(folder) = Folder::lock(&path).map_err(VolumeError::io("lock", &path))? else { return Ok(()) };
        if !folder.is_mounted().unwrap_or(false) || !users().is_empty() {
            return Ok(());
        }
        driver::unmount(name, &folder)
    }

    /// Copies the image's files at the mount point into a volume that is empty and was never filled.
    ///
    /// `source` is the opened folder of the image. Owner and mode of the volume become those of the image's folder.
    ///
    /// # Errors
    /// When there is no such volume, or something cannot be copied; the next call begins again then.
    pub fn fill(&self, name: &str, source: BorrowedFd<'_>) -> Result<Filled, VolumeError> {
        let (folder, volume) = self.locked(name)?;
        fill::fill(&folder, volume, source)
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    pub(super) fn locked(&self, name: &str) -> Result<(Folder, VolumeRecord), VolumeError> {
        name::check(name)?;
        let path = self.root.join(name);
        let missing = || VolumeError::Missing { name: name.to_owned() };
        let folder = Folder::lock(&path).map_err(VolumeError::io("lock", &path))?.ok_or_else(missing)?;
        let volume = record::read(&folder.record())?.ok_or_else(missing)?;
        Ok((folder, volume))
    }
}

fn is_empty(folder: &Path) -> bool {
    fs::read_dir(folder).is_ok_and(|mut entries| entries.next().is_none())
}

/// A mount point at or below `path`, in this mount namespace.
fn mounted_below(path: &Path) -> io::Result<Option<PathBuf>> {
    let path = path.canonicalize()?;
    let table = fs::read("/proc/thread-self/mountinfo")?;
    let points = table.split(|byte| *byte == b'\n').filter_map(|line| line.split(|byte| *byte == b' ').nth(4));
    Ok(points.map(mountinfo::unescape).find(|point| point.starts_with(&path)))
}
