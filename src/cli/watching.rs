//! Following edits: what `watch` and `up --watch` share.

use std::collections::BTreeMap;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::sync::Arc;

use clap::ValueEnum;

use super::desired::{ImageArgs, desired};
use super::images::{self, PullFlags};
use super::load::Loaded;
use super::ui::progress::{Mode, Progress};
use super::ui::style::Palette;
use super::ui::watch;
use super::{CommandError, Context};
use crate::compose::model::Project;
use crate::engine::packages;
use crate::engine::watch::{Session, Subject, Wanted, WatchEvent};
use crate::image::pull::PullPolicy;
use crate::plan::lower::{self, Locks, Watched};

/// How events are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    Text,
    Json,
}

/// What is followed: services of a project, as they were brought up.
#[derive(Debug, Clone, Copy)]
pub struct Following<'a> {
    pub context: &'a Context,
    pub loaded: &'a Loaded,
    pub services: &'a [String],
    /// `--scale`
    pub scale: &'a BTreeMap<String, u32>,
}

impl Following<'_> {
    /// The lock files of those that install packages.
    fn locks(&self) -> Result<BTreeMap<String, Locks>, CommandError> {
        let Self { context, loaded, services, .. } = *self;
        let project = &loaded.project;
        let services: Vec<String> = services.iter().filter(|name| installs(project, name)).cloned().collect();
        if services.is_empty() {
            return Ok(BTreeMap::new());
        }
        let images = images::ensure(context, project, &services, AS_THEY_ARE, &silent())?;
        packages::locks(project, &images).map_err(|faults| context.unfit(loaded, &faults))
    }

    fn wanted(&self) -> Wanted {
        let (context, loaded, scale) = (self.context.clone(), self.loaded.clone(), self.scale.clone());
        let images = ImageArgs { pull: Some("never".to_owned()), ..ImageArgs::default() };
        Wanted(Arc::new(move |service| {
            let services = [service.to_owned()];
            Ok(desired(&context, &loaded, &services, &scale, &images, &silent())?)
        }))
    }
}

/// Images are here by now.
const AS_THEY_ARE: PullFlags = PullFlags { policy: Some(PullPolicy::Never), mounted: None, quiet: true };

fn installs(project: &Project, service: &str) -> bool {
    project.services.get(service).is_some_and(|service| service.windlass.install.is_some())
}

fn silent() -> Progress {
    Progress::start("watch", Mode::Quiet, Palette::plain())
}

/// What is to be watched of these services. Rules without effect are told.
///
/// # Errors
/// When a rule cannot be followed, or there is none.
pub fn rules(context: &Context, loaded: &Loaded, services: &[String]) -> Result<Vec<Watched>, CommandError> {
    let project = &loaded.project;
    let (watched, warnings) = lower::watch(project, services).map_err(|faults| context.unfit(loaded, &faults))?;
    for fault in warnings {
        let event = WatchEvent::Warning { text: fault.message, hint: fault.hint, place: Some(fault.path) };
        if let WatchEvent::Warning { text, hint, place } = &event {
            eprint!("{}", watch::warning(text, hint.as_deref(), place.as_deref(), project, context.palette()));
        }
    }
    if watched.is_empty() && !services.iter().any(|name| installs(project, name)) {
        return Err(CommandError::new("none of the selected services is configured for watch").hint(
            "write rules below `develop.watch`, or `x-windlass: { reload: restart }` for a service with bind mounts",
        ));
    }
    Ok(watched)
}

/// Begins to watch, and says so.
///
/// # Errors
/// When the kernel has no inotify instance left.
pub fn start(following: &Following<'_>, mut services: Vec<Watched>, format: Format) -> Result<Watching, CommandError> {
    let Following { context, loaded, .. } = *following;
    let project = &loaded.project;
    lower::watch_locks(&following.locks()?, &mut services);
    let names: Vec<String> = services.iter().map(|service| service.service.clone()).collect();
    let subject = Subject {
        paths: context.paths.clone(),
        project: context.paths.project(&project.name),
        services,
        wanted: following.wanted(),
    };
    let session = Session::start(subject)?;
    let watching = Watching {
        folder: project.working_dir.clone(),
        order: project.services.keys().cloned().collect(),
        width: names.iter().map(String::len).max().unwrap_or(0),
        palette: context.palette_of_stdout(),
        project: project.clone(),
        session,
        format,
    };
    match format {
        Format::Text => println!("{}", watch::enabled(&names, watching.session.folders, watching.session.took)),
        Format::Json => println!("{}", watch::enabled_json(&names, watching.session.folders, watching.session.took)),
    }
    Ok(watching)
}

/// A watch under way.
#[derive(Debug)]
pub struct Watching {
    session: Session,
    format: Format,
    palette: Palette,
    /// Paths are shown from here.
    folder: PathBuf,
    /// Services as the file has them, for their colours.
    order: Vec<String>,
    width: usize,
    project: Project,
}

impl Watching {
    /// Readable when [`Watching::print`] has something to do.
    #[must_use]
    pub fn as_fd(&self) -> BorrowedFd<'_> {
        self.session.as_fd()
    }

    /// Prints what has happened since the last time.
    pub fn print(&self) {
        for event in self.session.events() {
            match &event {
                _ if self.format == Format::Json => println!("{}", watch::json(&event, &self.project)),
                WatchEvent::Warning { text, hint, place } => {
                    eprint!("{}", watch::warning(text, hint.as_deref(), place.as_deref(), &self.project, self.palette));
                }
                WatchEvent::Said { service, text } => {
                    print!("{}", watch::said(service, text, &self.order, self.width, self.palette));
                }
                WatchEvent::Applied(applied) => {
                    let text = watch::applied(applied, &self.folder, &self.order, self.width, self.palette);
                    match applied.result.is_ok() {
                        true => print!("{text}"),
                        false => eprint!("{text}"),
                    }
                }
            }
        }
    }
}
