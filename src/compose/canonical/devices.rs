//! `devices`, `gpus`, device requests, `ulimits`.

use super::kind::wrong_kind;
use super::structure::{canonicalise, list};
use crate::compose::schema::{DEVICE, DEVICE_REQUEST, Shape, ULIMIT};
use crate::compose::session::{ModelPath, Session};
use crate::compose::yaml::{Mapping, Node, Tag, Value};
use crate::diag::Diagnostic;

/// `HOST[:CONTAINER[:PERMISSIONS]]`.
pub(super) fn devices(node: &mut Node, path: &mut ModelPath, session: &mut Session) {
    if let Value::Sequence(items) = &mut node.value {
        for (index, item) in items.iter_mut().enumerate() {
            let Some(text) = item.as_str().filter(|_| !session.is_template(item)) else { continue };
            let parts: Vec<String> = text.split(':').map(str::to_owned).collect();
            if parts.len() > 3 || parts.iter().any(String::is_empty) {
                path.index(index, |path| {
                    let diagnostic = Diagnostic::error(format!("{text:?} is not a device"))
                        .at(item.span, "")
                        .path(path.as_str())
                        .hint("the form is HOST[:CONTAINER[:PERMISSIONS]], for example /dev/fuse:/dev/fuse:rwm");
                    session.report_node(item, diagnostic);
                });
                item.tag = Tag::Reset;
                continue;
            }
            let mut mapping = Mapping::default();
            let target = parts.get(1).unwrap_or(&parts[0]);
            let permissions = parts.get(2).map_or("rwm", String::as_str);
            for (key, value) in [("source", parts[0].as_str()), ("target", target), ("permissions", permissions)] {
                mapping.insert(key, Node { tag: Tag::None, ..item.with(Value::String(value.to_owned())) });
            }
            item.value = Value::Mapping(Box::new(mapping));
        }
        items.retain(|item| item.tag != Tag::Reset);
    }
    list(node, &Shape::Object(&DEVICE), path, session);
}

/// A number, or `all`.
pub(super) fn count(node: &mut Node, path: &mut ModelPath, session: &mut Session) {
    match node.as_str() {
        Some("all") => node.value = Value::Int(-1),
        _ => canonicalise(node, &Shape::Whole { min: -1, max: i64::MAX }, path, session),
    }
}

/// `all`, or a list of device requests.
pub(super) fn gpus(node: &mut Node, path: &mut ModelPath, session: &mut Session) {
    if node.as_str() == Some("all") {
        let mut mapping = Mapping::default();
        mapping.insert("count", Node::new(Value::Int(-1), node.span));
        node.value = Value::Sequence(vec![Node::mapping(mapping, node.span)]);
        return;
    }
    if !matches!(node.value, Value::Sequence(_)) {
        return wrong_kind(node, "`all` or a list", None, path, session);
    }
    list(node, &Shape::Object(&DEVICE_REQUEST), path, session);
}

/// A number or `{ soft, hard }` for each name.
pub(super) fn ulimits(node: &mut Node, path: &mut ModelPath, session: &mut Session) {
    const LIMIT: Shape = Shape::Whole { min: -1, max: i64::MAX };
    let Value::Mapping(mapping) = &mut node.value else {
        return wrong_kind(node, "a mapping", Some("write `nofile: 65536` below it".to_owned()), path, session);
    };
    for (key, entry) in &mut mapping.0 {
        path.key(key, |path| {
            let shape = match entry.node.value {
                Value::Mapping(_) => Shape::Object(&ULIMIT),
                _ => LIMIT,
            };
            canonicalise(&mut entry.node, &shape, path, session);
        });
    }
}
