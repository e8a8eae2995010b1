//! Containers that take their mounts from others (`volumes_from`): what those others have once the plan is carried out.

use super::Up;
use crate::plan::desired::{DesiredService, Others, SERVICE_PREFIX};
use crate::plan::inherit::{differs, inherit};
use crate::plan::operation::OperationKind;
use crate::record::{CONTAINER_PREFIX, ContainerRecord, ObservedContainer};
use crate::runtime::spec::MountKind;

impl Others for Up<'_> {
    fn first(&self, service: &str) -> Option<String> {
        self.first_container(service)
    }

    fn parent(&self, from: &str) -> Option<&ContainerRecord> {
        match from.strip_prefix(SERVICE_PREFIX) {
            Some(service) => self.first_record(service),
            None => self.named(from.strip_prefix(CONTAINER_PREFIX)?),
        }
    }
}

impl Up<'_> {
    /// Why a container cannot go on with the mounts of others that it was made with. One that takes them from a container
    /// that is gone goes on.
    pub(super) fn other_mounts(&self, service: &DesiredService, have: &ObservedContainer) -> Option<String> {
        let from = &service.template.volumes_from;
        if from.is_empty() || from.iter().any(|from| self.parent(&from.from).is_none()) {
            return None;
        }
        let wanted = self.as_it_will_be(service, Some(&have.record));
        let parent = differs(&wanted, &have.record)?;
        let parent = parent.strip_prefix(SERVICE_PREFIX).unwrap_or(parent);
        Some(format!("takes volumes from {parent}, which has other ones now"))
    }

    /// Notes what the first container of a service will mount, before it is made: those that take it from there are
    /// decided about before that.
    pub(super) fn project(&mut self, service: &DesiredService) {
        let takes = |other: &DesiredService| !other.template.volumes_from.is_empty();
        if !self.desired.services.iter().chain(self.oneoff).any(takes) {
            return;
        }
        let first = self.existing(&service.name).into_iter().next();
        if (first.is_none() && service.replicas > 0) || self.recreated.contains(&service.name) {
            let record = self.as_it_will_be(service, first.map(|have| &have.record));
            self.projected.insert(service.name.clone(), record);
        }
    }

    /// A container with its mounts, but without what it gets when it is made. Anonymous volumes that it does not take
    /// over have no name yet, and so are those of no container that there is.
    fn as_it_will_be(&self, service: &DesiredService, old: Option<&ContainerRecord>) -> ContainerRecord {
        let mut record = service.template.clone();
        let old = old.filter(|_| !self.options.renew_anonymous_volumes);
        for volume in record.volumes.iter_mut().filter(|volume| volume.anonymous) {
            let kept = |old: &&ContainerRecord| old.own_anonymous_volumes().any(|it| it.target == volume.target);
            let mounts = old.filter(kept).into_iter().flat_map(|old| &old.spec.mounts);
            let Some(mount) = mounts.into_iter().find(|mount| mount.target == volume.target) else { continue };
            for own in record.spec.mounts.iter_mut().filter(|own| own.target == volume.target) {
                if let (MountKind::Bind { source, .. }, MountKind::Bind { source: kept, .. }) =
                    (&mut own.kind, &mount.kind)
                {
                    source.clone_from(kept);
                }
            }
        }
        inherit(&mut record, |from| self.parent(from));
        record
    }

    fn first_record(&self, service: &str) -> Option<&ContainerRecord> {
        match self.placed.get(service) {
            Some(placed) => self.record(&placed.first()?.0),
            None => {
                let observed = || self.existing(service).into_iter().next().map(|have| &have.record);
                self.projected.get(service).or_else(observed)
            }
        }
    }

    fn created(&self) -> impl Iterator<Item = &ContainerRecord> {
        self.plan.operations.iter().filter_map(|operation| match &operation.kind {
            OperationKind::CreateContainer { record, .. } => Some(&**record),
            _ => None,
        })
    }

    fn record(&self, id: &str) -> Option<&ContainerRecord> {
        let observed = self.observed.containers.iter().map(|have| &have.record);
        self.created().chain(observed).find(|record| record.id == id)
    }

    /// A container of the project, as it will be, or of another one.
    fn named(&self, name: &str) -> Option<&ContainerRecord> {
        let own = self.observed.containers.iter().map(|have| &have.record);
        let found = self.created().chain(own).find(|record| record.is_called(name));
        let Some(record) = found else { return self.observed.peers.get(name) };
        let is_first = self.existing(&record.service).first().is_some_and(|first| first.record.id == record.id);
        match self.projected.get(&record.service) {
            Some(projected) if is_first && !self.placed.contains_key(&record.service) => Some(projected),
            _ => Some(record),
        }
    }
}
