//! What `ps` tells of one container.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::cli::ui::ports::{self, Port};
use crate::cli::ui::{human, status, style};
use crate::record::{ObservedContainer, Status};
use crate::runtime::spec::MountKind;

/// Keys of `--format json`, which are the fields of templates too.
pub(super) const KEYS: [&str; 20] = [
    "Command",
    "CreatedAt",
    "ExitCode",
    "Health",
    "ID",
    "Image",
    "Labels",
    "LocalVolumes",
    "Mounts",
    "Name",
    "Names",
    "Networks",
    "Ports",
    "Project",
    "Publishers",
    "RunningFor",
    "Service",
    "Size",
    "State",
    "Status",
];

#[derive(Debug, Clone)]
pub(super) struct Summary {
    pub id: String,
    pub service: String,
    pub labels: BTreeMap<String, String>,
    name: String,
    project: String,
    image: String,
    command: String,
    created: Timestamp,
    age: String,
    state: &'static str,
    status: String,
    health: &'static str,
    exit_code: i32,
    ports: Vec<Port>,
    mounts: Vec<String>,
    local_volumes: usize,
    networks: Vec<String>,
}

impl Summary {
    pub(super) fn new(container: &ObservedContainer, now: Timestamp) -> Self {
        let (record, state) = (&container.record, &container.state);
        let volume = |target| record.volumes.iter().find(|used| used.target == target);
        let mounts =
            record.spec.mounts.iter().filter_map(|mount| match (&mount.kind, volume(mount.target.as_path())) {
                (_, Some(used)) => Some(used.volume.clone()),
                (MountKind::Bind { source, .. }, None) => Some(source.display().to_string()),
                _ => None,
            });
        Self {
            id: record.id.clone(),
            service: record.service.clone(),
            labels: record.labels.clone(),
            name: record.name.clone(),
            project: record.project.clone(),
            image: record.image.reference.clone(),
            command: record.command.clone(),
            created: record.created,
            age: format!("{} ago", human::since(record.created, now)),
            state: status::word(&state.status),
            status: status::sentence(&state.status, now),
            health: status::health(&state.status),
            exit_code: match &state.status {
                Status::Exited { exit, .. } => exit.code(),
                _ => 0,
            },
            ports: published(container),
            mounts: mounts.collect(),
            local_volumes: record.volumes.len(),
            networks: container.endpoints().into_iter().map(|endpoint| endpoint.network).collect(),
        }
    }

    fn quoted_command(&self, trunc: bool) -> String {
        let command = if trunc { style::ellipsis(&self.command, 20) } else { self.command.clone() };
        // As Go quotes: JSON's quoting is the same but for rarities.
        Value::from(command).to_string()
    }

    /// In the order in which the peer writes its keys.
    pub(super) fn object(&self, trunc: bool) -> Map<String, Value> {
        let id = if trunc { self.id.get(..12).unwrap_or(&self.id) } else { &self.id };
        let mounts = self.mounts.iter().map(|mount| if trunc { style::ellipsis(mount, 15) } else { mount.clone() });
        let labels = self.labels.iter().map(|(key, value)| format!("{key}={value}"));
        let publishers = self.ports.iter().map(|port| {
            let (url, published) = port.host.map(|(ip, port)| (ip.to_string(), port)).unwrap_or_default();
            json!({"URL": url, "TargetPort": port.target, "PublishedPort": published, "Protocol": port.protocol})
        });
        let values: [Value; 20] = [
            self.quoted_command(trunc).into(),
            created_at(self.created).into(),
            self.exit_code.into(),
            self.health.into(),
            id.into(),
            self.image.clone().into(),
            labels.collect::<Vec<_>>().join(",").into(),
            self.local_volumes.to_string().into(),
            mounts.collect::<Vec<_>>().join(",").into(),
            self.name.clone().into(),
            self.name.clone().into(),
            self.networks.join(",").into(),
            ports::render(&self.ports).into(),
            self.project.clone().into(),
            publishers.collect(),
            self.age.clone().into(),
            self.service.clone().into(),
            "0B".into(),
            self.state.into(),
            self.status.clone().into(),
        ];
        KEYS.iter().map(ToString::to_string).zip(values).collect()
    }
}

/// Header of a column in `table TEMPLATE`.
pub(super) fn title(key: &str) -> String {
    match key {
        "ID" => "CONTAINER ID".into(),
        "RunningFor" => "CREATED".into(),
        "CreatedAt" => "CREATED AT".into(),
        "LocalVolumes" => "LOCAL VOLUMES".into(),
        "ExitCode" => "EXIT CODE".into(),
        other => other.to_uppercase(),
    }
}

/// Bound ports of a container that runs, and those that it exposes only.
fn published(container: &ObservedContainer) -> Vec<Port> {
    if !matches!(container.state.status, Status::Running { .. }) {
        return Vec::new();
    }
    let bound = container.state.ports.iter().map(|port| Port {
        host: Some((port.host_ip, port.published)),
        target: port.target,
        protocol: ports::protocol(port.protocol),
    });
    let mut ports: Vec<Port> = bound.collect();
    for exposed in &container.record.exposed {
        let (range, protocol) = exposed.split_once('/').unwrap_or((exposed, "tcp"));
        let protocol = match protocol {
            "udp" => "udp",
            "sctp" => "sctp",
            _ => "tcp",
        };
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (Ok(first), Ok(last)) = (first.parse::<u16>(), last.parse::<u16>()) else { continue };
        for target in first..=last {
            if !ports.iter().any(|port| port.target == target && port.protocol == protocol) {
                ports.push(Port { host: None, target, protocol });
            }
        }
    }
    ports.sort_by_key(|port| port.target);
    ports
}

/// `2024-01-30 10:41:22 +0100 CET`
fn created_at(time: Timestamp) -> String {
    time.strftime("%Y-%m-%d %H:%M:%S +0000 UTC").to_string()
}
