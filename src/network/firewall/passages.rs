//! What a project needs of other packet filters.

use std::collections::BTreeSet;

use super::Publication;
use super::neighbours::{Interfaces, Passage, Way};
use crate::network::lease::NetworkLease;

/// What other packet filters are asked for: a way out for what has one, within each network for all, and to the published
/// ports of this machine for those that serve them, which get there by the listening socket.
pub fn passages(prefix: &str, networks: &[NetworkLease], ports: &[Publication]) -> Vec<Passage> {
    let (own, foreign): (Vec<_>, Vec<_>) = networks.iter().partition(|network| network.bridge.starts_with(prefix));
    let way = |within| if within { Way::Within } else { Way::Through };
    let mut passages = Vec::new();
    if !own.is_empty() {
        let way = way(own.iter().all(|network| network.internal));
        passages.push(Passage { interfaces: Interfaces::StartingWith(prefix.to_owned()), way });
    }
    let named = |network: &NetworkLease| Interfaces::Named(network.bridge.clone());
    passages
        .extend(foreign.into_iter().map(|network| Passage { interfaces: named(network), way: way(network.internal) }));
    let outside: Vec<_> = passages.iter().filter(|asked| asked.way == Way::Through).cloned().collect();
    for Passage { interfaces, .. } in outside {
        passages.extend(listening(ports).into_iter().map(|way| Passage { interfaces: interfaces.clone(), way }));
    }
    passages
}

/// The ports that can be reached by an address other than loopback's, those that follow each other as one.
fn listening(ports: &[Publication]) -> Vec<Way> {
    let outside = ports.iter().map(|publication| &publication.port).filter(|port| !port.host_ip.is_loopback());
    let numbers: BTreeSet<_> = outside.map(|port| (port.protocol, port.published)).collect();
    let mut ways: Vec<Way> = Vec::new();
    for (protocol, number) in numbers {
        match ways.last_mut() {
            Some(Way::To(before, _, last)) if *before == protocol && last.checked_add(1) == Some(number) => {
                *last = number
            }
            _ => ways.push(Way::To(protocol, number, number)),
        }
    }
    ways
}
