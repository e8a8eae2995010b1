//! Which project a command is about, for commands that need no more of the Compose files than that.

use super::commands::up::no_such_service;
use super::load::Loading;
use super::{CommandError, Context};
use crate::compose::model::Project;
use crate::compose::{self, FsSource, LoadOptions};
use crate::engine::inventory;
use crate::state::{ProjectPaths, record};
use crate::supervisor::record::ProjectRecord;

/// Names of Compose files.
const FILES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];

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
        let (paths, known) = match self.project_name()? {
            Some(name) => {
                let paths = self.paths.project(name);
                let raised = record::read::<ProjectRecord>(&paths.record())?.map(|project| project.services);
                let mut known = raised.unwrap_or_default();
                known.extend(inventory::containers(&paths)?.into_iter().map(|have| have.record.service));
                (paths, known)
            }
            None => {
                let project = self.load_roughly(services)?;
                let known = project.services.keys().chain(project.disabled_services.keys()).cloned().collect();
                (self.paths.project(&project.name), known)
            }
        };
        let unknown: Vec<String> = services.iter().filter(|service| !known.contains(service)).cloned().collect();
        if unknown.is_empty() { Ok(paths) } else { Err(no_such_service(&unknown)) }
    }

    /// The name that is given without any file.
    fn project_name(&self) -> Result<Option<&str>, CommandError> {
        let variable = self.environment.get("COMPOSE_PROJECT_NAME").filter(|name| !name.is_empty());
        let Some(name) = self.global.project_name.as_ref().or(variable) else { return Ok(None) };
        if !is_project_name(name) {
            return Err(CommandError::new(format!("`{name}` is not a project name"))
                .hint("use lower-case letters, digits, `-` and `_`, a letter or digit first"));
        }
        Ok(Some(name))
    }

    /// A missing env_file, or a fault that only `up` would meet, is no reason not to show what runs.
    fn load_roughly(&self, services: &[String]) -> Result<Project, CommandError> {
        let options = LoadOptions { check_consistency: false, resolve_environment: false, ..LoadOptions::default() };
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
        let mut folders = start.as_ref().unwrap_or(&self.working_dir).ancestors();
        named
            || !self.global.files.is_empty()
            || folders.any(|folder| FILES.iter().any(|name| folder.join(name).is_file()))
    }
}

fn is_project_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    name.bytes().next().is_some_and(plain) && name.bytes().all(|byte| plain(byte) || b"-_".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_never_a_path() {
        for good in ["shop", "0-x_y"] {
            assert!(is_project_name(good), "{good}");
        }
        for bad in ["", "..", "a/b", "-a", "_a", "Shop", "a.b", "a b", "ä"] {
            assert!(!is_project_name(bad), "{bad}");
        }
    }
}
