//! `up --wait` and the foreground `up`: waiting for states and exits.

use std::time::Duration;

use futures_util::future::try_join_all;

use super::engine::Engine;
use super::failure::condition_failure;
use super::observe::reference;
use super::report::Report;
use crate::message::{ContainerRef, Failure, ObjectKind, Response};
use crate::supervisor::View;

impl Engine {
    /// Each container must run and have settled, be healthy when it has a health check, or have ended with 0.
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
            // The first that will not be as it is waited for is told at once.
            try_join_all(waits).await?;
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

    /// Tells about exits until all of `containers`, and what takes their places, have ended for good.
    pub(super) async fn follow(&self, containers: &[String], report: &Report) -> Result<i32, Failure> {
        let ends = containers.iter().map(|id| async move {
            let mut next = self.project.container(id).map(|view| reference(&view));
            while let Some(container) = next {
                let exit = tokio::select! {
                    exit = self.project.next_exit(&container.id) => exit,
                    stuck = self.project.end_untold(&container.id) => return Err(Failure::caused("nobody tells how the container ended", &stuck)),
                };
                let successor = self.successor(&container);
                let goes_on = matches!(exit, Some((_, false)));
                if let Some((exit_code, last)) = exit {
                    let last = last && successor.is_none();
                    report.send(&Response::Exited { container: container.clone(), exit_code, last });
                }
                next = if goes_on { Some(container) } else { successor };
            }
            Ok(())
        });
        try_join_all(ends).await.map(|_| 0)
    }

    /// The container that takes the place of one that is made anew: it is there before the other one ends.
    fn successor(&self, of: &ContainerRef) -> Option<ContainerRef> {
        let containers = self.project.containers();
        let takes_its_place = |view: &&View| {
            let record = &view.record;
            !record.oneoff && record.service == of.service && record.number == of.number && record.id != of.id
        };
        let newest = containers.iter().filter(takes_its_place).max_by_key(|view| view.record.created);
        newest.map(reference)
    }
}
