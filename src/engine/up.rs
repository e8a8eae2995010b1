//! `up` in the supervisor's process: observe, plan, carry out.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use tokio::sync::watch;

use super::attach::hung_up;
use super::executor::{Cancelled, execute};
use super::failure::{condition_failure, start_failure};
use super::message::{ContainerRef, Event, Failure, ObjectKind};
use super::outline::outline;
use super::report::Report;
use super::run::Attach;
use super::serve::Engine;
use crate::plan::{
    self, Desired, DesiredService, Observed, ObservedContainer, Operation, OperationKind, Plan, UpOptions,
};
use crate::supervisor::record::{Condition, Dependency, ProjectRecord};
use crate::supervisor::{SupervisorError, View};
use crate::volumes::VolumeError;
use crate::watch::Transfer;

impl Engine {
    pub(super) async fn up(
        &self,
        desired: Desired,
        options: UpOptions,
        timeout_ms: Option<u64>,
        dry_run: bool,
        report: &Report,
    ) -> Result<i32, Failure> {
        let begin = Instant::now();
        self.project
            .with_unreadable(|error| Failure::caused("a container of the project cannot be read", error))
            .map_or(Ok(()), Err)?;
        let observed = self.observe_for(desired.services.iter());
        let plan = self.with_names(|names| plan::up(&desired, &observed, &options, names));
        for warning in &plan.warnings {
            report.warning(warning.clone());
        }
        for (name, service) in self.project.hung_up() {
            report.warning(hung_up(&name, &service));
        }
        report.timing("observe and plan", begin);
        if dry_run {
            describe(&plan, report);
            return Ok(0);
        }
        let result = self.converge(&desired, &plan, timeout_ms, None, report).await;
        if let Err(failure) = result {
            self.give_up_restarts(&plan).await;
            let failure = self.roll_back(&desired, &observed, &options, timeout_ms, failure, report).await;
            self.project.settle().await;
            return Err(failure);
        }
        report.send(&Event::Containers { containers: self.containers_of(&desired) });
        report.timing("up", begin);
        Ok(0)
    }

    /// Makes the services that want it as they were before `observed` was changed; the failure, with what came of it.
    async fn roll_back(
        &self,
        desired: &Desired,
        before: &Observed,
        options: &UpOptions,
        timeout_ms: Option<u64>,
        mut failure: Failure,
        report: &Report,
    ) -> Failure {
        let Some(wanted) = plan::rollback(desired, before, &self.observe(), self.project.project_paths()) else {
            return failure;
        };
        let services: Vec<String> = wanted.services.iter().map(|service| service.name.clone()).collect();
        let services = services.join(", ");
        report.warning(format!("the update of {services} failed and is rolled back: {}", failure.message));
        let options = UpOptions {
            force_recreate: false,
            no_recreate: false,
            always_recreate_deps: false,
            remove_orphans: false,
            renew_anonymous_volumes: false,
            ..options.clone()
        };
        let plan = self.with_names(|names| plan::up(&wanted, &self.observe(), &options, names));
        match Box::pin(self.converge(&wanted, &plan, timeout_ms, None, report)).await {
            Ok(()) => failure.hints.push(format!("{services}: as before the update")),
            Err(error) => {
                self.give_up_restarts(&plan).await;
                failure.causes.push(format!("the rollback of {services} failed too: {}", error.message));
            }
        }
        failure
    }

    pub(super) fn with_names<T>(&self, plan: impl FnOnce(&mut plan::Names<'_>) -> T) -> T {
        let volumes = self.project.paths().volumes();
        plan(&mut plan::Names {
            paths: self.project.project_paths(),
            volumes: &volumes,
            new_id: &mut crate::supervisor::new_container_id,
        })
    }

    pub(super) async fn converge(
        &self,
        desired: &Desired,
        plan: &Plan,
        timeout_ms: Option<u64>,
        attach: Option<&Attach>,
        report: &Report,
    ) -> Result<(), Failure> {
        let note = |record| {
            self.project.set_record(record).map_err(|error| Failure::caused("cannot note the project", &error))
        };
        note(self.until_renewed(desired.project.clone(), plan))?;
        // Everything that can be known to fail is tried before anything is stopped or started.
        let start = Instant::now();
        self.reserve(plan)?;
        report.timing("reserve ports", start);
        report.send(&Event::Outline { objects: outline(plan, |id| self.project.name_of(id)) });
        let task = Task {
            desired: Some(desired),
            grace: timeout_ms.map(Duration::from_millis),
            attach,
            report,
            failed: RefCell::default(),
        };
        let cancel = watch::Sender::new(false);
        let work = execute(plan, &cancel, |operation, cancelled| self.carry_out(&task, operation, cancelled));
        tokio::pin!(work);
        let early = tokio::select! {
            result = &mut work => Some(result),
            // Nobody waits any more: what is under way is finished, nothing else begins.
            () = report.abandoned() => {
                cancel.send_replace(true);
                None
            }
        };
        match early {
            Some(result) => result,
            None => work.await,
        }?;
        note(desired.project.clone())
    }

    /// A network that is to be made anew is noted as it is until that is done: an `up` after a failure does it then.
    fn until_renewed(&self, mut record: ProjectRecord, plan: &Plan) -> ProjectRecord {
        let before = self.project.record();
        let renewed = |name: &str| {
            plan.operations.iter().any(|operation| {
                matches!(&operation.kind, OperationKind::RemoveNetwork { name: renewed } if renewed == name)
            })
        };
        for network in record.networks.iter_mut().filter(|network| renewed(&network.name)) {
            let known = before.iter().flat_map(|project| &project.networks);
            if let Some(before) = known.into_iter().find(|known| known.name == network.name) {
                network.clone_from(before);
            }
        }
        record
    }

    /// After a failure: nobody will start what was stopped to be started again.
    pub(super) async fn give_up_restarts(&self, plan: &Plan) {
        for operation in &plan.operations {
            if let OperationKind::StopContainer { id, restart: true, .. } = &operation.kind {
                self.project.give_up_restart(id).await;
            }
        }
    }

    /// Binds the ports of all containers that the plan creates or starts.
    fn reserve(&self, plan: &Plan) -> Result<(), Failure> {
        let leaving: BTreeSet<&str> = plan
            .operations
            .iter()
            .filter_map(|operation| match &operation.kind {
                OperationKind::StopContainer { id, .. } => Some(id.as_str()),
                _ => None,
            })
            .collect();
        for operation in &plan.operations {
            if let OperationKind::CreateContainer { record, .. } = &operation.kind {
                self.project
                    .reserve_ports(record, &leaving)
                    .map_err(|error| Failure::caused(format!("cannot publish the ports of {}", record.name), &error))?;
            }
        }
        Ok(())
    }

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
        use ObjectKind::{Container, Network, Volume};
        let Task { desired, grace, attach, report, ref failed } = *task;
        match &operation.kind {
            OperationKind::CreateNetwork { name } => {
                let find =
                    |desired: &'_ Desired| desired.networks.iter().find(|network| network.name == *name).cloned();
                let Some(spec) = desired.and_then(find) else { return Ok(()) };
                report.working(Network, name, "Creating");
                let result = self.project.ensure_network(&spec).await;
                self.project.network_obstacles().into_iter().for_each(|obstacle| report.warning(obstacle));
                finish(report, Network, name, "Created", result, "cannot create network")
            }
            OperationKind::CreateVolume { name } => {
                let find = |desired: &'_ Desired| desired.volumes.iter().find(|volume| volume.name == *name).cloned();
                let Some(spec) = desired.and_then(find) else { return Ok(()) };
                report.working(Volume, name, "Creating");
                let result = self.project.ensure_volume(&spec).await;
                finish(report, Volume, name, "Created", result, "cannot create volume")
            }
            OperationKind::Install { record, install } => self.install(record, install, cancelled, report).await,
            OperationKind::CreateContainer { record, replaces } => {
                let (doing, done) =
                    if replaces.is_some() { ("Recreate", "Recreated") } else { ("Creating", "Created") };
                report.working(Container, &record.name, doing);
                let result = self.project.create((**record).clone()).await;
                finish(report, Container, &record.name, done, result, "cannot create container")
            }
            OperationKind::StartContainer { id, name, service, needs } => {
                self.wait_for_needs(name, needs, cancelled, report).await?;
                if let Some(transfers) = desired.and_then(|desired| desired.initial_sync.get(service)) {
                    self.copy_first(id, name, transfers, report).await;
                }
                report.working(Container, name, "Starting");
                let started = match attach.filter(|attach| attach.id == *id) {
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
            OperationKind::StopContainer { id, name, restart: false } => {
                report.working(Container, name, "Stopping");
                let result = self.project.stop(id, grace).await;
                finish(report, Container, name, "Stopped", result, "cannot stop container")
            }
            OperationKind::StopContainer { id, name, restart: true } => {
                report.working(Container, name, "Restarting");
                self.project.stop_to_restart(id, grace).await.map_err(|error| {
                    report.error(Container, name, "Error", &error.to_string());
                    Failure::caused(format!("cannot stop container {name}"), &error)
                })
            }
            OperationKind::AwaitContainer { id, name, monitor_ms, service, tolerated } => {
                let given_up = cancelled.clone();
                match self.await_updated(id, name, Duration::from_millis(*monitor_ms), cancelled, report).await {
                    Err(failure) if !*given_up.borrow() && count_failure(failed, service) <= *tolerated => {
                        report.warning(format!("the update goes on in spite of {name}: {}", failure.message));
                        Ok(())
                    }
                    result => result,
                }
            }
            OperationKind::Delay { ms, .. } => {
                let mut cancelled = cancelled;
                tokio::select! {
                    () = tokio::time::sleep(Duration::from_millis(*ms)) => {}
                    _ = cancelled.wait_for(|cancelled| *cancelled) => {}
                }
                Ok(())
            }
            OperationKind::SignalContainer { id, name, signal } => {
                report.working(Container, name, "Killing");
                let result = self.project.kill(id, signal).await;
                finish(report, Container, name, "Killed", result, "cannot kill container")
            }
            OperationKind::PauseContainer { id, name } => {
                let result = self.project.pause(id).await;
                finish(report, Container, name, "Paused", result, "cannot pause container")
            }
            OperationKind::UnpauseContainer { id, name } => {
                let result = self.project.unpause(id).await;
                finish(report, Container, name, "Unpaused", result, "cannot unpause container")
            }
            OperationKind::RemoveContainers { containers, anonymous_volumes } => {
                for (_, name) in containers {
                    report.working(Container, name, "Removing");
                }
                let ids: Vec<String> = containers.iter().map(|(id, _)| id.clone()).collect();
                let result = self.project.remove(&ids, *anonymous_volumes).await;
                for (_, name) in containers {
                    if result.is_ok() {
                        report.done(Container, name, "Removed");
                    }
                }
                result.map_err(|error| Failure::caused("cannot remove the containers", &error))
            }
            OperationKind::RemoveNetwork { name } => {
                report.working(Network, name, "Removing");
                let result = self.project.remove_networks(std::slice::from_ref(name)).await;
                finish(report, Network, name, "Removed", result, "cannot remove network")
            }
            OperationKind::RemoveVolume { name } => {
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
        }
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
        report.working(ObjectKind::Container, name, "Waiting");
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
            report.done(ObjectKind::Container, name, status);
            Ok(())
        };
        tokio::select! {
            result = settled => result,
            _ = cancelled.wait_for(|cancelled| *cancelled) => Err(Failure::new("given up, because something else failed")),
        }
    }

    /// Waits until everything that a container depends on is as it asks.
    async fn wait_for_needs(
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
            for result in join_all(waits).await {
                result?;
            }
            Ok(())
        };
        tokio::select! {
            result = all => result,
            _ = cancelled.wait_for(|cancelled| *cancelled) => Err(Failure::new("given up, because something else failed")),
        }
    }

    /// The containers of the desired services, in the order of the file.
    fn containers_of(&self, desired: &Desired) -> Vec<ContainerRef> {
        let containers = self.project.containers();
        let mut found = Vec::new();
        for service in &desired.services {
            let mut of_service: Vec<&View> =
                containers.iter().filter(|have| have.record.service == service.name && !have.record.oneoff).collect();
            of_service.sort_by_key(|have| have.record.number);
            found.extend(of_service.into_iter().map(reference));
        }
        found
    }

    /// With the packages that these services want.
    pub(super) fn observe_for<'a>(&self, services: impl Iterator<Item = &'a DesiredService>) -> Observed {
        let mut observed = self.observe();
        for install in services.filter_map(|service| service.install.as_ref()) {
            let (exists, complete) = self.project.has_packages(&install.volume.name);
            observed.volumes.extend(exists.then(|| install.volume.name.clone()));
            observed.installed.extend(complete.then(|| install.volume.name.clone()));
        }
        observed
    }

    pub(super) fn observe(&self) -> Observed {
        let record = self.project.record();
        Observed {
            containers: self
                .project
                .containers()
                .into_iter()
                .map(|have| ObservedContainer { record: (*have.record).clone(), state: have.state })
                .collect(),
            networks: self.project.existing_networks(),
            volumes: self.project.existing_volumes(record.as_ref()),
            installed: BTreeSet::new(),
            project: record,
        }
    }
}

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

/// How many it are with this one.
fn count_failure(failed: &RefCell<BTreeMap<String, usize>>, service: &str) -> usize {
    let mut failed = failed.borrow_mut();
    let count = failed.entry(service.to_owned()).or_default();
    *count += 1;
    *count
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

pub(super) fn reference(have: &View) -> ContainerRef {
    ContainerRef {
        id: have.record.id.clone(),
        name: have.record.name.clone(),
        service: have.record.service.clone(),
        number: have.record.number,
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

/// `--dry-run`: each operation with its reason.
pub(super) fn describe(plan: &Plan, report: &Report) {
    if plan.operations.is_empty() {
        report.send(&Event::Planned { text: "nothing to do".to_owned() });
    }
    for operation in &plan.operations {
        report.send(&Event::Planned { text: format!("{}: {}", operation.kind, operation.cause) });
    }
}
