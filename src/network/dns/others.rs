//! Names of other projects' containers, from the address leases.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use super::names::NameEntry;
use crate::network::lease::{self, NetworkLease};
use crate::state::paths::{Paths, ProjectPaths};

/// A folder that has changed this recently may change again within the same tick of the file system's clock.
const UNSETTLED: Duration = Duration::from_millis(100);

/// The leases, read again when one of them has changed.
#[derive(Debug)]
pub struct OtherProjects {
    paths: Paths,
    project_id: String,
    seen: Mutex<Option<SystemTime>>,
}

impl OtherProjects {
    pub fn new(paths: &Paths, project: &ProjectPaths) -> Self {
        Self { paths: paths.clone(), project_id: project.id().to_owned(), seen: Mutex::default() }
    }

    /// Gives what is known now to `apply`, if it may differ from what was known last. One at a time, so that what was
    /// read later is applied later.
    pub fn if_changed(&self, apply: impl FnOnce(Vec<NameEntry>)) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        // Every lease is written by renaming a file into the folder.
        let changed = std::fs::metadata(self.paths.networks()).and_then(|folder| folder.modified());
        let Some(stamp) = changed.ok().filter(|stamp| *seen != Some(*stamp)) else { return };
        // As of before they are read: a change that comes while they are may have the same time.
        let settled = stamp.elapsed().is_ok_and(|age| age > UNSETTLED);
        match lease::read(&self.paths) {
            Ok(leases) => {
                *seen = settled.then_some(stamp);
                apply(leases.iter().flat_map(|lease| self.entries(lease)).collect());
            }
            Err(error) => tracing::debug!("names of other projects: {error}"),
        }
    }

    fn entries(&self, lease: &NetworkLease) -> Vec<NameEntry> {
        let shared = lease.project_id == self.project_id
            || lease.endpoints.values().any(|endpoint| endpoint.project_id == self.project_id);
        if !shared {
            return Vec::new();
        }
        let others = lease.endpoints.values().filter(|endpoint| endpoint.project_id != self.project_id);
        others
            .map(|endpoint| NameEntry {
                network: lease.name.clone(),
                names: endpoint.names.clone(),
                ipv4: endpoint.ipv4,
                ipv6: endpoint.ipv6,
            })
            .collect()
    }
}
