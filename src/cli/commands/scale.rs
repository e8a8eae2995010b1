//! `windlass scale`

use clap::Args;

use crate::cli::conversation::converge;
use crate::cli::desired::{self, ImageArgs, desired};
use crate::cli::load::Loading;
use crate::cli::names::choose;
use crate::cli::{CommandResult, Context};
use crate::message::Request;
use crate::plan::UpOptions;

#[derive(Debug, Args)]
pub struct ScaleArgs {
    /// Services and how many containers each is to have
    #[arg(required = true, value_name = "SERVICE=N")]
    pub scale: Vec<String>,
    /// Do not start what the services depend on
    #[arg(long)]
    pub no_deps: bool,
}

/// # Errors
/// When the file is wrong or a container does not start.
pub fn run(args: &ScaleArgs, context: &Context) -> CommandResult {
    context.require_root()?;
    let name = |argument: &String| argument.split_once('=').map_or(argument.as_str(), |(name, _)| name).to_owned();
    let named: Vec<String> = args.scale.iter().map(name).collect();
    let loaded = context.load(&Loading { services: named.clone(), ..Loading::default() })?;
    let scale = desired::scale(&args.scale, &loaded.project)?;
    let chosen = choose(&loaded.project, &named, !args.no_deps)?;
    let progress = context.progress("scale");
    let desired = desired(context, &loaded, &chosen, &scale, &ImageArgs::default(), &progress)?;
    let request = Request::Up {
        desired: Box::new(desired),
        options: UpOptions { named, ..UpOptions::default() },
        timeout_ms: None,
        dry_run: context.global.dry_run,
    };
    converge(context, &context.paths.project(&loaded.project.name), &request, &progress)?;
    Ok(0)
}
