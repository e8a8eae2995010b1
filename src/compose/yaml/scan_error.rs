//! What the scanner's complaints mean to a person.

use saphyr_parser::ScanError;

use crate::diag::{Diagnostic, SourceFile, Span};

/// A diagnostic for a text that is not YAML; `place` is where the scanner noticed.
pub(super) fn diagnose(error: &ScanError, place: Span, file: &SourceFile) -> Diagnostic {
    let Span { source, mut line, mut column, .. } = place;
    // The scanner often notices on the line after the fault; an empty line shows nothing.
    while line > 1 && file.line(line).trim().is_empty() {
        line -= 1;
        column = u32::try_from(file.line(line).chars().count()).unwrap_or(0) + 1;
    }
    let text = file.line(line);
    let span = Span { source, line, column, end_line: line, end_column: column + 1 };
    let hint = hint(file, line, text);
    Diagnostic::error("not valid YAML").at(span, plain(error.info())).hint_opt(hint)
}

/// The scanner's words as a person would say them.
fn plain(info: &str) -> String {
    let text = match info {
        "simple key expect ':'" | "simple key expected ':'" => "a `:` was expected after this",
        "mapping values are not allowed in this context" => "a `:` cannot stand here",
        "while parsing a block mapping, did not find expected key" => "a key was expected here",
        "while parsing a block collection, did not find expected '-' indicator" => "a `- ` was expected here",
        "while parsing a flow mapping, did not find expected ',' or '}'" => "a `,` or `}` was expected here",
        "while parsing a flow sequence, expected ',' or ']'" => "a `,` or `]` was expected here",
        "while parsing node, found unknown anchor" => "no line above sets this anchor",
        "invalid indentation" => "not indented as the lines above need it",
        "invalid indentation in quoted scalar"
        | "while scanning a quoted scalar, found unexpected end of stream"
        | "while scanning a quoted scalar, found unexpected document indicator" => {
            "this quoted text has no end where it should"
        }
        "illegal placement of ':' indicator" => "a `:` cannot stand here",
        "tabs disallowed within this context (block indentation)" | "tabs disallowed within this context" => {
            "a tab cannot indent"
        }
        info => info,
    };
    text.to_owned()
}

fn hint(file: &SourceFile, line: u32, text: &str) -> Option<String> {
    let indentation = |text: &str| text.chars().take_while(|c| c.is_whitespace()).collect::<String>();
    for number in [line, line.saturating_sub(1)] {
        if number > 0 && indentation(file.line(number)).contains('\t') {
            return Some(format!("line {number} is indented with a tab; YAML wants spaces"));
        }
    }
    let value = text.split_once(": ").map_or("", |(_, value)| value.trim());
    if value.contains(": ") {
        return Some(
            "a value that contains `: ` must be quoted; otherwise check the indentation of this line".to_owned(),
        );
    }
    for quote in ['"', '\''] {
        if text.matches(quote).count() % 2 == 1 {
            return Some(format!("a closing {quote} is missing"));
        }
    }
    if value.starts_with(['@', '`', '%']) {
        return Some("a value that begins with this character must be quoted".to_owned());
    }
    if let Some(name) = value.strip_prefix('*') {
        let name = name.split([' ', ',', ']', '}']).next().unwrap_or_default();
        return Some(format!("set it above with `&{name}`; quote the value when you mean the character `*`"));
    }
    if value.starts_with('&') {
        return Some(
            "`*` refers to an anchor and `&` sets one; quote the value when you mean the character".to_owned(),
        );
    }
    let above: Vec<(u32, &str)> = (line.saturating_sub(5).max(1)..=line).rev().map(|it| (it, file.line(it))).collect();
    for (number, text) in &above {
        for (open, close) in [('[', ']'), ('{', '}')] {
            if text.matches(open).count() > text.matches(close).count() {
                return Some(format!("a closing {close} is missing on line {number}"));
            }
        }
    }
    let glued = text.trim_start().split(' ').next().filter(|word| {
        word.split_once(':')
            .is_some_and(|(key, rest)| !rest.is_empty() && key.chars().all(|c| c.is_alphanumeric() || c == '_'))
    });
    if let Some(word) = glued {
        return Some(format!("put a space after `{}:`", word.split(':').next().unwrap_or_default()));
    }
    let before = above.iter().skip(1).find(|(_, text)| !text.trim().is_empty());
    match before {
        Some((number, before)) if !before.contains(':') && !before.trim_start().starts_with(['-', '#']) => {
            Some(format!("line {number} has no `:` at its end"))
        }
        Some((_, before))
            if !before.trim_end().ends_with(':') && indentation(before).len() < indentation(text).len() =>
        {
            Some("this line is indented deeper than the one above; line it up with its neighbours".to_owned())
        }
        _ if !text.contains(':') && !text.trim_start().starts_with('-') => {
            Some("a key ends with `:`; a list item begins with `- `".to_owned())
        }
        _ => Some("check that the line is indented as its neighbours are".to_owned()),
    }
}
