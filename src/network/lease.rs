//! Which network has which subnet, and which container which address: one record a network, shared by all projects.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;

use ipnetwork::IpNetwork;
use nix::fcntl::{Flock, FlockArg};
use serde::{Deserialize, Serialize};

use super::error::{NetworkError, Result};
use super::ipam;
use super::spec::EndpointSpec;
use crate::state::Lock;
use crate::state::paths::Paths;
use crate::state::record::{self, Durability, Record};

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
    /// At most one of each family.
    pub subnets: Vec<Subnet>,
    /// By container id.
    pub endpoints: BTreeMap<String, EndpointLease>,
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
    /// The address that was given out last.
    pub last: Option<IpAddr>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EndpointLease {
    pub project_id: String,
    /// Names under which others find it.
    pub names: Vec<String>,
    pub ipv4: Option<Ipv4Addr>,
    pub ipv6: Option<Ipv6Addr>,
}

impl EndpointLease {
    fn has(&self, address: IpAddr) -> bool {
        match address {
            IpAddr::V4(v4) => self.ipv4 == Some(v4),
            IpAddr::V6(v6) => self.ipv6 == Some(v6),
        }
    }
}

impl NetworkLease {
    #[must_use]
    pub fn subnet(&self, ipv4: bool) -> Option<&Subnet> {
        self.subnets.iter().find(|subnet| subnet.subnet.is_ipv4() == ipv4)
    }

    #[must_use]
    pub fn gateway(&self, ipv4: bool) -> Option<IpAddr> {
        self.subnet(ipv4).map(|subnet| subnet.gateway)
    }

    /// Gives a container its addresses; the ones it has already, when they still fit.
    pub fn join(&mut self, project_id: &str, container: &str, wish: &EndpointSpec) -> Result<EndpointLease> {
        let old = self.endpoints.remove(container);
        let mut lease =
            EndpointLease { project_id: project_id.to_owned(), names: wish.aliases.clone(), ipv4: None, ipv6: None };
        let ipv4 = self.address(true, wish.ipv4.map(IpAddr::V4), old.as_ref().and_then(|o| o.ipv4).map(IpAddr::V4))?;
        let ipv6 = self.address(false, wish.ipv6.map(IpAddr::V6), old.as_ref().and_then(|o| o.ipv6).map(IpAddr::V6))?;
        if let Some(IpAddr::V4(v4)) = ipv4 {
            lease.ipv4 = Some(v4);
        }
        if let Some(IpAddr::V6(v6)) = ipv6 {
            lease.ipv6 = Some(v6);
        }
        self.endpoints.insert(container.to_owned(), lease.clone());
        Ok(lease)
    }

    fn address(&mut self, ipv4: bool, wish: Option<IpAddr>, old: Option<IpAddr>) -> Result<Option<IpAddr>> {
        let Some(position) = self.subnets.iter().position(|subnet| subnet.subnet.is_ipv4() == ipv4) else {
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
            self.check_static(&self.subnets[position], address)?;
            return Ok(Some(address));
        }
        let free = |address: IpAddr| {
            let subnet = &self.subnets[position];
            address != subnet.gateway
                && !subnet.reserved.contains(&address)
                && !self.endpoints.values().any(|endpoint| endpoint.has(address))
        };
        let subnet = &self.subnets[position];
        let in_range = |address: IpAddr| {
            ipam::usable(subnet.subnet, address) && subnet.range.is_none_or(|range| range.contains(address))
        };
        if let Some(old) = old.filter(|&old| in_range(old) && free(old)) {
            return Ok(Some(old));
        }
        let next = ipam::next_address(subnet.subnet, subnet.range, subnet.last, |address| !free(address)).ok_or_else(
            || NetworkError::NoAddress { network: self.name.clone(), subnet: subnet.range.unwrap_or(subnet.subnet) },
        )?;
        self.subnets[position].last = Some(next);
        Ok(Some(next))
    }

    fn check_static(&self, subnet: &Subnet, address: IpAddr) -> Result<()> {
        let network = || self.name.clone();
        let invalid =
            |reason: &str| NetworkError::AddressInvalid { network: network(), address, reason: reason.into() };
        if !subnet.subnet.contains(address) {
            return Err(NetworkError::OutsideSubnet { network: network(), address, subnet: subnet.subnet });
        }
        if !ipam::usable(subnet.subnet, address) {
            return Err(invalid("it is the network's own or its broadcast address"));
        }
        if address == subnet.gateway {
            return Err(invalid("it is the gateway"));
        }
        match self.endpoints.iter().find(|(_, endpoint)| endpoint.has(address)) {
            None => Ok(()),
            Some((container, endpoint)) => {
                let holder = endpoint.names.first().unwrap_or(container).clone();
                Err(NetworkError::AddressTaken { network: network(), address, holder })
            }
        }
    }
}

/// All leases, locked against every other project.
#[derive(Debug)]
pub struct Leases {
    folder: PathBuf,
    _lock: Lock,
    /// Two homes have two locks, but the host's routes are the same: whoever looks for a free subnet also locks the
    /// network namespace itself, until the subnet is in use.
    _namespace: Option<Flock<File>>,
    pub networks: Vec<NetworkLease>,
}

impl Leases {
    /// Waits for the lock and reads them.
    pub fn open(paths: &Paths) -> Result<Self> {
        let lock = Lock::acquire(&paths.global_lock()).map_err(|source| NetworkError::Lock { source })?;
        // Not everywhere can that file be locked; then homes may meet, as with any other program that makes networks.
        let namespace = File::open("/proc/self/ns/net").ok();
        let namespace = namespace.and_then(|file| Flock::lock(file, FlockArg::LockExclusive).ok());
        Ok(Self { folder: paths.networks(), _lock: lock, _namespace: namespace, networks: read(paths)? })
    }

    /// The network that a project means by a name: its own, else the only other one.
    pub fn find(&mut self, project_id: &str, name: &str) -> Result<Option<&mut NetworkLease>> {
        let position = position(&self.networks, project_id, name)?;
        Ok(position.map(|position| &mut self.networks[position]))
    }

    /// Writes one lease back.
    pub fn save(&self, lease: &NetworkLease) -> Result<()> {
        record::write(&self.folder.join(format!("{}.json", lease.bridge)), lease, Durability::Process)?;
        Ok(())
    }

    /// Forgets a network.
    pub fn remove(&mut self, bridge: &str) -> Result<()> {
        record::remove(&self.folder.join(format!("{bridge}.json")))
            .map_err(NetworkError::kernel(format!("remove the lease of {bridge}")))?;
        self.networks.retain(|network| network.bridge != bridge);
        Ok(())
    }
}

/// The position of the network that a project means by a name.
pub fn position(networks: &[NetworkLease], project_id: &str, name: &str) -> Result<Option<usize>> {
    let mut found = networks.iter().enumerate().filter(|(_, network)| network.name == name);
    let Some((first, lease)) = found.next() else { return Ok(None) };
    if lease.project_id == project_id {
        return Ok(Some(first));
    }
    let others: Vec<_> = found.collect();
    if let Some((own, _)) = others.iter().find(|(_, network)| network.project_id == project_id) {
        return Ok(Some(*own));
    }
    if others.is_empty() {
        return Ok(Some(first));
    }
    let mut owners: Vec<&str> = others.iter().map(|(_, network)| network.project.as_str()).collect();
    owners.insert(0, &lease.project);
    Err(NetworkError::ExternalAmbiguous { network: name.to_owned(), owners: owners.join(", ") })
}

/// Reads all leases, without the lock: each is complete, but they may be of different moments.
pub fn read(paths: &Paths) -> Result<Vec<NetworkLease>> {
    let folder = paths.networks();
    let failed = |source| NetworkError::Kernel { action: format!("list {}", folder.display()), source };
    let entries = match fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(failed(error)),
    };
    let mut networks = Vec::new();
    for entry in entries {
        let path = entry.map_err(failed)?.path();
        // Temporary files of the writers start with a dot.
        let hidden = path.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"."));
        if hidden || path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        if let Some(lease) = record::read::<NetworkLease>(&path)? {
            networks.push(lease);
        }
    }
    networks.sort_by(|a, b| a.bridge.cmp(&b.bridge));
    Ok(networks)
}
