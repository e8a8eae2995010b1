//! Requests about links, addresses and routes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, BorrowedFd};

use ipnetwork::IpNetwork;
use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage, AddressScope};
use netlink_packet_route::link::{BridgeStpState, InfoData, InfoPortKind, InfoVeth, LinkAttribute, LinkMessage};
use netlink_packet_route::route::{RouteMessage, RouteProtocol, RouteScope};
use rtnetlink::{
    AddressMessageBuilder, LinkBridge, LinkBridgePort, LinkMessageBuilder, LinkUnspec, LinkVeth, RouteMessageBuilder,
};

/// An Ethernet address.
pub type Mac = [u8; 6];

/// A request with its additional flags.
pub type Request = (u16, RouteNetlinkMessage);

/// What the alias of a bridge of ours begins with; its project and the network's name follow.
pub const ALIAS: &str = "windlass ";

const CREATE: u16 = NLM_F_CREATE | NLM_F_EXCL;

/// A bridge. Its address is set so that neither the kernel (lowest port) nor udev (persistent policy) changes it.
pub fn create_bridge(name: &str, group: u32, mac: Mac, mtu: u32) -> Request {
    let link = LinkMessageBuilder::<LinkBridge>::new(name).link_group(group).mtu(mtu).address(mac.to_vec());
    (CREATE, RouteNetlinkMessage::NewLink(link.stp_state(BridgeStpState::Disabled).build()))
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
    let peer = LinkUnspec::new_with_name(veth.inside)
        .address(veth.inside_mac.to_vec())
        .mtu(veth.mtu)
        .setns_by_fd(veth.namespace.as_raw_fd());
    let mut link = LinkVeth::new(veth.host, veth.inside)
        .address(veth.host_mac.to_vec())
        .mtu(veth.mtu)
        .link_group(veth.group)
        .set_info_data(InfoData::Veth(InfoVeth::Peer(with_one_queue(peer).build())))
        .up();
    if let Some(bridge) = veth.bridge {
        link = link.controller(bridge);
    }
    (CREATE, RouteNetlinkMessage::NewLink(with_one_queue(link).build()))
}

/// One queue a direction is what a cable uses anyway; asking for it spares making and removing one for each processor.
fn with_one_queue<T>(link: LinkMessageBuilder<T>) -> LinkMessageBuilder<T> {
    let queues = [LinkAttribute::NumTxQueues(1), LinkAttribute::NumRxQueues(1)];
    queues.into_iter().fold(link, LinkMessageBuilder::append_extra_attribute)
}

pub fn set_up(index: u32) -> Request {
    (0, RouteNetlinkMessage::SetLink(LinkUnspec::new_with_index(index).up().build()))
}

/// Makes a link a port of a bridge, and raises it.
pub fn set_controller(index: u32, bridge: u32) -> Request {
    (0, RouteNetlinkMessage::SetLink(LinkUnspec::new_with_index(index).up().controller(bridge).build()))
}

/// Raises a link and says in its alias what it is for; only possible once the link exists.
pub fn set_up_with_alias(name: &str, alias: &str) -> Request {
    (0, RouteNetlinkMessage::SetLink(LinkUnspec::new_with_name(name).up().alias(alias).build()))
}

/// Ports of a bridge that are isolated do not reach each other, only the bridge.
pub fn isolate_port(name: &str) -> Request {
    let port = LinkMessageBuilder::<LinkBridgePort>::default().name(name).set_port_kind(InfoPortKind::Bridge);
    (0, RouteNetlinkMessage::NewLink(port.isolated(true).build()))
}

pub fn set_group(name: &str, group: u32) -> Request {
    (0, RouteNetlinkMessage::SetLink(LinkUnspec::new_with_name(name).link_group(group).build()))
}

/// Removes every link of a group at once: one wait of the kernel instead of one a link.
pub fn delete_group(group: u32) -> Request {
    (0, RouteNetlinkMessage::DelLink(LinkMessageBuilder::<LinkUnspec>::new().link_group(group).build()))
}

pub fn get_link(name: &str) -> RouteNetlinkMessage {
    RouteNetlinkMessage::GetLink(LinkUnspec::new_with_name(name).build())
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

/// An address of a link; it is there when the request returns (IPv6 without duplicate detection: we know what we gave).
pub fn add_address(index: u32, address: IpAddr, prefix: u8) -> Request {
    let message = match address {
        IpAddr::V4(v4) => {
            let mut message = AddressMessageBuilder::<Ipv4Addr>::new().index(index).address(v4, prefix).build();
            if v4.is_link_local() {
                message.header.scope = AddressScope::Link;
            }
            message
        }
        IpAddr::V6(v6) => {
            let mut message = AddressMessageBuilder::<Ipv6Addr>::new().index(index).address(v6, prefix).build();
            if v6.is_unicast_link_local() {
                message.header.scope = AddressScope::Link;
            }
            message.header.flags = AddressHeaderFlags::Nodad;
            message.attributes.push(AddressAttribute::Flags(AddressFlags::Nodad));
            message
        }
    };
    (NLM_F_CREATE | NLM_F_REPLACE, RouteNetlinkMessage::NewAddress(message))
}

/// The route that comes with an address, as the kernel makes it.
pub fn subnet_route(index: u32, subnet: IpNetwork, source: IpAddr) -> Request {
    let message = match subnet {
        IpNetwork::V4(subnet) => {
            let route = RouteMessageBuilder::<Ipv4Addr>::new()
                .protocol(RouteProtocol::Kernel)
                .scope(RouteScope::Link)
                .destination_prefix(subnet.network(), subnet.prefix())
                .output_interface(index);
            match source {
                IpAddr::V4(source) => route.pref_source(source).build(),
                IpAddr::V6(_) => route.build(),
            }
        }
        IpNetwork::V6(subnet) => RouteMessageBuilder::<Ipv6Addr>::new()
            .protocol(RouteProtocol::Kernel)
            .destination_prefix(subnet.network(), subnet.prefix())
            .output_interface(index)
            .build(),
    };
    (NLM_F_CREATE | NLM_F_REPLACE, RouteNetlinkMessage::NewRoute(message))
}

/// A default route.
pub fn default_route(index: u32, gateway: IpAddr) -> Request {
    let message = match gateway {
        IpAddr::V4(v4) => RouteMessageBuilder::<Ipv4Addr>::new()
            .protocol(RouteProtocol::Boot)
            .output_interface(index)
            .gateway(v4)
            .build(),
        IpAddr::V6(v6) => RouteMessageBuilder::<Ipv6Addr>::new()
            .protocol(RouteProtocol::Boot)
            .output_interface(index)
            .gateway(v6)
            .build(),
    };
    (NLM_F_CREATE | NLM_F_REPLACE, RouteNetlinkMessage::NewRoute(message))
}
