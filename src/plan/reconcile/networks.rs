//! Networks and volumes of an `up`: what is missing, and what is made anew below its containers.

use std::collections::BTreeSet;

use super::Up;
use crate::network::spec::NetworkSpec;
use crate::plan::desired::DesiredService;
use crate::plan::down::stop_in_reverse;
use crate::plan::lower::labels;
use crate::plan::operation::OperationKind;
use crate::record::{ContainerRecord, ObservedContainer};

impl Up<'_> {
    /// Starts the containers of services that were not named and were stopped with their network.
    pub(super) fn reattach_others(&mut self) {
        let left: Vec<(&ObservedContainer, String)> = self
            .observed
            .containers
            .iter()
            .filter(|have| !self.placed.contains_key(&have.record.service) || have.record.oneoff)
            .filter_map(|have| Some((have, self.detached.get(&have.record.id)?.clone())))
            .collect();
        for (have, network) in left {
            let cause = format!("network {network} is made anew");
            let after = self.foundation.clone();
            self.start(&have.record, &have.record.id, &have.record.name, after, &cause);
        }
    }

    pub(super) fn networks_and_volumes(&mut self) {
        let desired = self.desired;
        for network in &desired.networks {
            if self.has_changed(network) {
                self.renew_network(network);
            } else if !self.observed.networks.contains(&network.name) {
                let kind = OperationKind::CreateNetwork { name: network.name.clone() };
                let cause = if network.external { "external, attached to" } else { "not found" };
                let index = self.plan.push(kind, cause, vec![]);
                self.foundation.push(index);
            }
        }
        for volume in &desired.volumes {
            self.volume(volume);
        }
    }

    /// Whether a network that exists was made from something else.
    pub(super) fn has_changed(&self, network: &NetworkSpec) -> bool {
        let before = self
            .observed
            .project
            .as_ref()
            .and_then(|project| project.networks.iter().find(|known| known.name == network.name));
        self.observed.networks.contains(&network.name)
            && !network.external
            && before
                .is_some_and(|before| !before.external && without_own_labels(before) != without_own_labels(network))
    }

    /// Containers are stopped, the network is made anew, and they are started again: they stay what they are.
    pub(super) fn renew_network(&mut self, network: &NetworkSpec) {
        let cause = "its configuration changed";
        let uses = |have: &&ObservedContainer| {
            have.is_running() && have.endpoints().iter().any(|endpoint| endpoint.network == network.name)
        };
        let users: Vec<&ObservedContainer> = self
            .observed
            .containers
            .iter()
            .filter(uses)
            .filter(|have| !self.detached.contains_key(&have.record.id))
            .collect();
        for have in &users {
            self.detached.insert(have.record.id.clone(), network.name.clone());
        }
        let stops = stop_in_reverse(&mut self.plan, &users, false, &format!("network {} is made anew", network.name));
        // Those that another network of theirs has stopped already are among these operations too.
        let mut after: Vec<usize> = stops.into_values().flatten().chain(self.foundation.iter().copied()).collect();
        after.sort_unstable();
        let remove = self.plan.push(OperationKind::RemoveNetwork { name: network.name.clone() }, cause, after);
        let create = OperationKind::CreateNetwork { name: network.name.clone() };
        let create = self.plan.push(create, cause, vec![remove]);
        self.foundation.push(create);
    }
}

/// Labels of Compose's own say what the rest is, and by which version it was made.
fn without_own_labels(network: &NetworkSpec) -> NetworkSpec {
    let mut network = network.clone();
    network.labels.retain(|key, _| !key.starts_with(labels::PREFIX));
    network
}

/// Why a container is not in the networks that it is to be in.
pub(super) fn other_networks(service: &DesiredService, have: &ObservedContainer) -> Option<String> {
    let networks = |record: &ContainerRecord| -> BTreeSet<String> {
        record.endpoints.iter().map(|endpoint| endpoint.network.clone()).collect()
    };
    if networks(&have.record) != networks(&service.template) {
        return Some("its networks changed".to_owned());
    }
    // As the peer; networks that it was connected to besides are no reason.
    let endpoints = have.endpoints();
    let is_in = |network: &String| endpoints.iter().any(|endpoint| endpoint.network == *network);
    let left = networks(&have.record).into_iter().find(|network| !is_in(network));
    left.filter(|_| have.is_running()).map(|network| format!("it was disconnected from network {network}"))
}
