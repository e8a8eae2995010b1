//! `windlass exec`

use std::io::IsTerminal;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use clap::Args;

use crate::cli::containers::Containers;
use crate::cli::exit::{CommandError, INTERRUPTED};
use crate::cli::streams::{Carried, Streams};
use crate::cli::terminal::{self, DETACH_KEYS, RawMode, RelayEnd, relay};
use crate::cli::{CommandResult, Context};
use crate::engine::client::Client;
use crate::message::{Event, Request};
use crate::runtime::spec::ExecSpec;
use crate::state::ProjectPaths;

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

/// Runs a program in a container, on pipes whose other ends are the streams of this process, or on a terminal of its own that the person's becomes
/// one with; to its end unless it is to be `detached`.
pub(in crate::cli) fn execute(
    context: &Context,
    project: &ProjectPaths,
    container: &str,
    spec: ExecSpec,
    detached: bool,
) -> CommandResult {
    let tty = spec.tty;
    let request = Request::Exec { container: container.to_owned(), spec: Box::new(spec), detach: detached };
    let mut client = Client::connect_or_start(&context.paths, project)?;
    client.send(&request)?;
    let mut raw: Option<RawMode> = None;
    let mut streams: Option<Streams> = None;
    loop {
        if let Some(streams) = &mut streams {
            while streams.carry(&[client.as_fd()])? != Carried::Other {}
        }
        let (event, mut received) = client.receive()?;
        match event {
            Event::ExecStarted { .. } if tty => {
                let Some(master): Option<OwnedFd> = received.pop() else {
                    return Err(CommandError::new("the supervisor sent no terminal"));
                };
                raw = RawMode::enter().ok();
                let end = relay(&master, client.as_fd(), DETACH_KEYS)?;
                drop(raw.take());
                match end {
                    RelayEnd::Closed => {}
                    RelayEnd::Detached => return Ok(0),
                    RelayEnd::Signalled(signal) => {
                        // For whoever waits for it; when nobody does, it ends us here.
                        nix::sys::signal::raise(signal)?;
                        return Ok(INTERRUPTED);
                    }
                }
            }
            Event::ExecStarted { .. } if detached => return Ok(0),
            Event::ExecStarted { .. } => streams = Some(Streams::new(received)?),
            Event::Done { exit_code } => {
                if let Some(streams) = streams {
                    streams.finish();
                }
                drop(raw);
                return Ok(u8::try_from(exit_code & 0xff).unwrap_or(1));
            }
            Event::Failed(failure) => return Err(failure.into()),
            Event::Warning { text } => eprintln!("warning: {text}"),
            _ => {}
        }
    }
}
