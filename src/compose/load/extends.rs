//! `extends`: a service on top of another one.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::document::{Layer, Loader, PROJECT_SHAPE};
use crate::compose::merge::merge;
use crate::compose::normalise;
use crate::compose::paths::{self, Base};
use crate::compose::provenance::Through;
use crate::compose::schema::{SERVICE, Shape};
use crate::compose::yaml::{Mapping, Node};
use crate::diag::{Diagnostic, Span, nearest};

static SERVICE_SHAPE: Shape = Shape::Object(&SERVICE);
/// Longest chain of services that extend each other.
const CHAIN_LIMIT: usize = 64;

/// Where a service is looked for.
struct Scope<'a> {
    file: &'a Path,
    services: &'a Mapping,
    /// Services of the files before, for those that `services` lacks.
    earlier: Option<&'a Mapping>,
    base: &'a Base,
    /// Paths of these services are already resolved.
    resolved: bool,
}

impl Scope<'_> {
    fn get(&self, name: &str) -> Option<&Node> {
        self.services.get(name).or_else(|| self.earlier?.get(name))
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        self.services.iter().chain(self.earlier.into_iter().flat_map(Mapping::iter)).map(|(name, _)| name.as_str())
    }
}

/// A service on the way down the chain.
struct Link {
    file: PathBuf,
    service: String,
    span: Span,
}

impl Loader<'_> {
    /// Replaces each service of `document` by what it extends, with itself on top. `earlier` are the services of the
    /// files before.
    pub fn apply_extends(&mut self, document: &mut Node, file: &Path, earlier: Option<&Mapping>, layer: &Layer) {
        let Some(services) = document.get("services").and_then(Node::as_mapping) else { return };
        let extending: Vec<String> = services
            .iter()
            .filter(|(_, entry)| entry.node.get("extends").is_some())
            .map(|(name, _)| name.clone())
            .collect();
        if extending.is_empty() {
            return;
        }
        let scope = Scope { file, services, earlier, base: &layer.base, resolved: true };
        let mut replaced = Vec::new();
        for name in extending {
            let mut chain = Vec::new();
            if let Some(service) = self.extended(&name, &scope, layer, &mut chain) {
                replaced.push((name, service));
            }
        }
        // The next document of the same file may have other services by these names.
        self.extended_services.retain(|(number, path, _), _| !(*number == layer.number && path == file));
        let Some(services) = document.as_mapping_mut().and_then(|it| it.get_mut("services")) else { return };
        let Some(services) = services.as_mapping_mut() else { return };
        for (name, service) in replaced {
            if let Some(existing) = services.get_mut(&name) {
                *existing = service;
            }
        }
    }

    /// The service `name` of `scope` with all that it extends.
    fn extended(&mut self, name: &str, scope: &Scope<'_>, layer: &Layer, chain: &mut Vec<Link>) -> Option<Node> {
        let key = (layer.number, scope.file.to_owned(), name.to_owned());
        if let Some(done) = self.extended_services.get(&key) {
            return self.session.grow(done.count(), done.span).then(|| done.clone());
        }
        let written = scope.get(name)?;
        if !self.session.grow(written.count(), written.span) {
            return None;
        }
        let mut service = written.clone();
        let extends = service.as_mapping_mut().and_then(|it| it.remove("extends"));
        if !scope.resolved {
            paths::resolve_service(&mut service, scope.base);
        }
        let Some(extends) = extends else {
            self.extended_services.insert(key, service.clone());
            return Some(service);
        };
        let is_base = !chain.is_empty();
        if chain.iter().any(|link| link.file == scope.file && link.service == name) || chain.len() >= CHAIN_LIMIT {
            self.report_cycle(name, extends.span, chain);
            return None;
        }
        chain.push(Link { file: scope.file.to_owned(), service: name.to_owned(), span: extends.span });
        let base = self.base_service(name, &extends, scope, layer, chain);
        chain.pop();
        let merged = match base {
            Some(mut base) => {
                let target = extends.get("service").unwrap_or(&extends);
                let service_name = target.as_str().unwrap_or_default().to_owned();
                let through = Through::Extends { span: target.span, service: service_name };
                self.session.history.through(&mut base, &through);
                merge(base, service, &SERVICE_SHAPE, &mut self.session.history)
            }
            None => {
                // Its key stays, so that nobody misses what it would have brought.
                if let Some(mapping) = service.as_mapping_mut() {
                    mapping.insert("extends", extends);
                }
                service
            }
        };
        if is_base {
            // More services may extend it.
            self.extended_services.insert(key, merged.clone());
        }
        Some(merged)
    }

    /// The service that `extends` names.
    fn base_service(
        &mut self,
        name: &str,
        extends: &Node,
        scope: &Scope<'_>,
        layer: &Layer,
        chain: &mut Vec<Link>,
    ) -> Option<Node> {
        let target = extends.get("service")?;
        let wanted = target.as_str()?.to_owned();
        let file = extends.get("file").and_then(|node| node.as_str().map(|file| (file.to_owned(), node.span)));
        let path = format!("services.{name}.extends");
        match file {
            None => {
                if scope.get(&wanted).is_none() {
                    self.report_unknown(name, &wanted, target, scope, &path);
                    return None;
                }
                self.extended(&wanted, scope, layer, chain)
            }
            Some((file, span)) => {
                if !self.is_local(&file, extends.get("file").map(|node| (node, path.as_str()))) {
                    return None;
                }
                let file = scope.base.absolute(&file);
                let project = self.extended_file(&file, span, layer)?;
                let base = scope.base.at(file.parent().unwrap_or(Path::new("/")));
                let empty = Mapping::default();
                let services = project.get("services").and_then(Node::as_mapping).unwrap_or(&empty);
                // A file that extends one of its own services by naming itself sees them as they are written.
                let scope = Scope { file: &file, services, earlier: None, base: &base, resolved: false };
                if !services.contains(&wanted) {
                    self.report_unknown(name, &wanted, target, &scope, &path);
                    return None;
                }
                let mut found = self.extended(&wanted, &scope, layer, chain)?;
                normalise::build_context(&mut found, scope.base);
                Some(found)
            }
        }
    }

    /// The documents of a file that services extend, merged.
    fn extended_file(&mut self, file: &Path, named_at: Span, layer: &Layer) -> Option<Rc<Node>> {
        let key = (layer.number, file.to_owned());
        if let Some(known) = self.extended_files.get(&key) {
            return known.clone();
        }
        let documents = self.documents(file, Some(named_at), &layer.environment);
        let project = documents.map(|documents| {
            let merged =
                documents.into_iter().reduce(|base, over| merge(base, over, &PROJECT_SHAPE, &mut self.session.history));
            Rc::new(merged.unwrap_or_else(|| Node::mapping(Mapping::default(), named_at)))
        });
        self.extended_files.insert(key, project.clone());
        project
    }

    fn report_unknown(&mut self, name: &str, wanted: &str, node: &Node, scope: &Scope<'_>, path: &str) {
        let names = scope.names().filter(|known| *known != name);
        let hint = nearest(wanted, names).map(|near| format!("did you mean `{near}`?"));
        let shown = scope.file.strip_prefix(&self.shown_from).unwrap_or(scope.file).display();
        let diagnostic = Diagnostic::error(format!("service {name:?} extends unknown service {wanted:?}"))
            .at(node.span, format!("not in {shown}"))
            .path(path)
            .hint_opt(hint);
        self.session.report_node(node, diagnostic);
    }

    fn report_cycle(&mut self, name: &str, span: Span, chain: &[Link]) {
        let mut names: Vec<&str> = chain.iter().map(|link| link.service.as_str()).collect();
        names.push(name);
        let mut diagnostic =
            Diagnostic::error(format!("services extend each other in a circle: {}", names.join(" → ")))
                .at(span, "")
                .path(format!("services.{name}.extends"))
                .hint("a service cannot extend itself; move what they share to a third service");
        for link in chain.iter().skip(1) {
            diagnostic = diagnostic.related(link.span, "");
        }
        // Each service of the circle would report it again.
        if !self.session.diagnostics.iter().any(|it| it.message.starts_with("services extend each other")) {
            self.session.report(diagnostic);
        }
    }
}
