//! The walk along the schema.

use super::kind::wrong_kind;
use super::{scalar, short};
use crate::compose::schema::{EmptyPair, Object, Shape, Special};
use crate::compose::session::{ModelPath, Session};
use crate::compose::yaml::{Entry, Mapping, Node, Tag, Value};
use crate::diag::{Diagnostic, Span, nearest};

/// Brings `node` into its canonical form. Values that do not fit are reported and become nothing.
pub fn canonicalise(node: &mut Node, shape: &Shape, path: &mut ModelPath, session: &mut Session) {
    if node.tag == Tag::Reset || node.is_null() {
        return;
    }
    if session.is_template(node) {
        return;
    }
    // What is printed before variables get their values is printed as it is written; only its faults are of interest.
    if session.raw && is_value(shape) {
        let mut checked = node.clone();
        cast(&mut checked, shape, path, session);
        if checked.tag == Tag::Reset {
            *node = checked;
        }
        return;
    }
    cast(node, shape, path, session);
}

/// Whether nothing is merged into such a value, so that it may stay as it is written.
fn is_value(shape: &Shape) -> bool {
    matches!(
        shape,
        Shape::Flag
            | Shape::Whole { .. }
            | Shape::Number
            | Shape::Size
            | Shape::Space
            | Shape::Duration
            | Shape::Mode
            | Shape::Special(Special::Command | Special::HealthTest | Special::Script)
    )
}

fn cast(node: &mut Node, shape: &Shape, path: &mut ModelPath, session: &mut Session) {
    match shape {
        Shape::Any => {}
        Shape::Text
        | Shape::TextOrNumber
        | Shape::Scalar
        | Shape::TextOrFlag
        | Shape::Word(_)
        | Shape::Flag
        | Shape::Whole { .. }
        | Shape::Number
        | Shape::Size
        | Shape::Space
        | Shape::Duration
        | Shape::Mode => scalar::cast(node, shape, path, session),
        Shape::List(item) => list(node, item, path, session),
        Shape::Set(item) => {
            list(node, item, path, session);
            unique(node);
        }
        Shape::TextOrList => {
            if let Value::String(text) = &node.value {
                node.value = Value::Sequence(vec![Node::string(text.clone(), node.span)]);
            }
            list(node, &Shape::Text, path, session);
            unique(node);
        }
        Shape::Table(item) => table(node, item, path, session),
        Shape::Pairs(empty) => pairs(node, *empty, path, session),
        Shape::Object(known) | Shape::Nullable(known) => object(node, known, path, session),
        Shape::Special(special) => short::expand(node, *special, path, session),
    }
}

pub(super) fn list(node: &mut Node, item: &Shape, path: &mut ModelPath, session: &mut Session) {
    if !matches!(node.value, Value::Sequence(_)) {
        let hint = match &node.value {
            Value::Mapping(_) => "begin each line with `- `".to_owned(),
            _ => format!("write it as a list: [{}]", node.scalar_text().unwrap_or_default()),
        };
        return wrong_kind(node, "a list", Some(hint), path, session);
    }
    if let Value::Sequence(items) = &mut node.value {
        for (index, child) in items.iter_mut().enumerate() {
            path.index(index, |path| {
                if child.is_null() {
                    session.report(
                        Diagnostic::error("a list item has no value")
                            .at(child.span, "nothing here")
                            .path(path.as_str())
                            .hint("remove the item, or give it a value"),
                    );
                }
                canonicalise(child, item, path, session);
            });
        }
        items.retain(|item| !item.is_null());
    }
}

/// Repeated strings count once.
pub(in crate::compose) fn unique(node: &mut Node) {
    if let Value::Sequence(items) = &mut node.value
        && items.len() > 1
    {
        let mut seen = std::collections::HashSet::new();
        items.retain(|item| item.as_str().is_none_or(|text| seen.insert(text.to_owned())));
    }
}

fn table(node: &mut Node, item: &Shape, path: &mut ModelPath, session: &mut Session) {
    let is_top = !path.as_str().contains('.');
    let Value::Mapping(mapping) = &mut node.value else {
        let hint = format!("write `NAME: …` lines below `{}:`", path.last());
        return wrong_kind(node, "a mapping", Some(hint), path, session);
    };
    for (key, entry) in &mut mapping.0 {
        if is_top && is_extension(path.as_str(), key) {
            continue;
        }
        if is_top && let Err(rule) = check_name(path.as_str(), key) {
            session.report(
                Diagnostic::error(format!("`{}` cannot be a name", key.escape_debug()))
                    .at(entry.key_span, rule)
                    .path(path.as_str()),
            );
        }
        path.key(key, |path| {
            canonicalise(&mut entry.node, item, path, session);
        });
    }
    if is_top {
        mapping.0.retain(|key, _| !is_extension(path.as_str(), key));
    }
}

/// A key of one's own. Services, secrets and configs may be called so, as they may for the peer.
fn is_extension(kind: &str, key: &str) -> bool {
    key.starts_with("x-") && !matches!(kind, "services" | "secrets" | "configs")
}

/// What the key of a resource may be; a network's is only a part of its name.
fn check_name(kind: &str, key: &str) -> Result<(), &'static str> {
    match kind {
        "networks" if key.is_empty() || key.contains(char::is_control) => Err("empty, or with control characters"),
        "networks" => Ok(()),
        _ if is_name(key) => Ok(()),
        _ => Err("letters, digits, `.`, `_` and `-` only"),
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
}

/// `KEY: value` or `- KEY=value`.
fn pairs(node: &mut Node, empty: EmptyPair, path: &mut ModelPath, session: &mut Session) {
    match &mut node.value {
        Value::Sequence(items) => {
            let mut mapping = Mapping::default();
            for (index, item) in std::mem::take(items).into_iter().enumerate() {
                let Some(text) = item.as_str() else {
                    let mut item = item;
                    let hint = item.as_mapping().and_then(|it| it.0.first()).map(|(key, entry)| {
                        let value = entry.node.scalar_text().unwrap_or_default();
                        format!("write `- {key}={value}`, or drop the dashes of the whole list")
                    });
                    path.index(index, |path| wrong_kind(&mut item, "a string `KEY=value`", hint, path, session));
                    continue;
                };
                let (key, value) = match text.split_once('=') {
                    Some((key, value)) => (key.to_owned(), Value::String(value.to_owned())),
                    None => (text.to_owned(), empty_value(empty)),
                };
                if empty == EmptyPair::Unset && key.ends_with([' ', '\t']) {
                    path.index(index, |path| blank_after_name(&item, &key, path, session));
                    continue;
                }
                if empty == EmptyPair::Refused && !text.contains('=') {
                    let diagnostic = Diagnostic::error(format!("{text:?} has no value"))
                        .at(item.span, "`KEY=value` is wanted")
                        .path(path.as_str());
                    session.report_node(&item, diagnostic);
                    continue;
                }
                let value = item.with(value);
                mapping.0.insert(key, Entry { key_span: item.span, node: value });
            }
            node.value = Value::Mapping(Box::new(mapping));
        }
        Value::Mapping(mapping) => {
            for (key, entry) in &mut mapping.0 {
                let child = &mut entry.node;
                if child.tag == Tag::Reset {
                    continue;
                }
                match &child.value {
                    Value::Null => child.value = empty_value(empty),
                    Value::Sequence(_) | Value::Mapping(_) => path.key(key, |path| {
                        wrong_kind(child, "a string, a number, a boolean or nothing", None, path, session);
                    }),
                    _ => path.key(key, |path| scalar::stringify(child, path, session)),
                }
            }
        }
        _ => {
            let hint = "write `KEY: value` lines, or a list of `KEY=value`".to_owned();
            wrong_kind(node, "a mapping or a list", Some(hint), path, session);
        }
    }
}

/// The name of a variable cannot end with a blank: nothing could read it.
fn blank_after_name(item: &Node, key: &str, path: &ModelPath, session: &mut Session) {
    let name = key.trim_end();
    let diagnostic = Diagnostic::error(format!("the name of the variable {name} ends with a blank"))
        .at(item.span, "a blank before `=`")
        .path(path.as_str())
        .hint(format!("write {name}=… without blanks around `=`"));
    session.report_node(item, diagnostic);
}

fn empty_value(empty: EmptyPair) -> Value {
    match empty {
        EmptyPair::Blank | EmptyPair::Refused => Value::String(String::new()),
        EmptyPair::Unset => Value::Null,
    }
}

pub(super) fn object(node: &mut Node, known: &Object, path: &mut ModelPath, session: &mut Session) {
    let Value::Mapping(mapping) = &mut node.value else {
        return wrong_kind(node, "a mapping", mapping_hint(known, node), path, session);
    };
    for (key, entry) in &mut mapping.0 {
        if let Some(shape) = known.attribute(key) {
            path.key(key, |path| canonicalise(&mut entry.node, shape, path, session));
        } else if !key.starts_with("x-") {
            let diagnostic = unknown_key(key, entry.key_span, known, path);
            session.report(diagnostic);
            entry.node.tag = Tag::Reset;
        }
    }
    mapping.0.retain(|key, entry| entry.node.tag != Tag::Reset || known.attribute(key).is_some());
}

fn mapping_hint(known: &Object, node: &Node) -> Option<String> {
    if let Some((key, _)) = node.as_str().and_then(|text| text.split_once(':'))
        && known.attribute(key).is_some()
    {
        return Some(format!("put a space after `{key}:`"));
    }
    match &node.value {
        Value::Sequence(items) if items.iter().any(|item| item.as_mapping().is_some()) => {
            Some("drop the dashes: these keys belong to one mapping".to_owned())
        }
        _ => {
            let such = known.names().next().map(|name| format!(", such as `{name}: …`")).unwrap_or_default();
            Some(format!("write its keys on lines of their own below it{such}"))
        }
    }
}

fn unknown_key(key: &str, span: Span, known: &Object, path: &ModelPath) -> Diagnostic {
    let (what, of) = match path.as_str() {
        "" => ("a Compose file", "at the top of the file"),
        _ => (known.name, "here"),
    };
    let diagnostic = Diagnostic::error(format!("unknown key `{key}` in {what}"))
        .at(span, format!("not known {of}"))
        .path(match path.as_str() {
            "" => key.to_owned(),
            path => format!("{path}.{key}"),
        });
    if let Some(hint) = elsewhere(key, path.as_str()) {
        return diagnostic.hint(hint);
    }
    match nearest(key, known.names()) {
        Some(near) => diagnostic.hint(format!("did you mean `{near}`?")),
        None if known.attributes.len() <= 12 => {
            let names: Vec<_> = known.names().map(|name| format!("`{name}`")).collect();
            diagnostic.hint(format!("known keys: {}", names.join(", ")))
        }
        None => diagnostic.hint(format!("keys of your own begin with `x-`: `x-{key}`")),
    }
}

/// Keys that are known, but in another place, or by another name.
fn elsewhere(key: &str, path: &str) -> Option<String> {
    use crate::compose::schema::{PROJECT, SERVICE};
    let in_service = path.matches('.').count() == 1 && path.starts_with("services.");
    let text = match key {
        "log_driver" | "log_opt" => "use `logging: { driver: …, options: … }`",
        "net" => "use `network_mode`",
        "dockerfile" | "context" | "args" if in_service => "it belongs below `build:`",
        "replicas" | "resources" | "restart_policy" if in_service => "it belongs below `deploy:`",
        "limits" | "reservations" => "it belongs below `deploy.resources:`",
        "memory" if in_service => "use `mem_limit`, or `deploy.resources.limits.memory`",
        "env" => "use `environment`",
        "cmd" => "use `command`",
        "watch" if in_service => "it belongs below `develop:`",
        "interval" | "retries" | "test" if in_service => "it belongs below `healthcheck:`",
        "aliases" if in_service => "it belongs below a network: `networks: { NAME: { aliases: […] } }`",
        "name" if in_service => "the service's name is its key; use `container_name` for the container",
        _ if path.is_empty() && SERVICE.attribute(key).is_some() => {
            return Some(format!("`{key}` belongs to a service: indent it below `services:` and the service's name"));
        }
        _ if path.is_empty() => return None,
        _ if in_service && PROJECT.attribute(key).is_some() => "it belongs to the top level: check its indentation",
        _ => return None,
    };
    Some(text.to_owned())
}
