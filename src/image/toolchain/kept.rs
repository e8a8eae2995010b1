//! The toolchains that are kept, and the end of those that nobody uses.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::error::ToolchainError;

/// The end of a name under which a folder waits for its end.
const GONE: &str = ".gone";

/// A toolchain in the data folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    pub name: String,
    pub folder: PathBuf,
}

/// All toolchains below `folder`, by name.
#[must_use]
pub fn kept(folder: &Path) -> Vec<Kept> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let mut kept: Vec<Kept> = folders
        .filter_map(|entry| Some(Kept { name: entry.file_name().into_string().ok()?, folder: entry.path() }))
        .filter(|kept| !kept.name.starts_with('.'))
        .collect();
    kept.sort_by(|a, b| a.name.cmp(&b.name));
    kept
}

/// Removes a toolchain; `false` when a command is about to use it, or `is_used`, which is asked when no command can
/// begin to.
///
/// # Errors
/// When it cannot be removed.
pub fn remove(kept: &Kept, is_used: impl FnOnce() -> bool) -> Result<bool, ToolchainError> {
    let failed = |error| ToolchainError::io("remove", &kept.folder)(error);
    let file = match File::open(&kept.folder) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        opened => opened.map_err(failed)?,
    };
    let _lock = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => lock,
        Err((_, Errno::EWOULDBLOCK)) => return Ok(false),
        Err((_, errno)) => return Err(failed(errno.into())),
    };
    if is_used() {
        return Ok(false);
    }
    let gone = kept.folder.with_file_name(format!(".{}{GONE}", kept.name));
    // Of one that was interrupted.
    let _ = fs::remove_dir_all(&gone);
    fs::rename(&kept.folder, &gone).map_err(failed)?;
    fs::remove_dir_all(&gone).map_err(failed)?;
    Ok(true)
}

/// Keeps a folder from [`remove`] until the file is closed; `None` when there is none (any more).
pub(super) fn hold(folder: &Path) -> Option<Flock<File>> {
    let lock = Flock::lock(File::open(folder).ok()?, FlockArg::LockShared).ok()?;
    let (held, named) = (lock.metadata().ok()?, folder.metadata().ok()?);
    ((held.dev(), held.ino()) == (named.dev(), named.ino())).then_some(lock)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_uses_stays() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["node-1", ".node-2.making"] {
            fs::create_dir_all(folder.path().join(name).join("bin")).unwrap();
        }
        let found = kept(folder.path());
        assert_eq!(found.len(), 1, "{found:?}");
        let held = hold(&found[0].folder).unwrap();
        assert!(!remove(&found[0], || false).unwrap());
        drop(held);
        assert!(!remove(&found[0], || true).unwrap());
        assert!(remove(&found[0], || false).unwrap());
        assert!(kept(folder.path()).is_empty() && hold(&found[0].folder).is_none());
        assert!(!remove(&found[0], || false).unwrap());
    }
}
