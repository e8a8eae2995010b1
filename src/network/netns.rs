//! Network namespaces without a fork: a short-lived thread leaves ours, prepares the new one and hands out
//! descriptors. Sockets stay in the namespace in which they were opened, whoever uses them.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::sched::{CloneFlags, setns, unshare};

use super::firewall;
use super::link;
use super::netlink::Netlink;
use crate::sys::fault;

/// Where containers expect their name server.
pub const RESOLVER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);

const PORT: u16 = 53;

/// The loopback device is the first of every namespace.
const LOOPBACK: u32 = 1;

/// How the name server of a namespace is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Resolver {
    /// No name server: `network_mode: none`.
    Absent,
    /// Sockets bound to 127.0.0.11:53. A program in the container cannot bind port 53 of all addresses then.
    #[default]
    Direct,
    /// Sockets bound to other ports, to which packet filter rules in the namespace lead: for containers that are name
    /// servers themselves. Costs about half a millisecond more.
    Redirected,
}

impl Resolver {
    /// What suits a container that listens on these ports (published and exposed ones).
    #[must_use]
    pub fn for_ports(ports: impl IntoIterator<Item = u16>) -> Self {
        if ports.into_iter().any(|port| port == PORT) { Self::Redirected } else { Self::Direct }
    }
}

/// What a new namespace shall be.
#[derive(Debug, Clone, Copy, Default)]
pub struct Wish {
    pub resolver: Resolver,
    /// IPv6 on the interfaces that come later; the loopback device always has it when the kernel does.
    pub ipv6: bool,
}

/// A namespace with its loopback device up.
#[derive(Debug)]
pub struct Namespace {
    pub fd: OwnedFd,
    /// Sockets of the name server.
    pub resolver: Option<ResolverSockets>,
    /// A netlink socket inside.
    pub(super) netlink: Netlink,
}

/// Non-blocking sockets at 127.0.0.11:53 of a namespace.
#[derive(Debug)]
pub struct ResolverSockets {
    pub udp: UdpSocket,
    pub tcp: TcpListener,
}

/// Makes a namespace.
///
/// # Errors
/// When the kernel refuses the namespace, a setting of it, or the sockets of its name server.
pub fn create(wish: &Wish) -> io::Result<Namespace> {
    elsewhere(|| create_here(wish))
}

/// Moves the calling thread into a new namespace. Only for threads of [`elsewhere`].
pub(super) fn create_here(wish: &Wish) -> io::Result<Namespace> {
    fault::around("make a network namespace", || unshare(CloneFlags::CLONE_NEWNET))?;
    let fd = File::open("/proc/thread-self/ns/net")?.into();
    let mut netlink = Netlink::route()?;
    if let Some(failure) = netlink.batch([link::set_up(LOOPBACK)])?.pop() {
        return Err(failure.into());
    }
    // As Docker: no privilege needed for low ports and for ping, in a namespace where nobody else is disturbed.
    // Files that a kernel does not have are no fault.
    write_sysctl("net/ipv4/ip_unprivileged_port_start", "0")?;
    write_sysctl("net/ipv4/ping_group_range", "0 2147483647")?;
    if !wish.ipv6 {
        write_sysctl("net/ipv6/conf/default/disable_ipv6", "1")?;
    }
    let resolver = resolver_here(wish.resolver, true)?;
    Ok(Namespace { fd, resolver, netlink })
}

fn resolver_here(resolver: Resolver, fresh: bool) -> io::Result<Option<ResolverSockets>> {
    Ok(match resolver {
        Resolver::Absent => None,
        Resolver::Direct => Some(ResolverSockets::bind(PORT)?),
        Resolver::Redirected => {
            let sockets = ResolverSockets::bind(0)?;
            firewall::redirect_resolver(sockets.udp.local_addr()?, sockets.tcp.local_addr()?, fresh)?;
            Some(sockets)
        }
    })
}

/// Writes a file of `/proc/sys`, of the namespace of the calling thread. `false`: there is no such file.
///
/// # Errors
/// When the file is there and cannot be written.
pub fn write_sysctl(name: &str, value: &str) -> io::Result<bool> {
    match fs::write(format!("/proc/sys/{name}"), value) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(io::Error::new(error.kind(), format!("cannot write /proc/sys/{name}: {error}"))),
    }
}

/// Runs something in a namespace, in a thread that ends with it.
///
/// # Errors
/// When the namespace cannot be entered, or that of `work`.
pub fn inside<T: Send>(namespace: BorrowedFd<'_>, work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    elsewhere(|| {
        setns(namespace, CloneFlags::CLONE_NEWNET)?;
        work()
    })
}

/// The namespace of the calling thread.
///
/// # Errors
/// When `/proc` cannot be read or no descriptor is left.
pub fn current() -> io::Result<OwnedFd> {
    Ok(File::open("/proc/thread-self/ns/net")?.into())
}

impl ResolverSockets {
    /// In the namespace of the calling thread.
    fn bind(port: u16) -> io::Result<Self> {
        let udp = fault::around("bind the name server", || UdpSocket::bind((RESOLVER, port)))?;
        let tcp = TcpListener::bind((RESOLVER, port))?;
        udp.set_nonblocking(true)?;
        tcp.set_nonblocking(true)?;
        Ok(Self { udp, tcp })
    }
}

/// The sockets of the name server, for a namespace that has lost them.
///
/// # Errors
/// When the namespace cannot be entered, or a port in it not be bound or redirected.
pub fn bind_resolver(namespace: &impl AsFd, resolver: Resolver) -> io::Result<Option<ResolverSockets>> {
    inside(namespace.as_fd(), || resolver_here(resolver, false))
}

/// Runs something in a thread that ends with it, so that it may leave the namespace of everybody else.
pub(super) fn elsewhere<T: Send>(work: impl FnOnce() -> io::Result<T> + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread =
            std::thread::Builder::new().name("netns".into()).stack_size(256 * 1024).spawn_scoped(scope, work)?;
        thread.join().unwrap_or_else(|_| Err(io::Error::other("a thread panicked")))
    })
}
