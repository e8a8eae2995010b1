//! `extra_hosts`. Canonical: a list of `HOST=ADDRESS`.

use super::structure::wrong_kind;
use crate::compose::session::{ModelPath, Session};
use crate::compose::yaml::{Node, Tag, Value};
use crate::diag::Diagnostic;

/// `HOST=ADDRESS`, `HOST:ADDRESS`, or a mapping of names to one or more addresses.
pub(super) fn extra_hosts(node: &mut Node, path: &mut ModelPath, session: &mut Session) {
    let mut hosts = Vec::new();
    match &mut node.value {
        Value::Sequence(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                path.index(index, |path| hosts.extend(from_text(item, path, session)));
            }
        }
        Value::Mapping(mapping) => {
            for (host, entry) in &mut mapping.0 {
                path.key(host, |path| {
                    let addresses = match &mut entry.node.value {
                        Value::Sequence(items) => items.iter_mut().collect(),
                        _ => vec![&mut entry.node],
                    };
                    for item in addresses {
                        match item.as_str() {
                            Some(address) => hosts.push(line(item, host, address)),
                            None => wrong_kind(item, "an address or a list of addresses", None, path, session),
                        }
                    }
                });
            }
        }
        _ => {
            return wrong_kind(node, "a list or a mapping", Some("write `- HOST=ADDRESS`".to_owned()), path, session);
        }
    }
    let mut seen = std::collections::HashSet::new();
    hosts.retain(|host: &Node| host.as_str().is_some_and(|text| seen.insert(text.to_owned())));
    node.value = Value::Sequence(hosts);
}

fn from_text(item: &mut Node, path: &ModelPath, session: &mut Session) -> Option<Node> {
    let Some(text) = item.as_str() else {
        wrong_kind(item, "a string", Some("write `- HOST=ADDRESS`".to_owned()), path, session);
        return None;
    };
    match text.split_once('=').or_else(|| text.split_once(':')) {
        _ if session.is_template(item) => Some(item.clone()),
        Some((host, address)) if !host.is_empty() && !address.is_empty() => Some(line(item, host, address)),
        _ => {
            let diagnostic = Diagnostic::error(format!("{text:?} has no address"))
                .at(item.span, "")
                .path(path.as_str())
                .hint("the form is HOST=ADDRESS, for example db.local=10.0.0.5 or host.internal=host-gateway");
            session.report_node(item, diagnostic);
            None
        }
    }
}

fn line(item: &Node, host: &str, address: &str) -> Node {
    let bare = address.strip_prefix('[').and_then(|address| address.strip_suffix(']')).unwrap_or(address);
    Node { tag: Tag::None, ..item.with(Value::String(format!("{host}={bare}"))) }
}
