//! Packets with descriptors on a `SOCK_SEQPACKET` socket.
//!
//! A message too long for one packet travels in a memfd, which is then the last descriptor of a packet that says so.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Seek, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};

/// Longer messages go into a memfd. Far below the default send buffer, so that a few packets always fit.
const MAX_INLINE: usize = 48 * 1024;
/// The most descriptors that the kernel passes at once (`SCM_MAX_FD`).
pub const MAX_FDS: usize = 253;
/// The body of a packet whose message is in its last descriptor. No JSON text begins like this.
const IN_MEMFD: &[u8] = b"@memfd";
/// Nobody honest sends more; protects the reader's memory.
const MAX_MESSAGE: u64 = 64 * 1024 * 1024;

/// A message whose descriptors are lost: the receiver had no room for them. Whoever waits for it is to be told.
#[derive(Debug)]
struct Stripped {
    body: Vec<u8>,
}

impl std::fmt::Display for Stripped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("no descriptor is left for those that came with a message")
    }
}

impl std::error::Error for Stripped {}

/// The message without its descriptors, when that is what the error is about.
#[must_use]
pub fn stripped(error: &io::Error) -> Option<&[u8]> {
    error.get_ref()?.downcast_ref::<Stripped>().map(|stripped| stripped.body.as_slice())
}

/// A connected pair, close-on-exec.
///
/// # Errors
/// When no descriptor is left.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// Sends one message. `WouldBlock` when the socket is non-blocking and full: nothing of the message is sent then.
///
/// # Errors
/// `BrokenPipe` when the other end is gone; otherwise as `sendmsg(2)`.
pub fn send(socket: impl AsFd, message: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    if message.len() <= MAX_INLINE {
        return send_packet(socket, message, fds);
    }
    let mut memfd = File::from(memfd_create("message", MemfdFlags::CLOEXEC)?);
    memfd.write_all(message)?;
    let mut all = fds.to_vec();
    all.push(memfd.as_fd());
    send_packet(socket, IN_MEMFD, &all)
}

fn send_packet(socket: impl AsFd, body: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    if fds.len() > MAX_FDS {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors for one message"));
    }
    let mut space = vec![MaybeUninit::<u8>::uninit(); rustix::cmsg_space!(ScmRights(fds.len()))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "too many descriptors for one message"));
    }
    loop {
        match sendmsg(&socket, &[IoSlice::new(body)], &mut control, SendFlags::NOSIGNAL) {
            Err(rustix::io::Errno::INTR) => {}
            other => return Ok(other.map(drop)?),
        }
    }
}

/// Receives one message; `None` when the other end is closed. Descriptors come close-on-exec.
///
/// # Errors
/// `WouldBlock` when the socket is non-blocking and empty; `InvalidData` when a packet was cut short.
pub fn recv(socket: impl AsFd) -> io::Result<Option<(Vec<u8>, Vec<OwnedFd>)>> {
    let mut body = vec![0; MAX_INLINE];
    let mut space = [MaybeUninit::<u8>::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = loop {
        match recvmsg(&socket, &mut [IoSliceMut::new(&mut body)], &mut control, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::CONNRESET) => return Ok(None),
            other => break other?,
        }
    };
    let mut fds = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            fds.extend(received);
        }
    }
    if received.flags.contains(ReturnFlags::CTRUNC) && !received.flags.contains(ReturnFlags::TRUNC) {
        body.truncate(received.bytes);
        return Err(io::Error::new(io::ErrorKind::InvalidData, Stripped { body }));
    }
    if received.flags.contains(ReturnFlags::TRUNC) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a message arrived cut short"));
    }
    if received.bytes == 0 && fds.is_empty() {
        return Ok(None);
    }
    body.truncate(received.bytes);
    if body == IN_MEMFD {
        let memfd = fds.pop().ok_or(io::ErrorKind::InvalidData)?;
        let mut memfd = File::from(memfd);
        if memfd.metadata()?.len() > MAX_MESSAGE {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a message is too long"));
        }
        memfd.rewind()?;
        body.clear();
        memfd.read_to_end(&mut body)?;
    }
    Ok(Some((body, fds)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsRawFd;

    #[test]
    fn short_and_long_messages_with_descriptors() {
        let (a, b) = pair().unwrap();
        let file = File::open("/dev/null").unwrap();
        send(&a, b"{}", &[file.as_fd(), file.as_fd()]).unwrap();
        let long = vec![b'x'; 3 * 1024 * 1024];
        send(&a, &long, &[file.as_fd()]).unwrap();
        drop(a);
        let (body, fds) = recv(&b).unwrap().unwrap();
        assert_eq!((body.as_slice(), fds.len()), (&b"{}"[..], 2));
        let (body, fds) = recv(&b).unwrap().unwrap();
        assert!(body == long && fds.len() == 1 && fds[0].as_raw_fd() > 2);
        assert!(recv(&b).unwrap().is_none());
    }

    #[test]
    fn a_message_without_room_for_its_descriptors_is_known_all_the_same() {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        // The limit is the whole process's: in one of its own.
        let crate::sys::clone::Fork::Child = crate::sys::clone::fork().unwrap() else {
            let (_, status) = rustix::process::wait(rustix::process::WaitOptions::empty()).unwrap().unwrap();
            assert_eq!(status.exit_status(), Some(0));
            return;
        };
        let (a, b) = pair().unwrap();
        let file = File::open("/dev/null").unwrap();
        send(&a, b"{}", &[file.as_fd()]).unwrap();
        let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(3), maximum }).unwrap();
        let known = recv(&b).err().as_ref().and_then(stripped) == Some(&b"{}"[..]);
        crate::sys::process::exit_now(i32::from(!known));
    }
}
