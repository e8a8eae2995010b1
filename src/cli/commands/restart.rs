//! `windlass restart`

use clap::Args;

use crate::cli::act::act;
use crate::cli::{CommandResult, Context};
use crate::plan::Action;

#[derive(Debug, Args)]
pub struct RestartArgs {
    /// Services to restart; all by default
    pub services: Vec<String>,
    /// Leave services alone that want to be restarted with these
    #[arg(long)]
    pub no_deps: bool,
    /// Grace period in seconds, instead of each container's own
    #[arg(short = 't', long, value_name = "SECONDS")]
    pub timeout: Option<u64>,
}

/// # Errors
/// When a container cannot be stopped or started.
pub fn run(args: &RestartArgs, context: &Context) -> CommandResult {
    let action = Action::Restart { dependents: !args.no_deps };
    act(context, "restart", action, &args.services, args.timeout)
}
