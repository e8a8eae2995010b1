//! From a process to our standard output or error.

use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::fs::FileType;
use rustix::io::{Errno, ioctl_fionbio, ioctl_fionread};
use rustix::pipe::{SpliceFlags, fcntl_getpipe_size, fcntl_setpipe_size, splice};
use rustix::termios::isatty;

use super::{Flow, MOST, Watched, is_later, kind, null};
use crate::record::logs::Stream;

/// As much as is copied at once where `splice` cannot write.
const CHUNK: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Output {
    pub(super) stream: Stream,
    /// `None` once nothing comes any more.
    source: Option<OwnedFd>,
    kind: FileType,
    /// There is something to carry.
    full: bool,
    /// `splice` cannot write it: a file that is appended to, a terminal of an older kernel.
    by_hand: bool,
    pending: Vec<u8>,
    /// So much has been taken out of the pipe.
    taken: usize,
}

impl Output {
    pub(super) fn new(stream: Stream, source: OwnedFd) -> io::Result<Self> {
        ioctl_fionbio(&source, true)?;
        // As large as the machine allows.
        let _ = fcntl_setpipe_size(&source, MOST);
        let kind = kind(own(stream));
        // Into a pipe of the usual 64 KiB its reader is woken for every piece of that.
        if kind == FileType::Fifo && fcntl_getpipe_size(own(stream)).is_ok_and(|size| size < MOST) {
            let _ = fcntl_setpipe_size(own(stream), MOST);
        }
        // A terminal may be held by its person, and is written to in small pieces then.
        let by_hand = isatty(own(stream));
        let pending = Vec::new();
        Ok(Self { stream, source: Some(source), kind, full: false, by_hand, pending, taken: 0 })
    }

    pub(super) fn watched(&self) -> Vec<Watched<'_>> {
        let Some(source) = &self.source else { return Vec::new() };
        let sink = own(self.stream);
        if self.full || !self.pending.is_empty() {
            return vec![Watched { fd: sink, events: PollFlags::POLLOUT }];
        }
        let incoming = Watched { fd: source.as_fd(), events: PollFlags::POLLIN };
        vec![Watched { fd: sink, events: PollFlags::empty() }, incoming]
    }

    /// Over: nobody reads what comes, and the process hears it.
    pub(super) fn step(&mut self, events: &[PollFlags]) -> Flow {
        let [of_sink, of_source @ ..] = events else { return Flow::On };
        if self.is_unread(*of_sink) {
            self.source = None;
            return Flow::Over;
        }
        self.full |= of_source.iter().any(|events| !events.is_empty());
        if self.full || !of_sink.is_empty() {
            return self.move_on(MOST);
        }
        Flow::On
    }

    fn is_unread(&self, events: PollFlags) -> bool {
        match self.kind {
            FileType::Fifo => events.contains(PollFlags::POLLERR),
            FileType::Socket => events.intersects(PollFlags::POLLERR | PollFlags::POLLHUP),
            _ => false,
        }
    }

    fn move_on(&mut self, most: usize) -> Flow {
        let Some(source) = &self.source else { return Flow::On };
        let moved = if self.by_hand || !self.pending.is_empty() {
            self.copy(most)
        } else {
            let moved = splice(source, None, own(self.stream), None, most, SpliceFlags::NONBLOCK);
            self.taken += moved.unwrap_or(0);
            moved
        };
        match moved {
            Ok(0) => {
                self.source = None;
                self.close();
            }
            Ok(_) => {}
            Err(errno) if is_later(errno) => self.full = !self.is_empty(),
            Err(Errno::INVAL) if !self.by_hand => self.by_hand = true,
            Err(errno) => {
                if errno != Errno::PIPE && errno != Errno::IO {
                    let name = if self.stream == Stream::Stdout { "output" } else { "error" };
                    let _ = writeln!(io::stderr(), "warning: standard {name} cannot be written: {errno}");
                }
                self.source = None;
                return Flow::Over;
            }
        }
        Flow::On
    }

    fn is_empty(&self) -> bool {
        self.source.as_ref().is_none_or(|source| matches!(ioctl_fionread(source), Ok(0)))
    }

    /// Reads and writes; how many bytes, with those that wait to be written.
    fn copy(&mut self, most: usize) -> rustix::io::Result<usize> {
        let Some(source) = &self.source else { return Ok(0) };
        if self.pending.is_empty() {
            // One that may keep us waiting gets little, so that the others do not wait long.
            let most = most.min(if self.kind == FileType::CharacterDevice { 4096 } else { CHUNK });
            let mut buffer = vec![0; most];
            let count = rustix::io::read(source, &mut buffer)?;
            if count == 0 {
                return Ok(0);
            }
            self.taken += count;
            buffer.truncate(count);
            self.pending = buffer;
        }
        let count = self.pending.len();
        match rustix::io::write(own(self.stream), &self.pending) {
            Ok(written) => drop(self.pending.drain(..written)),
            Err(errno) if is_later(errno) => {}
            Err(errno) => return Err(errno),
        }
        Ok(count)
    }

    /// What the process wrote until now; what it has left behind may go on writing, to nobody.
    pub(super) fn finish(mut self) {
        let Some(Ok(left)) = self.source.as_ref().map(ioctl_fionread) else { return };
        let all = self.taken + usize::try_from(left).unwrap_or(0);
        while self.source.is_some() && (self.taken < all || !self.pending.is_empty()) {
            let sink = own(self.stream);
            let waited = poll(&mut [PollFd::new(sink, PollFlags::POLLOUT)], PollTimeout::NONE);
            if !matches!(waited, Ok(_) | Err(nix::errno::Errno::EINTR)) {
                return;
            }
            if self.move_on((all - self.taken).min(MOST)) == Flow::Over {
                return;
            }
        }
    }

    /// Whoever reads our stream sees its end: the process has closed it.
    fn close(&self) {
        let Ok(null) = null() else { return };
        let _ = match self.stream {
            Stream::Stdout => rustix::stdio::dup2_stdout(&null),
            Stream::Stderr => rustix::stdio::dup2_stderr(&null),
        };
    }
}

fn own(stream: Stream) -> BorrowedFd<'static> {
    match stream {
        Stream::Stdout => rustix::stdio::stdout(),
        Stream::Stderr => rustix::stdio::stderr(),
    }
}
