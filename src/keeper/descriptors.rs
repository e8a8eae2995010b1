//! The descriptors that go with the messages of `protocol`: a message says which it brings along, and here they are put
//! in their order and taken out of it again. One that brings others is refused.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{FileType, fstat};
use serde::{Deserialize, Serialize};

use crate::runtime::{Descriptors, EndsKind, OtherEnds, Pipes};
use crate::sys::passed::PassedDescriptors;

/// What comes with a request to start a container.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StartBrings {
    /// The network namespace, when the specification says `passed`.
    pub network: bool,
    /// Which of its stdin, stdout and stderr come with the message, as pipes; the others are the null device. Without
    /// it, and without a terminal, all are the pipes in the container's folder.
    pub piped: Option<[bool; 3]>,
}

impl StartBrings {
    #[must_use]
    pub fn pack(descriptors: Descriptors) -> (Self, Vec<OwnedFd>) {
        let Descriptors { network, streams } = descriptors;
        let brings = Self { network: network.is_some(), piped: streams.as_ref().map(which) };
        (brings, network.into_iter().chain(streams.into_iter().flatten().flatten()).collect())
    }

    /// # Errors
    /// When others came, or a stream is no pipe.
    pub fn unpack(self, fds: Vec<OwnedFd>) -> io::Result<Descriptors> {
        let mut fds = PassedDescriptors::new(fds, usize::from(self.network) + self.piped.map_or(0, count))?;
        let network = fds.take_if(self.network)?;
        Ok(Descriptors { network, streams: self.piped.map(|piped| take_pipes(piped, &mut fds)).transpose()? })
    }
}

/// Streams for a further process in a container, and which of the three there are.
#[must_use]
pub fn pack_pipes(streams: Pipes) -> ([bool; 3], Vec<OwnedFd>) {
    (which(&streams), streams.into_iter().flatten().collect())
}

/// # Errors
/// When others came, or one is no pipe.
pub fn unpack_pipes(piped: [bool; 3], fds: Vec<OwnedFd>) -> io::Result<Pipes> {
    take_pipes(piped, &mut PassedDescriptors::new(fds, count(piped))?)
}

fn which(streams: &Pipes) -> [bool; 3] {
    streams.each_ref().map(Option::is_some)
}

fn count(piped: [bool; 3]) -> usize {
    piped.into_iter().filter(|piped| *piped).count()
}

/// Whatever is no pipe is refused: it would give a container a file of the machine.
fn take_pipes(piped: [bool; 3], fds: &mut PassedDescriptors) -> io::Result<Pipes> {
    let mut one = |piped: bool| -> io::Result<Option<OwnedFd>> {
        match fds.take_if(piped)? {
            Some(pipe) if FileType::from_raw_mode(fstat(&pipe)?.st_mode) != FileType::Fifo => {
                Err(io::Error::new(io::ErrorKind::InvalidInput, "a container's streams are pipes, and this is none"))
            }
            other => Ok(other),
        }
    };
    Ok([one(piped[0])?, one(piped[1])?, one(piped[2])?])
}

/// What the keeper has of a container's process, and a supervisor gets copies of. The pipes are non-blocking and never
/// report their end: they are read to `EAGAIN` after the exit.
#[derive(Debug)]
pub struct HeldProcess<T = OwnedFd> {
    /// `None` for one that was gone when it was taken over: its end is told next.
    pub pidfd: Option<T>,
    pub ends: OtherEnds<T>,
}

/// Which there are, in the words of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessBrings {
    pub pidfd: bool,
    pub ends: EndsKind,
}

impl<'fd> HeldProcess<BorrowedFd<'fd>> {
    #[must_use]
    pub fn pack(self) -> (ProcessBrings, Vec<BorrowedFd<'fd>>) {
        let brings = ProcessBrings { pidfd: self.pidfd.is_some(), ends: self.ends.kind() };
        (brings, self.pidfd.into_iter().chain(self.ends.pack()).collect())
    }
}

impl Default for HeldProcess {
    fn default() -> Self {
        Self { pidfd: None, ends: OtherEnds::None }
    }
}

impl ProcessBrings {
    /// # Errors
    /// When others came.
    pub fn unpack(self, fds: Vec<OwnedFd>) -> io::Result<HeldProcess> {
        let mut fds = PassedDescriptors::new(fds, usize::from(self.pidfd) + self.ends.count())?;
        Ok(HeldProcess { pidfd: fds.take_if(self.pidfd)?, ends: OtherEnds::take(self.ends, &mut fds)? })
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;

    fn pipe() -> OwnedFd {
        rustix::pipe::pipe().unwrap().0
    }

    fn fds(count: usize) -> Vec<OwnedFd> {
        (0..count).map(|_| pipe()).collect()
    }

    #[test]
    fn only_pipes_are_passed_on() {
        let [stdin, stdout, stderr] = unpack_pipes([false, true, true], fds(2)).unwrap();
        assert!(stdin.is_none() && stdout.is_some() && stderr.is_some());
        for place in ["/", "/dev/null", "/proc/self/exe"] {
            let file = std::fs::File::open(place).unwrap();
            assert!(unpack_pipes([true, false, false], vec![file.into()]).is_err(), "{place}");
        }
        let (socket, _other) = crate::sys::packet::pair().unwrap();
        assert!(unpack_pipes([false, true, false], vec![socket]).is_err());
    }

    #[test]
    fn a_message_with_too_few_or_too_many_is_refused() {
        assert!(unpack_pipes([true; 3], fds(2)).is_err() && unpack_pipes([true; 3], fds(4)).is_err());
        let start = StartBrings { network: true, piped: Some([false, true, true]) };
        assert!(start.unpack(fds(2)).is_err() && start.unpack(fds(4)).is_err());
        // A namespace that was not announced does not become a stream, nor a stream the namespace.
        assert!(StartBrings { network: true, piped: None }.unpack(fds(0)).is_err());
        assert!(StartBrings { network: false, piped: None }.unpack(fds(1)).is_err());
        let process = ProcessBrings { pidfd: true, ends: EndsKind::Terminal };
        assert!(process.unpack(fds(1)).is_err() && process.unpack(fds(3)).is_err());
    }

    #[test]
    fn what_was_packed_is_unpacked_under_its_name() {
        let sent = Descriptors { network: Some(pipe()), streams: Some([None, Some(pipe()), Some(pipe())]) };
        let text = format!("{sent:?}");
        let (brings, list) = StartBrings::pack(sent);
        assert_eq!(format!("{:?}", brings.unpack(list).unwrap()), text);
        let terminal = pipe();
        // The process has gone, and the terminal that it had is still held: that is no pidfd.
        let held = HeldProcess { pidfd: None, ends: OtherEnds::Terminal(terminal.as_fd()) };
        let (brings, list) = held.pack();
        let list = list.into_iter().map(|fd| fd.try_clone_to_owned().unwrap()).collect();
        let unpacked = brings.unpack(list).unwrap();
        assert!(unpacked.pidfd.is_none() && matches!(unpacked.ends, OtherEnds::Terminal(_)));
    }
}
