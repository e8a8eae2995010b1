//! From `services.web.ports[0]` to the node, along the tree: names may have dots in them.

use super::history::{History, Layer};
use crate::compose::schema;
use crate::compose::yaml::{Node, Value};
use crate::diag::nearest;

/// There is nothing at a path.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct UnknownPath {
    pub text: String,
    pub hint: Option<String>,
}

/// What a path leads to.
#[derive(Debug)]
pub enum Found<'a> {
    Node(&'a Node),
    /// It was there, and `!reset` took it away.
    Removed(Vec<Layer>),
}

/// Follows `path`. The path as the tree has it comes with what was found.
pub fn find<'a>(root: &'a Node, path: &str, history: &History) -> Result<(String, Found<'a>), UnknownPath> {
    let mut node = root;
    let mut done = String::new();
    let mut rest = path;
    while !rest.is_empty() {
        let (key, after) = match &node.value {
            Value::Mapping(mapping) => {
                let wanted = rest.strip_prefix('.').filter(|_| !done.is_empty()).unwrap_or(rest);
                let (wanted, quoted) = quoted(wanted);
                let visible = mapping.0.keys().filter(|key| !key.starts_with('#'));
                let longest = visible.filter(|key| begins_with(wanted, key, quoted)).max_by_key(|key| key.len());
                match longest {
                    Some(key) => {
                        node = mapping.get(key).unwrap_or(node);
                        (key.clone(), &rest[rest.len() - after(wanted, key, quoted).len()..])
                    }
                    None => {
                        let removed = history.of(node).removed;
                        let gone_keys: Vec<String> = removed.keys().cloned().collect();
                        let gone = removed.into_iter().find(|(key, _)| key == wanted);
                        return match gone {
                            Some((key, layers)) => Ok((joined(&done, &key), Found::Removed(layers))),
                            None => Err(unknown(path, &done, wanted, node, &gone_keys)),
                        };
                    }
                }
            }
            Value::Sequence(items) => {
                let number = rest.strip_prefix('[').and_then(|rest| rest.split_once(']'));
                let item =
                    number.and_then(|(number, after)| Some((items.get(number.parse::<usize>().ok()?)?, number, after)));
                let Some((item, number, after)) = item else { return Err(unknown(path, &done, rest, node, &[])) };
                node = item;
                (format!("[{number}]"), after)
            }
            _ => return Err(unknown(path, &done, rest, node, &[])),
        };
        done = joined(&done, &key);
        rest = after;
    }
    Ok((done, Found::Node(node)))
}

/// `["a.b"]` names a key with anything in it.
fn quoted(wanted: &str) -> (&str, bool) {
    let inner = wanted.strip_prefix("[\"").and_then(|rest| rest.find("\"]").map(|end| &rest[..end + 2]));
    match inner {
        Some(_) => (&wanted[2..], true),
        None => (wanted, false),
    }
}

fn begins_with(wanted: &str, key: &str, quoted: bool) -> bool {
    wanted.strip_prefix(key).is_some_and(|rest| match quoted {
        true => rest.starts_with("\"]"),
        false => rest.is_empty() || rest.starts_with(['.', '[']),
    })
}

fn after<'a>(wanted: &'a str, key: &str, quoted: bool) -> &'a str {
    &wanted[key.len() + if quoted { 2 } else { 0 }..]
}

/// `key` below `path`.
pub fn joined(path: &str, key: &str) -> String {
    match key.starts_with('[') || path.is_empty() {
        true => format!("{path}{key}"),
        false => format!("{path}.{key}"),
    }
}

fn unknown(path: &str, done: &str, rest: &str, node: &Node, gone: &[String]) -> UnknownPath {
    let rest = rest.trim_start_matches('.');
    let end = rest.find(['.', '[']).filter(|end| *end > 0).unwrap_or(rest.len());
    let (wanted, deeper) = rest.split_at(end);
    let below = |key: &str| joined(done, key);
    let place = if done.is_empty() { "the project".to_owned() } else { format!("`{done}`") };
    let hint = match &node.value {
        Value::Mapping(mapping) => {
            let names = || mapping.0.keys().map(String::as_str).filter(|key| !key.starts_with('#'));
            let some: Vec<&str> = names().take(12).collect();
            let more = if names().count() > some.len() { ", …" } else { "" };
            match nearest(wanted, names().chain(gone.iter().map(String::as_str))) {
                Some(near) => Some(format!("did you mean `{}{deeper}`?", below(near))),
                None if some.is_empty() => Some(format!("{place} is empty")),
                None => Some(format!("{place} has {}{more}", some.join(", "))),
            }
        }
        Value::Sequence(items) => match items.len() {
            0 => Some(format!("{place} is an empty list")),
            1 => Some(format!("{place} has one item: `{done}[0]`")),
            many => Some(format!("{place} has {many} items: `{done}[0]` to `{done}[{}]`", many - 1)),
        },
        _ => Some(format!("`{done}` is {} and has no parts", node.value.kind())),
    };
    let text = match is_attribute(&below(wanted)) && matches!(node.value, Value::Mapping(_)) {
        true => format!("no file sets `{}`", below(wanted)),
        false => format!("there is no `{path}`"),
    };
    UnknownPath { text, hint }
}

/// Whether the schema knows an attribute at `path`.
fn is_attribute(path: &str) -> bool {
    let parts: Vec<&str> = path.split('.').collect();
    schema::paths().iter().any(|known| {
        let known: Vec<&str> = known.split('.').collect();
        known.len() == parts.len() && known.iter().zip(&parts).all(|(known, part)| *known == "*" || known == part)
    })
}
