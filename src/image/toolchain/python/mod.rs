//! Python: from what this machine has, or a standalone build.

mod builds;
mod found;

use std::fs;
use std::io;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use sha2::{Digest, Sha256};

pub use builds::PYTHON_BUILDS;
use builds::{Build, Builds};
use found::{Found, Origin};

use super::error::ToolchainError;
use super::lock::{LockFile, Locked};
use super::{Step, StepKind, Toolchain, Toolchains, place};
use crate::language::version::Part;
use crate::language::{Language, Range, Version, Wanted};

impl Toolchains<'_> {
    pub(super) fn python(
        &self,
        wanted: &Wanted,
        lock: &mut LockFile,
        show: &dyn Fn(Step),
    ) -> Result<Toolchain, ToolchainError> {
        let Some(locked) = lock.get(wanted).cloned() else { return self.choose_python(wanted, lock, show) };
        let part = Part::parse(&locked.version).filter(|part| part.minor.is_some()).ok_or_else(|| {
            let why = format!("`{}` is no version of Python", locked.version);
            ToolchainError::LockFile { path: "windlass.lock".into(), why }
        })?;
        if locked.integrity.is_empty() {
            let range = Range::of(&part);
            let fits = |found: &Found| match part.before.is_empty() {
                true => range.contains(&found.version) && wanted.takes(&found.version),
                false => found.version.to_string() == locked.version,
            };
            let mut found: Vec<Found> =
                found::search(&self.options.interpreters).into_iter().filter(|found| fits(found)).collect();
            // A line that is locked is a distribution's; a version is another tool's.
            let wants_system = part.patch.is_none();
            found.sort_by_key(|found| (found.is_system() == wants_system, found.version.clone()));
            if let Some(found) = found.pop() {
                return self.python_of_machine(&found);
            }
        } else if let Some(build) = Build::locked(&locked) {
            return self.python_build(&build, show);
        }
        // Locked on another machine.
        let away = || ToolchainError::LockedAway {
            language: Language::Python,
            wanted: wanted.text.clone(),
            version: locked.version.clone(),
            from: "this machine".to_owned(),
        };
        self.may_ask(wanted)?;
        show(Step { what: format!("Python {}", locked.version), kind: StepKind::Resolving });
        let builds = Builds::read(&self.web, &self.options.python_builds).map_err(|_| away())?;
        let build =
            builds.newest(|version| Range::of(&part).contains(version) && wanted.takes(version)).ok_or_else(away)?;
        let toolchain = self.python_build(build, show)?;
        let mut integrity = locked.integrity.clone();
        integrity.insert(build.file.clone(), build.integrity.clone());
        lock.set(Locked { version: build.version.to_string(), integrity, ..locked });
        Ok(toolchain)
    }

    /// The newest of this machine that will do; only when there is none, a build.
    fn choose_python(
        &self,
        wanted: &Wanted,
        lock: &mut LockFile,
        show: &dyn Fn(Step),
    ) -> Result<Toolchain, ToolchainError> {
        let found = found::search(&self.options.interpreters);
        let mut locked =
            Locked { language: Language::Python.name().to_owned(), wanted: wanted.text.clone(), ..Locked::default() };
        let fitting = found.iter().filter(|found| wanted.takes(&found.version));
        if let Some(best) = fitting.max_by_key(|found| (found.version.clone(), !found.is_system())) {
            let toolchain = self.python_of_machine(best)?;
            let (major, minor, _) = best.version.numbers;
            // The distribution brings a new patch whenever it likes.
            locked.version = if best.is_system() { format!("{major}.{minor}") } else { best.version.to_string() };
            lock.set(locked);
            return Ok(toolchain);
        }
        self.may_ask(wanted)?;
        show(Step { what: format!("Python {}", wanted.text), kind: StepKind::Resolving });
        let builds = Builds::read(&self.web, &self.options.python_builds).map_err(|source| {
            let (wanted, available) = (wanted.text.clone(), found::list(&found));
            ToolchainError::NoPython { wanted, available, source: Box::new(source) }
        })?;
        let build = builds.newest(|version| wanted.takes(version)).ok_or_else(|| ToolchainError::NoVersion {
            language: Language::Python,
            wanted: wanted.text.clone(),
            from: format!("this machine has {}, and {}", found::list(&found), builds.host()),
            available: builds.list(),
        })?;
        let toolchain = self.python_build(build, show)?;
        locked.version = build.version.to_string();
        locked.integrity.insert(build.file.clone(), build.integrity.clone());
        lock.set(locked);
        Ok(toolchain)
    }

    fn python_of_machine(&self, found: &Found) -> Result<Toolchain, ToolchainError> {
        let version = found.version.to_string();
        let root = place(Language::Python, &version);
        let folder = match &found.origin {
            Origin::Folder(folder) => folder,
            Origin::Program(program) => {
                return Ok(toolchain(
                    version,
                    vec![(self.names_of(program, &found.version, true)?, root.clone())],
                    &root,
                ));
            }
        };
        // Also at its own place: the programs beside it (`pip`) begin with their interpreter's path.
        let folders = vec![(folder.clone(), folder.clone()), (folder.clone(), root.clone())];
        let mut toolchain = toolchain(version.clone(), folders, &root);
        if !found::is_open(folder) {
            // In a home: whoever is not root in the container does not get to that place, from which the interpreter
            // takes its library and `pip` its interpreter.
            let names = place(Language::Python, &format!("{version}-names"));
            toolchain.folders.push((self.names_of(&root.join("bin/python3"), &found.version, false)?, names.clone()));
            toolchain.bins.insert(0, names.join("bin"));
            toolchain.env.push(("LD_LIBRARY_PATH".to_owned(), root.join("lib").display().to_string()));
        }
        Ok(toolchain)
    }

    /// `pip` for an interpreter, by its place in the container; with `links`, `python` and `python3` too. (A virtual
    /// environment looks for the libraries beside the name that made it.)
    fn names_of(&self, program: &Path, version: &Version, links: bool) -> Result<std::path::PathBuf, ToolchainError> {
        let (major, minor, _) = version.numbers;
        let hash = Sha256::digest(program.as_os_str().as_encoded_bytes());
        let name = format!("python-{major}.{minor}-names-{}", hex::encode(&hash[..4]));
        self.cache.ensure(&name, |folder| {
            let write = || -> io::Result<()> {
                let bin = folder.join("bin");
                fs::create_dir(&bin)?;
                for name in ["python", &format!("python{major}"), &format!("python{major}.{minor}")] {
                    if links {
                        symlink(program, bin.join(name))?;
                    }
                }
                let script = format!("#!/bin/sh\nexec {} -m pip \"$@\"\n", program.display());
                for name in ["pip", &format!("pip{major}"), &format!("pip{major}.{minor}")] {
                    fs::write(bin.join(name), &script)?;
                    fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755))?;
                }
                Ok(())
            };
            write().map_err(ToolchainError::io("write", folder))
        })
    }

    fn python_build(&self, build: &Build, show: &dyn Fn(Step)) -> Result<Toolchain, ToolchainError> {
        let what = format!("Python {}", build.version);
        let content = Sha256::digest(&build.integrity);
        let name = format!("python-{}-{}-{}", build.version, std::env::consts::ARCH, hex::encode(&content[..4]));
        let folder = self.cache.ensure(&name, |folder| {
            let unpacked = build.archive(&self.options.python_builds).unpack(&self.web, folder, &what, show)?;
            let moved = (|| {
                for entry in fs::read_dir(&unpacked)? {
                    let entry = entry?;
                    fs::rename(entry.path(), folder.join(entry.file_name()))?;
                }
                fs::remove_dir_all(folder.join("top"))
            })();
            moved.map_err(ToolchainError::io("write", folder))?;
            if !folder.join("bin/python3").exists() {
                let why = format!("{} holds no bin/python3", build.file);
                return Err(ToolchainError::Protocol { host: self.options.python_builds.clone(), why });
            }
            show(Step { what: what.clone(), kind: StepKind::Ready });
            Ok(())
        })?;
        let version = build.version.to_string();
        let root = place(Language::Python, &version);
        Ok(toolchain(version, vec![(folder, root.clone())], &root))
    }
}

fn toolchain(version: String, folders: Vec<(std::path::PathBuf, std::path::PathBuf)>, root: &Path) -> Toolchain {
    Toolchain {
        language: Language::Python,
        folders,
        bins: vec![root.join("bin")],
        env: vec![("PYTHON_VERSION".to_owned(), version.clone())],
        version,
    }
}
