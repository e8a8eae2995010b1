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

/// How the value at a place becomes absolute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Path,
    /// A folder, or an address.
    Context,
    /// A folder, an address, or `service:NAME`.
    NamedContext,
    /// `ID=PATH`.
    Key,
    /// A path when the mapping that it is in has the type `bind`.
    BindSource,
    /// A path when the options that it is in make a bind of the local driver.
    BindDevice,
}

/// Where the files of a project name paths: each starts at the folder of the file (of an include: of its project) that
/// says it. `extends.file` and the paths of `include` are read before anything else, and start there too.
static TABLE: &[(&str, Kind)] = &[
    ("services.*.build.context", Kind::Context),
    ("services.*.build.additional_contexts.*", Kind::NamedContext),
    ("services.*.build.ssh.*", Kind::Key),
    ("services.*.env_file.*.path", Kind::Path),
    ("services.*.label_file.*", Kind::Path),
    ("services.*.volumes.*.source", Kind::BindSource),
    ("services.*.develop.watch.*.path", Kind::Path),
    ("services.*.x-windlass.install.lock.*", Kind::Path),
    ("secrets.*.file", Kind::Path),
    ("configs.*.file", Kind::Path),
    ("volumes.*.driver_opts.device", Kind::BindDevice),
];

/// Resolves the paths of a canonical project tree.
pub fn resolve(project: &mut Node, base: &Base) {
    for (path, kind) in TABLE {
        let segments: Vec<&str> = path.split('.').collect();
        walk(project, &segments, *kind, base);
    }
}

/// Resolves the paths of one service.
pub fn resolve_service(service: &mut Node, base: &Base) {
    for (path, kind) in TABLE {
        if let Some(path) = path.strip_prefix("services.*.") {
            let segments: Vec<&str> = path.split('.').collect();
            walk(service, &segments, *kind, base);
        }
    }
}

fn walk(node: &mut Node, segments: &[&str], kind: Kind, base: &Base) {
    let Some((first, rest)) = segments.split_first() else { return change(node, kind, base) };
    if rest.is_empty() && !applies(node, kind) || *first == "driver_opts" && !is_local(node) {
        return;
    }
    match &mut node.value {
        Value::Sequence(items) if *first == "*" => items.iter_mut().for_each(|item| walk(item, rest, kind, base)),
        Value::Mapping(mapping) if *first == "*" => {
            mapping.0.values_mut().for_each(|entry| walk(&mut entry.node, rest, kind, base));
        }
        Value::Mapping(mapping) => {
            if let Some(node) = mapping.get_mut(first) {
                walk(node, rest, kind, base);
            }
        }
        _ => {}
    }
}

fn is_local(volume: &Node) -> bool {
    volume.get("driver").and_then(Node::as_str) == Some("local")
}

/// Whether the mapping `parent` holds a path of this kind.
fn applies(parent: &Node, kind: Kind) -> bool {
    let text = |key| parent.get(key).and_then(Node::as_str);
    match kind {
        Kind::BindSource => text("type") == Some("bind"),
        Kind::BindDevice => text("o").is_some_and(|options| options.split(',').any(|option| option == "bind")),
        _ => true,
    }
}

fn change(node: &mut Node, kind: Kind, base: &Base) {
    let Value::String(text) = &mut node.value else { return };
    let stays = match kind {
        _ if text.is_empty() => true,
        Kind::Context => is_remote(text),
        Kind::NamedContext => is_remote(text) || text.contains("://") || text.starts_with("service:"),
        _ => false,
    };
    if stays {
        return;
    }
    *text = match (kind, text.split_once('=')) {
        (Kind::Key, None) => return,
        (Kind::Key, Some((id, path))) => format!("{id}={}", base.resolve(path)),
        _ => base.resolve(text),
    };
}

fn is_remote(path: &str) -> bool {
    ["http://", "https://", "git://", "ssh://", "git@", "github.com/", "oci://", "docker-image://"]
        .iter()
        .any(|prefix| path.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compose::yaml::read;

    /// The smallest tree that has `value` at `path`.
    fn tree(path: &str, value: &str) -> String {
        path.rsplit('.').fold(value.to_owned(), |inner, segment| match segment {
            "*" => format!("{{k: {inner}}}"),
            "source" => format!("{{type: bind, source: {inner}}}"),
            "driver_opts" => format!("{{driver: local, driver_opts: {inner}}}"),
            "device" => format!("{{o: bind, device: {inner}}}"),
            key => format!("{{{key}: {inner}}}"),
        })
    }

    fn resolved(path: &str, value: &str, base: &Base) -> String {
        let (mut documents, faults, _) = read(&tree(path, value));
        assert!(faults.is_empty(), "{path}");
        resolve(&mut documents[0], base);
        let mut node = &documents[0];
        for segment in path.split('.') {
            node = node.get(if segment == "*" { "k" } else { segment }).unwrap();
        }
        node.as_str().unwrap().to_owned()
    }

    #[test]
    fn every_path_of_the_table_starts_at_the_folder_of_its_file() {
        let base = Base { dir: "/project/sub".into(), relative: None, home: Some("/home/me".into()) };
        let relative = Base { relative: Some("sub".into()), ..base.clone() };
        for (path, kind) in TABLE {
            let id = if *kind == Kind::Key { "id=" } else { "" };
            for (written, absolute, kept) in [
                ("./a", "/project/sub/a", "sub/a"),
                ("../a", "/project/a", "a"),
                ("b/c", "/project/sub/b/c", "sub/b/c"),
                ("~/a", "/home/me/a", "~/a"),
                ("/a", "/a", "/a"),
            ] {
                let written = format!("{id}{written}");
                assert_eq!(resolved(path, &written, &base), format!("{id}{absolute}"), "{path}");
                assert_eq!(resolved(path, &written, &relative), format!("{id}{kept}"), "{path}");
            }
        }
    }

    #[test]
    fn what_is_no_path_stays() {
        let base = Base { dir: "/project".into(), relative: None, home: None };
        for (path, text) in [
            ("services.*.build.context", "https://example.com/a.git"),
            ("services.*.build.additional_contexts.*", "docker-image://a"),
            ("services.*.build.additional_contexts.*", "service:a"),
            ("services.*.build.ssh.*", "default"),
        ] {
            assert_eq!(resolved(path, text, &base), text, "{path}");
        }
        let (mut documents, _, _) = read("volumes: {k: {driver: nfs, driver_opts: {o: bind, device: ./a}}}");
        resolve(&mut documents[0], &base);
        let device =
            ["volumes", "k", "driver_opts", "device"].iter().try_fold(&documents[0], |node, key| node.get(key));
        assert_eq!(device.and_then(Node::as_str), Some("./a"));
    }
}
