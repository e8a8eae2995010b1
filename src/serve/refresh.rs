//! Changed files into a service's containers, and what follows, in the supervisor's process.

use std::collections::BTreeSet;

use futures_util::future::join_all;

use super::engine::Engine;
use super::observe::reference;
use super::report::Report;
use crate::message::{Failure, Refresh, Refreshed, Response};
use crate::record::Condition;
use crate::supervisor::{Reloaded, View};
use crate::watch::Outcome;

impl Engine {
    /// Copies, then restarts with the dependents that ask for it, then runs commands.
    pub(super) async fn refresh(&self, refresh: &Refresh, report: &Report) -> Result<i32, Failure> {
        let service = refresh.service.as_str();
        let containers = self.containers_of_service(service);
        if containers.is_empty() {
            return Err(Failure::new(format!("service \"{service}\" has no container"))
                .hint(format!("`windlass up -d {service}` makes one")));
        }
        let mut refreshed =
            Refreshed { containers: containers.iter().map(reference).collect(), ..Refreshed::default() };
        if !refresh.transfers.is_empty() {
            for outcome in join_all(containers.iter().map(|have| self.copy_into(have, refresh))).await {
                refreshed.outcome.add(outcome?);
            }
        }
        let restart = refresh.restart && (!refresh.only_if_changed || refreshed.outcome.changed());
        if restart {
            let mut done = BTreeSet::from([service.to_owned()]);
            let restarted = self.reload(&containers).await?;
            // Nobody is restarted for one that stays stopped.
            if !restarted.is_empty() {
                refreshed.restarted = restarted;
                self.reload_dependents(service, &mut done, &mut refreshed).await?;
            }
        }
        if refresh.renewed {
            self.reload_dependents(service, &mut BTreeSet::from([service.to_owned()]), &mut refreshed).await?;
        }
        for hook in &refresh.exec {
            for have in containers.iter().filter(|have| self.is_running(have)) {
                let output = self.project.run_command(&have.record.id, hook).await.map_err(|error| {
                    Failure::caused(format!("`{}` failed in {}", hook.command.join(" "), have.record.name), &error)
                })?;
                refreshed.output.push(output);
            }
        }
        report.send(&Response::Refreshed(refreshed));
        Ok(0)
    }

    fn containers_of_service(&self, service: &str) -> Vec<View> {
        let mut containers = self.project.containers();
        containers.retain(|have| have.record.service == service && !have.record.oneoff);
        containers.sort_by_key(|have| have.record.number);
        containers
    }

    fn is_running(&self, have: &View) -> bool {
        self.project.container(&have.record.id).is_some_and(|now| now.is_running())
    }

    async fn copy_into(&self, have: &View, refresh: &Refresh) -> Result<Outcome, Failure> {
        self.project
            .sync(&have.record.id, refresh.transfers.clone())
            .await
            .map_err(|error| Failure::caused(format!("cannot copy into {}", have.record.name), &error))
    }

    /// Names of those that were restarted.
    async fn reload(&self, containers: &[View]) -> Result<Vec<String>, Failure> {
        let all = join_all(containers.iter().map(|have| self.project.reload(&have.record.id))).await;
        let mut names = Vec::new();
        for (have, result) in containers.iter().zip(all) {
            match result {
                Ok(Reloaded::Restarted | Reloaded::Started) => names.push(have.record.name.clone()),
                Ok(Reloaded::LeftStopped) => {}
                Err(error) => {
                    return Err(Failure::caused(format!("cannot restart container {}", have.record.name), &error));
                }
            }
        }
        Ok(names)
    }

    /// `depends_on: { db: { restart: true } }`, and those that depend on these.
    async fn reload_dependents(
        &self,
        service: &str,
        done: &mut BTreeSet<String>,
        refreshed: &mut Refreshed,
    ) -> Result<(), Failure> {
        let mut pending = vec![service.to_owned()];
        while let Some(service) = pending.pop() {
            let wants = |have: &View| {
                have.record.depends_on.iter().find(|needed| needed.restart && needed.service == service).cloned()
            };
            let mut dependents = self.project.containers();
            dependents.retain(|have| {
                !have.record.oneoff
                    && have.is_running()
                    && !done.contains(&have.record.service)
                    && wants(have).is_some()
            });
            let healthy =
                dependents.iter().filter_map(wants).any(|needed| needed.condition == Condition::ServiceHealthy);
            if healthy {
                for have in self.containers_of_service(&service) {
                    self.project
                        .wait(&have.record.id, Condition::ServiceHealthy)
                        .await
                        .map_err(|error| super::failure::condition_failure("", &have.record.name, &error))?;
                }
            }
            refreshed.restarted.extend(self.reload(&dependents).await?);
            for have in &dependents {
                if done.insert(have.record.service.clone()) {
                    pending.push(have.record.service.clone());
                }
            }
        }
        Ok(())
    }
}
