//! `extra_hosts`. Canonical: a list of `HOST=ADDRESS`.

use super::kind::wrong_kind;
use crate::compose::session::{ModelPath, Session};
use crate::compose::yaml::{Node, Tag, Value};
use crate::diag::Diagnostic;

/// `HOST=ADDRESS`, `HOST:ADDRESS`, or a mapping of names to one or more addresses.
pub(super) fn extra_hosts(node: &mut Node, path: &mut ModelPath, session: &mut Session) {
    let mut hosts = Vec::new();
    match &mut node.value {
        Value::Sequence(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                path.index(index, |path| from_text(item, &mut hosts, path, session));
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
                            Some(addresses) => each_address(item, host, addresses, &mut hosts, path, session),
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

/// A name and its addresses, with commas between them.
fn from_text(item: &mut Node, hosts: &mut Vec<Node>, path: &ModelPath, session: &mut Session) {
    let Some(text) = item.as_str() else {
        return wrong_kind(item, "a string", Some("write `- HOST=ADDRESS`".to_owned()), path, session);
    };
    if session.is_template(item) {
        return hosts.push(item.clone());
    }
    let (host, addresses) = text.split_once('=').or_else(|| text.split_once(':')).unwrap_or((text, ""));
    each_address(item, host, addresses, hosts, path, session);
}

fn each_address(
    item: &Node,
    host: &str,
    addresses: &str,
    hosts: &mut Vec<Node>,
    path: &ModelPath,
    session: &mut Session,
) {
    let several = addresses.split(',').map(str::trim).filter(|address| !address.is_empty());
    let before = hosts.len();
    for address in several {
        hosts.extend(line(item, host.trim(), address, path, session));
    }
    if hosts.len() == before && addresses.trim_matches([',', ' ']).is_empty() {
        hosts.extend(line(item, host, "", path, session));
    }
}

/// An IPv6 address may be in brackets, which the canonical form does not have.
fn line(item: &Node, host: &str, address: &str, path: &ModelPath, session: &mut Session) -> Option<Node> {
    let bare = address.strip_prefix('[').and_then(|address| address.strip_suffix(']')).unwrap_or(address);
    let is_word = |text: &str| !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c.is_control());
    if !is_word(host) || !is_word(bare) || bare.starts_with('[') {
        let what = if is_word(host) { "address" } else { "name" };
        let message = match (host.is_empty(), bare.is_empty() || bare.starts_with('[')) {
            (true, _) | (false, true) => format!("{:?} has no {what}", item.as_str().unwrap_or_default()),
            _ => format!("the {what} in {:?} has blanks or control characters", format!("{host}={bare}")),
        };
        let diagnostic = Diagnostic::error(message)
            .at(item.span, "")
            .path(path.as_str())
            .hint("the form is HOST=ADDRESS, for example db.local=10.0.0.5 or host.internal=host-gateway");
        session.report_node(item, diagnostic);
        return None;
    }
    Some(Node { tag: Tag::None, ..item.with(Value::String(format!("{host}={bare}"))) })
}
