//! `windlass kill`

use clap::Args;

use crate::cli::act::ask;
use crate::cli::converging::is_set;
use crate::cli::{CommandError, CommandResult, Context};
use crate::plan::{Action, Selection};
use crate::record::signal;

#[derive(Debug, Args)]
pub struct KillArgs {
    /// Services whose containers get the signal; all by default
    pub services: Vec<String>,
    /// Name or number of the signal
    #[arg(short = 's', long, value_name = "SIGNAL", default_value = "SIGKILL")]
    pub signal: String,
    /// Also containers of services that the file no longer has
    #[arg(long)]
    pub remove_orphans: bool,
}

/// # Errors
/// When there is no such signal, or it cannot be sent.
pub fn run(args: &KillArgs, context: &Context) -> CommandResult {
    context.require_root()?;
    if signal::parse(&args.signal).is_none() {
        return Err(CommandError::new(format!("`{}` is not a signal", args.signal))
            .hint("write a name such as SIGHUP or HUP, or a number"));
    }
    let paths = context.named(&args.services)?;
    if !paths.data().exists() {
        context.progress("kill").note("No container to kill");
        return Ok(0);
    }
    let selection = Selection {
        services: args.services.clone(),
        oneoff: true,
        orphans: args.remove_orphans || is_set(&context.environment, "COMPOSE_REMOVE_ORPHANS"),
        ..Selection::default()
    };
    ask(context, "kill", &paths, Action::Signal { signal: args.signal.clone() }, selection, None)?;
    Ok(0)
}
