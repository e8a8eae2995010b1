//! `windlass stop`

use clap::Args;

use crate::cli::act::act;
use crate::cli::{CommandResult, Context};
use crate::plan::Action;

#[derive(Debug, Args)]
pub struct StopArgs {
    /// Services to stop; all by default
    pub services: Vec<String>,
    /// Grace period in seconds, instead of each container's own
    #[arg(short = 't', long, value_name = "SECONDS")]
    pub timeout: Option<u64>,
}

/// # Errors
/// When a container cannot be stopped.
pub fn run(args: &StopArgs, context: &Context) -> CommandResult {
    act(context, "stop", Action::Stop, &args.services, args.timeout)
}
