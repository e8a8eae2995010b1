//! The project as a whole: its services, and the networks and volumes that these use.

use std::collections::{BTreeMap, BTreeSet};

use crate::compose::model::{Project, Service};
use crate::plan::desired::Desired;
use crate::record::ProjectRecord;
use crate::volumes::spec::VolumeSpec;

use super::{Fault, Inputs, check, mounts, network, service, shared};

/// Makes the desired state of the chosen services.
///
/// # Errors
/// Every fault of every service, together.
pub fn lower(project: &Project, inputs: &Inputs<'_>) -> Result<Desired, Vec<Fault>> {
    let mut faults = Vec::new();
    let mut services = Vec::new();
    for name in inputs.services {
        let Some(service) = project.services.get(name) else {
            faults.push(Fault::new(format!("services.{name}"), "no such service"));
            continue;
        };
        match service::lower(project, name, service, inputs) {
            Ok(lowered) => services.push(lowered),
            Err(found) => faults.extend(found),
        }
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let used_networks: BTreeSet<&str> = services
        .iter()
        .flat_map(|service| {
            let way_out = service.install.as_ref().and_then(|install| install.way_out.as_deref());
            service.template.endpoints.iter().map(|endpoint| endpoint.network.as_str()).chain(way_out)
        })
        .collect();
    let used_volumes: BTreeSet<&str> = services
        .iter()
        .flat_map(|service| service.template.volumes.iter().filter(|volume| !volume.anonymous))
        .map(|volume| volume.volume.as_str())
        .collect();
    let record = project_record(project);
    let is_wanted = |used: &BTreeSet<&str>, name: &str| inputs.all_resources || used.contains(name);
    let networks: Vec<_> =
        record.networks.iter().filter(|network| is_wanted(&used_networks, &network.name)).cloned().collect();
    let mut volumes: Vec<_> =
        record.volumes.iter().filter(|volume| is_wanted(&used_volumes, &volume.name)).cloned().collect();
    let packages: BTreeMap<&str, &VolumeSpec> = services
        .iter()
        .filter_map(|service| service.install.as_ref())
        .map(|install| (install.volume.name.as_str(), &install.volume))
        .collect();
    volumes.extend(packages.into_values().cloned());
    let claims = network::claims(project);
    Ok(Desired { project: record, networks, claims, volumes, services, initial_sync: BTreeMap::new() })
}

/// What of the services asked for is without effect, though the file says it.
#[must_use]
pub fn warnings(project: &Project, services: &[String]) -> Vec<Fault> {
    let asked = services.iter().filter_map(|name| Some((name, project.services.get(name)?)));
    let closed = asked.clone().filter(|(_, service)| !service.ports.is_empty() && network::is_inside(project, service));
    let warning = |(name, service): (&String, &Service)| {
        let networks: Vec<&str> = service.networks.keys().map(String::as_str).collect();
        let message =
            format!("the ports of {name} are not published: {} has no way in (`internal`)", networks.join(", "));
        Fault::new(format!("services.{name}.ports"), message)
            .hint("put the service into a network that is not internal too, or take `ports` away")
    };
    let shared = asked.flat_map(|(name, service)| shared::warnings(name, service));
    closed.map(warning).chain(check::without_effect(project, services)).chain(shared).collect()
}

/// What a project is as a whole, without regard to images.
#[must_use]
pub fn project_record(project: &Project) -> ProjectRecord {
    ProjectRecord {
        name: project.name.clone(),
        working_dir: project.working_dir.clone(),
        config_files: project.compose_files.clone(),
        environment_files: vec![],
        services: project.services.keys().chain(project.disabled_services.keys()).cloned().collect(),
        networks: network::networks(project),
        volumes: mounts::volumes(project),
    }
}
