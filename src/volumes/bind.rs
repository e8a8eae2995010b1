//! Sources of bind mounts.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Why a path of the host cannot be bind-mounted.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("bind source {} is not an absolute path", path.display())]
    Relative { path: PathBuf },
    #[error("{} does not exist", path.display())]
    Missing { path: PathBuf },
    #[error("bind source {} is a symbolic link to {}, which does not exist", path.display(), target.display())]
    Dangling { path: PathBuf, target: PathBuf },
    #[error("bind source {} cannot be created: {} is not a folder", path.display(), parent.display())]
    NotAFolder { path: PathBuf, parent: PathBuf },
    #[error("bind source {} cannot be created", path.display())]
    Create { path: PathBuf, source: io::Error },
    #[error("bind source {} cannot be looked at", path.display())]
    Look { path: PathBuf, source: io::Error },
}

/// Whether the source exists; nothing is made. With `create` a missing one is no fault, unless something is in its way.
///
/// # Errors
/// When it is missing and may not be made, or its path leads through something else than folders.
pub fn check_source(path: &Path, create: bool) -> Result<bool, BindError> {
    if !path.is_absolute() {
        return Err(BindError::Relative { path: path.into() });
    }
    match fs::metadata(path) {
        Ok(_) => return Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Err(blocked(path, error)),
        Err(source) => return Err(BindError::Look { path: path.into(), source }),
    }
    if let Ok(target) = fs::read_link(path) {
        return Err(BindError::Dangling { path: path.into(), target });
    }
    if create { Ok(false) } else { Err(BindError::Missing { path: path.into() }) }
}

/// Checks that the source exists; with `create`, a missing one becomes an empty folder, which belongs to the owner of the
/// folder above it when `like_parent`. `true` when it was made.
///
/// # Errors
/// When it is missing and may not, or cannot, be made.
pub fn ensure_source(path: &Path, create: bool, like_parent: bool) -> Result<bool, BindError> {
    if check_source(path, create)? {
        return Ok(false);
    }
    match create_folders(path, like_parent) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => Err(blocked(path, error)),
        Err(source) => Err(BindError::Create { path: path.into(), source }),
    }
}

/// As `mkdir -p`, but every folder that is made has mode 0755 whatever the umask: the container's user may not be root.
fn create_folders(path: &Path, like_parent: bool) -> io::Result<()> {
    match DirBuilder::new().mode(0o755).create(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            create_folders(path.parent().ok_or(error)?, like_parent)?;
            match DirBuilder::new().mode(0o755).create(path) {
                // Another container needs the same one.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
                other => other?,
            }
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        other => other?,
    }
    if like_parent && let Some(above) = path.parent() {
        let above = fs::metadata(above)?;
        std::os::unix::fs::lchown(path, Some(above.uid()), Some(above.gid()))?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o755))
}

/// Names the part of the path that is in the way.
fn blocked(path: &Path, source: io::Error) -> BindError {
    match path.ancestors().skip(1).find(|parent| fs::metadata(parent).is_ok_and(|found| !found.is_dir())) {
        Some(parent) => BindError::NotAFolder { path: path.into(), parent: parent.into() },
        None => BindError::Look { path: path.into(), source },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_source_is_made_only_when_allowed() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a/b");
        assert!(matches!(ensure_source(&path, false, false), Err(BindError::Missing { .. })));
        assert!(!path.exists());
        assert!(ensure_source(&path, true, false).unwrap());
        for made in [&path, path.parent().unwrap()] {
            assert_eq!(fs::metadata(made).unwrap().permissions().mode() & 0o7777, 0o755);
        }
        assert!(!ensure_source(&path, true, false).unwrap());
    }

    #[test]
    fn what_is_in_the_way_is_named() {
        let root = tempfile::tempdir().unwrap();
        let file = root.path().join("file");
        fs::write(&file, "").unwrap();
        assert!(!ensure_source(&file, false, false).unwrap());
        let error = ensure_source(&file.join("x/y"), true, false).unwrap_err();
        assert!(matches!(&error, BindError::NotAFolder { parent, .. } if *parent == file), "{error}");
        let link = root.path().join("link");
        std::os::unix::fs::symlink("/nowhere/at/all", &link).unwrap();
        assert!(matches!(ensure_source(&link, true, false), Err(BindError::Dangling { .. })));
        assert!(matches!(ensure_source(Path::new("relative"), true, false), Err(BindError::Relative { .. })));
    }
}
