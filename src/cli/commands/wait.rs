//! `windlass wait`

use clap::Args;

use crate::cli::conversation::converge;
use crate::cli::{CommandError, CommandResult, Context};
use crate::engine::client::Client;
use crate::message::{Request, Response};
use crate::plan::DownOptions;
use crate::record::Status;
use crate::record::truth;
use crate::state::ProjectPaths;

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
    let mut waited_for = truth::containers(&paths)?;
    waited_for
        .retain(|have| args.services.contains(&have.record.service) && !matches!(have.state.status, Status::Created));
    if waited_for.is_empty() {
        return Err(CommandError::new(format!("no containers for project \"{}\"", paths.name()))
            .hint(format!("`windlass up -d {}` makes and starts them", args.services.join(" "))));
    }
    let code = match context.global.dry_run {
        true => {
            let progress = context.progress("wait");
            let names = waited_for.iter().map(|have| &have.record.name);
            names.for_each(|name| progress.note(&format!("wait for the end of container {name}: as asked for")));
            0
        }
        false => follow(context, &paths, waited_for.into_iter().map(|have| have.record.id).collect())?,
    };
    if args.down_project {
        let options = DownOptions { remove_orphans: true, ..DownOptions::default() };
        let request = Request::Down { options, project: None, timeout_ms: None, dry_run: context.global.dry_run };
        converge(context, &paths, &request, &context.progress("down"))?;
    }
    Ok(u8::try_from(code & 0xff).unwrap_or(1))
}

/// Tells of the end of each; the exit code of the last.
fn follow(context: &Context, paths: &ProjectPaths, containers: Vec<String>) -> Result<i32, CommandError> {
    let mut client = Client::connect_or_start(&context.paths, paths)?;
    client.send(&Request::Follow { containers })?;
    let mut code = 0;
    loop {
        match client.receive()?.0 {
            Response::Exited { container, exit_code, last: true } => {
                println!("container \"{}\" exited with status code {exit_code}", container.id);
                code = exit_code;
            }
            Response::Done { .. } => return Ok(code),
            Response::Failed(failure) => return Err(failure.into()),
            _ => {}
        }
    }
}
