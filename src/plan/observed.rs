//! What exists of a project.

use std::collections::{BTreeMap, BTreeSet};

use crate::network::spec::EndpointSpec;
use crate::supervisor::record::{ContainerRecord, ContainerState, ProjectRecord, Status};

/// What exists of a project.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    pub project: Option<ProjectRecord>,
    pub containers: Vec<ObservedContainer>,
    /// Names of the networks and volumes that exist.
    pub networks: BTreeSet<String>,
    pub volumes: BTreeSet<String>,
    /// Running containers that are not in the namespaces that they are to share, by id, and why.
    pub adrift: BTreeMap<String, String>,
    /// Volumes that exist in another form than is wanted: in what they differ.
    pub diverged: BTreeMap<String, String>,
    /// Volumes that exist and were not made for this project: for which one, if for any.
    pub foreign: BTreeMap<String, Option<String>>,
    /// Names of the volumes whose packages are all there.
    pub installed: BTreeSet<String>,
}

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
    pub(super) fn restarts_with(&self, service: &str) -> bool {
        self.record.depends_on.iter().any(|needed| needed.restart && needed.service == service)
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.state.status, Status::Exited { .. })
    }

    pub(super) fn completed(&self) -> bool {
        matches!(self.state.status, Status::Exited { exit, .. } if exit.code() == 0)
    }
}
