//! What is on disk of a project, for commands that only read: no supervisor is asked.

use std::io;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{ContainerRecord, ContainerState, Status};
use crate::network::spec::EndpointSpec;
use crate::runtime::spec::MountKind;
use crate::state::record::{self, ReadError, Record};
use crate::state::{Paths, ProjectPaths};

/// Names of all projects that have something on disk, sorted.
///
/// # Errors
/// When the folder cannot be read.
pub fn projects(paths: &Paths) -> Result<Vec<String>, ReadError> {
    folders(paths.projects())
}

/// Names of all projects that have a runtime folder, sorted.
///
/// # Errors
/// When the folder cannot be read.
pub fn begun(paths: &Paths) -> Result<Vec<String>, ReadError> {
    folders(paths.running())
}

fn folders(folder: PathBuf) -> Result<Vec<String>, ReadError> {
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        Err(source) => return Err(ReadError::Io { path: folder, source }),
    };
    // Beside the folders are locks.
    let folders = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let mut names: Vec<String> = folders.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    Ok(names)
}

/// All containers of a project, by service and number.
///
/// A container whose record or state is unreadable is an error that names the file; one that is being created or
/// removed at this moment is left out.
///
/// # Errors
/// When a record is damaged or cannot be read.
pub fn containers(paths: &ProjectPaths) -> Result<Vec<ObservedContainer>, ReadError> {
    read(paths, None)
}

/// The same for one service; of the others hardly anything is read.
///
/// # Errors
/// As [`containers`].
pub fn containers_of(paths: &ProjectPaths, service: &str) -> Result<Vec<ObservedContainer>, ReadError> {
    read(paths, Some(service))
}

fn read(paths: &ProjectPaths, service: Option<&str>) -> Result<Vec<ObservedContainer>, ReadError> {
    let folder = paths.containers();
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(vec![]),
        Err(source) => return Err(ReadError::Io { path: folder, source }),
    };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let id = entry.file_name().to_string_lossy().into_owned();
        let container = paths.container(&id);
        if let Some(service) = service
            && record::read::<OfService>(&container.record())?.is_none_or(|of| of.service != service)
        {
            continue;
        }
        let Some(record) = record::read::<ContainerRecord>(&container.record())? else { continue };
        let state = record::read::<ContainerState>(&container.state())?.unwrap_or_else(ContainerState::created);
        found.push(ObservedContainer { record, state });
    }
    found.sort_by(|a, b| (&a.record.service, a.record.number).cmp(&(&b.record.service, b.record.number)));
    Ok(found)
}

/// All containers of a project as its supervisor would take them up: those whose record can be read, and why others cannot;
/// of a damaged state, it is as if it was never started.
#[must_use]
pub fn readable(paths: &ProjectPaths) -> (Vec<ObservedContainer>, Vec<ReadError>) {
    let (mut found, mut faults) = (Vec::new(), Vec::new());
    for entry in std::fs::read_dir(paths.containers()).into_iter().flatten().flatten() {
        let container = paths.container(&entry.file_name().to_string_lossy());
        match record::read::<ContainerRecord>(&container.record()) {
            Ok(Some(record)) => {
                let state = record::read::<ContainerState>(&container.state()).ok().flatten();
                found.push(ObservedContainer { record, state: state.unwrap_or_else(ContainerState::created) });
            }
            Ok(None) => {}
            Err(error) => faults.push(error),
        }
    }
    found.sort_by(|a, b| a.record.name.cmp(&b.record.name));
    (found, faults)
}

/// What tells whose a container is.
#[derive(Serialize, Deserialize)]
struct OfService {
    service: String,
}

impl Record for OfService {
    const VERSION: u32 = ContainerRecord::VERSION;
}

/// Names of the containers of all projects, with the folders of this machine that they mount.
///
/// # Errors
/// When a record is damaged or cannot be read.
pub fn mounted(paths: &Paths) -> Result<Vec<(String, Vec<PathBuf>)>, ReadError> {
    let mut found = Vec::new();
    for project in projects(paths)? {
        for container in containers(&paths.project(&project))? {
            let sources = container.record.spec.mounts.into_iter().filter_map(|mount| match mount.kind {
                MountKind::Bind { source, .. } => Some(source),
                _ => None,
            });
            found.push((container.record.name, sources.collect()));
        }
    }
    Ok(found)
}

/// A container as its records say it is.
#[derive(Debug, Clone)]
pub struct ObservedContainer {
    pub record: ContainerRecord,
    pub state: ContainerState,
}

impl ObservedContainer {
    #[must_use]
    pub fn is_running(&self) -> bool {
        matches!(self.state.status, Status::Running { .. } | Status::Restarting { .. })
    }

    /// Its place in each network that it is to be in by now.
    #[must_use]
    pub fn endpoints(&self) -> Vec<EndpointSpec> {
        self.state.wanted_endpoints(&self.record)
    }

    /// Whether it wants to be restarted when `service` is.
    pub fn restarts_with(&self, service: &str) -> bool {
        self.record.depends_on.iter().any(|needed| needed.restart && needed.service == service)
    }

    pub fn has_ended(&self) -> bool {
        matches!(self.state.status, Status::Exited { .. })
    }

    pub fn completed(&self) -> bool {
        matches!(self.state.status, Status::Exited { exit, .. } if exit.code() == 0)
    }
}
