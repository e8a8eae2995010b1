//! Why there is no host root file system.

use std::io;
use std::path::PathBuf;

use crate::sys::copy::CopyError;

#[derive(Debug, thiserror::Error)]
pub enum HostError {
    #[error("the data folder {} lies inside {}, which `rootfs: host` shows to containers; set WINDLASS_HOME to a folder elsewhere", data.display(), folder.display())]
    DataInside { data: PathBuf, folder: PathBuf },
    #[error("`rootfs: host` cannot put a writable layer on {}: {reason}", folder.display())]
    Unsupported { folder: PathBuf, reason: String, source: io::Error },
    #[error("`rootfs: host` cannot show {}: it is already two overlays deep, and the kernel allows no third", folder.display())]
    TooDeep { folder: PathBuf, source: io::Error },
    #[error("cannot {action} {}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
    #[error("cannot copy /etc for `rootfs: host`")]
    Copy(#[from] CopyError),
}

impl HostError {
    pub(super) fn io(action: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { action, path, source }
    }
}
