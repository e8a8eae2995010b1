//! Text to the type that an attribute wants.

use super::kind::wrong_kind;
use crate::compose::model::{Bytes, Duration};
use crate::compose::schema::Shape;
use crate::compose::session::{ModelPath, Session};
use crate::compose::yaml::{Node, Value, resolve_plain};
use crate::diag::{Diagnostic, nearest};

/// Casts a scalar.
pub(super) fn cast(node: &mut Node, shape: &Shape, path: &ModelPath, session: &mut Session) {
    if matches!(node.value, Value::Sequence(_) | Value::Mapping(_)) {
        return wrong_kind(node, wanted(shape), None, path, session);
    }
    match shape {
        Shape::Text => text(node, path, session),
        Shape::TextOrNumber => match &node.value {
            Value::Bool(_) => text(node, path, session),
            _ => stringify(node, path, session),
        },
        Shape::Scalar => stringify(node, path, session),
        Shape::TextOrFlag => match &node.value {
            Value::Bool(_) => stringify(node, path, session),
            _ => text(node, path, session),
        },
        Shape::Word(words) => word(node, words, path, session),
        Shape::Flag => flag(node, path, session),
        Shape::Whole { min, max } => whole(node, *min, *max, path, session),
        Shape::Number => number(node, path, session),
        Shape::Size => size(node, i64::MIN, path, session),
        Shape::Space => size(node, 0, path, session),
        Shape::Duration => duration(node, path, session),
        Shape::Mode => mode(node, path, session),
        _ => {}
    }
}

fn wanted(shape: &Shape) -> &'static str {
    match shape {
        Shape::Flag => "true or false",
        Shape::Whole { .. } => "a whole number",
        Shape::Number => "a number",
        Shape::Size | Shape::Space => "a size",
        Shape::Duration => "a duration",
        Shape::Mode => "permission bits",
        _ => "a string",
    }
}

/// A scalar as text; warns when it is not the text that was written.
pub(super) fn stringify(node: &mut Node, path: &ModelPath, session: &mut Session) {
    let Some(text) = node.scalar_text() else { return };
    if node.as_str().is_none()
        && let Some(written) = written(node, session)
        && written != text
    {
        let what = match node.value {
            Value::Bool(_) => "boolean",
            _ => "number",
        };
        let diagnostic = Diagnostic::warning(format!("{written} is a {what} here, and becomes \"{text}\""))
            .at(node.span, "without quotes")
            .path(path.as_str())
            .hint(format!("quote it to keep the text: \"{written}\""));
        session.report(diagnostic);
    }
    node.value = Value::String(text);
}

fn text(node: &mut Node, path: &ModelPath, session: &mut Session) {
    if node.as_str().is_some() {
        return;
    }
    let hint = written(node, session).map(|text| format!("quote it: \"{text}\""));
    wrong_kind(node, "a string", hint, path, session);
}

/// Longer lines are not searched.
const LINE_LIMIT: usize = 64 * 1024;

/// The scalar as it stands in the file.
fn written(node: &Node, session: &Session) -> Option<String> {
    let file = session.sources.get(node.span.source)?;
    let line = file.line(node.span.line);
    if line.len() > LINE_LIMIT {
        return None;
    }
    let (start, end) = (node.span.column as usize - 1, node.span.end_column as usize - 1);
    let text: String = line.chars().skip(start).take(end.saturating_sub(start)).collect();
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

fn word(node: &mut Node, words: &[&str], path: &ModelPath, session: &mut Session) {
    text(node, path, session);
    let Some(text) = node.as_str() else { return };
    if words.contains(&text) {
        return;
    }
    let near = nearest(text, words.iter().copied()).map(|near| format!("did you mean `{near}`?"));
    let known = || format!("known values: {}", quoted(words));
    let diagnostic = Diagnostic::error(format!("{text:?} is not a value of `{}`", path.last()))
        .at(node.span, "not known")
        .path(path.as_str())
        .hint(near.unwrap_or_else(known));
    session.report_node(node, diagnostic);
}

pub(super) fn quoted(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

fn flag(node: &mut Node, path: &ModelPath, session: &mut Session) {
    let Some(text) = node.as_str() else {
        if !matches!(node.value, Value::Bool(_)) {
            wrong_kind(node, "true or false", None, path, session);
        }
        return;
    };
    let (value, odd) = match text.to_ascii_lowercase().as_str() {
        "true" => (true, false),
        "false" => (false, false),
        "y" | "yes" | "on" => (true, true),
        "n" | "no" | "off" => (false, true),
        _ => {
            return wrong_value(node, "true or false", None, path, session);
        }
    };
    if odd {
        let diagnostic = Diagnostic::warning(format!("{text:?} is not a boolean in YAML 1.2"))
            .at(node.span, format!("taken as {value}"))
            .path(path.as_str())
            .hint(format!("write `{value}`"));
        session.report_node(node, diagnostic);
    }
    node.value = Value::Bool(value);
}

/// Reports a value that is of the right kind but cannot be read, and empties it.
pub(super) fn wrong_value(node: &mut Node, wanted: &str, hint: Option<&str>, path: &ModelPath, session: &mut Session) {
    let shown = node.scalar_text().unwrap_or_default();
    let diagnostic = Diagnostic::error(format!("`{}` must be {wanted}, not {shown:?}", path.last()))
        .at(node.span, format!("not {wanted}"))
        .path(path.as_str())
        .hint_opt(hint.map(str::to_owned));
    session.report_node(node, diagnostic);
    node.value = Value::Null;
    node.tag = crate::compose::yaml::Tag::Reset;
}

fn whole(node: &mut Node, min: i64, max: i64, path: &ModelPath, session: &mut Session) {
    let value = match &node.value {
        Value::Int(value) => Some(*value),
        Value::Float(value) if value.fract() == 0.0 && value.abs() < 1e15 => Some(*value as i64),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    match value {
        None => wrong_value(node, "a whole number", None, path, session),
        Some(value) if !(min..=max).contains(&value) => {
            let wanted = match (min, max) {
                (min, max) if max >= i64::from(u32::MAX) && value < min => format!("at least {min}"),
                (min, max) => format!("between {min} and {max}"),
            };
            wrong_value(node, &wanted, None, path, session);
        }
        Some(value) => node.value = Value::Int(value),
    }
}

fn number(node: &mut Node, path: &ModelPath, session: &mut Session) {
    let value = match &node.value {
        Value::Int(value) => Some(*value as f64),
        Value::Unsigned(value) => Some(*value as f64),
        Value::Float(value) => Some(*value),
        Value::String(text) => match resolve_plain(text.trim()) {
            Value::Int(value) => Some(value as f64),
            Value::Float(value) => Some(value),
            _ => None,
        },
        _ => None,
    };
    match value.filter(|value| value.is_finite()) {
        Some(value) => node.value = Value::Float(value),
        None => wrong_value(node, "a number", Some("for example `0.5` or `2`"), path, session),
    }
}

fn size(node: &mut Node, min: i64, path: &ModelPath, session: &mut Session) {
    let value = match &node.value {
        Value::Int(value) => Some(*value),
        Value::Float(value) if *value >= 0.0 && *value < 9e18 && value.fract() == 0.0 => Some(*value as i64),
        Value::String(text) => text.parse::<Bytes>().ok().map(|Bytes(value)| value),
        _ => None,
    };
    match value.filter(|value| *value >= min) {
        Some(value) => node.value = Value::Int(value),
        None => wrong_value(node, "a size", Some("a number and a unit of b, k, m, g: `512m`, `1.5g`"), path, session),
    }
}

fn duration(node: &mut Node, path: &ModelPath, session: &mut Session) {
    let Some(text) = node.as_str() else {
        let hint = node.scalar_text().map(|text| format!("add a unit: {text}s"));
        return wrong_kind(node, "a duration", hint, path, session);
    };
    match text.parse::<Duration>() {
        Ok(value) => node.value = Value::String(value.to_string()),
        Err(_) => {
            let bare = text.bytes().all(|byte| byte.is_ascii_digit());
            let hint = match bare {
                true => format!("add a unit: {text}s"),
                false => "a number and a unit of ns, us, ms, s, m, h, d, w, or several: `1m30s`".to_owned(),
            };
            wrong_value(node, "a duration", Some(&hint), path, session);
        }
    }
}

/// An unquoted number is in the base that it is written in; a string is octal.
fn mode(node: &mut Node, path: &ModelPath, session: &mut Session) {
    let value = match &node.value {
        Value::Int(value) => Some(*value),
        Value::String(text) => i64::from_str_radix(text.strip_prefix("0o").unwrap_or(text), 8).ok(),
        _ => None,
    };
    match value.filter(|value| (0..=0o7777).contains(value)) {
        Some(value) => node.value = Value::Int(value),
        None => {
            wrong_value(node, "permission bits", Some("write them in octal with a leading zero: 0440"), path, session)
        }
    }
}
