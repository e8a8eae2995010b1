//! Other packet filters on the same host. `accept` in a table of ours cannot undo a `drop` in one of theirs, so we ask
//! for passage where a well-known chain is made for that, and tell people about the rest.

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

/// Docker's chain for rules of other people, then the hook's own chain as `iptables` names it.
pub const PASSAGES: [&str; 2] = ["DOCKER-USER", "FORWARD"];

pub const FILTER: &str = "filter";

/// A chain of somebody else.
#[derive(Debug)]
struct Foreign {
    family: NetfilterProtoFamily,
    table: String,
    name: String,
    /// Drops what its rules let through at the forward hook.
    drops: bool,
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
    /// Only from these interfaces to these, for what has no way out.
    pub within: bool,
}

impl Passage {
    /// The directions of each rule.
    fn rules(&self) -> &'static [&'static [MetaKey]] {
        if self.within { &[&[MetaKey::Iifname, MetaKey::Oifname]] } else { &[&[MetaKey::Iifname], &[MetaKey::Oifname]] }
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
    for chain in doors(&chains) {
        for asked in passages {
            requests.extend(asked.rules().iter().map(|keys| passage(chain, project_id, keys, &asked.interfaces)));
        }
    }
    let mut obstacles = Vec::new();
    for chain in chains.iter().filter(|chain| chain.drops) {
        let iptables = matches!(chain.family, NetfilterProtoFamily::IPv4 | NetfilterProtoFamily::IPv6)
            && chain.table == FILTER
            && chain.name == PASSAGES[1];
        if !iptables {
            obstacles.push(format!(
                "the chain {} of the packet filter table {} drops forwarded packets: containers may not reach the \
                 outside until it accepts interfaces named {}*",
                chain.name,
                chain.table,
                names::prefix(project_id)
            ));
        }
    }
    if chains.iter().any(|chain| chain.table == "firewalld") {
        let bridges = format!("{}+", names::prefix(project_id));
        obstacles.push(format!(
            "firewalld is active and rejects what containers send to the outside, unless the project's bridges are in \
             its zone `trusted`: firewall-cmd --permanent --zone=trusted --add-interface={bridges} && firewall-cmd \
             --reload"
        ));
    }
    commit(netlink, requests)?;
    Ok(obstacles)
}

/// The chains that are to be asked for passage.
fn doors(chains: &[Foreign]) -> impl Iterator<Item = &Foreign> {
    [NetfilterProtoFamily::IPv4, NetfilterProtoFamily::IPv6].into_iter().filter_map(|family| {
        let find = |name: &str| chains.iter().find(|c| c.family == family && c.table == FILTER && c.name == name);
        let [docker, forward] = PASSAGES.map(find);
        forward.filter(|chain| chain.drops).map(|forward| docker.unwrap_or(forward))
    })
}

/// Whether everything that was asked for is still there, and nobody came who is to be asked too.
///
/// # Errors
/// When others' chains cannot be read.
pub fn is_granted(netlink: &mut Netlink, project_id: &str, passages: &[Passage]) -> io::Result<bool> {
    let chains = foreign_chains(netlink)?;
    let wanted: usize = passages.iter().map(|asked| asked.rules().len()).sum();
    let there = withdrawals(netlink, project_id, &chains)?.len();
    Ok(there == wanted * doors(&chains).count())
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
    let mut found = Foreign { family: message.header.family, table: String::new(), name: String::new(), drops: false };
    let (mut forward, mut drop) = (false, false);
    for attribute in chain.attributes {
        match attribute {
            ChainAttribute::Table(table) => found.table = table,
            ChainAttribute::Name(name) => found.name = name,
            ChainAttribute::Hook(hook) => {
                forward = hook.contains(&Hook::Number(HookNumber::Inet(InetHookNumber::Forward)));
            }
            ChainAttribute::Policy(policy) => drop = policy == 0,
            _ => {}
        }
    }
    let ip =
        matches!(found.family, NetfilterProtoFamily::IPv4 | NetfilterProtoFamily::IPv6 | NetfilterProtoFamily::Inet);
    found.drops = forward && drop && ip;
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
fn passage(chain: &Foreign, project_id: &str, keys: &[MetaKey], interfaces: &Interfaces) -> Request {
    let mut expressions = Vec::new();
    for key in keys {
        match interfaces {
            Interfaces::StartingWith(prefix) => encode::interface_bytes(&mut expressions, *key, prefix.as_bytes()),
            Interfaces::Named(name) => {
                encode::interface_bytes(&mut expressions, *key, &[name.as_bytes(), &[0]].concat());
            }
        }
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
    for chain in chains.iter().filter(|chain| chain.table == FILTER && PASSAGES.contains(&chain.name.as_str())) {
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
