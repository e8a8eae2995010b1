//! `down` and `stop` in the supervisor's process.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::executor::execute;
use super::message::{Failure, ObjectKind};
use super::report::Report;
use super::serve::Engine;
use super::up::describe;
use crate::plan::{self, DownOptions, OperationKind};
use crate::supervisor::record::ProjectRecord;

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
        if let Some(project) = project {
            // The file may declare volumes that outlived an earlier `down`.
            observed.volumes = self.project.existing_volumes(Some(&project));
            observed.project = Some(project);
        }
        let plan = plan::down(&observed, &options);
        for warning in &plan.warnings {
            report.warning(warning.clone());
        }
        if dry_run {
            describe(&plan, report);
            return Ok(0);
        }
        let grace = timeout_ms.map(Duration::from_millis);
        let cancel = watch::Sender::new(false);
        let result =
            execute(&plan, &cancel, |operation, cancelled| self.carry_out(None, operation, grace, cancelled, report))
                .await;
        // What can end now ends, also after a failure.
        self.project.settle().await;
        report.timing("down", begin);
        result.map(|()| 0)
    }

    /// Stops (or kills) services without removing anything; dependents first.
    pub(super) async fn stop(
        &self,
        services: &[String],
        timeout_ms: Option<u64>,
        kill: bool,
        report: &Report,
    ) -> Result<i32, Failure> {
        let observed = self.observe();
        let options = DownOptions { services: services.to_vec(), volumes: false, remove_orphans: true };
        let mut plan = plan::down(&observed, &options);
        plan.operations.retain(|operation| matches!(operation.kind, OperationKind::StopContainer { .. }));
        if kill {
            for operation in &plan.operations {
                if let OperationKind::StopContainer { id, name } = &operation.kind {
                    self.project
                        .kill(id, "SIGKILL")
                        .await
                        .map_err(|error| Failure::caused(format!("cannot kill container {name}"), &error))?;
                    report.done(ObjectKind::Container, name, "Killed");
                }
            }
            return Ok(0);
        }
        let grace = timeout_ms.map(Duration::from_millis);
        let cancel = watch::Sender::new(false);
        execute(&plan, &cancel, |operation, cancelled| self.carry_out(None, operation, grace, cancelled, report))
            .await?;
        Ok(0)
    }
}
