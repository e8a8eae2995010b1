//! Rules as netlink messages.

use std::net::{IpAddr, SocketAddr};

use ipnetwork::IpNetwork;
use netlink_packet_core::{DefaultNla, NLM_F_APPEND, NLM_F_CREATE};
use netlink_packet_netfilter::nftables::{
    Bitwise, ChainAttribute, ChainMessage, Cmp, DataAttribute, ExpressionAttribute, Expressions, Hook, HookNumber,
    Immediate, InetHookNumber, ListAttribute, Meta, MetaKey, NfTablesMessage, Operator, Payload, Register,
    RuleAttribute, RuleMessage, TableAttribute, TableMessage, Verdict, VerdictAttribute,
};
use netlink_packet_netfilter::none::ControlMessage;
use netlink_packet_netfilter::{NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily};

use super::rules::{Action, Base, Chain, Condition, HookPoint, Kind, Rule, Table};
use crate::network::spec::Protocol;

/// The subsystem number that the begin and end of a transaction carry.
const SUBSYSTEM: u16 = 10;

/// A request with its additional flags.
pub type Request = (u16, NetfilterMessage);

type Expression = ListAttribute<ExpressionAttribute>;

const R1: Register = Register::Reg1;
const R2: Register = Register::Reg2;

pub fn message(family: NetfilterProtoFamily, message: NfTablesMessage) -> NetfilterMessage {
    NetfilterMessage::new(NetfilterHeader::new(family, 0, 0), message)
}

fn control(message: ControlMessage) -> Request {
    let header = NetfilterHeader::new(NetfilterProtoFamily::Unspec, 0, SUBSYSTEM);
    (0, NetfilterMessage::new(header, NetfilterMessageInner::None(message)))
}

/// Puts requests into a transaction. The one before the last carries the acknowledgement.
pub fn transaction(requests: impl IntoIterator<Item = Request>) -> Vec<Request> {
    let mut all = vec![control(ControlMessage::BatchBegin)];
    all.extend(requests);
    all.push(control(ControlMessage::BatchEnd));
    all
}

fn table_message(name: &str) -> TableMessage {
    TableMessage { attributes: vec![TableAttribute::Name(name.to_owned())] }
}

pub fn new_table(name: &str) -> Request {
    (NLM_F_CREATE, message(NetfilterProtoFamily::Inet, NfTablesMessage::NewTable(table_message(name))))
}

pub fn delete_table(name: &str) -> Request {
    (0, message(NetfilterProtoFamily::Inet, NfTablesMessage::DeleteTable(table_message(name))))
}

/// The whole table in place of whatever it was before.
pub fn replace(table: &Table) -> Vec<Request> {
    // Deleting needs the table to exist; creating one that exists changes nothing.
    let mut requests = vec![new_table(&table.name), delete_table(&table.name)];
    requests.extend(create(table));
    requests
}

/// A table that is not there yet.
pub fn create(table: &Table) -> Vec<Request> {
    let mut requests = vec![new_table(&table.name)];
    requests.extend(table.chains.iter().map(|chain| new_chain(&table.name, chain)));
    for chain in &table.chains {
        requests.extend(chain.rules.iter().map(|rule| new_rule(&table.name, &chain.name, rule)));
    }
    requests
}

fn new_chain(table: &str, chain: &Chain) -> Request {
    let mut attributes = vec![ChainAttribute::Table(table.to_owned()), ChainAttribute::Name(chain.name.clone())];
    if let Some(Base { kind, hook, priority }) = chain.base {
        let hook = match hook {
            HookPoint::Prerouting => InetHookNumber::PreRouting,
            HookPoint::Forward => InetHookNumber::Forward,
            HookPoint::Output => InetHookNumber::LocalOut,
            HookPoint::Postrouting => InetHookNumber::PostRouting,
        };
        attributes.push(ChainAttribute::Hook(vec![
            Hook::Number(HookNumber::Inet(hook)),
            Hook::Priority(priority.cast_unsigned()),
        ]));
        let kind = match kind {
            Kind::Filter => "filter",
            Kind::Nat => "nat",
        };
        attributes.push(ChainAttribute::Type(kind.to_owned()));
    }
    let chain = NfTablesMessage::NewChain(ChainMessage { attributes });
    (NLM_F_CREATE, message(NetfilterProtoFamily::Inet, chain))
}

fn new_rule(table: &str, chain: &str, rule: &Rule) -> Request {
    let mut expressions = Vec::new();
    for condition in &rule.conditions {
        encode_condition(&mut expressions, condition);
    }
    encode_action(&mut expressions, &rule.action);
    let rule = RuleMessage {
        attributes: vec![
            RuleAttribute::Table(table.to_owned()),
            RuleAttribute::Chain(chain.to_owned()),
            RuleAttribute::Expressions(expressions),
        ],
    };
    (NLM_F_CREATE | NLM_F_APPEND, message(NetfilterProtoFamily::Inet, NfTablesMessage::NewRule(rule)))
}

fn encode_condition(out: &mut Vec<Expression>, condition: &Condition) {
    match condition {
        Condition::Input { name, is } => interface(out, MetaKey::Iifname, name, *is),
        Condition::Output { name, is } => interface(out, MetaKey::Oifname, name, *is),
        Condition::Source { network, is } => address(out, *network, *is, 12, 8),
        Condition::Destination { network, is } => address(out, *network, *is, 16, 24),
        Condition::Ipv4 => family(out, true),
        Condition::Ipv6 => family(out, false),
        Condition::ToThisHost => {
            const ADDRESS_TYPE: u32 = 3;
            const OF_DESTINATION: u32 = 2;
            const LOCAL: u32 = 2;
            out.push(other("fib", &[(1, R1.into()), (2, ADDRESS_TYPE), (3, OF_DESTINATION)]));
            out.push(compare(true, LOCAL.to_ne_bytes().to_vec()));
        }
        Condition::Port { protocol, port } => ports(out, *protocol, *port, *port),
        Condition::EstablishedOrRelated => {
            const STATE: u32 = 0;
            tracked(out, STATE, 2 | 4);
        }
        Condition::Redirected => {
            const STATUS: u32 = 2;
            tracked(out, STATUS, 1 << 5);
        }
    }
}

fn tracked(out: &mut Vec<Expression>, key: u32, bits: u32) {
    out.push(other("ct", &[(1, R1.into()), (2, key)]));
    out.push(mask(bits.to_ne_bytes().to_vec()));
    out.push(compare(false, vec![0; 4]));
}

/// The destination port is one from the first to the last.
pub fn ports(out: &mut Vec<Expression>, protocol: Protocol, first: u16, last: u16) {
    let number = match protocol {
        Protocol::Tcp => 6,
        Protocol::Udp => 17,
        Protocol::Sctp => 132,
    };
    out.push(meta(MetaKey::L4Proto));
    out.push(compare(true, vec![number]));
    // Source and destination port lead every transport header.
    out.push(payload(2, 2, 2));
    if first == last {
        out.push(compare(true, first.to_be_bytes().to_vec()));
    } else {
        out.push(compared(Operator::GreatherThanEqual, first.to_be_bytes().to_vec()));
        out.push(compared(Operator::LessThanEqual, last.to_be_bytes().to_vec()));
    }
}

/// The first bytes of an interface's name: the way in which `iptables` compares them.
pub fn interface_bytes(out: &mut Vec<Expression>, key: MetaKey, bytes: &[u8]) {
    out.push(meta(key));
    out.push(compare(true, bytes.to_vec()));
}

fn interface(out: &mut Vec<Expression>, key: MetaKey, name: &str, is: bool) {
    let mut bytes = name.as_bytes().to_vec();
    bytes.resize(16, 0);
    out.push(meta(key));
    out.push(compare(is, bytes));
}

fn family(out: &mut Vec<Expression>, ipv4: bool) {
    out.push(meta(MetaKey::Nfproto));
    let family = if ipv4 { NetfilterProtoFamily::IPv4 } else { NetfilterProtoFamily::IPv6 };
    out.push(compare(true, vec![family.into()]));
}

fn address(out: &mut Vec<Expression>, network: IpNetwork, is: bool, ipv4_offset: u32, ipv6_offset: u32) {
    family(out, network.is_ipv4());
    let (offset, bytes, bits): (u32, Vec<u8>, u8) = match network {
        IpNetwork::V4(v4) => (ipv4_offset, v4.network().octets().into(), 32),
        IpNetwork::V6(v6) => (ipv6_offset, v6.network().octets().into(), 128),
    };
    out.push(payload(1, offset, u32::from(bits / 8)));
    if network.prefix() < bits {
        out.push(mask(match network.mask() {
            IpAddr::V4(v4) => v4.octets().into(),
            IpAddr::V6(v6) => v6.octets().into(),
        }));
    }
    out.push(compare(is, bytes));
}

fn encode_action(out: &mut Vec<Expression>, action: &Action) {
    match action {
        Action::Accept => out.push(verdict(Verdict::Other(1), None)),
        Action::Drop => out.push(verdict(Verdict::Other(0), None)),
        Action::Jump(chain) => out.push(verdict(Verdict::Jump, Some(chain))),
        Action::Masquerade => out.push(other("masq", &[])),
        Action::Redirect(to) => {
            let (family, bytes): (NetfilterProtoFamily, Vec<u8>) = match to {
                SocketAddr::V4(v4) => (NetfilterProtoFamily::IPv4, v4.ip().octets().into()),
                SocketAddr::V6(v6) => (NetfilterProtoFamily::IPv6, v6.ip().octets().into()),
            };
            const DNAT: u32 = 1;
            out.push(immediate(R1, bytes));
            out.push(immediate(R2, to.port().to_be_bytes().to_vec()));
            let family = u32::from(u8::from(family));
            out.push(other("nat", &[(1, DNAT), (2, family), (3, R1.into()), (5, R2.into())]));
        }
    }
}

pub fn verdict(code: Verdict, chain: Option<&str>) -> Expression {
    let mut attributes = vec![VerdictAttribute::Code(code)];
    attributes.extend(chain.map(|chain| VerdictAttribute::Chain(chain.to_owned())));
    Expressions::Immediate(vec![
        Immediate::DestinationRegister(Register::Verdict),
        Immediate::Data(DataAttribute::Verdict(attributes)),
    ])
    .into()
}

fn immediate(register: Register, bytes: Vec<u8>) -> Expression {
    Expressions::Immediate(vec![Immediate::DestinationRegister(register), Immediate::Data(DataAttribute::Value(bytes))])
        .into()
}

fn meta(key: MetaKey) -> Expression {
    Expressions::Meta(vec![Meta::DestinationRegister(R1), Meta::Key(key)]).into()
}

fn compare(equal: bool, bytes: Vec<u8>) -> Expression {
    compared(if equal { Operator::Equal } else { Operator::NotEqual }, bytes)
}

fn compared(operator: Operator, bytes: Vec<u8>) -> Expression {
    Expressions::Cmp(vec![Cmp::SourceRegister(R1), Cmp::Op(operator), Cmp::Data(DataAttribute::Value(bytes))]).into()
}

fn payload(base: u32, offset: u32, length: u32) -> Expression {
    Expressions::Payload(vec![
        Payload::DestinationRegister(R1),
        Payload::Base(base),
        Payload::Offset(offset),
        Payload::Len(length),
    ])
    .into()
}

fn mask(bytes: Vec<u8>) -> Expression {
    Expressions::Bitwise(vec![
        Bitwise::SourceRegister(R1),
        Bitwise::DestinationRegister(R1),
        Bitwise::Length(u32::try_from(bytes.len()).unwrap_or(4)),
        Bitwise::Xor(DataAttribute::Value(vec![0; bytes.len()])),
        Bitwise::Mask(DataAttribute::Value(bytes)),
    ])
    .into()
}

/// An expression of numbers in network order, for those that the crate has no type for.
fn other(name: &str, attributes: &[(u16, u32)]) -> Expression {
    Expressions::Other {
        expression_type: name.to_owned(),
        attributes: attributes
            .iter()
            .map(|&(kind, value)| DefaultNla::new(kind, value.to_be_bytes().to_vec()))
            .collect(),
    }
    .into()
}
