//! Which network has which subnet, and which container which address.

mod rebuild;
mod store;

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnetwork::IpNetwork;
use serde::{Deserialize, Serialize};

use crate::network::error::{NetworkError, Result};
use crate::network::ipam;
use crate::network::spec::EndpointSpec;
use crate::state::record::Record;

pub use store::{Leases, discard, read};

/// A network that exists, or existed before the machine was restarted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NetworkLease {
    pub project: String,
    pub project_id: String,
    pub name: String,
    /// Names the file of the lease too.
    pub bridge: String,
    pub internal: bool,
    pub mtu: u32,
    /// Outbound traffic gets the host's address.
    pub masquerade: bool,
    /// Containers of the network reach each other.
    pub inter_container: bool,
    /// `eth`, unless a driver option says otherwise.
    pub interface_prefix: String,
    /// Default of `host_ip` of published ports.
    pub host_binding: Option<IpAddr>,
    /// Of a network that no file declares; those of the others are in the project's record.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// At most one of each family.
    pub subnets: Vec<Subnet>,
    /// By container id.
    pub endpoints: BTreeMap<String, EndpointLease>,
    /// By project id: addresses that its file gives to services of its own, whether or not they run. Nobody gets one
    /// of them without asking for it.
    #[serde(default)]
    pub claims: BTreeMap<String, Vec<IpAddr>>,
    /// What containers that do not run had: they get it again when nobody else has asked for it meanwhile.
    #[serde(default)]
    pub former: Vec<FormerEndpoint>,
}

impl Record for NetworkLease {
    const VERSION: u32 = 1;
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Subnet {
    pub subnet: IpNetwork,
    pub range: Option<IpNetwork>,
    /// The bridge's own address.
    pub gateway: IpAddr,
    /// Never given out.
    pub reserved: Vec<IpAddr>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EndpointLease {
    pub project_id: String,
    /// The container's name: one that is made anew has it too.
    #[serde(default)]
    pub container: String,
    /// Names under which others find it.
    pub names: Vec<String>,
    pub ipv4: Option<Ipv4Addr>,
    pub ipv6: Option<Ipv6Addr>,
}

impl EndpointLease {
    fn has(&self, address: IpAddr) -> bool {
        self.addresses().any(|own| own == address)
    }

    fn addresses(&self) -> impl Iterator<Item = IpAddr> + use<> {
        self.ipv4.map(IpAddr::V4).into_iter().chain(self.ipv6.map(IpAddr::V6))
    }

    /// In words for people.
    pub fn holder<'a>(&'a self, id: &'a str) -> &'a str {
        if self.container.is_empty() { self.names.first().map_or(id, String::as_str) } else { &self.container }
    }
}

/// The addresses of a container that does not run, or that is just made anew.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FormerEndpoint {
    pub project_id: String,
    pub container: String,
    pub addresses: Vec<IpAddr>,
}

impl FormerEndpoint {
    fn is_of(&self, project_id: &str, container: &str) -> bool {
        self.project_id == project_id && self.container == container
    }
}

/// Who asks for addresses.
#[derive(Debug, Clone, Copy)]
pub struct Asking<'a> {
    pub project_id: &'a str,
    pub id: &'a str,
    /// Empty for a container that nobody makes anew.
    pub name: &'a str,
}

impl NetworkLease {
    /// Whether no project owns it.
    #[must_use]
    pub fn is_standalone(&self) -> bool {
        self.project.is_empty()
    }

    #[must_use]
    pub fn subnet(&self, ipv4: bool) -> Option<&Subnet> {
        self.subnets.iter().find(|subnet| subnet.subnet.is_ipv4() == ipv4)
    }

    #[must_use]
    pub fn gateway(&self, ipv4: bool) -> Option<IpAddr> {
        self.subnet(ipv4).map(|subnet| subnet.gateway)
    }

    /// Gives a container its addresses; the ones it has already or had, when they still fit.
    ///
    /// # Errors
    /// When the address that is wished for cannot be given (it is outside the subnet, the gateway's or somebody else's), or
    /// none is free.
    pub fn join(&mut self, asking: Asking<'_>, wish: &EndpointSpec) -> Result<EndpointLease> {
        let mut before: Vec<IpAddr> = self.endpoints.get(asking.id).into_iter().flat_map(|e| e.addresses()).collect();
        let is_own = |former: &FormerEndpoint| former.is_of(asking.project_id, asking.name);
        before.extend(self.former.iter().filter(|former| is_own(former)).flat_map(|former| former.addresses.clone()));
        let ipv4 = self.address(true, asking.id, wish.ipv4.map(IpAddr::V4), &before)?;
        let ipv6 = self.address(false, asking.id, wish.ipv6.map(IpAddr::V6), &before)?;
        let lease = EndpointLease {
            project_id: asking.project_id.to_owned(),
            container: asking.name.to_owned(),
            names: wish.aliases.clone(),
            ipv4: ipv4.and_then(|address| if let IpAddr::V4(v4) = address { Some(v4) } else { None }),
            ipv6: ipv6.and_then(|address| if let IpAddr::V6(v6) = address { Some(v6) } else { None }),
        };
        self.former.retain(|former| !is_own(former));
        self.endpoints.insert(asking.id.to_owned(), lease.clone());
        Ok(lease)
    }

    /// A container does not run any more: its addresses are free, and it gets them again if they still are then.
    pub fn leave(&mut self, id: &str) -> bool {
        let Some(endpoint) = self.endpoints.remove(id) else { return false };
        if !endpoint.container.is_empty() {
            self.former.retain(|former| !former.is_of(&endpoint.project_id, &endpoint.container));
            self.former.push(FormerEndpoint {
                project_id: endpoint.project_id.clone(),
                addresses: endpoint.addresses().collect(),
                container: endpoint.container,
            });
        }
        true
    }

    /// A container of that name does not come again.
    pub fn forget(&mut self, project_id: &str, container: &str) -> bool {
        let before = self.former.len();
        self.former.retain(|former| !former.is_of(project_id, container));
        self.former.len() != before
    }

    fn address(&mut self, ipv4: bool, id: &str, wish: Option<IpAddr>, before: &[IpAddr]) -> Result<Option<IpAddr>> {
        let Some(subnet) = self.subnet(ipv4) else {
            return match wish {
                None => Ok(None),
                Some(address) => Err(NetworkError::AddressInvalid {
                    network: self.name.clone(),
                    address,
                    reason: format!("the network has no IPv{} subnet", if ipv4 { 4 } else { 6 }),
                }),
            };
        };
        if let Some(address) = wish {
            self.check_static(subnet, id, address)?;
            return Ok(Some(address));
        }
        let others = self.endpoints.iter().filter(|(other, _)| other.as_str() != id);
        let mut taken: BTreeSet<IpAddr> = others.flat_map(|(_, endpoint)| endpoint.addresses()).collect();
        taken.insert(subnet.gateway);
        taken.extend(subnet.reserved.iter().chain(self.claims.values().flatten()));
        let in_range = |address: IpAddr| {
            ipam::usable(subnet.subnet, address) && subnet.range.is_none_or(|range| range.contains(address))
        };
        if let Some(&old) = before.iter().find(|&&old| in_range(old) && !taken.contains(&old)) {
            return Ok(Some(old));
        }
        // What others had, and may want again, only when nothing else is left.
        let had: BTreeSet<IpAddr> = self.former.iter().flat_map(|former| former.addresses.iter().copied()).collect();
        let lowest = |taken: &dyn Fn(IpAddr) -> bool| ipam::lowest_address(subnet.subnet, subnet.range, taken);
        lowest(&|address| taken.contains(&address) || had.contains(&address))
            .or_else(|| lowest(&|address| taken.contains(&address)))
            .map(Some)
            .ok_or_else(|| NetworkError::NoAddress {
                network: self.name.clone(),
                subnet: subnet.range.unwrap_or(subnet.subnet),
            })
    }

    fn check_static(&self, subnet: &Subnet, id: &str, address: IpAddr) -> Result<()> {
        subnet.check_static(&self.name, address)?;
        self.check_free(address, |other| other == id)
    }

    /// Whether nobody has an address but those that are `passed` over.
    pub fn check_free(&self, address: IpAddr, passed: impl Fn(&str) -> bool) -> Result<()> {
        let mut others = self.endpoints.iter().filter(|(id, _)| !passed(id));
        match others.find(|(_, endpoint)| endpoint.has(address)) {
            None => Ok(()),
            Some((other, endpoint)) => {
                let holder = endpoint.holder(other).to_owned();
                Err(NetworkError::AddressTaken { network: self.name.clone(), address, holder })
            }
        }
    }
}

impl Subnet {
    /// Whether a container may ask for the address.
    pub fn check_static(&self, network: &str, address: IpAddr) -> Result<()> {
        let network = || network.to_owned();
        let invalid =
            |reason: &str| NetworkError::AddressInvalid { network: network(), address, reason: reason.into() };
        if !self.subnet.contains(address) {
            return Err(NetworkError::OutsideSubnet { network: network(), address, subnet: self.subnet });
        }
        if !ipam::usable(self.subnet, address) {
            return Err(invalid("it is the network's own or its broadcast address"));
        }
        if address == self.gateway {
            return Err(invalid("it is the gateway"));
        }
        Ok(())
    }
}
