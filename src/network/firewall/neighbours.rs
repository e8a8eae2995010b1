//! Other packet filters on the same host. `accept` in a table of ours cannot undo a `drop` in one of theirs, so we ask
//! for passage where a well-known chain is made for that, and tell people about the rest.
//!
//! What is asked for is as narrow as it can be: what is forwarded from and to our bridges, and from there to the published
//! ports of this machine. Their `deny incoming` goes on to hold for everything else, and for everybody else.

use std::io;

use netlink_packet_core::NLM_F_CREATE;
use netlink_packet_netfilter::nftables::{
    ChainAttribute, ChainMessage, Expressions, Hook, HookNumber, InetHookNumber, ListAttribute, MetaKey,
    NfTablesMessage, RuleAttribute, RuleMessage, Verdict,
};
use netlink_packet_netfilter::{NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily};

use super::encode::{self, Request};
use crate::network::names;
use crate::network::netlink::Netlink;
use crate::network::spec::Protocol;

/// Docker's chain for rules of other people.
pub const DOCKER: &str = "DOCKER-USER";

pub const FILTER: &str = "filter";

/// What packets are on their way to when they are dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    Elsewhere,
    ThisMachine,
}

impl Door {
    pub const ALL: [Self; 2] = [Self::Elsewhere, Self::ThisMachine];

    /// The hook's own chain as `iptables` names it.
    pub fn chain(self) -> &'static str {
        match self {
            Self::Elsewhere => "FORWARD",
            Self::ThisMachine => "INPUT",
        }
    }
}

/// A chain of somebody else.
#[derive(Debug)]
struct Foreign {
    family: NetfilterProtoFamily,
    table: String,
    name: String,
    /// Where it drops what its rules let through.
    drops: Option<Door>,
}

/// Interfaces that are ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Interfaces {
    StartingWith(String),
    Named(String),
}

/// Packets that other filters are asked to let through. Where bridges are filtered, as Docker has it, that is also what
/// goes from one container to the next within one network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Passage {
    pub interfaces: Interfaces,
    pub way: Way,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// By these interfaces, in and out.
    Through,
    /// Only from these interfaces to these, for what has no way out.
    Within,
    /// From these interfaces to ports of this machine, from the first to the last.
    To(Protocol, u16, u16),
}

impl Passage {
    pub fn door(&self) -> Door {
        if matches!(self.way, Way::To(..)) { Door::ThisMachine } else { Door::Elsewhere }
    }

    /// The directions of each rule.
    fn rules(&self) -> &'static [&'static [MetaKey]] {
        match self.way {
            Way::Through => &[&[MetaKey::Iifname], &[MetaKey::Oifname]],
            Way::Within => &[&[MetaKey::Iifname, MetaKey::Oifname]],
            Way::To(..) => &[&[MetaKey::Iifname]],
        }
    }
}

/// Asks for passage for our interfaces in tables in the manner of `iptables`, whose tools can still read them then.
/// Returns what stands in the way all the same, in words for people.
///
/// # Errors
/// When others' chains cannot be read, or the kernel refuses the rules.
pub fn ask_for_passage(netlink: &mut Netlink, project_id: &str, passages: &[Passage]) -> io::Result<Vec<String>> {
    let chains = foreign_chains(netlink)?;
    let mut requests = withdrawals(netlink, project_id, &chains)?;
    for (door, chain) in doors(&chains) {
        for asked in passages.iter().filter(|asked| asked.door() == door) {
            requests.extend(asked.rules().iter().map(|keys| passage(chain, project_id, keys, asked)));
        }
    }
    let prefix = names::prefix(project_id);
    let closed = chains.iter().filter(|chain| chain.drops == Some(Door::Elsewhere) && !is_iptables(chain));
    let obstacles = closed.map(|chain| obstacle(chain, &prefix)).collect();
    commit(netlink, requests)?;
    Ok(obstacles)
}

fn is_iptables(chain: &Foreign) -> bool {
    matches!(chain.family, NetfilterProtoFamily::IPv4 | NetfilterProtoFamily::IPv6)
        && chain.table == FILTER
        && Door::ALL.iter().any(|door| chain.name == door.chain())
}

/// What a chain keeps from passing that nobody may write into but its owner, and what its owner can do.
fn obstacle(chain: &Foreign, prefix: &str) -> String {
    let Foreign { family, table, name, .. } = chain;
    let family = match family {
        NetfilterProtoFamily::IPv4 => "ip",
        NetfilterProtoFamily::IPv6 => "ip6",
        _ => "inet",
    };
    let rule = |key: &str| format!("insert rule {family} {table} {name} {key} \"{prefix}*\" accept");
    format!(
        "the chain {name} of the packet filter table {table} drops forwarded packets: containers may not reach the \
         outside, and published ports not be reached from there, until it accepts the project's interfaces: nft '{}; {}'",
        rule("iifname"),
        rule("oifname")
    )
}

/// The chains that are to be asked for passage.
fn doors(chains: &[Foreign]) -> impl Iterator<Item = (Door, &Foreign)> {
    let families = [NetfilterProtoFamily::IPv4, NetfilterProtoFamily::IPv6];
    families.into_iter().flat_map(|family| Door::ALL.map(|door| (family, door))).filter_map(|(family, door)| {
        let find = |name: &str| chains.iter().find(|c| c.family == family && c.table == FILTER && c.name == name);
        let chain = find(door.chain()).filter(|chain| chain.drops == Some(door))?;
        let docker = find(DOCKER).filter(|_| door == Door::Elsewhere);
        Some((door, docker.unwrap_or(chain)))
    })
}

/// Whether everything that was asked for is still there, and nobody came who is to be asked too.
///
/// # Errors
/// When others' chains cannot be read.
pub fn is_granted(netlink: &mut Netlink, project_id: &str, passages: &[Passage]) -> io::Result<bool> {
    let chains = foreign_chains(netlink)?;
    let rules = |door| passages.iter().filter(move |asked| asked.door() == door).map(|asked| asked.rules().len());
    let wanted: usize = doors(&chains).flat_map(|(door, _)| rules(door)).sum();
    let there = withdrawals(netlink, project_id, &chains)?.len();
    Ok(there == wanted)
}

/// Takes back what was asked for.
///
/// # Errors
/// When others' chains cannot be read, or the kernel refuses to delete the rules.
pub fn withdraw(netlink: &mut Netlink, project_id: &str) -> io::Result<()> {
    let chains = foreign_chains(netlink)?;
    let requests = withdrawals(netlink, project_id, &chains)?;
    commit(netlink, requests)
}

fn commit(netlink: &mut Netlink, requests: Vec<Request>) -> io::Result<()> {
    if requests.is_empty() {
        return Ok(());
    }
    let last = requests.len();
    match netlink.transaction(encode::transaction(requests), last)?.pop() {
        None => Ok(()),
        Some(failure) => Err(failure.into()),
    }
}

fn foreign_chains(netlink: &mut Netlink) -> io::Result<Vec<Foreign>> {
    let all = NfTablesMessage::GetChain(ChainMessage { attributes: vec![] });
    let found = netlink.dump(encode::message(NetfilterProtoFamily::Unspec, all))?;
    Ok(found.into_iter().filter_map(foreign).collect())
}

/// Ids of the projects that have a table.
///
/// # Errors
/// When the kernel does not list its chains.
pub fn own_tables(netlink: &mut Netlink) -> io::Result<Vec<String>> {
    let all = NfTablesMessage::GetChain(ChainMessage { attributes: vec![] });
    let found = netlink.dump(encode::message(NetfilterProtoFamily::Unspec, all))?;
    let tables = found.into_iter().filter_map(|message| match message.inner {
        NetfilterMessageInner::NfTables(NfTablesMessage::NewChain(chain)) => {
            chain.attributes.into_iter().find_map(|attribute| match attribute {
                ChainAttribute::Table(table) => Some(table),
                _ => None,
            })
        }
        _ => None,
    });
    Ok(tables.filter_map(|table| names::project_of_table(&table).map(str::to_owned)).collect())
}

/// The chains and rules of a table of ours, in words that differ when they do.
///
/// # Errors
/// When the kernel does not list its chains or rules.
pub fn content(netlink: &mut Netlink, table: &str) -> io::Result<Vec<String>> {
    let mut found = Vec::new();
    let all = NfTablesMessage::GetChain(ChainMessage { attributes: vec![] });
    for message in netlink.dump(encode::message(NetfilterProtoFamily::Inet, all))? {
        let NetfilterMessageInner::NfTables(NfTablesMessage::NewChain(chain)) = message.inner else { continue };
        if !chain.attributes.contains(&ChainAttribute::Table(table.to_owned())) {
            continue;
        }
        let told = |attribute: &&ChainAttribute| {
            matches!(
                attribute,
                ChainAttribute::Name(_) | ChainAttribute::Hook(_) | ChainAttribute::Policy(_) | ChainAttribute::Type(_)
            )
        };
        found.push(format!("{:?}", chain.attributes.iter().filter(told).collect::<Vec<_>>()));
    }
    if found.is_empty() {
        return Ok(found);
    }
    let ours = RuleMessage { attributes: vec![RuleAttribute::Table(table.to_owned())] };
    for message in netlink.dump(encode::message(NetfilterProtoFamily::Inet, NfTablesMessage::GetRule(ours)))? {
        let NetfilterMessageInner::NfTables(NfTablesMessage::NewRule(rule)) = message.inner else { continue };
        // Old kernels list the rules of all tables, whatever is asked for.
        if !rule.attributes.contains(&RuleAttribute::Table(table.to_owned())) {
            continue;
        }
        let told =
            |attribute: &&RuleAttribute| matches!(attribute, RuleAttribute::Chain(_) | RuleAttribute::Expressions(_));
        found.push(format!("{:?}", rule.attributes.iter().filter(told).collect::<Vec<_>>()));
    }
    Ok(found)
}

fn foreign(message: NetfilterMessage) -> Option<Foreign> {
    let NetfilterMessageInner::NfTables(NfTablesMessage::NewChain(chain)) = message.inner else { return None };
    let mut found = Foreign { family: message.header.family, table: String::new(), name: String::new(), drops: None };
    let (mut door, mut drop) = (None, false);
    for attribute in chain.attributes {
        match attribute {
            ChainAttribute::Table(table) => found.table = table,
            ChainAttribute::Name(name) => found.name = name,
            ChainAttribute::Hook(hook) => {
                let is = |number| hook.contains(&Hook::Number(HookNumber::Inet(number)));
                door = match (is(InetHookNumber::Forward), is(InetHookNumber::LocalIn)) {
                    (true, _) => Some(Door::Elsewhere),
                    (_, true) => Some(Door::ThisMachine),
                    _ => None,
                };
            }
            ChainAttribute::Policy(policy) => drop = policy == 0,
            _ => {}
        }
    }
    let ip =
        matches!(found.family, NetfilterProtoFamily::IPv4 | NetfilterProtoFamily::IPv6 | NetfilterProtoFamily::Inet);
    found.drops = door.filter(|_| drop && ip);
    (!found.table.starts_with("windlass-")).then_some(found)
}

/// What marks a rule as ours: a comment, in the form in which `nft` keeps it.
fn mark(project_id: &str) -> Vec<u8> {
    let text = names::table(project_id);
    let mut bytes = vec![0, u8::try_from(text.len() + 1).unwrap_or(u8::MAX)];
    bytes.extend_from_slice(text.as_bytes());
    bytes.push(0);
    bytes
}

/// An `-i`/`-o … -j ACCEPT` at the head of a chain.
fn passage(chain: &Foreign, project_id: &str, keys: &[MetaKey], asked: &Passage) -> Request {
    let mut expressions = Vec::new();
    for key in keys {
        match &asked.interfaces {
            Interfaces::StartingWith(prefix) => encode::interface_bytes(&mut expressions, *key, prefix.as_bytes()),
            Interfaces::Named(name) => {
                encode::interface_bytes(&mut expressions, *key, &[name.as_bytes(), &[0]].concat());
            }
        }
    }
    if let Way::To(protocol, first, last) = asked.way {
        encode::ports(&mut expressions, protocol, first, last);
    }
    // As iptables has it: a rule without counters is one that its tools do not understand.
    expressions
        .push(ListAttribute::from(Expressions::Other { expression_type: "counter".to_owned(), attributes: vec![] }));
    expressions.push(encode::verdict(Verdict::Other(1), None));
    let rule = RuleMessage {
        attributes: vec![
            RuleAttribute::Table(chain.table.clone()),
            RuleAttribute::Chain(chain.name.clone()),
            RuleAttribute::Expressions(expressions),
            RuleAttribute::UserData(mark(project_id)),
        ],
    };
    (NLM_F_CREATE, encode::message(chain.family, NfTablesMessage::NewRule(rule)))
}

/// Deletes the rules that carry our mark.
fn withdrawals(netlink: &mut Netlink, project_id: &str, chains: &[Foreign]) -> io::Result<Vec<Request>> {
    let mark = mark(project_id);
    let mut requests = Vec::new();
    for chain in chains.iter().filter(|chain| chain.table == FILTER && (is_iptables(chain) || chain.name == DOCKER)) {
        let place = || vec![RuleAttribute::Table(chain.table.clone()), RuleAttribute::Chain(chain.name.clone())];
        let all = NfTablesMessage::GetRule(RuleMessage { attributes: place() });
        for found in netlink.dump(encode::message(chain.family, all))? {
            let NetfilterMessageInner::NfTables(NfTablesMessage::NewRule(rule)) = found.inner else { continue };
            // Old kernels list the rules of all chains, whatever is asked for.
            let here = place().iter().all(|attribute| rule.attributes.contains(attribute));
            let ours = rule.attributes.contains(&RuleAttribute::UserData(mark.clone()));
            let handle = rule.attributes.iter().find(|attribute| matches!(attribute, RuleAttribute::Handle(_)));
            if let (true, true, Some(handle)) = (here, ours, handle) {
                let mut attributes = place();
                attributes.push(handle.clone());
                let delete = NfTablesMessage::DeleteRule(RuleMessage { attributes });
                requests.push((0, encode::message(chain.family, delete)));
            }
        }
    }
    Ok(requests)
}
