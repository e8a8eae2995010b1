//! Why a volume could not be made, filled, mounted or removed.

use std::io;
use std::path::PathBuf;

use super::name::NameError;
use crate::state::record::{ReadError, WriteError};
use crate::sys::copy::CopyError;

#[derive(Debug, thiserror::Error)]
pub enum VolumeError {
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("volume `{name}` is external and does not exist; create it first, or drop `external: true`")]
    ExternalMissing { name: String },
    #[error("there is no volume `{name}`")]
    Missing { name: String },
    #[error("volume `{name}` is in use by {}", users.join(", "))]
    InUse { name: String, users: Vec<String> },
    #[error("volume `{name}` asks for driver `{driver}`, but `local` is the only one there is")]
    Driver { name: String, driver: String },
    #[error("volume `{name}`: driver option `{option}` {reason}")]
    Option { name: String, option: String, reason: String },
    #[error("cannot mount {device} as volume `{name}`{}", hint.as_deref().map(|hint| format!(": {hint}")).unwrap_or_default())]
    Mount { name: String, device: String, hint: Option<String>, source: io::Error },
    #[error("cannot unmount volume `{name}`")]
    Unmount { name: String, source: io::Error },
    #[error("volume `{name}` is not removed, because something is mounted at {}", path.display())]
    Mounted { name: String, path: PathBuf },
    #[error("cannot {action} {}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("cannot fill volume `{name}` from the image")]
    Fill { name: String, source: CopyError },
    #[error("{0}")]
    Read(#[from] ReadError),
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl VolumeError {
    pub(super) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}
