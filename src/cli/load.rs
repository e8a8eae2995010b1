//! Which project a command is about, and its Compose files.

use std::io::IsTerminal;
use std::path::PathBuf;

use super::Context;
use super::exit::CommandError;
use super::ui::progress::{Mode, Progress};
use super::ui::style::Palette;
use crate::compose::model::Project;

/// How the files are loaded.
#[derive(Debug, Clone, Default)]
pub struct Loading {}

/// A project, and what else of its loading commands need.
#[derive(Debug)]
pub struct Loaded {
    pub project: Project,
    pub environment_files: Vec<PathBuf>,
}

impl Context {
    /// Loads the project's files; prints warnings.
    ///
    /// # Errors
    /// Every fault of the files, rendered.
    pub fn load(&self, _loading: &Loading) -> Result<Loaded, CommandError> {
        let text = std::fs::read_to_string(&self.global.files[0])?;
        let mut project: Project = serde_yaml::from_str(&text)?;
        project.working_dir = self.working_dir.clone();
        Ok(Loaded { project, environment_files: vec![] })
    }

    /// Colours for stderr.
    #[must_use]
    pub fn palette(&self) -> Palette {
        Palette::resolve(self.global.ansi, &self.environment, std::io::stderr().is_terminal())
    }

    /// Colours for stdout.
    #[must_use]
    pub fn palette_of_stdout(&self) -> Palette {
        Palette::resolve(self.global.ansi, &self.environment, std::io::stdout().is_terminal())
    }

    /// Progress on stderr.
    #[must_use]
    pub fn progress(&self, title: &str) -> Progress {
        let terminal = std::io::stderr().is_terminal();
        Progress::start(title, Mode::resolve(self.global.progress, &self.environment, terminal), self.palette())
    }
}
