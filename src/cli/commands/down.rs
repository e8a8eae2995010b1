//! `windlass down`

use clap::Args;

use crate::cli::conversation::converge;
use crate::cli::load::Loading;
use crate::cli::{CommandError, CommandResult, Context};
use crate::compose::LoadOptions;
use crate::engine::message::Request;
use crate::plan::DownOptions;
use crate::plan::lower::project_record;
use crate::supervisor::record::ProjectRecord;
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
}

/// # Errors
/// When something cannot be removed.
pub fn run(args: &DownArgs, context: &Context) -> CommandResult {
    context.require_root()?;
    let paths = context.project_paths()?;
    let exists = paths.data().exists() || paths.run().exists();
    let project = match declared(context) {
        Ok(project) => project,
        // What runs can be taken down even when its file is broken by now.
        Err(error) if exists => {
            error.print(context.palette());
            None
        }
        Err(error) => return Err(error),
    };
    let progress = context.progress("down");
    let store = Store::new(&context.paths);
    let volume_left = |project: &ProjectRecord| {
        project.volumes.iter().any(|volume| !volume.external && matches!(store.find(&volume.name), Ok(Some(_))))
    };
    if !(exists || args.volumes && project.as_ref().is_some_and(volume_left)) {
        progress.note(&format!("warning: no resource found to remove for project \"{}\"", paths.name()));
        return Ok(0);
    }
    let request = Request::Down {
        options: DownOptions {
            services: args.services.clone(),
            volumes: args.volumes,
            remove_orphans: args.remove_orphans,
        },
        project,
        timeout_ms: args.timeout.map(|seconds| seconds * 1000),
        dry_run: context.global.dry_run,
    };
    converge(context, &paths, &request, &progress)?;
    Ok(0)
}

/// What the files say now; nothing when there are no files and the project is named.
fn declared(context: &Context) -> Result<Option<ProjectRecord>, CommandError> {
    let named = context.global.project_name.is_some() || context.environment.contains_key("COMPOSE_PROJECT_NAME");
    if named && !context.has_compose_file() {
        return Ok(None);
    }
    let options = LoadOptions { all_resources: true, resolve_environment: false, ..LoadOptions::default() };
    let loaded = context.load(&Loading { options, ..Loading::default() })?;
    Ok(Some(project_record(&loaded.project)))
}
