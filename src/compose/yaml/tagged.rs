//! What a scalar with a tag stands for.

use saphyr_parser::Tag;

use super::{Value, binary_text, resolve_plain};
use crate::diag::{Diagnostic, Span};

const CORE: &str = "tag:yaml.org,2002:";

/// A text that is not what its tag says.
#[derive(Debug)]
pub(super) struct Misfit {
    text: String,
    tag: String,
    wanted: &'static str,
}

impl Misfit {
    pub fn diagnostic(&self, place: Span) -> Diagnostic {
        let Self { text, tag, wanted } = self;
        Diagnostic::error(format!("\"{text}\" is not {wanted}"))
            .at(place, format!("its tag is `!!{tag}`"))
            .hint("correct the value, or remove the tag")
    }
}

/// The value of `text`, which stands without quotes or has none that count; only `plain` text without a tag is looked at.
pub(super) fn resolve(text: &str, plain: bool, tag: Option<&Tag>) -> Result<Value, Misfit> {
    let string = || Value::String(text.to_owned());
    let tag = match tag.map(|tag| format!("{}{}", tag.handle, tag.suffix)) {
        Some(tag) if tag != "!" => tag,
        _ if plain => return Ok(resolve_plain(text)),
        _ => return Ok(string()),
    };
    // Tags of others make a text.
    let Some(tag) = tag.strip_prefix(CORE) else { return Ok(string()) };
    let (value, wanted) = match tag {
        "int" => (number(text).filter(|value| !matches!(value, Value::Float(_))), "a whole number"),
        "float" => (number(text).map(as_float), "a number"),
        "bool" => (Some(resolve_plain(text)).filter(|value| matches!(value, Value::Bool(_))), "a boolean"),
        "null" => (Some(resolve_plain(text)).filter(|value| matches!(value, Value::Null)), "null"),
        "timestamp" => (timestamp(text).map(Value::String), "a time"),
        "binary" => (binary_text(text).map(Value::String), "text in base64"),
        _ => (Some(string()), "a text"),
    };
    value.ok_or_else(|| Misfit { text: text.to_owned(), tag: tag.to_owned(), wanted })
}

fn number(text: &str) -> Option<Value> {
    Some(resolve_plain(text)).filter(|value| matches!(value, Value::Int(_) | Value::Unsigned(_) | Value::Float(_)))
}

fn as_float(value: Value) -> Value {
    match value {
        Value::Int(value) => Value::Float(value as f64),
        Value::Unsigned(value) => Value::Float(value as f64),
        value => value,
    }
}

/// A date, with or without a time, as the peer writes it: RFC 3339.
fn timestamp(text: &str) -> Option<String> {
    let (date, time) = match text.find(['T', 't', ' ']) {
        Some(at) => (&text[..at], Some(text.split_at(at))),
        None => (text, None),
    };
    let mut parts = date.splitn(3, '-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    if year.len() != 4 {
        return None;
    }
    let date = jiff::civil::Date::new(digits(year, 4)?, digits(month, 2)?, digits(day, 2)?).ok()?;
    let Some((_, time)) = time else { return Some(format!("{date}T00:00:00Z")) };
    // Only what stands behind a `T` says its zone.
    let (clock, zone) = match time.starts_with(' ') {
        true => (&time[1..], "Z".to_owned()),
        false => split_zone(&time[1..])?,
    };
    let (clock, fraction) = clock.split_once('.').map_or((clock, None), |(clock, fraction)| (clock, Some(fraction)));
    let mut parts = clock.splitn(3, ':');
    let (hour, minute, second) = (parts.next()?, parts.next()?, parts.next()?);
    let time = jiff::civil::Time::new(digits(hour, 2)?, digits(minute, 2)?, digits(second, 2)?, 0).ok()?;
    let fraction = match fraction {
        None => String::new(),
        Some(it) if (1..=9).contains(&it.len()) && it.bytes().all(|byte| byte.is_ascii_digit()) => {
            let short = it.trim_end_matches('0');
            if short.is_empty() { String::new() } else { format!(".{short}") }
        }
        Some(_) => return None,
    };
    Some(format!("{date}T{time}{fraction}{zone}"))
}

/// `Z`, `+HH:MM` or `-HH:MM` at the end of a time.
fn split_zone(text: &str) -> Option<(&str, String)> {
    if let Some(clock) = text.strip_suffix('Z') {
        return Some((clock, "Z".to_owned()));
    }
    let (clock, zone) = text.split_at(text.rfind(['+', '-'])?);
    let (hours, minutes) = zone[1..].split_once(':')?;
    let is_whole = hours.len() == 2 && minutes.len() == 2;
    let (hours, minutes): (i8, i8) = (digits(hours, 2)?, digits(minutes, 2)?);
    (is_whole && hours <= 24 && minutes < 60)
        .then(|| (clock, if hours == 0 && minutes == 0 { "Z".to_owned() } else { zone.to_owned() }))
}

fn digits<T: std::str::FromStr>(text: &str, most: usize) -> Option<T> {
    let fits = (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    fits.then(|| text.parse().ok()).flatten()
}
