//! Standalone builds of Python, as the project python-build-standalone publishes them.

use std::io::Read;

use super::super::cache::{Archive, base64};
use super::super::error::ToolchainError;
use super::super::lock::Locked;
use crate::image::registry::web::{Web, Wish};
use crate::language::Version;
use crate::language::version::Numbers;

/// The newest release: a folder with `SHA256SUMS` and what it lists.
pub const PYTHON_BUILDS: &str = "https://github.com/astral-sh/python-build-standalone/releases/latest/download";
/// What a release of a date is called; by it, an earlier one than the newest is found.
const DATED: &str = "https://github.com/astral-sh/python-build-standalone/releases/download";
/// Larger lists are not read; a release lists some thousand archives.
const LARGEST: u64 = 8 << 20;
/// What is installed is smaller without symbols.
const KINDS: [&str; 2] = ["install_only_stripped", "install_only"];

/// A build for this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Build {
    pub version: Version,
    pub file: String,
    pub integrity: String,
}

/// What a folder of builds has for this machine.
#[derive(Debug)]
pub(super) struct Builds {
    place: String,
    /// Of each version the best.
    builds: Vec<Build>,
}

impl Builds {
    pub fn read(web: &Web, place: &str) -> Result<Self, ToolchainError> {
        let url = format!("{}/SHA256SUMS", place.trim_end_matches('/'));
        let download = web.get(&Wish { url: &url, accept: None, token: None, what: "SHA256SUMS" })?;
        let mut text = String::new();
        download.body.take(LARGEST).read_to_string(&mut text).map_err(ToolchainError::io("receive", &url))?;
        Ok(Self { place: place.to_owned(), builds: parse(&text) })
    }

    pub fn newest(&self, takes: impl Fn(&Version) -> bool) -> Option<&Build> {
        self.builds.iter().filter(|build| takes(&build.version)).max_by_key(|build| &build.version)
    }

    pub fn host(&self) -> &str {
        &self.place
    }

    pub fn list(&self) -> String {
        let mut versions: Vec<&Version> = self.builds.iter().map(|build| &build.version).collect();
        versions.sort();
        let names: Vec<String> = versions.iter().rev().map(ToString::to_string).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    }
}

impl Build {
    /// What is locked for a machine of this kind.
    pub fn locked(locked: &Locked) -> Option<Self> {
        locked.integrity.iter().find_map(|(file, integrity)| {
            let (version, _) = version_of(file)?;
            let same = version.to_string() == locked.version;
            same.then(|| Self { version, file: file.clone(), integrity: integrity.clone() })
        })
    }

    pub fn archive(&self, place: &str) -> Archive {
        let place = match release_of(&self.file).filter(|_| place == PYTHON_BUILDS) {
            Some(date) => format!("{DATED}/{date}"),
            None => place.trim_end_matches('/').to_owned(),
        };
        let url = format!("{place}/{}", self.file.replace('+', "%2B"));
        Archive { name: self.file.clone(), url, token: None, integrity: self.integrity.clone() }
    }
}

/// Lines of `sha256sum`.
fn parse(text: &str) -> Vec<Build> {
    let mut builds: Vec<(Numbers, usize, Build)> = Vec::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let (Some(digest), Some(file), None) = (words.next(), words.next(), words.next()) else { continue };
        let Some(digest) = hex::decode(digest).ok().filter(|digest| digest.len() == 32) else { continue };
        let Some((version, kind)) = version_of(file) else { continue };
        let integrity = format!("sha256-{}", base64(&digest));
        builds.push((version.numbers, kind, Build { version, file: file.to_owned(), integrity }));
    }
    builds.sort_by(|a, b| (&a.2.version, a.1).cmp(&(&b.2.version, b.1)));
    builds.dedup_by(|next, kept| next.2.version == kept.2.version);
    builds.into_iter().map(|(_, _, build)| build).collect()
}

/// `cpython-3.12.4+20240713-x86_64-unknown-linux-gnu-install_only.tar.gz`: the version, and which kind it is.
fn version_of(file: &str) -> Option<(Version, usize)> {
    let rest = file.strip_prefix("cpython-")?.strip_suffix(".tar.gz")?;
    let (version, rest) = rest.split_once('+')?;
    let (date, rest) = rest.split_once('-')?;
    let machine = format!("{}-unknown-linux-gnu-", std::env::consts::ARCH);
    let kind = rest.strip_prefix(&machine)?;
    let is_date = date.len() >= 8 && date.bytes().all(|byte| byte.is_ascii_digit() || byte == b'T');
    let kind = KINDS.iter().position(|known| *known == kind)?;
    is_date.then(|| Some((Version::parse(version)?, kind)))?
}

/// The date of the release that a build is part of.
fn release_of(file: &str) -> Option<&str> {
    file.split_once('+')?.1.split('-').next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_and_addresses() {
        let arch = std::env::consts::ARCH;
        let digest = "ab".repeat(32);
        let list = [
            format!("{digest}  cpython-3.12.4+20240713-{arch}-unknown-linux-gnu-install_only.tar.gz"),
            format!("{digest}  cpython-3.12.4+20240713-{arch}-unknown-linux-gnu-install_only_stripped.tar.gz"),
            format!("{digest}  cpython-3.13.0rc1+20240713-{arch}-unknown-linux-gnu-install_only.tar.gz"),
            format!("{digest}  cpython-3.11.9+20240713-{arch}-unknown-linux-musl-install_only.tar.gz"),
            format!("{digest}  cpython-3.11.9+20240713-other-unknown-linux-gnu-install_only.tar.gz"),
            format!("{digest}  cpython-3.11.9+../x-{arch}-unknown-linux-gnu-install_only.tar.gz"),
            format!("short  cpython-3.10.9+20240713-{arch}-unknown-linux-gnu-install_only.tar.gz"),
            "nonsense".to_owned(),
        ];
        let builds = Builds { place: PYTHON_BUILDS.to_owned(), builds: parse(&list.join("\n")) };
        assert_eq!(builds.list(), "3.13.0rc1, 3.12.4");
        let build = builds.newest(|version| version.before.is_empty()).unwrap();
        assert!(build.file.ends_with("install_only_stripped.tar.gz"), "{}", build.file);
        let file = format!("cpython-3.12.4%2B20240713-{arch}-unknown-linux-gnu-install_only_stripped.tar.gz");
        assert_eq!(build.archive(PYTHON_BUILDS).url, format!("{DATED}/20240713/{file}"));
        assert_eq!(build.archive("http://mirror/x/").url, format!("http://mirror/x/{file}"));
        let locked = Locked {
            version: "3.12.4".into(),
            integrity: [(build.file.clone(), build.integrity.clone())].into(),
            ..Locked::default()
        };
        assert_eq!(Build::locked(&locked).as_ref(), Some(build));
    }
}
