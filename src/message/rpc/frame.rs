//! Frames: the length in four bytes (little endian), then that much JSON. Descriptors come with the first bytes.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};
use serde::Serialize;

/// Longest frame; a project of a thousand services is a few MiB.
pub const MAX_FRAME: usize = 64 * 1024 * 1024;
/// The most descriptors that come with one frame.
pub const MAX_FDS: usize = 16;
/// A frame's memory grows as its bytes arrive: a length alone costs nothing.
const STEP: usize = 256 * 1024;
const HEADER: usize = 4;

/// Why a frame could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    #[error("the connection broke")]
    Io(#[from] io::Error),
    #[error("the other side sent a message of {0} bytes, more than any honest one")]
    TooLong(usize),
    #[error("the other side sent a message that cannot be read")]
    Malformed(#[from] serde_json::Error),
    #[error("the other side sent descriptors, which are not taken from a client")]
    Descriptors,
    #[error("the connection ended in the middle of a message")]
    Cut,
}

/// A message with its length in front, ready to be sent.
pub(super) fn encode<T: Serialize>(message: &T) -> Result<Vec<u8>, FrameError> {
    let mut bytes = vec![0; HEADER];
    serde_json::to_writer(&mut bytes, message)?;
    let length = bytes.len() - HEADER;
    if length > MAX_FRAME {
        return Err(FrameError::TooLong(length));
    }
    let header = u32::try_from(length).map_err(|_| FrameError::TooLong(length))?.to_le_bytes();
    bytes[..HEADER].copy_from_slice(&header);
    Ok(bytes)
}

/// One `sendmsg(2)`; the descriptors go with it when anything goes.
pub(super) fn send(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    let mut space = [MaybeUninit::<u8>::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && (fds.len() > MAX_FDS || !control.push(SendAncillaryMessage::ScmRights(fds))) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors for one message"));
    }
    loop {
        match sendmsg(&socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL) {
            Err(rustix::io::Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

/// A frame that arrives in pieces. Never takes bytes of the next one.
#[derive(Debug, Default)]
pub(super) struct Incoming {
    bytes: Vec<u8>,
    filled: usize,
    fds: Vec<OwnedFd>,
}

impl Incoming {
    /// One `recvmsg(2)`. `None`: more is to come.
    pub(super) fn receive(&mut self, socket: impl AsFd) -> Result<Option<Received>, FrameError> {
        let target = self.target()?;
        if self.bytes.len() < target {
            self.bytes.resize(target.min(self.filled + STEP), 0);
        }
        let mut space = [MaybeUninit::<u8>::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let buffer = &mut self.bytes[self.filled..];
        let result = loop {
            match recvmsg(&socket, &mut [IoSliceMut::new(buffer)], &mut control, RecvFlags::CMSG_CLOEXEC) {
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::CONNRESET) => break None,
                other => break Some(other.map_err(io::Error::from)?),
            }
        };
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = message {
                self.fds.extend(fds);
            }
        }
        let Some(result) = result.filter(|result| result.bytes > 0) else {
            return if self.filled == 0 { Ok(Some(Received::End)) } else { Err(FrameError::Cut) };
        };
        if result.flags.contains(ReturnFlags::CTRUNC) || self.fds.len() > MAX_FDS {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "too many descriptors came with a message").into());
        }
        self.filled += result.bytes;
        if self.filled < HEADER || self.filled < self.target()? {
            return Ok(None);
        }
        let frame = std::mem::take(self);
        Ok(Some(Received::Frame { body: frame.bytes[HEADER..frame.filled].to_vec(), fds: frame.fds }))
    }

    /// How long the frame is as far as one knows.
    fn target(&self) -> Result<usize, FrameError> {
        match self.bytes.get(..HEADER) {
            Some(&[a, b, c, d]) if self.filled >= HEADER => {
                let length = u32::from_le_bytes([a, b, c, d]) as usize;
                if length > MAX_FRAME { Err(FrameError::TooLong(length)) } else { Ok(HEADER + length) }
            }
            _ => Ok(HEADER),
        }
    }
}

#[derive(Debug)]
pub(super) enum Received {
    Frame {
        body: Vec<u8>,
        fds: Vec<OwnedFd>,
    },
    /// The other side has closed the connection between two frames.
    End,
}
