//! Attributes of one service that exclude each other, or need each other.

use crate::compose::session::Session;
use crate::compose::yaml::{Mapping, Node};
use crate::diag::Diagnostic;

pub(super) fn exclusive(service: &Node, name: &str, path: &str, session: &mut Session) {
    if let (Some(mode), Some(networks)) =
        (service.get("network_mode"), service.get("networks").and_then(Node::as_mapping))
        && !networks.0.is_empty()
        && !mode.is_null()
    {
        let place = networks.0.first().map_or(mode.span, |(_, entry)| entry.key_span);
        session.report(
            Diagnostic::error(format!("service {name:?} has both `network_mode` and `networks`"))
                .at(mode.span, "one of them")
                .related(place, "the other")
                .path(format!("{path}.network_mode"))
                .hint("remove one of them"),
        );
    }
    if let Some(mode) = service.get("network_mode")
        && mode.as_str() == Some("host")
        && let Some(ports) = service.get("ports")
        && ports.as_sequence().is_some_and(|ports| !ports.is_empty())
    {
        session.report(
            Diagnostic::warning(format!("`ports` of {name:?} has no effect with `network_mode: host`"))
                .at(ports.as_sequence().and_then(<[Node]>::first).map_or(ports.span, |it| it.span), "not published")
                .path(format!("{path}.ports")),
        );
    }
    let replicas = service.get("deploy").and_then(|it| it.get("replicas"));
    let count = service.get("scale").or(replicas);
    if let Some(named) = service.get("container_name")
        && let Some(count) = count
        && count.as_int().is_some_and(|count| count > 1)
    {
        session.report(
            Diagnostic::error(format!("service {name:?} has a `container_name`, so it can have only one container"))
                .at(count.span, "more than one here")
                .related(named.span, "named here")
                .path(path)
                .hint("remove `container_name`"),
        );
    }
}

/// `network_mode: service:x` of a service that is its own.
pub(super) fn shared_namespaces(name: &str, service: &Node, path: &str, session: &mut Session) {
    for key in ["network_mode", "ipc", "pid"] {
        let Some(node) = service.get(key) else { continue };
        if node.as_str().and_then(|text| text.strip_prefix("service:")) == Some(name) {
            session.report(
                Diagnostic::error(format!("service {name:?} cannot share its own namespace"))
                    .at(node.span, "itself")
                    .path(format!("{path}.{key}")),
            );
        }
    }
}

/// What gets into a line of `hosts` or `resolv.conf` is one word.
pub(super) fn words(service: &Node, path: &str, session: &mut Session) {
    let items = |node: &Node| match node.as_sequence() {
        Some(items) => items.to_vec(),
        None => vec![node.clone()],
    };
    let mut named: Vec<(String, Node)> = Vec::new();
    for key in ["hostname", "domainname", "dns", "dns_search", "dns_opt"] {
        named.extend(service.get(key).into_iter().flat_map(items).map(|node| (key.to_owned(), node)));
    }
    for (network, entry) in service.get("networks").and_then(Node::as_mapping).into_iter().flat_map(Mapping::iter) {
        let aliases = entry.node.get("aliases").into_iter().flat_map(items);
        named.extend(aliases.map(|node| (format!("networks.{network}.aliases"), node)));
    }
    for (key, node) in named {
        let Some(text) = node.as_str().filter(|_| !session.is_template(&node)) else { continue };
        if text.contains(|c: char| c.is_whitespace() || c.is_control()) {
            let what = key.rsplit('.').next().unwrap_or_default();
            let diagnostic = Diagnostic::error(format!("{text:?} cannot be a value of `{what}`"))
                .at(node.span, "has blanks, line breaks or control characters")
                .path(format!("{path}.{key}"))
                .hint("write one word; several go into a list");
            session.report_node(&node, diagnostic);
        }
    }
}

/// The same limit said twice must be the same.
pub(super) fn limits(service: &Node, path: &str, session: &mut Session) {
    if session.raw {
        // The values are as they were written: `1g` and `1024m` are the same.
        return;
    }
    let deploy = service.get("deploy");
    let limit = |keys: &[&str]| keys.iter().try_fold(deploy?, |node, key| node.get(key));
    let pairs = [
        ("scale", limit(&["replicas"]), "deploy.replicas"),
        ("cpus", limit(&["resources", "limits", "cpus"]), "deploy.resources.limits.cpus"),
        ("mem_limit", limit(&["resources", "limits", "memory"]), "deploy.resources.limits.memory"),
        ("mem_reservation", limit(&["resources", "reservations", "memory"]), "deploy.resources.reservations.memory"),
        ("pids_limit", limit(&["resources", "limits", "pids"]), "deploy.resources.limits.pids"),
    ];
    for (key, other, other_name) in pairs {
        let (Some(own), Some(other)) = (service.get(key), other) else { continue };
        if own.scalar_text() != other.scalar_text() {
            session.report(
                Diagnostic::error(format!("`{key}` and `{other_name}` differ"))
                    .at(own.span, "one value")
                    .related(other.span, "another one")
                    .path(format!("{path}.{key}"))
                    .hint("remove one of them, or give both the same value"),
            );
        }
    }
    let devices = limit(&["resources", "reservations", "devices"]).and_then(Node::as_sequence).unwrap_or_default();
    for (index, device) in devices.iter().enumerate() {
        if let (Some(count), Some(ids)) = (device.get("count"), device.get("device_ids")) {
            session.report(
                Diagnostic::error("`count` and `device_ids` exclude each other")
                    .at(ids.span, "")
                    .related(count.span, "")
                    .path(format!("{path}.deploy.resources.reservations.devices[{index}]")),
            );
        }
    }
}

pub(super) fn devices(service: &Node, path: &str, session: &mut Session) {
    for (index, device) in service.get("devices").and_then(Node::as_sequence).unwrap_or_default().iter().enumerate() {
        if device.get("target").is_none() {
            session.report(
                Diagnostic::error("a device has no `target`")
                    .at(device.span, "`target` is missing")
                    .path(format!("{path}.devices[{index}]")),
            );
        }
    }
}

pub(super) fn watch(service: &Node, name: &str, path: &str, session: &mut Session) {
    let rules = service.get("develop").and_then(|it| it.get("watch")).and_then(Node::as_sequence).unwrap_or_default();
    for (index, rule) in rules.iter().enumerate() {
        let action = rule.get("action").and_then(Node::as_str).unwrap_or_default();
        let path = format!("{path}.develop.watch[{index}]");
        if !matches!(action, "rebuild" | "restart") && rule.get("target").is_none() {
            session.report(
                Diagnostic::error(format!("a watch rule that does `{action}` has no `target`"))
                    .at(rule.span, "`target` is missing")
                    .path(path.clone())
                    .hint("add `target: …`, the path in the container"),
            );
        }
        if action == "rebuild" && service.get("build").is_none() {
            session.report(
                Diagnostic::warning(format!("a watch rule of {name:?} does `rebuild`, but the service has no `build`"))
                    .at(rule.span, "nothing to build")
                    .path(path)
                    .hint("add `build: …` to the service, or let the rule `restart` or `sync`"),
            );
        }
    }
}
