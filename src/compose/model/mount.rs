//! What a service sees in its file system: volumes, secrets, configs.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Bytes, Extensions, Mapping, record};

/// An entry of `volumes`, always in the long form.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct VolumeMount {
    #[serde(rename = "type")]
    pub kind: VolumeMountType,
    /// Absolute path of a bind, key of a named volume, reference of an image; `None` is an anonymous volume.
    #[serde(skip_serializing_if = "super::is_default")]
    pub source: Option<String>,
    pub target: String,
    #[serde(skip_serializing_if = "super::is_default")]
    pub read_only: bool,
    #[serde(skip_serializing_if = "super::is_default")]
    pub consistency: Option<String>,
    #[serde(skip_serializing_if = "super::is_default")]
    pub bind: Option<BindOptions>,
    #[serde(skip_serializing_if = "super::is_default")]
    pub volume: Option<VolumeOptions>,
    #[serde(skip_serializing_if = "super::is_default")]
    pub tmpfs: Option<TmpfsOptions>,
    #[serde(skip_serializing_if = "super::is_default")]
    pub image: Option<ImageOptions>,
    #[serde(rename = "#extensions")]
    #[serde(skip_serializing_if = "super::is_default")]
    pub extensions: Extensions,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VolumeMountType {
    #[default]
    Volume,
    Bind,
    Tmpfs,
    Image,
    Cluster,
    Npipe,
}

record! {
    pub struct BindOptions {
        /// `z` or `Z`.
        pub selinux: Option<String>,
        pub propagation: Option<String>,
        /// A missing source is made as a directory. Absent is `true`.
        pub create_host_path: Option<bool>,
        /// `enabled`, `disabled`, `writable` or `readonly`.
        pub recursive: Option<String>,
        #[serde(rename = "#extensions")]
        pub extensions: Extensions,
    }
}

record! {
    pub struct VolumeOptions {
        pub labels: Mapping,
        pub nocopy: bool,
        pub subpath: Option<String>,
        #[serde(rename = "#extensions")]
        pub extensions: Extensions,
    }
}

record! {
    pub struct TmpfsOptions {
        pub size: Option<Bytes>,
        pub mode: Option<u32>,
        #[serde(rename = "#extensions")]
        pub extensions: Extensions,
    }
}

record! {
    pub struct ImageOptions {
        pub subpath: Option<String>,
        #[serde(rename = "#extensions")]
        pub extensions: Extensions,
    }
}

record! {
    /// An entry of `secrets` or `configs` of a service or a build.
    pub struct FileReference {
        pub source: String,
        /// Absolute, or a name below `/run/secrets`; absent is the default (`/run/secrets/<source>`, `/<source>`).
        pub target: Option<String>,
        pub uid: Option<String>,
        pub gid: Option<String>,
        pub mode: Option<FileMode>,
        #[serde(rename = "#extensions")]
        pub extensions: Extensions,
    }
}

/// Permission bits; written in octal with a leading zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FileMode(pub u32);

impl fmt::Display for FileMode {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "0{:o}", self.0)
    }
}

impl FromStr for FileMode {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u32::from_str_radix(text.strip_prefix("0o").unwrap_or(text), 8).map(Self)
    }
}

impl Serialize for FileMode {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for FileMode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Bits {
            Number(u32),
            Text(String),
        }
        match Bits::deserialize(deserializer)? {
            Bits::Number(bits) => Ok(Self(bits)),
            Bits::Text(text) => text.parse().map_err(serde::de::Error::custom),
        }
    }
}
