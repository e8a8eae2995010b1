//! Binding.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::{AsRawFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockProtocol, SockType, SockaddrStorage, bind, getsockname, listen, setsockopt,
    socket, sockopt,
};

use super::{Holder, PortConflict, Reservation, Socket};
use crate::network::spec::{PortSpec, Protocol, PublishedPort};
use crate::sys::fault;

/// How often another free port is taken when IPv4 and IPv6 do not agree on one.
const EPHEMERAL_ATTEMPTS: usize = 32;

/// Binds all ports or none. Each specification gives one reservation, or two (IPv4 and IPv6) without a host address.
///
/// # Errors
/// The first port that cannot be had, with who holds it.
pub fn reserve(specs: &[PortSpec]) -> Result<Vec<Reservation>, PortConflict> {
    let mut reservations = Vec::with_capacity(specs.len());
    // Fixed ports first, so that a range or a free port does not take what another one insists on.
    let freedom =
        |spec: &PortSpec| spec.published.map_or(u32::MAX, |(first, last)| u32::from(last.saturating_sub(first)));
    let mut order: Vec<usize> = (0..specs.len()).collect();
    order.sort_by_key(|&index| freedom(&specs[index]));
    for index in order {
        for reservation in reserve_one(&specs[index])? {
            reservations.push((index, reservation));
        }
    }
    reservations.sort_by_key(|(index, _)| *index);
    Ok(reservations.into_iter().map(|(_, reservation)| reservation).collect())
}

fn reserve_one(spec: &PortSpec) -> Result<Vec<Reservation>, PortConflict> {
    let addresses = match spec.host_ip {
        Some(address) => vec![address],
        None => vec![IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)],
    };
    let conflict = |ports, error: io::Error, address: Option<IpAddr>| PortConflict {
        address: spec.host_ip,
        ports,
        protocol: spec.protocol,
        holder: match ports {
            (first, last) if first == last && error.kind() == io::ErrorKind::AddrInUse => {
                Holder::find(spec.protocol, address.unwrap_or(addresses[0]), first)
            }
            _ => None,
        },
        error: explain(&error, spec.host_ip),
    };
    let Some((first, last)) = spec.published.filter(|range| *range != (0, 0)) else {
        let mut error = None;
        for _ in 0..EPHEMERAL_ATTEMPTS {
            match bind_all(spec, &addresses, 0) {
                Ok(bound) => return Ok(bound),
                Err((failed, address)) => error = Some((failed, address)),
            }
        }
        let (error, address) = error.unwrap_or_else(|| (Errno::EADDRINUSE.into(), addresses[0]));
        return Err(conflict((0, 0), error, Some(address)));
    };
    let mut error = None;
    for port in first..=last.max(first) {
        match bind_all(spec, &addresses, port) {
            Ok(bound) => return Ok(bound),
            // Another port of the range would not help against anything else.
            Err((failed, address)) if failed.kind() != io::ErrorKind::AddrInUse => {
                return Err(conflict((port, port), failed, Some(address)));
            }
            Err(failed) => error = Some(failed),
        }
    }
    let (error, address) = error.unwrap_or_else(|| (Errno::EADDRINUSE.into(), addresses[0]));
    Err(conflict((first, last.max(first)), error, Some(address)))
}

fn explain(error: &io::Error, address: Option<IpAddr>) -> String {
    match (error.kind(), address) {
        (io::ErrorKind::AddrNotAvailable, Some(address)) => format!("this host has no address {address}"),
        (io::ErrorKind::AddrInUse, _) => "it is already in use".to_owned(),
        (io::ErrorKind::PermissionDenied, _) => {
            "it needs root, or a lower net.ipv4.ip_unprivileged_port_start".to_owned()
        }
        _ => error.to_string(),
    }
}

/// Binds one port on all addresses.
fn bind_all(spec: &PortSpec, addresses: &[IpAddr], port: u16) -> Result<Vec<Reservation>, (io::Error, IpAddr)> {
    let mut port = port;
    let mut bound: Vec<Reservation> = Vec::with_capacity(addresses.len());
    for &address in addresses {
        match bind_one(spec.protocol, address, port) {
            Ok((socket, actual)) => {
                port = actual;
                let port =
                    PublishedPort { host_ip: address, published: actual, target: spec.target, protocol: spec.protocol };
                bound.push(Reservation { port, socket });
            }
            // A host without IPv6 publishes on IPv4 alone.
            Err(Errno::EAFNOSUPPORT | Errno::EADDRNOTAVAIL) if spec.host_ip.is_none() && address.is_ipv6() => {}
            // A kernel without SCTP: the firewall alone publishes.
            Err(Errno::EPROTONOSUPPORT | Errno::ESOCKTNOSUPPORT) if spec.protocol == Protocol::Sctp => {
                return Err((io::Error::other("this kernel has no SCTP"), address));
            }
            Err(errno) => return Err((errno.into(), address)),
        }
    }
    Ok(bound)
}

fn bind_one(protocol: Protocol, address: IpAddr, port: u16) -> nix::Result<(Socket, u16)> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let (kind, number) = match protocol {
        Protocol::Tcp => (SockType::Stream, Some(SockProtocol::Tcp)),
        Protocol::Udp => (SockType::Datagram, Some(SockProtocol::Udp)),
        Protocol::Sctp => (SockType::Stream, Some(SockProtocol::Sctp)),
    };
    let fd: OwnedFd = socket(family, kind, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, number)?;
    if address.is_ipv6() {
        setsockopt(&fd, sockopt::Ipv6V6Only, &true)?;
    }
    if protocol != Protocol::Udp {
        // Connections of the previous container that still wait do not block the port.
        setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    }
    if protocol == Protocol::Udp && address.is_unspecified() {
        // Answers must come from the address that was asked.
        if address.is_ipv4() {
            setsockopt(&fd, sockopt::Ipv4PacketInfo, &true)?;
        } else {
            setsockopt(&fd, sockopt::Ipv6RecvPacketInfo, &true)?;
        }
    }
    let bound = || bind(fd.as_raw_fd(), &SockaddrStorage::from(SocketAddr::new(address, port)));
    fault::around("bind a port", bound)?;
    if protocol == Protocol::Tcp {
        listen(&fd, Backlog::MAXALLOWABLE)?;
    }
    let actual = if port != 0 {
        port
    } else {
        let name: SockaddrStorage = getsockname(fd.as_raw_fd())?;
        match (name.as_sockaddr_in(), name.as_sockaddr_in6()) {
            (Some(v4), _) => v4.port(),
            (_, Some(v6)) => v6.port(),
            _ => 0,
        }
    };
    let socket = match protocol {
        Protocol::Tcp => Socket::Tcp(fd.into()),
        Protocol::Udp => Socket::Udp(fd.into()),
        Protocol::Sctp => Socket::Other(fd),
    };
    Ok((socket, actual))
}
