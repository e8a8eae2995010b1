//! The kernel's own news of links, addresses, routes, switches and rules.

use std::io;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::lease::NetworkLease;
use super::names;
use super::netlink::Netlink;
use crate::sys::readiness;

/// RTNLGRP_LINK, IPV4_IFADDR, IPV4_ROUTE, IPV6_IFADDR, IPV6_ROUTE, IPV4_NETCONF, IPV6_NETCONF
const LINKS: [u32; 7] = [1, 5, 7, 9, 11, 24, 25];

/// NFNLGRP_NFTABLES
const RULES: [u32; 1] = [7];

/// Tells when something may have been changed that networks of a project need.
#[derive(Debug)]
pub struct Changes {
    links: Source,
    rules: Source,
}

/// A socket, and the same one in the event loop.
#[derive(Debug)]
struct Source {
    netlink: Netlink,
    ready: AsyncFd<OwnedFd>,
}

impl Source {
    fn new(netlink: Netlink) -> io::Result<Self> {
        let ready = readiness::register(netlink.as_fd().try_clone_to_owned()?, Interest::READABLE)?;
        Ok(Self { netlink, ready })
    }
}

impl Changes {
    /// Of the namespace of the calling thread.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn listen() -> io::Result<Self> {
        Ok(Self {
            links: Source::new(Netlink::listen_to_links(&LINKS)?)?,
            rules: Source::new(Netlink::listen_to_rules(&RULES)?)?,
        })
    }

    /// Returns when something was told.
    ///
    /// # Errors
    /// When the event loop ends.
    pub async fn told(&mut self) -> io::Result<()> {
        tokio::select! {
            ready = self.links.ready.readable() => ready?.clear_ready(),
            ready = self.rules.ready.readable() => ready?.clear_ready(),
        }
        Ok(())
    }

    /// Takes in all that was told; whether any of it is about these networks. To have missed something is as good as
    /// that.
    pub fn take(&mut self, project_id: &str, networks: &[NetworkLease]) -> bool {
        let (prefix, table) = (names::prefix(project_id), names::table(project_id));
        let links = self.links.netlink.told(|kind, body| is_about(kind, body, &prefix, networks));
        let rules = self.rules.netlink.told(|kind, body| concerns_rules(kind, body, &table));
        links | rules
    }
}

/// RTM_NEWLINK, RTM_DELLINK
const LINK: [u16; 2] = [16, 17];
/// RTM_DELADDR
const DELETED_ADDRESS: u16 = 21;
/// RTM_DELROUTE
const DELETED_ROUTE: u16 = 25;
/// RTM_NEWNETCONF
const SWITCH: u16 = 80;

fn is_about(kind: u16, body: &[u8], prefix: &str, networks: &[NetworkLease]) -> bool {
    let address = |bytes: &[u8]| match bytes.len() {
        4 => <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from),
        16 => <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from),
        _ => None,
    };
    match kind {
        _ if LINK.contains(&kind) => attribute(body, 16, 3).is_some_and(|name| {
            let name = String::from_utf8_lossy(name);
            let name = name.trim_end_matches('\0');
            name.starts_with(prefix) || networks.iter().any(|lease| lease.bridge == name)
        }),
        DELETED_ADDRESS => attribute(body, 8, 1).and_then(address).is_some_and(|address| {
            networks.iter().any(|lease| lease.subnets.iter().any(|subnet| subnet.gateway == address))
        }),
        DELETED_ROUTE => attribute(body, 12, 1).and_then(address).is_some_and(|address| {
            networks.iter().any(|lease| lease.subnets.iter().any(|subnet| subnet.subnet.network() == address))
        }),
        // Of all interfaces, not of one that comes or goes.
        SWITCH => attribute(body, 4, 1).is_some_and(|index| index == (-1_i32).to_ne_bytes()),
        _ => false,
    }
}

fn concerns_rules(kind: u16, body: &[u8], own: &str) -> bool {
    const NEW_CHAIN: u16 = 3;
    const DELETED: [u16; 3] = [2, 5, 8];
    let Some(table) = attribute(body, 4, 1) else { return false };
    let table = table.strip_suffix(&[0]).unwrap_or(table);
    let what = kind & 0xff;
    // Others' filters: what they let through of ours is gone with a reload, and a new one is to be asked.
    let foreign = (table == b"filter" || table == b"firewalld") && (DELETED.contains(&what) || what == NEW_CHAIN);
    foreign || table == own.as_bytes()
}

/// The value of an attribute behind a header.
fn attribute(body: &[u8], header: usize, wanted: u16) -> Option<&[u8]> {
    let mut rest = body.get(header..)?;
    while rest.len() >= 4 {
        let length = usize::from(u16::from_ne_bytes([rest[0], rest[1]]));
        let kind = u16::from_ne_bytes([rest[2], rest[3]]) & 0x3fff;
        let value = rest.get(4..length)?;
        if kind == wanted {
            return Some(value);
        }
        rest = rest.get(length.next_multiple_of(4)..)?;
    }
    None
}
