//! Carries what a container writes into its log.

use std::cell::RefCell;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use jiff::Timestamp;
use rustix::fs::FileType;
use rustix::pipe::{PipeFlags, SpliceFlags};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::record::logs::{LogFile, Splitter, Stream};
use crate::sys::readiness;

/// As much as a pipe holds.
const CHUNK: usize = 64 * 1024;
/// Others get their turn after so many chunks.
const TURN: usize = 8;
/// So many when its container has ended, which is all that a pipe holds: whoever else has the other end may write on for
/// ever.
const LAST: usize = 256;
/// The beginning of a line waits so long for its end; then it is written as it is, so that a dead supervisor costs
/// nothing and a prompt is seen.
const PATIENCE: Duration = Duration::from_millis(250);
/// On a terminal somebody may be waiting for what he has just typed.
const PATIENCE_ON_TERMINALS: Duration = Duration::from_millis(10);

thread_local! {
    /// One for all containers: a task that reads does not wait.
    static SCRATCH: RefCell<(Vec<u8>, Vec<u8>)> = RefCell::new((vec![0; CHUNK], Vec::new()));
}

/// The task of one run of a container.
#[derive(Debug)]
pub(super) struct Output {
    finish: oneshot::Sender<()>,
    task: JoinHandle<Vec<Source>>,
}

#[derive(Debug)]
struct Source {
    /// `None` once nothing can come any more.
    pipe: Option<AsyncFd<OwnedFd>>,
    splitter: Splitter,
    is_pipe: bool,
    /// The beginning of a line waits in the pipe.
    is_unfinished: bool,
}

impl Output {
    /// `log` is `None` when nothing is to be kept: the pipes must be emptied all the same.
    pub(super) fn start(pipes: Vec<(Stream, OwnedFd)>, log: Option<LogFile>) -> io::Result<Self> {
        let mut sources = Vec::with_capacity(2);
        for (stream, pipe) in pipes {
            rustix::io::ioctl_fionbio(&pipe, true)?;
            let is_pipe = FileType::from_raw_mode(rustix::fs::fstat(&pipe)?.st_mode) == FileType::Fifo;
            let pipe = readiness::register(pipe, Interest::READABLE)?;
            sources.push(Source { pipe: Some(pipe), splitter: Splitter::new(stream), is_pipe, is_unfinished: false });
        }
        let (finish, finished) = oneshot::channel();
        let task = tokio::task::spawn_local(carry(sources, log, finished));
        Ok(Self { finish, task })
    }

    /// The container has ended, or somebody else goes on: takes what is in its pipes now and returns them when it is in
    /// the log.
    pub(super) async fn finish(self) -> Vec<OwnedFd> {
        let _ = self.finish.send(());
        let sources = self.task.await.unwrap_or_default();
        sources.into_iter().filter_map(|source| Some(source.pipe?.into_inner())).collect()
    }
}

async fn carry(mut sources: Vec<Source>, mut log: Option<LogFile>, mut finished: oneshot::Receiver<()>) -> Vec<Source> {
    let mut flush_at: Option<Instant> = None;
    // Whatever is no terminal has two streams.
    let patience = if sources.len() == 1 { PATIENCE_ON_TERMINALS } else { PATIENCE };
    loop {
        let wake = flush_at.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
        let which = tokio::select! {
            () = readable(sources.first()) => 0,
            () = readable(sources.get(1)) => 1,
            () = tokio::time::sleep_until(wake), if flush_at.is_some() => {
                flush(&mut sources, log.as_mut());
                flush_at = None;
                continue;
            }
            _ = &mut finished => break,
        };
        if let Some(source) = sources.get_mut(which) {
            read(source, log.as_mut(), TURN);
            let pending = sources.iter().any(|source| source.is_unfinished || source.splitter.has_pending());
            flush_at = pending.then(|| flush_at.unwrap_or_else(|| Instant::now() + patience));
            tokio::task::yield_now().await;
        }
    }
    for source in &mut sources {
        read(source, log.as_mut(), LAST);
    }
    flush(&mut sources, log.as_mut());
    sources
}

async fn readable(source: Option<&Source>) {
    match source.and_then(|source| source.pipe.as_ref()) {
        Some(pipe) => {
            // Readiness is cleared where the read says that there is nothing.
            let _ = pipe.readable().await.map(|mut guard| guard.retain_ready());
        }
        None => std::future::pending().await,
    }
}

/// Reads until there is nothing more for now, or the turn is over.
fn read(source: &mut Source, mut log: Option<&mut LogFile>, turns: usize) {
    match &mut log {
        Some(log) if source.is_pipe => carry_over(source, log, turns, false),
        _ => read_off(source, log, turns),
    }
}

/// From a terminal, or for nobody: what is read is gone.
fn read_off(source: &mut Source, mut log: Option<&mut LogFile>, turns: usize) {
    let Some(pipe) = &source.pipe else { return };
    let mut ended = false;
    SCRATCH.with_borrow_mut(|(input, output)| {
        for _ in 0..turns {
            let result = if turns == LAST {
                // At the end the pipe itself is asked, not what the event loop has heard of it so far.
                rustix::io::read(pipe.get_ref(), &mut input[..]).map_err(io::Error::from)
            } else {
                pipe.try_io(Interest::READABLE, |pipe| Ok(rustix::io::read(pipe, &mut input[..])?))
            };
            let count = match result {
                Ok(0) => {
                    ended = true;
                    break;
                }
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // A terminal whose last process is gone.
                Err(_) => {
                    ended = true;
                    break;
                }
            };
            if let Some(log) = &mut log {
                source.splitter.push(&input[..count], Timestamp::now(), output);
                log.append(output);
                output.clear();
            }
        }
        output.shrink_to(CHUNK);
    });
    if ended {
        source.pipe = None;
    }
}

/// From a pipe to the log. Lines stay in the pipe until they are in the log, and the beginning of one until its end has
/// come: whoever dies in between takes nothing along. With `all` the beginning of a line is carried over too.
fn carry_over(source: &mut Source, log: &mut LogFile, turns: usize, all: bool) {
    let Some(pipe) = &source.pipe else { return };
    let mut ended = false;
    source.is_unfinished = false;
    SCRATCH.with_borrow_mut(|(input, output)| {
        for _ in 0..turns {
            let mut look = |pipe: &OwnedFd| match peek(pipe, input)? {
                0 => Ok(0),
                count => match if all { count } else { whole(&input[..count]) } {
                    0 => {
                        source.is_unfinished = true;
                        Err(io::ErrorKind::WouldBlock.into())
                    }
                    whole => Ok(whole),
                },
            };
            let asked = all || turns == LAST;
            let seen = if asked { look(pipe.get_ref()) } else { pipe.try_io(Interest::READABLE, &mut look) };
            let count = match seen {
                Ok(0) => {
                    ended = true;
                    break;
                }
                Ok(count) => count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(_) => {
                    ended = true;
                    break;
                }
            };
            source.splitter.push(&input[..count], Timestamp::now(), output);
            if all {
                source.splitter.flush(Timestamp::now(), output);
            }
            log.append(output);
            output.clear();
            let mut rest = count;
            while rest > 0 {
                match rustix::io::read(pipe.get_ref(), &mut input[..rest]) {
                    Ok(0) => break,
                    Ok(read) => rest -= read,
                    Err(rustix::io::Errno::INTR) => {}
                    Err(_) => break,
                }
            }
        }
        output.shrink_to(CHUNK);
    });
    if ended {
        source.pipe = None;
    }
}

/// The length of the complete lines. A line that is longer than half of what a pipe holds is not waited for.
fn whole(bytes: &[u8]) -> usize {
    match bytes.iter().rposition(|byte| *byte == b'\n') {
        Some(end) => end + 1,
        None if bytes.len() >= CHUNK / 2 => bytes.len(),
        None => 0,
    }
}

/// What is in a pipe; it stays there.
fn peek(pipe: &OwnedFd, into: &mut [u8]) -> io::Result<usize> {
    thread_local! {
        static COPY: RefCell<Option<(OwnedFd, OwnedFd)>> = const { RefCell::new(None) };
    }
    COPY.with_borrow_mut(|copy| {
        let (reader, writer) = match copy {
            Some(copy) => copy,
            none => none.insert(rustix::pipe::pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?),
        };
        let count = rustix::pipe::tee(pipe, &*writer, into.len(), SpliceFlags::NONBLOCK)?;
        let mut seen = 0;
        while seen < count {
            match rustix::io::read(&*reader, &mut into[seen..count])? {
                0 => break,
                read => seen += read,
            }
        }
        Ok(seen)
    })
}

fn flush(sources: &mut [Source], mut log: Option<&mut LogFile>) {
    let Some(log) = &mut log else { return };
    for source in sources {
        if source.is_pipe {
            carry_over(source, log, 1, true);
            continue;
        }
        let mut output = Vec::new();
        source.splitter.flush(Timestamp::now(), &mut output);
        log.append(&output);
    }
}
