//! Diagnostics as text with the source line and a caret, and as JSON.

use std::fmt::Write as _;

use unicode_width::UnicodeWidthChar;

use super::{Diagnostic, Label, Severity, SourceMap, Span};

/// Whether the text is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Paint {
    #[default]
    Plain,
    Colour,
}

const RED: &str = "\x1b[1;31m";
const YELLOW: &str = "\x1b[1;33m";
const BLUE: &str = "\x1b[1;34m";
const CYAN: &str = "\x1b[1;36m";
const BOLD: &str = "\x1b[1m";

impl Paint {
    fn paint(self, style: &str, text: &str) -> String {
        match self {
            Self::Colour if !text.is_empty() => format!("{style}{text}\x1b[0m"),
            _ => text.to_owned(),
        }
    }
}

/// All diagnostics, with a blank line between them. Ends with a newline unless there is nothing.
#[must_use]
pub fn render_all<'a>(
    diagnostics: impl IntoIterator<Item = &'a Diagnostic>,
    sources: &SourceMap,
    paint: Paint,
) -> String {
    let parts: Vec<String> = diagnostics.into_iter().map(|diagnostic| render(diagnostic, sources, paint)).collect();
    parts.join("\n")
}

/// One diagnostic, as several lines that end with a newline.
#[must_use]
pub fn render(diagnostic: &Diagnostic, sources: &SourceMap, paint: Paint) -> String {
    let style = match diagnostic.severity {
        Severity::Error => RED,
        Severity::Warning => YELLOW,
    };
    let mut out = String::new();
    let kind = paint.paint(style, diagnostic.severity.as_str());
    push_line(&mut out, &format!("{kind}: {}", paint.paint(BOLD, &printable(&diagnostic.message))));
    let labels = diagnostic.primary.iter().chain(&diagnostic.related);
    let width = labels.map(|label| digits(label.span.line)).max().unwrap_or(1);
    let gutter = " ".repeat(width);
    let bar = paint.paint(BLUE, "|");
    let snippets = [("-->", diagnostic.primary.as_slice(), style, '^'), (":::", &diagnostic.related, BLUE, '-')];
    for (arrow, labels, style, mark) in snippets {
        for label in labels {
            let Some(file) = sources.get(label.span.source) else { continue };
            let at = format!("{}:{}:{}", file.name, label.span.line, label.span.column);
            push_line(&mut out, &format!("{gutter}{} {at}", paint.paint(BLUE, arrow)));
            let line = file.line(label.span.line);
            if line.len() > LONGEST_LINE {
                push_line(&mut out, &format!("{gutter} {bar} {}", printable(&label.text)));
                continue;
            }
            let snippet = Snippet::new(line, label.span);
            let number = paint.paint(BLUE, &format!("{:>width$}", label.span.line));
            push_line(&mut out, &format!("{gutter} {bar}"));
            push_line(&mut out, &format!("{number} {bar} {}", snippet.text));
            let carets: String = std::iter::repeat_n(mark, snippet.width).collect();
            let marks = paint.paint(style, format!("{carets} {}", printable(&label.text)).trim_end());
            push_line(&mut out, &format!("{gutter} {bar} {}{marks}", " ".repeat(snippet.offset)));
        }
    }
    if diagnostic.primary.is_some() && (diagnostic.path.is_some() || !diagnostic.notes.is_empty()) {
        push_line(&mut out, &format!("{gutter} {bar}"));
    }
    let equals = paint.paint(BLUE, "=");
    for note in diagnostic.path.iter().map(|path| format!("at {path}")).chain(diagnostic.notes.iter().cloned()) {
        push_line(&mut out, &format!("{gutter} {equals} {}", printable(&note)));
    }
    if let Some(hint) = &diagnostic.hint {
        push_line(&mut out, &format!("{}: {}", paint.paint(CYAN, "hint"), printable(hint)));
    }
    out
}

fn push_line(out: &mut String, line: &str) {
    out.push_str(line.trim_end());
    out.push('\n');
}

fn digits(number: u32) -> usize {
    number.max(1).ilog10() as usize + 1
}

/// Text of a file must not reach the terminal as control codes.
fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' => out.push(' '),
            '\t' => out.push_str("    "),
            c if c.is_control() => _ = write!(out, "{}", c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

/// The shown part of a source line and where the marks go below it.
struct Snippet {
    text: String,
    offset: usize,
    width: usize,
}

/// Longer lines were not written by a person and are not shown.
const LONGEST_LINE: usize = 64 * 1024;
/// Longer lines are cut around the marked part.
const LINE_LIMIT: usize = 160;

impl Snippet {
    fn new(line: &str, span: Span) -> Self {
        let chars: Vec<char> = line.chars().collect();
        let start = (span.column as usize).saturating_sub(1).min(chars.len());
        let end = match span.end_line == span.line {
            true => (span.end_column as usize).saturating_sub(1).clamp(start, chars.len()),
            false => start + line_end(&chars[start..]),
        };
        let end = start + line_end(&chars[start..end]).max(1);
        let first = if chars.len() > LINE_LIMIT { start.saturating_sub(60) } else { 0 };
        let last = chars.len().min(first + LINE_LIMIT);
        let mut snippet = Self { text: String::new(), offset: 0, width: 0 };
        if first > 0 {
            snippet.push('…', 0, 1, 1);
        }
        for (index, &c) in chars.iter().enumerate().take(last).skip(first) {
            snippet.push(c, index, start, end);
        }
        if last < chars.len() {
            snippet.text.push('…');
        }
        snippet.width = snippet.width.max(1);
        snippet
    }

    fn push(&mut self, c: char, index: usize, start: usize, end: usize) {
        let (text, width) = match c {
            '\t' => ("    ".to_owned(), 4),
            c if c.is_control() => ("\u{fffd}".to_owned(), 1),
            c => (c.to_string(), c.width().unwrap_or(1)),
        };
        self.text.push_str(&text);
        if index < start {
            self.offset += width;
        } else if index < end {
            self.width += width;
        }
    }
}

/// Number of characters before trailing blanks.
fn line_end(chars: &[char]) -> usize {
    chars.iter().rposition(|c| !c.is_whitespace()).map_or(0, |last| last + 1)
}

/// The diagnostics as data: an array of objects.
#[must_use]
pub fn to_json<'a>(diagnostics: impl IntoIterator<Item = &'a Diagnostic>, sources: &SourceMap) -> serde_json::Value {
    let place = |label: &Label| {
        let file = sources.get(label.span.source);
        serde_json::json!({
            "file": file.map(|file| file.path.display().to_string()),
            "line": label.span.line,
            "column": label.span.column,
            "end_line": label.span.end_line,
            "end_column": label.span.end_column,
            "text": label.text,
        })
    };
    diagnostics
        .into_iter()
        .map(|diagnostic| {
            serde_json::json!({
                "severity": diagnostic.severity.as_str(),
                "message": diagnostic.message,
                "place": diagnostic.primary.as_ref().map(place),
                "related": diagnostic.related.iter().map(place).collect::<Vec<_>>(),
                "path": diagnostic.path,
                "notes": diagnostic.notes,
                "hint": diagnostic.hint,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::diag::SourceId;

    fn span(source: SourceId, line: u32, column: u32, end_column: u32) -> Span {
        Span { source, line, column, end_line: line, end_column }
    }

    #[test]
    fn shows_the_line_and_the_caret() {
        let mut sources = SourceMap::default();
        let text = "services:\n  web:\n    depends_on:\n      - dbb\n".to_owned();
        let id = sources.add(Path::new("/p/compose.yaml"), Path::new("/p"), text);
        let diagnostic = Diagnostic::error("service \"web\" depends on undefined service \"dbb\"")
            .at(span(id, 4, 9, 12), "not defined in this project")
            .path("services.web.depends_on.dbb")
            .hint("did you mean `db`?");
        assert_eq!(
            render(&diagnostic, &sources, Paint::Plain),
            "error: service \"web\" depends on undefined service \"dbb\"\n --> compose.yaml:4:9\n  |\n4 |       - dbb\n  |         ^^^ not defined in this project\n  |\n  = at services.web.depends_on.dbb\nhint: did you mean `db`?\n"
        );
    }

    #[test]
    fn control_codes_do_not_reach_the_terminal() {
        let mut sources = SourceMap::default();
        let id = sources.add(Path::new("/c.yaml"), Path::new("/"), "a: \u{1b}[2Jx\n".to_owned());
        let diagnostic = Diagnostic::error("bad \u{1b}[2J").at(span(id, 1, 4, 9), "");
        assert!(!render(&diagnostic, &sources, Paint::Plain).contains('\u{1b}'));
    }
}
