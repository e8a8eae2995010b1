//! A blocking netlink socket that sends many requests in one system call.
//!
//! The kernel handles requests inside `sendmsg`, so every answer waits in the socket when it returns: nothing here
//! waits for anything but the kernel's own work. Only the last request asks for an acknowledgement (errors are
//! always told), which keeps any number of requests from overflowing the receive buffer.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkDeserializable, NetlinkHeader, NetlinkMessage, NetlinkPayload,
    NetlinkSerializable,
};
use netlink_sys::{Socket, SocketAddr, protocols};
use nix::sys::socket::{setsockopt, sockopt};

/// Requests of one system call; larger batches are split (nftables batches never are: they must be atomic).
const CHUNK: usize = 64 * 1024;

/// Room for acknowledgements and single objects.
const ANSWERS: usize = 8 * 1024;

/// The kernel fills what it is given when it lists things, up to this.
const DUMP: usize = 32 * 1024;

const HEADER: usize = 16;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const NLM_F_CAPPED: u16 = 0x100;
const NLM_F_ACK_TLVS: u16 = 0x200;
const NLMSGERR_ATTR_MSG: u16 = 1;

/// What the kernel answered to one request of a batch.
#[derive(Debug)]
pub struct Failure {
    /// Position of the request in the batch.
    pub index: usize,
    pub errno: i32,
    /// The kernel's own words, where it has any.
    pub text: Option<String>,
}

impl From<Failure> for io::Error {
    fn from(failure: Failure) -> Self {
        let error = io::Error::from_raw_os_error(failure.errno);
        match failure.text {
            Some(text) => io::Error::new(error.kind(), format!("{text} ({})", describe(failure.errno))),
            None => error,
        }
    }
}

fn describe(errno: i32) -> &'static str {
    nix::errno::Errno::from_raw(errno).desc()
}

/// A netlink socket of the network namespace of the thread that opened it, wherever it is used later.
#[derive(Debug)]
pub struct Netlink {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Netlink {
    /// Links, addresses, routes.
    ///
    /// # Errors
    /// When the kernel gives no socket.
    pub fn route() -> io::Result<Self> {
        Self::open(protocols::NETLINK_ROUTE)
    }

    /// nftables and connection tracking.
    ///
    /// # Errors
    /// When the kernel gives no socket.
    pub fn netfilter() -> io::Result<Self> {
        Self::open(protocols::NETLINK_NETFILTER)
    }

    /// What happens to links, addresses and routes, without waiting.
    ///
    /// # Errors
    /// When the kernel gives no socket. A group that an old kernel does not know is left out.
    pub fn listen_to_links(groups: &[u32]) -> io::Result<Self> {
        Self::listen(protocols::NETLINK_ROUTE, groups)
    }

    /// What happens to packet filter rules, without waiting.
    ///
    /// # Errors
    /// When the kernel gives no socket. A group that an old kernel does not know is left out.
    pub fn listen_to_rules(groups: &[u32]) -> io::Result<Self> {
        Self::listen(protocols::NETLINK_NETFILTER, groups)
    }

    fn listen(protocol: isize, groups: &[u32]) -> io::Result<Self> {
        let mut socket = Socket::new(protocol)?;
        socket.bind_auto()?;
        socket.set_non_blocking(true)?;
        for group in groups {
            match socket.add_membership(*group) {
                // An old kernel does not know each.
                Err(error) if error.kind() == io::ErrorKind::InvalidInput => {}
                other => other?,
            }
        }
        Ok(Self { socket, sequence: 0, buffer: Vec::new() })
    }

    /// Reads all that waits; whether `matters` (type and body) holds for any of it. What was lost may have mattered.
    pub fn told(&mut self, mut matters: impl FnMut(u16, &[u8]) -> bool) -> bool {
        let mut any = false;
        let read = self.drain(DUMP, |kind, _, _, body| {
            any |= matters(kind, body);
            false
        });
        any | read.is_err()
    }

    fn open(protocol: isize) -> io::Result<Self> {
        let mut socket = Socket::new(protocol)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        // Both only make errors smaller and better; old kernels do without.
        let _ = socket.set_cap_ack(true);
        let _ = socket.set_ext_ack(true);
        Ok(Self { socket, sequence: 0, buffer: Vec::new() })
    }

    /// Sends requests in as few system calls as possible; each comes with its additional flags. A request that fails
    /// does not keep the later ones from being done. Returns the failures.
    ///
    /// # Errors
    /// When the requests cannot be sent or are not answered at all.
    pub fn batch<M: NetlinkSerializable>(
        &mut self,
        requests: impl IntoIterator<Item = (u16, M)>,
    ) -> io::Result<Vec<Failure>> {
        let mut failures = Vec::new();
        let mut bytes = Vec::with_capacity(4096);
        let mut last = 0;
        let (mut first_index, mut first_sequence) = (0, self.sequence + 1);
        for (count, (flags, message)) in requests.into_iter().enumerate() {
            if bytes.len() > CHUNK {
                self.flush(&mut bytes, last, first_index, first_sequence, &mut failures)?;
                (first_index, first_sequence) = (count, self.sequence + 1);
            }
            last = bytes.len();
            self.append(&mut bytes, flags, message);
        }
        if !bytes.is_empty() {
            self.flush(&mut bytes, last, first_index, first_sequence, &mut failures)?;
        }
        Ok(failures)
    }

    /// The same, in exactly one system call, for subsystems with transactions. `acknowledged` is the request whose
    /// acknowledgement ends the batch.
    ///
    /// # Errors
    /// When the requests cannot be sent or are not answered at all.
    pub fn transaction<M: NetlinkSerializable>(
        &mut self,
        requests: impl IntoIterator<Item = (u16, M)>,
        acknowledged: usize,
    ) -> io::Result<Vec<Failure>> {
        let mut failures = Vec::new();
        let mut bytes = Vec::with_capacity(16 * 1024);
        let first_sequence = self.sequence + 1;
        let mut mark = 0;
        for (index, (flags, message)) in requests.into_iter().enumerate() {
            if index == acknowledged {
                mark = bytes.len();
            }
            self.append(&mut bytes, flags, message);
        }
        if bytes.len() > CHUNK {
            // The whole transaction is one socket buffer.
            let _ = setsockopt(&self.socket, sockopt::SndBufForce, &(bytes.len() * 2));
        }
        self.flush(&mut bytes, mark, 0, first_sequence, &mut failures)?;
        Ok(failures)
    }

    fn append<M: NetlinkSerializable>(&mut self, bytes: &mut Vec<u8>, flags: u16, message: M) {
        self.sequence = self.sequence.wrapping_add(1).max(1);
        let mut header = NetlinkHeader::default();
        header.flags = NLM_F_REQUEST | flags;
        header.sequence_number = self.sequence;
        let mut message = NetlinkMessage::new(header, NetlinkPayload::InnerMessage(message));
        message.finalize();
        let start = bytes.len();
        bytes.resize(start + message.buffer_len().next_multiple_of(4), 0);
        message.serialize(&mut bytes[start..]);
    }

    fn flush(
        &mut self,
        bytes: &mut Vec<u8>,
        acknowledged: usize,
        first_index: usize,
        first_sequence: u32,
        failures: &mut Vec<Failure>,
    ) -> io::Result<()> {
        let flags = u16::from_ne_bytes([bytes[acknowledged + 6], bytes[acknowledged + 7]]) | NLM_F_ACK;
        bytes[acknowledged + 6..acknowledged + 8].copy_from_slice(&flags.to_ne_bytes());
        let before = failures.len();
        self.socket.send(bytes, 0)?;
        bytes.clear();
        let mut answered = false;
        self.drain(ANSWERS, |kind, sequence, flags, body| {
            if kind != NLMSG_ERROR || body.len() < 4 {
                return false;
            }
            answered = true;
            let code = i32::from_ne_bytes([body[0], body[1], body[2], body[3]]);
            if code != 0 {
                let index = first_index + sequence.wrapping_sub(first_sequence) as usize;
                failures.push(Failure { index, errno: -code, text: extended(flags, body) });
            }
            false
        })?;
        if !answered && failures.len() == before {
            return Err(io::Error::other("the kernel did not answer a netlink request"));
        }
        Ok(())
    }

    /// Asks for one object. `None` when there is none.
    ///
    /// # Errors
    /// When the kernel does not answer, or refuses for another reason than that there is none.
    pub fn get<M: NetlinkSerializable + NetlinkDeserializable>(&mut self, message: M) -> io::Result<Option<M>> {
        match self.ask(0, message) {
            Ok(mut found) => Ok(found.pop()),
            Err(error) if matches!(error.raw_os_error(), Some(ENODEV | ENOENT)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Asks for all objects of a kind.
    ///
    /// # Errors
    /// When the kernel does not answer, or refuses.
    pub fn dump<M: NetlinkSerializable + NetlinkDeserializable>(&mut self, message: M) -> io::Result<Vec<M>> {
        self.ask(NLM_F_DUMP, message)
    }

    fn ask<M: NetlinkSerializable + NetlinkDeserializable>(&mut self, flags: u16, message: M) -> io::Result<Vec<M>> {
        let mut bytes = Vec::new();
        self.append(&mut bytes, flags, message);
        let expected = self.sequence;
        self.socket.send(&bytes, 0)?;
        let mut found = Vec::new();
        let mut failure = None;
        self.drain(if flags & NLM_F_DUMP == 0 { ANSWERS } else { DUMP }, |kind, sequence, _, body| {
            if sequence != expected {
                return false;
            }
            match kind {
                NLMSG_DONE => return true,
                NLMSG_ERROR if body.len() >= 4 => {
                    let code = i32::from_ne_bytes([body[0], body[1], body[2], body[3]]);
                    if code != 0 {
                        // The bare number, so that callers can tell "there is none" from a fault.
                        failure = Some(io::Error::from_raw_os_error(-code));
                    }
                    return true;
                }
                _ => {}
            }
            let mut header = NetlinkHeader::default();
            header.message_type = kind;
            // What the crate cannot read is not ours.
            if let Ok(message) = M::deserialize(&header, body) {
                found.push(message);
            }
            false
        })?;
        failure.map_or(Ok(found), Err)
    }

    /// Hands every message that waits to `each` (type, sequence, flags, body) until it returns true.
    fn drain(&mut self, room: usize, mut each: impl FnMut(u16, u32, u16, &[u8]) -> bool) -> io::Result<()> {
        const DONT_WAIT: i32 = nix::sys::socket::MsgFlags::MSG_DONTWAIT.bits();
        self.buffer.clear();
        self.buffer.reserve(room);
        loop {
            self.buffer.clear();
            match self.socket.recv(&mut self.buffer, DONT_WAIT) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            let mut rest = &self.buffer[..];
            while rest.len() >= HEADER {
                let length = u32::from_ne_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
                if length < HEADER || length > rest.len() {
                    break;
                }
                let kind = u16::from_ne_bytes([rest[4], rest[5]]);
                let flags = u16::from_ne_bytes([rest[6], rest[7]]);
                let sequence = u32::from_ne_bytes([rest[8], rest[9], rest[10], rest[11]]);
                if each(kind, sequence, flags, &rest[HEADER..length]) {
                    return Ok(());
                }
                rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            }
        }
    }
}

impl AsFd for Netlink {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

const ENODEV: i32 = nix::errno::Errno::ENODEV as i32;
const ENOENT: i32 = nix::errno::Errno::ENOENT as i32;

/// The text of an extended acknowledgement.
fn extended(flags: u16, body: &[u8]) -> Option<String> {
    if flags & NLM_F_ACK_TLVS == 0 {
        return None;
    }
    let mut start = 4 + HEADER;
    if flags & NLM_F_CAPPED == 0 {
        let original = u32::from_ne_bytes(body.get(4..8)?.try_into().ok()?) as usize;
        start = 4 + original.next_multiple_of(4);
    }
    let mut rest = body.get(start..)?;
    while rest.len() >= 4 {
        let length = usize::from(u16::from_ne_bytes([rest[0], rest[1]]));
        let kind = u16::from_ne_bytes([rest[2], rest[3]]) & 0x3fff;
        let value = rest.get(4..length)?;
        if kind == NLMSGERR_ATTR_MSG {
            return Some(String::from_utf8_lossy(value).trim_end_matches('\0').to_owned());
        }
        rest = rest.get(length.next_multiple_of(4)..)?;
    }
    None
}
