//! What a cloned process tells the keeper before it becomes the container's program.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use serde::{Deserialize, Serialize};

use crate::runtime::StartError;
use crate::sys::packet;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Report {
    /// Something was not allowed and is left out.
    Warning(String),
    /// The process that was asked for is another one: a sibling. Descriptor: its pidfd.
    Cloned {
        pid: i32,
    },
    /// All is set up, the program is executed next. Descriptor: the terminal's master when there is one.
    Ready,
    Failed(StartError),
}

impl Report {
    pub(super) fn send(&self, socket: BorrowedFd<'_>, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        packet::send(socket, &serde_json::to_vec(self)?, fds)
    }

    /// `None` when every process that could report has executed its program or ended.
    pub(super) fn recv(socket: BorrowedFd<'_>) -> io::Result<Option<(Self, Vec<OwnedFd>)>> {
        match packet::recv(socket)? {
            Some((text, fds)) => Ok(Some((serde_json::from_slice(&text)?, fds))),
            None => Ok(None),
        }
    }
}
