//! Published ports: really bound before anything starts, so that a conflict is found first.

mod holder;
mod proxy;
mod reserve;
mod tcp;
mod udp;

use std::net::{IpAddr, SocketAddr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::spec::{Protocol, PublishedPort};

pub use holder::{Holder, listens};
pub use proxy::Proxy;
pub use reserve::reserve;

/// A port that cannot be had.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("port {}/{protocol} {}", wanted(*.address, *.ports), reason(.holder.as_ref(), .error))]
pub struct PortConflict {
    pub address: Option<IpAddr>,
    /// First and last port that were tried.
    pub ports: (u16, u16),
    pub protocol: Protocol,
    /// Who has it, when it is one port and its holder could be found.
    pub holder: Option<Holder>,
    /// What the kernel said.
    pub error: String,
}

impl PortConflict {
    /// `port 127.0.0.1:8080/tcp`
    #[must_use]
    pub fn port(&self) -> String {
        format!("port {}/{}", wanted(self.address, self.ports), self.protocol)
    }
}

fn wanted(address: Option<IpAddr>, (first, last): (u16, u16)) -> String {
    let ports = if first == last { first.to_string() } else { format!("{first}-{last}") };
    match address {
        None => ports,
        Some(IpAddr::V4(v4)) => format!("{v4}:{ports}"),
        Some(IpAddr::V6(v6)) => format!("[{v6}]:{ports}"),
    }
}

fn reason(holder: Option<&Holder>, error: &str) -> String {
    match holder {
        Some(holder) => format!("is already used by {holder}"),
        None => format!("cannot be published: {error}"),
    }
}

/// A bound socket.
#[derive(Debug)]
pub enum Socket {
    Tcp(TcpListener),
    Udp(UdpSocket),
    /// Bound, but never read: packets are redirected by the firewall alone.
    Other(OwnedFd),
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) => socket.as_fd(),
            Self::Udp(socket) => socket.as_fd(),
            Self::Other(socket) => socket.as_fd(),
        }
    }
}

/// A port that is bound on one address for as long as this lives. Non-blocking and listening.
#[derive(Debug)]
pub struct Reservation {
    pub port: PublishedPort,
    pub socket: Socket,
}

impl Reservation {
    /// For keeping the descriptor somewhere else: a name that says everything about it.
    #[must_use]
    pub fn key(&self) -> String {
        let PublishedPort { host_ip, published, target, protocol } = &self.port;
        format!("{}>{target}/{protocol}", SocketAddr::new(*host_ip, *published))
    }

    /// The reverse of [`Reservation::key`]. `None` when the key is not one.
    #[must_use]
    pub fn from_key(key: &str, socket: OwnedFd) -> Option<Self> {
        let (host, rest) = key.split_once('>')?;
        let host: SocketAddr = host.parse().ok()?;
        let (target, protocol) = rest.split_once('/')?;
        let protocol = match protocol {
            "tcp" => Protocol::Tcp,
            "udp" => Protocol::Udp,
            "sctp" => Protocol::Sctp,
            _ => return None,
        };
        let port = PublishedPort { host_ip: host.ip(), published: host.port(), target: target.parse().ok()?, protocol };
        let socket = match protocol {
            Protocol::Tcp => Socket::Tcp(socket.into()),
            Protocol::Udp => Socket::Udp(socket.into()),
            Protocol::Sctp => Socket::Other(socket),
        };
        Some(Self { port, socket })
    }
}

#[cfg(test)]
mod tests;
