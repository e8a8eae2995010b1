//! The pace at which the containers of a service are made anew (`deploy.update_config`).

use super::Up;
use crate::plan::desired::{DesiredService, Update};
use crate::plan::operation::OperationKind;

impl Up<'_> {
    /// Before container `number` of an update: when a batch is complete, the next one waits for it.
    pub(super) fn next_batch(&mut self, service: &DesiredService, update: &Update, number: usize) {
        if number == 0 {
            if update.start_first && !can_start_first(service) {
                self.plan.warnings.push(format!(
                    "service {} publishes fixed ports, which two containers cannot share: its containers are stopped \
                     before the new ones start, in spite of `order: start-first`",
                    service.name
                ));
            }
        } else if update.parallelism > 0 && number.is_multiple_of(update.parallelism) {
            self.gate = std::mem::take(&mut self.ends);
            if update.delay_ms > 0 {
                let delay = OperationKind::Delay { service: service.name.clone(), ms: update.delay_ms };
                let after = std::mem::take(&mut self.gate);
                self.gate = vec![self.plan.push(delay, "deploy.update_config.delay", after)];
            }
        }
    }

    /// Waits for a container of an update.
    pub(super) fn await_updated(
        &mut self,
        service: &DesiredService,
        update: &Update,
        id: &str,
        name: &str,
        start: usize,
        cause: &str,
    ) -> usize {
        let kind = OperationKind::AwaitContainer {
            id: id.to_owned(),
            name: name.to_owned(),
            monitor_ms: update.monitor_ms,
            service: service.name.clone(),
            tolerated: self.tolerated,
        };
        self.plan.push(kind, cause, vec![start])
    }
}

/// Two containers cannot have the same port of the host.
pub(super) fn can_start_first(service: &DesiredService) -> bool {
    service.template.ports.iter().all(|port| port.published.is_none())
}
