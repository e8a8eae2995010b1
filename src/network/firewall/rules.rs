//! A table of packet filter rules as data, and as the text that `nft` would print.

use std::fmt;
use std::net::SocketAddr;

use ipnetwork::IpNetwork;

use crate::network::spec::Protocol;

/// One table of the `inet` family, replaced as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Table {
    pub name: String,
    pub chains: Vec<Chain>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chain {
    pub name: String,
    /// Where packets enter; `None` for chains that others jump to.
    pub base: Option<Base>,
    pub rules: Vec<Rule>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Base {
    pub kind: Kind,
    pub hook: HookPoint,
    pub priority: i32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Filter,
    Nat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookPoint {
    Prerouting,
    Forward,
    Output,
    Postrouting,
}

/// All conditions must hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    pub conditions: Vec<Condition>,
    pub action: Action,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Condition {
    Input {
        name: String,
        is: bool,
    },
    Output {
        name: String,
        is: bool,
    },
    Source {
        network: IpNetwork,
        is: bool,
    },
    Destination {
        network: IpNetwork,
        is: bool,
    },
    Ipv4,
    Ipv6,
    /// The destination is one of this host's addresses.
    ToThisHost,
    Port {
        protocol: Protocol,
        port: u16,
    },
    EstablishedOrRelated,
    /// Its destination was replaced.
    Redirected,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    Accept,
    Drop,
    Jump(String),
    Masquerade,
    Redirect(SocketAddr),
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "table inet {} {{", self.name)?;
        for chain in &self.chains {
            writeln!(f, "\tchain {} {{", chain.name)?;
            if let Some(base) = chain.base {
                let kind = match base.kind {
                    Kind::Filter => "filter",
                    Kind::Nat => "nat",
                };
                let hook = match base.hook {
                    HookPoint::Prerouting => "prerouting",
                    HookPoint::Forward => "forward",
                    HookPoint::Output => "output",
                    HookPoint::Postrouting => "postrouting",
                };
                writeln!(f, "\t\ttype {kind} hook {hook} priority {}; policy accept;", base.priority)?;
            }
            for rule in &chain.rules {
                writeln!(f, "\t\t{rule}")?;
            }
            writeln!(f, "\t}}")?;
        }
        writeln!(f, "}}")
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for condition in &self.conditions {
            write!(f, "{condition} ")?;
        }
        match &self.action {
            Action::Accept => f.write_str("accept"),
            Action::Drop => f.write_str("drop"),
            Action::Jump(chain) => write!(f, "jump {chain}"),
            Action::Masquerade => f.write_str("masquerade"),
            Action::Redirect(to @ SocketAddr::V4(_)) => write!(f, "dnat ip to {to}"),
            Action::Redirect(to @ SocketAddr::V6(_)) => write!(f, "dnat ip6 to {to}"),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let not = |is: &bool| if *is { "" } else { "!= " };
        let ip = |network: &IpNetwork| if network.is_ipv4() { "ip" } else { "ip6" };
        // A single host is written without its prefix.
        let short = |network: &IpNetwork| match network.prefix() {
            32 if network.is_ipv4() => network.ip().to_string(),
            128 => network.ip().to_string(),
            _ => network.to_string(),
        };
        match self {
            Self::Input { name, is } => write!(f, "iifname {}\"{name}\"", not(is)),
            Self::Output { name, is } => write!(f, "oifname {}\"{name}\"", not(is)),
            Self::Source { network, is } => write!(f, "{} saddr {}{}", ip(network), not(is), short(network)),
            Self::Destination { network, is } => write!(f, "{} daddr {}{}", ip(network), not(is), short(network)),
            Self::Ipv4 => f.write_str("meta nfproto ipv4"),
            Self::Ipv6 => f.write_str("meta nfproto ipv6"),
            Self::ToThisHost => f.write_str("fib daddr type local"),
            Self::Port { protocol, port } => write!(f, "{protocol} dport {port}"),
            Self::EstablishedOrRelated => f.write_str("ct state established,related"),
            Self::Redirected => f.write_str("ct status dnat"),
        }
    }
}
