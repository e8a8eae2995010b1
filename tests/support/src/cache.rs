//! The images are made once for each version of their recipe and kept between runs.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::fcntl::{Flock, FlockArg};

use crate::debian::Debian;
use crate::layout::digest;
use crate::registry::Guard;
use crate::{Registry, recipe};

/// What the images are made from: another text, other images.
const SOURCES: &[&str] = &[
    include_str!("debian.rs"),
    include_str!("layer.rs"),
    include_str!("layout.rs"),
    include_str!("recipe.rs"),
    include_str!("postgres-entrypoint.sh"),
];

/// Where everything is kept that is made once.
pub(crate) fn folder() -> Result<PathBuf> {
    let cache = std::env::var_os("WINDLASS_TEST_CACHE")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.cache"), PathBuf::from);
    fs::create_dir_all(&cache).with_context(|| format!("cannot make {}", cache.display()))?;
    Ok(cache.canonicalize()?)
}

/// The path of a program of this machine.
pub(crate) fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|path| path.is_file())
}

/// One maker of what is in the cache at a time.
fn alone(cache: &Path) -> Result<Flock<File>> {
    let lock = File::create(cache.join("images.lock"))?;
    Ok(Flock::lock(lock, FlockArg::LockExclusive).map_err(|(_, errno)| errno)?)
}

/// The program of a registry: this machine's, or one that is unpacked into the cache.
///
/// # Errors
/// When the package cannot be had.
pub fn registry_program() -> Result<PathBuf> {
    let cache = folder()?;
    let _lock = alone(&cache)?;
    Debian::find(&cache.join("tools"))?.program("docker-registry").context("the package has no docker-registry")
}

/// Images that are ready to be served and loaded.
#[derive(Debug)]
pub struct Images {
    folder: PathBuf,
    program: PathBuf,
}

impl Images {
    /// Takes the images from the cache, or makes them: about two minutes. `WINDLASS_TEST_CACHE` names another cache
    /// than `.cache` in the project's folder.
    pub fn ready() -> Result<Self> {
        let cache = folder()?;
        let _lock = alone(&cache)?;
        let debian = Debian::find(&cache.join("tools"))?;
        let key = digest([SOURCES.concat(), debian.architecture.clone()].concat().as_bytes());
        let folder = cache.join(format!("images-{}", &key["sha256:".len()..][..12]));
        let program = debian.program("docker-registry").context("the package has no docker-registry")?;
        if !folder.is_dir() {
            eprintln!("making the test images in {} (about two minutes, once)", folder.display());
            let making = cache.join("images.making");
            let _ = fs::remove_dir_all(&making);
            let work = making.join("work");
            fs::create_dir_all(&work)?;
            recipe::make(&work, &making.join("layout"), &debian)?;
            fs::remove_dir_all(&work)?;
            Registry::start(&program, &making.join("registry"))?.push_layout(&making.join("layout"))?;
            fs::rename(&making, &folder)?;
        }
        Ok(Self { folder, program })
    }

    /// An OCI layout with every image, named `busybox:1.35` and so on.
    #[must_use]
    pub fn layout(&self) -> PathBuf {
        self.folder.join("layout")
    }

    /// A registry that serves them as `library/NAME:TAG`.
    pub fn serve(&self) -> Result<Registry> {
        Registry::start(&self.program, &self.folder.join("registry"))
    }

    /// The same with a certificate and passwords.
    pub fn serve_guarded(&self, guard: &Guard) -> Result<Registry> {
        Registry::start_guarded(&self.program, &self.folder.join("registry"), guard)
    }
}
