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
                            Some(address) => hosts.extend(line(item, host, address, path, session)),
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
    if session.is_template(item) {
        return Some(item.clone());
    }
    let (host, address) = text.split_once('=').or_else(|| text.split_once(':')).unwrap_or((text, ""));
    line(item, host, address, path, session)
}

/// An IPv6 address may be in brackets, which the canonical form does not have.
fn line(item: &Node, host: &str, address: &str, path: &ModelPath, session: &mut Session) -> Option<Node> {
    let bare = address.strip_prefix('[').and_then(|address| address.strip_suffix(']')).unwrap_or(address);
    if host.is_empty() || bare.is_empty() || bare.starts_with('[') {
        let what = if host.is_empty() { "name" } else { "address" };
        let diagnostic = Diagnostic::error(format!("{:?} has no {what}", item.as_str().unwrap_or_default()))
            .at(item.span, "")
            .path(path.as_str())
            .hint("the form is HOST=ADDRESS, for example db.local=10.0.0.5 or host.internal=host-gateway");
        session.report_node(item, diagnostic);
        return None;
    }
    Some(Node { tag: Tag::None, ..item.with(Value::String(format!("{host}={bare}"))) })
}
