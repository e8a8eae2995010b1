//! The containers of a project as they are, for commands that read or enter one of them: no supervisor is asked.

use super::{CommandError, Context, names};
use crate::record::truth;
use crate::record::{ObservedContainer, ProjectRecord, Status};
use crate::state::{ProjectPaths, record};

/// A project's containers, by name.
#[derive(Debug)]
pub struct Containers {
    pub project: ProjectPaths,
    pub record: Option<ProjectRecord>,
    /// The services that are declared, whether or not they have containers.
    declared: Vec<String>,
    pub all: Vec<ObservedContainer>,
}

impl Containers {
    /// # Errors
    /// When the project cannot be named or a record cannot be read.
    pub fn of(context: &Context) -> Result<Self, CommandError> {
        let (project, declared) = context.identified(&[])?;
        let all = truth::containers(&project)?;
        Self::with(project, declared, all)
    }

    /// The same, with one service's containers alone: the others are not looked at.
    ///
    /// # Errors
    /// As [`Containers::of`].
    pub fn of_service(context: &Context, service: &str) -> Result<Self, CommandError> {
        let (project, declared) = context.identified(&[])?;
        let all = truth::containers_of(&project, service)?;
        Self::with(project, declared, all)
    }

    fn with(
        project: ProjectPaths,
        declared: Vec<String>,
        mut all: Vec<ObservedContainer>,
    ) -> Result<Self, CommandError> {
        let record = record::read_if_whole::<ProjectRecord>(&project.record());
        all.sort_by(|a, b| a.record.name.cmp(&b.record.name));
        Ok(Self { project, record, declared, all })
    }

    /// # Errors
    /// When one of the services is neither in the file nor has a container.
    pub fn check_services(&self, services: &[String]) -> Result<(), CommandError> {
        names::check(services, &self.known())
    }

    /// Every name that a service has here.
    fn known(&self) -> Vec<String> {
        let raised = self.record.iter().flat_map(|project| &project.services);
        let mut known: Vec<String> = self.declared.iter().chain(raised).cloned().collect();
        known.extend(self.all.iter().map(|container| container.record.service.clone()));
        known.sort();
        known.dedup();
        known
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
    /// When there is no such service, it has no such container, or (with `running`) that one does not run.
    pub fn pick(&self, service: &str, index: Option<u32>, running: bool) -> Result<&ObservedContainer, CommandError> {
        // As the peer: 0 is any.
        let index = index.filter(|index| *index > 0);
        let fits = |container: &&ObservedContainer| {
            container.record.service == service
                && index.is_none_or(|index| container.record.number == index && !container.record.oneoff)
                && (!running || is_running(container))
        };
        let found = self.all.iter().filter(fits);
        let first = found.min_by_key(|container| (container.record.oneoff, container.record.number));
        first.ok_or_else(|| self.not_there(service, index, running))
    }

    /// Why there is nothing to pick.
    fn not_there(&self, service: &str, index: Option<u32>, running: bool) -> CommandError {
        if let Err(unknown) = self.check_services(&[service.to_owned()]) {
            return unknown;
        }
        let own = self.all.iter().filter(|it| it.record.service == service && !it.record.oneoff);
        let mut numbers: Vec<u32> = own.map(|it| it.record.number).collect();
        numbers.sort_unstable();
        let has = |index: u32| numbers.contains(&index);
        if let Some(index) = index.filter(|index| !numbers.is_empty() && !has(*index)) {
            let numbers: Vec<String> = numbers.iter().map(u32::to_string).collect();
            return CommandError::new(format!("service \"{service}\" has no container {index}"))
                .hint(format!("--index takes {}", numbers.join(", ")));
        }
        if numbers.is_empty() && !running {
            return CommandError::new(format!("service \"{service}\" has no container"))
                .hint(format!("make it with `windlass up -d {service}`; `windlass ps -a` shows what there is"));
        }
        let which = index.map_or_else(String::new, |index| format!("container {index} of "));
        CommandError::new(format!("{which}service \"{service}\" is not running"))
            .hint(format!("start it with `windlass up -d {service}`; `windlass ps -a` shows what there is"))
    }
}

/// Whether it has a process.
#[must_use]
pub fn is_running(container: &ObservedContainer) -> bool {
    matches!(container.state.status, Status::Running { .. })
}
