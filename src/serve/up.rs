//! `up` in the supervisor's process: observe, plan, carry out.

use std::collections::BTreeSet;
use std::time::Instant;

use jiff::Timestamp;
use tokio::sync::watch;

use super::attach::hung_up;
use super::engine::Engine;
use super::executor::execute;
use super::operations::Task;
use super::outline::outline;
use super::report::Report;
use super::run::Attach;
use crate::message::{Failure, Response};
use crate::network::mend::Mended;
use crate::plan::{self, Desired, Observed, OperationKind, Plan, UpOptions};
use crate::record::{ProjectRecord, Status};

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
        if !dry_run {
            self.mend_networks(report).await;
        }
        self.project.ends_recorded().await;
        let observed = self.observe_for(&desired, None);
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
            return self.object(&plan, Some(&desired), report).map(|()| 0);
        }
        let start = Instant::now();
        if let Err(failure) = self.preflight(&plan, Some(&desired), report) {
            self.project.settle().await;
            return Err(failure);
        }
        report.timing("preflight", start);
        let result = self.converge(&desired, &plan, timeout_ms, None, report).await;
        if let Err(failure) = result {
            self.give_up_restarts(&plan).await;
            let failure = self.roll_back(&desired, &observed, &options, timeout_ms, failure, report).await;
            self.project.settle().await;
            return Err(failure);
        }
        report.send(&Response::Containers { containers: self.containers_of(&desired) });
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
        let ready = self.preflight(&plan, Some(&wanted), report);
        let again = async { Box::pin(self.converge(&wanted, &plan, timeout_ms, None, report)).await };
        match if ready.is_ok() { again.await } else { ready } {
            Ok(()) => failure.hints.push(format!("{services}: as before the update")),
            Err(error) => {
                self.give_up_restarts(&plan).await;
                failure.causes.push(format!("the rollback of {services} failed too: {}", error.message));
            }
        }
        failure
    }

    /// The networks are as they were made, whatever others have done to them.
    pub(super) async fn mend_networks(&self, report: &Report) {
        match self.project.mend_networks().await {
            Ok(mended) => {
                for Mended { network, what } in mended {
                    report.warning(format!("network {network}: {what}; it was mended"));
                }
            }
            Err(error) => {
                let failure = Failure::caused("cannot look after the project's networks", &error);
                report.warning(format!("{}: {}", failure.message, failure.causes.join(": ")));
            }
        }
    }

    pub(super) fn with_names<T>(&self, plan: impl FnOnce(&mut plan::Names<'_>) -> T) -> T {
        let volumes = self.project.paths().volumes();
        plan(&mut plan::Names {
            paths: self.project.project_paths(),
            volumes: &volumes,
            new_id: &mut crate::record::new_container_id,
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
        self.with_scene(|scene| scene.check_names(plan))?;
        self.relabel(desired, plan).await?;
        report.send(&Response::Outline { objects: outline(plan, |id| self.project.name_of(id)) });
        self.project
            .claim_addresses(desired.claims.clone())
            .await
            .map_err(|error| Failure::caused("cannot set addresses aside", &error))?;
        let task = Task { desired: Some(desired), attach, ..Task::new(timeout_ms, report) };
        let begun = Timestamp::now();
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
        let begun = early.is_some().then_some(begun);
        let result = match early {
            Some(result) => result,
            None => work.await,
        };
        self.undo_replacements(plan, begun, result.is_err(), report).await;
        result?;
        note(desired.project.clone())
    }

    /// A container whose replacement did not take its place goes on in that place; it is never beside one that is made
    /// but not used. What has been stopped since the change has `begun` is started again, unless nobody waits any more.
    async fn undo_replacements(&self, plan: &Plan, begun: Option<Timestamp>, is_failed: bool, report: &Report) {
        for operation in &plan.operations {
            let OperationKind::CreateContainer { record, replaces: Some(old) } = &operation.kind else { continue };
            let (Some(new), Some(before)) = (self.project.container(&record.id), self.project.container(old)) else {
                continue;
            };
            if new.is_running() && self.project.stop(&record.id, None).await.is_err() {
                continue;
            }
            if let Err(error) = self.project.remove(std::slice::from_ref(&record.id), false).await {
                report.warning(format!("{}: its replacement stays: {error}", record.name));
            }
            let was_stopped = plan
                .operations
                .iter()
                .any(|operation| matches!(&operation.kind, OperationKind::StopContainer { id, .. } if id == old));
            let since = |finished| begun.is_some_and(|begun| finished >= begun);
            let ended = matches!(before.state.status, Status::Exited { finished, .. } if since(finished));
            if was_stopped && ended {
                self.start_as_before(old, &record.name, report).await;
            }
        }
        let restarted = plan.operations.iter().filter_map(|operation| match &operation.kind {
            OperationKind::StopContainer { id, name, restart: true } => Some((id, name)),
            _ => None,
        });
        for (id, name) in restarted.filter(|_| is_failed && begun.is_some()) {
            let waits = |status: &Status| matches!(status, Status::Restarting { .. });
            if self.project.container(id).is_some_and(|view| waits(&view.state.status)) {
                self.start_as_before(id, name, report).await;
            }
        }
    }

    async fn start_as_before(&self, id: &str, name: &str, report: &Report) {
        match self.project.start(id).await {
            Ok(()) => report.warning(format!("{name}: goes on as it was before this change, which failed")),
            Err(error) => report.warning(format!("{name}: it was stopped, and cannot be started again: {error}")),
        }
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
}

pub(super) fn describe(plan: &Plan, report: &Report) {
    described(plan).into_iter().for_each(|text| report.send(&Response::Planned { text }));
}

/// `--dry-run`: each operation with its reason, which is told once for each container.
pub(super) fn described(plan: &Plan) -> Vec<String> {
    if plan.operations.is_empty() {
        return vec!["nothing to do".to_owned()];
    }
    let mut told = BTreeSet::new();
    let mut texts = Vec::new();
    for operation in &plan.operations {
        let subjects = operation.kind.containers();
        let known = !subjects.is_empty() && subjects.iter().all(|name| told.contains(&(*name, &operation.cause)));
        told.extend(subjects.into_iter().map(|name| (name, &operation.cause)));
        texts.push(match known {
            true => operation.kind.to_string(),
            false => format!("{}: {}", operation.kind, operation.cause),
        });
    }
    texts
}
