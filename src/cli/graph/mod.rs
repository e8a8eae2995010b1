//! The project as a drawing: services with what they need, networks, volumes and ports.

mod dot;
mod mermaid;
mod svg;
mod text;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::compose::model::{Condition, Project, Service, VolumeMount, VolumeMountType};

pub use dot::dot;
pub use mermaid::mermaid;
pub use svg::svg;
pub use text::text;

/// What is drawn, services in the order in which they can start.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Graph {
    pub project: String,
    pub services: Vec<Node>,
    pub networks: Vec<String>,
    pub volumes: Vec<String>,
}

/// A service.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Node {
    pub name: String,
    /// The image, or what stands for it.
    pub image: String,
    pub replicas: u32,
    pub healthcheck: bool,
    pub needs: Vec<Need>,
    pub networks: Vec<String>,
    pub volumes: Vec<Mount>,
    /// `8080 → 80/tcp`
    pub ports: Vec<String>,
    /// What its containers do, with `--live`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// The longest way to a service that needs nothing.
    #[serde(skip)]
    pub rank: usize,
}

/// Another service, and what it has to be.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Need {
    pub service: String,
    /// `started`, `healthy`, `completed`.
    pub condition: &'static str,
    pub required: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Mount {
    /// A volume of the project, or else a path.
    pub source: String,
    pub target: String,
    pub read_only: bool,
    pub named: bool,
}

impl Graph {
    /// `states` has the words for the services whose containers exist.
    #[must_use]
    pub fn of(project: &Project, states: Option<&BTreeMap<String, String>>) -> Self {
        let mut services: Vec<Node> = project.services.values().map(|service| node(project, service)).collect();
        if let Some(states) = states {
            for service in &mut services {
                service.state = Some(states.get(&service.name).cloned().unwrap_or_else(|| "not created".into()));
            }
        }
        rank(&mut services);
        // The order of the files within a rank.
        services.sort_by_key(|service| service.rank);
        Self {
            project: project.name.clone(),
            services,
            networks: project.networks.keys().cloned().collect(),
            volumes: project.volumes.keys().cloned().collect(),
        }
    }
}

fn node(project: &Project, service: &Service) -> Node {
    let image = match (&service.image, &service.build, &service.windlass.rootfs) {
        (Some(image), _, _) => image.clone(),
        (None, Some(_), _) => "build".into(),
        (None, None, Some(_)) => "rootfs: host".into(),
        (None, None, None) => String::new(),
    };
    let needs = service.depends_on.iter().map(|(name, dependency)| Need {
        service: name.clone(),
        condition: match dependency.condition {
            Condition::ServiceStarted => "started",
            Condition::ServiceHealthy => "healthy",
            Condition::ServiceCompletedSuccessfully => "completed",
        },
        required: dependency.required,
    });
    let ports = service.ports.iter().map(|port| {
        let published = port.published.map_or_else(|| "any".to_owned(), |range| range.to_string());
        let address = port.host_ip.as_deref().filter(|ip| !ip.is_empty() && *ip != "0.0.0.0");
        let address = address.map(|ip| format!("{ip}:")).unwrap_or_default();
        format!("{address}{published} → {}/{}", port.target, format!("{:?}", port.protocol).to_lowercase())
    });
    let mode = service.network_mode.iter().map(|mode| format!("({mode})"));
    Node {
        name: service.name.clone(),
        image,
        replicas: service.scale.unwrap_or(1),
        healthcheck: service.healthcheck.as_ref().is_some_and(|check| !check.disable && !check.test.is_empty()),
        needs: needs.collect(),
        networks: service.networks.keys().cloned().chain(mode).collect(),
        volumes: service.volumes.iter().map(|volume| mount(project, volume)).collect(),
        ports: ports.collect(),
        state: None,
        rank: 0,
    }
}

fn mount(project: &Project, volume: &VolumeMount) -> Mount {
    let source = volume.source.clone().unwrap_or_default();
    let named = volume.kind == VolumeMountType::Volume && project.volumes.contains_key(&source);
    let source = match volume.kind {
        VolumeMountType::Bind => {
            let folder = project.working_dir.display().to_string();
            source.strip_prefix(&folder).map_or_else(|| source.clone(), |rest| format!(".{rest}"))
        }
        VolumeMountType::Tmpfs => "tmpfs".into(),
        _ if source.is_empty() => "anonymous".into(),
        _ => source,
    };
    Mount { source, target: volume.target.clone(), read_only: volume.read_only, named }
}

/// Cycles were refused when the project was loaded; services of other profiles are not drawn.
fn rank(services: &mut [Node]) {
    for _ in 0..services.len() {
        let ranks: BTreeMap<String, usize> =
            services.iter().map(|service| (service.name.clone(), service.rank)).collect();
        let mut changed = false;
        for service in services.iter_mut() {
            let rank = service.needs.iter().filter_map(|need| ranks.get(&need.service)).map(|rank| rank + 1).max();
            changed |= rank.unwrap_or(0) != service.rank;
            service.rank = rank.unwrap_or(0);
        }
        if !changed {
            break;
        }
    }
}

#[cfg(test)]
mod tests;
