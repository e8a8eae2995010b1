//! `windlass down`

use std::collections::BTreeSet;

use clap::{Args, ValueEnum};

use crate::cli::converging::is_set;
use crate::cli::conversation::converge;
use crate::cli::images::open_store;
use crate::cli::load::{Loaded, Loading};
use crate::cli::ui::progress::{self, Progress, State};
use crate::cli::{CommandError, CommandResult, Context};
use crate::compose::LoadOptions;
use crate::image::{ImageError, Reference, Uses};
use crate::message::Request;
use crate::plan::DownOptions;
use crate::plan::lower::project_record;
use crate::record::ProjectRecord;
use crate::state::{Lock, ProjectPaths};
use crate::volumes::Store;

#[derive(Debug, Args)]
pub struct DownArgs {
    /// Services to remove; everything by default
    pub services: Vec<String>,
    /// Remove the volumes that the file declares, and anonymous ones
    #[arg(short = 'v', long)]
    pub volumes: bool,
    /// Remove containers of services that the file no longer has
    #[arg(long)]
    pub remove_orphans: bool,
    /// Grace period in seconds
    #[arg(short = 't', long, value_name = "SECONDS")]
    pub timeout: Option<u64>,
    /// Remove the images of the services too: `all`, or those that were built here and have no name of their own
    #[arg(long, value_name = "WHICH")]
    pub rmi: Option<Rmi>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Rmi {
    All,
    /// None: windlass builds no images
    Local,
}

/// # Errors
/// When something cannot be removed.
pub fn run(args: &DownArgs, context: &Context) -> CommandResult {
    context.require_root()?;
    let paths = context.named(&args.services)?;
    let exists = paths.data().exists() || paths.run().exists();
    let loaded = match declared(context) {
        Ok(loaded) => loaded,
        // What runs can be taken down even when its file is broken by now.
        Err(error) if exists => {
            error.print(context.palette());
            None
        }
        Err(error) => return Err(error),
    };
    let project = loaded.as_ref().map(|loaded| project_record(&loaded.project));
    let progress = context.progress("down");
    let store = Store::new(&context.paths);
    let volume_left = |project: &ProjectRecord| {
        project.volumes.iter().any(|volume| !volume.external && store.has_begun(&volume.name))
    };
    let left = || project.as_ref().is_some_and(volume_left) || !store.packages_of(paths.name()).is_empty();
    if !(exists || args.volumes && left()) {
        if !context.global.dry_run {
            discard_lock(&paths);
        }
        progress.note(&format!("warning: no resource found to remove for project \"{}\"", paths.name()));
        return Ok(0);
    }
    // As the peer: where the project is named, its files are not asked.
    let by_files = !context.global.files.is_empty() || !context.is_named();
    let disabled = loaded.iter().filter(|_| by_files).flat_map(|loaded| &loaded.project.disabled_services);
    let disabled = disabled.map(|(name, service)| (name.clone(), service.profiles.clone())).collect();
    let variables = loaded.as_ref().map_or(&context.environment, |loaded| &loaded.project.environment);
    let request = Request::Down {
        options: DownOptions {
            services: args.services.clone(),
            disabled,
            volumes: args.volumes,
            remove_orphans: args.remove_orphans || is_set(variables, "COMPOSE_REMOVE_ORPHANS"),
            ignore_orphans: is_set(variables, "COMPOSE_IGNORE_ORPHANS"),
        },
        project,
        timeout_ms: args.timeout.map(|seconds| seconds * 1000),
        dry_run: context.global.dry_run,
    };
    converge(context, &paths, &request, &progress)?;
    if let (Some(Rmi::All), Some(loaded)) = (args.rmi, &loaded) {
        remove_images(args, context, loaded, &progress)?;
    }
    Ok(0)
}

/// Images that something else uses stay, and so do those that never came.
fn remove_images(args: &DownArgs, context: &Context, loaded: &Loaded, progress: &Progress) -> Result<(), CommandError> {
    let chosen = |name: &String| args.services.is_empty() || args.services.contains(name);
    let services = loaded.project.services.iter().filter(|(name, _)| chosen(name));
    let images: BTreeSet<&str> = services.filter_map(|(_, service)| service.image.as_deref()).collect();
    if images.is_empty() {
        return Ok(());
    }
    let store = open_store(context)?;
    let uses = Uses::read(&context.paths.projects())?;
    for image in images {
        if context.global.dry_run {
            // What still uses it is known when the containers are gone.
            if let Some(image) = store.resolve(image)? {
                let name = image.references.first().map_or_else(|| image.id.short(), Reference::familiar);
                progress.note(&format!("remove image {name}: --rmi all"));
            }
            continue;
        }
        let (status, state) = match store.remove(image, &uses, false) {
            Ok(_) => ("Removed", State::Done),
            Err(ImageError::NotFound(_)) => ("No resource found to remove", State::Warning),
            Err(ImageError::InUse { .. }) => ("Resource is still in use", State::Warning),
            Err(error) => return Err(error.into()),
        };
        progress.event(progress::ProgressEvent::new(format!("Image {image}"), status.to_owned(), state));
    }
    Ok(())
}

/// The lock goes last: of a project that was killed just before, it is all that is left.
fn discard_lock(paths: &ProjectPaths) {
    if paths.lock().exists()
        && let Ok(lock) = Lock::acquire(&paths.lock())
        && !paths.run().exists()
    {
        // Best effort: it is an empty file.
        let _ = lock.remove();
    }
}

impl Context {
    /// Whether the project's name is given.
    fn is_named(&self) -> bool {
        self.global.project_name.is_some() || self.environment.contains_key("COMPOSE_PROJECT_NAME")
    }
}

/// What the files say now; nothing when there are no files and the project is named.
fn declared(context: &Context) -> Result<Option<Loaded>, CommandError> {
    if context.is_named() && !context.has_compose_file() {
        return Ok(None);
    }
    let options = LoadOptions { all_resources: true, resolve_environment: false, ..LoadOptions::default() };
    context.load(&Loading { options, ..Loading::default() }).map(Some)
}
