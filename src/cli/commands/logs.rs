//! `windlass logs`

use std::io::{self, IsTerminal};

use clap::Args;
use jiff::Timestamp;

use crate::cli::logs::{Follower, Screen, Selection, Wake, parse_tail, parse_time, remaining};
use crate::cli::ui::prefix::Prefixes;
use crate::cli::ui::style::Palette;
use crate::cli::{CommandError, CommandResult, Context};
use crate::engine::inventory;
use crate::state::record;
use crate::supervisor::logs::reader::Span;
use crate::supervisor::record::ProjectRecord;

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
    let paths = context.project_paths()?;
    let project = record::read::<ProjectRecord>(&paths.record())?;
    let declared = project.map(|project| project.services).unwrap_or_default();
    for service in &args.services {
        if !declared.contains(service)
            && !inventory::containers(&paths)?.iter().any(|found| found.record.service == *service)
        {
            return Err(CommandError::new(format!("no such service: {service}")));
        }
    }
    let palette = if args.no_color {
        Palette::plain()
    } else {
        Palette::resolve(context.global.ansi, &context.environment, io::stdout().is_terminal())
    };
    let prefixes = Prefixes::new(palette, args.no_log_prefix);
    let mut screen = Screen::new(prefixes, args.timestamps, Box::new(raw_stdout()?), Box::new(io::stderr()));
    let selection = Selection { services: args.services.clone(), index: args.index, oneoff: false };
    let result = Follower::open(&paths, selection, span, args.follow)
        .and_then(|mut follower| show(&mut follower, &mut screen, args.follow, span.until));
    match result {
        // `windlass logs | head`: whoever read has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(0),
        Err(error) => Err(CommandError::caused("cannot read the logs", &error)),
        Ok(()) => Ok(0),
    }
}

fn show(follower: &mut Follower, screen: &mut Screen<'_>, follow: bool, until: Option<Timestamp>) -> io::Result<()> {
    follower.drain(screen)?;
    while follow && !follower.all_ended() {
        if follower.wait(None, remaining(until, Timestamp::now()))? == Wake::Timeout {
            break;
        }
        follower.drain(screen)?;
    }
    Ok(())
}

/// Rust's own stdout writes at every line end; logs are written in large pieces.
fn raw_stdout() -> io::Result<std::fs::File> {
    use std::os::fd::AsFd;
    Ok(io::stdout().as_fd().try_clone_to_owned()?.into())
}
