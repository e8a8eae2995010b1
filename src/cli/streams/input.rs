//! From our standard input to a process.
//!
//! What the process does not read is not ours to take: `while read line; do windlass exec ...; done < list` goes on with
//! the next line. So the first piece is only shown to the process, in a pipe that has room for nothing else, and it is
//! taken once the process has read all of it. Only from then on is it carried as fast as it goes.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::poll::PollFlags;
use rustix::fs::FileType;
use rustix::io::{Errno, ioctl_fionbio, ioctl_fionread};
use rustix::pipe::{SpliceFlags, fcntl_setpipe_size, splice, tee};
use rustix::termios::isatty;

use super::{Flow, MOST, Watched, is_later, kind, null};

/// A pipe of this size has room again when all of it was read.
const PIECE: usize = 4096;

#[derive(Debug)]
pub(super) struct Input {
    sink: OwnedFd,
    kind: FileType,
    stage: Stage,
    /// The sink has room.
    room: bool,
    /// `splice` cannot read it.
    by_hand: bool,
    /// What was read by hand and has not been written.
    pending: Vec<u8>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    First,
    /// So many bytes are before the process.
    Shown(usize),
    Bulk,
}

impl Input {
    pub(super) fn new(sink: OwnedFd) -> io::Result<Self> {
        ioctl_fionbio(&sink, true)?;
        let kind = kind(io::stdin());
        let lends = matches!(kind, FileType::Fifo | FileType::RegularFile) && resize(&sink, PIECE);
        let stage = if lends { Stage::First } else { Stage::Bulk };
        if !lends {
            resize(&sink, MOST);
        }
        // A person types lines, and has a use for those that nobody wants.
        let by_hand = isatty(rustix::stdio::stdin());
        Ok(Self { sink, kind, stage, room: true, by_hand, pending: Vec::new() })
    }

    /// Our input is looked at only while there is room for what it has.
    pub(super) fn watched(&self) -> Vec<Watched<'_>> {
        let waits = !self.room || !self.pending.is_empty();
        let room = if waits { PollFlags::POLLOUT } else { PollFlags::empty() };
        let mut all = vec![Watched { fd: self.sink.as_fd(), events: room }];
        if !waits {
            all.push(Watched { fd: rustix::stdio::stdin(), events: PollFlags::POLLIN });
        }
        all
    }

    pub(super) fn step(&mut self, events: &[PollFlags]) -> Flow {
        let [of_sink, of_source @ ..] = events else { return Flow::On };
        if of_sink.contains(PollFlags::POLLERR) {
            // The process reads no more, and so do we.
            self.lose_reader();
            return Flow::Over;
        }
        if of_sink.contains(PollFlags::POLLOUT) {
            self.has_room();
        }
        if of_source.iter().any(|events| !events.is_empty()) {
            return self.move_on();
        }
        Flow::On
    }

    fn has_room(&mut self) {
        if !self.pending.is_empty() {
            match rustix::io::write(&self.sink, &self.pending) {
                Ok(count) => drop(self.pending.drain(..count)),
                Err(errno) if is_later(errno) => {}
                // That nobody reads is told by the next poll.
                Err(_) => self.pending.clear(),
            }
            return;
        }
        self.room = true;
        if let Stage::Shown(count) = self.stage {
            self.take(count);
            resize(&self.sink, MOST);
            self.stage = Stage::Bulk;
        }
    }

    fn move_on(&mut self) -> Flow {
        let (most, stdin) = (if self.stage == Stage::First { PIECE } else { MOST }, rustix::stdio::stdin());
        let moved = match (self.by_hand, self.stage, self.kind) {
            (true, ..) => self.read(),
            (_, Stage::First, FileType::Fifo) => tee(stdin, &self.sink, most, SpliceFlags::NONBLOCK),
            _ => splice(stdin, None, &self.sink, None, most, SpliceFlags::NONBLOCK),
        };
        match moved {
            Ok(0) => return Flow::Over,
            Ok(count) if self.stage == Stage::First => {
                self.stage = Stage::Shown(count);
                self.room = false;
            }
            Ok(_) => self.room = !self.by_hand,
            // Whichever of the two is not ready after all: the pipe is asked first.
            Err(errno) if is_later(errno) => self.room = self.by_hand,
            Err(Errno::PIPE) => {}
            Err(Errno::INVAL) if !self.by_hand => self.by_hand = true,
            // A terminal that was hung up.
            Err(Errno::IO) if self.kind == FileType::CharacterDevice => return Flow::Over,
            Err(errno) => {
                eprintln!("warning: standard input cannot be read: {errno}");
                return Flow::Over;
            }
        }
        Flow::On
    }

    fn read(&mut self) -> rustix::io::Result<usize> {
        let mut buffer = [0; PIECE];
        let count = rustix::io::read(rustix::stdio::stdin(), &mut buffer)?;
        self.pending.extend(&buffer[..count]);
        if count > 0 {
            let written = rustix::io::write(&self.sink, &self.pending).unwrap_or(0);
            self.pending.drain(..written);
        }
        Ok(count)
    }

    /// Takes what the process has read out of our input, where it was only shown.
    fn take(&self, mut count: usize) {
        let mut buffer = [0; PIECE];
        while self.kind == FileType::Fifo && count > 0 {
            let most = count.min(PIECE);
            match rustix::io::read(rustix::stdio::stdin(), &mut buffer[..most]) {
                Ok(0) => return,
                Ok(read) => count -= read,
                Err(Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }

    /// What the process has not read goes back to where it came from, as far as that is possible.
    pub(super) fn give_back(&self) {
        let left = ioctl_fionread(&self.sink).ok().and_then(|left| usize::try_from(left).ok()).unwrap_or(0);
        match (self.kind, self.stage) {
            (FileType::Fifo, Stage::Shown(count)) => self.take(count.saturating_sub(left)),
            (FileType::RegularFile, _) if left + self.pending.len() > 0 => {
                let back = i64::try_from(left + self.pending.len()).unwrap_or(0);
                let _ = rustix::fs::seek(rustix::stdio::stdin(), rustix::fs::SeekFrom::Current(-back));
            }
            _ => {}
        }
    }

    fn lose_reader(&self) {
        self.give_back();
        // Whoever writes to us is to hear that, too.
        if matches!(self.kind, FileType::Fifo | FileType::Socket)
            && let Ok(null) = null()
        {
            let _ = rustix::stdio::dup2_stdin(&null);
        }
    }
}

/// Whether the pipe has that size now.
fn resize(pipe: &OwnedFd, size: usize) -> bool {
    fcntl_setpipe_size(pipe, size).is_ok_and(|now| now == size)
}
