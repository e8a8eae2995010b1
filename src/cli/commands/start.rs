//! `windlass start`

use clap::Args;

use crate::cli::act::ask;
use crate::cli::conversation::converge;
use crate::cli::{CommandError, CommandResult, Context};
use crate::message::Request;
use crate::plan::{Action, Selection};
use crate::record::inventory;

#[derive(Debug, Args)]
pub struct StartArgs {
    /// Services to start, with what they depend on; all by default
    pub services: Vec<String>,
    /// Wait until the services run or are healthy
    #[arg(long)]
    pub wait: bool,
    /// Give up waiting after this many seconds
    #[arg(long, value_name = "SECONDS")]
    pub wait_timeout: Option<u64>,
}

/// # Errors
/// When a service has no container, or one does not start.
pub fn run(args: &StartArgs, context: &Context) -> CommandResult {
    context.require_root()?;
    let paths = context.named(&args.services)?;
    let containers = inventory::containers(&paths)?;
    let own = |service: &str| containers.iter().any(|have| have.record.service == service && !have.record.oneoff);
    if let Some(service) = args.services.iter().find(|service| !own(service)) {
        return Err(CommandError::new(format!("service \"{service}\" has no container to start"))
            .hint(format!("`windlass up -d {service}` makes one")));
    }
    if containers.is_empty() {
        return Err(CommandError::new(format!("project \"{}\" has no container to start", paths.name()))
            .hint("`windlass up -d` makes them"));
    }
    let selection = Selection { services: args.services.clone(), ..Selection::default() };
    ask(context, "start", &paths, Action::Start, selection, None)?;
    if args.wait && !context.global.dry_run {
        let chosen = containers.iter().filter(|have| {
            !have.record.oneoff && (args.services.is_empty() || args.services.contains(&have.record.service))
        });
        let containers = chosen.map(|have| have.record.id.clone()).collect();
        let timeout_ms = args.wait_timeout.map(|seconds| seconds.saturating_mul(1000));
        converge(context, &paths, &Request::Wait { containers, timeout_ms }, &context.progress("start"))?;
    }
    Ok(0)
}
