//! `windlass logs`

use std::io::{self, IsTerminal};
use std::os::fd::AsFd;

use clap::Args;
use jiff::Timestamp;

use crate::cli::containers::Containers;
use crate::cli::exit::{INTERRUPTED, USAGE};
use crate::cli::logs::{Screen, parse_tail, parse_time, remaining};
use crate::cli::signals::Interrupts;
use crate::cli::standstill::Standstill;
use crate::cli::ui::prefix::Prefixes;
use crate::cli::ui::style::Palette;
use crate::cli::{CommandError, CommandResult, Context};
use crate::engine::logs::{Follower, LogSelection, Waited};
use crate::record::logs::reader::Span;

#[derive(Debug, Args)]
pub struct LogsArgs {
    /// Services to show; all by default
    pub services: Vec<String>,
    /// Go on with what is written from now on
    #[arg(short = 'f', long)]
    pub follow: bool,
    /// Number of the replica
    #[arg(long, value_name = "N")]
    pub index: Option<u32>,
    /// Print no colours
    #[arg(long)]
    pub no_color: bool,
    /// Print no prefix before log lines
    #[arg(long)]
    pub no_log_prefix: bool,
    /// From this time on: 2026-01-02T13:23:37Z, or how long ago: 42m
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// Only the last lines of each container: a number, or `all`
    #[arg(short = 'n', long, value_name = "LINES", default_value = "all", allow_hyphen_values = true)]
    pub tail: String,
    /// What containers wrote to standard error goes to standard error
    #[arg(long)]
    pub split_streams: bool,
    /// Show when each line was written
    #[arg(short = 't', long)]
    pub timestamps: bool,
    /// Up to this time: 2026-01-02T13:23:37Z, or how long ago: 42m
    #[arg(long, value_name = "TIME")]
    pub until: Option<String>,
}

/// # Errors
/// When the project or a service is not known, or a log cannot be read.
pub fn run(args: &LogsArgs, context: &Context) -> CommandResult {
    let now = Timestamp::now();
    let time = |flag, text: &Option<String>| text.as_deref().map(|text| parse_time(flag, text, now)).transpose();
    let span =
        Span { tail: parse_tail(&args.tail)?, since: time("since", &args.since)?, until: time("until", &args.until)? };
    let containers = Containers::of(context)?;
    containers.check_services(&args.services)?;
    if let Some(index) = args.index {
        let [service] = args.services.as_slice() else {
            return Err(CommandError::new("--index is the number of a container of one service")
                .hint(format!("name the service: windlass logs --index {index} SERVICE"))
                .code(USAGE));
        };
        containers.pick(service, Some(index), false)?;
    }
    let paths = &containers.project;
    let palette = if args.no_color {
        Palette::plain()
    } else {
        Palette::resolve(context.global.ansi, &context.environment, io::stdout().is_terminal())
    };
    let prefixes = Prefixes::new(palette, args.no_log_prefix);
    let stdout = Box::new(raw_stdout()?);
    let mut screen = match args.split_streams {
        true => Screen::new(prefixes, args.timestamps, stdout, Box::new(io::stderr())),
        false => Screen::joined(prefixes, args.timestamps, stdout),
    };
    let selection = LogSelection { services: args.services.clone(), index: args.index, oneoff: false };
    let interrupts = if args.follow { Some(Interrupts::catch()?) } else { None };
    let standstill = Standstill::new(context, paths);
    let result = Follower::open(paths, selection, span, args.follow)
        .and_then(|mut follower| show(&mut follower, &mut screen, interrupts.as_ref(), span.until, standstill));
    match result {
        // `windlass logs | head`: whoever read has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(0),
        Err(error) => Err(CommandError::caused("cannot read the logs", &error)),
        Ok(Shown::Everything) => Ok(0),
        Ok(Shown::UntilInterrupted) => Ok(INTERRUPTED),
    }
}

enum Shown {
    Everything,
    UntilInterrupted,
}

/// Shows what there is; with `interrupts`, also what comes, until then.
fn show(
    follower: &mut Follower,
    screen: &mut Screen<'_>,
    interrupts: Option<&Interrupts>,
    until: Option<Timestamp>,
    mut standstill: Standstill<'_>,
) -> io::Result<Shown> {
    screen.drain(follower)?;
    let Some(interrupts) = interrupts else { return Ok(Shown::Everything) };
    while !follower.all_ended() {
        let left = remaining(until, Timestamp::now());
        match follower.wait(&[interrupts.as_fd()], Some(standstill.at_most(left)))? {
            Waited::Timeout if left.is_some_and(|left| left <= standstill.at_most(None)) => break,
            Waited::Timeout => standstill.look(),
            Waited::Other if interrupts.pending() => return Ok(Shown::UntilInterrupted),
            _ => {}
        }
        screen.drain(follower)?;
    }
    Ok(Shown::Everything)
}

/// Rust's own stdout writes at every line end; logs are written in large pieces.
fn raw_stdout() -> io::Result<std::fs::File> {
    Ok(io::stdout().as_fd().try_clone_to_owned()?.into())
}
