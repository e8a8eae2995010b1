//! Which values are never shown: those of secrets and configs, and what they are made of.

use std::collections::BTreeSet;

use crate::compose::environment::Environment;
use crate::compose::session::{Interpolation, Trail};
use crate::compose::yaml::{Mapping, Node};

/// A secret at least this long is hidden inside longer texts too.
const LONG: usize = 8;

/// Variables that feed secrets, and their values.
#[derive(Debug, Clone, Default)]
pub struct Secrecy {
    names: BTreeSet<String>,
    values: BTreeSet<String>,
}

impl Secrecy {
    /// What the project `tree` keeps secret.
    pub fn of(tree: &Node, trail: &Trail, environment: &Environment) -> Self {
        let mut names = BTreeSet::new();
        let mut values = BTreeSet::new();
        for kind in ["secrets", "configs"] {
            for (_, entry) in tree.get(kind).and_then(Node::as_mapping).into_iter().flat_map(Mapping::iter) {
                names.extend(entry.node.get("environment").and_then(Node::as_str).map(str::to_owned));
                let contents = ["content", "#content"].into_iter().filter_map(|key| entry.node.get(key)?.as_str());
                values.extend(contents.map(str::to_owned));
            }
        }
        // A variable of an env file that is made of a secret one is as secret.
        loop {
            let derived = trail.passed.iter().filter(|used| names.contains(&used.name) && !used.path.contains('.'));
            let more: Vec<String> = derived.map(|used| used.path.clone()).filter(|key| !names.contains(key)).collect();
            if more.is_empty() {
                break;
            }
            names.extend(more);
        }
        values.extend(names.iter().filter_map(|name| environment.get(name)).map(str::to_owned));
        values.remove("");
        Self { names, values }
    }

    /// Whether the variable `name` is secret.
    pub fn hides_variable(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// Whether `text` is or holds a secret.
    pub fn hides_text(&self, text: &str) -> bool {
        self.values.contains(text) || self.values.iter().any(|value| value.len() >= LONG && text.contains(value))
    }

    /// Whether a value made by `made` is secret.
    pub fn hides_made(&self, made: Option<&Interpolation>) -> bool {
        made.is_some_and(|made| made.variables.iter().any(|(name, _)| self.names.contains(name)))
    }

    /// Whether `path` is the text of a config, which is not even shown as it is written.
    pub fn is_content(path: &str) -> bool {
        path.starts_with("configs.") && path.ends_with(".content")
    }

    /// Whether the attribute at `path` is secret whatever is in it.
    pub fn hides_path(&self, path: &str) -> bool {
        let parts: Vec<&str> = path.split('.').collect();
        match parts[..] {
            ["configs", ..] => Self::is_content(path),
            ["services", .., "environment", name] => self.names.contains(name),
            _ => false,
        }
    }
}
