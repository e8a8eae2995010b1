//! Before a container is started: everything that it depends on is as it asks.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use futures_util::future::try_join_all;

use super::engine::Engine;
use super::executor::Cancelled;
use super::failure::condition_failure;
use super::report::Report;
use crate::message::{Failure, ObjectKind};
use crate::record::{Condition, Dependency};

impl Engine {
    /// Waits until everything that a container depends on is as it asks.
    pub(super) async fn wait_for_needs(
        &self,
        name: &str,
        needs: &[(Dependency, Vec<String>)],
        mut cancelled: Cancelled,
        report: &Report,
    ) -> Result<(), Failure> {
        // What it still waits for; told when it has changed.
        let pending = RefCell::new(BTreeSet::new());
        let tell = || {
            let pending: Vec<String> =
                pending.borrow().iter().map(|(_, text): &(String, String)| text.clone()).collect();
            if !pending.is_empty() {
                report.waiting(name, &format!("for {}", pending.join(", ")));
            }
        };
        let tell = &tell;
        let pending = &pending;
        let waits = needs
            .iter()
            .filter(|(needed, _)| needed.condition != Condition::ServiceStarted)
            .flat_map(|(needed, containers)| containers.iter().map(move |id| (needed, id)))
            .map(|(needed, id)| async move {
                let dependency = self.project.name_of(id);
                report.waiting(&dependency, what_is_missing(needed));
                let mut wait = pin!(self.project.wait(id, needed.condition));
                let at_once = poll_fn(|context| Poll::Ready(wait.as_mut().poll(context))).await;
                let waited = match at_once {
                    Poll::Ready(waited) => waited,
                    Poll::Pending => {
                        let entry = (id.clone(), what_is_awaited(needed));
                        pending.borrow_mut().insert(entry.clone());
                        tell();
                        let waited = wait.await;
                        pending.borrow_mut().remove(&entry);
                        tell();
                        waited
                    }
                };
                match waited {
                    Ok(()) => {
                        let status = match needed.condition {
                            Condition::ServiceHealthy => "Healthy",
                            _ => "Exited",
                        };
                        report.done(ObjectKind::Container, &dependency, status);
                        Ok(())
                    }
                    Err(error) if !needed.required => {
                        report.warning(format!("optional dependency {dependency} of {name}: {error}"));
                        Ok(())
                    }
                    Err(error) => {
                        report.error(ObjectKind::Container, &dependency, "Error", &error.to_string());
                        Err(condition_failure(name, &dependency, &error))
                    }
                }
            });
        let all = async {
            try_join_all(waits).await?;
            Ok(())
        };
        tokio::select! {
            result = all => result,
            _ = cancelled.wait_for(|cancelled| *cancelled) => Err(Failure::new("given up, because something else failed")),
        }
    }
}

/// `db to be healthy`
fn what_is_awaited(needed: &Dependency) -> String {
    format!("{} {}", needed.service, what_is_missing(needed))
}

fn what_is_missing(needed: &Dependency) -> &'static str {
    match needed.condition {
        Condition::ServiceStarted => "to start",
        Condition::ServiceHealthy => "to be healthy",
        Condition::ServiceCompletedSuccessfully => "to complete",
    }
}
