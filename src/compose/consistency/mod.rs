//! Checks of the whole: names that must be known, attributes that exclude each other, circles.

mod attributes;
mod mounts;
mod order;
mod references;
mod resources;
mod source;

use super::project::Enabled;
use super::session::Session;
use super::yaml::{Entry, Mapping, Node};

/// Checks the active services and all resources.
/// `named` are the services that a command is about; all when empty.
pub fn check(tree: &Node, enabled: &Enabled, named: &[String], session: &mut Session) {
    let empty = Mapping::default();
    let table = |kind: &str| tree.get(kind).and_then(Node::as_mapping).unwrap_or(&empty);
    let checks = Checks {
        services: table("services"),
        networks: table("networks"),
        volumes: table("volumes"),
        secrets: table("secrets"),
        configs: table("configs"),
        models: table("models"),
        enabled,
        named,
    };
    let asked = checks.asked();
    for (name, entry) in checks.services.iter().filter(|(name, _)| enabled.contains(*name)) {
        checks.service(name, entry, asked.contains(name.as_str()), session);
    }
    checks.container_names(session);
    checks.circles(session);
    resources::check(tree, session);
}

struct Checks<'a> {
    services: &'a Mapping,
    networks: &'a Mapping,
    volumes: &'a Mapping,
    secrets: &'a Mapping,
    configs: &'a Mapping,
    models: &'a Mapping,
    enabled: &'a Enabled,
    named: &'a [String],
}

impl Checks<'_> {
    fn service(&self, name: &str, entry: &Entry, is_asked: bool, session: &mut Session) {
        let service = &entry.node;
        let path = format!("services.{name}");
        source::check(name, entry, &path, session);
        attributes::exclusive(service, name, &path, session);
        self.dependencies(name, service, &path, is_asked, session);
        attributes::shared_namespaces(name, service, &path, session);
        self.references(name, service, &path, session);
        self.mounts(name, service, &path, session);
        attributes::limits(service, &path, session);
        source::built_platform(service, &path, session);
        attributes::words(service, &path, session);
        attributes::watch(service, name, &path, session);
        attributes::devices(service, &path, session);
    }
}
