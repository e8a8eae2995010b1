//! Compares what is wanted with what is there. Decides everything; touches nothing.

mod addresses;
mod batches;
mod containers;
mod difference;
mod followers;
mod networks;
mod parents;
mod volumes;

use std::collections::{BTreeMap, BTreeSet};

use self::difference::difference;
use self::networks::other_networks;
use super::desired::{Desired, DesiredService};
use super::down::stop_in_reverse;
use super::install::is_step;
use super::lower::{is_known, labels};
use super::observed::Observed;
use super::operation::{OperationKind, Plan};
use super::options::{Names, UpOptions};
use super::order::dependency_order;
use crate::record::{ContainerRecord, ObservedContainer};

/// Everything that makes `observed` into `desired`.
#[must_use]
pub fn up(desired: &Desired, observed: &Observed, options: &UpOptions, names: &mut Names<'_>) -> Plan {
    let mut up = Up::new(desired, None, observed, options);
    up.everything(names);
    up.interrupted_steps();
    addresses::wait_for_those_who_leave(&mut up.plan, &observed.containers);
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
    addresses::wait_for_those_who_leave(&mut up.plan, &observed.containers);
    (up.plan, id)
}

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
    /// Services whose first container is made, or made anew, and what it will mount.
    projected: BTreeMap<String, ContainerRecord>,
    /// Services that are restarted because one that they depend on is made anew, with the operations that stop them.
    restarted: BTreeMap<String, Vec<usize>>,
    /// Containers that are stopped while a network of theirs is made anew: the network, by id.
    detached: BTreeMap<String, String>,
    /// Containers that are removed with a volume that is made anew, by id.
    gone: BTreeSet<String>,
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
            projected: BTreeMap::new(),
            restarted: BTreeMap::new(),
            detached: BTreeMap::new(),
            gone: BTreeSet::new(),
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
        self.project(service);
    }

    /// Stops what wants to be restarted with something that is made anew, the last in the chain first.
    fn stop_dependents(&mut self, order: &[usize]) {
        if self.options.no_start {
            return;
        }
        let mut restarted: BTreeMap<&str, String> = BTreeMap::new();
        for &index in order {
            let service = &self.desired.services[index];
            let is_renewed = |parent: &str| self.recreated.contains(parent) || restarted.contains_key(parent);
            let depends =
                service.template.depends_on.iter().any(|needed| needed.restart && is_renewed(&needed.service));
            let follows = depends || self.follows_one_of(service, is_renewed);
            let cause = match follows {
                true => Some("something that it depends on is made anew".to_owned()),
                false => self.is_adrift(service),
            };
            if let Some(cause) = cause.filter(|_| !self.recreated.contains(&service.name)) {
                restarted.insert(&service.name, cause);
            }
        }
        let chosen: Vec<&ObservedContainer> = restarted
            .keys()
            .flat_map(|service| self.existing(service))
            .filter(|have| have.is_running() && !self.detached.contains_key(&have.record.id))
            .collect();
        let stops = stop_in_reverse(&mut self.plan, &chosen, true, "");
        for (service, stops) in stops {
            for &stop in &stops {
                self.plan.operations[stop].cause.clone_from(&restarted[service]);
            }
            self.restarted.insert(service.to_owned(), stops);
        }
    }

    /// Containers of services that the file does not know, and those of `run` that have ended.
    fn orphans(&mut self) {
        let known: BTreeSet<&str> = self.desired.project.services.iter().map(String::as_str).collect();
        let is_orphan = |have: &&ObservedContainer| match have.record.oneoff {
            true => have.has_ended() && !have.record.auto_remove && !is_step(&have.record),
            false => !known.contains(have.record.service.as_str()),
        };
        let orphans: Vec<&ObservedContainer> = self.observed.containers.iter().filter(is_orphan).collect();
        if self.options.remove_orphans {
            for orphan in orphans {
                let cause = match orphan.record.oneoff {
                    true => "a container of `run` that has ended",
                    false => "its service is not in the file any more",
                };
                self.remove(&orphan.record, cause);
            }
        } else if !orphans.is_empty() && !self.options.ignore_orphans {
            let names: Vec<&str> = orphans.iter().map(|orphan| orphan.record.name.as_str()).collect();
            self.plan.warnings.push(format!(
                "found orphan containers ({}) for this project; if you removed or renamed this service in your \
                 compose file, run this command with --remove-orphans to clean it up",
                names.join(", ")
            ));
        }
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

    /// Why a container cannot stay as it is.
    fn must_recreate(&self, service: &DesiredService, have: &ObservedContainer) -> Option<String> {
        if self.gone.contains(&have.record.id) {
            return Some("a volume of its own is made anew".to_owned());
        }
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
        if have.record.config_hash != service.template.config_hash
            && labels::hash(&labels::canonical(have.record.config.clone())) != service.template.config_hash
        {
            return Some(difference(&have.record.config, &service.template.config, &service.places));
        }
        if let Some(cause) = self.other_parent(service, have).or_else(|| self.other_mounts(service, have)) {
            return Some(cause);
        }
        if self.options.renew_anonymous_volumes && named && have.record.own_anonymous_volumes().next().is_some() {
            return Some("--renew-anon-volumes".to_owned());
        }
        if is_known(&service.template.image.id) && have.record.image.id != service.template.image.id {
            return Some(format!("image {} is another one now", service.template.image.reference));
        }
        if let Some(install) = &service.install
            && have.is_running()
            && !self.observed.installed.contains(&install.volume.name)
        {
            return Some(format!("its packages are not those of {}", install.lock));
        }
        other_networks(service, have)
    }
}
