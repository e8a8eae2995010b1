//! What a plan is asked for, and where the names in it come from.

use std::collections::BTreeMap;
use std::path::Path;

use crate::state::ProjectPaths;

/// Flags of `up` that change the plan.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct UpOptions {
    pub force_recreate: bool,
    pub no_recreate: bool,
    pub always_recreate_deps: bool,
    pub no_start: bool,
    pub remove_orphans: bool,
    /// Say nothing of containers that the file does not know.
    #[serde(default)]
    pub ignore_orphans: bool,
    pub renew_anonymous_volumes: bool,
    /// Named volumes that are made anew, with the loss of what they hold, because they exist in another form.
    #[serde(default)]
    pub renew_volumes: Vec<String>,
    /// Services named on the command line; empty is all.
    pub named: Vec<String>,
}

/// Flags of `down` that change the plan.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DownOptions {
    /// Empty is everything.
    pub services: Vec<String>,
    /// Services of the files whose profile is off, by name with their profiles: they go on.
    #[serde(default)]
    pub disabled: BTreeMap<String, Vec<String>>,
    pub volumes: bool,
    pub remove_orphans: bool,
    /// Say nothing of containers that the file does not know.
    #[serde(default)]
    pub ignore_orphans: bool,
}

/// Where the names in a plan come from.
pub struct Names<'a> {
    pub paths: &'a ProjectPaths,
    pub volumes: &'a Path,
    /// A new container id at each call.
    pub new_id: &'a mut dyn FnMut() -> String,
}

impl std::fmt::Debug for Names<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Names").field("paths", self.paths).finish_non_exhaustive()
    }
}
