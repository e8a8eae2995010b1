//! What a named volume is to be.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

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
