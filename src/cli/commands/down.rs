//! `windlass down`

use clap::Args;

use crate::cli::{CommandResult, Context};

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
    /// Remove images too: `all`, or `local` for those without a name of their own
    #[arg(long, value_name = "KIND", value_parser = ["all", "local"])]
    pub rmi: Option<String>,
}

/// # Errors
/// When something cannot be removed.
pub fn run(_args: &DownArgs, context: &Context) -> CommandResult {
    context.require_root()?;
    Ok(0)
}
