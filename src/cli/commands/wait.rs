//! `windlass wait`

use clap::Args;

use crate::cli::conversation::converge;
use crate::cli::{CommandError, CommandResult, Context};
use crate::engine::client::Client;
use crate::engine::message::{Event, Request};
use crate::engine::truth;
use crate::plan::DownOptions;
use crate::supervisor::record::Status;

#[derive(Debug, Args)]
pub struct WaitArgs {
    /// Services whose containers are waited for
    #[arg(required = true)]
    pub services: Vec<String>,
    /// Take the project down when they have ended
    #[arg(long)]
    pub down_project: bool,
}

/// # Errors
/// When there is nothing to wait for.
pub fn run(args: &WaitArgs, context: &Context) -> CommandResult {
    context.require_root()?;
    let paths = context.named(&args.services)?;
    let waited_for: Vec<String> = truth::containers(&paths)?
        .into_iter()
        .filter(|have| args.services.contains(&have.record.service) && !matches!(have.state.status, Status::Created))
        .map(|have| have.record.id)
        .collect();
    if waited_for.is_empty() {
        return Err(CommandError::new(format!("no containers for project \"{}\"", paths.name()))
            .hint(format!("`windlass up -d {}` makes and starts them", args.services.join(" "))));
    }
    let mut client = Client::connect_or_start(&context.paths, &paths)?;
    client.send(&Request::Follow { containers: waited_for })?;
    let mut code = 0;
    loop {
        match client.receive()?.0 {
            Event::Exited { container, exit_code, last: true } => {
                println!("container \"{}\" exited with status code {exit_code}", container.id);
                code = exit_code;
            }
            Event::Done { .. } => break,
            Event::Failed(failure) => return Err(failure.into()),
            _ => {}
        }
    }
    drop(client);
    if args.down_project {
        let options = DownOptions { remove_orphans: true, ..DownOptions::default() };
        let request = Request::Down { options, project: None, timeout_ms: None, dry_run: context.global.dry_run };
        converge(context, &paths, &request, &context.progress("down"))?;
    }
    Ok(u8::try_from(code & 0xff).unwrap_or(1))
}
