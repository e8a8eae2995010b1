//! Relative paths of a layer become absolute, or relative to the project.

use std::path::{Path, PathBuf};

use super::canonical::clean;
use super::yaml::{Node, Value};

/// Where the relative paths of a layer start.
#[derive(Debug, Clone)]
pub struct Base {
    /// Absolute folder of the layer.
    pub dir: PathBuf,
    /// The layer's folder as a relative path from the project, when paths stay relative.
    pub relative: Option<PathBuf>,
    pub home: Option<PathBuf>,
}

impl Base {
    /// The same for another folder.
    #[must_use]
    pub fn at(&self, dir: &Path) -> Self {
        let relative = self.relative.as_ref().map(|_| relative_from(&self.dir, dir, self.relative.as_deref()));
        Self { dir: dir.to_owned(), relative, home: self.home.clone() }
    }

    /// The folder itself, as paths of the layer are shown.
    #[must_use]
    pub fn display_dir(&self) -> String {
        match &self.relative {
            None => self.dir.display().to_string(),
            Some(relative) if relative.as_os_str().is_empty() => ".".to_owned(),
            Some(relative) => relative.display().to_string(),
        }
    }

    /// An absolute path, whatever the options say.
    #[must_use]
    pub fn absolute(&self, path: &str) -> PathBuf {
        if let Some(path) = self.home_path(path) {
            return path;
        }
        PathBuf::from(clean(&self.dir.join(path).to_string_lossy()))
    }

    fn home_path(&self, path: &str) -> Option<PathBuf> {
        let rest = path.strip_prefix('~')?;
        if !(rest.is_empty() || rest.starts_with('/')) {
            return None;
        }
        Some(PathBuf::from(clean(&format!("{}{rest}", self.home.as_ref()?.display()))))
    }

    fn resolve(&self, path: &str) -> String {
        match &self.relative {
            None => {
                // The peer leaves an absolute path as it is written.
                if path.starts_with('/') { path.to_owned() } else { self.absolute(path).display().to_string() }
            }
            Some(_) if path.starts_with(['/', '~']) => path.to_owned(),
            Some(relative) if relative.as_os_str().is_empty() => path.to_owned(),
            Some(relative) => clean(&relative.join(path).to_string_lossy()),
        }
    }
}

fn relative_from(base: &Path, dir: &Path, relative: Option<&Path>) -> PathBuf {
    match (dir.strip_prefix(base), relative) {
        (Ok(rest), Some(relative)) => relative.join(rest),
        _ => dir.to_owned(),
    }
}

/// Resolves the paths of a canonical project tree.
pub fn resolve(project: &mut Node, base: &Base) {
    each(project, "services", |service| resolve_service(service, base));
    for kind in ["secrets", "configs"] {
        each(project, kind, |resource| at(resource, "file", |node| text(node, |path| base.resolve(path))));
    }
    each(project, "volumes", |volume| {
        if volume.get("driver").and_then(Node::as_str) != Some("local") {
            return;
        }
        at(volume, "driver_opts", |options| {
            let is_bind = options.get("o").and_then(Node::as_str).is_some_and(|o| o.split(',').any(|o| o == "bind"));
            if is_bind {
                at(options, "device", |node| text(node, |path| base.resolve(path)));
            }
        });
    });
}

/// Resolves the paths of one service.
pub fn resolve_service(service: &mut Node, base: &Base) {
    at(service, "build", |build| {
        at(build, "context", |node| {
            text(node, |path| if is_remote(path) { path.to_owned() } else { base.resolve(path) })
        });
        at(build, "additional_contexts", |contexts| {
            let Some(mapping) = contexts.as_mapping_mut() else { return };
            for entry in mapping.0.values_mut() {
                text(&mut entry.node, |path| {
                    match is_remote(path) || path.contains("://") || path.starts_with("service:") {
                        true => path.to_owned(),
                        false => base.resolve(path),
                    }
                });
            }
        });
    });
    items(service, "env_file", |item| at(item, "path", |node| text(node, |path| base.resolve(path))));
    items(service, "label_file", |item| text(item, |path| base.resolve(path)));
    items(service, "volumes", |item| {
        if item.get("type").and_then(Node::as_str) == Some("bind") {
            at(item, "source", |node| text(node, |path| base.resolve(path)));
        }
    });
    at(service, "x-windlass", |own| {
        at(own, "install", |install| {
            items(install, "lock", |item| text(item, |path| base.resolve(path)));
        });
    });
    at(service, "develop", |develop| {
        items(develop, "watch", |rule| at(rule, "path", |node| text(node, |path| base.resolve(path))));
    });
}

fn is_remote(path: &str) -> bool {
    ["http://", "https://", "git://", "ssh://", "git@", "github.com/", "oci://", "docker-image://"]
        .iter()
        .any(|prefix| path.starts_with(prefix))
}

fn each(node: &mut Node, key: &str, visit: impl Fn(&mut Node)) {
    if let Some(mapping) = node.as_mapping_mut().and_then(|it| it.get_mut(key)).and_then(Node::as_mapping_mut) {
        mapping.0.values_mut().for_each(|entry| visit(&mut entry.node));
    }
}

fn at(node: &mut Node, key: &str, visit: impl FnOnce(&mut Node)) {
    if let Some(node) = node.as_mapping_mut().and_then(|it| it.get_mut(key)) {
        visit(node);
    }
}

fn items(node: &mut Node, key: &str, visit: impl Fn(&mut Node)) {
    if let Some(items) = node.as_mapping_mut().and_then(|it| it.get_mut(key)).and_then(Node::as_sequence_mut) {
        items.iter_mut().for_each(visit);
    }
}

fn text(node: &mut Node, change: impl FnOnce(&str) -> String) {
    if let Value::String(path) = &mut node.value
        && !path.is_empty()
    {
        *path = change(path);
    }
}
