//! What a plan is about, told before anything is done: whoever shows it has its lines in their order.

use std::collections::HashSet;

use crate::message::ObjectKind;
use crate::plan::{OperationKind, Plan};
use crate::record::Condition;

/// Everything that the plan makes, starts or waits for, in its order; `name_of` knows the containers that there are.
pub(super) fn outline(plan: &Plan, name_of: impl Fn(&str) -> String) -> Vec<(ObjectKind, String)> {
    let started: HashSet<&str> = plan.operations.iter().filter_map(|operation| started(&operation.kind)).collect();
    let mut objects: Vec<(ObjectKind, String)> = Vec::new();
    for operation in &plan.operations {
        match &operation.kind {
            OperationKind::CreateNetwork { name } => objects.push((ObjectKind::Network, name.clone())),
            OperationKind::CreateVolume { name } => objects.push((ObjectKind::Volume, name.clone())),
            OperationKind::Install { record, .. } => objects.push((ObjectKind::Container, record.name.clone())),
            OperationKind::StartContainer { name, needs, .. } => {
                let waits = needs.iter().filter(|(needed, _)| needed.condition != Condition::ServiceStarted);
                let awaited = waits.flat_map(|(_, ids)| ids).filter(|id| !started.contains(id.as_str()));
                objects.extend(awaited.map(|id| (ObjectKind::Container, name_of(id))));
                objects.push((ObjectKind::Container, name.clone()));
            }
            _ => {}
        }
    }
    let mut told = HashSet::new();
    objects.retain(|object| told.insert(object.clone()));
    objects.sort_by_key(|(kind, _)| *kind == ObjectKind::Container);
    objects
}

fn started(operation: &OperationKind) -> Option<&str> {
    match operation {
        OperationKind::StartContainer { id, .. } => Some(id),
        _ => None,
    }
}
