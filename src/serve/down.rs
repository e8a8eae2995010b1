//! `down` in the supervisor's process.

use std::time::Instant;

use tokio::sync::watch;

use super::engine::Engine;
use super::executor::execute;
use super::operations::Task;
use super::report::Report;
use super::up::describe;
use crate::message::Failure;
use crate::plan::{self, DownOptions};
use crate::record::ProjectRecord;

impl Engine {
    pub(super) async fn down(
        &self,
        options: DownOptions,
        project: Option<ProjectRecord>,
        timeout_ms: Option<u64>,
        dry_run: bool,
        report: &Report,
    ) -> Result<i32, Failure> {
        let begin = Instant::now();
        let mut observed = self.observe();
        // The file may declare volumes that outlived an earlier `down`.
        observed.project = project.or(observed.project);
        observed.volumes = self.project.known_volumes().begun(observed.project.as_ref());
        let plan = plan::down(&observed, &options);
        for warning in &plan.warnings {
            report.warning(warning.clone());
        }
        if dry_run {
            describe(&plan, report);
            return Ok(0);
        }
        let task = Task::new(timeout_ms, report);
        let cancel = watch::Sender::new(false);
        let result = execute(&plan, &cancel, |operation, cancelled| self.carry_out(&task, operation, cancelled)).await;
        let result = match options.services.is_empty() {
            true => {
                let damaged = self.project.remove_damaged().await;
                result.and(damaged.map_err(|error| Failure::caused("a container stays", &error)))
            }
            false => result,
        };
        if options.volumes {
            self.project.sweep_volumes().await;
        }
        // What can end now ends, also after a failure.
        // Of a container that stays, so does its folder.
        if self.project.with_unreadable(|_| ()).is_none() {
            self.project.settle().await;
        }
        report.timing("down", begin);
        result.map(|()| 0)
    }
}
