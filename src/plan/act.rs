//! What a person does to containers as they are, whatever the files say by now.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::down::{services_in_order, stop_in_reverse};
use super::observed::Observed;
use super::operation::{OperationKind, Plan};
use crate::record::{Dependency, ObservedContainer, Status};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum Action {
    /// Starts what does not run, and what that depends on.
    Start,
    Stop,
    Restart {
        /// Also the services that say `depends_on: { …: { restart: true } }`.
        dependents: bool,
    },
    Signal {
        /// Name or number.
        signal: String,
    },
    Pause,
    Unpause,
    /// Removes what does not run.
    Remove {
        /// With their anonymous volumes.
        volumes: bool,
    },
}

/// Which containers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// Empty is every service of the project.
    pub services: Vec<String>,
    /// Ids of these containers alone.
    #[serde(default)]
    pub containers: Vec<String>,
    /// Also those made by `run`.
    pub oneoff: bool,
    /// Also those of services that the files no longer have, when no service is named.
    pub orphans: bool,
}

impl Selection {
    fn chosen<'a>(&self, observed: &'a Observed) -> Vec<&'a ObservedContainer> {
        let known: Option<BTreeSet<&str>> =
            observed.project.as_ref().map(|project| project.services.iter().map(String::as_str).collect());
        let is_chosen = |have: &&ObservedContainer| {
            let record = &have.record;
            if !self.containers.is_empty() {
                return self.containers.contains(&record.id);
            }
            let service = if self.services.is_empty() {
                self.orphans || known.as_ref().is_none_or(|known| known.contains(record.service.as_str()))
            } else {
                self.services.contains(&record.service)
            };
            service && (self.oneoff || !record.oneoff)
        };
        observed.containers.iter().filter(is_chosen).collect()
    }
}

/// The operations of an action; none when there is nothing that it could be done to.
#[must_use]
pub fn act(observed: &Observed, selection: &Selection, action: &Action) -> Plan {
    let mut plan = Plan::default();
    let chosen = selection.chosen(observed);
    let cause = "as asked for";
    let running = |have: &&&ObservedContainer| matches!(have.state.status, Status::Running { .. });
    match action {
        Action::Start => {
            let chosen = with_dependencies(observed, chosen);
            start_in_order(&mut plan, &chosen, &BTreeMap::new(), "not running");
        }
        Action::Stop => {
            stop_in_reverse(&mut plan, &chosen, false, cause);
        }
        Action::Restart { dependents } => {
            let chosen = if *dependents { with_dependents(observed, chosen) } else { chosen };
            let stops = stop_in_reverse(&mut plan, &chosen, true, cause);
            start_in_order(&mut plan, &chosen, &stops, cause);
        }
        Action::Signal { signal } => {
            for have in chosen.iter().filter(|have| have.is_running()) {
                let (id, name, signal) = (have.record.id.clone(), have.record.name.clone(), signal.clone());
                plan.push(OperationKind::SignalContainer { id, name, signal }, cause, vec![]);
            }
        }
        Action::Pause | Action::Unpause => {
            for have in chosen.iter().filter(running) {
                let (id, name) = (have.record.id.clone(), have.record.name.clone());
                let kind = match action {
                    Action::Pause => OperationKind::PauseContainer { id, name },
                    _ => OperationKind::UnpauseContainer { id, name },
                };
                plan.push(kind, cause, vec![]);
            }
        }
        Action::Remove { volumes } => {
            let containers: Vec<_> = chosen
                .iter()
                .filter(|have| !have.is_running())
                .map(|have| (have.record.id.clone(), have.record.name.clone()))
                .collect();
            if !containers.is_empty() {
                let kind = OperationKind::RemoveContainers { containers, anonymous_volumes: *volumes };
                plan.push(kind, cause, vec![]);
            }
        }
    }
    plan
}

/// `chosen` and the containers of everything that they depend on.
fn with_dependencies<'a>(observed: &'a Observed, mut chosen: Vec<&'a ObservedContainer>) -> Vec<&'a ObservedContainer> {
    let mut next = 0;
    while let Some(have) = chosen.get(next).copied() {
        next += 1;
        for needed in &have.record.depends_on {
            add(observed, &mut chosen, |other| other.record.service == needed.service);
        }
    }
    chosen
}

/// `chosen` and the running containers that want to be restarted with them.
fn with_dependents<'a>(observed: &'a Observed, mut chosen: Vec<&'a ObservedContainer>) -> Vec<&'a ObservedContainer> {
    let mut next = 0;
    while let Some(have) = chosen.get(next).copied() {
        next += 1;
        add(observed, &mut chosen, |other| other.is_running() && other.restarts_with(&have.record.service));
    }
    chosen
}

fn add<'a>(
    observed: &'a Observed,
    chosen: &mut Vec<&'a ObservedContainer>,
    wanted: impl Fn(&ObservedContainer) -> bool,
) {
    for other in observed.containers.iter().filter(|other| !other.record.oneoff && wanted(other)) {
        if !chosen.iter().any(|have| have.record.id == other.record.id) {
            chosen.push(other);
        }
    }
}

/// Starts what does not run, or is stopped by `stops`: each after what it depends on, as far as that is chosen too.
fn start_in_order(plan: &mut Plan, chosen: &[&ObservedContainer], stops: &BTreeMap<&str, Vec<usize>>, cause: &str) {
    let mut placed: BTreeMap<&str, Vec<(String, Option<usize>)>> = BTreeMap::new();
    for service in services_in_order(chosen) {
        let mut own = Vec::new();
        for have in chosen.iter().filter(|have| have.record.service == service) {
            let record = &have.record;
            let stopped = stops.get(service);
            if matches!(have.state.status, Status::Running { .. }) && stopped.is_none() {
                own.push((record.id.clone(), None));
                continue;
            }
            let mut after = stopped.cloned().unwrap_or_default();
            let mut needs: Vec<(Dependency, Vec<String>)> = Vec::new();
            for needed in &record.depends_on {
                let Some(containers) = placed.get(needed.service.as_str()) else { continue };
                after.extend(containers.iter().filter_map(|(_, start)| *start));
                needs.push((needed.clone(), containers.iter().map(|(id, _)| id.clone()).collect()));
            }
            let kind = OperationKind::StartContainer {
                id: record.id.clone(),
                name: record.name.clone(),
                service: service.to_owned(),
                needs,
            };
            let start = plan.push(kind, cause, after);
            own.push((record.id.clone(), Some(start)));
        }
        placed.insert(service, own);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::sample::{existing, exited, needs, record, running};
    use crate::record::Condition;

    fn shop() -> Observed {
        let mut web = needs(record("web"), "db", Condition::ServiceHealthy);
        web.depends_on[0].restart = true;
        let app = needs(record("app"), "db", Condition::ServiceStarted);
        let mut oneoff = existing(record("web"), 9, running());
        oneoff.record.oneoff = true;
        Observed {
            containers: vec![
                existing(web, 1, running()),
                existing(app, 1, exited(0)),
                existing(record("db"), 1, running()),
                oneoff,
            ],
            ..Observed::default()
        }
    }

    fn of(services: &[&str]) -> Selection {
        Selection { services: services.iter().map(|&name| name.to_owned()).collect(), ..Selection::default() }
    }

    #[test]
    fn what_does_not_run_is_started_with_what_it_needs() {
        let mut observed = shop();
        observed.containers[2].state.status = exited(1);
        insta::assert_snapshot!(act(&observed, &of(&["app"]), &Action::Start), @r"
        [] -> #0 start container shop-db-1 (not running)
        [0] -> #1 start container shop-app-1 (not running)
        ");
        assert!(act(&shop(), &of(&["web"]), &Action::Start).operations.is_empty());
    }

    #[test]
    fn a_restart_stops_in_reverse_and_takes_dependents_along() {
        insta::assert_snapshot!(act(&shop(), &of(&["db"]), &Action::Restart { dependents: true }), @r"
        [] -> #0 stop container shop-web-1 (as asked for)
        [0] -> #1 stop container shop-db-1 (as asked for)
        [1] -> #2 start container shop-db-1 (as asked for)
        [0, 2] -> #3 start container shop-web-1 (as asked for)
        ");
        insta::assert_snapshot!(act(&shop(), &of(&["db"]), &Action::Restart { dependents: false }), @r"
        [] -> #0 stop container shop-db-1 (as asked for)
        [0] -> #1 start container shop-db-1 (as asked for)
        ");
    }

    #[test]
    fn signals_reach_what_runs_and_only_what_is_stopped_is_removed() {
        let signal = Action::Signal { signal: "HUP".into() };
        let selection = Selection { oneoff: true, ..of(&[]) };
        assert_eq!(act(&shop(), &selection, &signal).operations.len(), 3);
        assert_eq!(act(&shop(), &of(&[]), &Action::Pause).operations.len(), 2);
        insta::assert_snapshot!(act(&shop(), &of(&[]), &Action::Remove { volumes: false }),
            @"[] -> #0 remove container shop-app-1 (as asked for)");
    }
}
