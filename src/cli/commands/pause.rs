//! `windlass pause` and `windlass unpause`

use clap::Args;

use crate::cli::act::act;
use crate::cli::{CommandResult, Context};
use crate::plan::Action;

#[derive(Debug, Args)]
pub struct PauseArgs {
    /// Services; all by default
    pub services: Vec<String>,
}

/// # Errors
/// When a container is paused already, or cannot be.
pub fn pause(args: &PauseArgs, context: &Context) -> CommandResult {
    act(context, "pause", Action::Pause, &args.services, None)
}

/// # Errors
/// When a container is not paused.
pub fn unpause(args: &PauseArgs, context: &Context) -> CommandResult {
    act(context, "unpause", Action::Unpause, &args.services, None)
}
