//! `windlass ps`

mod summary;
#[cfg(test)]
mod tests;

use clap::Args;

use crate::cli::ui::table::Table;
use crate::cli::ui::template::Template;
use crate::cli::{CommandError, CommandResult, Context};
use crate::engine::truth;
use crate::state::record;
use crate::supervisor::record::ProjectRecord;
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

/// # Errors
/// When the project is not known, a service does not exist, or a record cannot be read.
pub fn run(args: &PsArgs, context: &Context) -> CommandResult {
    let mut statuses = args.status.clone();
    statuses.extend(args.filter.as_deref().map(parse_filter).transpose()?);
    let format = Format::parse(args.format.as_deref())?;
    let paths = context.project_paths()?;
    let project = record::read::<ProjectRecord>(&paths.record())?;
    let mut containers = truth::containers(&paths)?;
    let declared = project.map(|project| project.services).unwrap_or_default();
    for service in &args.services {
        let known = declared.contains(service) || containers.iter().any(|found| found.record.service == *service);
        if !known {
            return Err(CommandError::new(format!("no such service: {service}")));
        }
    }
    let all = args.all || !statuses.is_empty();
    containers.retain(|container| {
        let summary_state = crate::cli::ui::status::word(&container.state.status);
        let record = &container.record;
        (all || (!record.oneoff && matches!(summary_state, "running" | "paused" | "restarting")))
            && (args.services.is_empty() || args.services.contains(&record.service))
            && (args.orphans || declared.is_empty() || declared.contains(&record.service))
            && (statuses.is_empty() || statuses.iter().any(|status| status == summary_state))
    });
    containers.sort_by(|a, b| a.record.name.cmp(&b.record.name));
    let now = jiff::Timestamp::now();
    let summaries = containers.iter().map(|container| Summary::new(container, now)).collect::<Vec<_>>();
    print!("{}", render(args, &format, &summaries));
    Ok(0)
}

fn render(args: &PsArgs, format: &Format, summaries: &[Summary]) -> String {
    if args.quiet {
        return summaries.iter().map(|summary| format!("{}\n", summary.id)).collect();
    }
    if args.only_services {
        let mut services: Vec<&str> = summaries.iter().map(|summary| summary.service.as_str()).collect();
        services.dedup();
        let mut seen = std::collections::HashSet::new();
        services.retain(|service| seen.insert(*service));
        return format!("{}\n", services.join("\n"));
    }
    let trunc = !args.no_trunc;
    let fill = |template: &Template, summary: &Summary| {
        template.render(&summary.object(trunc), &|key| summary.labels.get(key).cloned())
    };
    match format {
        Format::Table => {
            let mut table = Table::new(&["NAME", "IMAGE", "COMMAND", "SERVICE", "CREATED", "STATUS", "PORTS"]);
            summaries.iter().for_each(|summary| table.row(summary.row(trunc)));
            table.render()
        }
        Format::Json => {
            summaries.iter().map(|summary| format!("{}\n", serde_json::Value::Object(summary.object(trunc)))).collect()
        }
        Format::Template(template) => {
            summaries.iter().map(|summary| format!("{}\n", fill(template, summary))).collect()
        }
        Format::TableOf(template) => {
            let mut table = Table::new(&[]);
            table.row(template.header(&summary::title).split('\t'));
            summaries.iter().for_each(|summary| table.row(fill(template, summary).split('\t')));
            table.render()
        }
    }
}

#[derive(Debug)]
enum Format {
    Table,
    Json,
    Template(Template),
    TableOf(Template),
}

impl Format {
    fn parse(text: Option<&str>) -> Result<Self, CommandError> {
        let template = |text: &str| {
            let template = Template::parse(text)?;
            template.check(&summary::KEYS)?;
            Ok::<_, CommandError>(template)
        };
        Ok(match text {
            None | Some("" | "table") => Self::Table,
            Some("json") => Self::Json,
            Some(text) => match text.strip_prefix("table ") {
                Some(columns) => Self::TableOf(template(columns.trim_start())?),
                None => Self::Template(template(text)?),
            },
        })
    }
}

fn parse_filter(filter: &str) -> Result<String, CommandError> {
    match filter.split_once('=') {
        None => Err(CommandError::new("arguments to --filter should be in form KEY=VAL")),
        Some(("status", status)) => Ok(status.to_owned()),
        Some((key, _)) => Err(CommandError::new(format!("unknown filter {key}")).hint("there is `status=`")),
    }
}
