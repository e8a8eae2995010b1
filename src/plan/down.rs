//! Everything that takes a project, or some of its services, down.

use std::collections::{BTreeMap, BTreeSet};

use super::observed::Observed;
use super::operation::{OperationKind, Plan};
use super::options::DownOptions;
use super::order::dependency_order;
use crate::record::ObservedContainer;

/// Everything that takes a project, or some of its services, down.
#[must_use]
pub fn down(observed: &Observed, options: &DownOptions) -> Plan {
    let mut plan = Plan::default();
    let everything = options.services.is_empty();
    let known: Option<BTreeSet<&str>> =
        observed.project.as_ref().map(|project| project.services.iter().map(String::as_str).collect());
    let chosen: Vec<&ObservedContainer> = observed
        .containers
        .iter()
        .filter(|have| {
            let service = have.record.service.as_str();
            if everything {
                !options.disabled.contains_key(service)
                    && (options.remove_orphans || known.as_ref().is_none_or(|known| known.contains(service)))
            } else {
                options.services.iter().any(|wanted| wanted == service)
            }
        })
        .collect();
    let is_left = |have: &&ObservedContainer| !chosen.iter().any(|other| other.record.id == have.record.id);
    let left: Vec<&ObservedContainer> = observed.containers.iter().filter(|_| everything).filter(is_left).collect();
    let (disabled, orphans): (Vec<&ObservedContainer>, Vec<&ObservedContainer>) =
        left.iter().partition(|have| options.disabled.contains_key(&have.record.service));
    let orphans: Vec<&str> = orphans.iter().map(|have| have.record.name.as_str()).collect();
    plan.warnings.extend(still_there(&disabled, &options.disabled));
    if !orphans.is_empty() && !options.ignore_orphans {
        plan.warnings.push(format!(
            "found orphan containers ({}) for this project; run this command with --remove-orphans to clean it up",
            orphans.join(", ")
        ));
    }
    let stops = stop_in_reverse(&mut plan, &chosen, false, "down");
    let mut last: Vec<usize> = stops.into_values().flatten().collect();
    last.sort_unstable();
    if !chosen.is_empty() {
        let containers = chosen.iter().map(|have| (have.record.id.clone(), have.record.name.clone())).collect();
        let kind = OperationKind::RemoveContainers { containers, anonymous_volumes: options.volumes };
        last = vec![plan.push(kind, "down", last)];
    }
    if everything {
        let project = observed.project.as_ref();
        for name in &observed.networks {
            let external = project
                .and_then(|project| project.networks.iter().find(|network| network.name == *name))
                .is_some_and(|network| network.external);
            let uses = |have: &&ObservedContainer| have.endpoints().iter().any(|endpoint| endpoint.network == *name);
            match (external, left.iter().any(uses)) {
                (true, _) => {}
                (false, true) => plan.warnings.push(format!("network {name} stays: it is still in use")),
                (false, false) => {
                    plan.push(OperationKind::RemoveNetwork { name: name.clone() }, "down", last.clone());
                }
            }
        }
        if options.volumes {
            for name in &observed.volumes {
                let external = project
                    .and_then(|project| project.volumes.iter().find(|volume| volume.name == *name))
                    .is_some_and(|volume| volume.external);
                let uses = |have: &&ObservedContainer| have.record.volumes.iter().any(|used| used.volume == *name);
                match (external, left.iter().any(uses)) {
                    (true, _) => {}
                    (false, true) => plan.warnings.push(format!("volume {name} stays: it is still in use")),
                    (false, false) => {
                        plan.push(OperationKind::RemoveVolume { name: name.clone() }, "--volumes", last.clone());
                    }
                }
            }
        }
    }
    plan
}

/// What of services whose profile is off is left, and how it goes too.
fn still_there(left: &[&ObservedContainer], disabled: &BTreeMap<String, Vec<String>>) -> Option<String> {
    let services: BTreeSet<&str> = left.iter().map(|have| have.record.service.as_str()).collect();
    let first = disabled.get(*services.first()?)?.first()?;
    let services: Vec<&str> = services.into_iter().collect();
    Some(format!(
        "{} stays, because its profile is off: take it down too with `--profile {first}`, or everything with \
         `--profile '*'`",
        services.join(", ")
    ))
}

/// The services of `chosen`, each after what it depends on.
pub(super) fn services_in_order<'a>(chosen: &[&'a ObservedContainer]) -> Vec<&'a str> {
    let services: Vec<&str> = {
        let mut seen = BTreeSet::new();
        chosen.iter().map(|have| have.record.service.as_str()).filter(|name| seen.insert(*name)).collect()
    };
    let order = dependency_order(&services, |index| {
        chosen
            .iter()
            .filter(|have| have.record.service == services[index])
            .flat_map(|have| have.record.depends_on.iter().map(|needed| needed.service.clone()))
            .collect()
    });
    order.into_iter().map(|index| services[index]).collect()
}

/// Stops dependents before what they depend on; by service, the operations that do so.
pub(super) fn stop_in_reverse<'a>(
    plan: &mut Plan,
    chosen: &[&'a ObservedContainer],
    restart: bool,
    cause: &str,
) -> BTreeMap<&'a str, Vec<usize>> {
    let mut stops: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for &service in services_in_order(chosen).iter().rev() {
        let after: Vec<usize> = chosen
            .iter()
            .filter(|have| have.record.depends_on.iter().any(|needed| needed.service == service))
            .flat_map(|have| stops.get(have.record.service.as_str()).cloned().unwrap_or_default())
            .collect::<BTreeSet<usize>>()
            .into_iter()
            .collect();
        for have in chosen.iter().filter(|have| have.record.service == service) {
            let (id, name) = (have.record.id.clone(), have.record.name.clone());
            let kind = OperationKind::StopContainer { id, name, restart };
            let stop = plan.push(kind, cause, after.clone());
            stops.entry(service).or_default().push(stop);
        }
    }
    stops
}
