//! What a service names and the top level must have, and names that only one may have.

use std::collections::HashMap;

use super::Checks;
use crate::compose::session::Session;
use crate::compose::yaml::{Mapping, Node};
use crate::diag::{Diagnostic, Span, nearest};

impl Checks<'_> {
    /// Networks, models, secrets and configs that a service uses.
    pub(super) fn references(&self, name: &str, service: &Node, path: &str, session: &mut Session) {
        let tables = [("networks", "network", self.networks), ("models", "model", self.models)];
        for (key, what, known) in tables {
            for (used, entry) in service.get(key).and_then(Node::as_mapping).into_iter().flat_map(Mapping::iter) {
                if !(known.contains(used) || key == "networks" && used == "default") {
                    undefined(name, what, used, entry.key_span, &format!("{path}.{key}.{used}"), key, known, session);
                }
            }
        }
        for (key, what, known) in [("secrets", "secret", self.secrets), ("configs", "config", self.configs)] {
            for (index, item) in service.get(key).and_then(Node::as_sequence).unwrap_or_default().iter().enumerate() {
                let Some(node) = item.get("source") else { continue };
                let Some(used) = node.as_str() else { continue };
                if !known.contains(used) {
                    undefined(name, what, used, node.span, &format!("{path}.{key}[{index}]"), key, known, session);
                }
            }
        }
    }

    /// A name belongs to one container.
    pub(super) fn container_names(&self, session: &mut Session) {
        let mut names: HashMap<&str, (&str, Span)> = HashMap::new();
        for (service, entry) in self.services.iter().filter(|(name, _)| self.enabled.contains(*name)) {
            let Some(node) = entry.node.get("container_name") else { continue };
            let Some(name) = node.as_str().filter(|name| !name.is_empty()) else { continue };
            if let Some((other, span)) = names.insert(name, (service, node.span)) {
                session.report(
                    Diagnostic::error(format!("services {other:?} and {service:?} have the same `container_name`"))
                        .at(node.span, format!("{name} again"))
                        .related(span, "named here")
                        .path(format!("services.{service}.container_name"))
                        .hint("give one of them another name"),
                );
            }
        }
    }
}

pub(super) fn undefined(
    service: &str,
    what: &str,
    used: &str,
    span: Span,
    path: &str,
    kind: &str,
    known: &Mapping,
    session: &mut Session,
) {
    let hint = match nearest(used, known.0.keys().map(String::as_str)) {
        Some(near) => format!("did you mean `{near}`?"),
        None if what == "volume" => {
            format!("declare it at the top level: `volumes: {{ {used}: }}`, or write ./{used} for a folder")
        }
        None => format!("declare it at the top level: `{kind}: {{ {used}: … }}`"),
    };
    session.report(
        Diagnostic::error(format!("service {service:?} uses undefined {what} {used:?}"))
            .at(span, format!("not in the top-level `{kind}`"))
            .path(path)
            .hint(hint),
    );
}
