//! Records for the tests of this module.

use std::collections::BTreeMap;

use crate::record::{
    Condition, ContainerRecord, ContainerState, Dependency, DnsOptions, ImageIdentity, Logging, ProjectRecord,
    RestartLimits, RestartPolicy, Status,
};
use crate::runtime::spec::{
    Cgroup, ContainerSpec, EtcFiles, ExitStatus, Namespace, Namespaces, NetworkNamespace, Process, Rootfs, Seccomp,
    Security,
};

use super::desired::{Desired, DesiredService};
use crate::record::ObservedContainer;

pub(crate) fn record(service: &str) -> ContainerRecord {
    ContainerRecord {
        id: String::new(),
        name: String::new(),
        project: "shop".into(),
        service: service.into(),
        number: 0,
        oneoff: false,
        created: jiff::Timestamp::UNIX_EPOCH,
        config_hash: "hash".into(),
        image: ImageIdentity { reference: "busybox".into(), id: "sha256:1".into() },
        mounted_images: vec![],
        labels: BTreeMap::new(),
        spec: ContainerSpec {
            id: String::new(),
            hostname: String::new(),
            domainname: None,
            rootfs: Rootfs { lower: vec![], upper: "".into(), work: "".into(), read_only: false },
            mounts: vec![],
            match_users: vec![],
            etc: EtcFiles::default(),
            namespaces: Namespaces {
                network: NetworkNamespace::Passed,
                pid: Namespace::Private,
                ipc: Namespace::Private,
                uts: Namespace::Private,
                cgroup: Namespace::Private,
            },
            process: Process {
                args: vec!["true".into()],
                env: vec![],
                cwd: "/".into(),
                user: String::new(),
                groups: vec![],
                rlimits: vec![],
                oom_score_adj: None,
                tty: false,
                stdin_open: false,
                size: crate::runtime::spec::TerminalSize::default(),
            },
            security: Security {
                privileged: false,
                cap_add: vec![],
                cap_drop: vec![],
                no_new_privileges: false,
                seccomp: Seccomp::Default,
                apparmor: None,
                mask_paths: true,
            },
            devices: vec![],
            device_cgroup_rules: vec![],
            sysctls: BTreeMap::new(),
            cgroup: Cgroup::default(),
            shm_size: 64 << 20,
            init: false,
        },
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
        command: "true".into(),
        config: serde_json::json!({"environment": {"DEBUG": "0"}}),
        origins: BTreeMap::new(),
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
    ObservedContainer { record, state: ContainerState { status, ..ContainerState::created() } }
}

pub(crate) fn running() -> Status {
    Status::Running {
        pid: 1,
        start_time: 1,
        boot_id: String::new(),
        started: jiff::Timestamp::UNIX_EPOCH,
        health: None,
        paused: false,
    }
}

pub(crate) fn exited(code: i32) -> Status {
    Status::Exited { exit: ExitStatus::Code(code), started: None, finished: jiff::Timestamp::UNIX_EPOCH }
}
