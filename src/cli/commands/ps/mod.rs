//! `windlass ps`

mod summary;
#[cfg(test)]
mod tests;

use clap::Args;

use crate::cli::containers::Containers;
use crate::cli::ui::format::{Format, Listing, Row};
use crate::cli::ui::narrow::Narrow;
use crate::cli::ui::stdout;
use crate::cli::ui::template::TemplateError;
use crate::cli::{CommandError, CommandResult, Context};
use summary::Summary;

#[derive(Debug, Args)]
pub struct PsArgs {
    /// Services to list; all by default
    pub services: Vec<String>,
    /// Stopped containers too, and those made by `run`
    #[arg(short = 'a', long)]
    pub all: bool,
    /// Only containers that this holds for: `status=running`
    #[arg(long, value_name = "KEY=VALUE")]
    pub filter: Option<String>,
    /// `table`, `json`, `table TEMPLATE` or a template such as `{{.Name}}`
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
    /// Do not shorten ids and commands
    #[arg(long)]
    pub no_trunc: bool,
    /// Containers of services that the file no longer has
    #[arg(long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub orphans: bool,
    /// Only ids
    #[arg(short = 'q', long)]
    pub quiet: bool,
    /// Only names of services
    #[arg(long = "services", id = "only_services")]
    pub only_services: bool,
    /// Only containers in this state: paused, restarting, running, created, exited (can be repeated)
    #[arg(long, value_name = "STATUS")]
    pub status: Vec<String>,
}

pub(in crate::cli) const LISTING: Listing = Listing {
    fields: &summary::KEYS,
    columns: &["Name", "Image", "Command", "Service", "RunningFor", "Status", "Ports"],
    title: summary::title,
    min_width: 10,
    gap: 3,
    narrow: Narrow {
        leave_out: &["Command", "RunningFor", "Image", "Service", "Ports"],
        shorten: &[("Command", 12), ("Image", 12), ("Ports", 12), ("Name", 10), ("Status", 18)],
    },
    json_array: false,
};

/// # Errors
/// When the project is not known, a service does not exist, or a record cannot be read.
pub fn run(args: &PsArgs, context: &Context) -> CommandResult {
    let mut statuses = args.status.clone();
    statuses.extend(args.filter.as_deref().map(parse_filter).transpose()?);
    let format = LISTING.parse(args.format.as_deref())?;
    let found = Containers::of(context)?;
    found.check_services(&args.services)?;
    let declared = if args.orphans { None } else { context.enabled()? };
    let mut containers = found.all;
    let all = args.all || !statuses.is_empty();
    containers.retain(|container| {
        let summary_state = crate::cli::ui::status::word(&container.state.status);
        let record = &container.record;
        (all || (!record.oneoff && matches!(summary_state, "running" | "paused" | "restarting")))
            && (args.services.is_empty() || args.services.contains(&record.service))
            && (!args.services.is_empty() || declared.as_ref().is_none_or(|known| known.contains(&record.service)))
            && (statuses.is_empty() || statuses.iter().any(|status| status == summary_state))
    });
    let now = jiff::Timestamp::now();
    let summaries = containers.iter().map(|container| Summary::new(container, now)).collect::<Vec<_>>();
    print!("{}", render(args, &format, &summaries, stdout::columns())?);
    Ok(0)
}

fn render(
    args: &PsArgs,
    format: &Format,
    summaries: &[Summary],
    columns: Option<usize>,
) -> Result<String, TemplateError> {
    if args.quiet {
        return Ok(summaries.iter().map(|summary| format!("{}\n", summary.id)).collect());
    }
    if args.only_services {
        let mut services: Vec<&str> = summaries.iter().map(|summary| summary.service.as_str()).collect();
        services.dedup();
        let mut seen = std::collections::HashSet::new();
        services.retain(|service| seen.insert(*service));
        return Ok(format!("{}\n", services.join("\n")));
    }
    let row = |summary: &Summary| Row { fields: summary.object(!args.no_trunc), labels: summary.labels.clone() };
    let rows: Vec<Row> = summaries.iter().map(row).collect();
    LISTING.render_in(format, &rows, columns)
}

fn parse_filter(filter: &str) -> Result<String, CommandError> {
    match filter.split_once('=') {
        None => Err(CommandError::new("arguments to --filter should be in form KEY=VAL")),
        Some(("status", status)) => Ok(status.to_owned()),
        Some((key, _)) => Err(CommandError::new(format!("unknown filter {key}")).hint("there is `status=`")),
    }
}
