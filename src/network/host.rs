//! What the host's own network looks like, and the switches that have to be set in it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::IpAddr;

use ipnetwork::IpNetwork;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::AddressAttribute;
use netlink_packet_route::link::{LinkAttribute, LinkFlags, LinkMessage};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage};

use super::link;
use super::netlink::Netlink;
use super::netns::write_sysctl;

/// A link of the host.
#[derive(Debug, Clone)]
pub struct HostLink {
    pub index: u32,
    pub name: String,
    pub mtu: u32,
    pub alias: Option<String>,
    pub group: u32,
    pub up: bool,
    /// The bridge that it is a port of.
    pub controller: Option<u32>,
    /// The other end of a cable, in the namespace where that is.
    pub peer: Option<u32>,
    pub addresses: Vec<IpNetwork>,
}

/// Links, addresses and routes of the namespace of a socket.
#[derive(Debug, Default)]
pub struct Host {
    pub links: Vec<HostLink>,
    /// Destinations, without default routes; with the index of the link.
    pub routes: Vec<(IpNetwork, Option<u32>)>,
    /// Of the link of the default route.
    pub mtu: Option<u32>,
}

impl Host {
    /// The links alone, without their addresses.
    ///
    /// # Errors
    /// When the kernel does not answer.
    pub fn links(netlink: &mut Netlink) -> io::Result<Vec<HostLink>> {
        let links = netlink.dump(link::all_links())?.into_iter().filter_map(|message| match message {
            RouteNetlinkMessage::NewLink(message) => Some(host_link(&message)),
            _ => None,
        });
        Ok(links.collect())
    }

    /// # Errors
    /// When the kernel does not answer.
    pub fn read(netlink: &mut Netlink) -> io::Result<Self> {
        let mut host = Self { links: Self::links(netlink)?, ..Self::default() };
        let mut addresses: BTreeMap<u32, Vec<IpNetwork>> = BTreeMap::new();
        for message in netlink.dump(link::all_addresses())? {
            let RouteNetlinkMessage::NewAddress(message) = message else { continue };
            let address = message.attributes.iter().find_map(|attribute| match attribute {
                AddressAttribute::Local(address) => Some(*address),
                _ => None,
            });
            let address = address.or_else(|| {
                message.attributes.iter().find_map(|attribute| match attribute {
                    AddressAttribute::Address(address) => Some(*address),
                    _ => None,
                })
            });
            if let Some(Ok(network)) = address.map(|address| IpNetwork::new(address, message.header.prefix_len)) {
                addresses.entry(message.header.index).or_default().push(network);
            }
        }
        for link in &mut host.links {
            link.addresses = addresses.remove(&link.index).unwrap_or_default();
        }
        let mut default_links = Vec::new();
        for message in netlink.dump(link::all_routes())? {
            let RouteNetlinkMessage::NewRoute(message) = message else { continue };
            let oif = message.attributes.iter().find_map(|attribute| match attribute {
                RouteAttribute::Oif(index) => Some(*index),
                _ => None,
            });
            match destination(&message) {
                Some(network) => host.routes.push((network, oif)),
                None if message.header.destination_prefix_length == 0 => default_links.extend(oif),
                None => {}
            }
        }
        host.mtu = default_links.iter().filter_map(|index| host.link(*index)).map(|link| link.mtu).min();
        Ok(host)
    }

    #[must_use]
    pub fn link(&self, index: u32) -> Option<&HostLink> {
        self.links.iter().find(|link| link.index == index)
    }

    #[must_use]
    pub fn has_route(&self, network: IpNetwork, index: u32) -> bool {
        let same = |other: &IpNetwork| other.network() == network.network() && other.prefix() == network.prefix();
        self.routes.iter().any(|(other, oif)| same(other) && *oif == Some(index))
    }

    #[must_use]
    pub fn link_named(&self, name: &str) -> Option<&HostLink> {
        self.links.iter().find(|link| link.name == name)
    }
}

fn host_link(message: &LinkMessage) -> HostLink {
    let mut link = HostLink {
        index: message.header.index,
        name: String::new(),
        mtu: 1500,
        alias: None,
        group: 0,
        up: message.header.flags.contains(LinkFlags::Up),
        controller: None,
        peer: None,
        addresses: Vec::new(),
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::IfAlias(alias) => link.alias = Some(alias.clone()),
            LinkAttribute::Group(group) => link.group = *group,
            LinkAttribute::Controller(index) => link.controller = Some(*index).filter(|index| *index != 0),
            LinkAttribute::Link(index) => link.peer = Some(*index),
            _ => {}
        }
    }
    link
}

fn destination(message: &RouteMessage) -> Option<IpNetwork> {
    let address = message.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(v4)) => Some(IpAddr::V4(*v4)),
        RouteAttribute::Destination(RouteAddress::Inet6(v6)) => Some(IpAddr::V6(*v6)),
        _ => None,
    })?;
    IpNetwork::new(address, message.header.destination_prefix_length).ok()
}

/// The index of a link, or `None`.
///
/// # Errors
/// When the kernel does not answer; that there is no such link is no error.
pub fn index_of(netlink: &mut Netlink, name: &str) -> io::Result<Option<u32>> {
    Ok(match netlink.get(link::get_link(name))? {
        Some(RouteNetlinkMessage::NewLink(message)) => Some(message.header.index),
        _ => None,
    })
}

/// Whether the host forwards packets of these versions of IP, where it has them.
pub fn is_forwarding(ipv4: bool, ipv6: bool) -> bool {
    let off = |file: &str| read_sysctl(file).as_deref() == Some("0");
    !(ipv4 && off("net/ipv4/ip_forward") || ipv6 && off("net/ipv6/conf/all/forwarding"))
}

/// Lets the host forward packets. Stays on, as with every other container engine: others may rely on it by then.
///
/// # Errors
/// When `/proc/sys` cannot be written.
pub fn enable_forwarding(ipv4: bool, ipv6: bool) -> io::Result<()> {
    if ipv4 && read_sysctl("net/ipv4/ip_forward").as_deref() == Some("0") {
        write_sysctl("net/ipv4/ip_forward", "1")?;
    }
    if ipv6 && read_sysctl("net/ipv6/conf/all/forwarding").as_deref() == Some("0") {
        keep_router_advertisements();
        write_sysctl("net/ipv6/conf/all/forwarding", "1")?;
    }
    Ok(())
}

/// A host that forwards ignores router advertisements, and so would lose its own default route, unless told otherwise.
fn keep_router_advertisements() {
    let Ok(interfaces) = fs::read_dir("/proc/sys/net/ipv6/conf") else { return };
    for interface in interfaces.flatten() {
        let name = interface.file_name().to_string_lossy().into_owned();
        let file = format!("net/ipv6/conf/{name}/accept_ra");
        if name != "all" && read_sysctl(&file).as_deref() == Some("1") {
            // A link that has just gone is no fault.
            let _ = write_sysctl(&file, "2");
        }
    }
}

/// What a bridge of ours needs.
///
/// # Errors
/// When `/proc/sys` cannot be written; a file that the kernel does not have is no error.
pub fn prepare_bridge(bridge: &str, ipv6: bool) -> io::Result<()> {
    let ipv6_conf = |key: &str| format!("net/ipv6/conf/{bridge}/{key}");
    if ipv6 {
        write_sysctl(&ipv6_conf("accept_ra"), "0")?;
        write_sysctl(&ipv6_conf("accept_dad"), "0")?;
    } else {
        write_sysctl(&ipv6_conf("disable_ipv6"), "1")?;
    }
    // Strict reverse path filtering drops answers of a container with two networks.
    let strict = |interface: &str| read_sysctl(&format!("net/ipv4/conf/{interface}/rp_filter")).as_deref() == Some("1");
    if strict(bridge) || strict("all") {
        write_sysctl(&format!("net/ipv4/conf/{bridge}/rp_filter"), "2")?;
    }
    Ok(())
}

fn read_sysctl(name: &str) -> Option<String> {
    fs::read_to_string(format!("/proc/sys/{name}")).ok().map(|text| text.trim().to_owned())
}

/// Addresses of the host's name servers.
pub fn resolvers() -> Vec<IpAddr> {
    let text = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    super::resolv_conf::ResolvConf::parse(&text).servers
}
