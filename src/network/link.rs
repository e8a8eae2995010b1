//! Requests about links, addresses and routes.

use std::net::IpAddr;
use std::os::fd::{AsRawFd, BorrowedFd};

use ipnetwork::IpNetwork;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressScope};
use netlink_packet_route::link::{
    BridgeStpState, InfoBridge, InfoBridgePort, InfoData, InfoKind, InfoPortData, InfoPortKind, InfoVeth,
    LinkAttribute, LinkFlags, LinkInfo, LinkMessage,
};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteProtocol, RouteScope, RouteType};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

/// An Ethernet address.
pub type Mac = [u8; 6];

/// A request with its additional flags.
pub type Request = (u16, RouteNetlinkMessage);

/// What the alias of a bridge of ours begins with; its project and the network's name follow.
pub const ALIAS: &str = "windlass ";

const CREATE: u16 = NLM_F_CREATE | NLM_F_EXCL;

/// A bridge. Its address is set so that neither the kernel (lowest port) nor udev (persistent policy) changes it.
pub fn create_bridge(name: &str, group: u32, mac: Mac, mtu: u32) -> Request {
    let mut link = LinkMessage::default();
    link.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::Group(group),
        LinkAttribute::Mtu(mtu),
        LinkAttribute::Address(mac.to_vec()),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Bridge),
            LinkInfo::Data(InfoData::Bridge(vec![InfoBridge::StpState(BridgeStpState::Disabled)])),
        ]),
    ];
    (CREATE, RouteNetlinkMessage::NewLink(link))
}

/// The two ends of a cable: `host` as a port of a bridge in this namespace and up, `inside` in another one.
#[derive(Debug)]
pub struct Veth<'a> {
    pub host: &'a str,
    pub host_mac: Mac,
    pub inside: &'a str,
    pub inside_mac: Mac,
    pub namespace: BorrowedFd<'a>,
    pub bridge: Option<u32>,
    pub group: u32,
    pub mtu: u32,
}

pub fn create_veth(veth: &Veth<'_>) -> Request {
    // One queue a direction is what a cable uses anyway; asking for it spares making and removing one for each processor.
    let queues = [LinkAttribute::NumTxQueues(1), LinkAttribute::NumRxQueues(1)];
    let mut peer = LinkMessage::default();
    peer.attributes = vec![
        LinkAttribute::IfName(veth.inside.to_owned()),
        LinkAttribute::Address(veth.inside_mac.to_vec()),
        LinkAttribute::Mtu(veth.mtu),
        LinkAttribute::NetNsFd(veth.namespace.as_raw_fd()),
    ];
    peer.attributes.extend(queues.clone());
    let mut link = LinkMessage::default();
    link.header.flags = LinkFlags::Up;
    link.header.change_mask = LinkFlags::Up;
    link.attributes = vec![
        LinkAttribute::IfName(veth.host.to_owned()),
        LinkAttribute::Address(veth.host_mac.to_vec()),
        LinkAttribute::Mtu(veth.mtu),
        LinkAttribute::Group(veth.group),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::Kind(InfoKind::Veth),
            LinkInfo::Data(InfoData::Veth(InfoVeth::Peer(peer))),
        ]),
    ];
    link.attributes.extend(queues);
    if let Some(bridge) = veth.bridge {
        link.attributes.push(LinkAttribute::Controller(bridge));
    }
    (CREATE, RouteNetlinkMessage::NewLink(link))
}

pub fn set_up(index: u32) -> Request {
    (0, RouteNetlinkMessage::SetLink(raised(index)))
}

fn raised(index: u32) -> LinkMessage {
    let mut link = LinkMessage::default();
    link.header.index = index;
    link.header.flags = LinkFlags::Up;
    link.header.change_mask = LinkFlags::Up;
    link
}

/// Makes a link a port of a bridge, and raises it.
pub fn set_controller(index: u32, bridge: u32) -> Request {
    let mut link = raised(index);
    link.attributes = vec![LinkAttribute::Controller(bridge)];
    (0, RouteNetlinkMessage::SetLink(link))
}

/// Raises a link and says in its alias what it is for; only possible once the link exists.
pub fn set_up_with_alias(name: &str, alias: &str) -> Request {
    let mut link = LinkMessage::default();
    link.header.flags = LinkFlags::Up;
    link.header.change_mask = LinkFlags::Up;
    link.attributes = vec![LinkAttribute::IfName(name.to_owned()), LinkAttribute::IfAlias(alias.to_owned())];
    (0, RouteNetlinkMessage::SetLink(link))
}

/// Ports of a bridge that are isolated do not reach each other, only the bridge.
pub fn isolate_port(name: &str) -> Request {
    let mut link = LinkMessage::default();
    link.attributes = vec![
        LinkAttribute::IfName(name.to_owned()),
        LinkAttribute::LinkInfo(vec![
            LinkInfo::PortKind(InfoPortKind::Bridge),
            LinkInfo::PortData(InfoPortData::BridgePort(vec![InfoBridgePort::Isolated(true)])),
        ]),
    ];
    (0, RouteNetlinkMessage::NewLink(link))
}

pub fn set_group(name: &str, group: u32) -> Request {
    let mut link = LinkMessage::default();
    link.attributes = vec![LinkAttribute::IfName(name.to_owned()), LinkAttribute::Group(group)];
    (0, RouteNetlinkMessage::SetLink(link))
}

/// Removes every link of a group at once: one wait of the kernel instead of one a link.
pub fn delete_group(group: u32) -> Request {
    let mut link = LinkMessage::default();
    link.attributes = vec![LinkAttribute::Group(group)];
    (0, RouteNetlinkMessage::DelLink(link))
}

pub fn get_link(name: &str) -> RouteNetlinkMessage {
    let mut link = LinkMessage::default();
    link.attributes = vec![LinkAttribute::IfName(name.to_owned())];
    RouteNetlinkMessage::GetLink(link)
}

pub fn all_links() -> RouteNetlinkMessage {
    RouteNetlinkMessage::GetLink(LinkMessage::default())
}

pub fn all_addresses() -> RouteNetlinkMessage {
    RouteNetlinkMessage::GetAddress(AddressMessage::default())
}

pub fn all_routes() -> RouteNetlinkMessage {
    RouteNetlinkMessage::GetRoute(RouteMessage::default())
}

fn family(address: IpAddr) -> AddressFamily {
    match address {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

/// An address of a link; it is there when the request returns (IPv6 without duplicate detection: we know what we gave).
pub fn add_address(index: u32, address: IpAddr, prefix: u8) -> Request {
    let mut message = AddressMessage::default();
    message.header.family = family(address);
    message.header.prefix_len = prefix;
    message.header.index = index;
    message.attributes = vec![AddressAttribute::Local(address), AddressAttribute::Address(address)];
    match address {
        IpAddr::V4(v4) => {
            if v4.is_link_local() {
                message.header.scope = AddressScope::Link;
            }
            if let Ok(network) = ipnetwork::Ipv4Network::new(v4, prefix)
                && prefix < 31
            {
                message.attributes.push(AddressAttribute::Broadcast(network.broadcast()));
            }
        }
        IpAddr::V6(v6) => {
            if v6.is_unicast_link_local() {
                message.header.scope = AddressScope::Link;
            }
            message.header.flags = AddressHeaderFlags::Nodad;
            message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
        }
    }
    (NLM_F_CREATE | NLM_F_REPLACE, RouteNetlinkMessage::NewAddress(message))
}

/// The route that comes with an address, as the kernel makes it.
pub fn subnet_route(index: u32, subnet: IpNetwork, source: IpAddr) -> Request {
    let mut message = RouteMessage::default();
    message.header.address_family = family(source);
    message.header.destination_prefix_length = subnet.prefix();
    message.header.table = netlink_packet_route::route::RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Kernel;
    message.header.scope = if source.is_ipv4() { RouteScope::Link } else { RouteScope::Universe };
    message.header.kind = RouteType::Unicast;
    message.attributes =
        vec![RouteAttribute::Destination(RouteAddress::from(subnet.network())), RouteAttribute::Oif(index)];
    if source.is_ipv4() {
        message.attributes.push(RouteAttribute::PrefSource(RouteAddress::from(source)));
    }
    (NLM_F_CREATE | NLM_F_REPLACE, RouteNetlinkMessage::NewRoute(message))
}

/// A default route.
pub fn default_route(index: u32, gateway: IpAddr) -> Request {
    let mut message = RouteMessage::default();
    message.header.address_family = family(gateway);
    message.header.table = netlink_packet_route::route::RouteHeader::RT_TABLE_MAIN;
    message.header.protocol = RouteProtocol::Boot;
    message.header.scope = RouteScope::Universe;
    message.header.kind = RouteType::Unicast;
    message.attributes = vec![RouteAttribute::Oif(index), RouteAttribute::Gateway(RouteAddress::from(gateway))];
    (NLM_F_CREATE | NLM_F_REPLACE, RouteNetlinkMessage::NewRoute(message))
}
