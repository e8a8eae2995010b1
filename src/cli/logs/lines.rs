//! Entries of logs to lines on stdout and stderr, or on stdout alone.

use std::io::{self, BufWriter, Write};

use jiff::Timestamp;

use crate::cli::ui::prefix::Prefixes;
use crate::record::logs::Stream;

/// Where lines go, and how they look.
pub struct Screen<'a> {
    prefixes: Prefixes,
    timestamps: bool,
    stdout: BufWriter<Box<dyn Write + 'a>>,
    stderr: BufWriter<Box<dyn Write + 'a>>,
    /// What was written to last: the other one is flushed first, so that a terminal shows both in their order.
    last: Stream,
    /// What containers wrote to either of their streams goes to stdout.
    joined: bool,
}

/// A container, as far as lines are concerned.
#[derive(Debug, Clone, Default)]
pub(super) struct Origin {
    pub name: String,
    pub colour: usize,
    stdout: Unfinished,
    stderr: Unfinished,
}

/// The beginning of a line whose end is yet to come.
#[derive(Debug, Clone, Default)]
struct Unfinished {
    text: String,
    since: Option<Timestamp>,
}

/// A line without an end is shown in pieces of this size.
const LONGEST: usize = 1024 * 1024;

impl<'a> Screen<'a> {
    #[must_use]
    pub fn new(prefixes: Prefixes, timestamps: bool, stdout: Box<dyn Write + 'a>, stderr: Box<dyn Write + 'a>) -> Self {
        let (stdout, stderr) = (BufWriter::new(stdout), BufWriter::new(stderr));
        Self { prefixes, timestamps, stdout, stderr, last: Stream::Stdout, joined: false }
    }

    /// One that writes all lines to `stdout`.
    #[must_use]
    pub fn joined(prefixes: Prefixes, timestamps: bool, stdout: Box<dyn Write + 'a>) -> Self {
        Self { joined: true, ..Self::new(prefixes, timestamps, stdout, Box::new(io::sink())) }
    }

    pub(super) fn register(&mut self, name: &str) {
        self.prefixes.register(name);
    }

    /// Shows an entry, together with the parts of its line that came before.
    pub(super) fn entry(&mut self, origin: &mut Origin, stream: Stream, text: &str, time: Timestamp) -> io::Result<()> {
        let held = origin.held(stream);
        let since = *held.since.get_or_insert(time);
        if held.text.is_empty() && text.ends_with('\n') {
            held.since = None;
            return self.line(origin, stream, text.strip_suffix('\n').unwrap_or(text), since);
        }
        held.text.push_str(text);
        if held.text.ends_with('\n') || held.text.len() >= LONGEST {
            return self.finish(origin, stream);
        }
        Ok(())
    }

    /// Shows what has no end and will get none: the container has ended.
    pub(super) fn finish_all(&mut self, origin: &mut Origin) -> io::Result<()> {
        self.finish(origin, Stream::Stdout)?;
        self.finish(origin, Stream::Stderr)
    }

    fn finish(&mut self, origin: &mut Origin, stream: Stream) -> io::Result<()> {
        let held = std::mem::take(origin.held(stream));
        match held.since {
            Some(since) => self.line(origin, stream, held.text.strip_suffix('\n').unwrap_or(&held.text), since),
            None => Ok(()),
        }
    }

    fn line(&mut self, origin: &Origin, stream: Stream, text: &str, time: Timestamp) -> io::Result<()> {
        let prefix = self.prefixes.prefix(&origin.name, origin.colour);
        let timestamps = self.timestamps;
        let output = self.output(stream)?;
        // A program may have left several lines in one entry; each gets its prefix.
        for line in text.split('\n') {
            output.write_all(prefix.as_bytes())?;
            if timestamps {
                write!(output, "{time} ")?;
            }
            output.write_all(line.as_bytes())?;
            output.write_all(b"\n")?;
        }
        Ok(())
    }

    /// What a hook wrote: `web-1 ->  | line`.
    ///
    /// # Errors
    /// When nobody reads any more.
    pub fn hook(&mut self, container: &str, colour: usize, lines: &[String]) -> io::Result<()> {
        let origin = Origin::new(&format!("{container} ->"), colour);
        self.register(&origin.name);
        lines.iter().try_for_each(|line| self.line(&origin, Stream::Stdout, line, Timestamp::now()))?;
        self.flush()
    }

    /// `web-1 exited with code 0`
    pub(super) fn remark(&mut self, origin: &Origin, text: &str) -> io::Result<()> {
        let remark = self.prefixes.remark(&origin.name, origin.colour, text);
        writeln!(self.output(Stream::Stdout)?, "{remark}")
    }

    fn output(&mut self, stream: Stream) -> io::Result<&mut BufWriter<Box<dyn Write + 'a>>> {
        let stream = if self.joined { Stream::Stdout } else { stream };
        if self.last != stream {
            self.flush()?;
            self.last = stream;
        }
        Ok(match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        })
    }

    /// # Errors
    /// When nobody reads any more.
    pub fn flush(&mut self) -> io::Result<()> {
        self.stdout.flush()?;
        self.stderr.flush()
    }
}

impl std::fmt::Debug for Screen<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Screen").field("prefixes", &self.prefixes).finish_non_exhaustive()
    }
}

impl Origin {
    pub(super) fn new(name: &str, colour: usize) -> Self {
        Self { name: name.to_owned(), colour, ..Self::default() }
    }

    fn held(&mut self, stream: Stream) -> &mut Unfinished {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }
}
