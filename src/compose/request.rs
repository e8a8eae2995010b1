//! What is to be loaded, and what comes of it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::environment::Environment;
use super::model::Project;
use super::provenance::Provenance;
use super::session::Trail;
use crate::diag::{Diagnostic, SourceMap};

/// What is to be loaded and how.
#[derive(Debug, Clone, Default)]
pub struct LoadRequest {
    /// Absolute folder that the command runs in.
    pub current_dir: PathBuf,
    /// `-f`, in order; `-` is the standard input. Empty: `COMPOSE_FILE`, or the default names, upwards.
    pub files: Vec<PathBuf>,
    /// `--project-directory`.
    pub project_directory: Option<PathBuf>,
    /// `-p`.
    pub project_name: Option<String>,
    /// `--profile`; `COMPOSE_PROFILES` counts when there is none.
    pub profiles: Vec<String>,
    /// `--env-file`; `COMPOSE_ENV_FILES` and `.env` count when there is none.
    pub env_files: Vec<PathBuf>,
    /// The environment of the command.
    pub environment: BTreeMap<String, String>,
    pub options: LoadOptions,
}

/// Steps that can be left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadOptions {
    pub interpolate: bool,
    /// Default network, implied dependencies, full names.
    pub normalise: bool,
    pub resolve_paths: bool,
    pub check_consistency: bool,
    /// Values of `env_file` and of variables without a value.
    pub resolve_environment: bool,
    /// Services that are named on the command line: their profiles are active.
    pub services: Vec<String>,
    /// Keep networks, volumes, secrets and configs that no active service uses.
    pub all_resources: bool,
    /// Join generated names with `_`; `COMPOSE_COMPATIBILITY` says so too.
    pub compatibility: bool,
    /// The services are to run: attributes that are refused are faults, not warnings.
    pub for_running: bool,
    /// Remember where the values come from, for [`Loaded::explain`].
    pub provenance: bool,
    /// Remember where attributes stand, for [`Project::place`].
    pub places: bool,
}

impl Default for LoadOptions {
    fn default() -> Self {
        Self {
            interpolate: true,
            normalise: true,
            resolve_paths: true,
            check_consistency: true,
            resolve_environment: true,
            services: Vec::new(),
            all_resources: false,
            compatibility: false,
            for_running: false,
            provenance: false,
            places: true,
        }
    }
}

/// A loaded project and what is to be said about it.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub project: Project,
    /// In the order of the places.
    pub warnings: Vec<Diagnostic>,
    pub sources: SourceMap,
    /// Where the variables come from.
    pub environment: Environment,
    /// Where the variables are used.
    pub trail: Trail,
    /// The merged tree, when variables stay as they are and there is no project to be made of it.
    pub tree: serde_json::Value,
    /// Where the values come from; empty unless it was asked for.
    pub provenance: Provenance,
}

impl Loaded {
    /// The canonical tree as it is before variables get their values, keys sorted.
    #[must_use]
    pub fn uninterpolated(&self, json: bool) -> serde_json::Value {
        let mut tree = self.tree.clone();
        if let Some(root) = tree.as_object_mut() {
            root.insert("name".to_owned(), self.project.name.as_str().into());
        }
        super::emit::sorted_tree(&mut tree, json);
        tree
    }
}

/// Why a project cannot be loaded: all faults, in the order of the places, and the warnings.
#[derive(Debug, Clone)]
pub struct LoadFailure {
    pub diagnostics: Vec<Diagnostic>,
    pub sources: SourceMap,
}

impl std::fmt::Display for LoadFailure {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str(crate::diag::render_all(&self.diagnostics, &self.sources, crate::diag::Paint::Plain).trim_end())
    }
}

impl std::error::Error for LoadFailure {}
