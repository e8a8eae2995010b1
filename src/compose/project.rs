//! Which services are active, and the tree as a typed project.

use std::collections::{BTreeMap, HashSet};

use indexmap::IndexMap;

use super::decode::decode as decode_node;
use super::model::{Place, Project, Service};
use super::request::LoadOptions;
use super::session::Session;
use super::yaml::{Mapping, Node};
use crate::diag::{Diagnostic, SourceMap, Span};

/// Names of the active services.
pub type Enabled = HashSet<String>;

/// A service is active when it has no profile, when one of its profiles is active, or when it is asked for by name.
pub fn enabled(tree: &mut Node, profiles: &[String], asked: &[String]) -> Enabled {
    let Some(services) = tree.get("services").and_then(Node::as_mapping) else { return Enabled::new() };
    let own = |node: &Node| -> Vec<String> {
        let list = node.get("profiles").and_then(Node::as_sequence).unwrap_or_default();
        list.iter().filter_map(Node::as_str).map(str::to_owned).collect()
    };
    let mut active: HashSet<String> = profiles.iter().cloned().collect();
    if profiles.is_empty() {
        // The one without a name.
        active.insert(String::new());
    }
    for name in asked {
        active.extend(services.get(name).map(own).unwrap_or_default());
    }
    let all = active.contains("*");
    let is_active = |node: &Node| {
        let own = own(node);
        all || own.is_empty() || own.iter().any(|profile| active.contains(profile))
    };
    services.iter().filter(|(_, entry)| is_active(&entry.node)).map(|(name, _)| name.clone()).collect()
}

/// Those of `enabled` that are asked for (all when none is), with what they depend on.
pub fn needed(tree: &Node, enabled: &Enabled, asked: &[String]) -> Enabled {
    let Some(services) = tree.get("services").and_then(Node::as_mapping).filter(|_| !asked.is_empty()) else {
        return enabled.clone();
    };
    let mut needed = Enabled::new();
    let mut next: Vec<&str> = asked.iter().map(String::as_str).collect();
    while let Some(name) = next.pop() {
        if !enabled.contains(name) || !needed.insert(name.to_owned()) {
            continue;
        }
        let depends_on = services.get(name).and_then(|service| service.get("depends_on")).and_then(Node::as_mapping);
        next.extend(depends_on.into_iter().flat_map(Mapping::iter).map(|(name, _)| name.as_str()));
    }
    needed
}

/// The typed project.
pub fn decode(tree: &Node, enabled: &Enabled, options: &LoadOptions, session: &mut Session) -> Option<Project> {
    let mut project = Project::default();
    let root = tree.as_mapping()?;
    let mut failed = false;
    for (name, entry) in root.get("services").and_then(Node::as_mapping).into_iter().flat_map(Mapping::iter) {
        match decode_node::<Service>(&entry.node) {
            Ok(mut service) => {
                service.name.clone_from(name);
                match enabled.contains(name) {
                    true => project.services.insert(name.clone(), service),
                    false => project.disabled_services.insert(name.clone(), service),
                };
            }
            Err(error) => {
                failed = true;
                session.report(
                    Diagnostic::error(format!("service {name:?} cannot be read: {error}"))
                        .at(entry.key_span, "")
                        .path(format!("services.{name}")),
                );
            }
        }
    }
    project.networks = resources(root, "networks", session, &mut failed);
    project.volumes = resources(root, "volumes", session, &mut failed);
    project.secrets = resources(root, "secrets", session, &mut failed);
    project.configs = resources(root, "configs", session, &mut failed);
    project.models = resources(root, "models", session, &mut failed);
    let extensions = root.iter().filter(|(key, _)| key.starts_with("x-"));
    project.extensions = extensions.map(|(key, entry)| (key.clone(), entry.node.to_json())).collect();
    if failed {
        return None;
    }
    if !options.all_resources {
        prune(&mut project);
    }
    if options.places {
        project.places = places(root, &session.sources);
    }
    Some(project)
}

fn resources<T: serde::de::DeserializeOwned + Default>(
    root: &Mapping,
    kind: &str,
    session: &mut Session,
    failed: &mut bool,
) -> IndexMap<String, T> {
    let mut all = IndexMap::new();
    for (name, entry) in root.get(kind).and_then(Node::as_mapping).into_iter().flat_map(Mapping::iter) {
        let decoded = if entry.node.is_null() { Ok(T::default()) } else { decode_node::<T>(&entry.node) };
        match decoded {
            Ok(resource) => _ = all.insert(name.clone(), resource),
            Err(error) => {
                *failed = true;
                session.report(
                    Diagnostic::error(format!("`{kind}.{name}` cannot be read: {error}"))
                        .at(entry.key_span, "")
                        .path(format!("{kind}.{name}")),
                );
            }
        }
    }
    all
}

/// Takes away what no active service uses.
pub fn prune(project: &mut Project) {
    let mut networks: HashSet<&str> = HashSet::new();
    let mut volumes: HashSet<&str> = HashSet::new();
    let mut secrets: HashSet<&str> = HashSet::new();
    let mut configs: HashSet<&str> = HashSet::new();
    let mut models: HashSet<&str> = HashSet::new();
    for service in project.services.values() {
        networks.extend(service.networks.keys().map(String::as_str));
        let sources = service.volumes.iter().filter(|it| it.kind == super::model::VolumeMountType::Volume);
        volumes.extend(sources.filter_map(|volume| volume.source.as_deref()));
        secrets.extend(service.secrets.iter().map(|it| it.source.as_str()));
        secrets.extend(service.build.iter().flat_map(|build| &build.secrets).map(|it| it.source.as_str()));
        configs.extend(service.configs.iter().map(|it| it.source.as_str()));
        models.extend(service.models.keys().map(String::as_str));
    }
    project.networks.retain(|name, _| networks.contains(name.as_str()));
    project.volumes.retain(|name, _| volumes.contains(name.as_str()));
    project.secrets.retain(|name, _| secrets.contains(name.as_str()));
    project.configs.retain(|name, _| configs.contains(name.as_str()));
    project.models.retain(|name, _| models.contains(name.as_str()));
}

/// Places of the resources and of all that is in them.
fn places(root: &Mapping, sources: &SourceMap) -> BTreeMap<String, Place> {
    let mut places = BTreeMap::new();
    let mut put = |path: String, span: Span| {
        if let Some(file) = sources.get(span.source) {
            places.insert(path, Place { file: file.path.clone(), line: span.line, column: span.column });
        }
    };
    for kind in ["services", "networks", "volumes", "secrets", "configs", "models"] {
        for (name, entry) in root.get(kind).and_then(Node::as_mapping).into_iter().flat_map(Mapping::iter) {
            let path = format!("{kind}.{name}");
            below(&entry.node, &path, &mut put);
            put(path, entry.key_span);
        }
    }
    places
}

/// The places of all keys and items in a value.
fn below(node: &Node, path: &str, put: &mut impl FnMut(String, Span)) {
    for (index, item) in node.as_sequence().unwrap_or_default().iter().enumerate() {
        let path = format!("{path}[{index}]");
        below(item, &path, put);
        put(path, item.span);
    }
    for (key, entry) in node.as_mapping().into_iter().flat_map(Mapping::iter) {
        let path = format!("{path}.{key}");
        below(&entry.node, &path, put);
        put(path, entry.key_span);
    }
}
