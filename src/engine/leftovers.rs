//! What projects have left behind that nobody keeps any more: their processes were killed, their records are gone.
//! `down` finds what is left of a project whose name is known; this finds the rest, by the ids in the kernel's objects.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::{fs, io};

use crate::keeper;
use crate::network::{self, NetworkError};
use crate::record::inventory;
use crate::runtime::cgroup::{ControlGroup, Layout};
use crate::state::record::ReadError;
use crate::state::{Lock, Paths, ProjectPaths};

/// Why it cannot be cleaned.
#[derive(Debug, thiserror::Error)]
pub enum LeftoverError {
    #[error(transparent)]
    Network(#[from] NetworkError),
    #[error("{0}")]
    Record(#[from] ReadError),
    #[error("cannot {action}")]
    Io { action: String, source: io::Error },
}

impl LeftoverError {
    fn io(action: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let action = action.into();
        move |source| Self::Io { action, source }
    }
}

/// Where the groups of all projects are.
const CGROUPS: &str = "windlass";

/// Removes leftovers; answers with what was removed, in words.
///
/// # Errors
/// When something cannot be read or removed.
pub fn remove(paths: &Paths) -> Result<Vec<String>, LeftoverError> {
    let layout = Layout::detect().map_err(LeftoverError::io("find the control groups"))?;
    let mut removed = Vec::new();
    for id in dead(paths, &layout)? {
        let group = ControlGroup::new(&layout, &format!("{CGROUPS}/{id}"));
        // Somebody whom we cannot see: in another pid namespace, or just beginning.
        if !group.is_deserted() || kept(paths)?.contains(&id) {
            continue;
        }
        network::remove_leftovers(paths, &id)?;
        group.remove().map_err(LeftoverError::io(format!("remove the control group of project {id}")))?;
        removed.push(format!("kernel objects of project {id}"));
    }
    let aside = network::discard_damaged(paths)?;
    if aside > 0 {
        removed.push(format!("{aside} leases of networks that could not be read"));
    }
    for name in stale_folders(paths)? {
        let project = paths.project(&name);
        let Ok(Some(lock)) = Lock::try_acquire(&project.lock()) else { continue };
        // Under the lock, nobody begins.
        if is_kept(&project) {
            continue;
        }
        for folder in [project.run(), project.data()] {
            match fs::remove_dir_all(folder) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    return Err(LeftoverError::io(format!("remove {}", folder.display()))(error));
                }
                _ => {}
            }
        }
        lock.remove().map_err(LeftoverError::io("remove a lock"))?;
        removed.push(format!("folders of project {name}"));
    }
    Ok(removed)
}

/// What [`remove`] would remove, in words.
///
/// # Errors
/// When something cannot be read.
pub fn find(paths: &Paths) -> Result<Vec<String>, LeftoverError> {
    let layout = Layout::detect().map_err(LeftoverError::io("find the control groups"))?;
    let is_deserted = |id: &String| ControlGroup::new(&layout, &format!("{CGROUPS}/{id}")).is_deserted();
    let ids = dead(paths, &layout)?.into_iter().filter(is_deserted);
    let objects = ids.map(|id| format!("kernel objects of project {id}"));
    Ok(objects.chain(stale_folders(paths)?.into_iter().map(|name| format!("folders of project {name}"))).collect())
}

/// Ids of projects that have something in the kernel, and that nobody keeps.
fn dead(paths: &Paths, layout: &Layout) -> Result<Vec<String>, LeftoverError> {
    let mut ids = network::projects(paths)?;
    let groups = ControlGroup::new(layout, CGROUPS).children();
    ids.extend(groups.into_iter().filter(|name| network::is_project_id(name)));
    // Looked at after what there is: whoever made something before we looked is seen now.
    let kept = kept(paths)?;
    Ok(ids.difference(&kept).cloned().collect())
}

/// Ids of the projects that somebody keeps, of whatever home, and of those of this home that have containers: their
/// next `up` or `down` wants what there is.
fn kept(paths: &Paths) -> Result<BTreeSet<String>, LeftoverError> {
    let mut ids: BTreeSet<String> = supervised();
    // Networks that somebody made for any project.
    ids.insert(paths.no_project().id().to_owned());
    for name in inventory::projects(paths)? {
        let project = paths.project(&name);
        if is_kept(&project) {
            ids.insert(project.id().to_owned());
        }
    }
    Ok(ids)
}

/// Whether somebody keeps it, or will want what there is. What cannot be read is somebody's too.
fn is_kept(project: &ProjectPaths) -> bool {
    !matches!(keeper::find(project), Ok(None)) || inventory::containers(project).map_or(true, |found| !found.is_empty())
}

/// Of every keeper and supervisor of the machine: their arguments are role, data root, run root, project.
fn supervised() -> BTreeSet<String> {
    let mut ids = BTreeSet::new();
    for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let Ok(text) = fs::read(entry.path().join("cmdline")) else { continue };
        let arguments: Vec<&[u8]> = text.split(|byte| *byte == 0).filter(|argument| !argument.is_empty()).collect();
        let Some(role) = arguments.first() else { continue };
        if *role != keeper::ROLE.as_bytes() && *role != keeper::SUPERVISOR_ROLE.as_bytes() {
            continue;
        }
        if let [.., data, run, project] = arguments[..] {
            let path = |bytes: &[u8]| PathBuf::from(OsString::from_vec(bytes.to_vec()));
            let paths = Paths::new(path(data), path(run));
            ids.insert(paths.project(&String::from_utf8_lossy(project)).id().to_owned());
        }
    }
    ids
}

/// Projects of this home that have folders, but neither a container nor a keeper.
fn stale_folders(paths: &Paths) -> Result<BTreeSet<String>, LeftoverError> {
    let mut names: BTreeSet<String> = inventory::projects(paths)?.into_iter().collect();
    names.extend(inventory::begun(paths)?);
    let mut stale = BTreeSet::new();
    for name in names {
        let project = paths.project(&name);
        if !is_kept(&project) {
            stale.insert(name);
        }
    }
    Ok(stale)
}
