//! A lease made again: its bridge says what it is of and its subnets, the records of its project say the rest.

use std::collections::BTreeMap;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use super::{EndpointLease, NetworkLease, Subnet};
use crate::network::host::{Host, HostLink};
use crate::network::ipam;
use crate::network::link;
use crate::network::netlink::Netlink;
use crate::network::options::Options;
use crate::network::spec::{EndpointSpec, EndpointState, NetworkSpec};
use crate::state::paths::{Paths, ProjectPaths};
use crate::state::record::{self, Record};

/// What the records of a project and its containers say of networks; the rest is not for us.
#[derive(Serialize, Deserialize)]
struct OfProject {
    networks: Vec<NetworkSpec>,
}

#[derive(Serialize, Deserialize)]
struct OfContainer {
    name: String,
    endpoints: Vec<EndpointSpec>,
}

#[derive(Serialize, Deserialize)]
struct OfState {
    endpoints: Vec<EndpointState>,
}

impl Record for OfProject {
    const VERSION: u32 = 1;
}

impl Record for OfContainer {
    const VERSION: u32 = 1;
}

impl Record for OfState {
    const VERSION: u32 = 1;
}

#[derive(Debug)]
pub struct Rebuild<'a> {
    paths: &'a Paths,
    /// Read once; without it nothing can be made again, and nobody is kept from anything.
    host: Option<Host>,
}

impl<'a> Rebuild<'a> {
    pub fn new(paths: &'a Paths) -> Self {
        let host = Netlink::route().and_then(|mut netlink| Host::read(&mut netlink));
        let host = host.inspect_err(|error| tracing::warn!("cannot read the host's links: {error}")).ok();
        Self { paths, host }
    }

    /// The lease of a bridge that there is.
    pub fn lease(&mut self, bridge: &str) -> Option<NetworkLease> {
        let link = self.host.as_ref()?.link_named(bridge)?;
        // `windlass PROJECT NETWORK`, as we wrote it.
        let (project, name) = link.alias.as_deref()?.strip_prefix(link::ALIAS)?.split_once(' ')?;
        let project = self.paths.project(project);
        let spec = record::read::<OfProject>(&project.record()).ok().flatten();
        let spec = spec.and_then(|of| of.networks.into_iter().find(|spec| spec.name == name));
        let options = spec.as_ref().and_then(|spec| Options::read(spec).ok());
        let subnets = subnets(link, spec.as_ref());
        if subnets.is_empty() {
            return None;
        }
        let mut lease = NetworkLease {
            project: project.name().to_owned(),
            project_id: project.id().to_owned(),
            name: name.to_owned(),
            bridge: bridge.to_owned(),
            // What is not known is closed.
            internal: spec.as_ref().is_none_or(|spec| spec.internal),
            mtu: link.mtu,
            masquerade: options.as_ref().is_none_or(|options| options.masquerade),
            inter_container: options.as_ref().is_none_or(|options| options.inter_container),
            interface_prefix: options.as_ref().map_or_else(|| "eth".to_owned(), |o| o.interface_prefix.clone()),
            host_binding: options.and_then(|options| options.host_binding),
            labels: BTreeMap::new(),
            subnets,
            endpoints: BTreeMap::new(),
            claims: BTreeMap::new(),
            former: Vec::new(),
        };
        for other in fs::read_dir(self.paths.projects()).into_iter().flatten().flatten() {
            let Ok(other) = other.file_name().into_string() else { continue };
            endpoints(&self.paths.project(&other), &mut lease);
        }
        Some(lease)
    }
}

fn subnets(link: &HostLink, spec: Option<&NetworkSpec>) -> Vec<Subnet> {
    let usual = |address: &&ipnetwork::IpNetwork| match address.ip() {
        IpAddr::V6(v6) => !v6.is_unicast_link_local(),
        IpAddr::V4(_) => true,
    };
    let mut subnets: Vec<Subnet> = Vec::new();
    for address in link.addresses.iter().filter(usual) {
        if subnets.iter().any(|subnet| subnet.subnet.is_ipv4() == address.is_ipv4()) {
            continue;
        }
        let Ok(subnet) = ipnetwork::IpNetwork::new(address.network(), address.prefix()) else { continue };
        let same = |config: &&crate::network::spec::IpamConfig| {
            config.subnet.is_none_or(|given| ipam::overlaps(given, subnet))
        };
        let config = spec.and_then(|spec| spec.ipam.iter().find(same));
        subnets.push(Subnet {
            subnet,
            range: config.and_then(|config| config.ip_range),
            gateway: address.ip(),
            reserved: config.map(|config| config.aux_addresses.values().copied().collect()).unwrap_or_default(),
        });
    }
    subnets
}

/// The addresses that containers of a project have in a network.
fn endpoints(project: &ProjectPaths, lease: &mut NetworkLease) {
    for entry in fs::read_dir(project.containers()).into_iter().flatten().flatten() {
        let Ok(id) = entry.file_name().into_string() else { continue };
        let places = project.container(&id);
        let state = record::read::<OfState>(&places.state()).ok().flatten();
        let Some(state) = state.and_then(|of| of.endpoints.into_iter().find(|state| state.network == lease.name))
        else {
            continue;
        };
        let inside = |address: Option<IpAddr>| {
            address.filter(|address| lease.subnets.iter().any(|subnet| subnet.subnet.contains(*address)))
        };
        let ipv4: Option<Ipv4Addr> =
            inside(state.ipv4).and_then(|a| if let IpAddr::V4(a) = a { Some(a) } else { None });
        let ipv6: Option<Ipv6Addr> =
            inside(state.ipv6).and_then(|a| if let IpAddr::V6(a) = a { Some(a) } else { None });
        if ipv4.is_none() && ipv6.is_none() {
            continue;
        }
        let record = record::read::<OfContainer>(&places.record()).ok().flatten();
        let (container, names) = match record {
            Some(of) => {
                let own = of.endpoints.into_iter().find(|spec| spec.network == lease.name);
                (of.name, own.map(|spec| spec.aliases).unwrap_or_default())
            }
            None => (String::new(), Vec::new()),
        };
        let endpoint = EndpointLease { project_id: project.id().to_owned(), container, names, ipv4, ipv6 };
        lease.endpoints.insert(id, endpoint);
    }
}
