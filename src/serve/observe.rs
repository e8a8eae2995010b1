//! What exists of the project, as a plan needs it.

use std::collections::{BTreeMap, BTreeSet};

use super::engine::Engine;
use crate::message::ContainerRef;
use crate::plan::{Desired, DesiredService, Observed};
use crate::record::{CONTAINER_PREFIX, ObservedContainer};
use crate::state::Paths;
use crate::supervisor::{KnownVolumes, View, peers};

impl Engine {
    /// The containers of the desired services, in the order of the file.
    pub(super) fn containers_of(&self, desired: &Desired) -> Vec<ContainerRef> {
        let containers = self.project.containers();
        let mut found = Vec::new();
        for service in &desired.services {
            let mut of_service: Vec<&View> =
                containers.iter().filter(|have| have.record.service == service.name && !have.record.oneoff).collect();
            of_service.sort_by_key(|have| have.record.number);
            found.extend(of_service.into_iter().map(reference));
        }
        found
    }

    /// With the volumes and packages that are wanted, also those that outlived an earlier `down`.
    pub(super) fn observe_for(&self, desired: &Desired, oneoff: Option<&DesiredService>) -> Observed {
        let mut observed = self.observe();
        look_for(&mut observed, self.project.paths(), &self.project.known_volumes(), desired, oneoff);
        observed
    }

    pub(super) fn observe(&self) -> Observed {
        let record = self.project.record();
        let containers = self.project.containers();
        let adrift = containers.iter().filter_map(|have| {
            let id = &have.record.id;
            Some((id.clone(), self.project.adrift(id)?))
        });
        Observed {
            adrift: adrift.collect(),
            diverged: BTreeMap::new(),
            peers: BTreeMap::new(),
            foreign: BTreeMap::new(),
            containers: containers
                .into_iter()
                .map(|have| ObservedContainer { record: (*have.record).clone(), state: have.state })
                .collect(),
            networks: self.project.existing_networks(),
            volumes: self.project.known_volumes().existing(record.as_ref()),
            installed: BTreeSet::new(),
            project: record,
        }
    }
}

/// Adds what there is of the volumes and packages that are wanted, and of the containers of others.
pub(super) fn look_for(
    observed: &mut Observed,
    paths: &Paths,
    known: &KnownVolumes,
    desired: &Desired,
    oneoff: Option<&DesiredService>,
) {
    let names = desired.volumes.iter().map(|volume| &volume.name);
    observed.volumes.extend(names.filter(|name| known.has(name)).cloned());
    for volume in desired.volumes.iter().filter(|volume| !volume.external) {
        if let Some(owner) = known.owner_elsewhere(&volume.name) {
            observed.foreign.insert(volume.name.clone(), owner);
        }
        if let Some(change) = known.divergence(volume) {
            observed.diverged.insert(volume.name.clone(), change);
        }
    }
    for from in desired.services.iter().chain(oneoff).flat_map(|service| &service.template.volumes_from) {
        let Some(name) = from.from.strip_prefix(CONTAINER_PREFIX) else { continue };
        let found = peers::elsewhere(paths, &desired.project.name, name);
        observed.peers.extend(found.map(|record| (name.to_owned(), record)));
    }
    for install in desired.services.iter().chain(oneoff).filter_map(|service| service.install.as_ref()) {
        let (exists, complete) = known.has_packages(&install.volume.name);
        observed.volumes.extend(exists.then(|| install.volume.name.clone()));
        observed.installed.extend(complete.then(|| install.volume.name.clone()));
    }
}

pub(super) fn reference(have: &View) -> ContainerRef {
    ContainerRef {
        id: have.record.id.clone(),
        name: have.record.name.clone(),
        service: have.record.service.clone(),
        number: have.record.number,
    }
}
