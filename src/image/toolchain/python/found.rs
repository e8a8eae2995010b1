//! Interpreters that are on this machine already.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::language::Version;

/// Folders of programs that every container over the host root file system sees.
const SYSTEM: [&str; 2] = ["/usr/bin", "/usr/local/bin"];
/// More entries are not looked at: nobody has so many interpreters.
const MOST: usize = 1000;

/// An interpreter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub version: Version,
    pub origin: Origin,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    /// A folder of its own with `bin`, `lib` and so on: uv's, pyenv's, mise's.
    Folder(PathBuf),
    /// `/usr/bin/python3.11`
    Program(PathBuf),
}

impl Found {
    pub fn is_system(&self) -> bool {
        matches!(self.origin, Origin::Program(_))
    }
}

/// All interpreters in `folders` and in the system's.
///
/// What other people installed is known by its name and never run here: they are not root. What the distribution
/// installed is asked.
pub(super) fn search(folders: &[PathBuf]) -> Vec<Found> {
    let mut found = Vec::new();
    for folder in folders {
        for entry in entries(folder) {
            // mise has links such as `3.12` beside the folders.
            let Some(version) = folder_version(&entry.name) else { continue };
            let is_folder = fs::symlink_metadata(&entry.path).is_ok_and(|metadata| metadata.is_dir());
            if is_folder && entry.path.join("bin/python3").exists() {
                found.push(Found { version, origin: Origin::Folder(entry.path) });
            }
        }
    }
    for folder in SYSTEM {
        for entry in entries(Path::new(folder)).into_iter().filter(|entry| is_program(&entry.name)) {
            // A link to elsewhere leads nowhere in a container.
            let inside = entry.path.canonicalize().is_ok_and(|path| path.starts_with("/usr"));
            if let Some(version) = asked(&entry.path).filter(|_| inside) {
                found.push(Found { version, origin: Origin::Program(entry.path) });
            }
        }
    }
    found
}

/// What there is, for people.
pub(super) fn list(found: &[Found]) -> String {
    let mut places: BTreeMap<(u64, u64, u64), String> = BTreeMap::new();
    for found in found {
        places.entry(found.version.numbers).or_insert_with(|| found.version.to_string());
    }
    let names: Vec<String> = places.into_values().rev().collect();
    if names.is_empty() { "no Python".to_owned() } else { format!("Python {}", names.join(", ")) }
}

/// Whether everybody gets to the folder.
pub(super) fn is_open(folder: &Path) -> bool {
    let searched = |folder: &Path| fs::metadata(folder).is_ok_and(|metadata| metadata.mode() & 0o001 != 0);
    folder.ancestors().all(searched)
}

struct Entry {
    name: String,
    path: PathBuf,
}

fn entries(folder: &Path) -> Vec<Entry> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let entries = entries.flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        (name.contains('3')).then(|| Entry { path: entry.path(), name })
    });
    entries.take(MOST).collect()
}

/// `3.12.1` (pyenv, mise), `cpython-3.12.4-linux-x86_64-gnu` (uv).
fn folder_version(name: &str) -> Option<Version> {
    let Some(rest) = name.strip_prefix("cpython-") else { return Version::parse(name) };
    let (version, machine) = rest.split_once('-')?;
    (machine == format!("linux-{}-gnu", std::env::consts::ARCH)).then(|| Version::parse(version))?
}

/// `python3.11`
fn is_program(name: &str) -> bool {
    let minor = name.strip_prefix("python3.");
    minor.is_some_and(|minor| (1..=3).contains(&minor.len()) && minor.bytes().all(|byte| byte.is_ascii_digit()))
}

/// What the interpreter says it is.
fn asked(program: &Path) -> Option<Version> {
    let mut command = Command::new(program);
    let output = command.arg("-V").env_clear().stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    // Debian writes `3.13.0+` for what is built after 3.13.0.
    Version::parse(text.trim().strip_prefix("Python ")?.trim_end_matches('+'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_folders_and_programs() {
        let arch = std::env::consts::ARCH;
        for (name, version) in [
            ("3.12.1".to_owned(), Some("3.12.1")),
            (format!("cpython-3.12.4-linux-{arch}-gnu"), Some("3.12.4")),
            (format!("cpython-3.12.4-linux-{arch}-musl"), None),
            ("cpython-3.12.4-linux-other-gnu".to_owned(), None),
            ("3.12".to_owned(), None),
            ("pypy3.10-7.3.12".to_owned(), None),
            ("3.12.1/envs/x".to_owned(), None),
        ] {
            assert_eq!(folder_version(&name), version.and_then(Version::parse), "{name}");
        }
        assert!(is_program("python3.11") && !is_program("python3") && !is_program("python3.11-config"));
    }

    #[test]
    fn what_is_in_folders_is_found_and_links_are_not() {
        let home = tempfile::tempdir().unwrap();
        for name in ["3.12.1", "3.10.13", "3.9.0"] {
            fs::create_dir_all(home.path().join(name).join("bin")).unwrap();
        }
        for name in ["3.12.1", "3.10.13"] {
            fs::write(home.path().join(name).join("bin/python3"), "").unwrap();
        }
        std::os::unix::fs::symlink("3.12.1", home.path().join("3.12.9")).unwrap();
        let found = search(&[home.path().to_owned(), home.path().join("missing")]);
        let mut own: Vec<String> =
            found.iter().filter(|found| !found.is_system()).map(|found| found.version.to_string()).collect();
        own.sort();
        assert_eq!(own, ["3.10.13", "3.12.1"]);
    }
}
