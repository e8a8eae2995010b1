//! What can go wrong with images.

use std::io;
use std::path::{Path, PathBuf};

use super::config::MOST_VOLUMES;
use super::digest::{Digest, DigestError};
use super::manifest::ManifestError;
use super::reference::ReferenceError;
use super::registry::RegistryError;
use super::unpack::UnpackError;
use crate::state::record::{ReadError, WriteError};

/// Why an image cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    #[error("cannot {verb} {path}")]
    Io { verb: &'static str, path: PathBuf, source: io::Error },
    #[error("{0}")]
    Read(#[from] ReadError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    #[error(transparent)]
    Digest(#[from] DigestError),
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    #[error("cannot pull {reference}")]
    Pull { reference: String, source: Box<ImageError> },
    #[error(transparent)]
    Registry(#[from] RegistryError),
    #[error("layer {0} cannot be used")]
    Layer(String, #[source] Box<LayerError>),
    #[error("the image's configuration cannot be read")]
    Config(#[source] serde_json::Error),
    #[error("the image has {layers} layers, but its configuration lists {diff_ids}")]
    LayerCount { layers: usize, diff_ids: usize },
    #[error("no such image: {0}")]
    NotFound(String),
    #[error("more than one image has an id or a digest that starts with {start}: {}", images.join(", "))]
    AmbiguousId { start: String, images: Vec<String> },
    #[error("the image's configuration lists {0} volumes; no more than {MOST_VOLUMES} are made for a container")]
    TooManyVolumes(usize),
    #[error("image {reference} is not here, and the pull policy is `never`")]
    Never { reference: String },
    #[error("image {reference} is for {found}, not for {wanted}")]
    Platform { reference: String, found: String, wanted: String },
    #[error("the archive is no image: {0}")]
    NotAnImage(String),
    #[error("{what} has the wrong content: {expected} was promised, {found} came")]
    Mismatch { what: String, expected: Digest, found: Digest },
    #[error("image {image} is in use by {by}")]
    InUse { image: String, by: String },
    #[error(
        "the archive of layer {layer} was not kept, so the image cannot be saved; remove it and pull or load it again"
    )]
    NotKept { layer: String },
    #[error(transparent)]
    Pack(#[from] super::pack::PackError),
    #[error("{0}")]
    Refused(String),
}

impl ImageError {
    /// What a person can do about it, where that is plain.
    #[must_use]
    pub fn remedy(&self) -> Option<String> {
        match self {
            Self::Pull { source, .. } => source.remedy(),
            Self::Registry(error) => error.remedy(),
            _ => None,
        }
    }
}

/// Why one layer cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum LayerError {
    #[error("its archive is not what the image promises: {expected} was promised, {found} came")]
    Digest { expected: Digest, found: Digest },
    #[error("its content is not what the configuration promises: {expected} was promised, {found} came")]
    DiffId { expected: Digest, found: Digest },
    #[error("its archive has {found} bytes, {expected} were promised")]
    Size { expected: u64, found: u64 },
    #[error("it unpacks to more than {0} bytes")]
    TooLarge(u64),
    #[error("it unpacks to more than {0} times its size, as only an attack would")]
    Bomb(u64),
    #[error(transparent)]
    Unpack(#[from] UnpackError),
    #[error("it cannot be fetched")]
    Fetch(#[source] io::Error),
    #[error("it cannot be uncompressed")]
    Decompress(#[source] io::Error),
    #[error("its archive cannot be stored")]
    Store(#[source] io::Error),
    #[error("`{link}` is a hard link to `{target}`, which neither it nor a layer below has")]
    MissingTarget { link: String, target: String },
    #[error("it cannot be completed from the layers below it")]
    Complete(#[source] io::Error),
    #[error("another layer failed")]
    Cancelled,
}

impl ImageError {
    /// `map_err(Error::io("read", path))`
    pub(super) fn io(verb: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { verb, path, source }
    }
}
