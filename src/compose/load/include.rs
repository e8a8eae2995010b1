//! `include`: another project's files, with their own folder and environment.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::document::{Layer, Loader};
use super::{env_files, versions};
use crate::compose::environment::Environment;
use crate::compose::provenance::Through;
use crate::compose::yaml::{Mapping, Node};
use crate::diag::Diagnostic;

const DEPTH_LIMIT: usize = 32;
/// What reading a file costs at least, in values: a file may be included again and again.
const NODES_OF_LAYER: usize = 500;
const KINDS: [&str; 6] = ["services", "networks", "volumes", "secrets", "configs", "models"];

impl Loader<'_> {
    /// Loads what `document` includes and puts it in.
    pub fn apply_include(&mut self, document: &mut Node, file: &Path, layer: &Layer) {
        let include = document.as_mapping_mut().and_then(|it| it.remove("include"));
        let Some(include) = include else { return };
        for item in include.as_sequence().unwrap_or_default() {
            if let Some(mut project) = self.included(item, file, layer) {
                let named_at = item.get("path").and_then(Node::as_sequence).and_then(<[Node]>::first);
                let through = Through::Include(named_at.unwrap_or(item).span);
                self.session.history.through(&mut project, &through);
                self.import(document, project);
            }
        }
    }

    fn included(&mut self, item: &Node, file: &Path, layer: &Layer) -> Option<Node> {
        let texts = |key| item.get(key).and_then(Node::as_sequence).unwrap_or_default();
        let named = texts("path").iter().filter_map(|node| Some((node, node.as_str()?)));
        if named.filter(|(node, path)| !self.is_local(path, Some((*node, "include")))).count() > 0 {
            return None;
        }
        let paths: Vec<(PathBuf, _)> =
            texts("path").iter().filter_map(|node| Some((layer.base.absolute(node.as_str()?), node.span))).collect();
        let (first, span) = paths.first()?.clone();
        let mut stack = layer.stack.clone();
        stack.push(file.to_owned());
        if let Some((again, span)) = paths.iter().find(|(path, _)| stack.contains(path)) {
            let mut names: Vec<String> = stack.iter().map(|path| self.shown(path)).collect();
            names.push(self.shown(again));
            self.session.report(
                Diagnostic::error(format!("files include each other in a circle: {}", names.join(" → ")))
                    .at(*span, "includes a file that includes this one")
                    .path("include"),
            );
            return None;
        }
        if stack.len() > DEPTH_LIMIT {
            self.session.report(
                Diagnostic::error("files are included too deeply").at(span, format!("more than {DEPTH_LIMIT} levels")),
            );
            return None;
        }
        let dir = match item.get("project_directory").and_then(Node::as_str) {
            Some(dir) => layer.base.absolute(dir),
            None => first.parent().unwrap_or(Path::new("/")).to_owned(),
        };
        let environment = self.include_environment(texts("env_file"), &dir, layer);
        self.layers += 1;
        if !self.session.grow(NODES_OF_LAYER * paths.len(), span) {
            return None;
        }
        let inner = Layer { number: self.layers, environment: Rc::new(environment), base: layer.base.at(&dir), stack };
        Some(self.load_layer(&paths.iter().map(|(path, span)| (path.clone(), Some(*span))).collect::<Vec<_>>(), &inner))
    }

    fn include_environment(&mut self, named: &[Node], dir: &Path, layer: &Layer) -> Environment {
        let mut environment = (*layer.environment).clone();
        let named: Vec<PathBuf> = named
            .iter()
            .filter_map(Node::as_str)
            .filter(|path| *path != "/dev/null")
            .map(|path| layer.base.absolute(path))
            .collect();
        let is_named = !named.is_empty();
        let paths = if is_named { named } else { vec![dir.join(".env")] };
        // The included project's own files know its versions better than those of the one around it.
        let own_folder = *dir != layer.base.dir;
        let outer = if own_folder { environment.take_versions() } else { Vec::new() };
        env_files::fill(&mut environment, &paths, is_named, &self.shown_from.clone(), self.files, &mut self.session);
        if own_folder {
            versions::fill(&mut environment, &versions::declared(dir, self.files));
        }
        for (name, set) in outer {
            environment.fill(&name, &set.value, set.source);
        }
        environment
    }

    fn shown(&self, path: &Path) -> String {
        path.strip_prefix(&self.shown_from).unwrap_or(path).display().to_string()
    }

    /// Adds the resources of an included project; one that differs from what is there is a conflict.
    fn import(&mut self, document: &mut Node, mut project: Node) {
        let Some(project) = project.as_mapping_mut() else { return };
        let span = document.span;
        let Some(target) = document.as_mapping_mut() else { return };
        for kind in KINDS {
            let Some(mut imported) = project.remove(kind) else { continue };
            let Some(imported) = imported.as_mapping_mut() else { continue };
            if !target.contains(kind) || target.get(kind).is_some_and(Node::is_null) {
                target.insert(kind, Node::mapping(Mapping::default(), span));
            }
            let Some(existing) = target.get_mut(kind).and_then(Node::as_mapping_mut) else { continue };
            for (name, entry) in std::mem::take(&mut imported.0) {
                match existing.0.get(&name) {
                    None => {
                        existing.0.insert(name, entry);
                    }
                    Some(local) if local.node.to_json() == entry.node.to_json() => {}
                    Some(local) => {
                        let one = kind.trim_end_matches('s');
                        let diagnostic = Diagnostic::error(format!("{one} {name:?} is also in an included file"))
                            .at(local.key_span, "here")
                            .related(entry.key_span, "included from here")
                            .path(format!("{kind}.{name}"))
                            .hint("rename one of them, change the included one in an override file, or use `extends`");
                        self.session.report(diagnostic);
                    }
                }
            }
        }
    }
}
