//! Records for the tests of this module.

use std::collections::BTreeMap;

use crate::record::{
    Condition, ContainerRecord, Dependency, ImageIdentity, ObservedContainer, ProjectRecord, Status, sample,
};

use super::desired::{Desired, DesiredService};

pub(crate) use crate::record::sample::{exited, running};

pub(crate) fn record(service: &str) -> ContainerRecord {
    ContainerRecord {
        config_hash: "hash".into(),
        image: ImageIdentity { reference: "busybox".into(), id: "sha256:1".into() },
        config: serde_json::json!({"environment": {"DEBUG": "0"}}),
        ..sample::record("shop", service, crate::runtime::sample::spec(&["true"]))
    }
}

pub(crate) fn needs(mut record: ContainerRecord, service: &str, condition: Condition) -> ContainerRecord {
    record.depends_on.push(Dependency { service: service.into(), condition, required: true, restart: false });
    record
}

pub(crate) fn desired(templates: Vec<ContainerRecord>) -> Desired {
    Desired {
        project: ProjectRecord {
            name: "shop".into(),
            working_dir: "/shop".into(),
            config_files: vec![],
            environment_files: vec![],
            services: templates.iter().map(|template| template.service.clone()).collect(),
            networks: vec![],
            volumes: vec![],
        },
        networks: vec![],
        claims: Default::default(),
        volumes: vec![],
        initial_sync: BTreeMap::new(),
        services: templates
            .into_iter()
            .map(|template| DesiredService {
                name: template.service.clone(),
                replicas: 1,
                container_name: None,
                separator: '-',
                template,
                update: None,
                rollback: None,
                install: None,
                places: BTreeMap::new(),
                origins: BTreeMap::new(),
            })
            .collect(),
    }
}

/// An existing container of a service.
pub(crate) fn existing(mut record: ContainerRecord, number: u32, status: Status) -> ObservedContainer {
    record.id = format!("{}{number}", record.service);
    record.name = format!("shop-{}-{number}", record.service);
    record.number = number;
    sample::observed(record, status)
}
