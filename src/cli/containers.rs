//! The containers of a project as they are, for commands that read or enter one of them: no supervisor is asked.

use super::{CommandError, Context};
use crate::engine::truth;
use crate::plan::ObservedContainer;
use crate::state::ProjectPaths;
use crate::state::record;
use crate::supervisor::record::{ProjectRecord, Status};

/// A project's containers, by name.
#[derive(Debug)]
pub struct Containers {
    pub project: ProjectPaths,
    pub record: Option<ProjectRecord>,
    pub all: Vec<ObservedContainer>,
}

impl Containers {
    /// # Errors
    /// When the project cannot be named or a record cannot be read.
    pub fn of(context: &Context) -> Result<Self, CommandError> {
        let project = context.project_paths()?;
        let all = truth::containers(&project)?;
        Self::with(project, all)
    }

    /// The same, with one service's containers alone: the others are not looked at.
    ///
    /// # Errors
    /// As [`Containers::of`].
    pub fn of_service(context: &Context, service: &str) -> Result<Self, CommandError> {
        let project = context.project_paths()?;
        let all = truth::containers_of(&project, service)?;
        Self::with(project, all)
    }

    fn with(project: ProjectPaths, mut all: Vec<ObservedContainer>) -> Result<Self, CommandError> {
        let record = record::read::<ProjectRecord>(&project.record())?;
        all.sort_by(|a, b| a.record.name.cmp(&b.record.name));
        Ok(Self { project, record, all })
    }

    /// # Errors
    /// When one of the services is neither in the file nor has a container.
    pub fn check_services(&self, services: &[String]) -> Result<(), CommandError> {
        let declared = self.record.as_ref().map(|project| project.services.as_slice()).unwrap_or_default();
        let known = |service: &&String| {
            declared.contains(service) || self.all.iter().any(|container| container.record.service == **service)
        };
        match services.iter().find(|service| !known(service)) {
            None => Ok(()),
            Some(service) => {
                Err(CommandError::new(format!("no such service: {service}"))
                    .hint("`windlass ps -a` shows what there is"))
            }
        }
    }

    /// The containers of these services, of all when none is named; those made by `run` only when asked for.
    pub fn of_services<'a>(
        &'a self,
        services: &'a [String],
        oneoff: bool,
    ) -> impl Iterator<Item = &'a ObservedContainer> + 'a {
        self.all.iter().filter(move |container| {
            (services.is_empty() || services.contains(&container.record.service))
                && (oneoff || !container.record.oneoff)
        })
    }

    /// The replica with this number, or the first; one made by `run` only when there is no other.
    ///
    /// # Errors
    /// When there is none, or (with `running`) it does not run.
    pub fn pick(&self, service: &str, index: Option<u32>, running: bool) -> Result<&ObservedContainer, CommandError> {
        // As the peer: 0 is any.
        let index = index.filter(|index| *index > 0);
        let fits = |container: &&ObservedContainer| {
            container.record.service == service
                && index.is_none_or(|index| container.record.number == index)
                && (!running || is_running(container))
        };
        let found = self.all.iter().filter(fits);
        found.min_by_key(|container| (container.record.oneoff, container.record.number)).ok_or_else(|| {
            let which = match index {
                Some(index) => format!("container {index} of service \"{service}\""),
                None => format!("service \"{service}\""),
            };
            if running {
                CommandError::new(format!("{which} is not running"))
                    .hint(format!("start it with `windlass up -d {service}`; `windlass ps -a` shows what there is"))
            } else {
                CommandError::new(format!("{which} has no container"))
                    .hint(format!("make it with `windlass up -d {service}`; `windlass ps -a` shows what there is"))
            }
        })
    }
}

/// Whether it has a process.
#[must_use]
pub fn is_running(container: &ObservedContainer) -> bool {
    matches!(container.state.status, Status::Running { .. })
}
