//! firewalld: what comes from an interface that is in none of its zones belongs to the default one, which rejects what is
//! to be forwarded, and where bridges are filtered also what one container sends to the next. Nothing but itself can
//! change that, so it is asked by its own tool to have our bridges in its zone `trusted`, until its next reload; where
//! packets may go is then the matter of our own table alone.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use netlink_packet_netfilter::nftables::{
    Cmp, DataAttribute, ExpressionAttribute, Expressions, ListAttribute, NfTablesMessage, RuleAttribute, RuleMessage,
};
use netlink_packet_netfilter::{NetfilterMessageInner, NetfilterProtoFamily};

use super::encode;
use crate::network::netlink::Netlink;
use crate::sys::fault;

const TABLE: &str = "firewalld";
const ZONE: &str = "--zone=trusted";

/// A service that is to answer in some tenths of a second.
const PATIENCE: Duration = Duration::from_secs(20);

const TOOLS: [&str; 4] =
    ["/usr/bin/firewall-cmd", "/bin/firewall-cmd", "/usr/local/bin/firewall-cmd", "/usr/local/sbin/firewall-cmd"];

/// What was asked for, by the first letters of the interfaces' names.
#[derive(Debug, Clone, Default)]
pub struct Trust {
    bridges: BTreeSet<String>,
    /// It would not have it, and is not asked again whenever it changes something.
    refused: bool,
}

/// What firewalld has at the moment.
enum Rules {
    /// It is not there.
    None,
    /// What it compares with.
    Of(BTreeSet<Vec<u8>>),
}

impl Rules {
    fn read(netlink: &mut Netlink) -> io::Result<Self> {
        let all = RuleMessage { attributes: vec![RuleAttribute::Table(TABLE.to_owned())] };
        let mut compared = None;
        for message in netlink.dump(encode::message(NetfilterProtoFamily::Inet, NfTablesMessage::GetRule(all)))? {
            let NetfilterMessageInner::NfTables(NfTablesMessage::NewRule(rule)) = message.inner else { continue };
            // Old kernels list the rules of all tables, whatever is asked for.
            if !rule.attributes.contains(&RuleAttribute::Table(TABLE.to_owned())) {
                continue;
            }
            compared.get_or_insert_with(BTreeSet::new).extend(rule.attributes.iter().flat_map(values));
        }
        Ok(compared.map_or(Self::None, Self::Of))
    }

    /// Those of the bridges that are in none of its zones.
    fn strangers<'a>(&self, bridges: &'a BTreeSet<String>) -> Vec<&'a str> {
        match self {
            Self::None => Vec::new(),
            Self::Of(compared) => {
                bridges.iter().map(String::as_str).filter(|bridge| !compared.contains(bridge.as_bytes())).collect()
            }
        }
    }
}

/// What the expressions of a rule compare something with.
fn values(attribute: &RuleAttribute) -> Vec<Vec<u8>> {
    let RuleAttribute::Expressions(expressions) = attribute else { return Vec::new() };
    let mut found = Vec::new();
    for element in expressions {
        let ListAttribute::Element(attributes) = element else { continue };
        for attribute in attributes {
            let ExpressionAttribute::Data(Expressions::Cmp(parts)) = attribute else { continue };
            found.extend(parts.iter().filter_map(|part| match part {
                Cmp::Data(DataAttribute::Value(bytes)) => Some(bytes.clone()),
                _ => None,
            }));
        }
    }
    found
}

/// Asks for passage; answers with what was asked for and with what stands in the way all the same, in words for people.
///
/// # Errors
/// When its rules cannot be read.
pub fn ask_for_passage(netlink: &mut Netlink, bridges: BTreeSet<String>) -> io::Result<(Trust, Option<String>)> {
    let strangers: Vec<String> = Rules::read(netlink)?.strangers(&bridges).into_iter().map(str::to_owned).collect();
    if strangers.is_empty() {
        return Ok((Trust { bridges, refused: false }, None));
    }
    let failed = run("--add-interface", &strangers).err();
    let left = Rules::read(netlink)?.strangers(&bridges).join("+, ");
    let refused = !left.is_empty();
    let obstacle = refused.then(|| {
        let reason = failed.map_or_else(|| "it has no rule for them".to_owned(), |error| error.to_string());
        format!(
            "firewalld is active and rejects what containers send, and cannot be asked to let the interfaces {left}+ \
             pass ({reason}): firewall-cmd --permanent {ZONE} {} && firewall-cmd --reload",
            options("--add-interface", &strangers).join(" ")
        )
    });
    Ok((Trust { bridges, refused }, obstacle))
}

/// Whether what was asked for is there.
///
/// # Errors
/// When its rules cannot be read.
pub fn is_granted(netlink: &mut Netlink, trust: &Trust) -> io::Result<bool> {
    Ok(trust.refused || Rules::read(netlink)?.strangers(&trust.bridges).is_empty())
}

/// Takes back what was asked for. What it would not have is gone with its next reload, and nothing else waits for that.
pub fn withdraw(netlink: &mut Netlink, bridges: &str) {
    let withdrawn = Rules::read(netlink).and_then(|rules| match rules {
        Rules::Of(compared) if compared.contains(bridges.as_bytes()) => {
            run("--remove-interface", &[bridges.to_owned()])
        }
        _ => Ok(()),
    });
    if let Err(error) = withdrawn {
        tracing::warn!("firewalld has {bridges}+ in its zone until its next reload: {error}");
    }
}

fn options(what: &str, bridges: &[String]) -> Vec<String> {
    bridges.iter().map(|bridge| format!("{what}={bridge}+")).collect()
}

fn run(what: &str, bridges: &[String]) -> io::Result<()> {
    let Some(tool) = TOOLS.into_iter().find(|tool| Path::new(tool).exists()) else {
        return Err(io::Error::new(io::ErrorKind::NotFound, "there is no firewall-cmd"));
    };
    let mut command = Command::new(tool);
    command.arg(ZONE).args(options(what, bridges)).env_clear();
    // A firewalld that hangs is not waited for; the thread ends with the tool.
    let (sender, receiver) = mpsc::channel();
    let output = fault::around("change packet rules", || {
        std::thread::spawn(move || sender.send(command.output()));
        receiver.recv_timeout(PATIENCE).unwrap_or_else(|_| {
            Err(io::Error::new(io::ErrorKind::TimedOut, format!("{tool} has no answer after {} s", PATIENCE.as_secs())))
        })
    })?;
    if output.status.success() {
        return Ok(());
    }
    let reason = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(io::Error::other(format!("{tool}: {reason}")))
}
