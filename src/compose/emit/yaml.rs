//! YAML in the style of the peer's writer: two spaces, lists indented, literal blocks for several lines.

use std::fmt::Write as _;

use serde_json::Value;

use crate::compose::yaml::{Value as Resolved, float_text, resolve_plain};

/// A longer key stands on a line of its own: readers look no further for the colon.
const LONGEST_KEY: usize = 128;

/// `value` as a document that ends with a newline.
#[must_use]
pub fn to_yaml(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(mapping) if !mapping.is_empty() => entries(&mut out, value, 0),
        Value::Array(items) if !items.is_empty() => entries(&mut out, value, 0),
        _ => {
            inline(&mut out, value, 0);
            out.push('\n');
        }
    }
    out
}

/// The lines of a mapping or list that is not empty; the first begins where `out` ends.
fn entries(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(mapping) => {
            for (index, (key, value)) in mapping.iter().enumerate() {
                if index > 0 {
                    pad(out, indent);
                }
                let start = out.len();
                scalar(out, key, None);
                if out.len() - start > LONGEST_KEY {
                    out.insert_str(start, "? ");
                    out.push('\n');
                    pad(out, indent);
                }
                out.push(':');
                nested(out, value, indent);
            }
        }
        Value::Array(items) => {
            for (index, value) in items.iter().enumerate() {
                if index > 0 {
                    pad(out, indent);
                }
                out.push('-');
                match is_block(value) {
                    true => {
                        out.push(' ');
                        entries(out, value, indent + 2);
                    }
                    false => {
                        out.push(' ');
                        inline(out, value, indent + 2);
                        out.push('\n');
                    }
                }
            }
        }
        _ => {}
    }
}

fn nested(out: &mut String, value: &Value, indent: usize) {
    if is_block(value) {
        out.push('\n');
        pad(out, indent + 2);
        entries(out, value, indent + 2);
    } else {
        out.push(' ');
        inline(out, value, indent + 2);
        out.push('\n');
    }
}

fn is_block(value: &Value) -> bool {
    match value {
        Value::Object(mapping) => !mapping.is_empty(),
        Value::Array(items) => !items.is_empty(),
        _ => false,
    }
}

fn pad(out: &mut String, indent: usize) {
    const SPACES: &str = "                                ";
    let mut left = indent;
    while left > 0 {
        let some = left.min(SPACES.len());
        out.push_str(&SPACES[..some]);
        left -= some;
    }
}

fn inline(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(value), _, _) => _ = write!(out, "{value}"),
            (_, Some(value), _) => _ = write!(out, "{value}"),
            (_, _, value) => out.push_str(&float_text(value.unwrap_or_default())),
        },
        Value::String(text) => scalar(out, text, Some(indent)),
        Value::Array(_) => out.push_str("[]"),
        Value::Object(_) => out.push_str("{}"),
    }
}

/// A string; several lines become a literal block when `block` gives its indentation.
fn scalar(out: &mut String, text: &str, block: Option<usize>) {
    if text.is_empty() {
        return out.push_str("\"\"");
    }
    if is_obviously_plain(text) {
        return out.push_str(text);
    }
    let shape = Analysis::of(text);
    match (text.contains('\n'), block) {
        (true, Some(indent)) if shape.block_allowed => literal(out, text, indent),
        (true, _) => double_quoted(out, text),
        _ if !is_string(text) => double_quoted(out, text),
        _ if shape.plain_allowed => out.push_str(text),
        _ if shape.single_allowed => {
            out.push('\'');
            out.push_str(&text.replace('\'', "''"));
            out.push('\'');
        }
        _ => double_quoted(out, text),
    }
}

/// Most texts of a project: a letter, then signs that mean nothing to any reader of YAML, and too long for a word that
/// is a value (`false`, `.inf`).
fn is_obviously_plain(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() > 5
        && (bytes[0].is_ascii_alphabetic() || bytes[0] == b'/')
        && bytes[bytes.len() - 1] != b':'
        && bytes.iter().all(|byte| byte.is_ascii_alphanumeric() || b"_-./:=@".contains(byte))
}

/// Whether the text is a string when it stands there without quotes.
fn is_string(text: &str) -> bool {
    const OLD_BOOLEANS: [&str; 18] =
        ["y", "Y", "yes", "Yes", "YES", "on", "On", "ON", "n", "N", "no", "No", "NO", "off", "Off", "OFF", "<<", "=<"];
    matches!(resolve_plain(text), Resolved::String(_))
        && !OLD_BOOLEANS.contains(&text)
        && !is_sexagesimal(text)
        && !is_timestamp(text)
        && !is_go_number(text)
}

/// `0o17`, `0b1_0` and the like, which the peer's reader takes for numbers too.
fn is_go_number(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    digits.starts_with(|c: char| c.is_ascii_digit())
        && matches!(
            resolve_plain(&digits.replace('_', "")),
            Resolved::Int(_) | Resolved::Float(_) | Resolved::Unsigned(_)
        )
}

/// `1:30`, `12:30:45.5`: numbers in YAML 1.1.
fn is_sexagesimal(text: &str) -> bool {
    let text = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (whole, fraction) = text.split_once('.').map_or((text, ""), |(whole, fraction)| (whole, fraction));
    let mut parts = whole.split(':');
    let first = parts.next().unwrap_or_default();
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'_');
    let rest: Vec<&str> = parts.collect();
    first.starts_with(|c: char| c.is_ascii_digit())
        && digits(first)
        && digits(fraction)
        && !rest.is_empty()
        && rest.iter().all(|part| {
            let bytes = part.as_bytes();
            match bytes {
                [one] => one.is_ascii_digit(),
                [ten, one] => (b'0'..=b'5').contains(ten) && one.is_ascii_digit(),
                _ => false,
            }
        })
}

/// `2001-01-01`, with a time or without.
fn is_timestamp(text: &str) -> bool {
    let bytes = text.as_bytes();
    let year = bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if year != 4 || bytes.get(4) != Some(&b'-') {
        return false;
    }
    let (date, time) = match text.find(['T', 't', ' ']) {
        Some(at) => (&text[..at], &text[at + 1..]),
        None => (text, ""),
    };
    let parts: Vec<&str> = date.split('-').collect();
    let number = |text: &str, max: u32| {
        (1..=2).contains(&text.len()) && text.parse::<u32>().is_ok_and(|number| (1..=max).contains(&number))
    };
    let is_date = parts.len() == 3 && number(parts[1], 12) && number(parts[2], 31);
    let clock = time.trim_start();
    is_date
        && (text.len() == date.len()
            || clock.split(':').count() >= 3 && clock.starts_with(|c: char| c.is_ascii_digit()))
}

/// Which styles a text may have.
struct Analysis {
    plain_allowed: bool,
    single_allowed: bool,
    block_allowed: bool,
}

impl Analysis {
    fn of(text: &str) -> Self {
        let is_blank = |c: Option<char>| {
            c.is_none_or(|c| matches!(c, ' ' | '\t' | '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}'))
        };
        let mut indicator = text.starts_with("---") || text.starts_with("...");
        let (mut special, mut tab, mut breaks) = (false, false, false);
        let (mut break_space, mut space_break) = (false, false);
        let mut previous_space = false;
        let mut previous_break = false;
        let mut chars = text.chars().peekable();
        let mut previous = None;
        while let Some(c) = chars.next() {
            let next_blank = is_blank(chars.peek().copied());
            let previous_blank = is_blank(previous);
            if previous.is_none() {
                indicator |= "#,[]{}&*!|>'\"%@`".contains(c) || ("?:-".contains(c) && next_blank);
            } else {
                indicator |= (c == ':' && next_blank) || (c == '#' && previous_blank);
            }
            let is_break = matches!(c, '\n' | '\r' | '\u{85}' | '\u{2028}' | '\u{2029}');
            match c {
                '\t' => tab = true,
                c if !is_printable(c) => special = true,
                _ => {}
            }
            breaks |= is_break;
            break_space |= c == ' ' && previous_break;
            space_break |= is_break && previous_space;
            previous_space = c == ' ';
            previous_break = is_break;
            previous = Some(c);
        }
        let edge = |c: Option<char>| c.is_some_and(|c| matches!(c, ' ' | '\n' | '\r'));
        let trailing_space = previous == Some(' ');
        let plain_allowed = !(indicator
            || breaks
            || edge(text.chars().next())
            || edge(previous)
            || break_space
            || space_break
            || tab
            || special);
        Self {
            plain_allowed,
            single_allowed: !(break_space || space_break || tab || special),
            block_allowed: !(trailing_space || space_break || special),
        }
    }
}

fn is_printable(c: char) -> bool {
    matches!(c,
        '\n' | ' '..='~' | '\u{a0}'..='\u{d7ff}' | '\u{e000}'..='\u{fffd}')
        && c != '\u{feff}'
}

fn literal(out: &mut String, text: &str, indent: usize) {
    out.push('|');
    if text.starts_with([' ', '\n']) {
        out.push('2');
    }
    let body = text.strip_suffix('\n');
    match body {
        None => out.push('-'),
        Some(body) if body.is_empty() || body.ends_with('\n') => out.push('+'),
        Some(_) => {}
    }
    for line in body.unwrap_or(text).split('\n') {
        out.push('\n');
        if !line.is_empty() {
            pad(out, indent);
            out.push_str(line);
        }
    }
}

fn double_quoted(out: &mut String, text: &str) {
    out.push('"');
    for c in text.chars() {
        match c {
            '\0' => out.push_str("\\0"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\t' => out.push_str("\\t"),
            '\n' => out.push_str("\\n"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            '\r' => out.push_str("\\r"),
            '\u{1b}' => out.push_str("\\e"),
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\u{85}' => out.push_str("\\N"),
            '\u{a0}' => out.push_str("\\_"),
            '\u{2028}' => out.push_str("\\L"),
            '\u{2029}' => out.push_str("\\P"),
            c if is_printable(c) => out.push(c),
            c if (c as u32) <= 0xff => _ = write!(out, "\\x{:02X}", c as u32),
            c if (c as u32) <= 0xffff => _ = write!(out, "\\u{:04X}", c as u32),
            c => _ = write!(out, "\\U{:08X}", c as u32),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn strings_are_written_as_the_peer_writes_them() {
        for (text, written) in [
            ("a", "a"),
            ("@x", "'@x'"),
            ("true", "\"true\""),
            ("yes", "\"yes\""),
            ("n", "\"n\""),
            ("a: b", "'a: b'"),
            ("a #b", "'a #b'"),
            ("- x", "'- x'"),
            ("2001-01-01", "\"2001-01-01\""),
            ("12:30:45", "\"12:30:45\""),
            ("8080:80", "8080:80"),
            (".", "."),
            ("", "\"\""),
            ("x ", "'x '"),
            ("a\tb", "\"a\\tb\""),
            ("it's", "it's"),
            ("a\u{1}b", "\"a\\x01b\""),
            ("0o7", "\"0o7\""),
            ("1_000", "\"1_000\""),
            ("~", "\"~\""),
            ("a\\b", "a\\b"),
            ("x: /y", "'x: /y'"),
            ("é", "é"),
            ("'a'", "'''a'''"),
            ("a\rb", "\"a\\rb\""),
            ("\u{1f600}", "\"\\U0001F600\""),
        ] {
            let mut out = String::new();
            scalar(&mut out, text, Some(2));
            assert_eq!(out, written, "{text:?}");
        }
    }

    #[test]
    fn several_lines_are_literal() {
        let value = json!({"a": "x\ny\n", "b": "x\ny", "c": " x\ny", "d": "x\n\n", "e": "x \ny"});
        assert_eq!(
            to_yaml(&value),
            "a: |\n  x\n  y\nb: |-\n  x\n  y\nc: |2-\n   x\n  y\nd: |+\n  x\n\ne: \"x \\ny\"\n"
        );
    }

    #[test]
    fn nesting() {
        let value = json!({"a": [1, {"b": [], "c": {"d": null}}, ["x"]], "e": {}, "f": 0.5});
        let long = "k".repeat(129);
        assert_eq!(to_yaml(&json!({"x": {long.clone(): {"y": 1}}})), format!("x:\n  ? {long}\n  :\n    \"y\": 1\n"));
        assert_eq!(to_yaml(&value), "a:\n  - 1\n  - b: []\n    c:\n      d: null\n  - - x\ne: {}\nf: 0.5\n");
    }
}
