//! What is going on, on stderr: a live block on a terminal, plain lines elsewhere, JSON lines on request.

mod block;
mod board;
mod json;
mod phases;
mod plain;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::style::Palette;
use crate::cli::global;
use block::Block;
use board::Board;

/// One step forward of one thing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProgressEvent {
    /// As people see it: `Container shop-web-1`. Later events with the same id are about the same thing.
    pub id: String,
    /// The id of what this is a part of (the image of a layer).
    pub parent: Option<String>,
    /// One or two words: `Starting`, `Started`, `Pull complete`.
    pub status: String,
    /// A few words more: what it waits for, why it failed.
    pub detail: Option<String>,
    pub state: State,
    /// Bytes so far and in all; 0 when they are not known.
    pub current: u64,
    pub total: u64,
    /// How long it took where it was done; measured here when absent.
    pub elapsed: Option<Duration>,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum State {
    /// Not begun, or made and waiting for its turn to be started.
    Queued,
    #[default]
    Working,
    Done,
    Warning,
    Error,
}

impl ProgressEvent {
    #[must_use]
    pub fn new(id: impl Into<String>, status: impl Into<String>, state: State) -> Self {
        Self { id: id.into(), status: status.into(), state, ..Self::default() }
    }

    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    #[must_use]
    pub fn of(mut self, parent: impl Into<String>) -> Self {
        self.parent = Some(parent.into());
        self
    }

    #[must_use]
    pub fn bytes(mut self, current: u64, total: u64) -> Self {
        (self.current, self.total) = (current, total);
        self
    }
}

/// How progress is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    Tty,
    Plain,
    Json,
    Quiet,
}

impl Mode {
    /// `--progress`, then `COMPOSE_PROGRESS`; `auto` is a live block only where one can be drawn and somebody looks.
    #[must_use]
    pub fn resolve(
        flag: Option<global::ProgressKind>,
        ansi: Option<global::Ansi>,
        environment: &BTreeMap<String, String>,
        terminal: bool,
    ) -> Self {
        let set = |name: &str| environment.get(name).map(String::as_str).unwrap_or_default();
        let is_drawn = terminal
            && ansi != Some(global::Ansi::Never)
            && set("TERM") != "dumb"
            && matches!(set("CI"), "" | "0" | "false");
        match flag.unwrap_or(global::ProgressKind::Auto) {
            global::ProgressKind::Tty => Self::Tty,
            global::ProgressKind::Plain => Self::Plain,
            global::ProgressKind::Json => Self::Json,
            global::ProgressKind::Quiet => Self::Quiet,
            global::ProgressKind::Auto if is_drawn => Self::Tty,
            global::ProgressKind::Auto => Self::Plain,
        }
    }
}

/// Takes events from any thread and shows them.
pub struct Progress {
    shared: Arc<Shared>,
    ticker: Option<JoinHandle<()>>,
}

struct Shared {
    inner: Mutex<Inner>,
    changed: Condvar,
}

struct Inner {
    mode: Mode,
    palette: Palette,
    begin: Instant,
    board: Board,
    block: Block,
    output: Box<dyn Write + Send>,
    size: Box<dyn Fn() -> (usize, usize) + Send>,
    ended: bool,
    dirty: bool,
}

/// Shortest time between two frames.
const FRAME: Duration = Duration::from_millis(80);

impl Progress {
    /// On stderr. `title` is what stands before the count: `up`.
    #[must_use]
    pub fn start(title: &str, mode: Mode, palette: Palette) -> Self {
        let mode = if mode == Mode::Tty && !io::stderr().is_terminal() && terminal_size().is_none() {
            Mode::Plain
        } else {
            mode
        };
        let size = Box::new(|| terminal_size().unwrap_or((80, 24)));
        Self::start_on(title, mode, palette, Box::new(io::stderr()), size)
    }

    /// The same on stdout.
    #[must_use]
    pub fn start_on_stdout(title: &str, mode: Mode, palette: Palette) -> Self {
        let size = Box::new(|| terminal_size().unwrap_or((80, 24)));
        Self::start_on(title, mode, palette, Box::new(io::stdout()), size)
    }

    fn start_on(
        title: &str,
        mode: Mode,
        palette: Palette,
        output: Box<dyn Write + Send>,
        size: Box<dyn Fn() -> (usize, usize) + Send>,
    ) -> Self {
        let inner = Inner {
            mode,
            palette,
            begin: Instant::now(),
            board: Board::new(title),
            block: Block::default(),
            output,
            size,
            ended: false,
            dirty: false,
        };
        let shared = Arc::new(Shared { inner: Mutex::new(inner), changed: Condvar::new() });
        let ticker = (mode == Mode::Tty).then(|| {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || shared.tick())
        });
        Self { shared, ticker }
    }

    pub fn event(&self, event: ProgressEvent) {
        let mut inner = self.shared.lock();
        let now = inner.begin.elapsed();
        let before = inner.board.apply(&event, now);
        let line = match inner.mode {
            Mode::Tty => {
                if !inner.dirty {
                    inner.dirty = true;
                    self.shared.changed.notify_one();
                }
                return;
            }
            Mode::Plain => plain::line(&event, before.as_ref(), inner.palette),
            Mode::Json => Some(json::line(&event)),
            Mode::Quiet => None,
        };
        if let Some(line) = line {
            let _ = inner.output.write_all(line.as_bytes());
        }
    }

    /// What is going to happen to these, in this order: they have their lines before anything does.
    pub fn expect(&self, ids: impl Iterator<Item = String>) {
        let mut inner = self.shared.lock();
        inner.board.expect(ids);
        inner.dirty = true;
        self.shared.changed.notify_one();
    }

    #[must_use]
    pub fn mode(&self) -> Mode {
        self.shared.lock().mode
    }

    /// A line that stays, above the block. It ends with a line break of ours.
    pub fn note(&self, text: &str) {
        let mut inner = self.shared.lock();
        match inner.mode {
            Mode::Quiet => {}
            Mode::Json => {
                let line = json::note(text);
                let _ = inner.output.write_all(line.as_bytes());
            }
            Mode::Plain => {
                let _ = writeln!(inner.output, "{text}");
            }
            Mode::Tty => inner.draw(Some(text), false),
        }
    }

    /// Draws what there is for the last time. Dropping does the same.
    pub fn finish(self) {
        drop(self);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        let mut inner = self.shared.lock();
        inner.ended = true;
        match inner.mode {
            Mode::Tty => inner.draw(None, true),
            Mode::Plain => {
                let now = inner.begin.elapsed();
                if let Some(times) = inner.board.times(now) {
                    let _ = writeln!(inner.output, " {times}");
                }
            }
            Mode::Json | Mode::Quiet => {}
        }
        let _ = inner.output.flush();
        drop(inner);
        self.shared.changed.notify_one();
        if let Some(ticker) = self.ticker.take() {
            let _ = ticker.join();
        }
    }
}

impl std::fmt::Debug for Progress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Progress").finish_non_exhaustive()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Draws frames while something changes or is at work. The first comes late, so that what is done at once is
    /// drawn once.
    fn tick(&self) {
        let mut inner = self.lock();
        while !inner.ended {
            if !inner.dirty && !inner.board.is_working() {
                inner = self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let waited = self.changed.wait_timeout_while(inner, FRAME, |inner| !inner.ended);
            inner = waited.unwrap_or_else(PoisonError::into_inner).0;
            if !inner.ended {
                inner.draw(None, false);
            }
        }
    }
}

impl Inner {
    fn draw(&mut self, note: Option<&str>, last: bool) {
        self.dirty = false;
        let (columns, rows) = (self.size)();
        let now = self.begin.elapsed();
        if last {
            self.board.end();
        }
        let rows = if last { usize::MAX } else { rows.saturating_sub(1) };
        let mut lines = self.board.lines(columns, rows, now, self.palette);
        if last {
            lines.extend(self.board.time_lines(columns, now, self.palette));
        }
        let text = self.block.frame(note, &lines, columns);
        let _ = self.output.write_all(text.as_bytes());
        let _ = self.output.flush();
    }
}

/// Columns and rows of the terminal on stderr.
#[must_use]
pub fn terminal_size() -> Option<(usize, usize)> {
    let size = rustix::termios::tcgetwinsize(io::stderr()).ok()?;
    (size.ws_col > 0 && size.ws_row > 0).then_some((size.ws_col.into(), size.ws_row.into()))
}
