//! Which container has a name. Names are unique among the containers of all projects, and the containers' own records
//! say who has which: there is nothing beside them that could be wrong.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::error::{Holder, SupervisorError};
use super::project::Project;
use crate::record::ContainerRecord;
use crate::state::record::{self, Record};
use crate::state::{Lock, Paths};

/// A folder that was changed less than this before it was read may change again without another time of change.
const COARSE: Duration = Duration::from_secs(1);

/// What of a record says whose container it is.
#[derive(Serialize, Deserialize)]
struct Named {
    name: String,
    service: String,
}

impl Record for Named {
    const VERSION: u32 = ContainerRecord::VERSION;
}

/// The containers of other projects, read again where something has changed.
#[derive(Debug, Default)]
pub(super) struct Names {
    known: BTreeMap<String, (SystemTime, Vec<Holder>)>,
}

impl Names {
    fn holder(&mut self, paths: &Paths, except: &str, name: &str) -> Option<Holder> {
        let projects = fs::read_dir(paths.projects()).ok()?.flatten();
        for project in projects.filter_map(|entry| entry.file_name().into_string().ok()) {
            if project == except {
                continue;
            }
            let folder = paths.project(&project);
            let found = self.of_project(paths, &project).into_iter().find(|holder| holder.name == name);
            // It may have been removed since.
            if let Some(holder) = found.filter(|holder| folder.container(&holder.id).record().exists()) {
                return Some(holder);
            }
        }
        None
    }

    fn of_project(&mut self, paths: &Paths, project: &str) -> Vec<Holder> {
        let Ok(changed) = fs::metadata(paths.project(project).containers()).and_then(|found| found.modified()) else {
            return Vec::new();
        };
        if let Some((at, holders)) = self.known.get(project)
            && *at == changed
        {
            return holders.clone();
        }
        let holders = holders(paths, project);
        if changed.elapsed().is_ok_and(|age| age > COARSE) {
            self.known.insert(project.to_owned(), (changed, holders.clone()));
        }
        holders
    }
}

/// The container of any project but `except` that has this name.
#[must_use]
pub fn holder_elsewhere(paths: &Paths, except: &str, name: &str) -> Option<Holder> {
    Names::default().holder(paths, except, name)
}

/// The containers of a project whose records can be read: a damaged one keeps no name from anybody.
pub(super) fn holders(paths: &Paths, project: &str) -> Vec<Holder> {
    let places = paths.project(project);
    let Ok(entries) = fs::read_dir(places.containers()) else { return Vec::new() };
    let ids = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
    ids.filter_map(|id| {
        let Named { name, service } = record::read(&places.container(&id).record()).ok()??;
        Some(Holder { project: project.to_owned(), id, name, service })
    })
    .collect()
}

impl Project {
    /// The container of another project that has this name.
    #[must_use]
    pub fn holder_elsewhere(&self, name: &str) -> Option<Holder> {
        self.inner.names.borrow_mut().holder(&self.inner.paths, self.inner.project.name(), name)
    }

    /// Nobody else takes the name for as long as what comes back is kept: until the container's record is written.
    pub(super) fn claim_name(&self, name: &str) -> Result<Lock, SupervisorError> {
        let path = self.inner.paths.names_lock();
        let lock = Lock::acquire(&path).map_err(SupervisorError::io("lock", path))?;
        match self.holder_elsewhere(name) {
            None => Ok(lock),
            Some(holder) => Err(SupervisorError::NameTaken { name: name.to_owned(), holder }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn put(paths: &Paths, project: &str, id: &str, text: &str) {
        let record = paths.project(project).container(id).record();
        fs::create_dir_all(record.parent().unwrap()).unwrap();
        fs::write(record, text).unwrap();
    }

    fn make_old(folder: &Path) {
        let at = SystemTime::now() - Duration::from_secs(60);
        fs::File::open(folder).unwrap().set_modified(at).unwrap();
    }

    #[test]
    fn records_alone_say_who_has_a_name() {
        let home = tempfile::tempdir().unwrap();
        let paths = Paths::from_home(Some(home.path()));
        let mut names = Names::default();
        assert_eq!(names.holder(&paths, "shop", "db"), None);
        put(&paths, "shop", "a", r#"{"version":1,"name":"db","service":"db"}"#);
        put(&paths, "torn", "b", "{");
        assert_eq!(names.holder(&paths, "shop", "db"), None, "the project's own, and one that nobody can read");
        put(&paths, "blog", "c", r#"{"version":1,"name":"db","service":"store"}"#);
        let holder = names.holder(&paths, "shop", "db").unwrap();
        assert_eq!(holder.to_string(), "container c of service store in project blog");
        // What is remembered yields to what is.
        let folder = paths.project("blog").containers();
        make_old(&folder);
        assert!(names.holder(&paths, "shop", "db").is_some());
        fs::remove_file(paths.project("blog").container("c").record()).unwrap();
        assert_eq!(names.holder(&paths, "shop", "db"), None);
        put(&paths, "blog", "d", r#"{"version":1,"name":"db","service":"store"}"#);
        assert_eq!(names.holder(&paths, "shop", "db").unwrap().id, "d");
    }
}
