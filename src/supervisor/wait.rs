//! Waiting for containers, by events alone.

use std::time::Duration;

use super::container::Container;
use super::error::{ConditionFailure, Reason, SupervisorError};
use super::project::Project;
use crate::record::logs::reader::{Reader, Span};
use crate::record::{Condition, ContainerState, HealthStatus, Status};
use crate::runtime::spec::ExitStatus;

/// What has run this long has not failed at its start. Counted from the start of the container itself, and no longer than
/// the peer looks away between two looks.
const SETTLED: Duration = Duration::from_millis(500);
/// Lines of the log that go with a failure.
const LOG_TAIL: usize = 10;

/// What a state means for whoever waits.
enum Verdict {
    Reached(&'static str),
    Never(Reason),
    NotYet,
    /// Reached, unless something changes before this long.
    In(Duration),
}

impl Project {
    /// Waits until a container is as a dependent needs it, or cannot become so.
    ///
    /// # Errors
    /// Why it will not be, with the last probe and the end of the log.
    pub async fn wait(&self, id: &str, condition: Condition) -> Result<(), ConditionFailure> {
        self.wait_for(id, |container, state| match condition {
            Condition::ServiceStarted => started(state),
            Condition::ServiceHealthy if container.record.health.is_none() => Verdict::Never(Reason::NoHealthCheck),
            Condition::ServiceHealthy => healthy(state),
            Condition::ServiceCompletedSuccessfully => completed(state),
        })
        .await
        .map(drop)
    }

    /// Waits until a container is healthy if it has a health check, has otherwise run for long enough not to have failed
    /// at its start, or has ended with 0. Answers with the word for it.
    ///
    /// # Errors
    /// Why it will not be, with the last probe and the end of the log.
    pub async fn wait_up(&self, id: &str) -> Result<&'static str, ConditionFailure> {
        self.wait_for(id, |container, state| {
            let has_check = container.record.health.is_some();
            match &state.status {
                Status::Exited { exit, .. } if exit.code() == 0 => Verdict::Reached("Exited"),
                _ if has_check => healthy(state),
                Status::Running { .. } => match SETTLED.saturating_sub(container.running_for()) {
                    Duration::ZERO => Verdict::Reached("Running"),
                    left => Verdict::In(left),
                },
                _ => ended(state),
            }
        })
        .await
    }

    async fn wait_for(
        &self,
        id: &str,
        judge: impl Fn(&Container, &ContainerState) -> Verdict,
    ) -> Result<&'static str, ConditionFailure> {
        let removed = || ConditionFailure {
            container: self.name_of(id),
            reason: Reason::Removed,
            probe: None,
            log_tail: Vec::new(),
        };
        let container = self.find(id).map_err(|_| removed())?;
        let mut changes = container.watch();
        loop {
            if container.removed.get() {
                return Err(removed());
            }
            let verdict = judge(&container, &changes.borrow_and_update());
            let left = match verdict {
                Verdict::Reached(word) => return Ok(word),
                Verdict::Never(reason) => return Err(self.explain(&container, reason)),
                Verdict::NotYet => None,
                Verdict::In(left) => Some(left),
            };
            let changed = match left {
                None => changes.changed().await,
                Some(left) => tokio::time::timeout(left, changes.changed()).await.unwrap_or(Ok(())),
            };
            if changed.is_err() {
                return Err(removed());
            }
        }
    }

    fn explain(&self, container: &Container, reason: Reason) -> ConditionFailure {
        let probe = match container.state().status {
            Status::Running { health: Some(health), .. } => health.log.last().cloned(),
            _ => None,
        };
        ConditionFailure {
            container: container.name(),
            reason,
            probe,
            log_tail: log_tail(container).unwrap_or_default(),
        }
    }

    /// Waits for the next end of a container's process: its code, and whether that was the last one. `None` when it
    /// does not run and will not, or is removed.
    pub async fn next_exit(&self, id: &str) -> Option<(i32, bool)> {
        let container = self.find(id).ok()?;
        let mut changes = container.watch();
        let mut was_running = false;
        loop {
            if container.removed.get() {
                return None;
            }
            let status = changes.borrow_and_update().status.clone();
            match status {
                Status::Running { .. } => was_running = true,
                Status::Restarting { exit, .. } if was_running => return Some((exit.code(), false)),
                Status::Exited { exit, .. } => return Some((exit.code(), true)),
                Status::Created if changes.borrow().error.is_some() => return None,
                Status::Created | Status::Restarting { .. } => {}
            }
            changes.changed().await.ok()?;
        }
    }

    /// Returns when there is no such container (any more).
    pub async fn removed(&self, id: &str) {
        let Ok(container) = self.find(id) else { return };
        let mut changes = container.watch();
        while self.container(id).is_some() {
            if changes.changed().await.is_err() {
                return;
            }
        }
    }

    /// Waits until a container has ended for good and tells how.
    ///
    /// # Errors
    /// When there is no such container.
    pub async fn wait_exit(&self, id: &str) -> Result<ExitStatus, SupervisorError> {
        let container = self.find(id)?;
        let mut changes = container.watch();
        loop {
            if let Status::Exited { exit, .. } = changes.borrow_and_update().status {
                return Ok(exit);
            }
            if container.removed.get() || changes.changed().await.is_err() {
                return Err(SupervisorError::Unknown { id: id.to_owned() });
            }
        }
    }
}

fn started(state: &ContainerState) -> Verdict {
    match &state.status {
        Status::Running { .. } | Status::Restarting { .. } | Status::Exited { .. } => Verdict::Reached("Started"),
        Status::Created => ended(state),
    }
}

fn healthy(state: &ContainerState) -> Verdict {
    match &state.status {
        Status::Running { health: Some(health), .. } => match health.status {
            HealthStatus::Healthy => Verdict::Reached("Healthy"),
            HealthStatus::Unhealthy => Verdict::Never(Reason::Unhealthy),
            HealthStatus::Starting => Verdict::NotYet,
        },
        _ => ended(state),
    }
}

fn completed(state: &ContainerState) -> Verdict {
    match &state.status {
        Status::Exited { exit, .. } if exit.code() == 0 => Verdict::Reached("Exited"),
        _ => ended(state),
    }
}

/// Whether it can still change by itself: the restart policy may bring it back.
fn ended(state: &ContainerState) -> Verdict {
    match &state.status {
        Status::Exited { exit, .. } => Verdict::Never(Reason::Exited(exit.code())),
        Status::Created => match &state.error {
            Some(error) => Verdict::Never(Reason::NotStarted(error.clone())),
            None => Verdict::NotYet,
        },
        Status::Running { .. } | Status::Restarting { .. } => Verdict::NotYet,
    }
}

fn log_tail(container: &Container) -> std::io::Result<Vec<String>> {
    let mut reader = Reader::open(&container.paths.log(), Span { tail: Some(LOG_TAIL), ..Span::default() })?;
    let mut text = String::new();
    while let Some(entry) = reader.next_entry()? {
        text.push_str(&entry.log);
    }
    Ok(text.lines().map(str::to_owned).collect())
}
