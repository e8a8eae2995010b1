//! Toolchains: one exact Node.js or Python over the host root file system.
//!
//! [`Toolchains::ensure`] answers with a folder that a service gets read-only. What was chosen for a wish is kept in the
//! project's [`LockFile`], what was fetched in the data folder for all projects.

mod cache;
mod error;
mod kept;
mod lock;
mod node;
mod npm;
mod python;

use std::cell::LazyCell;
use std::path::PathBuf;

pub use error::ToolchainError;
pub use kept::{Kept, kept, remove};
pub use lock::LockFile;
pub use python::PYTHON_BUILDS;

use super::registry::{Proxies, web::Web};
use crate::language::{Language, Wanted};
use cache::{Archive, Cache};

/// Where toolchains come from. Nothing here is read from the environment: the caller passes it in.
#[derive(Debug, Clone, Default)]
pub struct ToolchainOptions {
    /// Address of a folder with `SHA256SUMS` and standalone builds of Python.
    pub python_builds: String,
    /// Folders in which other tools keep interpreters, a folder each.
    pub interpreters: Vec<PathBuf>,
    pub proxies: Proxies,
    /// Change nothing and ask nobody: what is not here is [`ToolchainError::NotHere`].
    pub here_alone: bool,
}

/// Address of a registry of npm, and what it wants to be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NpmRegistry {
    pub url: String,
    pub token: Option<String>,
}

/// Finds the registry of npm.
pub type FindNpm<'a> = Box<dyn FnOnce() -> Option<NpmRegistry> + 'a>;

/// An interpreter that is here, as a service gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Toolchain {
    pub language: Language,
    pub version: String,
    /// Folders of the host, and where they are in the container; read-only.
    pub folders: Vec<(PathBuf, PathBuf)>,
    /// What goes on the search path, in the container.
    pub bins: Vec<PathBuf>,
    /// Further variables.
    pub env: Vec<(String, String)>,
}

/// What is going on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// `Node.js 22.23.3`
    pub what: String,
    pub kind: StepKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StepKind {
    Resolving,
    Downloading { current: u64, total: u64 },
    Unpacking,
    Ready,
}

/// Finds and fetches toolchains.
#[derive(Debug)]
pub struct Toolchains<'a> {
    cache: Cache,
    web: Web,
    options: ToolchainOptions,
    npm: LazyCell<Option<NpmRegistry>, FindNpm<'a>>,
}

impl<'a> Toolchains<'a> {
    /// `folder` holds what is fetched; `npm` is asked once something of a registry of npm is needed.
    #[must_use]
    pub fn new(folder: PathBuf, options: ToolchainOptions, npm: FindNpm<'a>) -> Self {
        let web = Web::new(options.proxies.clone());
        Self { cache: Cache::new(folder, options.here_alone), web, options, npm: LazyCell::new(npm) }
    }

    /// The toolchain that `lock` has for the wish; otherwise the newest that will do, which goes into `lock`.
    ///
    /// # Errors
    /// When there is no such version, or it cannot be fetched.
    pub fn ensure(
        &self,
        wanted: &Wanted,
        lock: &mut LockFile,
        show: &dyn Fn(Step),
    ) -> Result<Toolchain, ToolchainError> {
        match wanted.language {
            Language::Node => self.node(wanted, lock, show),
            Language::Python => self.python(wanted, lock, show),
        }
    }

    /// Before a registry is asked.
    fn may_ask(&self, wanted: &Wanted) -> Result<(), ToolchainError> {
        match self.options.here_alone {
            true => Err(ToolchainError::NotHere { what: format!("{} {}", wanted.language.title(), wanted.text) }),
            false => Ok(()),
        }
    }
}

/// Where a toolchain is in a container.
fn place(language: Language, version: &str) -> PathBuf {
    PathBuf::from("/opt").join(format!("{}-{version}", language.name()))
}
