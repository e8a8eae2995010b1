//! `volumes` of a service.

use std::collections::HashMap;

use super::Checks;
use super::references::undefined;
use crate::compose::session::Session;
use crate::compose::yaml::Node;
use crate::diag::{Diagnostic, Span};

impl Checks<'_> {
    /// Volumes of a service: each has a source as its type demands, and a place of its own.
    pub(super) fn mounts(&self, name: &str, service: &Node, path: &str, session: &mut Session) {
        let mut targets: HashMap<String, Span> = HashMap::new();
        for (index, item) in service.get("volumes").and_then(Node::as_sequence).unwrap_or_default().iter().enumerate() {
            let path = format!("{path}.volumes[{index}]");
            let kind = item.get("type").and_then(Node::as_str).unwrap_or_default();
            let source = item.get("source");
            if let Some(node) = source
                && kind == "volume"
                && let Some(used) = node.as_str()
                && !used.is_empty()
                && !self.volumes.contains(used)
            {
                undefined(name, "volume", used, node.span, &path, "volumes", self.volumes, session);
            }
            if source.and_then(Node::as_str).is_none_or(str::is_empty) && matches!(kind, "bind" | "image") {
                session.report(
                    Diagnostic::error(format!("a volume of type {kind} has no `source`"))
                        .at(item.span, "`source` is missing")
                        .path(path.clone())
                        .hint(match kind {
                            "bind" => "add `source: …`, a path of this machine",
                            _ => "add `source: …`, the name of an image",
                        }),
                );
            }
            let Some(target) = item.get("target") else {
                session.report(
                    Diagnostic::error("a volume has no `target`")
                        .at(item.span, "`target` is missing")
                        .path(path)
                        .hint("add `target: …`, an absolute path in the container"),
                );
                continue;
            };
            let text = target.as_str().unwrap_or_default();
            if !text.starts_with('/') {
                let diagnostic = Diagnostic::error(format!("the target {text:?} of a volume is not an absolute path"))
                    .at(target.span, "must begin with `/`")
                    .path(path.clone());
                session.report_node(target, diagnostic);
                continue;
            }
            if let Some(first) = targets.insert(text.to_owned(), target.span) {
                session.report(
                    Diagnostic::error(format!("two volumes of {name:?} have the target {text}"))
                        .at(target.span, "second one")
                        .related(first, "first one")
                        .path(path),
                );
            }
        }
    }
}
