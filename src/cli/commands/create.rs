//! `windlass create`

use clap::Args;

use crate::cli::converging::{Orphans, volumes_to_renew};
use crate::cli::conversation::converge;
use crate::cli::desired::{ImageArgs, desired, scale};
use crate::cli::load::Loading;
use crate::cli::names::choose;
use crate::cli::{CommandResult, Context};
use crate::message::Request;
use crate::plan::UpOptions;

#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Services to create containers for, with what they depend on; all by default
    pub services: Vec<String>,
    #[command(flatten)]
    pub images: ImageArgs,
    /// Create the containers again even when nothing changed
    #[arg(long)]
    pub force_recreate: bool,
    /// Keep containers that exist, even when their configuration changed
    #[arg(long, conflicts_with = "force_recreate")]
    pub no_recreate: bool,
    /// Remove containers of services that the file no longer has
    #[arg(long)]
    pub remove_orphans: bool,
    /// Number of containers of a service (can be repeated)
    #[arg(long, value_name = "SERVICE=N")]
    pub scale: Vec<String>,
    /// Answer every question with yes: volumes that exist in another form than the file's are made anew
    #[arg(short = 'y', long)]
    pub yes: bool,
}

/// # Errors
/// When the file is wrong or a container cannot be created.
pub fn run(args: &CreateArgs, context: &Context) -> CommandResult {
    context.require_root()?;
    let loaded = context.load(&Loading { services: args.services.clone(), ..Loading::default() })?;
    let chosen = choose(&loaded.project, &args.services, true)?;
    let scale = scale(&args.scale, &loaded.project)?;
    let progress = context.progress("create");
    let desired = desired(context, &loaded, &chosen, &scale, &args.images, &progress)?;
    let orphans = Orphans::of(args.remove_orphans, &loaded.project.environment)?;
    let renew_volumes = volumes_to_renew(context, &desired, args.yes)?;
    let request = Request::Up {
        desired: Box::new(desired),
        options: UpOptions {
            force_recreate: args.force_recreate,
            no_recreate: args.no_recreate,
            remove_orphans: orphans.remove,
            ignore_orphans: orphans.ignore,
            renew_volumes,
            no_start: true,
            named: args.services.clone(),
            ..UpOptions::default()
        },
        timeout_ms: None,
        dry_run: context.global.dry_run,
    };
    converge(context, &context.paths.project(&loaded.project.name), &request, &progress)?;
    Ok(0)
}
