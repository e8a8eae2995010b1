//! `windlass pull`

use clap::Args;

use crate::cli::images::{PullFlags, gather, open_store, platform_of, pull_options};
use crate::cli::load::Loading;
use crate::cli::names::choose;
use crate::cli::ui::progress::{ProgressEvent, State};
use crate::cli::{CommandResult, Context, names};
use crate::compose::model::Service;
use crate::image::pull::PullPolicy;
use crate::image::{ImageError, Platform, Reference, Store};

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
    let chosen = choose(project, &args.services, args.include_deps).map_err(|error| {
        let advice = "an image alone is pulled with `windlass image pull IMAGE`";
        names::or_an_image(error, &args.services, &names::services(project), advice)
    })?;
    let with_image = |name: &&String| {
        project.services.get(*name).is_some_and(|service| {
            // What is built has nothing to pull; so has the host root file system.
            service.image.is_some() && !(args.ignore_buildable && service.build.is_some())
        })
    };
    let store = open_store(context)?;
    let options = pull_options(context)?;
    let progress = context.progress("pull");
    let mut pulled = Vec::new();
    for name in chosen.iter().filter(with_image) {
        let Some(service) = project.services.get(name) else { continue };
        let platform = platform_of(name, service, &options)?;
        match skipped(&store, service, platform.as_ref(), args.policy.as_deref())? {
            Some(why) if !args.quiet => {
                let image = service.image.as_deref().unwrap_or_default();
                progress.event(ProgressEvent::new(format!("Image {image}"), "Skipped", State::Done).detail(why));
            }
            Some(_) => {}
            None => pulled.push(name.clone()),
        }
    }
    let mounted = (args.policy.as_deref() == Some("missing")).then_some(PullPolicy::Missing);
    let flags = PullFlags { policy: Some(PullPolicy::Always), mounted, quiet: args.quiet };
    let (_, failure) = gather(context, project, &pulled, &chosen, flags, &progress)?;
    progress.finish();
    match failure {
        Some(failure) if args.ignore_pull_failures => failure.print(context.palette()),
        Some(failure) => return Err(failure),
        None => {}
    }
    Ok(0)
}

/// Why the image of a service is not pulled, though a person asks for it: its policy says so, or the flag instead of
/// it. As in Docker Compose, `missing` asks again for `latest`, which means something else every day.
fn skipped(
    store: &Store,
    service: &Service,
    platform: Option<&Platform>,
    flag: Option<&str>,
) -> Result<Option<&'static str>, ImageError> {
    match flag.or(service.pull_policy.as_deref()) {
        Some("never") => return Ok(Some("its pull policy is never")),
        Some("build") => return Ok(Some("its pull policy is build")),
        Some("missing") => {}
        _ => return Ok(None),
    }
    let Some(reference) = service.image.as_deref().and_then(|image| image.parse::<Reference>().ok()) else {
        return Ok(None);
    };
    let moves = reference.digest().is_none() && reference.tag() == Some("latest");
    let here = !moves && store.has(&reference, platform)?;
    Ok(here.then_some("it is here already"))
}
