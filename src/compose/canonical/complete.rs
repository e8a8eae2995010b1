//! What must hold once everything is merged: no attribute without a value, no required key missing.

use crate::compose::schema::{EmptyText, Object, Shape, Special, empty_text, object_of};
use crate::compose::session::{ModelPath, Session};
use crate::compose::yaml::{Node, Value};
use crate::diag::{Diagnostic, Span};

/// Checks `node`, whose key stands at `key_span`.
pub fn complete(node: &mut Node, shape: &Shape, key_span: Span, path: &mut ModelPath, session: &mut Session) {
    if node.is_null() && matches!(shape, Shape::Scalar) {
        node.value = Value::String(String::new());
        return;
    }
    if node.is_null() {
        let fine =
            matches!(shape, Shape::Any | Shape::Nullable(_) | Shape::Special(Special::Command) | Shape::Pairs(_));
        if !fine || matches!(shape, Shape::Pairs(_)) {
            session.report(
                Diagnostic::error(format!("`{}` has no value", path.last()))
                    .at(key_span, "nothing follows")
                    .path(path.as_str())
                    .hint("give it a value, or remove the key"),
            );
        }
        return;
    }
    match (shape, &mut node.value) {
        (Shape::Table(item), Value::Mapping(mapping)) => {
            for (key, entry) in &mut mapping.0 {
                path.key(key, |path| complete(&mut entry.node, item, entry.key_span, path, session));
            }
        }
        (Shape::List(item) | Shape::Set(item), Value::Sequence(items)) => {
            for (index, child) in items.iter_mut().enumerate() {
                let span = child.span;
                path.index(index, |path| complete(child, item, span, path, session));
            }
        }
        (Shape::Object(known) | Shape::Nullable(known), Value::Mapping(_)) => {
            object(node, known, key_span, path, session);
        }
        (Shape::Special(special), _) => {
            if let Some(inner) = object_of(*special) {
                complete(node, inner, key_span, path, session);
            }
        }
        _ => {}
    }
}

fn object(node: &mut Node, known: &Object, key_span: Span, path: &mut ModelPath, session: &mut Session) {
    let Some(mapping) = node.as_mapping_mut() else { return };
    mapping.0.retain(|key, entry| !(is_empty(&entry.node) && empty_text(known, key) == EmptyText::Unset));
    if known.name == "service"
        && let Some(Value::Sequence(servers)) = mapping.get_mut("dns").map(|dns| &mut dns.value)
    {
        servers.retain(|server| !is_empty(server));
        if servers.is_empty() {
            mapping.remove("dns");
        }
    }
    for required in known.required {
        if mapping.get(required).is_none_or(|value| says_nothing(value, known.attribute(required))) {
            session.report(
                Diagnostic::error(format!("{} has no `{required}`", article(known.name)))
                    .at(key_span, format!("`{required}` is missing"))
                    .path(path.as_str())
                    .hint_opt(values(known, required)),
            );
        }
    }
    for (key, entry) in &mut mapping.0 {
        if let Some(shape) = known.attribute(key) {
            path.key(key, |path| complete(&mut entry.node, shape, entry.key_span, path, session));
        }
    }
    // A fault of a list item is reported once; its nulls go.
    mapping.0.retain(|key, entry| !entry.node.is_null() || known.attribute(key).is_none_or(keeps_null));
}

/// A required value that is there and empty.
fn says_nothing(value: &Node, shape: Option<&Shape>) -> bool {
    let is_command = matches!(shape, Some(Shape::Special(Special::Command | Special::Script)));
    is_empty(value) || is_command && value.as_sequence().is_some_and(<[Node]>::is_empty)
}

fn is_empty(node: &Node) -> bool {
    node.as_str() == Some("")
}

/// What a required key may be.
fn values(known: &Object, required: &str) -> Option<String> {
    match (known.name, known.attribute(required)?) {
        ("port", _) => Some("add `target: …`, the port inside of the container".to_owned()),
        (_, Shape::Word(words)) => {
            let words: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
            Some(format!("add `{required}: …`, one of {}", words.join(", ")))
        }
        _ => Some(format!("add `{required}: …`")),
    }
}

fn keeps_null(shape: &Shape) -> bool {
    matches!(shape, Shape::Special(Special::Command) | Shape::Nullable(_))
}

fn article(name: &str) -> String {
    let vowel = name.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {name}", if vowel { "an" } else { "a" })
}
