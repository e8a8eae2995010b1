//! `volumes_from`: containers whose mounts a service has too.

use std::collections::BTreeSet;

use crate::compose::model::{Project, Service};
use crate::record::{CONTAINER_PREFIX, VolumesFrom};

use super::super::desired::SERVICE_PREFIX;
use super::{Fault, shared};

/// In the order of the file.
pub(super) fn lower(name: &str, service: &Service, faults: &mut Vec<Fault>) -> Vec<VolumesFrom> {
    let mut lowered = Vec::new();
    for (index, text) in service.volumes_from.iter().enumerate() {
        match parse(text) {
            Ok(from) => lowered.push(from),
            Err(message) => faults.push(
                Fault::new(format!("services.{name}.volumes_from[{index}]"), message)
                    .hint("write `SERVICE` or `container:NAME`, with `:ro` behind it for what is only read"),
            ),
        }
    }
    lowered
}

/// `db`, `db:ro`, `container:shop-db-1:rw`
fn parse(text: &str) -> Result<VolumesFrom, String> {
    let (prefix, rest) = match text.strip_prefix(CONTAINER_PREFIX) {
        Some(rest) => (CONTAINER_PREFIX, rest),
        None => (SERVICE_PREFIX, text),
    };
    let (name, mode) = rest.split_once(':').unwrap_or((rest, "rw"));
    if name.is_empty() {
        return Err(format!("`{text}` names nobody to take volumes from"));
    }
    if !matches!(mode, "ro" | "rw") {
        return Err(format!("there is no mode `{mode}` to take volumes in: it is `ro` or `rw`"));
    }
    let from = format!("{prefix}{name}");
    Ok(VolumesFrom { from, read_only: mode == "ro", container: None, targets: Vec::new() })
}

/// By a container's name a service can take volumes from itself; the names of services are looked at before.
pub(super) fn check(project: &Project, name: &str, service: &Service, faults: &mut Vec<Fault>) {
    for (index, text) in service.volumes_from.iter().enumerate() {
        let Some(leader) = leader(project, text).filter(|leader| *leader == name || needs(project, leader, name))
        else {
            continue;
        };
        let message = match leader == name {
            true => format!("{name} takes volumes from itself"),
            false => format!("{name} takes volumes from {leader}, which needs {name} itself"),
        };
        faults.push(
            Fault::new(format!("services.{name}.volumes_from[{index}]"), message)
                .hint("take one of the two away: the one whose volumes are taken is made first"),
        );
    }
}

/// The service of the file whose container an entry names.
pub(super) fn leader<'a>(project: &'a Project, text: &str) -> Option<&'a str> {
    let container = text.strip_prefix(CONTAINER_PREFIX)?;
    let container = container.split(':').next().unwrap_or_default();
    shared::service_of(project, container)
}

/// Whether a service needs another one, at whatever distance.
fn needs(project: &Project, service: &str, other: &str) -> bool {
    let (mut seen, mut ahead) = (BTreeSet::new(), vec![service]);
    while let Some(next) = ahead.pop() {
        if next == other {
            return true;
        }
        let Some(service) = project.services.get(next).filter(|_| seen.insert(next)) else { continue };
        ahead.extend(service.depends_on.keys().map(String::as_str));
        ahead.extend(service.volumes_from.iter().filter_map(|text| leader(project, text)));
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_of_the_entry() {
        let of = |text: &str| parse(text).map(|from| (from.from, from.read_only));
        assert_eq!(of("db"), Ok(("service:db".to_owned(), false)));
        assert_eq!(of("db:ro"), Ok(("service:db".to_owned(), true)));
        assert_eq!(of("container:db:rw"), Ok(("container:db".to_owned(), false)));
        assert_eq!(of("container:db:ro"), Ok(("container:db".to_owned(), true)));
        for wrong in ["db:", "db:rx", "db:ro:rw", "container:", "container::ro", "container:db:z", ""] {
            assert!(of(wrong).is_err(), "{wrong}");
        }
    }
}
