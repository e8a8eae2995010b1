//! The top level: networks, volumes, secrets and configs.

use crate::compose::session::Session;
use crate::compose::yaml::{Mapping, Node};
use crate::diag::Diagnostic;

/// Secrets and configs have one source; what somebody else made has a name and nothing more.
pub(super) fn check(tree: &Node, session: &mut Session) {
    for (kind, sources) in [("secrets", &["file", "environment"][..]), ("configs", &["file", "environment", "content"])]
    {
        for (name, entry) in tree.get(kind).and_then(Node::as_mapping).into_iter().flat_map(Mapping::iter) {
            let external = entry.node.get("external").and_then(Node::as_bool) == Some(true);
            let derived = entry.node.get("environment").is_some();
            let set: Vec<&str> = sources
                .iter()
                .copied()
                .filter(|key| entry.node.get(key).is_some() && !(derived && *key == "content"))
                .collect();
            let driven = entry.node.get("driver").is_some();
            if external || driven {
                continue;
            }
            let listed = sources.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
            let one = kind.trim_end_matches('s');
            if set.len() != 1 {
                let label = if set.is_empty() { "no source" } else { "more than one source" };
                session.report(
                    Diagnostic::error(format!("{one} {name:?} must have exactly one of {listed}"))
                        .at(entry.key_span, label)
                        .path(format!("{kind}.{name}"))
                        .hint(match set.is_empty() {
                            true => format!("say where it comes from, for example `file: ./{name}.txt`"),
                            false => format!("keep one of `{}`", set.join("`, `")),
                        }),
                );
            }
        }
    }
    for kind in ["networks", "volumes", "secrets", "configs"] {
        for (name, entry) in tree.get(kind).and_then(Node::as_mapping).into_iter().flat_map(Mapping::iter) {
            if entry.node.get("external").and_then(Node::as_bool) != Some(true) {
                continue;
            }
            let others = entry.node.as_mapping().into_iter().flat_map(Mapping::iter);
            for (key, other) in
                others.filter(|(key, _)| !["name", "external"].contains(&key.as_str()) && !key.starts_with("x-"))
            {
                session.report(
                    Diagnostic::error(format!("`{kind}.{name}` is external and cannot have `{key}`"))
                        .at(other.key_span, "not ours to set")
                        .path(format!("{kind}.{name}.{key}"))
                        .hint("remove the key, or `external`"),
                );
            }
        }
    }
}
