//! A container's output to lines of JSON: `{"log":"hello\n","stream":"stdout","time":"2026-01-02T03:04:05.678Z"}`.

use std::io::Write;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// A longer line is cut into records of this length; all but the last have no line end, as Docker's.
const LONGEST: usize = 16 * 1024;

/// Where a line was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Stream {
    Stdout,
    Stderr,
}

impl Stream {
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
        }
    }
}

/// Cuts one stream into records.
#[derive(Debug)]
pub struct Splitter {
    stream: Stream,
    /// The beginning of a line whose end has not come yet.
    pending: Vec<u8>,
}

impl Splitter {
    #[must_use]
    pub fn new(stream: Stream) -> Self {
        Self { stream, pending: Vec::new() }
    }

    /// Appends the records that `bytes` completes to `out`.
    pub fn push(&mut self, mut bytes: &[u8], time: Timestamp, out: &mut Vec<u8>) {
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = bytes.split_at(end + 1);
            bytes = rest;
            if self.pending.is_empty() {
                self.long(line, time, out);
            } else {
                self.pending.extend_from_slice(line);
                let line = std::mem::take(&mut self.pending);
                self.long(&line, time, out);
            }
        }
        self.pending.extend_from_slice(bytes);
        if self.pending.len() >= LONGEST {
            let line = std::mem::take(&mut self.pending);
            let mut rest = &line[..];
            while rest.len() >= LONGEST {
                let (head, tail) = rest.split_at(boundary(rest, LONGEST));
                record(head, self.stream, time, out);
                rest = tail;
            }
            self.pending = rest.to_vec();
        }
    }

    /// What has come of an unfinished line becomes a record without a line end.
    pub fn flush(&mut self, time: Timestamp, out: &mut Vec<u8>) {
        if !self.pending.is_empty() {
            record(&self.pending, self.stream, time, out);
            self.pending = Vec::new();
        }
    }

    #[must_use]
    pub fn has_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    fn long(&self, mut line: &[u8], time: Timestamp, out: &mut Vec<u8>) {
        // The line end does not count.
        while line.len() > LONGEST + 1 {
            let (head, rest) = line.split_at(boundary(line, LONGEST));
            record(head, self.stream, time, out);
            line = rest;
        }
        record(line, self.stream, time, out);
    }
}

/// The last place at or before `at` that is not inside a character.
fn boundary(bytes: &[u8], at: usize) -> usize {
    let inside = |index: usize| bytes.get(index).is_some_and(|byte| byte & 0xC0 == 0x80);
    (at.saturating_sub(3)..=at).rev().find(|index| !inside(*index)).unwrap_or(at)
}

fn record(log: &[u8], stream: Stream, time: Timestamp, out: &mut Vec<u8>) {
    out.extend_from_slice(br#"{"log":""#);
    for chunk in log.utf8_chunks() {
        escape(chunk.valid(), out);
        // One replacement for each byte, as Go does it.
        for _ in chunk.invalid() {
            out.extend_from_slice("\u{FFFD}".as_bytes());
        }
    }
    // Writing to memory cannot fail.
    let _ = writeln!(out, r#"","stream":"{}","time":"{time}"}}"#, stream.as_str());
}

fn escape(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    let mut copied = 0;
    for (index, &byte) in bytes.iter().enumerate() {
        let short: &[u8] = match byte {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0..0x20 | 0x7F => b"",
            _ => continue,
        };
        out.extend_from_slice(&bytes[copied..index]);
        copied = index + 1;
        if short.is_empty() {
            let _ = write!(out, "\\u{byte:04x}");
        } else {
            out.extend_from_slice(short);
        }
    }
    out.extend_from_slice(&bytes[copied..]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn time() -> Timestamp {
        "2026-01-02T03:04:05.6789Z".parse().unwrap()
    }

    fn logs(out: &[u8]) -> Vec<String> {
        let lines = out.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines
            .map(|line| {
                let value: serde_json::Value = serde_json::from_slice(line).unwrap();
                assert_eq!(value["stream"], "stdout");
                assert_eq!(value["time"], "2026-01-02T03:04:05.6789Z");
                value["log"].as_str().unwrap().to_owned()
            })
            .collect()
    }

    #[test]
    fn lines_are_put_together_and_escaped() {
        let mut splitter = Splitter::new(Stream::Stdout);
        let mut out = Vec::new();
        splitter.push(b"one\ntw", time(), &mut out);
        splitter.push(b"o \"\\\x1b[0m\t\xff\xfe\n\n", time(), &mut out);
        splitter.push("grüße".as_bytes(), time(), &mut out);
        assert!(splitter.has_pending());
        splitter.flush(time(), &mut out);
        splitter.flush(time(), &mut out);
        assert_eq!(logs(&out), ["one\n", "two \"\\\x1b[0m\t\u{FFFD}\u{FFFD}\n", "\n", "grüße"]);
    }

    #[test]
    fn long_lines_are_cut_between_characters() {
        let mut splitter = Splitter::new(Stream::Stdout);
        let mut out = Vec::new();
        let line = format!("a{}\n", "ü".repeat(20_000));
        splitter.push(line.as_bytes(), time(), &mut out);
        let parts = logs(&out);
        assert_eq!(parts.concat(), line);
        assert_eq!(parts.iter().map(String::len).collect::<Vec<_>>(), [16383, 16384, 7235]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(30))]
        #[test]
        fn nothing_is_lost_however_the_bytes_arrive(
            pieces in prop::collection::vec(prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'x'), Just(0xC3u8), Just(0xBCu8), any::<u8>()], 0..20_000), 0..5),
        ) {
            let mut splitter = Splitter::new(Stream::Stdout);
            let mut out = Vec::new();
            for piece in &pieces {
                splitter.push(piece, time(), &mut out);
                prop_assert!(splitter.pending.len() < LONGEST);
            }
            splitter.flush(time(), &mut out);
            let all = pieces.concat();
            let parts = logs(&out);
            prop_assert!(parts.iter().all(|part| part.matches('\n').count() <= 1));
            if std::str::from_utf8(&all).is_ok() {
                let joined = parts.concat();
                prop_assert_eq!(joined.as_bytes(), &all);
            }
            prop_assert_eq!(parts.concat().matches('\n').count(), all.iter().filter(|byte| **byte == b'\n').count());
        }
    }
}
