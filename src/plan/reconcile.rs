//! Compares what is wanted with what is there. Decides everything; touches nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::desired::{Desired, DesiredService, Update};
use super::down::stop_in_reverse;
use super::install::{is_step, step};
use super::lower::labels::{CONTENTS, PACKAGES};
use super::operation::{OperationKind, Plan};
use super::order::dependency_order;
use crate::network::spec::NetworkSpec;
use crate::state::ProjectPaths;
use crate::supervisor::record::{
    Condition, ContainerRecord, ContainerState, Dependency, ProjectRecord, RestartPolicy, Status,
};

/// What exists of a project.
#[derive(Debug, Clone, Default)]
pub struct Observed {
    pub project: Option<ProjectRecord>,
    pub containers: Vec<ObservedContainer>,
    /// Names of the networks and volumes that exist.
    pub networks: BTreeSet<String>,
    pub volumes: BTreeSet<String>,
    /// Names of the volumes whose packages are all there.
    pub installed: BTreeSet<String>,
}

#[derive(Debug, Clone)]
pub struct ObservedContainer {
    pub record: ContainerRecord,
    pub state: ContainerState,
}

impl ObservedContainer {
    #[must_use]
    pub fn is_running(&self) -> bool {
        matches!(self.state.status, Status::Running { .. } | Status::Restarting { .. })
    }

    /// Whether it wants to be restarted when `service` is.
    pub(super) fn restarts_with(&self, service: &str) -> bool {
        self.record.depends_on.iter().any(|needed| needed.restart && needed.service == service)
    }

    fn completed(&self) -> bool {
        matches!(self.state.status, Status::Exited { exit, .. } if exit.code() == 0)
    }
}

/// Flags of `up` that change the plan.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct UpOptions {
    pub force_recreate: bool,
    pub no_recreate: bool,
    pub always_recreate_deps: bool,
    pub no_start: bool,
    pub remove_orphans: bool,
    pub renew_anonymous_volumes: bool,
    /// Services named on the command line; empty is all.
    pub named: Vec<String>,
}

/// Flags of `down` that change the plan.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct DownOptions {
    /// Empty is everything.
    pub services: Vec<String>,
    pub volumes: bool,
    pub remove_orphans: bool,
}

/// Where the names in a plan come from.
pub struct Names<'a> {
    pub paths: &'a ProjectPaths,
    pub volumes: &'a Path,
    /// A new container id at each call.
    pub new_id: &'a mut dyn FnMut() -> String,
}

impl std::fmt::Debug for Names<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Names").field("paths", self.paths).finish_non_exhaustive()
    }
}

/// Everything that makes `observed` into `desired`.
#[must_use]
pub fn up(desired: &Desired, observed: &Observed, options: &UpOptions, names: &mut Names<'_>) -> Plan {
    let mut up = Up::new(desired, None, observed, options);
    up.everything(names);
    up.interrupted_steps();
    up.plan
}

/// The same, and then a container of its own for `oneoff`, which is in no service's count; with its id.
#[must_use]
pub fn run(
    desired: &Desired,
    oneoff: &DesiredService,
    observed: &Observed,
    options: &UpOptions,
    names: &mut Names<'_>,
) -> (Plan, String) {
    let mut up = Up::new(desired, Some(oneoff), observed, options);
    up.everything(names);
    let (id, _) = up.create(oneoff, 1, None, "run", names);
    up.interrupted_steps();
    (up.plan, id)
}

/// Why packages are installed for a container that none was before.
const NOT_INSTALLED: &str = "not installed";

struct Up<'a> {
    desired: &'a Desired,
    oneoff: Option<&'a DesiredService>,
    observed: &'a Observed,
    options: &'a UpOptions,
    plan: Plan,
    /// Operations on networks and volumes, which every container waits for.
    foundation: Vec<usize>,
    /// Service to its containers: id, and the operation that starts it (none when it runs already).
    placed: BTreeMap<String, Vec<(String, Option<usize>)>>,
    /// Services of which a container is made anew.
    recreated: BTreeSet<String>,
    /// Services that are restarted because one that they depend on is made anew, with the operations that stop them.
    restarted: BTreeMap<String, Vec<usize>>,
    /// Containers that are stopped while a network of theirs is made anew: the network, by id.
    detached: BTreeMap<String, String>,
    /// What the containers that are made anew now wait for, and the ends of those that are: an update in batches.
    gate: Vec<usize>,
    ends: Vec<usize>,
    /// So many failures of its containers an update survives.
    tolerated: usize,
    /// Volumes of packages, and the operations that fill them.
    installs: BTreeMap<String, usize>,
}

impl<'a> Up<'a> {
    fn new(
        desired: &'a Desired,
        oneoff: Option<&'a DesiredService>,
        observed: &'a Observed,
        options: &'a UpOptions,
    ) -> Self {
        Self {
            desired,
            oneoff,
            observed,
            options,
            plan: Plan::default(),
            foundation: Vec::new(),
            placed: BTreeMap::new(),
            recreated: BTreeSet::new(),
            restarted: BTreeMap::new(),
            detached: BTreeMap::new(),
            gate: Vec::new(),
            ends: Vec::new(),
            tolerated: 0,
            installs: BTreeMap::new(),
        }
    }

    fn everything(&mut self, names: &mut Names<'_>) {
        self.orphans();
        self.networks_and_volumes();
        let desired = self.desired;
        let services: Vec<&str> = desired.services.iter().map(|service| service.name.as_str()).collect();
        let order = dependency_order(&services, |index| {
            desired.services[index].template.depends_on.iter().map(|needed| needed.service.clone()).collect()
        });
        for &index in &order {
            self.decide(&desired.services[index]);
        }
        self.stop_dependents(&order);
        for index in order {
            self.service(&desired.services[index], names);
        }
        self.reattach_others();
    }

    /// Removes what is left of install steps that are not run again, because their packages are not wanted any more.
    fn interrupted_steps(&mut self) {
        let observed = self.observed;
        for have in observed.containers.iter().filter(|have| is_step(&have.record)) {
            let again = self.plan.operations.iter().any(
                |operation| matches!(&operation.kind, OperationKind::Install { record, .. } if record.name == have.record.name),
            );
            if !again {
                self.remove(&have.record, "an install step that was interrupted");
            }
        }
    }

    fn existing(&self, service: &str) -> Vec<&'a ObservedContainer> {
        let observed = self.observed;
        let mut existing: Vec<&ObservedContainer> =
            observed.containers.iter().filter(|have| !have.record.oneoff && have.record.service == service).collect();
        existing.sort_by_key(|have| have.record.number);
        existing
    }

    /// Notes whether a container of the service is made anew.
    fn decide(&mut self, service: &DesiredService) {
        if self.existing(&service.name).iter().any(|have| self.must_recreate(service, have).is_some()) {
            self.recreated.insert(service.name.clone());
        }
    }

    /// Stops what wants to be restarted with something that is made anew, the last in the chain first.
    fn stop_dependents(&mut self, order: &[usize]) {
        if self.options.no_start {
            return;
        }
        let mut restarted: BTreeSet<&str> = BTreeSet::new();
        for &index in order {
            let service = &self.desired.services[index];
            let follows = service.template.depends_on.iter().any(|needed| {
                needed.restart
                    && (self.recreated.contains(&needed.service) || restarted.contains(needed.service.as_str()))
            });
            if follows && !self.recreated.contains(&service.name) {
                restarted.insert(&service.name);
            }
        }
        let chosen: Vec<&ObservedContainer> = restarted
            .iter()
            .flat_map(|service| self.existing(service))
            .filter(|have| have.is_running() && !self.detached.contains_key(&have.record.id))
            .collect();
        let stops = stop_in_reverse(&mut self.plan, &chosen, true, "something that it depends on is made anew");
        self.restarted = stops.into_iter().map(|(service, stops)| (service.to_owned(), stops)).collect();
    }

    /// Starts the containers of services that were not named and were stopped with their network.
    fn reattach_others(&mut self) {
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

    fn orphans(&mut self) {
        let known: BTreeSet<&str> = self.desired.project.services.iter().map(String::as_str).collect();
        let orphans: Vec<&ObservedContainer> = self
            .observed
            .containers
            .iter()
            .filter(|have| !have.record.oneoff && !known.contains(have.record.service.as_str()))
            .collect();
        if orphans.is_empty() {
            return;
        }
        if self.options.remove_orphans {
            for orphan in orphans {
                let record = &orphan.record;
                let stop = self.stop(record, "its service is not in the file any more");
                let remove = OperationKind::RemoveContainers {
                    containers: vec![(record.id.clone(), record.name.clone())],
                    anonymous_volumes: false,
                };
                self.plan.push(remove, "its service is not in the file any more", vec![stop]);
            }
        } else {
            let names: Vec<&str> = orphans.iter().map(|orphan| orphan.record.name.as_str()).collect();
            self.plan.warnings.push(format!(
                "found orphan containers ({}) for this project; if you removed or renamed this service in your \
                 compose file, run this command with --remove-orphans to clean it up",
                names.join(", ")
            ));
        }
    }

    fn networks_and_volumes(&mut self) {
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
            if !self.observed.volumes.contains(&volume.name) {
                let kind = OperationKind::CreateVolume { name: volume.name.clone() };
                let index = self.plan.push(kind, "not found", vec![]);
                self.foundation.push(index);
            }
        }
    }

    /// Whether a network that exists was made from something else.
    fn has_changed(&self, network: &NetworkSpec) -> bool {
        let before = self
            .observed
            .project
            .as_ref()
            .and_then(|project| project.networks.iter().find(|known| known.name == network.name));
        self.observed.networks.contains(&network.name)
            && !network.external
            && before.is_some_and(|before| !before.external && before != network)
    }

    /// Containers are stopped, the network is made anew, and they are started again: they stay what they are.
    fn renew_network(&mut self, network: &NetworkSpec) {
        let cause = "its configuration changed";
        let uses = |have: &&ObservedContainer| {
            have.is_running() && have.record.endpoints.iter().any(|endpoint| endpoint.network == network.name)
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

    fn service(&mut self, service: &DesiredService, names: &mut Names<'_>) {
        let mut existing = self.existing(&service.name);
        let why: BTreeMap<&str, Option<String>> =
            existing.iter().map(|have| (have.record.id.as_str(), self.must_recreate(service, have))).collect();

        // Scale down: first what is out of date, then the highest numbers.
        let replicas = service.replicas as usize;
        if existing.len() > replicas {
            let mut surplus = existing.clone();
            surplus.sort_by_key(|have| (why[have.record.id.as_str()].is_none(), std::cmp::Reverse(have.record.number)));
            for have in surplus.into_iter().take(existing.len() - replicas) {
                self.remove(&have.record, "more replicas than wanted");
                existing.retain(|other| other.record.id != have.record.id);
            }
        }
        let mut placed = Vec::new();
        let mut updated = 0;
        let changing = existing.iter().filter(|have| why[have.record.id.as_str()].is_some()).count();
        self.tolerated = service.update.as_ref().map_or(0, |update| update.tolerated(changing));
        for have in &existing {
            match &why[have.record.id.as_str()] {
                Some(cause) => {
                    if let Some(update) = &service.update {
                        self.next_batch(service, update, updated);
                    }
                    updated += 1;
                    placed.push(self.recreate(service, have, cause, names));
                }
                None => placed.push(self.keep(service, have, names)),
            }
        }
        self.gate.clear();
        self.ends.clear();
        let mut number = existing.iter().map(|have| have.record.number).max().unwrap_or(0);
        for _ in existing.len()..replicas {
            number += 1;
            placed.push(self.create(service, number, None, "not found", names));
        }
        self.placed.insert(service.name.clone(), placed);
    }

    /// Before container `number` of an update: when a batch is complete, the next one waits for it.
    fn next_batch(&mut self, service: &DesiredService, update: &Update, number: usize) {
        if number == 0 {
            if update.start_first && !can_start_first(service) {
                self.plan.warnings.push(format!(
                    "service {} publishes fixed ports, which two containers cannot share: its containers are stopped \
                     before the new ones start, in spite of `order: start-first`",
                    service.name
                ));
            }
        } else if update.parallelism > 0 && number.is_multiple_of(update.parallelism) {
            self.gate = std::mem::take(&mut self.ends);
            if update.delay_ms > 0 {
                let delay = OperationKind::Delay { service: service.name.clone(), ms: update.delay_ms };
                let after = std::mem::take(&mut self.gate);
                self.gate = vec![self.plan.push(delay, "deploy.update_config.delay", after)];
            }
        }
    }

    /// Waits for a container of an update.
    fn await_updated(
        &mut self,
        service: &DesiredService,
        update: &Update,
        id: &str,
        name: &str,
        start: usize,
        cause: &str,
    ) -> usize {
        let kind = OperationKind::AwaitContainer {
            id: id.to_owned(),
            name: name.to_owned(),
            monitor_ms: update.monitor_ms,
            service: service.name.clone(),
            tolerated: self.tolerated,
        };
        self.plan.push(kind, cause, vec![start])
    }

    /// Why a container cannot stay as it is.
    fn must_recreate(&self, service: &DesiredService, have: &ObservedContainer) -> Option<String> {
        if self.options.no_recreate {
            return None;
        }
        let named = self.options.named.is_empty() || self.options.named.contains(&service.name);
        if self.options.force_recreate && named {
            return Some("--force-recreate".to_owned());
        }
        if self.options.always_recreate_deps && !named {
            return Some("--always-recreate-deps".to_owned());
        }
        for parent in namespace_parents(&service.template) {
            if self.recreated.contains(parent) {
                return Some(format!("shares a namespace with {parent}, which is recreated"));
            }
        }
        if have.record.config_hash != service.template.config_hash {
            return Some(difference(&have.record.config, &service.template.config, &service.places));
        }
        if have.record.image.id != service.template.image.id {
            return Some(format!("image {} is another one now", service.template.image.reference));
        }
        if let Some(install) = &service.install
            && have.is_running()
            && !self.observed.installed.contains(&install.volume.name)
        {
            return Some(format!("its packages are not those of {}", install.lock));
        }
        let networks = |record: &ContainerRecord| -> BTreeSet<String> {
            record.endpoints.iter().map(|endpoint| endpoint.network.clone()).collect()
        };
        (networks(&have.record) != networks(&service.template)).then(|| "its networks changed".to_owned())
    }

    fn keep(
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
            let (cause, after) = ("something that it depends on is made anew", stops.clone());
            let start = self.start(&service.template, &record.id, &record.name, after, cause);
            return (record.id.clone(), Some(start));
        }
        if have.is_running() || self.options.no_start || self.is_finished_one_shot(service, have) {
            return (record.id.clone(), None);
        }
        let cause = match have.state.status {
            Status::Created => "never started",
            _ => "not running",
        };
        let packages = self.packages(service, NOT_INSTALLED, names);
        let start = self.start(&service.template, &record.id, &record.name, packages.into_iter().collect(), cause);
        (record.id.clone(), Some(start))
    }

    /// What fills the service's volume of packages, once for all that mount it; `None` when they are all there.
    fn packages(&mut self, service: &DesiredService, cause: &str, names: &mut Names<'_>) -> Option<usize> {
        let install =
            service.install.as_ref().filter(|install| !self.observed.installed.contains(&install.volume.name))?;
        if let Some(&index) = self.installs.get(&install.volume.name) {
            return Some(index);
        }
        let id = (names.new_id)();
        let resolve = |service: &str| self.first_container(service);
        let record = step(service, install).instantiate(&id, 1, names.paths, names.volumes, &resolve, &[]);
        let parents = namespace_parents(&service.template).filter_map(|parent| self.placed.get(parent));
        let parents = parents.flatten().filter_map(|(_, start)| *start);
        let after = self.foundation.iter().copied().chain(parents).collect();
        let kind = OperationKind::Install { record: Box::new(record), install: Box::new(install.clone()) };
        let index = self.plan.push(kind, cause, after);
        self.installs.insert(install.volume.name.clone(), index);
        Some(index)
    }

    /// A container that others wait for to complete, and that did so with this very configuration, is not run again.
    fn is_finished_one_shot(&self, service: &DesiredService, have: &ObservedContainer) -> bool {
        have.completed()
            && service.template.restart == RestartPolicy::No
            && self.desired.services.iter().chain(self.oneoff).any(|other| {
                other.template.depends_on.iter().any(|needed| {
                    needed.service == service.name && needed.condition == Condition::ServiceCompletedSuccessfully
                })
            })
    }

    fn create(
        &mut self,
        service: &DesiredService,
        number: u32,
        replaces: Option<&ContainerRecord>,
        cause: &str,
        names: &mut Names<'_>,
    ) -> (String, Option<usize>) {
        let packages = self.packages(service, if replaces.is_some() { cause } else { NOT_INSTALLED }, names);
        let id = (names.new_id)();
        let inherited: Vec<(PathBuf, String)> = match replaces {
            Some(old) if !self.options.renew_anonymous_volumes => old
                .volumes
                .iter()
                .filter(|volume| volume.anonymous)
                .map(|volume| (volume.target.clone(), volume.volume.clone()))
                .collect(),
            _ => vec![],
        };
        let resolve = |service: &str| self.first_container(service);
        let record = service.instantiate(&id, number, names.paths, names.volumes, &resolve, &inherited);
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
        if let Some(old) = replaces {
            let stop = self.stop(old, cause);
            self.plan.operations[stop].after.push(first.map_or(create, |(_, awaited)| awaited));
            // Those that want to be restarted with it are stopped before it is.
            let desired = self.desired;
            let dependents = desired.services.iter().filter(|other| {
                other.template.depends_on.iter().any(|needed| needed.restart && needed.service == service.name)
            });
            let stops = dependents.filter_map(|other| self.restarted.get(&other.name)).flatten().copied();
            self.plan.operations[stop].after.extend(stops);
            let remove = OperationKind::RemoveContainers {
                containers: vec![(old.id.clone(), old.name.clone())],
                anonymous_volumes: self.options.renew_anonymous_volumes,
            };
            let remove = self.plan.push(remove, cause, vec![stop]);
            after.push(remove);
            if let Some((start, _)) = first {
                self.ends.push(remove);
                return (id, Some(start));
            }
        }
        if self.options.no_start {
            return (id, None);
        }
        let start = self.start(&service.template, &id, &name, after, cause);
        if let Some(update) = update {
            let awaited = self.await_updated(service, update, &id, &name, start, cause);
            self.ends.push(awaited);
        }
        (id, Some(start))
    }

    fn recreate(
        &mut self,
        service: &DesiredService,
        have: &ObservedContainer,
        cause: &str,
        names: &mut Names<'_>,
    ) -> (String, Option<usize>) {
        self.create(service, have.record.number, Some(&have.record), cause, names)
    }

    fn start(&mut self, template: &ContainerRecord, id: &str, name: &str, mut after: Vec<usize>, cause: &str) -> usize {
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

    fn stop(&mut self, record: &ContainerRecord, cause: &str) -> usize {
        let kind = OperationKind::StopContainer { id: record.id.clone(), name: record.name.clone(), restart: false };
        self.plan.push(kind, cause, vec![])
    }

    fn remove(&mut self, record: &ContainerRecord, cause: &str) {
        let stop = self.stop(record, cause);
        let kind = OperationKind::RemoveContainers {
            containers: vec![(record.id.clone(), record.name.clone())],
            anonymous_volumes: false,
        };
        self.plan.push(kind, cause, vec![stop]);
    }

    /// The container whose namespaces `service:NAME` means.
    fn first_container(&self, service: &str) -> Option<String> {
        if let Some(placed) = self.placed.get(service) {
            return placed.first().map(|(id, _)| id.clone());
        }
        self.observed
            .containers
            .iter()
            .filter(|have| have.record.service == service && !have.record.oneoff)
            .min_by_key(|have| have.record.number)
            .map(|have| have.record.id.clone())
    }
}

/// Two containers cannot have the same port of the host.
fn can_start_first(service: &DesiredService) -> bool {
    service.template.ports.iter().all(|port| port.published.is_none())
}

/// Services whose namespaces a template shares.
fn namespace_parents(template: &ContainerRecord) -> impl Iterator<Item = &str> {
    use crate::runtime::spec::{Namespace, NetworkNamespace};
    let namespaces = &template.spec.namespaces;
    let plain = [&namespaces.pid, &namespaces.ipc, &namespaces.uts].into_iter().filter_map(|namespace| {
        if let Namespace::Container(target) = namespace { Some(target.as_str()) } else { None }
    });
    let network =
        if let NetworkNamespace::Container(target) = &namespaces.network { Some(target.as_str()) } else { None };
    plain.chain(network).filter_map(|target| target.strip_prefix(super::desired::SERVICE_PREFIX))
}

/// The first few paths at which two configurations differ: `environment.DEBUG "0" → "1" (compose.yaml:14)`.
fn difference(old: &serde_json::Value, new: &serde_json::Value, places: &BTreeMap<String, String>) -> String {
    let mut found = Vec::new();
    collect_differences("", old, new, &mut found);
    let found: Vec<String> = found
        .into_iter()
        .map(|(path, text)| {
            // What has no place of its own has that of what it is part of.
            let mut place = places.get(&path);
            let mut outer = path.as_str();
            while let (None, Some((rest, _))) = (place, outer.rsplit_once('.')) {
                (place, outer) = (places.get(rest), rest);
            }
            place.map_or_else(|| text.clone(), |place| format!("{text} ({place})"))
        })
        .collect();
    match found.len() {
        0 => "its configuration changed".to_owned(),
        1..=3 => found.join(", "),
        more => format!("{} and {} more", found[..3].join(", "), more - 3),
    }
}

fn collect_differences(
    path: &str,
    old: &serde_json::Value,
    new: &serde_json::Value,
    found: &mut Vec<(String, String)>,
) {
    use serde_json::Value;
    if old == new {
        return;
    }
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for key in keys {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                let null = Value::Null;
                collect_differences(&path, old.get(key).unwrap_or(&null), new.get(key).unwrap_or(&null), found);
            }
        }
        _ if path.split('.').next() == Some(PACKAGES) => {
            let name = path.split_once('.').map_or("what its packages depend on", |(_, name)| name);
            found.push((path.to_owned(), format!("{name} changed")));
        }
        // The digest of a secret is nobody's business.
        _ if path.split('.').next() == Some(CONTENTS) => {
            let name = path.split_once('.').map_or("a secret or config", |(_, name)| name);
            found.push((path.to_owned(), format!("the content of {name} changed")));
        }
        _ => found.push((path.to_owned(), format!("{path} {} → {}", short(old), short(new)))),
    }
}

fn short(value: &serde_json::Value) -> String {
    let text = if value.is_null() { "(none)".to_owned() } else { value.to_string() };
    if text.chars().count() <= 40 { text } else { format!("{}…", text.chars().take(39).collect::<String>()) }
}
