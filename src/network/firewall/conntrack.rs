//! Tracked UDP flows outlive the rules that made them: a client that keeps sending would never meet the new ones.

use std::collections::BTreeSet;
use std::io;

use netlink_packet_netfilter::conntrack::{ConntrackAttribute, ConntrackMessage, ProtoTuple, Protocol, Tuple};
use netlink_packet_netfilter::{NetfilterHeader, NetfilterMessage, NetfilterMessageInner, NetfilterProtoFamily};

use crate::network::netlink::Netlink;

/// Forgets all UDP flows that clients have opened to these ports of the host. Returns their number.
///
/// # Errors
/// When the kernel does not list its connections, or does not answer.
pub fn forget_udp(netlink: &mut Netlink, ports: &BTreeSet<u16>) -> io::Result<usize> {
    if ports.is_empty() {
        return Ok(0);
    }
    let message = |family, message| NetfilterMessage::new(NetfilterHeader::new(family, 0, 0), message);
    let mut doomed = Vec::new();
    for family in [NetfilterProtoFamily::IPv4, NetfilterProtoFamily::IPv6] {
        for found in netlink.dump(message(family, ConntrackMessage::Get(vec![])))? {
            let NetfilterMessageInner::Conntrack(ConntrackMessage::New(attributes)) = found.inner else { continue };
            let original = attributes.into_iter().find_map(|attribute| match attribute {
                ConntrackAttribute::CtaTupleOrig(tuple) if is_udp_to(&tuple, ports) => Some(tuple),
                _ => None,
            });
            if let Some(tuple) = original {
                let delete = ConntrackMessage::Delete(vec![ConntrackAttribute::CtaTupleOrig(tuple)]);
                doomed.push((0, message(family, delete)));
            }
        }
    }
    let count = doomed.len();
    // One that has ended by itself in the meantime is as good as forgotten.
    netlink.batch(doomed)?;
    Ok(count)
}

fn is_udp_to(tuple: &[Tuple], ports: &BTreeSet<u16>) -> bool {
    tuple.iter().any(|part| match part {
        Tuple::Proto(parts) => {
            parts.contains(&ProtoTuple::Protocol(Protocol::Udp))
                && parts.iter().any(|part| matches!(part, ProtoTuple::DestinationPort(port) if ports.contains(port)))
        }
        _ => false,
    })
}
