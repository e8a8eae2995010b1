//! A dry run of a project that nobody keeps: planned in the command's own process, for a supervisor that is started is a
//! change. Where there is one, it is asked, for it knows more.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::act::nothing_to;
use super::observe::look_for;
use super::preflight::Scene;
use super::up::described;
use crate::message::{Failure, Request, Response};
use crate::network::{self, Networks};
use crate::plan::{self, Action, Desired, Observed, Plan};
use crate::record::ProjectRecord;
use crate::record::truth;
use crate::state::record::{self, ReadError};
use crate::state::{Paths, ProjectPaths};
use crate::supervisor::{KnownVolumes, View, holder_elsewhere, try_ports};

/// Says what a request would do, and fails with what the request would be refused for.
///
/// # Errors
/// With that, or when what there is cannot be read.
pub fn answer(
    paths: &Paths,
    project: &ProjectPaths,
    request: &Request,
    say: &mut dyn FnMut(&Response),
) -> Result<(), Failure> {
    let world = World::look(paths, project)?;
    match request {
        Request::Up { desired, options, .. } => {
            world.refuse_damaged()?;
            let mut observed = world.observed.clone();
            look_for(&mut observed, paths, &world.volumes, desired, None);
            let plan = world.with_names(|names| plan::up(desired, &observed, options, names));
            world.tell(&plan, Some(desired), say)
        }
        Request::Run { desired, oneoff, options, .. } => {
            let mut observed = world.observed.clone();
            look_for(&mut observed, paths, &world.volumes, desired, Some(oneoff));
            let (plan, _) = world.with_names(|names| plan::run(desired, oneoff, &observed, options, names));
            let mut whole = (**desired).clone();
            whole.services.push((**oneoff).clone());
            world.tell(&plan, Some(&whole), say)
        }
        Request::Down { options, project, .. } => {
            let mut observed = world.observed.clone();
            observed.project = project.clone().or(observed.project);
            observed.volumes = world.volumes.begun(observed.project.as_ref());
            world.tell(&plan::down(&observed, options), None, say)
        }
        Request::Act { action, selection, .. } => {
            let plan = plan::act(&world.observed, selection, action);
            match (plan.operations.is_empty(), action) {
                (true, _) => nothing_to(action).into_iter().for_each(|text| say(&Response::Note { text })),
                (false, Action::Start | Action::Restart { .. }) => return world.tell(&plan, None, say),
                (false, _) => described(&plan).into_iter().for_each(|text| say(&Response::Planned { text })),
            }
            Ok(())
        }
        // None of them has a dry form, and none is sent as one.
        _ => Ok(()),
    }
}

/// A project as it is found.
struct World<'a> {
    paths: &'a Paths,
    project: &'a ProjectPaths,
    volumes: KnownVolumes,
    observed: Observed,
    /// Containers whose records cannot be read.
    damaged: Vec<ReadError>,
    /// Whether a network that exists is internal, by name.
    internal: BTreeMap<String, bool>,
}

impl<'a> World<'a> {
    fn look(paths: &'a Paths, project: &'a ProjectPaths) -> Result<Self, Failure> {
        let failed = |error| Failure::caused("cannot look at the project's networks", &error);
        let record = record::read_if_whole::<ProjectRecord>(&project.record());
        let (containers, damaged) = truth::readable(project);
        let leases = network::leases(paths).map_err(failed)?;
        let standing = Networks::new(paths, project).standing().map_err(failed)?;
        // As the next supervisor will know them.
        let runs = containers.iter().any(crate::record::ObservedContainer::is_running);
        let declared = record.iter().flat_map(|record| &record.networks).map(|network| network.name.clone());
        let networks = declared.filter(|name| runs || standing.contains(name)).collect();
        let volumes = KnownVolumes::of(paths, project.name());
        let observed = Observed {
            volumes: volumes.existing(record.as_ref()),
            project: record,
            containers,
            networks,
            ..Observed::default()
        };
        let internal = leases.into_iter().map(|lease| (lease.name, lease.internal)).collect();
        Ok(Self { paths, project, volumes, observed, damaged, internal })
    }

    fn refuse_damaged(&self) -> Result<(), Failure> {
        match self.damaged.first() {
            Some(error) => Err(Failure::caused("a container of the project cannot be read", error)),
            None => Ok(()),
        }
    }

    fn with_names<T>(&self, plan: impl FnOnce(&mut plan::Names<'_>) -> T) -> T {
        let volumes = self.paths.volumes();
        plan(&mut plan::Names { paths: self.project, volumes: &volumes, new_id: &mut crate::record::new_container_id })
    }

    /// The plan, and then what it would fail for.
    fn tell(&self, plan: &Plan, desired: Option<&Desired>, say: &mut dyn FnMut(&Response)) -> Result<(), Failure> {
        plan.warnings.iter().for_each(|text| say(&Response::Warning { text: text.clone() }));
        described(plan).into_iter().for_each(|text| say(&Response::Planned { text }));
        let views = self.observed.containers.iter();
        let views: Vec<View> =
            views.map(|have| View { record: Rc::new(have.record.clone()), state: have.state.clone() }).collect();
        // Kept until all are tried: two of the plan may want the same.
        let bound = RefCell::new(Vec::new());
        let leave = |leaving: &BTreeSet<&str>| {
            let leaving = views.iter().filter(|view| leaving.contains(view.record.id.as_str()));
            leaving.map(|view| view.state.ports.clone()).collect::<Vec<_>>()
        };
        let scene = Scene {
            paths: self.paths,
            containers: views.clone(),
            reserve: &|record, leaving| {
                let internal = |network: &str| self.internal.get(network).copied().unwrap_or_default();
                bound.borrow_mut().extend(try_ports(record, internal, &leave(leaving))?);
                Ok(())
            },
            elsewhere: &|name| holder_elsewhere(self.paths, self.project.name(), name),
        };
        let warnings = scene.object(plan, desired)?;
        warnings.into_iter().for_each(|text| say(&Response::Warning { text }));
        Ok(())
    }
}
