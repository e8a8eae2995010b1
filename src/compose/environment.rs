//! The variables that interpolation sees, and where each was set.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// Where a variable was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VariableSource {
    /// The environment of the command.
    Shell,
    /// A line of an env file.
    File { path: Rc<Path>, line: u32 },
    /// A line of a file that names the version of a language: `.python-version`.
    VersionFile { path: Rc<Path>, line: u32 },
    /// Made by the loader: `COMPOSE_PROJECT_NAME`.
    Project,
}

impl std::fmt::Display for VariableSource {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Shell => out.write_str("the environment"),
            Self::File { path, line } | Self::VersionFile { path, line } => write!(out, "{}:{line}", path.display()),
            Self::Project => out.write_str("the project name"),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetVariable {
    /// Shared: every use of the variable notes what it was there.
    pub value: Rc<str>,
    pub source: VariableSource,
}

/// Variables by name; the first to set one wins.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    variables: BTreeMap<String, SetVariable>,
    /// What was set elsewhere too and does not count; the strongest first.
    shadowed: BTreeMap<String, Vec<SetVariable>>,
}

impl Environment {
    /// The environment of the command.
    #[must_use]
    pub fn from_shell(variables: &BTreeMap<String, String>) -> Self {
        let set = |value: &String| SetVariable { value: value.as_str().into(), source: VariableSource::Shell };
        let variables = variables.iter().map(|(name, value)| (name.clone(), set(value))).collect();
        Self { variables, shadowed: BTreeMap::new() }
    }

    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.variables.get(name).map(|variable| &*variable.value)
    }

    #[must_use]
    pub fn variable(&self, name: &str) -> Option<&SetVariable> {
        self.variables.get(name)
    }

    /// Sets `name` unless it is set.
    pub fn fill(&mut self, name: &str, value: &str, source: VariableSource) {
        let variable = SetVariable { value: value.into(), source };
        match self.variables.contains_key(name) {
            true => self.shadowed.entry(name.to_owned()).or_default().push(variable),
            false => _ = self.variables.insert(name.to_owned(), variable),
        }
    }

    /// Sets what `other` sets unless it is set.
    pub fn fill_all(&mut self, other: &Self) {
        for (name, variable) in &other.variables {
            self.fill(name, &variable.value, variable.source.clone());
            if let Some(shadowed) = other.shadowed.get(name) {
                self.shadowed.entry(name.clone()).or_default().extend(shadowed.iter().cloned());
            }
        }
    }

    /// Sets `name`, whatever it was.
    pub fn set(&mut self, name: &str, value: &str, source: VariableSource) {
        let variable = SetVariable { value: value.into(), source };
        if let Some(before) = self.variables.insert(name.to_owned(), variable) {
            self.shadowed.entry(name.to_owned()).or_default().insert(0, before);
        }
    }

    /// Takes out the variables that are only what version files say.
    pub fn take_versions(&mut self) -> Vec<(String, SetVariable)> {
        let is_version = |set: &SetVariable| matches!(set.source, VariableSource::VersionFile { .. });
        let names: Vec<String> =
            self.variables.iter().filter(|(_, set)| is_version(set)).map(|(name, _)| name.clone()).collect();
        names.into_iter().filter_map(|name| Some((name.clone(), self.variables.remove(&name)?))).collect()
    }

    /// Where else `name` is set, without effect; the strongest first.
    #[must_use]
    pub fn shadowed(&self, name: &str) -> &[SetVariable] {
        self.shadowed.get(name).map_or(&[], Vec::as_slice)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&String, &SetVariable)> {
        self.variables.iter()
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.variables.keys().map(String::as_str)
    }

    /// Names and values alone.
    #[must_use]
    pub fn values(&self) -> BTreeMap<String, String> {
        self.variables.iter().map(|(name, variable)| (name.clone(), variable.value.to_string())).collect()
    }

    /// The home folder, for `~`.
    #[must_use]
    pub fn home(&self) -> Option<PathBuf> {
        self.get("HOME").filter(|home| !home.is_empty()).map(PathBuf::from)
    }
}
