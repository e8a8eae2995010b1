//! Which project a command is about, and its Compose files.

use std::io::IsTerminal;
use std::path::PathBuf;

use super::Context;
use super::exit::{CommandError, FAILURE};
use super::settings;
use super::ui::progress::{Mode, Progress};
use super::ui::stdout;
use super::ui::style::Palette;
use crate::compose::environment::VariableSource;
use crate::compose::model::Project;
use crate::compose::{self, FsSource, LoadFailure, LoadOptions, LoadRequest};
use crate::diag::{Paint, SourceMap, render_all, to_json};

/// How the files are loaded.
#[derive(Debug, Clone, Default)]
pub struct Loading {
    /// Services that the command names: their profiles are active.
    pub services: Vec<String>,
    pub options: LoadOptions,
}

/// A project, and what else of its loading commands need.
#[derive(Debug, Clone)]
pub struct Loaded {
    pub project: Project,
    pub environment_files: Vec<PathBuf>,
    /// The texts that its places point into.
    pub sources: SourceMap,
}

impl Context {
    /// Loads the project's files; prints warnings.
    ///
    /// # Errors
    /// Every fault of the files, rendered.
    pub fn load(&self, loading: &Loading) -> Result<Loaded, CommandError> {
        let mut request = self.load_request(loading);
        request.options.for_running = true;
        let loaded = compose::load(request, &FsSource).map_err(|failure| self.load_error(&failure))?;
        self.warn(&loaded);
        let files = loaded.environment.iter().filter_map(|(_, variable)| match &variable.source {
            VariableSource::File { path, .. } => Some(path.to_path_buf()),
            VariableSource::Shell | VariableSource::VersionFile { .. } | VariableSource::Project => None,
        });
        let mut environment_files: Vec<PathBuf> = files.collect();
        environment_files.sort();
        environment_files.dedup();
        Ok(Loaded { project: loaded.project, environment_files, sources: loaded.sources })
    }

    /// Loads the project's files for a command that is about the files; prints warnings. With `json`, faults are data on
    /// standard output.
    ///
    /// # Errors
    /// Every fault of the files.
    pub fn load_whole(&self, loading: &Loading, json: bool) -> Result<compose::Loaded, CommandError> {
        match compose::load(self.load_request(loading), &FsSource) {
            Ok(loaded) => {
                self.warn(&loaded);
                Ok(loaded)
            }
            Err(failure) if json => {
                stdout::write(&format!("{:#}\n", to_json(&failure.diagnostics, &failure.sources)))?;
                Err(CommandError::silent(FAILURE))
            }
            Err(failure) => Err(self.load_error(&failure)),
        }
    }

    /// Prints the warnings of a load to standard error.
    fn warn(&self, loaded: &compose::Loaded) {
        if loaded.warnings.is_empty() {
            return;
        }
        match self.faults_as_data {
            true => eprintln!("{}", to_json(&loaded.warnings, &loaded.sources)),
            false => {
                eprint!("{}", render_all(&loaded.warnings, &loaded.sources, self.paint()));
                if self.is_through_sudo() && loaded.warnings.iter().any(|warning| warning.is_about_variables) {
                    eprintln!(
                        "hint: sudo drops the variables of your shell: `sudo NAME=VALUE windlass ...`, or write them into .env"
                    );
                }
            }
        }
    }

    /// Whether a person who is not root called us through sudo.
    #[must_use]
    pub fn is_through_sudo(&self) -> bool {
        self.environment.get("SUDO_UID").is_some_and(|uid| !uid.is_empty() && uid != "0")
    }

    /// What the global flags ask for.
    #[must_use]
    pub fn load_request(&self, loading: &Loading) -> LoadRequest {
        let mut options = loading.options.clone();
        options.services.extend(loading.services.iter().cloned());
        options.all_resources |= self.global.all_resources;
        options.compatibility |= self.global.compatibility;
        LoadRequest {
            current_dir: self.working_dir.clone(),
            files: self.global.files.iter().map(PathBuf::from).collect(),
            project_directory: self.global.project_directory.clone(),
            project_name: self.global.project_name.clone(),
            profiles: self.global.profiles.clone(),
            env_files: self.global.env_files.iter().map(PathBuf::from).collect(),
            environment: self.environment.clone(),
            options,
        }
    }

    /// All faults, rendered for people, or for programs in one line.
    #[must_use]
    pub fn load_error(&self, failure: &LoadFailure) -> CommandError {
        if self.faults_as_data {
            return CommandError::data(&to_json(&failure.diagnostics, &failure.sources));
        }
        CommandError::rendered(render_all(&failure.diagnostics, &failure.sources, self.paint()))
    }

    /// Whether diagnostics are coloured.
    #[must_use]
    pub fn paint(&self) -> Paint {
        match self.palette().is_on() {
            true => Paint::Colour,
            false => Paint::Plain,
        }
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

    /// Progress on stderr; on stdout with `COMPOSE_STATUS_STDOUT`.
    #[must_use]
    pub fn progress(&self, title: &str) -> Progress {
        if settings::is_true(self.environment.get("COMPOSE_STATUS_STDOUT")) {
            let mode = self.mode(std::io::stdout().is_terminal());
            return Progress::start_on_stdout(title, mode, self.palette_of_stdout());
        }
        Progress::start(title, self.mode(std::io::stderr().is_terminal()), self.palette())
    }

    fn mode(&self, terminal: bool) -> Mode {
        Mode::resolve(self.global.progress, self.global.ansi, &self.environment, terminal)
    }
}
