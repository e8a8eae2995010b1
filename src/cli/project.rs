//! Which project a command is about, for commands that need no more of the Compose files than that.

use super::load::Loading;
use super::{CommandError, Context, names};
use crate::compose::model::Project;
use crate::compose::{self, FsSource, LoadOptions};
use crate::record::{ProjectRecord, inventory};
use crate::state::{ProjectPaths, record};

impl Context {
    /// The places of the project: by `-p` or `COMPOSE_PROJECT_NAME` without a look at any file, so that a project can
    /// be seen and ended from anywhere and with broken files; otherwise by the files.
    ///
    /// # Errors
    /// When the name is none, or the files are wrong or missing.
    pub fn project_paths(&self) -> Result<ProjectPaths, CommandError> {
        match self.project_name()? {
            Some(name) => Ok(self.paths.project(name)),
            None => Ok(self.paths.project(&self.load_roughly(&[])?.name)),
        }
    }

    /// The same for a command that names services: each must be one of the files, or, where no file is looked at, one
    /// that the project has or had when it was raised.
    ///
    /// # Errors
    /// As [`Context::project_paths`], and when a service is unknown.
    pub fn named(&self, services: &[String]) -> Result<ProjectPaths, CommandError> {
        let (paths, mut known) = self.identified(services)?;
        if !services.iter().all(|service| known.contains(service)) {
            known.extend(inventory::containers(&paths)?.into_iter().map(|have| have.record.service));
            known.sort();
            known.dedup();
        }
        names::check(services, &known)?;
        Ok(paths)
    }

    /// The project's places and the services that are declared: by its files, or by what was raised where no file is
    /// looked at.
    ///
    /// # Errors
    /// As [`Context::project_paths`].
    pub fn identified(&self, services: &[String]) -> Result<(ProjectPaths, Vec<String>), CommandError> {
        let Some(name) = self.project_name()? else {
            let project = self.load_roughly(services)?;
            return Ok((self.paths.project(&project.name), names::services(&project)));
        };
        let paths = self.paths.project(name);
        let known = match record::read_if_whole::<ProjectRecord>(&paths.record()) {
            Some(raised) => raised.services,
            None if self.has_compose_file() => {
                self.load_roughly(services).map(|project| names::services(&project)).unwrap_or_default()
            }
            None => Vec::new(),
        };
        Ok((paths, known))
    }

    /// The services of the files whose profile is on; `None` where the project is named and no file is looked at.
    ///
    /// # Errors
    /// When the files are wrong or missing.
    pub fn enabled(&self) -> Result<Option<Vec<String>>, CommandError> {
        if self.project_name()?.is_some() && self.global.files.is_empty() {
            return Ok(None);
        }
        Ok(Some(self.load_roughly(&[])?.services.keys().cloned().collect()))
    }

    /// The name that is given without any file.
    fn project_name(&self) -> Result<Option<&str>, CommandError> {
        let variable = self.environment.get("COMPOSE_PROJECT_NAME").filter(|name| !name.is_empty());
        let Some(name) = self.global.project_name.as_ref().or(variable) else { return Ok(None) };
        compose::check_project_name(name)
            .map_err(|invalid| CommandError::new(invalid.to_string()).hint(invalid.hint))?;
        Ok(Some(name))
    }

    /// A missing env_file, or a fault that only `up` would meet, is no reason not to show what runs.
    fn load_roughly(&self, services: &[String]) -> Result<Project, CommandError> {
        let options = LoadOptions {
            check_consistency: false,
            resolve_environment: false,
            places: false,
            ..LoadOptions::default()
        };
        let request = self.load_request(&Loading { options, services: services.to_vec() });
        let loaded = compose::load(request, &FsSource)
            .map_err(|failure| self.load_error(&failure).hint("`windlass ls` lists the projects; -p names one"))?;
        Ok(loaded.project)
    }

    /// Whether there is anything to load.
    #[must_use]
    pub fn has_compose_file(&self) -> bool {
        let named = self.environment.get("COMPOSE_FILE").is_some_and(|list| !list.is_empty());
        let start = self.global.project_directory.as_ref().map(|folder| self.working_dir.join(folder));
        let start = start.as_ref().unwrap_or(&self.working_dir);
        named || !self.global.files.is_empty() || compose::has_default_file(start, &FsSource)
    }
}
