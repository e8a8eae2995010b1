//! Lines of logs on stdout and stderr, or on stdout alone.

use std::io::{self, BufWriter, Write};

use jiff::Timestamp;

use crate::cli::ui::prefix::{self, Prefixes};
use crate::engine::logs::{Follower, LogEvent, LogLine, LogSource, Stream};

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

    /// Shows all that is there by now.
    ///
    /// # Errors
    /// When a log cannot be read or nobody reads the screen.
    pub fn drain(&mut self, follower: &mut Follower) -> io::Result<()> {
        while let Some(event) = follower.next_event()? {
            self.show(&event)?;
        }
        self.flush()
    }

    pub(super) fn show(&mut self, event: &LogEvent) -> io::Result<()> {
        match event {
            LogEvent::Opened(source) => {
                self.prefixes.register(short_name(source));
                Ok(())
            }
            LogEvent::Line(LogLine { source, stream, time, text }) => {
                self.line(short_name(source), colour(source), *stream, text, *time)
            }
            LogEvent::Exited { source, exit_code, restarting } => {
                let restarting = if *restarting { " (restarting)" } else { "" };
                let remark = format!("exited with code {exit_code}{restarting}");
                let remark = self.prefixes.remark(short_name(source), colour(source), &remark);
                writeln!(self.output(Stream::Stdout)?, "{remark}")
            }
        }
    }

    fn line(&mut self, name: &str, colour: usize, stream: Stream, text: &str, time: Timestamp) -> io::Result<()> {
        let prefix = self.prefixes.prefix(name, colour);
        let timestamps = self.timestamps;
        let output = self.output(stream)?;
        output.write_all(prefix.as_bytes())?;
        if timestamps {
            write!(output, "{time} ")?;
        }
        output.write_all(text.as_bytes())?;
        output.write_all(b"\n")
    }

    /// What a hook wrote: `web-1 ->  | line`.
    ///
    /// # Errors
    /// When nobody reads any more.
    pub fn hook(&mut self, container: &str, colour: usize, lines: &[String]) -> io::Result<()> {
        let name = format!("{container} ->");
        self.prefixes.register(&name);
        for line in lines.iter().flat_map(|line| line.split('\n')) {
            self.line(&name, colour, Stream::Stdout, line, Timestamp::now())?;
        }
        self.flush()
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

/// `web-1` for `shop-web-1`.
pub(crate) fn short_name(source: &LogSource) -> &str {
    prefix::short_name(&source.project, &source.container)
}

fn colour(source: &LogSource) -> usize {
    source.place.unwrap_or_else(|| prefix::colour_of_name(&source.service))
}
