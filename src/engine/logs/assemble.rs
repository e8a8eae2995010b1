//! Entries of a log to lines: a long one is in several entries, and between them may be some of the other stream.

use jiff::Timestamp;

use crate::record::logs::Stream;
use crate::record::logs::reader::Entry;

/// A line without an end is given out in pieces of this size.
const LONGEST: usize = 1024 * 1024;

/// What one container has written of lines whose ends are yet to come.
#[derive(Debug, Default)]
pub(super) struct Assembler {
    stdout: Unfinished,
    stderr: Unfinished,
}

#[derive(Debug, Default)]
struct Unfinished {
    text: String,
    since: Option<Timestamp>,
}

impl Assembler {
    /// Takes the next entry; what is complete by it.
    pub(super) fn push(&mut self, entry: Entry) -> Option<Text> {
        let Entry { log, stream, time } = entry;
        let held = self.held(stream);
        let since = *held.since.get_or_insert(time);
        if held.text.is_empty() && log.ends_with('\n') {
            held.since = None;
            return Some(Text::new(stream, since, log));
        }
        held.text.push_str(&log);
        if held.text.ends_with('\n') || held.text.len() >= LONGEST { self.finish(stream) } else { None }
    }

    /// What has no end and will get none.
    pub(super) fn finish(&mut self, stream: Stream) -> Option<Text> {
        let held = std::mem::take(self.held(stream));
        held.since.map(|since| Text::new(stream, since, held.text))
    }

    fn held(&mut self, stream: Stream) -> &mut Unfinished {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }
}

/// A line, or several that a program has left in one entry.
#[derive(Debug)]
pub(super) struct Text {
    pub stream: Stream,
    /// When its beginning was written.
    pub time: Timestamp,
    /// `None` once all of it was taken.
    rest: Option<String>,
    start: usize,
}

impl Text {
    fn new(stream: Stream, time: Timestamp, mut text: String) -> Self {
        if text.ends_with('\n') {
            text.pop();
        }
        Self { stream, time, rest: Some(text), start: 0 }
    }

    pub(super) fn next_line(&mut self) -> Option<String> {
        let text = self.rest.as_ref()?;
        if let Some(length) = text[self.start..].find('\n') {
            let end = self.start + length;
            let line = text[self.start..end].to_owned();
            self.start = end + 1;
            return Some(line);
        }
        let mut text = self.rest.take()?;
        Some(if self.start == 0 { text } else { text.split_off(self.start) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(stream: Stream, second: i64, log: &str) -> Entry {
        Entry { log: log.to_owned(), stream, time: Timestamp::new(second, 0).unwrap() }
    }

    fn lines(text: Option<Text>) -> Vec<(i64, String)> {
        let mut lines = Vec::new();
        if let Some(mut text) = text {
            while let Some(line) = text.next_line() {
                lines.push((text.time.as_second(), line));
            }
        }
        lines
    }

    #[test]
    fn the_parts_of_a_line_are_one_and_the_streams_do_not_mix() {
        let mut assembler = Assembler::default();
        assert!(assembler.push(entry(Stream::Stdout, 1, "one, ")).is_none());
        assert_eq!(lines(assembler.push(entry(Stream::Stderr, 2, "between\n"))), [(2, "between".to_owned())]);
        assert_eq!(lines(assembler.push(entry(Stream::Stdout, 3, "two\n"))), [(1, "one, two".to_owned())]);
        assert!(assembler.finish(Stream::Stdout).is_none() && assembler.finish(Stream::Stderr).is_none());
        assert!(assembler.push(entry(Stream::Stdout, 4, "no end")).is_none());
        assert_eq!(lines(assembler.finish(Stream::Stdout)), [(4, "no end".to_owned())]);
    }

    #[test]
    fn several_lines_of_one_entry_and_empty_ones() {
        let mut assembler = Assembler::default();
        let of = |lines: &[&str]| lines.iter().map(|line| (5, (*line).to_owned())).collect::<Vec<_>>();
        assert_eq!(lines(assembler.push(entry(Stream::Stdout, 5, "a\n\nb\n"))), of(&["a", "", "b"]));
        assert_eq!(lines(assembler.push(entry(Stream::Stdout, 5, "\n"))), of(&[""]));
        assert_eq!(lines(assembler.push(entry(Stream::Stdout, 5, "\n\n"))), of(&["", ""]));
    }

    #[test]
    fn a_line_that_never_ends_is_not_held_without_a_bound() {
        let mut assembler = Assembler::default();
        let part = "x".repeat(16 * 1024);
        let mut pieces = Vec::new();
        for second in 0..200 {
            pieces.extend(lines(assembler.push(entry(Stream::Stderr, second, &part))));
        }
        let held = lines(assembler.finish(Stream::Stderr));
        assert_eq!(pieces.iter().map(|(_, text)| text.len()).collect::<Vec<_>>(), [LONGEST; 3]);
        assert_eq!(pieces.iter().chain(&held).map(|(_, text)| text.len()).sum::<usize>(), 200 * part.len());
        assert_eq!(pieces[1].0, 64, "a piece has the time of its own beginning");
    }
}
