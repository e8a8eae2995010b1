//! `windlass exec`

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Args;

use crate::cli::containers::Containers;
use crate::cli::execute::execute;
use crate::cli::terminal;
use crate::cli::{CommandResult, Context};
use crate::runtime::spec::ExecSpec;

#[derive(Debug, Args)]
pub struct ExecArgs {
    /// Run in the background
    #[arg(short = 'd', long)]
    pub detach: bool,
    /// Set an environment variable, or pass one of the shell's on (can be repeated)
    #[arg(short = 'e', long, value_name = "KEY[=VALUE]")]
    pub env: Vec<String>,
    /// Number of the replica
    #[arg(long, default_value_t = 0, value_name = "N")]
    pub index: u32,
    /// Give the process all capabilities
    #[arg(long)]
    pub privileged: bool,
    /// Do not allocate a terminal
    #[arg(short = 'T', long = "no-tty", visible_alias = "no-TTY")]
    pub no_tty: bool,
    /// Run as this user
    #[arg(short = 'u', long, value_name = "USER[:GROUP]")]
    pub user: Option<String>,
    /// Working directory in the container
    #[arg(short = 'w', long, value_name = "DIR")]
    pub workdir: Option<PathBuf>,
    /// Keep standard input open; always so
    #[arg(short = 'i', long, hide = true)]
    pub interactive: bool,
    /// Allocate a terminal; always so when there is one
    #[arg(short = 't', long, hide = true)]
    pub tty: bool,
    pub service: String,
    /// Command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub command: Vec<String>,
}

/// # Errors
/// When the service does not run or the command cannot be started.
pub fn run(args: &ExecArgs, context: &Context) -> CommandResult {
    let containers = Containers::of_service(context, &args.service)?;
    let project = &containers.project;
    let record = &containers.pick(&args.service, Some(args.index), true)?.record;
    let tty = !args.no_tty && !args.detach && std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let spec = ExecSpec {
        args: args.command.clone(),
        env: args
            .env
            .iter()
            .filter_map(|variable| match variable.split_once('=') {
                Some(_) => Some(variable.clone()),
                None => context.environment.get(variable).map(|value| format!("{variable}={value}")),
            })
            .collect(),
        cwd: args.workdir.clone(),
        user: args.user.clone(),
        tty,
        size: terminal::size(),
        privileged: args.privileged,
    };
    execute(context, project, &record.id, spec, args.detach)
}
