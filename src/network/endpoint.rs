//! Namespaces of containers and their cables, many at once.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};

use nix::errno::Errno;

use super::error::{NetworkError, Result};
use super::host::{Host, HostLink};
use super::lease::{Asking, EndpointLease, Leases, NetworkLease};
use super::link::{Mac, Veth};
use super::mend::Attachment;
use super::netlink::Netlink;
use super::netns::{self, Resolver, ResolverSockets, Wish};
use super::spec::{EndpointSpec, EndpointState};
use super::{bridge, host, link, names};
use crate::state::paths::{Paths, ProjectPaths};
use crate::sys::fault;

/// How often a name that is taken is replaced by the next.
const NAME_ATTEMPTS: usize = 16;

/// The network that a container is to have.
#[derive(Debug, Clone, Copy)]
pub struct SandboxSpec<'a> {
    pub container: &'a str,
    /// Whoever has the same name later gets the same addresses; empty when nobody will.
    pub name: &'a str,
    /// In the order of the interfaces; none for `network_mode: none`.
    pub endpoints: &'a [EndpointSpec],
    pub resolver: Resolver,
}

/// The network that a container has. It lasts as long as somebody holds the descriptor or lives in it.
#[derive(Debug)]
pub struct Sandbox {
    pub namespace: OwnedFd,
    pub resolver: Option<ResolverSockets>,
    pub endpoints: Vec<EndpointState>,
}

/// An endpoint with everything decided.
struct PlannedEndpoint {
    network: String,
    bridge: String,
    host: String,
    inside: String,
    mac: Mac,
    mtu: u32,
    isolated: bool,
    addresses: Vec<(IpAddr, u8)>,
    gateways: Vec<IpAddr>,
    lease: EndpointLease,
}

/// Makes namespaces with all their endpoints attached, one after the other, and hands each over as soon as it is ready.
/// `each` runs in another thread. The outer error means that none was made.
///
/// # Errors
/// When the leases cannot be read or written, or no thread or netlink socket can be had. What is wrong with one
/// namespace is told to `each`.
pub fn create(
    paths: &Paths,
    project: &ProjectPaths,
    specs: &[SandboxSpec<'_>],
    mut each: impl FnMut(usize, Result<Sandbox>) + Send,
) -> Result<()> {
    let plans = lease_all(paths, project, specs)?;
    let mut failed = Vec::new();
    let made = netns::elsewhere(|| {
        // Opened here, before the thread leaves: it stays in the host's namespace.
        let mut maker = Maker { netlink: Netlink::route()?, bridges: Vec::new(), project };
        for (index, (spec, plan)) in specs.iter().zip(plans).enumerate() {
            let result = plan.and_then(|plan| maker.make(spec, plan));
            if result.is_err() {
                failed.push(spec.container);
            }
            each(index, result);
        }
        Ok(())
    });
    if made.is_err() {
        failed = specs.iter().map(|spec| spec.container).collect();
    }
    give_back(paths, &failed);
    made.map_err(NetworkError::kernel("create network namespaces"))
}

/// Best effort after a failure; `remove` of the network forgets them in any case.
fn give_back(paths: &Paths, containers: &[&str]) {
    if !containers.is_empty()
        && let Err(error) = bridge::leave(paths, containers)
    {
        tracing::warn!("cannot give back addresses: {error}");
    }
}

/// Takes the addresses of all containers under one lock and writes each lease once.
fn lease_all(
    paths: &Paths,
    project: &ProjectPaths,
    specs: &[SandboxSpec<'_>],
) -> Result<Vec<Result<Vec<PlannedEndpoint>>>> {
    if specs.iter().all(|spec| spec.endpoints.is_empty()) {
        return Ok(specs.iter().map(|_| Ok(Vec::new())).collect());
    }
    let mut leases = Leases::open(paths)?;
    let mut changed = BTreeSet::new();
    let plans = specs.iter().map(|spec| plan(&mut leases, &mut changed, project, spec)).collect();
    for lease in leases.networks.iter().filter(|lease| changed.contains(&lease.bridge)) {
        leases.save(lease)?;
    }
    Ok(plans)
}

fn plan(
    leases: &mut Leases,
    changed: &mut BTreeSet<String>,
    project: &ProjectPaths,
    spec: &SandboxSpec<'_>,
) -> Result<Vec<PlannedEndpoint>> {
    let mut plans: Vec<PlannedEndpoint> = Vec::with_capacity(spec.endpoints.len());
    let mut number = 0;
    for endpoint in spec.endpoints {
        for option in endpoint.driver_opts.keys() {
            tracing::warn!("network {}: the driver option {option} of an endpoint has no effect", endpoint.network);
        }
        let unknown = || NetworkError::Unknown { network: endpoint.network.clone() };
        let network = leases.find(project.id(), &endpoint.network)?.ok_or_else(unknown)?;
        let inside = match &endpoint.interface {
            Some(name) => {
                names::check_interface(name)?;
                name.clone()
            }
            None => loop {
                let name = format!("{}{number}", network.interface_prefix);
                number += 1;
                let wanted = |other: &EndpointSpec| other.interface.as_deref() == Some(name.as_str());
                if !spec.endpoints.iter().any(wanted) && !plans.iter().any(|plan| plan.inside == name) {
                    break name;
                }
            },
        };
        if plans.iter().any(|plan| plan.inside == inside) {
            return Err(NetworkError::Interface { name: inside, reason: "two endpoints ask for it" });
        }
        let mac = endpoint.mac.as_deref().map(names::parse_mac).transpose()?;
        let asking = Asking { project_id: project.id(), id: spec.container, name: spec.name };
        let lease = network.join(asking, endpoint)?;
        changed.insert(network.bridge.clone());
        plans.push(plan_endpoint(network, endpoint, lease, inside, mac));
    }
    choose_gateways(leases, project, spec, &mut plans)?;
    Ok(plans)
}

fn plan_endpoint(
    network: &NetworkLease,
    endpoint: &EndpointSpec,
    lease: EndpointLease,
    inside: String,
    mac: Option<Mac>,
) -> PlannedEndpoint {
    let mut addresses = Vec::new();
    for address in [lease.ipv4.map(IpAddr::V4), lease.ipv6.map(IpAddr::V6)].into_iter().flatten() {
        if let Some(subnet) = network.subnet(address.is_ipv4()) {
            addresses.push((address, subnet.subnet.prefix()));
        }
    }
    let derived = addresses.first().map_or([0x02, 0x42, 0, 0, 0, 1], |(address, _)| names::container_mac(*address));
    addresses.extend(endpoint.link_local.iter().map(|&address| (address, if address.is_ipv4() { 16 } else { 64 })));
    PlannedEndpoint {
        network: network.name.clone(),
        bridge: network.bridge.clone(),
        host: String::new(),
        inside,
        mac: mac.unwrap_or(derived),
        mtu: network.mtu,
        isolated: !network.inter_container,
        addresses,
        gateways: Vec::new(),
        lease,
    }
}

/// For each IP version the endpoint with the highest priority that leads outside has the default route.
fn choose_gateways(
    leases: &mut Leases,
    project: &ProjectPaths,
    spec: &SandboxSpec<'_>,
    plans: &mut [PlannedEndpoint],
) -> Result<()> {
    for ipv4 in [true, false] {
        let mut best: Option<(i64, &str, usize, IpAddr)> = None;
        for (position, endpoint) in spec.endpoints.iter().enumerate() {
            let Some(network) = leases.find(project.id(), &endpoint.network)? else { continue };
            let Some(gateway) = network.gateway(ipv4).filter(|_| !network.internal) else { continue };
            let priority = endpoint.gateway_priority;
            let better = best.is_none_or(|(other, name, ..)| {
                priority > other || (priority == other && endpoint.network.as_str() < name)
            });
            if better {
                best = Some((priority, &endpoint.network, position, gateway));
            }
        }
        if let Some((_, _, position, gateway)) = best {
            plans[position].gateways.push(gateway);
        }
    }
    Ok(())
}

fn next_name(project: &ProjectPaths) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let mut number = NEXT.fetch_add(1, Ordering::Relaxed);
    if number == 0 {
        // Names of a process before us may still be in use: start somewhere else.
        number = std::process::id().wrapping_mul(97) & 0xf_ffff;
        NEXT.store(number + 1, Ordering::Relaxed);
    }
    names::cable(project.id(), number)
}

/// What one thread needs to make one sandbox after the other.
struct Maker<'a> {
    netlink: Netlink,
    /// Bridges by name, once looked up.
    bridges: Vec<(String, u32)>,
    project: &'a ProjectPaths,
}

impl Maker<'_> {
    fn make(&mut self, spec: &SandboxSpec<'_>, mut plan: Vec<PlannedEndpoint>) -> Result<Sandbox> {
        let ipv6 = plan.iter().any(|endpoint| endpoint.lease.ipv6.is_some());
        let mut namespace = netns::create_here(&Wish { resolver: spec.resolver, ipv6 })
            .map_err(NetworkError::kernel("create a network namespace"))?;
        self.plug(&mut plan, namespace.fd.as_fd())?;
        configure(&mut namespace.netlink, &plan)?;
        Ok(Sandbox {
            namespace: namespace.fd,
            resolver: namespace.resolver,
            endpoints: plan.iter().map(state).collect(),
        })
    }

    /// Creates all cables in one request; names that turn out to be taken are replaced and tried again.
    fn plug(&mut self, plan: &mut [PlannedEndpoint], namespace: BorrowedFd<'_>) -> Result<()> {
        let mut todo: Vec<usize> = (0..plan.len()).collect();
        for endpoint in plan.iter_mut() {
            endpoint.host = next_name(self.project);
        }
        for _ in 0..NAME_ATTEMPTS {
            let mut requests = Vec::with_capacity(todo.len());
            for &position in &todo {
                let bridge = self.bridge(&plan[position])?;
                requests.push(cable(&plan[position], bridge, names::group(self.project.id()), namespace));
            }
            let failures = fault::around("create veth pairs", || self.netlink.batch(requests));
            let failures = failures.map_err(NetworkError::kernel("create veth pairs"))?;
            let mut again = Vec::new();
            for failure in failures {
                let position = todo[failure.index];
                if failure.errno != Errno::EEXIST as i32 {
                    let action = format!("attach a container to network {}", plan[position].network);
                    return Err(NetworkError::kernel(action)(failure.into()));
                }
                plan[position].host = next_name(self.project);
                again.push(position);
            }
            todo = again;
            if todo.is_empty() {
                break;
            }
        }
        if let Some(&position) = todo.first() {
            let action = format!("find a free name for a cable to network {}", plan[position].network);
            return Err(NetworkError::kernel(action)(Errno::EEXIST.into()));
        }
        let isolated: Vec<_> =
            plan.iter().filter(|endpoint| endpoint.isolated).map(|e| link::isolate_port(&e.host)).collect();
        match self.netlink.batch(isolated).map_err(NetworkError::kernel("isolate containers"))?.pop() {
            None => Ok(()),
            Some(failure) => Err(NetworkError::kernel("isolate containers from each other")(failure.into())),
        }
    }

    fn bridge(&mut self, endpoint: &PlannedEndpoint) -> Result<u32> {
        if let Some((_, index)) = self.bridges.iter().find(|(name, _)| *name == endpoint.bridge) {
            return Ok(*index);
        }
        let index = host::index_of(&mut self.netlink, &endpoint.bridge)
            .map_err(NetworkError::kernel(format!("find the bridge of network {}", endpoint.network)))?
            .ok_or_else(|| NetworkError::Unknown { network: endpoint.network.clone() })?;
        self.bridges.push((endpoint.bridge.clone(), index));
        Ok(index)
    }
}

fn cable(endpoint: &PlannedEndpoint, bridge: u32, group: u32, namespace: BorrowedFd<'_>) -> link::Request {
    link::create_veth(&Veth {
        host: &endpoint.host,
        host_mac: names::hashed_mac(0x06, &endpoint.host),
        inside: &endpoint.inside,
        inside_mac: endpoint.mac,
        namespace,
        bridge: Some(bridge),
        group,
        mtu: endpoint.mtu,
    })
}

/// Lays cables of a container again that are gone, with the addresses that they had. `within` is a socket in its
/// namespace.
///
/// # Errors
/// When an address is somebody else's by now, a lease cannot be written, or the kernel refuses a cable.
pub fn replug(
    leases: &mut Leases,
    project: &ProjectPaths,
    attachment: &Attachment,
    interfaces: &[&str],
    within: &mut Netlink,
) -> Result<()> {
    let spec = SandboxSpec {
        container: &attachment.container,
        name: &attachment.name,
        endpoints: &attachment.specs,
        resolver: Resolver::Absent,
    };
    let mut changed = BTreeSet::new();
    let mut plans = plan(leases, &mut changed, project, &spec)?;
    for lease in leases.networks.iter().filter(|lease| changed.contains(&lease.bridge)) {
        leases.save(lease)?;
    }
    plans.retain(|plan| interfaces.contains(&plan.inside.as_str()));
    let netlink = Netlink::route().map_err(NetworkError::kernel("open a netlink socket"))?;
    Maker { netlink, bridges: Vec::new(), project }.plug(&mut plans, attachment.namespace.as_fd())?;
    configure(within, &plans)
}

/// Makes the cables of a container that runs those that its specs ask for: the others go, with their addresses, and what
/// is missing is laid. Specs name the interfaces that are there. Answers with the endpoints, in the order of the specs.
pub fn rewire(paths: &Paths, project: &ProjectPaths, attachment: &Attachment) -> Result<Vec<EndpointState>> {
    let failed = || NetworkError::kernel(format!("look at the network of {}", attachment.name));
    let mut netlink = Netlink::route().map_err(NetworkError::kernel("open a netlink socket"))?;
    let mut leases = Leases::open(paths)?;
    let host = Host::read(&mut netlink).map_err(failed())?;
    let (inside, mut within) = netns::inside(attachment.namespace.as_fd(), || {
        let mut within = Netlink::route()?;
        Ok((Host::links(&mut within)?, within))
    })
    .map_err(failed())?;
    let spec = SandboxSpec {
        container: &attachment.container,
        name: &attachment.name,
        endpoints: &attachment.specs,
        resolver: Resolver::Absent,
    };
    let mut changed = BTreeSet::new();
    let plans = plan(&mut leases, &mut changed, project, &spec)?;
    let planned: BTreeSet<String> = plans.iter().map(|plan| plan.inside.clone()).collect();
    let is_kept = |interface: &str| {
        planned.contains(interface) && attachment.states.iter().any(|state| state.interface == interface)
    };
    let prefix = names::prefix(project.id());
    let outer = |inner: &HostLink| inner.peer.and_then(|peer| host.link(peer)).map(|outer| outer.name.clone());
    let gone = inside.iter().filter(|inner| !is_kept(&inner.name)).filter_map(outer);
    let gone: BTreeSet<String> = gone.filter(|outer| outer.starts_with(&prefix)).collect();
    if !gone.is_empty() {
        bridge::delete_links(|name| gone.contains(name))?;
    }
    for lease in &mut leases.networks {
        let stays = changed.contains(&lease.bridge);
        if !stays && lease.leave(&attachment.container) {
            changed.insert(lease.bridge.clone());
        }
    }
    for lease in leases.networks.iter().filter(|lease| changed.contains(&lease.bridge)) {
        leases.save(lease)?;
    }
    let states = plans.iter().map(state).collect();
    let is_there =
        |plan: &PlannedEndpoint| is_kept(&plan.inside) && inside.iter().any(|inner| inner.name == plan.inside);
    let (kept, mut new): (Vec<PlannedEndpoint>, Vec<PlannedEndpoint>) = plans.into_iter().partition(is_there);
    if new.iter().any(|plan| plan.lease.ipv6.is_some()) {
        // A container that had none of it was given none.
        let enable = || netns::write_sysctl("net/ipv6/conf/default/disable_ipv6", "0");
        netns::inside(attachment.namespace.as_fd(), enable).map_err(failed())?;
    }
    Maker { netlink, bridges: Vec::new(), project }.plug(&mut new, attachment.namespace.as_fd())?;
    configure(&mut within, &new)?;
    lead_out(&mut within, &kept)?;
    Ok(states)
}

/// Default routes through interfaces that are there.
fn lead_out(netlink: &mut Netlink, plans: &[PlannedEndpoint]) -> Result<()> {
    let mut routes = Vec::new();
    for plan in plans.iter().filter(|plan| !plan.gateways.is_empty()) {
        let found = host::index_of(netlink, &plan.inside).map_err(NetworkError::kernel("find an interface"))?;
        let index = found.into_iter();
        routes.extend(
            index.flat_map(|index| plan.gateways.iter().map(move |&gateway| link::default_route(index, gateway))),
        );
    }
    let failed = || NetworkError::kernel("set up a container's default routes");
    match fault::around("set up default routes", || netlink.batch(routes)).map_err(failed())?.pop() {
        None => Ok(()),
        Some(failure) => Err(failed()(failure.into())),
    }
}

/// Addresses, up, routes: one request inside the namespace.
fn configure(netlink: &mut Netlink, plan: &[PlannedEndpoint]) -> Result<()> {
    let mut requests = Vec::new();
    let mut routes = Vec::new();
    for endpoint in plan {
        let action = || format!("set up {} of network {}", endpoint.inside, endpoint.network);
        let index = host::index_of(netlink, &endpoint.inside)
            .and_then(|index| index.ok_or_else(|| Errno::ENODEV.into()))
            .map_err(NetworkError::kernel(action()))?;
        requests.extend(endpoint.addresses.iter().map(|&(address, prefix)| link::add_address(index, address, prefix)));
        requests.push(link::set_up(index));
        routes.extend(endpoint.gateways.iter().map(|&gateway| link::default_route(index, gateway)));
    }
    requests.append(&mut routes);
    let failures = fault::around("set up interfaces", || netlink.batch(requests));
    match failures.map_err(NetworkError::kernel("set up a container's interfaces"))?.pop() {
        None => Ok(()),
        Some(failure) => Err(NetworkError::kernel("set up a container's interfaces")(failure.into())),
    }
}

fn state(plan: &PlannedEndpoint) -> EndpointState {
    EndpointState {
        network: plan.network.clone(),
        interface: plan.inside.clone(),
        ipv4: plan.lease.ipv4.map(IpAddr::V4),
        ipv6: plan.lease.ipv6.map(IpAddr::V6),
        mac: names::format_mac(plan.mac),
    }
}
