//! What somebody else has changed or removed in the kernel, found and made again: a firewall's reload takes tables of
//! rules away, a network manager takes links down.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use ipnetwork::IpNetwork;

use super::bridge;
use super::endpoint;
use super::error::{NetworkError, Result};
use super::host::{self, Host, HostLink};
use super::lease::{EndpointLease, Leases, NetworkLease};
use super::netlink::Netlink;
use super::netns;
use super::spec::{EndpointSpec, EndpointState};
use super::{link, names};
use crate::state::paths::{Paths, ProjectPaths};
use crate::sys::fault;

/// A container that runs, with the network that it was given.
#[derive(Debug, Clone)]
pub struct Attachment {
    pub container: String,
    pub name: String,
    pub namespace: Arc<OwnedFd>,
    pub specs: Vec<EndpointSpec>,
    pub states: Vec<EndpointState>,
}

/// Something that was not as it should be, and is again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mended {
    /// The network's full name.
    pub network: String,
    /// In words for people.
    pub what: String,
}

/// Compares links, addresses, routes and switches with what is known, and makes good what differs. `known` are networks
/// that exist as far as the caller knows; those that are gone from the records because they were removed stay so.
/// Answers with what was wrong and with the networks as they are.
///
/// # Errors
/// When the leases or the kernel's links cannot be read, or a bridge cannot be made good. A container whose cables
/// cannot be made good is logged instead: it may have ended just now.
pub fn links(
    paths: &Paths,
    project: &ProjectPaths,
    known: &[NetworkLease],
    attached: &[Attachment],
) -> Result<(Vec<Mended>, Vec<NetworkLease>)> {
    let mut netlink = Netlink::route().map_err(NetworkError::kernel("open a netlink socket"))?;
    let mut leases = Leases::open(paths)?;
    let mut mended = Vec::new();
    for lease in known.iter().filter(|lease| lease.project_id == project.id()) {
        if !leases.networks.iter().any(|other| other.bridge == lease.bridge) {
            let lease = remembered(lease, project, attached);
            leases.save(&lease)?;
            mended.push(found(&lease, "its lease was gone".to_owned()));
            leases.networks.push(lease);
        }
    }
    let is_known = |lease: &&NetworkLease| known.iter().any(|other| other.bridge == lease.bridge);
    let networks: Vec<NetworkLease> = leases.networks.iter().filter(is_known).cloned().collect();
    let host = read(&mut netlink)?;
    let damage: Vec<Mended> = networks.iter().flat_map(|lease| damage(lease, &host)).collect();
    if !damage.is_empty() {
        bridge::build(&mut netlink, &host, &networks, &[])?;
        routes(&mut netlink, &networks)?;
        mended.extend(damage);
    }
    let host = if mended.is_empty() { host } else { read(&mut netlink)? };
    for attachment in attached {
        match cables(&mut netlink, &mut leases, project, attachment, &host) {
            Ok(again) => mended.extend(again),
            // It may have ended just now.
            Err(error) => tracing::warn!("cannot look after the network of {}: {error}", attachment.name),
        }
    }
    Ok((mended, networks))
}

fn found(lease: &NetworkLease, what: String) -> Mended {
    Mended { network: lease.name.clone(), what }
}

fn read(netlink: &mut Netlink) -> Result<Host> {
    Host::read(netlink).map_err(NetworkError::kernel("read the host's links and routes"))
}

/// A lease that is gone from the disk, with the containers that are known to run.
fn remembered(lease: &NetworkLease, project: &ProjectPaths, attached: &[Attachment]) -> NetworkLease {
    let mut lease = lease.clone();
    lease.endpoints = BTreeMap::new();
    for attachment in attached {
        let Some(state) = attachment.states.iter().find(|state| state.network == lease.name) else { continue };
        let spec = attachment.specs.iter().find(|spec| spec.network == lease.name);
        let endpoint = EndpointLease {
            project_id: project.id().to_owned(),
            container: attachment.name.clone(),
            names: spec.map(|spec| spec.aliases.clone()).unwrap_or_default(),
            ipv4: state.ipv4.and_then(|address| if let IpAddr::V4(v4) = address { Some(v4) } else { None }),
            ipv6: state.ipv6.and_then(|address| if let IpAddr::V6(v6) = address { Some(v6) } else { None }),
        };
        lease.endpoints.insert(attachment.container.clone(), endpoint);
    }
    lease
}

/// What is wrong with a network's bridge.
fn damage(lease: &NetworkLease, host: &Host) -> Vec<Mended> {
    let Some(bridge) = host.link_named(&lease.bridge) else {
        return vec![found(lease, format!("its bridge {} was gone", lease.bridge))];
    };
    let mut damage = Vec::new();
    let mut add = |what: String| damage.push(found(lease, what));
    if !bridge.up {
        add(format!("its bridge {} was down", lease.bridge));
    }
    for subnet in &lease.subnets {
        let is_gateway = |address: &&IpNetwork| address.ip() == subnet.gateway;
        if !bridge.addresses.iter().any(|address| is_gateway(&address)) {
            add(format!("the address {} of its bridge was gone", subnet.gateway));
        } else if bridge.up && subnet.subnet.prefix() < 31 && !host.has_route(subnet.subnet, bridge.index) {
            add(format!("the route to {} was gone", subnet.subnet));
        }
    }
    let (ipv4, ipv6) = (lease.subnet(true).is_some(), lease.subnet(false).is_some());
    if !lease.internal && !host::is_forwarding(ipv4, ipv6) {
        add("this machine did not forward packets any more".to_owned());
    }
    damage
}

/// An address that is there already does not bring its route back.
fn routes(netlink: &mut Netlink, networks: &[NetworkLease]) -> Result<()> {
    let host = read(netlink)?;
    let mut requests = Vec::new();
    for lease in networks {
        let Some(bridge) = host.link_named(&lease.bridge) else { continue };
        let missing = |subnet: &&super::lease::Subnet| {
            subnet.subnet.prefix() < 31 && !host.has_route(subnet.subnet, bridge.index)
        };
        let missing = lease.subnets.iter().filter(missing);
        requests.extend(missing.map(|subnet| link::subnet_route(bridge.index, subnet.subnet, subnet.gateway)));
    }
    let failures = fault::around("set up routes", || netlink.batch(requests));
    match failures.map_err(NetworkError::kernel("set up the routes to the project's networks"))?.pop() {
        None => Ok(()),
        Some(failure) => Err(NetworkError::kernel("set up the routes to the project's networks")(failure.into())),
    }
}

/// Whether a container's cables lead where they should; those that are gone are laid again. What a container has changed
/// on its own side, as a VPN does, is its own business.
fn cables(
    netlink: &mut Netlink,
    leases: &mut Leases,
    project: &ProjectPaths,
    attachment: &Attachment,
    host: &Host,
) -> Result<Vec<Mended>> {
    if attachment.states.is_empty() {
        return Ok(Vec::new());
    }
    let failed = || NetworkError::kernel(format!("look at the network of {}", attachment.name));
    let (inside, mut within) = netns::inside(attachment.namespace.as_fd(), || {
        let mut within = Netlink::route()?;
        Ok((Host::links(&mut within)?, within))
    })
    .map_err(failed())?;
    let prefix = names::prefix(project.id());
    let other_end =
        |inner: &HostLink| inner.peer.and_then(|peer| host.link(peer)).filter(|outer| outer.name.starts_with(&prefix));
    let mut mended = Vec::new();
    let mut requests = Vec::new();
    let mut missing = Vec::new();
    for state in &attachment.states {
        let Some(lease) = leases.find(project.id(), &state.network)? else { continue };
        let what = |what: &str| Mended {
            network: state.network.clone(),
            what: format!("the interface {} of {} {what}", state.interface, attachment.name),
        };
        match inside.iter().find(|inner| inner.name == state.interface) {
            None => missing.push((state.interface.clone(), what("was gone"))),
            Some(inner) => {
                let (Some(outer), Some(bridge)) = (other_end(inner), host.link_named(&lease.bridge)) else { continue };
                if outer.controller != Some(bridge.index) {
                    requests.push(link::set_controller(outer.index, bridge.index));
                    if !lease.inter_container {
                        requests.push(link::isolate_port(&outer.name));
                    }
                    mended.push(what("was not attached to its bridge"));
                } else if !outer.up {
                    requests.push(link::set_up(outer.index));
                    mended.push(what("was cut off"));
                }
            }
        }
    }
    if let Some(failure) = fault::around("attach cables", || netlink.batch(requests)).map_err(failed())?.pop() {
        return Err(failed()(failure.into()));
    }
    // An interface that a container has renamed is none that is gone.
    let cables = inside.iter().filter(|inner| other_end(inner).is_some()).count();
    if !missing.is_empty() && cables + missing.len() <= attachment.states.len() {
        let interfaces: Vec<&str> = missing.iter().map(|(interface, _)| interface.as_str()).collect();
        endpoint::replug(leases, project, attachment, &interfaces, &mut within)?;
        mended.extend(missing.into_iter().map(|(_, what)| what));
    }
    Ok(mended)
}
