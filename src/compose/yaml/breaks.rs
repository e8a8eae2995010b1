//! Ends of lines that YAML 1.1 has beside the usual ones, and that YAML 1.2 takes for characters.
//!
//! U+0085 ends a line here, as it does for the peer. U+2028 and U+2029 do so there too, but stay in the text; here they
//! are characters of it, and only lose the blanks around them.

use std::borrow::Cow;

use crate::diag::{Diagnostic, SourceId, Span};

const NEXT_LINE: char = '\u{85}';
const KEPT: [char; 2] = ['\u{2028}', '\u{2029}'];

/// A text whose lines end as the scanner knows it, and where each of them was written.
#[derive(Debug, Default)]
pub(super) struct Breaks<'a> {
    pub text: Cow<'a, str>,
    /// For each line: the line of the written text, and the columns before it there. Empty when they are the same.
    lines: Vec<(usize, usize)>,
    /// The first of each kind, line from 1 and column from 0, and how many there are.
    ended: Option<(usize, usize, usize)>,
    kept: Option<(char, usize, usize)>,
}

impl<'a> Breaks<'a> {
    pub fn new(text: &'a str) -> Self {
        if !text.contains([NEXT_LINE, KEPT[0], KEPT[1]]) {
            return Self { text: Cow::Borrowed(text), ..Self::default() };
        }
        let mut breaks = Self { lines: vec![(1, 0)], ..Self::default() };
        let mut read = String::with_capacity(text.len());
        let (mut line, mut column) = (1, 0);
        let mut characters = text.chars().peekable();
        while let Some(c) = characters.next() {
            let ends_line = c == '\n' || c == '\r' && characters.peek() != Some(&'\n');
            if c == NEXT_LINE {
                breaks.ended =
                    breaks.ended.map_or(Some((line, column, 1)), |(line, column, n)| Some((line, column, n + 1)));
            } else if KEPT.contains(&c) {
                breaks.kept.get_or_insert((c, line, column));
            }
            read.push(if c == NEXT_LINE { '\n' } else { c });
            (line, column) = if ends_line { (line + 1, 0) } else { (line, column + 1) };
            if ends_line || c == NEXT_LINE {
                breaks.lines.push((line, column));
            }
        }
        breaks.text = Cow::Owned(read);
        breaks
    }

    /// Where a place of the text that is read was written.
    pub fn written(&self, line: usize, column: usize) -> (usize, usize) {
        match self.lines.get(line.saturating_sub(1)) {
            Some((line, before)) => (*line, before + column),
            None => (line, column),
        }
    }

    /// A scalar that is folded: there is no blank beside the end of a line, and none of these around a plain text.
    pub fn fold<'t>(&self, text: Cow<'t, str>, plain: bool) -> Cow<'t, str> {
        if self.kept.is_none() || !text.contains(KEPT) {
            return text;
        }
        let mut folded = String::with_capacity(text.len());
        for piece in text.split_inclusive(KEPT) {
            let piece = if folded.is_empty() { piece } else { piece.trim_start_matches([' ', '\t']) };
            match piece.char_indices().next_back() {
                Some((at, c)) if KEPT.contains(&c) => {
                    folded.push_str(piece[..at].trim_end_matches([' ', '\t']));
                    folded.push(c);
                }
                _ => folded.push_str(piece),
            }
        }
        let around = [KEPT[0], KEPT[1], ' ', '\t'];
        Cow::Owned(if plain { folded.trim_matches(around).to_owned() } else { folded })
    }

    pub fn tell(&self, source: SourceId, diagnostics: &mut Vec<Diagnostic>) {
        let number = |value: usize| u32::try_from(value).unwrap_or(u32::MAX - 1);
        let place = |line: usize, column: usize| {
            let (line, column) = (number(line), number(column) + 1);
            Span { source, line, column, end_line: line, end_column: column + 1 }
        };
        if let Some((line, column, count)) = self.ended {
            let warning = Diagnostic::warning("YAML 1.2 takes U+0085 for a character, not for the end of a line")
                .at(place(line, column), "a line ends here")
                .hint("end the line, or write `\\N` in a double-quoted text");
            diagnostics.push(match count {
                1 => warning,
                more => warning.note(format!("the file has {more} of them")),
            });
        }
        if let Some((c, line, column)) = self.kept {
            let (code, escape) = if c == KEPT[0] { ("2028", 'L') } else { ("2029", 'P') };
            diagnostics.push(
                Diagnostic::warning(format!("U+{code} is a character in YAML 1.2, and ends a line for other programs"))
                    .at(place(line, column), "part of the text")
                    .hint(format!("write `\\{escape}` in a double-quoted text, or end the line")),
            );
        }
    }
}
