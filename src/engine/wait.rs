//! `up --wait` and the foreground `up`: waiting for states and exits.

use std::time::Duration;

use futures_util::future::join_all;

use super::failure::condition_failure;
use super::message::{Event, Failure, ObjectKind};
use super::observe::reference;
use super::report::Report;
use super::serve::Engine;

impl Engine {
    /// Each container must run, be healthy when it has a health check, or have ended with 0.
    pub(super) async fn wait(
        &self,
        containers: &[String],
        timeout_ms: Option<u64>,
        report: &Report,
    ) -> Result<i32, Failure> {
        let waits = containers.iter().map(|id| async move {
            let name = self.project.name_of(id);
            report.working(ObjectKind::Container, &name, "Waiting");
            match self.project.wait_up(id).await {
                Ok(status) => {
                    report.done(ObjectKind::Container, &name, status);
                    Ok(())
                }
                Err(error) => {
                    report.error(ObjectKind::Container, &name, "Error", &error.to_string());
                    Err(condition_failure("", &name, &error))
                }
            }
        });
        let all = async {
            for result in join_all(waits).await {
                result?;
            }
            Ok(0)
        };
        match timeout_ms.map(Duration::from_millis) {
            None => all.await,
            Some(limit) => tokio::time::timeout(limit, all).await.unwrap_or_else(|_| {
                Err(Failure::new(format!("application not healthy after {}s", limit.as_secs()))
                    .hint("`windlass ps` shows which service is not; `windlass logs SERVICE` what it says"))
            }),
        }
    }

    /// Tells about exits until all of `containers` have ended for good.
    pub(super) async fn follow(&self, containers: &[String], report: &Report) -> Result<i32, Failure> {
        let ends = containers.iter().map(|id| async move {
            let Some(container) = self.project.containers().iter().find(|have| have.record.id == *id).map(reference)
            else {
                return;
            };
            loop {
                let Some((exit_code, last)) = self.project.next_exit(id).await else { return };
                report.send(&Event::Exited { container: container.clone(), exit_code, last });
                if last {
                    return;
                }
            }
        });
        join_all(ends).await;
        Ok(0)
    }
}
