//! What the packages of services depend on, as it is on this machine.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::compose::model::{HostRootfs, Project, Service};
use crate::plan::lower::{Fault, Locks, ServiceImage, folder, is_lock};
use crate::volumes::packages::digest;

/// What says which system a machine runs.
const SYSTEM: &str = "/etc/os-release";

/// The lock files of the services that declare an install step, by service.
///
/// # Errors
/// Every service of which there is none, or one that cannot be read.
pub fn locks(
    project: &Project,
    images: &BTreeMap<String, ServiceImage>,
) -> Result<BTreeMap<String, Locks>, Vec<Fault>> {
    let (mut found, mut faults) = (BTreeMap::new(), Vec::new());
    for (name, image) in images {
        let Some(service) = project.services.get(name) else { continue };
        match of_service(name, service, image) {
            Ok(Some(locks)) => _ = found.insert(name.clone(), locks),
            Ok(None) => {}
            Err(fault) => faults.push(fault),
        }
    }
    if faults.is_empty() { Ok(found) } else { Err(faults) }
}

fn of_service(name: &str, service: &Service, image: &ServiceImage) -> Result<Option<Locks>, Fault> {
    let Some(install) = &service.windlass.install else { return Ok(None) };
    let place = format!("services.{name}.x-windlass.install");
    let fault = |path: String, message: String, hint: &str| Fault { path, message, hint: Some(hint.to_owned()) };
    let files: Vec<PathBuf> = if install.lock.is_empty() {
        let nothing = "name the file: `install: { command: …, lock: requirements.txt }`";
        let Some(folder) = folder(service, image) else {
            if install.optional {
                return Ok(None);
            }
            let message = "the folder in which the service works is not mounted from this machine, so there is no lock \
                           file to look at";
            return Err(fault(place, message.to_owned(), nothing));
        };
        let files = known(&folder);
        if files.is_empty() && install.optional {
            return Ok(None);
        }
        if files.is_empty() {
            let message = format!(
                "there is no lock file in {}: no requirements*.txt, uv.lock, package-lock.json or pnpm-lock.yaml",
                folder.display()
            );
            return Err(fault(place, message, nothing));
        }
        files
    } else {
        install.lock.iter().map(PathBuf::from).collect()
    };
    let mut locks = Locks::default();
    if install.optional && files.iter().any(|file| !file.exists()) {
        return Ok(None);
    }
    for file in files {
        let digest = digest(&file).map_err(|error| {
            let path = if install.lock.is_empty() { place.clone() } else { format!("{place}.lock") };
            fault(path, format!("cannot read {}: {error}", file.display()), "it says what the step installs")
        })?;
        locks.files.insert(file, digest);
    }
    if service.windlass.rootfs == Some(HostRootfs::Host) {
        locks.system = digest(Path::new(SYSTEM)).ok();
    }
    Ok(Some(locks))
}

fn known(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let files = entries.flatten().filter(|entry| entry.file_name().to_str().is_some_and(is_lock));
    files.map(|entry| entry.path()).filter(|path| path.is_file()).collect()
}
