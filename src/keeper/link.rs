//! The keeper's end of the line to the supervisor: never blocks, never loses the order.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use crate::keeper::protocol::{KeeperEvent, KeeperRequest, recv, stripped};
use crate::sys::packet;

#[derive(Debug)]
pub(super) enum Received {
    Request(Box<KeeperRequest>, Vec<OwnedFd>),
    /// Its descriptors are lost.
    Stripped(Box<KeeperRequest>),
    /// The supervisor is gone.
    End,
}

#[derive(Debug)]
pub(super) struct Link {
    socket: OwnedFd,
    waiting: VecDeque<(Vec<u8>, Vec<OwnedFd>)>,
}

/// More unread messages than this, and the supervisor is considered stuck.
const MOST: usize = 10_000;

impl Link {
    pub(super) fn new(socket: OwnedFd) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&socket, true)?;
        Ok(Self { socket, waiting: VecDeque::new() })
    }

    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Whether messages wait for the socket to become writable.
    pub(super) fn is_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Sends, or keeps for later. An error means that the supervisor is lost.
    pub(super) fn send(&mut self, event: &KeeperEvent, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let text = serde_json::to_vec(event)?;
        if self.waiting.is_empty() {
            match packet::send(&self.socket, &text, fds) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
        }
        if self.waiting.len() >= MOST {
            return Err(io::ErrorKind::OutOfMemory.into());
        }
        let fds = fds.iter().map(|fd| fd.try_clone_to_owned()).collect::<io::Result<Vec<_>>>()?;
        self.waiting.push_back((text, fds));
        Ok(())
    }

    /// Sends what waits, as far as the socket takes it.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        while let Some((text, fds)) = self.waiting.front() {
            let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
            match packet::send(&self.socket, text, &fds) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                other => other?,
            }
            self.waiting.pop_front();
        }
        Ok(())
    }

    /// The next request. `None`: not now.
    pub(super) fn receive(&mut self) -> Option<Received> {
        match recv(&self.socket) {
            Ok(Some((request, fds))) => Some(Received::Request(Box::new(request), fds)),
            Ok(None) => Some(Received::End),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => None,
            // A message that cannot be read: this is no supervisor of ours.
            Err(error) => Some(stripped(&error).map_or(Received::End, |request| Received::Stripped(Box::new(request)))),
        }
    }
}
