//! The streams of a process in a container: its own side of them, and the other one. What travels between processes is a
//! list of descriptors; here it is packed, and unpacked by what was announced, never by how long it is.

use std::io;
use std::os::fd::OwnedFd;

use serde::{Deserialize, Serialize};

use crate::sys::passed::PassedDescriptors;

/// stdin, stdout and stderr of a process: pipes that were made for it, none of them below 3. One that is missing is the
/// null device of its own container; nothing else that somebody outside holds may get there.
pub type Pipes = [Option<OwnedFd>; 3];

/// The other ends of a process's streams. `T` is a descriptor, owned or borrowed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OtherEnds<T = OwnedFd> {
    /// Nobody is to have them, or they are lost.
    #[default]
    None,
    /// The master of its terminal.
    Terminal(T),
    Pipes {
        /// The write end; `None` when there is nothing to read, or it was closed.
        stdin: Option<T>,
        stdout: T,
        stderr: T,
    },
}

/// Which there are, in the words of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndsKind {
    None,
    Terminal,
    Pipes { stdin: bool },
}

impl<T> OtherEnds<T> {
    #[must_use]
    pub fn kind(&self) -> EndsKind {
        match self {
            Self::None => EndsKind::None,
            Self::Terminal(_) => EndsKind::Terminal,
            Self::Pipes { stdin, .. } => EndsKind::Pipes { stdin: stdin.is_some() },
        }
    }

    /// In the order in which they travel.
    #[must_use]
    pub fn pack(self) -> Vec<T> {
        match self {
            Self::None => Vec::new(),
            Self::Terminal(master) => vec![master],
            Self::Pipes { stdin, stdout, stderr } => stdin.into_iter().chain([stdout, stderr]).collect(),
        }
    }
}

impl OtherEnds {
    /// # Errors
    /// `InvalidData` when other descriptors came than were announced.
    pub fn unpack(kind: EndsKind, fds: Vec<OwnedFd>) -> io::Result<Self> {
        Self::take(kind, &mut PassedDescriptors::new(fds, kind.count())?)
    }

    pub(crate) fn take(kind: EndsKind, fds: &mut PassedDescriptors) -> io::Result<Self> {
        Ok(match kind {
            EndsKind::None => Self::None,
            EndsKind::Terminal => Self::Terminal(fds.take()?),
            EndsKind::Pipes { stdin } => {
                Self::Pipes { stdin: fds.take_if(stdin)?, stdout: fds.take()?, stderr: fds.take()? }
            }
        })
    }
}

impl EndsKind {
    pub(crate) fn count(self) -> usize {
        match self {
            Self::None => 0,
            Self::Terminal => 1,
            Self::Pipes { stdin } => 2 + usize::from(stdin),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    fn null() -> OwnedFd {
        std::fs::File::open("/dev/null").unwrap().into()
    }

    fn all() -> [OtherEnds; 4] {
        [
            OtherEnds::None,
            OtherEnds::Terminal(null()),
            OtherEnds::Pipes { stdin: None, stdout: null(), stderr: null() },
            OtherEnds::Pipes { stdin: Some(null()), stdout: null(), stderr: null() },
        ]
    }

    #[test]
    fn what_was_packed_is_unpacked_under_its_name() {
        for ends in all() {
            let kind = ends.kind();
            let numbers = format!("{ends:?}");
            let fds = ends.pack();
            assert_eq!(fds.len(), kind.count());
            assert_eq!(format!("{:?}", OtherEnds::unpack(kind, fds).unwrap()), numbers);
        }
        let (stdin, stdout) = (null(), null());
        let number = stdout.as_raw_fd();
        let ends = OtherEnds::Pipes { stdin: Some(stdin), stdout, stderr: null() };
        let unpacked = OtherEnds::unpack(ends.kind(), ends.pack()).unwrap();
        assert!(matches!(unpacked, OtherEnds::Pipes { stdout, .. } if stdout.as_raw_fd() == number));
    }

    #[test]
    fn others_than_were_announced_are_refused() {
        for kind in all().map(|ends| ends.kind()) {
            for count in (0..6).filter(|count| *count != kind.count()) {
                let fds = (0..count).map(|_| null()).collect();
                assert!(OtherEnds::unpack(kind, fds).is_err(), "{kind:?} of {count}");
            }
        }
    }
}
