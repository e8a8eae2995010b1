//! Records for tests to begin from, here and in `tests`.

use std::collections::BTreeMap;

use super::{
    ContainerRecord, ContainerState, DnsOptions, ImageIdentity, Logging, ObservedContainer, RestartLimits,
    RestartPolicy, Status,
};
use crate::runtime::spec::{ContainerSpec, ExitStatus};

/// The record of a container of a service; nothing is asked for but what it runs.
#[must_use]
pub fn record(project: &str, service: &str, spec: ContainerSpec) -> ContainerRecord {
    ContainerRecord {
        id: String::new(),
        name: String::new(),
        project: project.to_owned(),
        service: service.to_owned(),
        number: 0,
        oneoff: false,
        created: jiff::Timestamp::UNIX_EPOCH,
        config_hash: String::new(),
        image: ImageIdentity { reference: "busybox".into(), id: String::new() },
        mounted_images: vec![],
        labels: BTreeMap::new(),
        endpoints: vec![],
        ports: vec![],
        exposed: vec![],
        dns: DnsOptions::default(),
        extra_hosts: vec![],
        links: vec![],
        volumes: vec![],
        volumes_from: vec![],
        binds: vec![],
        files: vec![],
        health: None,
        restart: RestartPolicy::No,
        restart_limits: RestartLimits::default(),
        restart_unhealthy: false,
        auto_remove: false,
        stop_signal: "SIGTERM".into(),
        stop_grace_ms: 10_000,
        logging: Logging { driver: "json-file".into(), options: BTreeMap::new() },
        post_start: vec![],
        pre_stop: vec![],
        depends_on: vec![],
        command: spec.process.args.join(" "),
        config: serde_json::Value::Null,
        origins: BTreeMap::new(),
        spec,
    }
}

/// A container as it is found, with what it does now.
#[must_use]
pub fn observed(record: ContainerRecord, status: Status) -> ObservedContainer {
    ObservedContainer { record, state: ContainerState { status, ..ContainerState::created() } }
}

#[must_use]
pub fn running() -> Status {
    Status::Running {
        pid: 1,
        start_time: 1,
        boot_id: String::new(),
        started: jiff::Timestamp::UNIX_EPOCH,
        health: None,
        paused: false,
    }
}

#[must_use]
pub fn exited(code: i32) -> Status {
    Status::Exited { exit: ExitStatus::Code(code), started: None, finished: jiff::Timestamp::UNIX_EPOCH }
}
