//! `start`, `stop`, `restart`, `kill`, `pause`, `unpause` and `rm` in the supervisor's process.

use std::time::Instant;

use tokio::sync::watch;

use super::engine::Engine;
use super::executor::execute;
use super::operations::Task;
use super::report::Report;
use super::up::describe;
use crate::message::{Failure, Response};
use crate::plan::{self, Action, Selection};

impl Engine {
    /// Does something to containers as they are.
    pub(super) async fn act(
        &self,
        action: &Action,
        selection: &Selection,
        timeout_ms: Option<u64>,
        dry_run: bool,
        report: &Report,
    ) -> Result<i32, Failure> {
        let begin = Instant::now();
        self.project.ends_recorded().await;
        let plan = plan::act(&self.observe(), selection, action);
        if plan.operations.is_empty() {
            nothing_to(action).into_iter().for_each(|text| report.send(&Response::Note { text }));
            return Ok(0);
        }
        if dry_run {
            describe(&plan, report);
            // Nothing else binds a port; another command may be about to.
            return match action {
                Action::Start | Action::Restart { .. } => self.object(&plan, None, report).map(|()| 0),
                _ => Ok(0),
            };
        }
        if matches!(action, Action::Start | Action::Restart { .. }) {
            self.mend_networks(report).await;
        }
        if let Err(failure) = self.preflight(&plan, None, report) {
            self.project.settle().await;
            return Err(failure);
        }
        let task = Task::new(timeout_ms, report);
        let cancel = watch::Sender::new(false);
        let work = execute(&plan, &cancel, |operation, cancelled| self.carry_out(&task, operation, cancelled));
        tokio::pin!(work);
        let early = tokio::select! {
            result = &mut work => Some(result),
            () = report.given_up() => {
                cancel.send_replace(true);
                None
            }
        };
        let result = match early {
            Some(result) => result,
            None => work.await.and(Err(Failure::given_up())),
        };
        if result.is_err() {
            self.give_up_restarts(&plan).await;
        }
        if matches!(action, Action::Remove { .. }) {
            // The supervisor ends with the last container.
            self.project.settle().await;
        }
        report.timing(name(action), begin);
        result.map(|()| 0)
    }
}

/// What is said where there is nothing that it could be done to.
pub(super) fn nothing_to(action: &Action) -> Option<String> {
    matches!(action, Action::Signal { .. }).then(|| "No container to kill".to_owned())
}

/// The command that asks for it.
pub(super) fn name(action: &Action) -> &'static str {
    match action {
        Action::Start => "start",
        Action::Stop => "stop",
        Action::Restart { .. } => "restart",
        Action::Signal { .. } => "kill",
        Action::Pause => "pause",
        Action::Unpause => "unpause",
        Action::Remove { .. } => "rm",
    }
}
