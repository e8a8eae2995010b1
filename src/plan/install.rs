//! The container of an install step: as those of its service, but for what only they have.

use super::desired::{DesiredService, Install, generated_name};
use super::lower::labels;
use crate::network::spec::EndpointSpec;
use crate::record::{ContainerRecord, RestartLimits, RestartPolicy};
use crate::volumes::packages::LABEL;

/// The service as the container that fills its volume of packages.
#[must_use]
pub fn step(service: &DesiredService, install: &Install) -> DesiredService {
    let mut step = service.clone();
    let record = &mut step.template;
    step.container_name = Some(generated_name(record, service.separator, &["install"]));
    step.update = None;
    record.oneoff = true;
    record.labels.insert(labels::ONEOFF.to_owned(), "True".to_owned());
    record.labels.insert(LABEL.to_owned(), install.lock.clone());
    record.command = install.args.join(" ");
    record.spec.process.args.clone_from(&install.args);
    record.spec.process.cwd.clone_from(&install.working_dir);
    record.spec.process.tty = false;
    record.spec.process.stdin_open = false;
    // It adopts what the step leaves behind, and passes signals on.
    record.spec.init = true;
    record.restart = RestartPolicy::No;
    record.restart_limits = RestartLimits::default();
    record.restart_unhealthy = false;
    record.auto_remove = false;
    record.health = None;
    record.ports.clear();
    record.exposed.clear();
    record.depends_on.clear();
    record.post_start.clear();
    record.pre_stop.clear();
    for endpoint in &mut record.endpoints {
        // The service answers under its names and addresses, maybe right now.
        endpoint.aliases.clear();
        (endpoint.ipv4, endpoint.ipv6, endpoint.mac) = (None, None, None);
        endpoint.link_local.clear();
    }
    if let Some(network) = &install.way_out {
        record.endpoints.push(EndpointSpec::plain(network.clone()));
    }
    step
}

/// Whether a container is that of an install step.
#[must_use]
pub fn is_step(record: &ContainerRecord) -> bool {
    record.oneoff && record.labels.contains_key(LABEL)
}
