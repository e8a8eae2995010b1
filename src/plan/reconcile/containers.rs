//! What becomes of one container in an `up`.

use super::Up;
use super::batches::can_start_first;
use super::followers::namespace_parents;
use crate::plan::desired::DesiredService;
use crate::plan::install::step;
use crate::plan::operation::OperationKind;
use crate::plan::options::Names;
use crate::record::{Condition, ContainerRecord, Dependency, ObservedContainer, RestartPolicy, Status};

/// Why packages are installed for a container that none was before.
const NOT_INSTALLED: &str = "not installed";

impl Up<'_> {
    pub(super) fn keep(
        &mut self,
        service: &DesiredService,
        have: &ObservedContainer,
        names: &mut Names<'_>,
    ) -> (String, Option<usize>) {
        let record = &have.record;
        if let Some(network) = self.detached.get(&record.id).filter(|_| !self.options.no_start) {
            let (cause, after) = (format!("network {network} is made anew"), self.foundation.clone());
            let start = self.start(&service.template, &record.id, &record.name, after, &cause);
            return (record.id.clone(), Some(start));
        }
        if let Some(stops) = self.restarted.get(&service.name).filter(|_| have.is_running()) {
            let after = stops.clone();
            let cause = stops.first().map_or_else(String::new, |&stop| self.plan.operations[stop].cause.clone());
            let start = self.start(&service.template, &record.id, &record.name, after, &cause);
            return (record.id.clone(), Some(start));
        }
        let runs = matches!(have.state.status, Status::Running { .. });
        if runs || self.options.no_start || self.is_finished_one_shot(service, have) {
            return (record.id.clone(), None);
        }
        let cause = match have.state.status {
            Status::Created => "never started",
            Status::Restarting { .. } => "ended, and not yet restarted",
            _ => "not running",
        };
        let packages = self.packages(service, NOT_INSTALLED, names);
        let start = self.start(&service.template, &record.id, &record.name, packages.into_iter().collect(), cause);
        (record.id.clone(), Some(start))
    }

    /// What fills the service's volume of packages, once for all that mount it; `None` when they are all there.
    pub(super) fn packages(&mut self, service: &DesiredService, cause: &str, names: &mut Names<'_>) -> Option<usize> {
        let install =
            service.install.as_ref().filter(|install| !self.observed.installed.contains(&install.volume.name))?;
        if let Some(&index) = self.installs.get(&install.volume.name) {
            return Some(index);
        }
        let id = (names.new_id)();
        let record = step(service, install).instantiate(&id, 1, names.paths, names.volumes, self, None);
        let parents = namespace_parents(&service.template).filter_map(|parent| self.placed.get(parent));
        let parents = parents.flatten().filter_map(|(_, start)| *start);
        let after = self.foundation.iter().copied().chain(parents).collect();
        let kind = OperationKind::Install { record: Box::new(record), install: Box::new(install.clone()) };
        let index = self.plan.push(kind, cause, after);
        self.installs.insert(install.volume.name.clone(), index);
        Some(index)
    }

    /// A container that others wait for to complete, and that did so with this very configuration, is not run again.
    pub(super) fn is_finished_one_shot(&self, service: &DesiredService, have: &ObservedContainer) -> bool {
        have.completed()
            && service.template.restart == RestartPolicy::No
            && self.desired.services.iter().chain(self.oneoff).any(|other| {
                other.template.depends_on.iter().any(|needed| {
                    needed.service == service.name && needed.condition == Condition::ServiceCompletedSuccessfully
                })
            })
    }

    pub(super) fn create(
        &mut self,
        service: &DesiredService,
        number: u32,
        replaces: Option<&ContainerRecord>,
        cause: &str,
        names: &mut Names<'_>,
    ) -> (String, Option<usize>) {
        let packages = self.packages(service, if replaces.is_some() { cause } else { NOT_INSTALLED }, names);
        let id = (names.new_id)();
        let kept = replaces.filter(|_| !self.options.renew_anonymous_volumes);
        let record = service.instantiate(&id, number, names.paths, names.volumes, self, kept);
        let name = record.name.clone();
        let kind =
            OperationKind::CreateContainer { record: Box::new(record), replaces: replaces.map(|old| old.id.clone()) };
        let ready = self.foundation.iter().chain(&self.gate).copied().chain(packages).collect();
        let create = self.plan.push(kind, cause, ready);
        let mut after = vec![create];
        let update = service.update.as_ref().filter(|_| replaces.is_some() && !self.options.no_start);
        let first = update.filter(|update| update.start_first && can_start_first(service)).map(|update| {
            let start = self.start(&service.template, &id, &name, vec![create], cause);
            (start, self.await_updated(service, update, &id, &name, start, cause))
        });
        let old = replaces.filter(|old| !self.gone.contains(&old.id));
        let stopped = old.map(|old| {
            let stop = self.stop(old, cause);
            self.plan.operations[stop].after.push(first.map_or(create, |(_, awaited)| awaited));
            // Those that want to be restarted with it are stopped before it is.
            let desired = self.desired;
            let dependents = desired.services.iter().filter(|other| {
                other.template.depends_on.iter().any(|needed| needed.restart && needed.service == service.name)
            });
            let stops = dependents.filter_map(|other| self.restarted.get(&other.name)).flatten().copied();
            self.plan.operations[stop].after.extend(stops);
            stop
        });
        after.extend(stopped);
        let start = match first {
            Some((start, _)) => Some(start),
            None if self.options.no_start => None,
            None => Some(self.start(&service.template, &id, &name, after, cause)),
        };
        if let Some((old, stop)) = old.zip(stopped) {
            let remove = OperationKind::RemoveContainers {
                containers: vec![(old.id.clone(), old.name.clone())],
                anonymous_volumes: self.options.renew_anonymous_volumes,
            };
            // Until the new one runs, the old one may have to go on in its place.
            let remove = self.plan.push(remove, cause, std::iter::once(stop).chain(start).collect());
            if first.is_some() {
                self.ends.push(remove);
            }
        }
        let Some(start) = start.filter(|_| first.is_none()) else { return (id, start) };
        if let Some(update) = update {
            let awaited = self.await_updated(service, update, &id, &name, start, cause);
            self.ends.push(awaited);
        }
        (id, Some(start))
    }

    pub(super) fn recreate(
        &mut self,
        service: &DesiredService,
        have: &ObservedContainer,
        cause: &str,
        names: &mut Names<'_>,
    ) -> (String, Option<usize>) {
        self.create(service, have.record.number, Some(&have.record), cause, names)
    }

    pub(super) fn start(
        &mut self,
        template: &ContainerRecord,
        id: &str,
        name: &str,
        mut after: Vec<usize>,
        cause: &str,
    ) -> usize {
        let mut needs: Vec<(Dependency, Vec<String>)> = Vec::new();
        for needed in &template.depends_on {
            let Some(containers) = self.placed.get(&needed.service) else { continue };
            after.extend(containers.iter().filter_map(|(_, start)| *start));
            needs.push((needed.clone(), containers.iter().map(|(id, _)| id.clone()).collect()));
        }
        let kind = OperationKind::StartContainer {
            id: id.to_owned(),
            name: name.to_owned(),
            service: template.service.clone(),
            needs,
        };
        self.plan.push(kind, cause, after)
    }

    pub(super) fn stop(&mut self, record: &ContainerRecord, cause: &str) -> usize {
        let kind = OperationKind::StopContainer { id: record.id.clone(), name: record.name.clone(), restart: false };
        self.plan.push(kind, cause, vec![])
    }

    pub(super) fn remove(&mut self, record: &ContainerRecord, cause: &str) {
        if self.gone.contains(&record.id) {
            return;
        }
        let stop = self.stop(record, cause);
        let kind = OperationKind::RemoveContainers {
            containers: vec![(record.id.clone(), record.name.clone())],
            anonymous_volumes: false,
        };
        self.plan.push(kind, cause, vec![stop]);
    }
}
