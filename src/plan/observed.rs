//! What exists of a project.

use std::collections::{BTreeMap, BTreeSet};

use crate::record::{ContainerRecord, ObservedContainer, ProjectRecord};

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
    /// Containers of other projects that volumes are taken from, by the name that the file has for them.
    pub peers: BTreeMap<String, ContainerRecord>,
    /// Names of the volumes whose packages are all there.
    pub installed: BTreeSet<String>,
}
