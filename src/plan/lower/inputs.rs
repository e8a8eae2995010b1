//! What lowering needs besides the project.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Locks, ServiceImage};

/// What lowering needs besides the project.
#[derive(Debug)]
pub struct Inputs<'a> {
    /// By service name, for every service that is lowered.
    pub images: &'a BTreeMap<String, ServiceImage>,
    /// Folder of the volume store.
    pub volumes: &'a Path,
    /// Services to lower, in the order of the file.
    pub services: &'a [String],
    /// `--scale`
    pub scale: &'a BTreeMap<String, u32>,
    /// SHA-256 of the files that secrets and configs are made of.
    pub digests: &'a BTreeMap<PathBuf, String>,
    /// What packages depend on, by service.
    pub locks: &'a BTreeMap<String, Locks>,
    /// Networks and volumes that no service uses are wanted too.
    pub all_resources: bool,
    /// A person asked for it through sudo: what containers write into the project's folder is to be theirs.
    pub for_person: bool,
    /// The label `com.docker.compose.version`.
    pub version: &'a str,
}
