//! What every command starts from: the environment, read once, and the global flags.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::exit::{CommandError, USAGE};
use super::global::{Ansi, GlobalArgs, ProgressKind};
use super::settings;
use crate::state::Paths;

/// The environment and the global flags of one command.
#[derive(Debug, Clone)]
pub struct Context {
    pub global: GlobalArgs,
    pub paths: Paths,
    /// The variables of this process that are valid UTF-8.
    pub environment: BTreeMap<String, String>,
    /// Working directory as the shell sees it.
    pub working_dir: PathBuf,
    pub home: Option<PathBuf>,
    /// Faults of the files are for programs: JSON.
    pub faults_as_data: bool,
}

impl Context {
    /// The same, for what only looks at what would be done.
    #[must_use]
    pub fn as_dry_run(&self) -> Self {
        Self { global: GlobalArgs { dry_run: true, ..self.global.clone() }, ..self.clone() }
    }

    /// # Errors
    /// When the working directory is gone.
    pub fn from_environment(mut global: GlobalArgs, prints_json: bool) -> Result<Self, CommandError> {
        let mut environment: BTreeMap<String, String> = std::env::vars_os()
            .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        let working_dir = std::env::current_dir().map_err(|error| {
            CommandError::caused("the working directory is gone", &error).hint("change to a folder that exists")
        })?;
        settings::from_files(&mut environment, &global, &working_dir);
        settings::fill(&mut global, &environment)?;
        if global.progress == Some(ProgressKind::Tty) && global.ansi == Some(Ansi::Never) {
            return Err(CommandError::new(
                "--progress tty draws with control sequences, and --ansi never forbids them",
            )
            .hint("leave one of the two out")
            .code(USAGE));
        }
        let home = environment.get("WINDLASS_HOME").filter(|home| !home.is_empty()).map(|home| working_dir.join(home));
        Ok(Self {
            faults_as_data: prints_json || global.progress == Some(ProgressKind::Json),
            global,
            paths: Paths::from_home(home.as_deref()),
            working_dir,
            home: environment.get("HOME").filter(|home| !home.is_empty()).map(PathBuf::from),
            environment,
        })
    }

    /// What windlass keeps may be another user's; says so instead of failing at the first file of it, or finding nothing.
    ///
    /// # Errors
    /// When there is something that this user may not read.
    pub fn require_access(&self) -> Result<(), CommandError> {
        let (all, data) = (rustix::fs::Access::READ_OK | rustix::fs::Access::EXEC_OK, self.paths.data());
        let looked = rustix::fs::accessat(rustix::fs::CWD, data, all, rustix::fs::AtFlags::EACCESS);
        match looked {
            Err(rustix::io::Errno::ACCESS) => {
                Err(CommandError::new(format!("what windlass keeps in {} needs root to be read", data.display()))
                    .hint("run it with sudo, or keep a state of your own: WINDLASS_HOME=/folder"))
            }
            _ => Ok(()),
        }
    }

    /// Containers need root; says so before anything is touched.
    ///
    /// # Errors
    /// When the effective user is not root.
    pub fn require_root(&self) -> Result<(), CommandError> {
        if nix::unistd::geteuid().is_root() {
            return Ok(());
        }
        Err(CommandError::new("this command starts or changes containers, and that needs root for now")
            .hint("run it with sudo; reading commands such as `config` work without"))
    }
}
