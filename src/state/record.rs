//! Records: JSON files with a format version, replaced atomically.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::state::notice;
use crate::sys::fault;

/// A type that is stored on disk.
pub trait Record: Serialize + DeserializeOwned {
    /// Raised whenever an older reader would misread what is written.
    const VERSION: u32;
}

/// Why a record could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("cannot read {path}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{path} is damaged")]
    Damaged { path: PathBuf, source: serde_json::Error },
    #[error("{path} was written by a newer windlass (format {found}, this one reads up to {known})")]
    Newer { path: PathBuf, found: u32, known: u32 },
}

/// Why a record could not be written.
#[derive(Debug, thiserror::Error)]
#[error("cannot write {path}")]
pub struct WriteError {
    pub path: PathBuf,
    pub source: io::Error,
}

#[derive(Serialize)]
struct Envelope<T> {
    version: u32,
    #[serde(flatten)]
    body: T,
}

#[derive(Deserialize)]
struct VersionOnly {
    version: u32,
}

/// How much a record must survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// A crash of ours: temporary file and rename.
    Process,
    /// A crash of the machine too: the file is synced before the rename.
    Machine,
}

/// Reads a record; `None` when there is no such file.
///
/// # Errors
/// When the file cannot be read, is damaged, or was written by a newer version.
pub fn read<T: Record>(path: &Path) -> Result<Option<T>, ReadError> {
    let text = match contents(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => {
            return Err(ReadError::Io { path: path.into(), source });
        }
    };
    let damaged = |source| ReadError::Damaged { path: path.into(), source };
    let version = serde_json::from_slice::<VersionOnly>(&text).map_err(damaged)?.version;
    if version > T::VERSION {
        return Err(ReadError::Newer { path: path.into(), found: version, known: T::VERSION });
    }
    // The version beside the fields is one that the type does not know: without the envelope, nothing is read twice.
    serde_json::from_slice(&text).map(Some).map_err(damaged)
}

/// The same for what can be done without, or is made again at the next occasion: what cannot be read is as missing, which
/// is logged.
#[must_use]
pub fn read_if_whole<T: Record>(path: &Path) -> Option<T> {
    read(path).unwrap_or_else(|error| {
        tracing::warn!("{}", chain(&error));
        None
    })
}

/// The same for what is made again here and now: what cannot be read is set aside, which is told.
///
/// # Errors
/// When it cannot be read at this moment, or not be set aside.
pub fn read_or_set_aside<T: Record>(path: &Path) -> Result<Option<T>, ReadError> {
    let error = match read(path) {
        Err(error) if is_at_fault(&error) => error,
        other => return other,
    };
    let aside = set_aside(path).map_err(|source| ReadError::Io { path: path.into(), source })?;
    notice::add(format!("{}: set aside as {}", chain(&error), aside.display()));
    Ok(None)
}

/// With its cause.
#[must_use]
pub fn chain(error: &ReadError) -> String {
    match std::error::Error::source(error) {
        Some(source) => format!("{error} ({source})"),
        None => error.to_string(),
    }
}

/// A FIFO in its place would be waited for, and a device may never end.
fn contents(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Whether a record is at fault, and not the moment at which it was read: no descriptor or memory was left.
#[must_use]
pub fn is_at_fault(error: &ReadError) -> bool {
    use nix::libc::{EINTR, EMFILE, ENFILE, ENOMEM};
    match error {
        ReadError::Io { source, .. } => !matches!(source.raw_os_error(), Some(EINTR | EMFILE | ENFILE | ENOMEM)),
        ReadError::Damaged { .. } | ReadError::Newer { .. } => true,
    }
}

/// What marks a record that was set aside, in the name of its file.
const DAMAGED: &str = ".damaged-";

/// Moves what is at a record's place out of the way, for a person to look at. Answers with where it is now.
///
/// # Errors
/// When it cannot be renamed.
pub fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    for number in 0.. {
        let more = if number == 0 { String::new() } else { format!("-{number}") };
        let aside = path.with_file_name(format!("{name}{DAMAGED}{seconds}{more}"));
        if aside.symlink_metadata().is_ok() {
            continue;
        }
        fault::around_file("rename", path, || fs::rename(path, &aside))?;
        return Ok(aside);
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// What was set aside in a folder, with the name of the file that it was.
///
/// # Errors
/// When the folder cannot be read; one that is missing has nothing in it.
pub fn those_set_aside(folder: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let mut found: Vec<(String, PathBuf)> = entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            Some((name.split_once(DAMAGED)?.0.to_owned(), entry.path()))
        })
        .collect();
    found.sort();
    Ok(found)
}

/// Removes a file or a folder that was set aside.
///
/// # Errors
/// When it is there and cannot be removed.
pub fn discard(path: &Path) -> io::Result<()> {
    let remove = || match fs::symlink_metadata(path) {
        Ok(found) if found.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    };
    fault::around_file("remove", path, remove)
}

/// Writes a record: a reader sees the old one or the new one, never a part. Creates the folder when missing.
///
/// # Errors
/// When the folder or file cannot be written; nothing is left behind then.
pub fn write<T: Record>(path: &Path, record: &T, durability: Durability) -> Result<(), WriteError> {
    let text = serde_json::to_vec(&Envelope { version: T::VERSION, body: record })
        .map_err(|error| WriteError { path: path.into(), source: error.into() })?;
    write_bytes(path, &text, 0o600, durability)
}

/// The same for plain text.
///
/// # Errors
/// When the folder or file cannot be written; nothing is left behind then.
pub fn write_bytes(path: &Path, bytes: &[u8], mode: u32, durability: Durability) -> Result<(), WriteError> {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    let failed = |source| WriteError { path: path.into(), source };
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let unique = COUNTER.fetch_add(1, Ordering::Relaxed);
    let temporary = folder.join(format!(".{name}.{}.{unique}", std::process::id()));
    let create = || OpenOptions::new().write(true).create_new(true).mode(mode).open(&temporary);
    let written = (|| {
        fault::around_file("write", path, || {
            let mut file = match create() {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    super::folder::make(folder)?;
                    create()?
                }
                other => other?,
            };
            file.write_all(bytes)?;
            if durability == Durability::Machine { file.sync_all() } else { Ok(()) }
        })?;
        let rename = || fs::rename(&temporary, path);
        match fault::around_file("rename", path, rename) {
            // Whatever else is in its place is no record.
            Err(error) if error.kind() == io::ErrorKind::IsADirectory => {
                set_aside(path)?;
                rename()?;
            }
            renamed => renamed?,
        }
        if durability == Durability::Machine {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    })();
    if written.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    written.map_err(failed)
}

/// Removes a record, and what writers that were killed have left beside it. Nobody else writes it at this time.
///
/// # Errors
/// When it is there and cannot be removed.
pub fn remove(path: &Path) -> io::Result<()> {
    discard(path)?;
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    let prefix = format!(".{}.", path.file_name().unwrap_or_default().to_string_lossy());
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(&prefix)) {
        let _ = fs::remove_file(entry.path());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Thing {
        name: String,
    }

    impl Record for Thing {
        const VERSION: u32 = 2;
    }

    #[test]
    fn round_trip_and_absence() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a/b.json");
        assert!(read::<Thing>(&path).unwrap().is_none());
        let thing = Thing { name: "x".into() };
        write(&path, &thing, Durability::Machine).unwrap();
        assert_eq!(read::<Thing>(&path).unwrap(), Some(thing));
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn what_a_killed_writer_left_goes_with_the_record() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("b.json");
        write(&path, &Thing { name: "x".into() }, Durability::Process).unwrap();
        fs::write(folder.path().join(".b.json.1.2"), "half").unwrap();
        fs::write(folder.path().join(".bb.json.1.2"), "of another").unwrap();
        remove(&path).unwrap();
        let left: Vec<_> = fs::read_dir(folder.path()).unwrap().flatten().map(|entry| entry.file_name()).collect();
        assert_eq!(left, [".bb.json.1.2"]);
        remove(&path).unwrap();
    }

    #[test]
    fn a_newer_or_damaged_record_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("b.json");
        fs::write(&path, r#"{"version":3,"title":"y"}"#).unwrap();
        assert!(matches!(read::<Thing>(&path), Err(ReadError::Newer { found: 3, known: 2, .. })));
        fs::write(&path, r#"{"version":2,"na"#).unwrap();
        assert!(matches!(read::<Thing>(&path), Err(ReadError::Damaged { .. })));
    }

    #[test]
    fn whatever_is_in_a_records_place_can_be_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("b.json");
        for _ in 0..2 {
            fs::create_dir(&path).unwrap();
            assert!(read::<Thing>(&path).is_err_and(|error| is_at_fault(&error)));
            set_aside(&path).unwrap();
            // Nobody writes into it: to wait for somebody would be for ever.
            nix::unistd::mkfifo(&path, nix::sys::stat::Mode::S_IRWXU).unwrap();
            assert!(read::<Thing>(&path).is_err_and(|error| is_at_fault(&error)));
            set_aside(&path).unwrap();
        }
        let aside = those_set_aside(folder.path()).unwrap();
        assert_eq!(aside.len(), 4);
        for (name, path) in aside {
            assert_eq!(name, "b.json");
            discard(&path).unwrap();
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
