//! Bridges: made, found again after a crash, removed.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::Duration;

use ipnetwork::IpNetwork;

use super::error::{NetworkError, Result};
use super::host::{self, Host};
use super::lease::{self, Leases, NetworkLease, Subnet};
use super::netlink::Netlink;
use super::options::Options;
use super::spec::{IpamConfig, NetworkSpec};
use super::{ipam, link, names};
use crate::state::paths::{Paths, ProjectPaths};
use crate::sys::fault;

/// Drivers that mean a bridge.
const DRIVERS: [&str; 3] = ["", "default", "bridge"];

/// How often one looks whether links have disappeared.
const LOOK_AGAIN: Duration = Duration::from_millis(1);

/// Addresses that a project's file gives to its own services, by network.
pub type Claims = BTreeMap<String, Vec<IpAddr>>;

/// Notes what addresses a project has for services of its own, before anybody gets one without asking for it.
///
/// # Errors
/// When the leases cannot be read or written, or two other projects have a network of that name.
pub fn claim(paths: &Paths, project: &ProjectPaths, claims: &Claims) -> Result<()> {
    let mut leases = Leases::open(paths)?;
    let mut changed = Vec::new();
    for (name, claimed) in claims {
        let Some(lease) = leases.find(project.id(), name)? else { continue };
        let known = lease.claims.get(project.id());
        if known != Some(claimed) && !(known.is_none() && claimed.is_empty()) {
            lease.claims.insert(project.id().to_owned(), claimed.clone());
            changed.push(lease.clone());
        }
    }
    changed.iter().try_for_each(|lease| leases.save(lease))
}

/// Whether networks can be made by a driver of this name.
#[must_use]
pub fn is_driver(name: &str) -> bool {
    DRIVERS.contains(&name)
}

/// Makes sure that networks exist: leases, then kernel objects. Returns the leases in the order of `specs`.
///
/// # Errors
/// When an external network is missing, an option or subnet cannot be, a network that exists was made otherwise, or the
/// kernel or the disk refuses. What did not exist before does not exist then.
pub fn ensure(
    paths: &Paths,
    project: &ProjectPaths,
    specs: &[NetworkSpec],
    claims: &Claims,
) -> Result<Vec<NetworkLease>> {
    let mut netlink = Netlink::route().map_err(NetworkError::kernel("open a netlink socket"))?;
    let mut leases = Leases::open(paths)?;
    let host = Host::read(&mut netlink).map_err(NetworkError::kernel("read the host's links and routes"))?;
    let mut wanted = Vec::with_capacity(specs.len());
    let mut fresh = Vec::new();
    for spec in specs {
        if spec.external {
            let lease = leases.find(project.id(), &spec.name)?;
            let missing = || NetworkError::ExternalMissing { network: spec.name.clone() };
            wanted.push(lease.ok_or_else(missing)?.clone());
            continue;
        }
        if !is_driver(&spec.driver) {
            return Err(NetworkError::Driver { network: spec.name.clone(), driver: spec.driver.clone() });
        }
        let options = Options::read(spec)?;
        for option in &options.ignored {
            tracing::warn!("network {}: the driver option {option} has no effect", spec.name);
        }
        let own = leases.networks.iter().find(|lease| lease.project_id == project.id() && lease.name == spec.name);
        if let Some(own) = own {
            check_unchanged(spec, &options, own)?;
            wanted.push(own.clone());
            continue;
        }
        let mut lease = plan(project, spec, options, &leases, &host)?;
        if let Some(claims) = claims.get(&spec.name) {
            lease.claims.insert(project.id().to_owned(), claims.clone());
        }
        leases.save(&lease)?;
        leases.networks.push(lease.clone());
        fresh.push(lease.bridge.clone());
        wanted.push(lease);
    }
    let made = build(&mut netlink, &host, &wanted, &fresh);
    if made.is_err() {
        // Leave nothing of what did not exist before.
        let _ = delete_links(|name| fresh.iter().any(|bridge| bridge == name));
        for bridge in &fresh {
            let _ = leases.remove(bridge);
        }
    }
    made.map(|()| wanted)
}

fn check_unchanged(spec: &NetworkSpec, options: &Options, lease: &NetworkLease) -> Result<()> {
    let changed = |difference: String| Err(NetworkError::Changed { network: spec.name.clone(), difference });
    if spec.internal != lease.internal {
        return changed(format!("internal: {} became {}", lease.internal, spec.internal));
    }
    for (ipv4, enabled) in [(true, spec.enable_ipv4), (false, spec.enable_ipv6)] {
        let has = lease.subnet(ipv4).is_some();
        if has != wants_family(spec, ipv4, enabled) {
            return changed(format!("IPv{} was {}", if ipv4 { 4 } else { 6 }, if has { "on" } else { "off" }));
        }
    }
    for config in &spec.ipam {
        if let Some(subnet) = config.subnet
            && !lease.subnets.iter().any(|known| same(known.subnet, subnet))
        {
            return changed(format!("subnet {subnet} is new"));
        }
        if let Some(gateway) = config.gateway
            && !lease.subnets.iter().any(|known| known.gateway == gateway)
        {
            return changed(format!("gateway {gateway} is new"));
        }
    }
    if options.mtu.is_some_and(|mtu| mtu != lease.mtu) {
        return changed(format!("the MTU was {}", lease.mtu));
    }
    if options.masquerade != lease.masquerade || options.inter_container != lease.inter_container {
        return changed("the driver options differ".to_owned());
    }
    Ok(())
}

fn same(a: IpNetwork, b: IpNetwork) -> bool {
    a.network() == b.network() && a.prefix() == b.prefix()
}

/// A subnet of a family asks for the family, as in Docker.
fn wants_family(spec: &NetworkSpec, ipv4: bool, enabled: bool) -> bool {
    enabled || spec.ipam.iter().any(|config| config.subnet.is_some_and(|subnet| subnet.is_ipv4() == ipv4))
}

/// Decides everything about a new network.
fn plan(
    project: &ProjectPaths,
    spec: &NetworkSpec,
    options: Options,
    leases: &Leases,
    host: &Host,
) -> Result<NetworkLease> {
    let bridge = match options.bridge {
        Some(name) => {
            if host.link_named(&name).is_some() || leases.networks.iter().any(|lease| lease.bridge == name) {
                return Err(NetworkError::Ipam {
                    network: spec.name.clone(),
                    reason: format!("there is already an interface named {name}"),
                });
            }
            name
        }
        None => (0..)
            .map(|number| names::bridge(project.id(), number))
            .find(|name| !leases.networks.iter().any(|lease| lease.bridge == *name))
            .unwrap_or_default(),
    };
    let mut subnets: Vec<Subnet> = Vec::new();
    for config in &spec.ipam {
        if let Some(subnet) = configured(spec, config, leases, host)? {
            if subnets.iter().any(|other| other.subnet.is_ipv4() == subnet.subnet.is_ipv4()) {
                return Err(NetworkError::Ipam {
                    network: spec.name.clone(),
                    reason: "only one subnet of each IP version is possible".to_owned(),
                });
            }
            subnets.push(subnet);
        }
    }
    let prefix = names::prefix(project.id());
    let stale = |index: Option<u32>| {
        index.and_then(|index| host.link(index)).is_some_and(|link| link.name.starts_with(&prefix))
    };
    let mut taken: Vec<IpNetwork> =
        leases.networks.iter().flat_map(|lease| lease.subnets.iter().map(|s| s.subnet)).collect();
    taken.extend(host.routes.iter().filter(|(_, index)| !stale(*index)).map(|(network, _)| *network));
    taken.extend(
        host.links.iter().filter(|link| !link.name.starts_with(&prefix)).flat_map(|link| link.addresses.clone()),
    );
    taken.extend(host::resolvers().into_iter().map(IpNetwork::from));
    taken.extend(subnets.iter().map(|subnet| subnet.subnet));
    for (ipv4, enabled) in [(true, spec.enable_ipv4), (false, spec.enable_ipv6)] {
        if !enabled || subnets.iter().any(|subnet| subnet.subnet.is_ipv4() == ipv4) {
            continue;
        }
        let chosen = if ipv4 {
            ipam::free_ipv4_subnet(&taken).map(IpNetwork::V4)
        } else {
            let seed = format!("{} {}", project.id(), spec.name);
            ipam::unique_local_subnet(&seed, &taken).map(IpNetwork::V6)
        };
        let subnet = chosen.ok_or_else(|| NetworkError::NoSubnet { network: spec.name.clone() })?;
        // A configuration without a subnet may still name addresses; it belongs to IPv4 unless it says otherwise.
        let config = spec
            .ipam
            .iter()
            .find(|config| config.subnet.is_none() && config.gateway.map_or(ipv4, |gateway| gateway.is_ipv4() == ipv4));
        let empty = IpamConfig { subnet: None, ip_range: None, gateway: None, aux_addresses: Default::default() };
        subnets.push(subnet_of(spec, config.unwrap_or(&empty), subnet)?);
    }
    if subnets.is_empty() {
        return Err(NetworkError::Ipam {
            network: spec.name.clone(),
            reason: "neither IPv4 nor IPv6 is enabled".into(),
        });
    }
    let mtu = options.mtu.or(host.mtu).unwrap_or(1500).min(65535);
    let minimum = if subnets.iter().any(|subnet| subnet.subnet.is_ipv6()) { 1280 } else { 68 };
    Ok(NetworkLease {
        project: project.name().to_owned(),
        project_id: project.id().to_owned(),
        name: spec.name.clone(),
        bridge,
        internal: spec.internal,
        mtu: mtu.max(minimum),
        masquerade: options.masquerade,
        inter_container: options.inter_container,
        interface_prefix: options.interface_prefix,
        host_binding: options.host_binding,
        // A project's are in its record.
        labels: if project.name().is_empty() { spec.labels.clone() } else { BTreeMap::new() },
        subnets,
        endpoints: Default::default(),
        claims: Default::default(),
        former: Default::default(),
    })
}

/// A subnet that the file names.
fn configured(spec: &NetworkSpec, config: &IpamConfig, leases: &Leases, host: &Host) -> Result<Option<Subnet>> {
    let Some(given) = config.subnet else { return Ok(None) };
    let overlap = |other: String| NetworkError::Overlap { network: spec.name.clone(), subnet: given, other };
    for lease in &leases.networks {
        for other in &lease.subnets {
            if ipam::overlaps(given, other.subnet) {
                return Err(overlap(format!("{} of network {} (project {})", other.subnet, lease.name, lease.project)));
            }
        }
    }
    for link in &host.links {
        // Bridges of ours that no lease knows are left over from a crash, and about to be made anew.
        let ours = leases.networks.iter().any(|lease| lease.bridge == link.name) || link.name.starts_with("wl");
        if let Some(address) = link.addresses.iter().find(|address| !ours && ipam::overlaps(given, **address)) {
            return Err(overlap(format!("{address} of the host's interface {}", link.name)));
        }
    }
    subnet_of(spec, config, given).map(Some)
}

pub(super) fn subnet_of(spec: &NetworkSpec, config: &IpamConfig, subnet: IpNetwork) -> Result<Subnet> {
    let network = || spec.name.clone();
    let outside = |address| NetworkError::OutsideSubnet { network: network(), address, subnet };
    if let Some(range) = config.ip_range
        && !(subnet.is_ipv4() == range.is_ipv4()
            && subnet.contains(range.network())
            && subnet.contains(range.broadcast()))
    {
        return Err(NetworkError::RangeOutsideSubnet { network: network(), range, subnet });
    }
    let gateway = config.gateway.unwrap_or_else(|| ipam::first_host(config.ip_range.unwrap_or(subnet)));
    let gateway =
        if ipam::usable(subnet, gateway) || config.gateway.is_some() { gateway } else { ipam::first_host(subnet) };
    if !ipam::usable(subnet, gateway) {
        return Err(outside(gateway));
    }
    let reserved: Vec<IpAddr> = config.aux_addresses.values().copied().collect();
    if let Some(&address) = reserved.iter().find(|&&address| !subnet.contains(address)) {
        return Err(outside(address));
    }
    let subnet = IpNetwork::new(subnet.network(), subnet.prefix()).unwrap_or(subnet);
    Ok(Subnet { subnet, range: config.ip_range, gateway, reserved })
}

/// Brings the kernel to what the leases say.
///
/// # Errors
/// When the kernel refuses a link, an address or a setting. What was made until then stays.
pub fn build(netlink: &mut Netlink, host: &Host, networks: &[NetworkLease], fresh: &[String]) -> Result<()> {
    let stale = |lease: &NetworkLease| fresh.contains(&lease.bridge) && host.link_named(&lease.bridge).is_some();
    if networks.iter().any(stale) {
        delete_links(|name| networks.iter().any(|lease| lease.bridge == name && stale(lease)))?;
    }
    let mut missing =
        networks.iter().filter(|lease| stale(lease) || host.link_named(&lease.bridge).is_none()).peekable();
    if missing.peek().is_some() {
        let requests = missing.clone().map(|lease| {
            let mac = names::hashed_mac(0x02, &lease.bridge);
            link::create_bridge(&lease.bridge, names::group(&lease.project_id), mac, lease.mtu)
        });
        if let Some(failure) = fault::around("create bridges", || netlink.batch(requests))
            .map_err(NetworkError::kernel("create bridges"))?
            .pop()
        {
            let name = missing.nth(failure.index).map(|lease| lease.name.clone()).unwrap_or_default();
            return Err(NetworkError::kernel(format!("create the bridge of network {name}"))(failure.into()));
        }
    }
    let mut requests = Vec::new();
    for lease in networks {
        let action = || format!("set up the bridge of network {}", lease.name);
        host::prepare_bridge(&lease.bridge, lease.subnet(false).is_some()).map_err(NetworkError::kernel(action()))?;
        let index = host::index_of(netlink, &lease.bridge)
            .and_then(|index| index.ok_or_else(|| io::Error::other("it has just disappeared")))
            .map_err(NetworkError::kernel(action()))?;
        for subnet in &lease.subnets {
            requests.push(link::add_address(index, subnet.gateway, subnet.subnet.prefix()));
        }
        requests
            .push(link::set_up_with_alias(&lease.bridge, &format!("{}{} {}", link::ALIAS, lease.project, lease.name)));
    }
    let failures = fault::around("set up bridges", || netlink.batch(requests));
    let failures = failures.map_err(NetworkError::kernel("set up bridges"))?;
    if let Some(failure) = failures.into_iter().next() {
        return Err(NetworkError::kernel("set up the bridges of the project's networks")(failure.into()));
    }
    let routed = |ipv4| networks.iter().any(|lease| !lease.internal && lease.subnet(ipv4).is_some());
    host::enable_forwarding(routed(true), routed(false)).map_err(NetworkError::kernel("enable packet forwarding"))
}

/// Removes networks of a project with their leases, in one wait. `in_use` are the ones that containers of other
/// projects still use; they stay.
///
/// # Errors
/// When the leases cannot be read or written, or the kernel does not delete the links.
pub fn remove(paths: &Paths, project: &ProjectPaths, networks: Option<&[&str]>) -> Result<Vec<NetworkError>> {
    let mut leases = Leases::open(paths)?;
    let mut in_use = Vec::new();
    let mut doomed = Vec::new();
    let mut kept = Vec::new();
    for lease in leases.networks.iter().filter(|lease| lease.project_id == project.id()) {
        if networks.is_some_and(|names| !names.contains(&lease.name.as_str())) {
            kept.push(lease.bridge.clone());
            continue;
        }
        let others: Vec<&str> = lease
            .endpoints
            .iter()
            .filter(|(_, endpoint)| endpoint.project_id != project.id())
            .map(|(id, endpoint)| endpoint.holder(id))
            .collect();
        if others.is_empty() {
            doomed.push(lease.bridge.clone());
        } else {
            in_use.push(NetworkError::InUse { network: lease.name.clone(), users: others.join(", ") });
            kept.push(lease.bridge.clone());
        }
    }
    let prefix = names::prefix(project.id());
    if networks.is_none() {
        release_everywhere(&mut leases, project.id())?;
    }
    delete_links(|name| {
        let ours = networks.is_none() && name.starts_with(&prefix) && !kept.iter().any(|bridge| bridge == name);
        ours || doomed.iter().any(|bridge| bridge == name)
    })?;
    for bridge in &doomed {
        leases.remove(bridge)?;
    }
    if networks.is_none() {
        lease::discard(paths, |bridge| bridge.starts_with(&prefix) && !kept.iter().any(|other| other == bridge))?;
    }
    Ok(in_use)
}

/// Ids of all projects of this network namespace that have a link.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn projects() -> Result<Vec<String>> {
    Ok(link_names()?.iter().filter_map(|name| names::project_of_link(name)).map(str::to_owned).collect())
}

/// Removes the links and leases of a project that nobody keeps any more.
///
/// # Errors
/// When the leases cannot be read or written, or the kernel does not delete the links.
pub fn remove_leftovers(paths: &Paths, project_id: &str) -> Result<()> {
    let mut leases = Leases::open(paths)?;
    release_everywhere(&mut leases, project_id)?;
    let prefix = names::prefix(project_id);
    delete_links(|name| name.starts_with(&prefix))?;
    let of_project = leases.networks.iter().filter(|lease| lease.project_id == project_id);
    for bridge in of_project.map(|lease| lease.bridge.clone()).collect::<Vec<_>>() {
        leases.remove(&bridge)?;
    }
    lease::discard(paths, |bridge| bridge.starts_with(&prefix)).map(drop)
}

/// Containers do not run any more: their addresses are free, and theirs again when they come back in time.
///
/// # Errors
/// When the leases cannot be read or written.
pub fn leave(paths: &Paths, containers: &[&str]) -> Result<()> {
    change(&mut Leases::open(paths)?, |lease| containers.iter().fold(false, |any, id| lease.leave(id) | any))
}

/// Containers are removed, and nobody of the names `forgotten` comes again.
///
/// # Errors
/// When the leases cannot be read or written.
pub fn release(paths: &Paths, project: &ProjectPaths, containers: &[&str], forgotten: &[&str]) -> Result<()> {
    change(&mut Leases::open(paths)?, |lease| {
        let left = containers.iter().fold(false, |any, id| lease.leave(id) | any);
        forgotten.iter().fold(left, |any, name| lease.forget(project.id(), name) | any)
    })
}

/// Nothing of a project stays in the networks of others.
fn release_everywhere(leases: &mut Leases, project_id: &str) -> Result<()> {
    change(leases, |lease| {
        let before = (lease.endpoints.len(), lease.former.len(), lease.claims.len());
        lease.endpoints.retain(|_, endpoint| endpoint.project_id != project_id);
        lease.former.retain(|former| former.project_id != project_id);
        lease.claims.remove(project_id);
        (lease.endpoints.len(), lease.former.len(), lease.claims.len()) != before
    })
}

/// Writes the leases back that `work` has changed.
fn change(leases: &mut Leases, mut work: impl FnMut(&mut NetworkLease) -> bool) -> Result<()> {
    let mut changed = Vec::new();
    for lease in &mut leases.networks {
        if work(lease) {
            changed.push(lease.clone());
        }
    }
    changed.iter().try_for_each(|lease| leases.save(lease))
}

/// Names of the project's own networks that have a lease and a bridge.
///
/// # Errors
/// When `/proc` or the folder of the leases cannot be read.
pub fn standing(paths: &Paths, project: &ProjectPaths) -> Result<BTreeSet<String>> {
    let links: BTreeSet<String> = link_names()?.into_iter().collect();
    let own = |lease: &NetworkLease| lease.project_id == project.id() && links.contains(&lease.bridge);
    Ok(lease::read(paths)?.into_iter().filter(own).map(|lease| lease.name).collect())
}

/// Names of all links. Unlike a netlink request, reading them does not wait for changes that are under way.
fn link_names() -> Result<Vec<String>> {
    let table = "/proc/thread-self/net/dev";
    let text = std::fs::read_to_string(table).map_err(NetworkError::kernel(format!("read {table}")))?;
    Ok(text.lines().skip(2).filter_map(|line| Some(line.split_once(':')?.0.trim().to_owned())).collect())
}

/// Deletes links in one request: they are put into a group of their own first, so that nothing else can be hit.
///
/// The kernel answers only when nobody can hold a reference any more, some 30 ms after the links have disappeared; this
/// returns when they have disappeared.
pub(super) fn delete_links(chosen: impl Fn(&str) -> bool) -> Result<()> {
    let doomed: Vec<String> = link_names()?.into_iter().filter(|name| chosen(name)).collect();
    if doomed.is_empty() {
        return Ok(());
    }
    let (answer, answered) = mpsc::channel();
    let names = doomed.clone();
    // In the same namespace as this thread.
    let thread = std::thread::Builder::new().name("unlink".into()).stack_size(256 * 1024).spawn(move || {
        let result = delete_now(&names);
        if let Err(mpsc::SendError(Err(error))) = answer.send(result) {
            tracing::warn!("deleting links: {error}");
        }
    });
    let failed = NetworkError::kernel("delete links");
    if let Err(error) = thread {
        return Err(failed(error));
    }
    loop {
        match answered.recv_timeout(LOOK_AGAIN) {
            Ok(result) => return result.map_err(failed),
            Err(mpsc::RecvTimeoutError::Disconnected) => return Err(failed(io::Error::other("a thread ended early"))),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                let left = link_names()?;
                if !doomed.iter().any(|name| left.contains(name)) {
                    return Ok(());
                }
            }
        }
    }
}

fn delete_now(names: &[String]) -> io::Result<()> {
    const GONE: i32 = nix::errno::Errno::ENODEV as i32;
    static NEXT: AtomicU32 = AtomicU32::new(0);
    // Of nobody else, also within this process.
    let number = (std::process::id() << 8) | (NEXT.fetch_add(1, Ordering::Relaxed) & 0xff);
    let group = 0x4000_0000 | (number & 0x3fff_ffff);
    let requests = names.iter().map(|name| link::set_group(name, group)).chain([link::delete_group(group)]);
    // A link that goes by itself in the meantime is as good as deleted.
    let failures = fault::around("delete links", || Netlink::route()?.batch(requests))?;
    match failures.into_iter().find(|failure| failure.errno != GONE) {
        None => Ok(()),
        Some(failure) => Err(failure.into()),
    }
}
