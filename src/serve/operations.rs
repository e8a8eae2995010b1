//! The operations of a plan, one at a time, in the supervisor's process.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::engine::Engine;
use super::executor::Cancelled;
use super::failure::{condition_failure, start_failure};
use super::observe::reference;
use super::report::Report;
use super::run::Attach;
use crate::message::ObjectKind::{self, Container, Network, Volume};
use crate::message::{Failure, Response};
use crate::plan::{Desired, Operation, OperationKind};
use crate::record::{ContainerRecord, Status};
use crate::runtime::spec::{ExitStatus, Namespace};
use crate::supervisor::SupervisorError;
use crate::volumes::VolumeError;
use crate::watch::Transfer;

/// What the operations of one request share.
#[derive(Debug)]
pub(super) struct Task<'a> {
    /// What the networks and volumes that are made are to be.
    pub desired: Option<&'a Desired>,
    /// Grace period for containers that are stopped, instead of their own.
    pub grace: Option<Duration>,
    /// The container that a client attaches to.
    pub attach: Option<&'a Attach>,
    pub report: &'a Report,
    /// Containers of an update that failed, by service.
    pub failed: RefCell<BTreeMap<String, usize>>,
}

impl<'a> Task<'a> {
    pub(super) fn new(timeout_ms: Option<u64>, report: &'a Report) -> Self {
        let grace = timeout_ms.map(Duration::from_millis);
        Self { desired: None, grace, attach: None, report, failed: RefCell::default() }
    }
}

/// How many it are with this one.
fn count_failure(failed: &RefCell<BTreeMap<String, usize>>, service: &str) -> usize {
    let mut failed = failed.borrow_mut();
    let count = failed.entry(service.to_owned()).or_default();
    *count += 1;
    *count
}

impl Engine {
    /// One operation of a plan.
    pub(super) async fn carry_out(
        &self,
        task: &Task<'_>,
        operation: &Operation,
        cancelled: Cancelled,
    ) -> Result<(), Failure> {
        let start = Instant::now();
        let result = self.one(task, operation, cancelled).await;
        task.report.timing(operation.kind.to_string(), start);
        result
    }

    async fn one(&self, task: &Task<'_>, operation: &Operation, cancelled: Cancelled) -> Result<(), Failure> {
        let report = task.report;
        match &operation.kind {
            OperationKind::CreateNetwork { name } => self.create_network(task, name).await,
            OperationKind::CreateVolume { name } => self.create_volume(task, name).await,
            OperationKind::Install { record, install } => self.install(record, install, cancelled, report).await,
            OperationKind::CreateContainer { record, replaces } => {
                self.create_container(record, replaces.is_some(), report).await
            }
            OperationKind::StartContainer { id, name, service, needs } => {
                self.wait_for_needs(name, needs, cancelled, report).await?;
                self.start_container(task, id, name, service).await
            }
            OperationKind::StopContainer { id, name, restart: false } => self.stop_container(task, id, name).await,
            OperationKind::StopContainer { id, name, restart: true } => self.stop_to_restart(task, id, name).await,
            OperationKind::AwaitContainer { id, name, monitor_ms, service, tolerated } => {
                let given_up = cancelled.clone();
                match self.await_updated(id, name, Duration::from_millis(*monitor_ms), cancelled, report).await {
                    Err(failure) if !*given_up.borrow() && count_failure(&task.failed, service) <= *tolerated => {
                        report.warning(format!("the update goes on in spite of {name}: {}", failure.message));
                        Ok(())
                    }
                    result => result,
                }
            }
            OperationKind::Delay { ms, .. } => {
                rest(Duration::from_millis(*ms), cancelled).await;
                Ok(())
            }
            OperationKind::SignalContainer { id, name, signal } => {
                self.signal_container(id, name, signal, report).await
            }
            OperationKind::PauseContainer { id, name } => {
                finish(report, Container, name, "Paused", self.project.pause(id).await, "cannot pause container")
            }
            OperationKind::UnpauseContainer { id, name } => {
                finish(report, Container, name, "Unpaused", self.project.unpause(id).await, "cannot unpause container")
            }
            OperationKind::RemoveContainers { containers, anonymous_volumes } => {
                self.remove_containers(containers, *anonymous_volumes, report).await
            }
            OperationKind::RemoveNetwork { name } => self.remove_network(name, report).await,
            OperationKind::RemoveVolume { name } => self.remove_volume(name, report).await,
        }
    }

    async fn create_network(&self, task: &Task<'_>, name: &str) -> Result<(), Failure> {
        let known = task.desired.and_then(|desired| desired.networks.iter().find(|network| network.name == name));
        let Some(spec) = known else { return Ok(()) };
        task.report.working(Network, name, "Creating");
        let result = self.project.ensure_network(spec).await;
        self.project.network_obstacles().into_iter().for_each(|obstacle| task.report.warning(obstacle));
        finish(task.report, Network, name, "Created", result, "cannot create network")
    }

    async fn remove_network(&self, name: &str, report: &Report) -> Result<(), Failure> {
        report.working(Network, name, "Removing");
        let result = self.project.remove_networks(&[name.to_owned()]).await;
        finish(report, Network, name, "Removed", result, "cannot remove network")
    }

    async fn create_volume(&self, task: &Task<'_>, name: &str) -> Result<(), Failure> {
        let known = task.desired.and_then(|desired| desired.volumes.iter().find(|volume| volume.name == name));
        let Some(spec) = known else { return Ok(()) };
        task.report.working(Volume, name, "Creating");
        let result = self.project.ensure_volume(spec).await;
        finish(task.report, Volume, name, "Created", result, "cannot create volume")
    }

    async fn remove_volume(&self, name: &str, report: &Report) -> Result<(), Failure> {
        report.working(Volume, name, "Removing");
        let result = self.project.remove_volume(name).await;
        if let Err(SupervisorError::Volume(VolumeError::InUse { users, .. })) = &result {
            // Another project mounts it: as the peer, that is no failure.
            report.warning(format!("volume {name} is used by {}", users.join(", ")));
            report.done(Volume, name, "Resource is still in use");
            return Ok(());
        }
        finish(report, Volume, name, "Removed", result, "cannot remove volume")
    }

    async fn create_container(&self, record: &ContainerRecord, again: bool, report: &Report) -> Result<(), Failure> {
        let (doing, done) = if again { ("Recreate", "Recreated") } else { ("Creating", "Created") };
        report.working(Container, &record.name, doing);
        let result = self.project.create(record.clone()).await;
        finish(report, Container, &record.name, done, result, "cannot create container")
    }

    /// With the streams of the client, when one attaches to it.
    async fn start_container(&self, task: &Task<'_>, id: &str, name: &str, service: &str) -> Result<(), Failure> {
        let Task { desired, attach, report, .. } = *task;
        if let Some(transfers) = desired.and_then(|desired| desired.initial_sync.get(service)) {
            self.copy_first(id, name, transfers, report).await;
        }
        report.working(Container, name, "Starting");
        let started = match attach.filter(|attach| attach.id == id) {
            None => self.project.start(id).await,
            Some(attach) => {
                let streams = attach.streams.borrow_mut().take();
                let started = self.project.start_attached(id, streams).await;
                started.map(|terminal| *attach.terminal.borrow_mut() = terminal)
            }
        };
        for warning in self.project.start_warnings(id) {
            report.warning(format!("{name}: {warning}"));
        }
        self.tell_hooks(id, report);
        match started {
            Ok(()) => {
                report.done(Container, name, "Started");
                Ok(())
            }
            Err(error) => {
                report.error(Container, name, "Error", &error.to_string());
                Err(start_failure(name, &error))
            }
        }
    }

    async fn stop_container(&self, task: &Task<'_>, id: &str, name: &str) -> Result<(), Failure> {
        let Task { grace, report, .. } = *task;
        report.working(Container, name, "Stopping");
        let begin = Instant::now();
        let result = self.project.stop(id, grace).await;
        self.tell_hooks(id, report);
        self.tell_patience(id, grace, begin, report);
        finish(report, Container, name, "Stopped", result, "cannot stop container")
    }

    /// It is started again by an operation of its own, which tells that it is done.
    async fn stop_to_restart(&self, task: &Task<'_>, id: &str, name: &str) -> Result<(), Failure> {
        let Task { grace, report, .. } = *task;
        report.working(Container, name, "Restarting");
        let begin = Instant::now();
        let result = self.project.stop_to_restart(id, grace).await;
        self.tell_patience(id, grace, begin, report);
        result.map_err(|error| {
            report.error(Container, name, "Error", &error.to_string());
            Failure::caused(format!("cannot stop container {name}"), &error)
        })
    }

    async fn signal_container(&self, id: &str, name: &str, signal: &str, report: &Report) -> Result<(), Failure> {
        report.working(Container, name, "Killing");
        let result = self.project.kill(id, signal).await;
        finish(report, Container, name, "Killed", result, "cannot kill container")
    }

    async fn remove_containers(
        &self,
        containers: &[(String, String)],
        anonymous_volumes: bool,
        report: &Report,
    ) -> Result<(), Failure> {
        for (_, name) in containers {
            report.working(Container, name, "Removing");
        }
        let ids: Vec<String> = containers.iter().map(|(id, _)| id.clone()).collect();
        let result = self.project.remove(&ids, anonymous_volumes).await;
        for (_, name) in containers.iter().filter(|_| result.is_ok()) {
            report.done(Container, name, "Removed");
        }
        result.map_err(|error| Failure::caused("cannot remove the containers", &error))
    }

    fn tell_hooks(&self, id: &str, report: &Report) {
        let lines = self.project.hooks_said(id);
        if let Some(view) = self.project.container(id).filter(|_| !lines.is_empty()) {
            report.send(&Response::Hooks { container: reference(&view), lines });
        }
    }

    /// A stop that took the whole grace period, because the program did not heed the signal, is told with what helps.
    fn tell_patience(&self, id: &str, grace: Option<Duration>, begin: Instant, report: &Report) {
        let Some(view) = self.project.container(id) else { return };
        let record = &view.record;
        let grace = grace.unwrap_or(Duration::from_millis(record.stop_grace_ms));
        let killed = matches!(
            view.state.status,
            Status::Exited { exit: ExitStatus::Signal(9), .. } | Status::Restarting { exit: ExitStatus::Signal(9), .. }
        );
        if grace.is_zero() || begin.elapsed() < grace || !killed {
            return;
        }
        let advice = if record.spec.init || record.spec.namespaces.pid != Namespace::Private {
            format!(
                "if its program waits for another signal than {}, name that with `stop_signal:`",
                record.stop_signal
            )
        } else {
            format!(
                "`init: true` ends a program that has no handler for {}; `stop_signal:` names another",
                record.stop_signal
            )
        };
        report.warning(format!(
            "{}: still running after its grace period of {}s, and killed; {advice}",
            record.name,
            grace.as_secs_f64()
        ));
    }

    /// Files that are to be in a container before its process is. It starts without them rather than not at all: the
    /// watch that asks for them tries again.
    async fn copy_first(&self, id: &str, name: &str, transfers: &[Transfer], report: &Report) {
        match self.project.sync(id, transfers.to_vec()).await {
            Ok(outcome) => {
                for reason in outcome.failed {
                    report.warning(format!("initial sync of {name}: {reason}"));
                }
            }
            Err(error) => report.warning(format!("initial sync of {name}: {error}")),
        }
    }

    /// A container of an update must run, or be healthy, and stay so for `monitor`.
    async fn await_updated(
        &self,
        id: &str,
        name: &str,
        monitor: Duration,
        mut cancelled: Cancelled,
        report: &Report,
    ) -> Result<(), Failure> {
        report.working(Container, name, "Waiting");
        let settled = async {
            let status = self.project.wait_up(id).await.map_err(|error| condition_failure("", name, &error))?;
            if status != "Exited" && !monitor.is_zero() {
                tokio::select! {
                    () = tokio::time::sleep(monitor) => {}
                    ended = self.project.next_exit(id) => {
                        let code = ended.map_or(-1, |(code, _)| code);
                        return Err(Failure::new(format!("container {name} exited ({code}) while it was watched")));
                    }
                }
            }
            report.done(Container, name, status);
            Ok(())
        };
        tokio::select! {
            result = settled => result,
            _ = cancelled.wait_for(|cancelled| *cancelled) => Err(Failure::new("given up, because something else failed")),
        }
    }
}

/// Between two batches of an update; less when it is given up.
async fn rest(time: Duration, mut cancelled: Cancelled) {
    tokio::select! {
        () = tokio::time::sleep(time) => {}
        _ = cancelled.wait_for(|cancelled| *cancelled) => {}
    }
}

fn finish<E: std::error::Error + 'static>(
    report: &Report,
    kind: ObjectKind,
    name: &str,
    done: &str,
    result: Result<(), E>,
    failed: &str,
) -> Result<(), Failure> {
    match result {
        Ok(()) => {
            report.done(kind, name, done);
            Ok(())
        }
        Err(error) => {
            report.error(kind, name, "Error", &error.to_string());
            Err(Failure::caused(format!("{failed} {name}"), &error))
        }
    }
}
