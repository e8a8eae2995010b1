//! Small virtual machines with other kernels than this one, emulated: Debian's cloud kernels, a memory file system as
//! their disk, cgroup v2 alone.

mod boot;
mod cpio;
mod kernel;
mod system;

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::fcntl::{Flock, FlockArg};

use crate::cache;
use crate::debian::Debian;
use crate::layout::digest;

pub use boot::Outcome;

/// What machines are made from: another text, other machines.
const SOURCES: &[&str] =
    &[include_str!("../debian.rs"), include_str!("cpio.rs"), include_str!("kernel.rs"), include_str!("system.rs")];

/// A kernel with its modules, and a Debian system that the programs of this machine run on.
#[derive(Debug)]
pub struct Machine {
    kernel: PathBuf,
    modules: PathBuf,
    system: PathBuf,
}

impl Machine {
    /// Whether this machine can emulate one.
    #[must_use]
    pub fn possible() -> bool {
        cfg!(target_arch = "x86_64") && cache::program(boot::EMULATOR).is_some()
    }

    /// Takes the parts from the cache, or makes them. `suite` is the Debian release whose kernel it runs.
    pub fn ready(suite: &str) -> Result<Self> {
        let cache = cache::folder()?;
        let lock = File::create(cache.join("machines.lock"))?;
        let _lock = Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, errno)| errno)?;
        let debian = Debian::find(&cache.join("tools"))?;
        let key = digest(SOURCES.concat().as_bytes());
        let folder = cache.join(format!("machines-{}", &key["sha256:".len()..][..12]));
        fs::create_dir_all(&folder)?;
        let system = make(&folder, "system", |making| system::make(&debian, making))?.join("root.cpio");
        let kernel = make(&folder, suite, |making| kernel::make(&debian, suite, making))?;
        Ok(Self { kernel: kernel.join("vmlinuz"), modules: kernel.join("modules.cpio"), system })
    }

    /// Boots, puts the files (of this machine, by the same paths) into it, runs the shell script and ends the machine.
    /// Port `10.0.2.2:N` in it is port `127.0.0.1:N` here.
    pub fn run(&self, files: &[&Path], script: &str) -> Result<Outcome> {
        boot::run(self, files, script)
    }
}

/// A folder of the cache that is complete when it has its name.
fn make(cache: &Path, name: &str, recipe: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let folder = cache.join(name);
    if !folder.is_dir() {
        let making = cache.join(format!("{name}.making"));
        let _ = fs::remove_dir_all(&making);
        fs::create_dir_all(&making)?;
        recipe(&making).with_context(|| format!("cannot make the machine's {name}"))?;
        fs::rename(&making, &folder)?;
    }
    Ok(folder)
}
