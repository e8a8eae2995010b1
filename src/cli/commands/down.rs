//! `windlass down`

use clap::Args;

use crate::cli::conversation::ask;
use crate::cli::{CommandResult, Context};
use crate::engine::client::Client;
use crate::engine::message::Request;
use crate::plan::DownOptions;

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
}

/// # Errors
/// When something cannot be removed.
pub fn run(args: &DownArgs, context: &Context) -> CommandResult {
    context.require_root()?;
    let paths = context.project_paths()?;
    let progress = context.progress("down");
    if !paths.data().exists() && !paths.run().exists() {
        progress.note(&format!("warning: no resource found to remove for project \"{}\"", paths.name()));
        return Ok(0);
    }
    let mut client = Client::connect_or_start(&context.paths, &paths)?;
    let request = Request::Down {
        options: DownOptions {
            services: args.services.clone(),
            volumes: args.volumes,
            remove_orphans: args.remove_orphans,
        },
        project: None,
        timeout_ms: args.timeout.map(|seconds| seconds * 1000),
        dry_run: context.global.dry_run,
    };
    ask(&mut client, &request, &[], &progress)?;
    Ok(0)
}
