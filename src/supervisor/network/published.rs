//! Published ports: reserved before anything is started, opened when a container is, kept over the death of a supervisor.

use std::io;

use super::{Attached, Network};
use crate::network::Publication;
use crate::network::ports::{self, Proxy, Reservation};
use crate::network::spec::{EndpointSpec, PortSpec, PublishedPort};
use crate::record::ContainerRecord;
use crate::runtime::spec::ContainerId;
use crate::supervisor::error::SupervisorError;

impl Network {
    /// Binds the ports of a container that will be started. Ports that a container in `leaving` still has are handed down
    /// when it goes.
    pub(in crate::supervisor) fn reserve(
        &self,
        record: &ContainerRecord,
        leaving: &[Vec<PublishedPort>],
    ) -> Result<(), SupervisorError> {
        if !self.publishes(record) || self.reserved.borrow().contains_key(&record.id) {
            return Ok(());
        }
        let reservations = ports::reserve(&free_of(record, leaving))?;
        self.reserved.borrow_mut().insert(record.id.clone(), reservations);
        // Of a range, several replicas may want the same one.
        let insists = |port: &&PortSpec| port.published.is_some_and(|(first, last)| first == last);
        let inherits = |held: &&PublishedPort| record.ports.iter().filter(insists).any(|port| meets(port, held));
        let inherited = leaving.iter().flatten().filter(inherits).cloned().collect();
        self.inherited.borrow_mut().insert(record.id.clone(), inherited);
        Ok(())
    }

    /// What a container had and another one waits for stays bound: nobody else gets it, and clients wait meanwhile.
    pub(super) fn hand_down(&self, reservations: Vec<Reservation>) {
        let inherited = self.inherited.borrow();
        for reservation in reservations {
            let heir = inherited.iter().find(|(_, ports)| ports.contains(&reservation.port));
            if let Some((heir, _)) = heir {
                self.reserved.borrow_mut().entry(heir.clone()).or_default().push(reservation);
            }
        }
    }

    /// In the host's network, in another container's and in none there is nothing to publish, and an internal network is
    /// not reached from outside; as with the peer.
    pub(super) fn publishes(&self, record: &ContainerRecord) -> bool {
        let leases = self.leases.borrow();
        leads_out(record, |network| leases.get(network).is_some_and(|lease| lease.internal))
    }

    /// Gives back what was reserved and not used.
    pub(in crate::supervisor) fn release_reserved(&self, container: &str) {
        self.reserved.borrow_mut().remove(container);
        self.inherited.borrow_mut().remove(container);
    }

    pub(in crate::supervisor) fn reserved_for(&self) -> Vec<ContainerId> {
        self.reserved.borrow().keys().cloned().collect()
    }

    /// Opens the container's published ports; they are reached from everywhere after [`Network::update_rules`].
    pub(in crate::supervisor) fn publish(
        &self,
        record: &ContainerRecord,
        attached: &mut Attached,
    ) -> Result<(), SupervisorError> {
        if !self.publishes(record) || !attached.reservations.is_empty() {
            return Ok(());
        }
        let mut reservations = self.reserved.borrow_mut().remove(&record.id).unwrap_or_default();
        self.inherited.borrow_mut().remove(&record.id);
        let missing: Vec<PortSpec> = record
            .ports
            .iter()
            .filter(|port| !reservations.iter().any(|reservation| meets(port, &reservation.port)))
            .cloned()
            .collect();
        reservations.extend(match self.as_before(record, &missing).map(|specs| ports::reserve(&specs)) {
            Some(Ok(again)) => again,
            _ => ports::reserve(&missing)?,
        });
        for reservation in &reservations {
            self.hold_port(&record.id, reservation)?;
        }
        attached.reservations = reservations;
        self.open_ports(record, attached)
    }

    /// The ports that are wanted with the numbers of the container's last run.
    pub(super) fn as_before(&self, record: &ContainerRecord, wanted: &[PortSpec]) -> Option<Vec<PortSpec>> {
        let last = self.last.borrow_mut().remove(&record.id)?;
        let again = |spec: &PortSpec| {
            let bound = last.iter().find(|bound| meets(spec, bound))?;
            Some(PortSpec { published: Some((bound.published, bound.published)), ..spec.clone() })
        };
        Some(wanted.iter().map(|spec| again(spec).unwrap_or_else(|| spec.clone())).collect())
    }

    pub(super) fn open_ports(&self, record: &ContainerRecord, attached: &mut Attached) -> Result<(), SupervisorError> {
        let proxies: io::Result<Vec<Proxy>> = attached
            .reservations
            .iter()
            .map(|reservation| Proxy::start(reservation, attached.target.subscribe(), &self.port_budget))
            .collect();
        attached.proxies = proxies.map_err(SupervisorError::system("serve published ports"))?;
        let addresses = attached.addresses();
        let publications = attached
            .reservations
            .iter()
            .map(|reservation| Publication { port: reservation.port.clone(), addresses: addresses.clone() })
            .collect();
        self.publications.borrow_mut().insert(record.id.clone(), publications);
        Ok(())
    }
}

impl Attached {
    pub(in crate::supervisor) fn ports(&self) -> Vec<PublishedPort> {
        self.reservations.iter().map(|reservation| reservation.port.clone()).collect()
    }
}

fn leads_out(record: &ContainerRecord, is_internal: impl Fn(&str) -> bool) -> bool {
    let leads_out = |endpoint: &EndpointSpec| !is_internal(&endpoint.network);
    !record.ports.is_empty() && record.endpoints.iter().any(leads_out)
}

/// The ports of a container but those that a container in `leaving` still has.
fn free_of(record: &ContainerRecord, leaving: &[Vec<PublishedPort>]) -> Vec<PortSpec> {
    let is_free = |port: &&PortSpec| !leaving.iter().flatten().any(|held| collides(port, held));
    record.ports.iter().filter(is_free).cloned().collect()
}

/// Binds the ports that a container would get, where no supervisor does: for as long as what comes back is kept.
///
/// # Errors
/// When a port is taken; by whom, when that can be found out.
pub fn try_ports(
    record: &ContainerRecord,
    is_internal: impl Fn(&str) -> bool,
    leaving: &[Vec<PublishedPort>],
) -> Result<Vec<Reservation>, SupervisorError> {
    if !leads_out(record, is_internal) {
        return Ok(Vec::new());
    }
    Ok(ports::reserve(&free_of(record, leaving))?)
}

/// Whether a port that is bound is one that is wanted.
pub(super) fn meets(wanted: &PortSpec, bound: &PublishedPort) -> bool {
    collides(wanted, bound) && wanted.target == bound.target && wanted.host_ip.is_none_or(|ip| ip == bound.host_ip)
}

/// Whether a port that is bound is in the way of one that is wanted.
pub(super) fn collides(wanted: &PortSpec, bound: &PublishedPort) -> bool {
    wanted.protocol == bound.protocol
        && wanted.published.is_none_or(|(first, last)| (first..=last).contains(&bound.published))
}
