//! The project: everything that a set of Compose files says.

use std::collections::BTreeMap;
use std::path::PathBuf;

use indexmap::IndexMap;

use crate::language::Language;
use crate::language::declared::{Declared, DeclaredError};

use super::{ConfigObject, Extensions, Model, Network, Secret, Service, Volume, record};

record! {
    /// A loaded project. `services` holds the active ones, in the order of the files.
    pub struct Project {
        pub name: String,
        pub working_dir: PathBuf,
        pub compose_files: Vec<PathBuf>,
        /// What interpolation saw: the shell's variables and those of the env files.
        pub environment: BTreeMap<String, String>,
        /// What the project's own files say of versions of languages; the strongest first.
        #[serde(skip)]
        pub versions: Vec<DeclaredVersion>,
        pub profiles: Vec<String>,
        /// Generated names are joined with `_`, as Compose V1 did.
        #[serde(skip)]
        pub compatibility: bool,
        pub services: IndexMap<String, Service>,
        /// Services whose profiles are not active.
        pub disabled_services: IndexMap<String, Service>,
        pub networks: IndexMap<String, Network>,
        pub volumes: IndexMap<String, Volume>,
        pub secrets: IndexMap<String, Secret>,
        pub configs: IndexMap<String, ConfigObject>,
        pub models: IndexMap<String, Model>,
        #[serde(rename = "#extensions")]
        pub extensions: Extensions,
        /// Where an attribute stands, by its path: `services.web.ports[0]`.
        pub places: BTreeMap<String, Place>,
    }
}

/// What a file of the project says of the version of a language.
#[derive(Debug, Clone, PartialEq)]
pub struct DeclaredVersion {
    pub language: Language,
    pub file: PathBuf,
    pub declared: Result<Declared, DeclaredError>,
}

impl Project {
    /// What joins the parts of generated names of containers and images.
    #[must_use]
    pub fn separator(&self) -> char {
        if self.compatibility { '_' } else { '-' }
    }

    /// The image that is built for a service which names none.
    #[must_use]
    pub fn built_image(&self, service: &str) -> String {
        format!("{}{}{service}", self.name, self.separator())
    }

    /// The place of `path`, or of the nearest thing around it.
    #[must_use]
    pub fn place(&self, path: &str) -> Option<&Place> {
        let mut path = path;
        loop {
            if let Some(place) = self.places.get(path) {
                return Some(place);
            }
            path = &path[..path.rfind(['.', '['])?];
        }
    }
}

record! {
    /// A position in a file; lines and columns count from 1. A flag has its own name for a file, and line 0.
    pub struct Place {
        pub file: PathBuf,
        pub line: u32,
        pub column: u32,
    }
}

impl std::fmt::Display for Place {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.line {
            0 => write!(out, "{}", self.file.display()),
            line => write!(out, "{}:{line}:{}", self.file.display(), self.column),
        }
    }
}
