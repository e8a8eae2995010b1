//! What a service runs on, as far as lowering must know it.

use std::collections::BTreeMap;
use std::path::PathBuf;

/// What a service's root file system comes from.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ServiceImage {
    /// As written in the file.
    pub reference: String,
    /// Digest of the image's config.
    pub id: String,
    /// Layer directories, the topmost first.
    pub lower: Vec<PathBuf>,
    /// Overlays below the root (host root file system).
    pub overlays: Vec<OverlayPart>,
    /// Folders of the host that it has read-only: where they are, and where they are in the container.
    pub tools: Vec<(PathBuf, PathBuf)>,
    pub env: Vec<String>,
    pub entrypoint: Option<Vec<String>>,
    pub cmd: Option<Vec<String>>,
    pub user: String,
    pub working_dir: String,
    /// Paths of VOLUME.
    pub volumes: Vec<String>,
    /// `80/tcp`
    pub exposed: Vec<String>,
    pub stop_signal: Option<String>,
    pub labels: BTreeMap<String, String>,
    pub shell: Option<Vec<String>>,
    pub health: Option<ImageHealth>,
    /// Images that the service mounts, by their place in `volumes`.
    pub mounted: BTreeMap<usize, MountedImage>,
}

/// An image, or a part of it, that is mounted into a container (`type: image`).
#[derive(Debug, Clone, PartialEq)]
pub struct MountedImage {
    /// As written in the file.
    pub reference: String,
    /// Digest of the image's config.
    pub id: String,
    pub part: ImagePart,
}

/// What of an image is mounted.
#[derive(Debug, Clone, PartialEq)]
pub enum ImagePart {
    /// A folder, by those of the layers that make it up, the topmost first.
    Folders(Vec<PathBuf>),
    File(PathBuf),
}

/// In place of the digest of an image that is not here.
const NOT_HERE: &str = "not here";

impl ServiceImage {
    /// An image of which nothing is known yet.
    #[must_use]
    pub fn not_here(reference: &str) -> Self {
        Self { reference: reference.to_owned(), id: NOT_HERE.to_owned(), ..Self::default() }
    }

    /// Whether it is known what it says.
    #[must_use]
    pub fn is_here(&self) -> bool {
        is_known(&self.id)
    }
}

/// Whether the digest is that of an image which is here.
pub(in crate::plan) fn is_known(id: &str) -> bool {
    id != NOT_HERE
}

/// A part of the root file system that is an overlay of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverlayPart {
    pub target: PathBuf,
    /// The topmost first.
    pub lower: Vec<PathBuf>,
    /// Relative to the container's data folder.
    pub upper: PathBuf,
    /// Relative to the container's data folder.
    pub work: PathBuf,
}

/// HEALTHCHECK of an image.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ImageHealth {
    /// `["NONE"]`, `["CMD", …]`, `["CMD-SHELL", "…"]`
    pub test: Vec<String>,
    /// Milliseconds; 0 is "not said".
    pub interval_ms: u64,
    pub timeout_ms: u64,
    pub start_period_ms: u64,
    pub start_interval_ms: u64,
    pub retries: u32,
}
