//! The project as JSON.

use std::fmt::Write as _;

/// JSON as the peer writes it: these characters can only stand in strings.
pub(super) fn escaped(json: &str) -> String {
    with_escapes(json, |c| matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}'))
}

/// With escapes for what may stand in JSON and not in YAML, or not as itself, so that it can be read as a file again.
pub(super) fn readable(json: &str) -> String {
    with_escapes(json, |c| matches!(c, '\u{7f}'..='\u{9f}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}'))
}

fn with_escapes(json: &str, is_escaped: impl Fn(char) -> bool) -> String {
    let mut text = String::with_capacity(json.len());
    for c in json.chars() {
        match is_escaped(c) {
            true => _ = write!(text, "\\u{:04x}", c as u32),
            false => text.push(c),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_yaml_does_not_have_is_escaped() {
        let text = "\"a\u{7f}\u{85}\u{9f}\u{feff}<\u{2028}é\"";
        assert_eq!(readable(&escaped(text)), r#""a\u007f\u0085\u009f\ufeff\u003c\u2028é""#);
    }
}
