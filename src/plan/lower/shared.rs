//! Services in the network of another container.

use std::collections::BTreeSet;

use crate::compose::model::{Project, Service};
use crate::record::{CONTAINER_PREFIX, Condition, Dependency};

use super::super::desired::SERVICE_PREFIX;
use super::{Fault, volumes_from};

/// Whose network a service is in: `service:vpn` and `vpn`.
fn leader(service: &Service) -> Option<(&str, &str)> {
    let mode = service.network_mode.as_deref()?;
    let name = mode.strip_prefix(SERVICE_PREFIX).or_else(|| mode.strip_prefix(CONTAINER_PREFIX))?;
    Some((mode, name))
}

/// What only the container that has the network can have is refused, as by the peer.
pub(super) fn check(name: &str, service: &Service, faults: &mut Vec<Fault>) {
    let Some((mode, leader)) = leader(service) else { return };
    let own = [
        ("ports", "ports[0]", service.ports.is_empty()),
        ("dns", "dns[0]", service.dns.is_empty()),
        ("extra_hosts", "extra_hosts", service.extra_hosts.is_empty()),
        ("links", "links[0]", service.links.is_empty()),
        ("mac_address", "mac_address", service.mac_address.is_none()),
    ];
    for (attribute, place, _) in own.into_iter().filter(|(_, _, is_empty)| !is_empty) {
        let message = format!("conflicting options: `{attribute}` and `network_mode: {mode}`");
        faults.push(
            Fault::new(format!("services.{name}.{place}"), message)
                .hint(format!("the network is that of {leader}: write `{attribute}` there")),
        );
    }
}

/// What the peer takes no notice of.
pub(super) fn warnings(name: &str, service: &Service) -> Vec<Fault> {
    let Some((_, leader)) = leader(service) else { return Vec::new() };
    let without = [("dns_search", service.dns_search.is_empty()), ("dns_opt", service.dns_opt.is_empty())];
    let warning = |(attribute, _): (&str, bool)| {
        let message = format!("`{attribute}` of {name} has no effect: its network is that of {leader}");
        Fault::new(format!("services.{name}.{attribute}"), message).hint(format!("write it at {leader}"))
    };
    without.into_iter().filter(|(_, is_empty)| !is_empty).map(warning).collect()
}

/// What a service starts after because it shares a namespace with `container:NAME`, which a service of the file is
/// called, or takes volumes from it, as with `service:NAME`.
pub(super) fn dependencies(project: &Project, name: &str, service: &Service, depends_on: &mut Vec<Dependency>) {
    let modes = [&service.network_mode, &service.ipc, &service.pid].into_iter().flatten();
    let sharing = modes.filter_map(|mode| service_of(project, mode.strip_prefix(CONTAINER_PREFIX)?));
    let taking = service.volumes_from.iter().filter_map(|text| volumes_from::leader(project, text));
    for (leader, restart) in sharing.map(|leader| (leader, true)).chain(taking.map(|leader| (leader, false))) {
        let is_known = depends_on.iter().any(|needed| needed.service == leader);
        if !is_known && !needs(project, leader, name) {
            depends_on.push(Dependency {
                service: leader.to_owned(),
                condition: Condition::ServiceStarted,
                required: true,
                restart,
            });
        }
    }
}

/// The service of the file whose container, one of them, is called so.
pub(super) fn service_of<'a>(project: &'a Project, container: &str) -> Option<&'a str> {
    let called = |(name, service): &(&String, &Service)| match &service.container_name {
        Some(called) => called == container,
        None => {
            let separator = project.separator();
            let number = container.strip_prefix(&format!("{}{separator}{name}{separator}", project.name));
            number.is_some_and(|number| number.parse::<u32>().is_ok())
        }
    };
    project.services.iter().find(called).map(|(name, _)| name.as_str())
}

/// Whether a service needs another one, at whatever distance.
fn needs(project: &Project, service: &str, other: &str) -> bool {
    let (mut seen, mut ahead) = (BTreeSet::new(), vec![service]);
    while let Some(next) = ahead.pop() {
        if next == other {
            return true;
        }
        if seen.insert(next) {
            ahead
                .extend(project.services.get(next).into_iter().flat_map(|it| it.depends_on.keys()).map(String::as_str));
        }
    }
    false
}
