//! After an update that failed: the services as they were before (`failure_action: rollback`).

use std::path::Path;

use super::desired::{Desired, DesiredService, LABEL_NUMBER, OnFailure, SERVICE_PREFIX};
use super::inherit::disinherit;
use super::observed::Observed;
use crate::record::{ContainerRecord, Health, HealthStatus, ObservedContainer, Status};
use crate::runtime::spec::{MountKind, Namespace, NetworkNamespace};
use crate::state::ProjectPaths;

/// What to converge to: of `desired`, those services that are to be rolled back and whose update is not complete, made
/// of the containers that they had `before`. Nothing when there are none.
#[must_use]
pub fn rollback(desired: &Desired, before: &Observed, now: &Observed, paths: &ProjectPaths) -> Option<Desired> {
    let services: Vec<DesiredService> = desired
        .services
        .iter()
        .filter(|service| service.update.as_ref().is_some_and(|update| update.on_failure == OnFailure::Rollback))
        .filter(|service| !is_complete(service, now))
        .filter_map(|service| {
            let old: Vec<&ContainerRecord> = of(service, before).collect();
            let template = template(old.iter().min_by_key(|record| record.number)?, before, paths);
            let replicas = u32::try_from(old.len()).unwrap_or(service.replicas);
            Some(DesiredService {
                replicas,
                template,
                update: service.rollback.clone(),
                install: None,
                ..service.clone()
            })
        })
        .collect();
    let nothing_new = || Desired { networks: Vec::new(), volumes: Vec::new(), services, ..desired.clone() };
    (!desired.services.is_empty()).then(nothing_new).filter(|desired| !desired.services.is_empty())
}

fn of<'a>(service: &'a DesiredService, observed: &'a Observed) -> impl Iterator<Item = &'a ContainerRecord> {
    let records = observed.containers.iter().map(|have| &have.record);
    records.filter(|record| !record.oneoff && record.service == service.name)
}

/// The fault was another service's: all containers are new, run and are healthy.
fn is_complete(service: &DesiredService, now: &Observed) -> bool {
    of(service, now).all(|record| record.config_hash == service.template.config_hash)
        && now.containers.iter().filter(|have| have.record.service == service.name).all(is_well)
}

fn is_well(have: &ObservedContainer) -> bool {
    let healthy = |health: &Option<Health>| health.as_ref().is_none_or(|health| health.status == HealthStatus::Healthy);
    matches!(&have.state.status, Status::Running { health, .. } if healthy(health))
}

/// What [`DesiredService::instantiate`] made a container of.
fn template(record: &ContainerRecord, observed: &Observed, paths: &ProjectPaths) -> ContainerRecord {
    let mut template = record.clone();
    disinherit(&mut template);
    let short = &record.id[..record.id.len().min(12)];
    template.labels.remove(LABEL_NUMBER);
    if template.spec.hostname == short {
        template.spec.hostname.clear();
    }
    let own = paths.container(&record.id);
    for mount in &mut template.spec.mounts {
        if let MountKind::Overlay { upper: Some(upper), work: Some(work), .. } = &mut mount.kind {
            for place in [upper, work] {
                if let Ok(relative) = place.strip_prefix(own.data()).map(Path::to_owned) {
                    *place = relative;
                }
            }
        }
    }
    let service_of = |id: &str| {
        let owner = observed.containers.iter().find(|have| have.record.id == id)?;
        Some(format!("{SERVICE_PREFIX}{}", owner.record.service))
    };
    let namespaces = &mut template.spec.namespaces;
    for namespace in [&mut namespaces.pid, &mut namespaces.ipc, &mut namespaces.uts] {
        if let Namespace::Container(target) = namespace
            && let Some(service) = service_of(target)
        {
            *target = service;
        }
    }
    if let NetworkNamespace::Container(target) = &mut namespaces.network
        && let Some(service) = service_of(target)
    {
        *target = service;
    }
    for endpoint in &mut template.endpoints {
        endpoint.aliases.retain(|alias| *alias != record.name && alias != short);
    }
    template
}
