//! Defaults, and what follows from what the files say: networks, dependencies, full names.

use super::environment::Environment;
use super::paths::Base;
use super::provenance::Reason;
use super::resolve::named_variables;
use super::session::Session;
use super::yaml::{Entry, Mapping, Node, Past, Value};
use crate::diag::{Diagnostic, Span};

/// A build without a context has the folder of the file that it stands in.
pub fn build_contexts(project: &mut Node, base: &Base) {
    each(project, "services", |service| build_context(service, base));
}

/// The same for one service.
pub fn build_context(service: &mut Node, base: &Base) {
    at(service, "build", |build| {
        // An empty one is none.
        if build.get("context").and_then(Node::as_str) == Some("")
            && let Some(mapping) = build.as_mapping_mut()
        {
            mapping.remove("context");
        }
        if build.get("context").is_none() {
            fill(build, "context", Value::String(base.display_dir()));
        }
    });
}

/// Fills in what an attribute has when the file does not say.
pub fn defaults(project: &mut Node, session: &mut Session) {
    each(project, "services", |service| {
        items(service, "ports", |port| {
            fill(port, "mode", Value::String("ingress".to_owned()));
            fill(port, "protocol", Value::String("tcp".to_owned()));
        });
        items(service, "secrets", secret_target);
        items(service, "env_file", |file| fill(file, "required", Value::Bool(true)));
        items(service, "gpus", device_count);
        each(service, "depends_on", |dependency| {
            fill(dependency, "condition", Value::String("service_started".to_owned()));
            fill(dependency, "required", Value::Bool(true));
        });
        at(service, "deploy", |deploy| {
            at(deploy, "resources", |resources| {
                at(resources, "reservations", |reservations| items(reservations, "devices", device_count));
            });
        });
    });
    for kind in ["networks", "volumes", "secrets", "configs"] {
        each(project, kind, |resource| external(resource, session));
    }
}

fn secret_target(secret: &mut Node) {
    if let Some(source) = secret.get("source").and_then(Node::as_str).map(str::to_owned) {
        fill(secret, "target", Value::String(format!("/run/secrets/{source}")));
    }
}

fn device_count(device: &mut Node) {
    if device.get("count").is_none() && device.get("device_ids").is_none() {
        fill(device, "count", Value::Int(-1));
    }
}

/// `external: { name: x }` becomes `external: true` and `name: x`.
fn external(resource: &mut Node, session: &mut Session) {
    let Some(mapping) = resource.as_mapping_mut() else { return };
    let Some(node) = mapping.get_mut("external") else { return };
    let Some(inner) = node.as_mapping() else { return };
    let named = inner.get("name").cloned();
    let span = node.span;
    node.value = Value::Bool(true);
    match (named, mapping.get("name")) {
        (Some(named), Some(existing)) if existing.as_str() != named.as_str() => session.report(
            Diagnostic::error("`name` and `external.name` differ")
                .at(existing.span, "")
                .related(named.span, "and here"),
        ),
        (Some(named), None) => mapping.insert("name", Node { span, ..named }),
        _ => {}
    }
}

/// What follows from the rest.
pub fn normalise(project: &mut Node, name: &str, environment: &Environment, session: &mut Session) {
    let span = project.span;
    let mut uses_default = false;
    let services = project.as_mapping_mut().and_then(|it| it.get_mut("services")).and_then(Node::as_mapping_mut);
    for (key, Entry { node: service, .. }) in services.into_iter().flat_map(|services| &mut services.0) {
        uses_default |= default_network(service);
        implied_dependencies(service);
        if let Some(policy) = service.as_mapping_mut().and_then(|it| it.get_mut("pull_policy"))
            && policy.as_str() == Some("if_not_present")
        {
            policy.value = Value::String("missing".to_owned());
        }
        at(service, "build", |build| {
            if build.get("dockerfile_inline").is_none() {
                fill(build, "dockerfile", Value::String("Dockerfile".to_owned()));
            }
            at(build, "args", |args| {
                named_variables(args, environment, &format!("services.{key}.build.args"), session);
                if let Some(args) = args.as_mapping_mut() {
                    args.0.retain(|_, entry| !entry.node.is_null());
                }
            });
        });
    }
    if let Some(mapping) = project.as_mapping_mut() {
        let networks = mapping.0.entry("networks".to_owned()).or_insert_with(|| {
            let node = made(Value::Mapping(Box::default()), span, Reason::DefaultNetwork);
            Entry { key_span: span, node }
        });
        if uses_default
            && let Some(networks) = networks.node.as_mapping_mut()
            && !networks.contains("default")
        {
            networks.insert("default", made(Value::Null, span, Reason::DefaultNetwork));
        }
    }
    for kind in ["networks", "volumes", "secrets", "configs"] {
        let Some(resources) = project.as_mapping_mut().and_then(|it| it.get_mut(kind)).and_then(Node::as_mapping_mut)
        else {
            continue;
        };
        for (key, entry) in &mut resources.0 {
            full_name(key, &mut entry.node, name);
        }
    }
}

/// `<project>_<key>`, or the key itself of what somebody else made.
fn full_name(key: &str, resource: &mut Node, project: &str) {
    if resource.is_null() {
        resource.value = Value::Mapping(Box::default());
    }
    let external = resource.get("external").and_then(Node::as_bool) == Some(true);
    let name = if external { key.to_owned() } else { format!("{project}_{key}") };
    if resource.get("name").and_then(Node::as_str) == Some("") {
        resource.as_mapping_mut().and_then(|it| it.remove("name"));
    }
    let reason = if external { Reason::ExternalName } else { Reason::FullName };
    fill_because(resource, "name", Value::String(name), reason);
}

/// A service without networks is on the default one; whether any use of it is made.
fn default_network(service: &mut Node) -> bool {
    if service.get("network_mode").is_some_and(|mode| !mode.is_null()) || service.get("provider").is_some() {
        return false;
    }
    let span = service.span;
    let Some(mapping) = service.as_mapping_mut() else { return false };
    match mapping.get("networks").and_then(Node::as_mapping) {
        Some(networks) if !networks.0.is_empty() => networks.contains("default"),
        _ => {
            let mut networks = Mapping::default();
            networks.insert("default", made(Value::Null, span, Reason::DefaultNetwork));
            mapping.insert("networks", made(Value::Mapping(Box::new(networks)), span, Reason::DefaultNetwork));
            true
        }
    }
}

/// `links`, shared namespaces and `volumes_from` order the services too.
fn implied_dependencies(service: &mut Node) {
    let mut implied: Vec<(String, bool, Node)> = Vec::new();
    for link in service.get("links").and_then(Node::as_sequence).unwrap_or_default() {
        if let Some(text) = link.as_str() {
            implied.push((text.split(':').next().unwrap_or_default().to_owned(), true, link.clone()));
        }
    }
    for key in ["network_mode", "ipc", "pid", "uts", "cgroup"] {
        if let Some(node) = service.get(key)
            && let Some(name) = node.as_str().and_then(|text| text.strip_prefix("service:"))
        {
            implied.push((name.to_owned(), true, node.clone()));
        }
    }
    for from in service.get("volumes_from").and_then(Node::as_sequence).unwrap_or_default() {
        if let Some(text) = from.as_str()
            && !text.starts_with("container:")
        {
            implied.push((text.split(':').next().unwrap_or_default().to_owned(), false, from.clone()));
        }
    }
    if implied.is_empty() {
        return;
    }
    let span = service.span;
    let Some(mapping) = service.as_mapping_mut() else { return };
    if !mapping.contains("depends_on") {
        mapping.insert("depends_on", Node::mapping(Mapping::default(), span));
    }
    let Some(depends_on) = mapping.get_mut("depends_on").and_then(Node::as_mapping_mut) else { return };
    for (name, restart, node) in implied {
        if depends_on.contains(&name) {
            continue;
        }
        let mut dependency = Mapping::default();
        let mut put = |key: &str, value| dependency.insert(key, made(value, node.span, Reason::Implied));
        put("condition", Value::String("service_started".to_owned()));
        if restart {
            put("restart", Value::Bool(true));
        }
        put("required", Value::Bool(true));
        dependency.insert("#origin", Node::string("implied", node.span));
        depends_on.insert(name, Node::mapping(dependency, node.span));
    }
}

fn fill(node: &mut Node, key: &str, value: Value) {
    fill_because(node, key, value, Reason::Default);
}

fn fill_because(node: &mut Node, key: &str, value: Value, reason: Reason) {
    let span = node.span;
    if let Some(mapping) = node.as_mapping_mut()
        && mapping.get(key).is_none_or(Node::is_null)
    {
        mapping.insert(key, made(value, span, reason));
    }
}

/// A value that no file gives.
fn made(value: Value, span: Span, reason: Reason) -> Node {
    Node { past: Past::made(reason), ..Node::new(value, span) }
}

fn each(node: &mut Node, key: &str, mut visit: impl FnMut(&mut Node)) {
    if let Some(mapping) = node.as_mapping_mut().and_then(|it| it.get_mut(key)).and_then(Node::as_mapping_mut) {
        mapping.0.values_mut().for_each(|entry| visit(&mut entry.node));
    }
}

fn at(node: &mut Node, key: &str, visit: impl FnOnce(&mut Node)) {
    if let Some(node) = node.as_mapping_mut().and_then(|it| it.get_mut(key)) {
        visit(node);
    }
}

fn items(node: &mut Node, key: &str, visit: impl FnMut(&mut Node)) {
    if let Some(items) = node.as_mapping_mut().and_then(|it| it.get_mut(key)).and_then(Node::as_sequence_mut) {
        items.iter_mut().for_each(visit);
    }
}
