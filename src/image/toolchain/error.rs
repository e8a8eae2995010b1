//! What can go wrong with toolchains.

use std::io;
use std::path::PathBuf;

use crate::image::registry::RegistryError;
use crate::image::unpack::extract::ExtractError;
use crate::language::Language;

/// Why a toolchain cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum ToolchainError {
    #[error("cannot {verb} {path}")]
    Io { verb: &'static str, path: PathBuf, source: io::Error },
    #[error(transparent)]
    Web(#[from] RegistryError),
    /// For who only wants to know whether it is.
    #[error("{what} is not here, and is not to be fetched")]
    NotHere { what: String },
    #[error("it is not known which registry of npm to fetch Node.js from")]
    NoNpmRegistry,
    #[error("there is no {} that `{wanted}` takes; {from} has {available}", language.title())]
    NoVersion { language: Language, wanted: String, from: String, available: String },
    #[error("this machine has {available}, and none that `{wanted}` takes; no standalone build can be had")]
    NoPython { wanted: String, available: String, source: Box<ToolchainError> },
    #[error("`{wanted}` is locked to {} {version}, and {from} does not have that", language.title())]
    LockedAway { language: Language, wanted: String, version: String, from: String },
    #[error("{what} has the wrong content: {expected} was promised, {found} came")]
    Mismatch { what: String, expected: String, found: String },
    #[error("{host} sent something that is not understood: {why}")]
    Protocol { host: String, why: String },
    #[error("there are no builds of {} for {arch}", language.title())]
    Architecture { language: Language, arch: &'static str },
    #[error("{what} cannot be unpacked")]
    Unpack { what: String, source: ExtractError },
    #[error("{path} is not understood: {why}")]
    LockFile { path: PathBuf, why: String },
    #[error("{what} is larger than {limit} MiB")]
    TooLarge { what: String, limit: u64 },
}

impl ToolchainError {
    pub(super) fn io(verb: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { verb, path, source }
    }

    /// What a person can do about it.
    #[must_use]
    pub fn remedy(&self) -> Option<String> {
        match self {
            Self::NoNpmRegistry => Some(
                "set NPM_CONFIG_REGISTRY to its address, write `registry=ADDRESS` into the project's .npmrc, or install npm, \
                 which knows one"
                    .to_owned(),
            ),
            Self::NoVersion { language: Language::Node, .. } => {
                Some("ask for one of these, or for a range such as `22` or `>=20 <23`".to_owned())
            }
            Self::NoVersion { language: Language::Python, wanted, .. } | Self::NoPython { wanted, .. } => {
                Some(format!(
                    "ask for one of these, install {wanted} with uv, pyenv or mise, or name a folder of standalone builds in \
                 WINDLASS_PYTHON_MIRROR"
                ))
            }
            Self::LockedAway { language: Language::Python, version, .. } => Some(format!(
                "install Python {version} with uv, pyenv or mise, or take the entry out of windlass.lock to choose anew"
            )),
            Self::LockedAway { .. } | Self::Mismatch { .. } => {
                Some("take the entry out of windlass.lock to choose anew, if you trust where it comes from".to_owned())
            }
            Self::LockFile { .. } => Some("mend it, or remove it to choose all versions anew".to_owned()),
            Self::Web(error) => error.remedy(),
            _ => None,
        }
    }
}
