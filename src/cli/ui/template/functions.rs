//! The functions of Go's templates and those that Docker adds.

use serde_json::Value;

use super::TemplateError;
use super::evaluate::print;

pub(super) const NAMES: [&str; 23] = [
    "and", "eq", "ge", "gt", "index", "join", "json", "le", "len", "lower", "lt", "ne", "not", "or", "pad", "print",
    "printf", "println", "slice", "split", "title", "truncate", "upper",
];

pub(super) fn exists(name: &str) -> bool {
    NAMES.contains(&name)
}

/// Go's truth: not zero, not empty.
pub(super) fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

fn text_of(value: &Value) -> String {
    let mut text = String::new();
    print(value, &mut text);
    text
}

pub(super) fn call(name: &str, arguments: Vec<Value>) -> Result<Value, TemplateError> {
    let wrong = |what: &str| TemplateError::new(format!("`{name}` {what}"));
    Ok(match (name, &arguments[..]) {
        ("json", [value]) => value.to_string().into(),
        ("upper", [value]) => text_of(value).to_uppercase().into(),
        ("lower", [value]) => text_of(value).to_lowercase().into(),
        ("title", [value]) => title(&text_of(value)).into(),
        ("print", values) => values.iter().map(text_of).collect::<Vec<_>>().concat().into(),
        ("println", values) => (values.iter().map(text_of).collect::<Vec<_>>().join(" ") + "\n").into(),
        ("printf", [Value::String(format), values @ ..]) => printf(format, values).into(),
        ("len", [Value::String(text)]) => text.len().into(),
        ("len", [Value::Array(items)]) => items.len().into(),
        ("len", [Value::Object(map)]) => map.len().into(),
        ("len", [Value::Null]) => 0.into(),
        ("not", [value]) => (!is_true(value)).into(),
        // The first that decides, else the last.
        ("and", [.., last]) => arguments.iter().find(|value| !is_true(value)).unwrap_or(last).clone(),
        ("or", [.., last]) => arguments.iter().find(|value| is_true(value)).unwrap_or(last).clone(),
        ("eq", [first, others @ ..]) if !others.is_empty() => others.iter().any(|other| equal(first, other)).into(),
        ("ne", [a, b]) => (!equal(a, b)).into(),
        ("lt" | "le" | "gt" | "ge", [a, b]) => {
            let order = order(a, b).ok_or_else(|| wrong("compares two numbers or two texts"))?;
            match name {
                "lt" => order.is_lt(),
                "le" => order.is_le(),
                "gt" => order.is_gt(),
                _ => order.is_ge(),
            }
            .into()
        }
        ("index", [value, keys @ ..]) => {
            let mut found = value.clone();
            for key in keys {
                found = match (&found, key) {
                    (Value::Object(map), Value::String(key)) => map.get(key).cloned().unwrap_or(Value::Null),
                    (Value::Array(items), Value::Number(number)) => {
                        let at = number.as_u64().and_then(|at| usize::try_from(at).ok());
                        at.and_then(|at| items.get(at))
                            .cloned()
                            .ok_or_else(|| wrong("goes past the end of the list"))?
                    }
                    (Value::Null, _) => Value::Null,
                    _ => return Err(wrong("takes a list and a number, or a map and a key")),
                };
            }
            found
        }
        ("slice", [Value::String(text), bounds @ ..]) => {
            let at = |index: usize, default: usize| match bounds.get(index) {
                None => Some(default),
                Some(value) => value.as_u64().and_then(|at| usize::try_from(at).ok()),
            };
            let range = at(0, 0).zip(at(1, text.len())).filter(|(from, to)| from <= to);
            let part = range.and_then(|(from, to)| text.get(from..to));
            part.ok_or_else(|| wrong("goes past the end of the text"))?.into()
        }
        ("split", [Value::String(text), Value::String(separator)]) => text.split(separator.as_str()).collect(),
        ("join", [Value::Array(items), Value::String(separator)]) => {
            items.iter().map(text_of).collect::<Vec<_>>().join(separator).into()
        }
        ("truncate", [value, Value::Number(length)]) => {
            let length = length.as_u64().and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
            text_of(value).chars().take(length).collect::<String>().into()
        }
        ("pad", [value, Value::Number(before), Value::Number(after)]) => {
            let blanks = |count: &serde_json::Number| " ".repeat(count.as_u64().unwrap_or(0).min(1000) as usize);
            format!("{}{}{}", blanks(before), text_of(value), blanks(after)).into()
        }
        _ => return Err(wrong("cannot take these arguments")),
    })
}

fn title(text: &str) -> String {
    let mut begins = true;
    text.chars()
        .flat_map(|character| {
            let capital = std::mem::replace(&mut begins, character.is_whitespace());
            if capital { character.to_uppercase().collect::<Vec<_>>() } else { vec![character] }
        })
        .collect()
}

fn equal(a: &Value, b: &Value) -> bool {
    match (a.as_f64(), b.as_f64()) {
        (Some(a), Some(b)) => a.total_cmp(&b).is_eq(),
        _ => a == b,
    }
}

fn order(a: &Value, b: &Value) -> Option<std::cmp::Ordering> {
    match (a, b) {
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        _ => a.as_f64()?.partial_cmp(&b.as_f64()?),
    }
}

/// `%s`, `%v`, `%d`, `%q`, `%t`, `%%`, with a width: `%-10s`.
fn printf(format: &str, values: &[Value]) -> String {
    let mut text = String::new();
    let mut values = values.iter();
    let mut rest = format;
    while let Some((before, after)) = rest.split_once('%') {
        text.push_str(before);
        let verb = after.find(|c: char| !c.is_ascii_digit() && !matches!(c, '-' | '.')).unwrap_or(after.len());
        let (flags, after) = after.split_at(verb);
        let mut characters = after.chars();
        let filled = match characters.next() {
            Some('%') => "%".to_owned(),
            Some('q') => values.next().map_or_else(String::new, |value| Value::from(text_of(value)).to_string()),
            Some(_) => values.next().map_or_else(|| "%!(MISSING)".to_owned(), text_of),
            None => "%!(NOVERB)".to_owned(),
        };
        let (width, precision) = flags.trim_start_matches('-').split_once('.').unwrap_or((flags, ""));
        let width = width.trim_start_matches('-').parse::<usize>().unwrap_or(0).min(1000);
        let filled = match precision.parse::<usize>() {
            Ok(most) => filled.chars().take(most).collect(),
            Err(_) => filled,
        };
        text += &if flags.starts_with('-') { format!("{filled:<width$}") } else { format!("{filled:>width$}") };
        rest = characters.as_str();
    }
    text.push_str(rest);
    text
}
