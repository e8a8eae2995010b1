//! The person's own streams on one side, the pipes of a process in a container on the other: carries the bytes between
//! them, by `splice(2)` where the kernel can.
//!
//! What the process does to its end of a pipe happens to the person's stream, and the other way round: the end of the
//! input, a stream that is closed, a reader that has seen enough.

mod input;
mod output;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::fs::{FileType, Mode, OFlags, fstat};
use rustix::io::Errno as RustixErrno;

use crate::record::logs::Stream;
use input::Input;
use output::Output;

/// As much as one call moves, and as a pipe of ours holds.
const MOST: usize = 1 << 20;

/// The streams of a process that runs.
#[derive(Debug)]
pub struct Streams {
    input: Option<Input>,
    outputs: [Output; 2],
}

/// Why [`Streams::carry`] returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carried {
    /// One of the other descriptors has something to read.
    Other,
    /// Nobody reads this stream of ours any more, and the process is about to hear it.
    Unread(Stream),
}

impl Streams {
    /// # Errors
    /// When they cannot be used.
    pub fn new(stdin: Option<OwnedFd>, stdout: OwnedFd, stderr: OwnedFd) -> io::Result<Self> {
        Ok(Self {
            input: stdin.map(Input::new).transpose()?,
            outputs: [Output::new(Stream::Stdout, stdout)?, Output::new(Stream::Stderr, stderr)?],
        })
    }

    /// Carries on until one of `others` has something to read.
    ///
    /// # Errors
    /// When waiting fails.
    pub fn carry(&mut self, others: &[BorrowedFd<'_>]) -> io::Result<Carried> {
        loop {
            let mut fds: Vec<_> = others.iter().map(|fd| PollFd::new(*fd, PollFlags::POLLIN)).collect();
            let input = self.input.as_ref().map_or_else(Vec::new, Input::watched);
            let outputs = [self.outputs[0].watched(), self.outputs[1].watched()];
            let all = input.iter().chain(outputs.iter().flatten());
            fds.extend(all.map(|watched| PollFd::new(watched.fd, watched.events)));
            match poll(&mut fds, PollTimeout::NONE) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
            let events: Vec<PollFlags> = fds.iter().map(|fd| fd.revents().unwrap_or(PollFlags::empty())).collect();
            let (of_others, mut rest) = events.split_at(others.len());
            if of_others.iter().any(|events| !events.is_empty()) {
                return Ok(Carried::Other);
            }
            let mut take = |count: usize| {
                let (first, after) = rest.split_at(count);
                rest = after;
                first.to_vec()
            };
            let (of_input, of_outputs) = (take(input.len()), outputs.each_ref().map(|watched| take(watched.len())));
            if let Some(input) = &mut self.input
                && input.step(&of_input) == Flow::Over
            {
                self.input = None;
            }
            for (output, events) in self.outputs.iter_mut().zip(of_outputs) {
                if output.step(&events) == Flow::Over {
                    return Ok(Carried::Unread(output.stream));
                }
            }
        }
    }

    /// The process has ended: what it wrote before that is carried over, and what it did not read is left to whoever reads
    /// our input next.
    pub fn finish(self) {
        if let Some(input) = self.input {
            input.give_back();
        }
        for output in self.outputs {
            output.finish();
        }
    }
}

/// What becomes of one direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    On,
    Over,
}

/// A descriptor and what it is waited for; errors are always told.
#[derive(Debug, Clone, Copy)]
struct Watched<'a> {
    fd: BorrowedFd<'a>,
    events: PollFlags,
}

/// What a descriptor of ours is.
fn kind(fd: impl AsFd) -> FileType {
    fstat(fd).map_or(FileType::Unknown, |found| FileType::from_raw_mode(found.st_mode))
}

/// Something for which nothing is lost by trying again.
fn is_later(errno: RustixErrno) -> bool {
    matches!(errno, RustixErrno::AGAIN | RustixErrno::INTR)
}

/// The null device, for a stream that has ended.
fn null() -> io::Result<OwnedFd> {
    Ok(rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())?)
}
