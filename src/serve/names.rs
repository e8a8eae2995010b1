//! Names of containers that a plan makes: one that another container has is refused before anything is touched.

use std::collections::{BTreeMap, BTreeSet};

use super::engine::Engine;
use super::preflight::Scene;
use crate::message::Failure;
use crate::plan::{Desired, OperationKind, Plan};
use crate::record::ContainerRecord;

impl Engine {
    /// Volumes that stay get the labels that the file has by now; those that the plan makes get them then.
    pub(super) async fn relabel(&self, desired: &Desired, plan: &Plan) -> Result<(), Failure> {
        let is_made = |name: &str| {
            plan.operations
                .iter()
                .any(|operation| matches!(&operation.kind, OperationKind::CreateVolume { name: made } if made == name))
        };
        for volume in desired.volumes.iter().filter(|volume| !volume.external && !is_made(&volume.name)) {
            self.project
                .ensure_volume(volume)
                .await
                .map_err(|error| Failure::caused(format!("cannot use volume {}", volume.name), &error))?;
        }
        Ok(())
    }
}

impl Scene<'_> {
    pub(super) fn check_names(&self, plan: &Plan) -> Result<(), Failure> {
        let mut leaving: BTreeSet<&str> = BTreeSet::new();
        let mut made: Vec<&ContainerRecord> = Vec::new();
        for operation in &plan.operations {
            match &operation.kind {
                OperationKind::CreateContainer { record, .. } => made.push(record),
                OperationKind::RemoveContainers { containers, .. } => {
                    leaving.extend(containers.iter().map(|(id, _)| id.as_str()));
                }
                _ => {}
            }
        }
        let mut names: BTreeMap<&str, &str> = BTreeMap::new();
        let existing = &self.containers;
        for record in made {
            let (name, service) = (record.name.as_str(), record.service.as_str());
            if let Some(other) = names.insert(name, service) {
                return Err(Failure::new(format!("services {other} and {service} would both make a container {name}"))
                    .hint("give one of them another container_name"));
            }
            let taken =
                |by: String| Failure::new(format!("the container name {name} of service {service} is in use by {by}"));
            let own =
                existing.iter().find(|have| have.record.name == name && !leaving.contains(have.record.id.as_str()));
            if let Some(have) = own {
                let of = &have.record.service;
                let failure = taken(format!("a container of service {of} in this project"));
                return Err(match have.record.oneoff || of == service {
                    true => failure.hint(format!("choose another name, or remove it: `windlass rm -sf {of}`")),
                    false => {
                        failure.hint(format!("if {of} was renamed or removed, --remove-orphans removes its container"))
                    }
                });
            }
            if let Some(holder) = (self.elsewhere)(name) {
                let hint =
                    format!("choose another container_name, or take it down: `windlass -p {} down`", holder.project);
                return Err(taken(holder.to_string()).hint(hint));
            }
        }
        Ok(())
    }
}
