//! Containers in the namespaces of others: those go with the container that they were made by.

use super::Up;
use crate::plan::desired::{DesiredService, SERVICE_PREFIX};
use crate::record::{CONTAINER_PREFIX, ContainerRecord, ObservedContainer};
use crate::runtime::spec::{Namespace, NetworkNamespace};

impl Up<'_> {
    /// The container whose namespaces `service:NAME` means.
    pub(super) fn first_container(&self, service: &str) -> Option<String> {
        if let Some(placed) = self.placed.get(service) {
            return placed.first().map(|(id, _)| id.clone());
        }
        self.existing(service).first().map(|have| have.record.id.clone())
    }

    /// Why a container cannot go on with the namespaces that it was made for.
    pub(super) fn other_parent(&self, service: &DesiredService, have: &ObservedContainer) -> Option<String> {
        for (wanted, target) in shared(&service.template).into_iter().zip(shared(&have.record)) {
            let Some(parent) = wanted.and_then(|wanted| wanted.strip_prefix(SERVICE_PREFIX)) else { continue };
            if self.recreated.contains(parent) {
                return Some(format!("shares a namespace with {parent}, which is recreated"));
            }
            let is_made = self.desired.services.iter().any(|other| other.name == parent && other.replicas > 0);
            match self.existing(parent).first() {
                Some(first) if target != Some(first.record.id.as_str()) => {
                    return Some(format!("shares a namespace with a container of {parent} that is gone"));
                }
                None if is_made => return Some(format!("shares a namespace with {parent}, which is made anew")),
                Some(_) | None => {}
            }
        }
        None
    }

    /// Whether a container of the project that the service follows by name is made or started anew.
    pub(super) fn follows_one_of(&self, service: &DesiredService, is_renewed: impl Fn(&str) -> bool) -> bool {
        let names = shared(&service.template).into_iter().flatten().filter_map(|it| it.strip_prefix(CONTAINER_PREFIX));
        let mut parents =
            names.filter_map(|name| self.observed.containers.iter().find(|have| have.record.name == name));
        parents.any(|have| !have.record.oneoff && is_renewed(&have.record.service))
    }

    /// Why the running containers of a service have to be started again to be in the namespaces that they share.
    pub(super) fn is_adrift(&self, service: &DesiredService) -> Option<String> {
        let running: Vec<_> = self.existing(&service.name).into_iter().filter(|have| have.is_running()).collect();
        let known = running.iter().find_map(|have| self.observed.adrift.get(&have.record.id).cloned());
        let starts = |parent: &&str| {
            let service = self.desired.services.iter().find(|other| other.name == **parent);
            let first = self.existing(parent).into_iter().next();
            service.zip(first).is_some_and(|(service, first)| {
                self.detached.contains_key(&first.record.id)
                    || !first.is_running() && !self.is_finished_one_shot(service, first)
            })
        };
        known.or_else(|| {
            let parent = namespace_parents(&service.template).find(starts).filter(|_| !running.is_empty())?;
            Some(format!("shares a namespace with {parent}, which is started"))
        })
    }
}

/// Whose namespaces a container shares, kind by kind.
fn shared(record: &ContainerRecord) -> [Option<&str>; 4] {
    let namespaces = &record.spec.namespaces;
    let network = match &namespaces.network {
        NetworkNamespace::Container(target) => Some(target.as_str()),
        NetworkNamespace::Passed | NetworkNamespace::Host => None,
    };
    [target(&namespaces.pid), target(&namespaces.ipc), target(&namespaces.uts), network]
}

fn target(namespace: &Namespace) -> Option<&str> {
    match namespace {
        Namespace::Container(target) => Some(target),
        Namespace::Private | Namespace::Host => None,
    }
}

/// Services whose namespaces a template shares.
pub(super) fn namespace_parents(template: &ContainerRecord) -> impl Iterator<Item = &str> {
    shared(template).into_iter().flatten().filter_map(|target| target.strip_prefix(SERVICE_PREFIX))
}
