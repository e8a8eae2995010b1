//! Which project a command is about, for commands that need no more of the Compose file than that.

use std::path::{Path, PathBuf};

use super::{CommandError, Context};
use crate::state::ProjectPaths;

/// Names of Compose files in the order in which they are looked for, and of those merged over them.
const FILES: [&str; 4] = ["compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml"];
const OVERRIDES: [&str; 4] =
    ["compose.override.yaml", "compose.override.yml", "docker-compose.override.yml", "docker-compose.override.yaml"];

impl Context {
    /// The places of the project: `-p`, `COMPOSE_PROJECT_NAME`, `name:` of the last file that has one, the folder.
    ///
    /// # Errors
    /// When nothing names a project, or the name is none.
    pub fn project_paths(&self) -> Result<ProjectPaths, CommandError> {
        let variable = self.environment.get("COMPOSE_PROJECT_NAME").filter(|name| !name.is_empty());
        if let Some(name) = self.global.project_name.as_ref().or(variable) {
            if normalise(name) != *name {
                return Err(CommandError::new(format!("`{name}` is not a project name"))
                    .hint("use lower-case letters, digits, `-` and `_`, a letter or digit first"));
            }
            return Ok(self.paths.project(name));
        }
        let files = self.compose_files();
        let Some(first) = files.first() else {
            return Err(CommandError::new("no Compose file here or in a folder above")
                .hint("change to the project's folder, or name the project with -p; `windlass ls` lists them"));
        };
        let folder = match &self.global.project_directory {
            Some(folder) => self.working_dir.join(folder),
            None => first.parent().map_or_else(|| self.working_dir.clone(), Path::to_path_buf),
        };
        let named = files.iter().rev().find_map(|file| name_in(&std::fs::read_to_string(file).ok()?));
        let folder = folder.canonicalize().unwrap_or(folder);
        let name = named.unwrap_or_else(|| folder.file_name().unwrap_or_default().to_string_lossy().into_owned());
        let name = normalise(&name);
        if name.is_empty() {
            return Err(CommandError::new(format!("the folder {} gives no project name", folder.display()))
                .hint("name the project with -p or with `name:` in the file"));
        }
        Ok(self.paths.project(&name))
    }

    /// Whether there is anything to load.
    #[must_use]
    pub fn has_compose_file(&self) -> bool {
        !self.global.files.is_empty() || !self.compose_files().is_empty()
    }

    /// `-f`, `COMPOSE_FILE`, or the files of the nearest folder that has any.
    fn compose_files(&self) -> Vec<PathBuf> {
        if !self.global.files.is_empty() {
            return self
                .global
                .files
                .iter()
                .filter(|file| *file != "-")
                .map(|file| self.working_dir.join(file))
                .collect();
        }
        if let Some(list) = self.environment.get("COMPOSE_FILE").filter(|list| !list.is_empty()) {
            let separator = self.environment.get("COMPOSE_PATH_SEPARATOR").map_or(":", String::as_str);
            return list.split(separator).map(|file| self.working_dir.join(file)).collect();
        }
        let start = self.global.project_directory.as_ref().map(|folder| self.working_dir.join(folder));
        for folder in start.as_ref().unwrap_or(&self.working_dir).ancestors() {
            let first = |names: &[&str]| names.iter().map(|name| folder.join(name)).find(|file| file.is_file());
            if let Some(file) = first(&FILES) {
                return std::iter::once(file).chain(first(&OVERRIDES)).collect();
            }
        }
        Vec::new()
    }
}

/// Compose's rule: lower case, letters, digits, `-` and `_`, a letter or digit first.
fn normalise(name: &str) -> String {
    let kept =
        |character: &char| character.is_ascii_lowercase() || character.is_ascii_digit() || "-_".contains(*character);
    let name: String = name.to_lowercase().chars().filter(kept).collect();
    name.trim_start_matches(['-', '_']).to_owned()
}

/// The value of the top-level `name:`.
fn name_in(text: &str) -> Option<String> {
    let file: serde_yaml::Value = serde_yaml::from_str(text).ok()?;
    file.get("name")?.as_str().filter(|name| !name.contains('$')).map(ToOwned::to_owned)
}
