//! Everything that takes a project, or some of its services, down.

use std::collections::{BTreeMap, BTreeSet};

use super::observed::{Observed, ObservedContainer};
use super::operation::{OperationKind, Plan};
use super::options::DownOptions;
use super::order::dependency_order;

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
                options.remove_orphans || known.as_ref().is_none_or(|known| known.contains(service))
            } else {
                options.services.iter().any(|wanted| wanted == service)
            }
        })
        .collect();
    let orphans: Vec<&str> = observed
        .containers
        .iter()
        .filter(|have| everything && !chosen.iter().any(|other| other.record.id == have.record.id))
        .map(|have| have.record.name.as_str())
        .collect();
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
    if everything && orphans.is_empty() {
        let project = observed.project.as_ref();
        for name in &observed.networks {
            let external = project
                .and_then(|project| project.networks.iter().find(|network| network.name == *name))
                .is_some_and(|network| network.external);
            if !external {
                plan.push(OperationKind::RemoveNetwork { name: name.clone() }, "down", last.clone());
            }
        }
        if options.volumes {
            for name in &observed.volumes {
                let external = project
                    .and_then(|project| project.volumes.iter().find(|volume| volume.name == *name))
                    .is_some_and(|volume| volume.external);
                if !external {
                    plan.push(OperationKind::RemoveVolume { name: name.clone() }, "--volumes", last.clone());
                }
            }
        }
    }
    plan
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
