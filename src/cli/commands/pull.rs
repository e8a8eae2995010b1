//! `windlass pull`

use clap::Args;

use crate::cli::images::{PullFlags, ensure};
use crate::cli::load::Loading;
use crate::cli::names::choose;
use crate::cli::{CommandResult, Context, names};
use crate::image::pull::PullPolicy;

#[derive(Debug, Args)]
pub struct PullArgs {
    /// Services whose images to pull; all by default
    pub services: Vec<String>,
    /// Leave out images that can be built
    #[arg(long)]
    pub ignore_buildable: bool,
    /// Pull what can be pulled, and do not fail for the rest
    #[arg(long)]
    pub ignore_pull_failures: bool,
    /// Pull images of dependencies too
    #[arg(long)]
    pub include_deps: bool,
    /// When to pull
    #[arg(long, value_name = "POLICY", value_parser = ["missing", "always"])]
    pub policy: Option<String>,
    /// Print no progress
    #[arg(short = 'q', long)]
    pub quiet: bool,
}

/// # Errors
/// When an image cannot be pulled.
pub fn run(args: &PullArgs, context: &Context) -> CommandResult {
    context.require_root()?;
    let loaded = context.load(&Loading { services: args.services.clone(), ..Loading::default() })?;
    let project = &loaded.project;
    let chosen = choose(project, &args.services, args.include_deps)
        .map_err(|error| {
            let advice = "an image alone is pulled with `windlass image pull IMAGE`";
            names::or_an_image(error, &args.services, &names::services(project), advice)
        })?
        .into_iter()
        .filter(|name| {
            project.services.get(name).is_some_and(|service| {
                // What is built has nothing to pull; so has the host root file system.
                service.image.is_some() && !(args.ignore_buildable && service.build.is_some())
            })
        })
        .collect::<Vec<_>>();
    let flags = PullFlags {
        policy: Some(crate::cli::desired::policy(args.policy.as_deref()).unwrap_or(PullPolicy::Always)),
        quiet: args.quiet,
        ignore_failures: args.ignore_pull_failures,
    };
    ensure(context, project, &chosen, flags, &context.progress("pull"))?;
    Ok(0)
}
