//! `windlass rm`

use std::io::{self, BufRead, Write};

use clap::Args;

use crate::cli::act::{act, ask};
use crate::cli::{CommandResult, Context};
use crate::plan::{Action, Selection};
use crate::record::truth;
use crate::record::{ObservedContainer, Status};

#[derive(Debug, Args)]
pub struct RmArgs {
    /// Services whose stopped containers are removed; all by default
    pub services: Vec<String>,
    /// Do not ask
    #[arg(short = 'f', long)]
    pub force: bool,
    /// Stop the containers first
    #[arg(short = 's', long)]
    pub stop: bool,
    /// Remove their anonymous volumes too
    #[arg(short = 'v', long)]
    pub volumes: bool,
    /// Without effect, as in docker compose
    #[arg(short = 'a', long, hide = true)]
    pub all: bool,
}

/// # Errors
/// When a container cannot be stopped or removed.
pub fn run(args: &RmArgs, context: &Context) -> CommandResult {
    context.require_root()?;
    let paths = context.named(&args.services)?;
    if args.stop {
        act(context, "stop", Action::Stop, &args.services, None)?;
    }
    let known = if args.services.is_empty() { context.enabled()? } else { None };
    let is_chosen = |have: &ObservedContainer| {
        let service = &have.record.service;
        let of_file = known.as_ref().is_none_or(|known| known.contains(service));
        let named = if args.services.is_empty() { of_file } else { args.services.contains(service) };
        let running = matches!(have.state.status, Status::Running { .. } | Status::Restarting { .. });
        named && !have.record.oneoff && (!running || (args.stop && context.global.dry_run))
    };
    let stopped: Vec<_> = truth::containers(&paths)?.into_iter().filter(|have| is_chosen(have)).collect();
    if stopped.is_empty() {
        context.progress("rm").note("No stopped containers");
        return Ok(0);
    }
    let names: Vec<&str> = stopped.iter().map(|have| have.record.name.as_str()).collect();
    let question = format!("Going to remove {}", names.join(", "));
    if args.force || context.global.dry_run {
        println!("{question}");
    } else if !confirmed(&question)? {
        return Ok(0);
    }
    let containers = stopped.into_iter().map(|have| have.record.id).collect();
    let selection = Selection { containers, ..Selection::default() };
    ask(context, "rm", &paths, Action::Remove { volumes: args.volumes }, selection, None)?;
    Ok(0)
}

/// No answer is a no.
fn confirmed(question: &str) -> io::Result<bool> {
    print!("{question}? [yN] ");
    io::stdout().flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes" | "t" | "true" | "1"))
}
