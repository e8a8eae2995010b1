//! Secrets and configs as files: written for one container, mounted read-only into it one by one.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

/// A file that a container is to find.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileSpec<'a> {
    pub content: &'a [u8],
    pub uid: u32,
    pub gid: u32,
    pub mode: u32,
}

/// Why a secret or config could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {}", path.display())]
pub struct FileError {
    pub action: &'static str,
    pub path: PathBuf,
    pub source: io::Error,
}

/// Writes the files into `folder`, which nobody but root can enter, and returns the path of each, in their order.
///
/// Files that an earlier start left there are replaced, never changed in place: a mount that is still alive keeps
/// what it had. Put the folder below the runtime root, which is in memory.
///
/// # Errors
/// When a file cannot be written.
pub fn write(folder: &Path, files: &[FileSpec<'_>]) -> Result<Vec<PathBuf>, FileError> {
    if files.is_empty() {
        return Ok(Vec::new());
    }
    let failed = |action, path: &Path| {
        let path = path.to_owned();
        move |source| FileError { action, path, source }
    };
    crate::state::folder::make(folder).map_err(failed("create", folder))?;
    fs::set_permissions(folder, Permissions::from_mode(0o700)).map_err(failed("protect", folder))?;
    let mut paths = Vec::with_capacity(files.len());
    for (index, spec) in files.iter().enumerate() {
        let path = folder.join(index.to_string());
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed("replace", &path)(error)),
            _ => {}
        }
        write_one(&path, spec).map_err(failed("write", &path))?;
        paths.push(path);
    }
    Ok(paths)
}

fn write_one(path: &Path, spec: &FileSpec<'_>) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(spec.content)?;
    fchown(&file, Some(spec.uid), Some(spec.gid))?;
    // After the owner, whose change would drop set-id bits, and without the umask.
    file.set_permissions(Permissions::from_mode(spec.mode & 0o7777))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn owner_and_mode_are_as_asked_and_a_second_start_replaces() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("files");
        let secret = FileSpec { content: b"hush", uid: 70, gid: 71, mode: 0o4440 };
        let config = FileSpec { content: b"", uid: 0, gid: 0, mode: 0o666 };
        let paths = write(&folder, &[secret, config]).unwrap();
        assert_eq!(fs::metadata(&folder).unwrap().mode() & 0o7777, 0o700);
        let found = fs::metadata(&paths[0]).unwrap();
        assert_eq!((found.uid(), found.gid(), found.mode() & 0o7777), (70, 71, 0o4440));
        assert_eq!(fs::metadata(&paths[1]).unwrap().mode() & 0o7777, 0o666);
        let old = fs::File::open(&paths[0]).unwrap();
        let again = write(&folder, &[FileSpec { content: b"new", ..secret }]).unwrap();
        assert_eq!(fs::read(&again[0]).unwrap(), b"new");
        assert_eq!(std::io::read_to_string(old).unwrap(), "hush");
    }
}
