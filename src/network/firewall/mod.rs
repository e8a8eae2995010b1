//! The packet filter: one table of our own a project, replaced as a whole.
//!
//! - Outbound traffic gets the host's address (`masquerade`), unless the network is internal.
//! - Published ports are redirected to the container for clients elsewhere and for the host's own addresses; loopback,
//!   link-local and version-crossing clients reach the listening sockets of [`ports`](super::ports).
//! - What is forwarded to a network comes from the same network, answers something, or was redirected; all else is
//!   dropped. This is the isolation of networks from each other and from the neighbours of the host.
//!
//! The table is a function of the leases and the ports ([`table`]), and never edited: [`Firewall::update`] makes all of
//! it again and replaces the old one in one netlink transaction. Rules that are added and deleted one by one need
//! somebody to remember which ones are there; who was killed has forgotten. So a crash costs nothing: the next update
//! is right whatever there was.
//!
//! Within the table the order matters in two places. An internal network's drops come before the jump into the chain of
//! the network that a packet goes to, since no `accept` there may come first. And guards of ports on loopback come
//! before all else (priority -300): a neighbour may address a packet to 127.0.0.1, and a host may be set to route it.
//!
//! After the replacement three things follow. The table is read back as the kernel tells it, which is what
//! [`Firewall::is_intact`] compares with later: what we wrote and what is listed differ in form. Other filters are
//! asked for passage. And UDP flows to ports that moved are forgotten, since connection tracking would go on with the
//! address of a container that is gone for as long as a client keeps sending.
//!
//! The socket stays open between updates: to close it waits until the kernel has freed what was replaced.
//!
//! `accept` in a table of ours cannot undo a `drop` in somebody else's; `neighbours` deals with them.

mod conntrack;
mod encode;
mod firewalld;
mod legacy;
mod neighbours;
mod passages;
mod rules;

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ipnetwork::IpNetwork;
use nix::errno::Errno;

use super::error::{NetworkError, Result};
use super::lease::NetworkLease;
use super::names;
use super::netlink::Netlink;
use super::spec::{Protocol, PublishedPort};
use crate::sys::fault;
use neighbours::Passage;
use passages::passages;
use rules::{Action, Base, Chain, Condition, HookPoint, Kind, Rule, Table};

/// A published port and where it leads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publication {
    pub port: PublishedPort,
    /// The container's addresses; the first of each version that is not in an internal network is used.
    pub addresses: Vec<IpAddr>,
}

const RAW: i32 = -300;
const DSTNAT: i32 = -100;
const FILTER: i32 = 0;
const SRCNAT: i32 = 100;

fn rule(conditions: Vec<Condition>, action: Action) -> Rule {
    Rule { conditions, action }
}

fn base(name: &str, kind: Kind, hook: HookPoint, priority: i32, rules: Vec<Rule>) -> Chain {
    Chain { name: name.to_owned(), base: Some(Base { kind, hook, priority }), rules }
}

/// The whole table for a set of networks and ports.
fn table(project_id: &str, networks: &[NetworkLease], ports: &[Publication]) -> Table {
    let input = |name: &str, is| Condition::Input { name: name.to_owned(), is };
    let output = |name: &str, is| Condition::Output { name: name.to_owned(), is };
    let mut drops = Vec::new();
    let mut forward = Vec::new();
    let mut postrouting = Vec::new();
    let mut into = Vec::new();
    for network in networks {
        let bridge = network.bridge.as_str();
        if network.internal {
            drops.push(rule(vec![input(bridge, true), output(bridge, false)], Action::Drop));
        }
        let chain = format!("to-{bridge}");
        forward.push(rule(vec![output(bridge, true)], Action::Jump(chain.clone())));
        let mut rules = vec![
            rule(vec![Condition::EstablishedOrRelated], Action::Accept),
            rule(vec![input(bridge, true)], Action::Accept),
        ];
        if !network.internal {
            rules.push(rule(vec![Condition::Redirected], Action::Accept));
        }
        rules.push(rule(vec![], Action::Drop));
        into.push(Chain { name: chain, base: None, rules });
        for subnet in network.subnets.iter().filter(|_| !network.internal) {
            let source = || Condition::Source { network: subnet.subnet, is: true };
            if network.masquerade {
                postrouting.push(rule(vec![source(), output(bridge, false)], Action::Masquerade));
            }
            // Through the host and back: the answer must take the same way.
            postrouting.push(rule(vec![source(), output(bridge, true), Condition::Redirected], Action::Masquerade));
        }
    }
    // No `accept` below may come before these.
    drops.append(&mut forward);
    let mut chains = vec![base("forward", Kind::Filter, HookPoint::Forward, FILTER, drops)];
    chains.extend(into);
    chains.push(base("postrouting", Kind::Nat, HookPoint::Postrouting, SRCNAT, postrouting));
    chains.extend(publishing(networks, ports));
    Table { name: names::table(project_id), chains }
}

fn loopback(ipv4: bool) -> IpNetwork {
    let network = if ipv4 {
        IpNetwork::new(Ipv4Addr::new(127, 0, 0, 0).into(), 8)
    } else {
        IpNetwork::new(Ipv6Addr::LOCALHOST.into(), 128)
    };
    network.unwrap_or_else(|_| IpAddr::V6(Ipv6Addr::LOCALHOST).into())
}

/// The address by which a container is reached from outside.
fn target(networks: &[NetworkLease], port: &PublishedPort, addresses: &[IpAddr]) -> Option<IpAddr> {
    let outside = |address: &IpAddr| {
        networks
            .iter()
            .any(|network| !network.internal && network.subnets.iter().any(|subnet| subnet.subnet.contains(*address)))
    };
    addresses.iter().copied().find(|address| address.is_ipv4() == port.host_ip.is_ipv4() && outside(address))
}

fn publishing(networks: &[NetworkLease], ports: &[Publication]) -> Vec<Chain> {
    let mut guards = Vec::new();
    let mut redirects = Vec::new();
    for Publication { port, addresses } in ports {
        let to_port = || Condition::Port { protocol: port.protocol, port: port.published };
        if port.host_ip.is_loopback() {
            // A neighbour may address a packet to 127.0.0.1, and a host may be set to route it.
            guards.push(rule(
                vec![
                    Condition::Input { name: "lo".into(), is: false },
                    Condition::Destination { network: loopback(port.host_ip.is_ipv4()), is: true },
                    to_port(),
                ],
                Action::Drop,
            ));
            continue;
        }
        let Some(target) = target(networks, port, addresses) else { continue };
        let mut conditions = vec![match port.host_ip {
            IpAddr::V4(v4) if v4.is_unspecified() => Condition::Ipv4,
            IpAddr::V6(v6) if v6.is_unspecified() => Condition::Ipv6,
            address => Condition::Destination { network: address.into(), is: true },
        }];
        if port.host_ip.is_ipv6()
            && let Ok(network) = IpNetwork::new(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0).into(), 10)
        {
            // Nothing can be routed back to a link-local client.
            conditions.push(Condition::Source { network, is: false });
        }
        // The container itself gets there by the listening socket: where bridged packets pass the IP rules too
        // (br_netfilter), its own ones would have to leave by the bridge port by which they came.
        conditions.push(Condition::Source { network: target.into(), is: false });
        conditions.push(to_port());
        redirects.push(rule(conditions, Action::Redirect(SocketAddr::new(target, port.target))));
    }
    let mut chains = Vec::new();
    if !guards.is_empty() {
        chains.push(base("raw-prerouting", Kind::Filter, HookPoint::Prerouting, RAW, guards));
    }
    if !redirects.is_empty() {
        let publish = || rule(vec![Condition::ToThisHost], Action::Jump("publish".to_owned()));
        let local = |ipv4| rule(vec![Condition::Destination { network: loopback(ipv4), is: true }], Action::Accept);
        chains.push(Chain { name: "publish".to_owned(), base: None, rules: redirects });
        chains.push(base("prerouting", Kind::Nat, HookPoint::Prerouting, DSTNAT, vec![publish()]));
        let output = vec![local(true), local(false), publish()];
        chains.push(base("output", Kind::Nat, HookPoint::Output, DSTNAT, output));
    }
    chains
}

/// Leads 127.0.0.11:53 of the calling thread's namespace to other ports. `fresh`: the namespace has no rules yet.
///
/// # Errors
/// When the kernel refuses the rules.
pub fn redirect_resolver(udp: SocketAddr, tcp: SocketAddr, fresh: bool) -> io::Result<()> {
    let redirect = |protocol, to: SocketAddr| {
        let conditions =
            vec![Condition::Destination { network: to.ip().into(), is: true }, Condition::Port { protocol, port: 53 }];
        rule(conditions, Action::Redirect(to))
    };
    let rules = vec![redirect(Protocol::Udp, udp), redirect(Protocol::Tcp, tcp)];
    let chains = vec![base("output", Kind::Nat, HookPoint::Output, DSTNAT, rules)];
    let mut state = State::default();
    let table = Table { name: "windlass-resolver".to_owned(), chains };
    // What is replaced waits to be freed when this socket is closed, some 10 ms.
    state.commit(if fresh { encode::create(&table) } else { encode::replace(&table) }, |_| false)
}

/// Writes the table of a project.
#[derive(Debug, Clone)]
pub struct Firewall {
    project_id: String,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Stays open: closing such a socket waits until the kernel has freed what was replaced, some 10 ms.
    netlink: Option<Netlink>,
    /// What was asked of other packet filters.
    passage: Option<Vec<Passage>>,
    obstacles: Vec<String>,
    /// firewalld lets them pass, as far as it does what it is asked for.
    trusted: firewalld::Trust,
    /// The table as the kernel told of it after it was written.
    written: Option<Vec<String>>,
    /// UDP ports, and where the rules lead them.
    udp: BTreeSet<(u16, Option<IpAddr>)>,
}

impl State {
    fn netlink(&mut self) -> io::Result<&mut Netlink> {
        match &mut self.netlink {
            Some(netlink) => Ok(netlink),
            none => Ok(none.insert(Netlink::netfilter()?)),
        }
    }

    fn commit(&mut self, requests: Vec<encode::Request>, tolerated: impl Fn(i32) -> bool) -> io::Result<()> {
        let last = requests.len();
        let netlink = self.netlink()?;
        let failures =
            fault::around("change packet rules", || netlink.transaction(encode::transaction(requests), last))?;
        failures.into_iter().find(|failure| !tolerated(failure.errno)).map_or(Ok(()), |failure| Err(failure.into()))
    }
}

/// Ids of all projects of this network namespace that have a table.
///
/// # Errors
/// When the kernel does not list its tables.
pub fn projects() -> Result<Vec<String>> {
    let listed = Netlink::netfilter().and_then(|mut netlink| neighbours::own_tables(&mut netlink));
    listed.map_err(NetworkError::kernel("list the tables of the packet filter"))
}

impl Firewall {
    pub fn new(project_id: &str) -> Self {
        Self { project_id: project_id.to_owned(), state: Arc::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the project's table: one transaction, no packet sees a part of it.
    ///
    /// # Errors
    /// When the kernel refuses the table; the old one stays then. What other filters refuse is among
    /// [`Self::obstacles`].
    pub fn update(&self, networks: &[NetworkLease], ports: &[Publication]) -> Result<()> {
        let mut state = self.state();
        let table = table(&self.project_id, networks, ports);
        state
            .commit(encode::replace(&table), |_| false)
            .map_err(NetworkError::kernel("write the packet filter rules"))?;
        state.written = state.netlink().and_then(|netlink| neighbours::content(netlink, &table.name)).ok();
        self.pass(&mut state, networks, ports);
        let udp: BTreeSet<_> = ports
            .iter()
            .filter(|publication| publication.port.protocol == Protocol::Udp)
            .map(|publication| {
                let target = target(networks, &publication.port, &publication.addresses);
                (publication.port.published, target)
            })
            .collect();
        let moved = udp.symmetric_difference(&state.udp).map(|(port, _)| *port).collect();
        // Wrong for a while at worst, and not worth failing for.
        if let Err(error) = state.netlink().and_then(|netlink| conntrack::forget_udp(netlink, &moved)) {
            tracing::warn!("cannot forget tracked UDP flows: {error}");
        }
        state.udp = udp;
        Ok(())
    }

    /// Whether the kernel has the rules that were written last, and other filters those that they were asked for. What
    /// is not so is written by the next [`Self::update`].
    ///
    /// # Errors
    /// When the rules cannot be read.
    pub fn is_intact(&self) -> Result<bool> {
        let mut state = self.state();
        let Some(written) = state.written.clone() else { return Ok(true) };
        let failed = || NetworkError::kernel("read the packet filter rules");
        let table = names::table(&self.project_id);
        let found = state.netlink().and_then(|netlink| neighbours::content(netlink, &table)).map_err(failed())?;
        let asked = state.passage.clone().unwrap_or_default();
        let granted = state
            .netlink()
            .and_then(|netlink| neighbours::is_granted(netlink, &self.project_id, &asked))
            .map_err(failed())?;
        let trusted = state.trusted.clone();
        let trusted = state.netlink().and_then(|netlink| firewalld::is_granted(netlink, &trusted)).map_err(failed())?;
        if !granted || !trusted || !legacy::is_granted(&self.project_id, &asked) {
            state.passage = None;
        }
        Ok(found == written && state.passage.is_some())
    }

    /// Removes the project's table, if there is one, and what it asked of others.
    ///
    /// # Errors
    /// When the kernel refuses to delete the table, or others' rules to be taken back. That there is none is no error.
    pub fn remove(&self) -> Result<()> {
        let mut state = self.state();
        let missing = |errno| errno == Errno::ENOENT as i32;
        let table = names::table(&self.project_id);
        state
            .commit(vec![encode::delete_table(&table)], missing)
            .map_err(NetworkError::kernel("remove the packet filter rules"))?;
        state.udp.clear();
        state.written = None;
        state.passage = None;
        let withdrawn = state.netlink().and_then(|netlink| neighbours::withdraw(netlink, &self.project_id));
        let withdrawn = withdrawn.and(legacy::withdraw(&self.project_id));
        if let Ok(netlink) = state.netlink() {
            firewalld::withdraw(netlink, &names::prefix(&self.project_id));
        }
        withdrawn.map_err(NetworkError::kernel("take back rules from the host's packet filter"))
    }

    /// What of the host's own packet filters stands in the way, in words for people; as of the last update.
    pub fn obstacles(&self) -> Vec<String> {
        self.state().obstacles.clone()
    }

    /// Asks other packet filters for passage, once for the same interfaces.
    fn pass(&self, state: &mut State, networks: &[NetworkLease], ports: &[Publication]) {
        let wanted = passages(&names::prefix(&self.project_id), networks, ports);
        // What stood in the way may be gone.
        if state.passage.as_ref() == Some(&wanted) && state.obstacles.is_empty() {
            return;
        }
        let bridges = networks.iter().map(|network| names::prefix(&network.project_id)).collect();
        let asked = state.netlink().and_then(|netlink| {
            let mut obstacles = neighbours::ask_for_passage(netlink, &self.project_id, &wanted)?;
            obstacles.extend(legacy::ask_for_passage(&self.project_id, &wanted)?);
            let (trusted, obstacle) = firewalld::ask_for_passage(netlink, bridges)?;
            obstacles.extend(obstacle);
            Ok((obstacles, trusted))
        });
        let before = std::mem::take(&mut state.obstacles);
        match asked {
            Ok((obstacles, trusted)) => {
                state.passage = Some(wanted);
                state.obstacles = obstacles;
                state.trusted = trusted;
            }
            Err(error) => state.obstacles = vec![format!("cannot look at the host's packet filters: {error}")],
        }
        for obstacle in state.obstacles.iter().filter(|obstacle| !before.contains(obstacle)) {
            tracing::warn!("{obstacle}");
        }
    }
}

#[cfg(test)]
mod tests;
