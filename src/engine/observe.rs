//! What exists of the project, as a plan needs it.

use std::collections::BTreeSet;

use super::message::ContainerRef;
use super::serve::Engine;
use crate::plan::{Desired, DesiredService, Observed, ObservedContainer};
use crate::supervisor::View;

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

    /// With the packages that these services want.
    pub(super) fn observe_for<'a>(&self, services: impl Iterator<Item = &'a DesiredService>) -> Observed {
        let mut observed = self.observe();
        for install in services.filter_map(|service| service.install.as_ref()) {
            let (exists, complete) = self.project.has_packages(&install.volume.name);
            observed.volumes.extend(exists.then(|| install.volume.name.clone()));
            observed.installed.extend(complete.then(|| install.volume.name.clone()));
        }
        observed
    }

    pub(super) fn observe(&self) -> Observed {
        let record = self.project.record();
        Observed {
            containers: self
                .project
                .containers()
                .into_iter()
                .map(|have| ObservedContainer { record: (*have.record).clone(), state: have.state })
                .collect(),
            networks: self.project.existing_networks(),
            volumes: self.project.existing_volumes(record.as_ref()),
            installed: BTreeSet::new(),
            project: record,
        }
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
