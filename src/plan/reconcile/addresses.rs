//! Who takes an address that another container of the project gives up starts once that one has stopped.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::plan::operation::{OperationKind, Plan};
use crate::record::{ContainerRecord, ObservedContainer};

/// The addresses that the file gives a container, each with its network.
fn fixed(record: &ContainerRecord) -> impl Iterator<Item = (&str, IpAddr)> {
    record.endpoints.iter().flat_map(|endpoint| {
        let addresses = endpoint.ipv4.map(IpAddr::V4).into_iter().chain(endpoint.ipv6.map(IpAddr::V6));
        addresses.map(|address| (endpoint.network.as_str(), address))
    })
}

/// Lets starts wait for the stops that free their addresses, unless that stop waits for the start.
pub(super) fn wait_for_those_who_leave(plan: &mut Plan, observed: &[ObservedContainer]) {
    let mut more: Vec<(usize, usize)> = Vec::new();
    for operation in &plan.operations {
        let OperationKind::CreateContainer { record, replaces } = &operation.kind else { continue };
        let wanted: BTreeSet<(&str, IpAddr)> = fixed(record).collect();
        if wanted.is_empty() {
            continue;
        }
        let start = plan.operations.iter().position(
            |operation| matches!(&operation.kind, OperationKind::StartContainer { id, .. } if *id == record.id),
        );
        let Some(start) = start else { continue };
        let leaving = observed
            .iter()
            .filter(|have| replaces.as_ref() != Some(&have.record.id))
            .filter(|have| fixed(&have.record).any(|address| wanted.contains(&address)));
        for have in leaving {
            let stop = plan.operations.iter().position(
                |operation| matches!(&operation.kind, OperationKind::StopContainer { id, .. } if *id == have.record.id),
            );
            more.extend(stop.map(|stop| (start, stop)));
        }
    }
    for (start, stop) in more {
        if !waits_for(plan, stop, start) && !plan.operations[start].after.contains(&stop) {
            plan.operations[start].after.push(stop);
        }
    }
}

/// Whether an operation waits, also by way of others, for another.
fn waits_for(plan: &Plan, operation: usize, other: usize) -> bool {
    let (mut seen, mut next) = (BTreeSet::new(), vec![operation]);
    while let Some(index) = next.pop() {
        if index == other {
            return true;
        }
        next.extend(plan.operations[index].after.iter().copied().filter(|before| seen.insert(*before)));
    }
    false
}
