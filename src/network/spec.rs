//! What a network, an endpoint and a published port are to be.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

/// A bridge network. Its kernel names are derived from the project id and `name`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NetworkSpec {
    /// Full name (`<project>_<key>` unless the file names it).
    pub name: String,
    /// The key in the file.
    pub key: String,
    pub driver: String,
    pub driver_opts: BTreeMap<String, String>,
    /// No route to the outside.
    pub internal: bool,
    pub enable_ipv4: bool,
    pub enable_ipv6: bool,
    /// Empty: the next free subnet of the default pools.
    pub ipam: Vec<IpamConfig>,
    pub labels: BTreeMap<String, String>,
    /// Made by somebody else: never created, never removed.
    pub external: bool,
}

impl NetworkSpec {
    /// One about which nobody says anything.
    #[must_use]
    pub fn plain(name: String, key: &str) -> Self {
        Self {
            name,
            key: key.to_owned(),
            driver: "bridge".to_owned(),
            driver_opts: BTreeMap::new(),
            internal: false,
            enable_ipv4: true,
            enable_ipv6: false,
            ipam: vec![],
            labels: BTreeMap::new(),
            external: false,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IpamConfig {
    pub subnet: Option<IpNetwork>,
    /// Addresses are given out of this part of the subnet.
    pub ip_range: Option<IpNetwork>,
    pub gateway: Option<IpAddr>,
    /// Addresses that are never given out.
    pub aux_addresses: BTreeMap<String, IpAddr>,
}

/// A container's place in a network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EndpointSpec {
    /// [`NetworkSpec::name`].
    pub network: String,
    /// Names that resolve to this endpoint: container name, service name, the user's aliases, short id.
    pub aliases: Vec<String>,
    pub ipv4: Option<Ipv4Addr>,
    pub ipv6: Option<Ipv6Addr>,
    pub link_local: Vec<IpAddr>,
    /// `02:42:…`; derived from the address when absent.
    pub mac: Option<String>,
    /// Name of the interface in the container; `eth0`, `eth1` … in the order of the endpoints when absent.
    pub interface: Option<String>,
    /// The endpoint with the highest value has the default route; ties go by network name.
    pub gateway_priority: i64,
    pub driver_opts: BTreeMap<String, String>,
    /// Names that this container alone knows others by: the alias, and what it stands for.
    #[serde(default)]
    pub links: Vec<(String, String)>,
}

impl EndpointSpec {
    /// One without names, and with whatever address is free.
    #[must_use]
    pub fn plain(network: String) -> Self {
        Self {
            network,
            aliases: vec![],
            ipv4: None,
            ipv6: None,
            link_local: vec![],
            mac: None,
            interface: None,
            gateway_priority: 0,
            driver_opts: BTreeMap::new(),
            links: vec![],
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    Tcp,
    Udp,
    Sctp,
}

impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Sctp => "sctp",
        })
    }
}

/// A port of a container that the host answers on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortSpec {
    /// `None` is every address of the host, IPv4 and IPv6.
    pub host_ip: Option<IpAddr>,
    /// First and last port to try; `None` is any free port.
    pub published: Option<(u16, u16)>,
    pub target: u16,
    pub protocol: Protocol,
}

/// A port that is really bound.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedPort {
    pub host_ip: IpAddr,
    pub published: u16,
    pub target: u16,
    pub protocol: Protocol,
}

/// An endpoint as it was attached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndpointState {
    pub network: String,
    pub interface: String,
    pub ipv4: Option<IpAddr>,
    pub ipv6: Option<IpAddr>,
    pub mac: String,
}
