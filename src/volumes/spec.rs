//! What a named volume is to be, and what is on disk about one that exists.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::state::record::Record;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeSpec {
    /// Full name (`<project>_<key>` unless the file names it).
    pub name: String,
    /// The key in the file; empty for anonymous volumes.
    pub key: String,
    pub driver: String,
    /// `type`, `o`, `device` of the local driver.
    pub driver_opts: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    /// Made by somebody else: must exist, is never removed.
    pub external: bool,
}

/// A volume that exists: `volume.json` beside its `_data`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VolumeRecord {
    pub name: String,
    pub key: String,
    /// The project that made it; `None` for a volume made by itself.
    pub project: Option<String>,
    pub driver: String,
    pub driver_opts: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    pub created: Timestamp,
    #[serde(default)]
    pub fill: FillState,
    /// The boot in which it was filled: until another one, files may not be on disk yet.
    #[serde(default)]
    pub fill_boot: Option<String>,
    #[serde(default)]
    pub install: InstallState,
    /// The boot in which its packages were installed.
    #[serde(default)]
    pub install_boot: Option<String>,
}

impl Record for VolumeRecord {
    const VERSION: u32 = 1;
}

/// How far the fill from an image went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FillState {
    #[default]
    Never,
    /// The image's folder was empty: owner and mode were taken over, another image may still bring files.
    Owned,
    /// Interrupted when found at rest: the fill is done again.
    Started,
    /// All is copied, but a crash of the machine may have taken the content of files that were not on disk yet.
    Copied,
    Done,
}

/// How far the packages of a volume are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InstallState {
    #[default]
    Never,
    /// Interrupted when found at rest: the install is done again, into an empty volume.
    Started,
    /// All is there, but a crash of the machine may have taken what was not on disk yet.
    Done,
    Synced,
}
