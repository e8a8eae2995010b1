//! Volumes of packages: what a command in a container has installed, all of it or nothing.

use std::fs;
use std::io::{self, BufRead};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::error::VolumeError;
use super::spec::{InstallState, VolumeRecord};
use super::store::Store;
use crate::state::process;
use crate::state::record::{self, Durability};
use crate::sys::regular;

/// Label of a volume of packages: the files that say what is in it.
pub const LABEL: &str = "windlass.install";

/// The name of a project's volume of packages, by what they depend on.
#[must_use]
pub fn name(project: &str, key: &str) -> String {
    format!("{project}_install-{key}")
}

/// SHA-256 of a regular file.
///
/// # Errors
/// When it cannot be read.
pub fn digest(path: &Path) -> io::Result<String> {
    let mut reader = io::BufReader::with_capacity(1 << 16, regular::open(path)?);
    let mut hasher = Sha256::new();
    loop {
        let read = reader.fill_buf()?;
        if read.is_empty() {
            return Ok(hex::encode(hasher.finalize()));
        }
        hasher.update(read);
        let length = read.len();
        reader.consume(length);
    }
}

impl Store {
    /// Whether all packages of a volume are there.
    #[must_use]
    pub fn is_installed(&self, name: &str) -> bool {
        let Ok(Some(volume)) = self.find(name) else { return false };
        match volume.install {
            InstallState::Synced => true,
            // The machine may have gone down before all of it was on the disk.
            InstallState::Done => volume.install_boot.is_some() && volume.install_boot == process::boot_id().ok(),
            InstallState::Never | InstallState::Started => false,
        }
    }

    /// Empties a volume for an install that begins now. With `open` whoever runs in a container may write to it.
    ///
    /// # Errors
    /// When there is no such volume, or the disk refuses.
    pub fn begin_install(&self, name: &str, open: bool) -> Result<(), VolumeError> {
        let (folder, volume) = self.locked(name)?;
        let started = VolumeRecord { install: InstallState::Started, install_boot: None, ..volume };
        record::write(&folder.record(), &started, Durability::Process)?;
        let data = folder.data();
        folder.empty_data().map_err(VolumeError::io("empty", &data))?;
        if open {
            fs::set_permissions(&data, fs::Permissions::from_mode(0o777))
                .map_err(VolumeError::io("set the mode of", &data))?;
        }
        Ok(())
    }

    /// All packages are there.
    ///
    /// # Errors
    /// When there is no such volume, or the disk refuses.
    pub fn finish_install(&self, name: &str) -> Result<(), VolumeError> {
        let (folder, volume) = self.locked(name)?;
        let done = VolumeRecord { install: InstallState::Done, install_boot: process::boot_id().ok(), ..volume };
        Ok(record::write(&folder.record(), &done, Durability::Process)?)
    }

    /// Brings the packages to the disk, which may take seconds: from then on they outlive a crash of the machine.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn sync_install(&self, name: &str) -> Result<(), VolumeError> {
        let data = self.data(name);
        let file = fs::File::open(&data).map_err(VolumeError::io("open", &data))?;
        rustix::fs::syncfs(&file).map_err(|errno| VolumeError::io("write to the disk", &data)(errno.into()))?;
        let (folder, volume) = self.locked(name)?;
        if volume.install != InstallState::Done {
            return Ok(());
        }
        let synced = VolumeRecord { install: InstallState::Synced, ..volume };
        Ok(record::write(&folder.record(), &synced, Durability::Process)?)
    }

    /// A project's volumes of packages, also those whose making was interrupted.
    #[must_use]
    pub fn packages_of(&self, project: &str) -> Vec<String> {
        let prefix = name(project, "");
        let Ok(entries) = fs::read_dir(self.root()) else { return Vec::new() };
        let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
        names
            .filter(|name| name.starts_with(&prefix))
            .filter(|name| match self.find(name) {
                Ok(Some(volume)) => volume.project.as_deref() == Some(project) && volume.labels.contains_key(LABEL),
                Ok(None) => true,
                Err(_) => false,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Paths;
    use crate::volumes::VolumeSpec;

    #[test]
    fn packages_are_all_there_or_none() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::new(&Paths::from_home(Some(home.path())));
        let name = name("shop", "1");
        let spec = VolumeSpec {
            name: name.clone(),
            key: String::new(),
            driver: "local".into(),
            driver_opts: Default::default(),
            labels: [(LABEL.to_owned(), "uv.lock".to_owned())].into(),
            external: false,
        };
        store.ensure(&spec, Some("shop")).unwrap();
        assert!(!store.is_installed(&name));
        store.begin_install(&name, true).unwrap();
        fs::write(store.data(&name).join("half"), "").unwrap();
        assert!(!store.is_installed(&name));
        store.begin_install(&name, false).unwrap();
        assert_eq!(fs::read_dir(store.data(&name)).unwrap().count(), 0);
        store.finish_install(&name).unwrap();
        assert!(store.is_installed(&name));
        // Another boot, before and after all was on the disk.
        let record = home.path().join("data/volumes").join(&name).join("volume.json");
        let text = fs::read_to_string(&record).unwrap();
        let boot = process::boot_id().unwrap();
        fs::write(&record, text.replace(&boot, "another")).unwrap();
        assert!(!store.is_installed(&name));
        store.sync_install(&name).unwrap();
        assert!(store.is_installed(&name));
        fs::create_dir(home.path().join("data/volumes/shop_install-begun")).unwrap();
        store
            .ensure(&VolumeSpec { name: "shop_install-own".into(), labels: Default::default(), ..spec }, Some("shop"))
            .unwrap();
        let mut found = store.packages_of("shop");
        found.sort();
        assert_eq!(found, ["shop_install-1", "shop_install-begun"]);
        assert!(store.packages_of("other").is_empty());
    }
}
