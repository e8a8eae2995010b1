//! Texts that the peer reads although YAML 1.2, or our scanner, refuses them.
//!
//! Only a text that cannot be read as it stands comes here. What is not indented as it should be inside of brackets or
//! quotes gets more blanks, for these mean nothing there; every place is found again through [`Mended::column`].

use super::breaks::Breaks;
use crate::diag::{Diagnostic, SourceId, Span};

/// A text that can be read, and how it differs from the one that was written.
#[derive(Debug, Default)]
pub(super) struct Mended {
    pub text: String,
    /// What was put in, in the order of the text.
    inserted: Vec<Inserted>,
    pub departures: Vec<Departure>,
}

#[derive(Debug, Clone, Copy)]
struct Inserted {
    line: usize,
    /// Where the blanks begin, in the new text.
    column: usize,
    count: usize,
    /// Blanks that were put into the line before these.
    before: usize,
}

/// A place at which YAML 1.2 says otherwise; the line from 1, the column from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Departure {
    pub kind: Kind,
    pub line: usize,
    pub column: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    FlowIndentation,
    QuotedIndentation,
    AliasKey,
    Comment,
    Escape,
}

impl Mended {
    /// The column of the written text for one of the new text.
    pub fn column(&self, line: usize, column: usize) -> usize {
        let after = self.inserted.partition_point(|it| (it.line, it.column) < (line, column));
        match after.checked_sub(1).map(|last| self.inserted[last]) {
            Some(last) if last.line == line => column - last.before - last.count.min(column - last.column),
            _ => column,
        }
    }
}

/// `text` as it can be read; `None` when there is nothing to change.
pub(super) fn mend(text: &str) -> Option<Mended> {
    let mut mender = Mender {
        rest: text,
        mended: Mended { text: String::with_capacity(text.len() + 64), ..Mended::default() },
        line: 1,
        column: 0,
        shift: 0,
        parent: -1,
        depth: 0,
        node: None,
        changed: false,
    };
    while !mender.rest.is_empty() {
        mender.token();
    }
    mender.changed.then_some(mender.mended)
}

/// Warns of what YAML 1.2 refuses; each kind is told once.
pub(super) fn tell(mended: &Mended, breaks: &Breaks<'_>, source: SourceId, diagnostics: &mut Vec<Diagnostic>) {
    let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX - 1);
    for (kind, message, label, hint) in [
        (
            Kind::FlowIndentation,
            "YAML 1.2 wants what is in brackets or braces further to the right than its key",
            "too far to the left",
            "indent this line; other programs may refuse the file",
        ),
        (
            Kind::QuotedIndentation,
            "YAML 1.2 wants the lines of a quoted text further to the right than its key",
            "too far to the left",
            "indent this line; other programs may refuse the file",
        ),
        (
            Kind::AliasKey,
            "YAML 1.2 takes the colon for a part of the alias's name",
            "no space before the colon",
            "write a space before the colon: `*name :`",
        ),
        (Kind::Comment, "YAML 1.2 wants a space before a comment", "no space before it", "write a space before `#`"),
        (
            Kind::Escape,
            "YAML 1.2 knows no escape `\\'`",
            "no escape",
            "an apostrophe needs no backslash in a double-quoted text",
        ),
    ] {
        let mut of_kind = mended.departures.iter().filter(|it| it.kind == kind);
        let Some(first) = of_kind.next() else { continue };
        let (line, column) = breaks.written(first.line, first.column);
        let (line, column) = (number(line), number(column) + 1);
        let span = Span { source, line, column, end_line: line, end_column: column + 1 };
        let diagnostic = Diagnostic::warning(message).at(span, label).hint(hint);
        diagnostics.push(match of_kind.count() {
            0 => diagnostic,
            1 => diagnostic.note("so it is at one more place of this file"),
            more => diagnostic.note(format!("so it is at {more} more places of this file")),
        });
    }
}

struct Mender<'a> {
    rest: &'a str,
    mended: Mended,
    line: usize,
    /// In the new text.
    column: usize,
    /// Blanks that were put into this line so far.
    shift: usize,
    /// The column of the innermost key or dash; -1 at the top.
    parent: isize,
    /// Brackets and braces that are open.
    depth: usize,
    /// Where the node begins that may turn out to be a key.
    node: Option<usize>,
    changed: bool,
}

fn is_blank(c: char) -> bool {
    c == ' ' || c == '\t'
}

fn is_break(c: char) -> bool {
    c == '\n' || c == '\r'
}

fn is_flow(c: char) -> bool {
    ",[]{}".contains(c)
}

fn ends_word(rest: &str) -> bool {
    rest.chars().next().is_none_or(|c| is_blank(c) || is_break(c))
}

/// `---` or `...` on a line of its own.
fn is_marker(line: &str) -> bool {
    line.strip_prefix("---").or_else(|| line.strip_prefix("...")).is_some_and(ends_word)
}

impl Mender<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    /// Takes the next character as it is.
    fn copy(&mut self) {
        let Some(c) = self.peek() else { return };
        self.put(c, c.len_utf8());
        if c == '\n' || c == '\r' && !self.rest.starts_with('\n') {
            (self.line, self.column, self.shift, self.node) = (self.line + 1, 0, 0, None);
        } else if c == '\r' {
            self.column -= 1;
        }
    }

    fn put(&mut self, c: char, taken: usize) {
        self.mended.text.push(c);
        self.rest = &self.rest[taken..];
        self.column += 1;
    }

    fn copy_while(&mut self, taken: impl Fn(char) -> bool) {
        while self.peek().is_some_and(|c| taken(c) && !is_break(c)) {
            self.copy();
        }
    }

    /// Blanks of any kind between two parts; a tab counts for one blank.
    fn separation(&mut self) {
        while let Some(c) = self.peek().filter(|c| is_blank(*c)) {
            self.changed |= c == '\t';
            self.put(' ', 1);
        }
    }

    fn insert(&mut self, count: usize, kind: Kind) {
        self.departs(count, kind);
        self.mended.text.extend(std::iter::repeat_n(' ', count));
    }

    /// `count` characters come into the text here.
    fn departs(&mut self, count: usize, kind: Kind) {
        let (line, column) = (self.line, self.column);
        self.mended.departures.push(Departure { kind, line, column: column - self.shift });
        self.mended.inserted.push(Inserted { line, column, count, before: self.shift });
        self.column += count;
        self.shift += count;
        self.changed = true;
    }

    /// At the beginning of a line inside of brackets or quotes: as far to the right as YAML wants it.
    fn indent(&mut self, kind: Kind) {
        let blanks = self.rest.len() - self.rest.trim_start_matches([' ', '\t']).len();
        let (leading, content) = self.rest.split_at(blanks);
        let wanted = usize::try_from(self.parent + 1).unwrap_or(0);
        let is_comment = kind == Kind::FlowIndentation && content.starts_with('#');
        if content.is_empty() || content.starts_with(is_break) || is_comment || blanks == 0 && is_marker(content) {
            return;
        }
        if leading.contains('\t') {
            if kind == Kind::FlowIndentation {
                return;
            }
            self.separation();
        } else {
            self.copy_while(is_blank);
        }
        if blanks < wanted {
            self.insert(wanted - blanks, kind);
        }
    }

    fn token(&mut self) {
        let Some(c) = self.peek() else { return };
        if self.column == 0 && self.depth == 0 && (is_marker(self.rest) || c == '%') {
            self.parent = -1;
            match c {
                '%' => self.copy_while(|_| true),
                _ => (0..3).for_each(|_| self.copy()),
            }
            return;
        }
        let before = self.mended.text.chars().next_back();
        let after_blank = before.is_none_or(|c| is_blank(c) || is_break(c));
        match c {
            c if is_break(c) => {
                self.copy();
                if self.depth > 0 && self.column == 0 {
                    self.indent(Kind::FlowIndentation);
                }
            }
            // A tab that indents a block stays what it is: a fault.
            c if is_blank(c) && self.column == 0 && self.depth == 0 => self.copy_while(is_blank),
            c if is_blank(c) => self.separation(),
            '#' => {
                if !after_blank {
                    self.insert(1, Kind::Comment);
                }
                self.copy_while(|_| true);
            }
            '"' | '\'' => self.quoted(c),
            '[' | '{' => {
                self.begin();
                self.depth += 1;
                self.copy();
            }
            ']' | '}' if self.depth > 0 => {
                self.depth -= 1;
                self.copy();
            }
            ',' if self.depth > 0 => self.copy(),
            '-' | '?' if self.depth == 0 && ends_word(&self.rest[1..]) => {
                self.parent = isize::try_from(self.column).unwrap_or(isize::MAX);
                self.node = None;
                self.copy();
            }
            ':' if ends_word(&self.rest[1..]) || self.depth > 0 => {
                if self.depth == 0 {
                    let column = self.node.take().unwrap_or(self.column);
                    self.parent = isize::try_from(column).unwrap_or(isize::MAX);
                }
                self.copy();
            }
            '&' | '*' => self.name(),
            '!' => {
                self.begin();
                self.copy_while(|c| !is_blank(c));
            }
            '|' | '>' if self.depth == 0 => self.block_scalar(),
            _ => self.plain(),
        }
    }

    /// A node begins here, unless its tag or anchor has begun it.
    fn begin(&mut self) {
        if self.depth == 0 {
            self.node.get_or_insert(self.column);
        }
    }

    /// The name of an anchor or an alias. For YAML 1.2 the colon of `*name:` belongs to the name.
    fn name(&mut self) {
        self.begin();
        let is_alias = self.peek() == Some('*');
        self.copy();
        let end = self.rest.find(|c| is_blank(c) || is_break(c) || is_flow(c)).unwrap_or(self.rest.len());
        let name = &self.rest[..end];
        let bare = name.strip_suffix(':').filter(|bare| {
            is_alias && !bare.is_empty() && bare.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c))
        });
        let length = bare.map_or(name, |bare| bare).chars().count();
        (0..length).for_each(|_| self.copy());
        if bare.is_some() {
            self.insert(1, Kind::AliasKey);
        }
    }

    fn quoted(&mut self, quote: char) {
        self.begin();
        self.copy();
        while let Some(c) = self.peek() {
            match c {
                '\\' if quote == '"' => {
                    self.copy();
                    match self.peek() {
                        Some('\'') => self.apostrophe(),
                        Some(c) if is_break(c) => {}
                        _ => self.copy(),
                    }
                }
                c if c == quote => {
                    self.copy();
                    if quote == '"' || self.peek() != Some('\'') {
                        return;
                    }
                    self.copy();
                }
                c if is_break(c) => {
                    self.copy();
                    if self.column == 0 {
                        self.indent(Kind::QuotedIndentation);
                    }
                }
                _ => self.copy(),
            }
        }
    }

    /// The apostrophe of `\\'` by its number, which YAML 1.2 knows.
    fn apostrophe(&mut self) {
        self.departs("x27".len() - 1, Kind::Escape);
        self.mended.text.push_str("x27");
        (self.rest, self.column) = (&self.rest[1..], self.column + 1);
    }

    fn plain(&mut self) {
        self.begin();
        loop {
            self.plain_line();
            let line_end = self.rest.trim_start_matches([' ', '\t']);
            if self.depth > 0 || !line_end.is_empty() && !line_end.starts_with(is_break) {
                return;
            }
            // In a block, a text goes on as long as the lines stand to the right of its key.
            let next = self.rest.trim_start_matches(['\n', '\r', ' ', '\t']);
            let skipped = &self.rest[..self.rest.len() - next.len()];
            let indentation = skipped.rsplit(is_break).next().unwrap_or_default();
            let continues = isize::try_from(indentation.len()).unwrap_or(isize::MAX) > self.parent;
            if next.is_empty() || !continues || next.starts_with('#') || is_marker(next) && indentation.is_empty() {
                return;
            }
            let until = next.len();
            while self.rest.len() > until {
                self.copy();
            }
            // Nothing on such a line is a key.
            self.node = Some(self.column);
        }
    }

    /// What belongs to a plain text in this line.
    fn plain_line(&mut self) {
        let mut first = true;
        while let Some(c) = self.peek() {
            let ends = match c {
                c if is_break(c) => true,
                c if is_blank(c) => {
                    let next = self.rest.trim_start_matches([' ', '\t']);
                    if next.starts_with('#') || next.is_empty() || next.starts_with(is_break) {
                        return;
                    }
                    self.copy_while(is_blank);
                    continue;
                }
                ':' => {
                    let next = &self.rest[1..];
                    ends_word(next) || self.depth > 0 && next.starts_with(is_flow)
                }
                c => self.depth > 0 && is_flow(c),
            };
            if ends && !first {
                return;
            }
            first = false;
            self.copy();
        }
    }

    /// A literal or folded text: not a character of it means anything here.
    fn block_scalar(&mut self) {
        let header: &str = self.rest.lines().next().unwrap_or_default();
        let digit = header.chars().take(3).find_map(|c| c.to_digit(10));
        let mut least = digit.map(|digit| self.parent.max(0) + digit as isize);
        self.copy_while(|c| c != '#');
        if self.peek() == Some('#') && !self.mended.text.ends_with(is_blank) {
            self.insert(1, Kind::Comment);
        }
        self.copy_while(|_| true);
        while let Some(c) = self.peek() {
            if is_break(c) {
                self.copy();
                continue;
            }
            let indentation = self.rest.len() - self.rest.trim_start_matches(' ').len();
            let content = &self.rest[indentation..];
            if !content.is_empty() && !content.starts_with(is_break) {
                let indentation = isize::try_from(indentation).unwrap_or(isize::MAX);
                if indentation < *least.get_or_insert(indentation.max(self.parent + 1)) {
                    return;
                }
            }
            self.copy_while(|_| true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mended(text: &str) -> String {
        mend(text).map_or_else(|| "as it is".to_owned(), |mended| mended.text)
    }

    #[test]
    fn lines_in_brackets_and_quotes_move_to_the_right() {
        assert_eq!(mended("a:\n  b: [\n  x,\n]\n"), "a:\n  b: [\n   x,\n   ]\n");
        assert_eq!(mended("a: {\nb: c,\n# d\n  }\n"), "a: {\n b: c,\n# d\n  }\n");
        assert_eq!(mended("a:\n- b: \"x\n  y\n\n\tz\"\n"), "a:\n- b: \"x\n   y\n\n   z\"\n");
        assert_eq!(mended("- 'x\ny''\nz'\n"), "- 'x\n y''\n z'\n");
        assert_eq!(mended("a: [x\r\n]\r\n"), "a: [x\r\n ]\r\n");
    }

    #[test]
    fn tabs_aliases_and_comments() {
        assert_eq!(mended("a:\tb\nc: \t# d\n"), "a: b\nc:  # d\n");
        assert_eq!(mended("*a:\n  b: c\n"), "*a :\n  b: c\n");
        assert_eq!(mended("a: 'b'#c\nd: e#f\n"), "a: 'b' #c\nd: e#f\n");
    }

    #[test]
    fn what_is_text_stays() {
        for text in [
            "a: |\n  [\n  \"\n  x:\ty\nb: c\n",
            "a: >-\n\n    x [\n\n  {\n",
            "- |2\n   [\n  *a:\n",
            "a: it's [\n  {b\"\nc: d\n",
            "a: b # [ \"\nc: d\n",
            "a: [x,\n  y]\nb: \"c\n  d\"\n",
            "\ta: b\n",
            "a: [\n---\n",
        ] {
            assert_eq!(mended(text), "as it is", "{text}");
        }
    }

    #[test]
    fn columns_are_found_again() {
        let mended = mend("k: [\na, *b:\n c]\n").unwrap();
        assert_eq!(mended.text, "k: [\n a, *b :\n c]\n");
        let columns: Vec<usize> = (0..8).map(|column| mended.column(2, column)).collect();
        assert_eq!(columns, [0, 0, 1, 2, 3, 4, 5, 5]);
        assert_eq!(mended.column(3, 4), 4);
        assert_eq!(mended.departures[0], Departure { kind: Kind::FlowIndentation, line: 2, column: 0 });
        assert_eq!(mended.departures[1], Departure { kind: Kind::AliasKey, line: 2, column: 5 });
    }
}
