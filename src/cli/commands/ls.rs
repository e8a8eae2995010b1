//! `windlass ls`

use std::collections::BTreeMap;

use clap::Args;
use serde::Serialize;
use serde_json::Value;

use crate::cli::ui::format::{self, Format, Listing};
use crate::cli::ui::narrow::Narrow;
use crate::cli::ui::template::TemplateError;
use crate::cli::ui::{status, stdout};
use crate::cli::{CommandError, CommandResult, Context};
use crate::record::truth;
use crate::record::{ProjectRecord, inventory};
use crate::state::record;

#[derive(Debug, Args)]
pub struct LsArgs {
    /// Stopped projects too
    #[arg(short = 'a', long)]
    pub all: bool,
    /// Only projects that this holds for: `name=shop`
    #[arg(long, value_name = "KEY=VALUE")]
    pub filter: Vec<String>,
    /// `table`, `json`, `table TEMPLATE` or a template such as `{{.Name}}`
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: String,
    /// Only names
    #[arg(short = 'q', long)]
    pub quiet: bool,
}

pub(in crate::cli) const LISTING: Listing = Listing {
    fields: &["Name", "Status", "ConfigFiles"],
    columns: &["Name", "Status", "ConfigFiles"],
    title,
    min_width: 20,
    gap: 3,
    narrow: Narrow { leave_out: &["ConfigFiles"], shorten: &[("ConfigFiles", 14), ("Name", 10), ("Status", 10)] },
    json_array: true,
};

#[derive(Debug, Serialize)]
struct Row {
    #[serde(rename = "Name")]
    name: String,
    #[serde(rename = "Status")]
    status: String,
    #[serde(rename = "ConfigFiles")]
    config_files: String,
}

/// # Errors
/// When a record cannot be read.
pub fn run(args: &LsArgs, context: &Context) -> CommandResult {
    let names = parse_filters(&args.filter)?;
    let format = LISTING.parse(Some(&args.format))?;
    let (mut rows, mut code) = (Vec::new(), 0);
    for name in inventory::projects(&context.paths)? {
        if !names.is_empty() && !names.iter().any(|wanted| name.contains(wanted.as_str())) {
            continue;
        }
        let paths = context.paths.project(&name);
        let mut statuses: Vec<&str> = Vec::new();
        let containers = match truth::containers(&paths) {
            Ok(containers) => containers,
            // The others can be shown all the same.
            Err(error) => {
                CommandError::from(error).print(context.palette());
                code = 1;
                continue;
            }
        };
        for container in containers {
            let word = status::word(&container.state.status);
            if args.all || matches!(word, "running" | "paused" | "restarting") {
                statuses.push(word);
            }
        }
        if statuses.is_empty() {
            continue;
        }
        let project = record::read_if_whole::<ProjectRecord>(&paths.record());
        let files = project.map(|project| project.config_files).unwrap_or_default();
        let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
        rows.push(Row { name, status: combine(&statuses), config_files: files.join(",") });
    }
    print!("{}", render(args, &format, &rows)?);
    Ok(code)
}

fn render(args: &LsArgs, format: &Format, rows: &[Row]) -> Result<String, TemplateError> {
    if args.quiet {
        return Ok(rows.iter().map(|row| format!("{}\n", row.name)).collect());
    }
    let fields = |row: &Row| match serde_json::to_value(row) {
        Ok(Value::Object(fields)) => format::Row::new(fields),
        _ => format::Row::default(),
    };
    LISTING.render_in(format, &rows.iter().map(fields).collect::<Vec<_>>(), stdout::columns())
}

fn title(field: &str) -> String {
    if field == "ConfigFiles" { "CONFIG FILES".into() } else { field.to_uppercase() }
}

/// `exited(1), running(2)`
fn combine(statuses: &[&str]) -> String {
    let mut counts = BTreeMap::new();
    for status in statuses {
        *counts.entry(*status).or_insert(0) += 1;
    }
    counts.iter().map(|(status, count)| format!("{status}({count})")).collect::<Vec<_>>().join(", ")
}

fn parse_filters(filters: &[String]) -> Result<Vec<String>, CommandError> {
    let parse = |filter: &String| match filter.split_once('=') {
        Some(("name", value)) => Ok(value.to_owned()),
        Some((key, _)) => Err(CommandError::new(format!("invalid filter '{key}'")).hint("there is `name=`")),
        None => Err(CommandError::new("invalid argument to --filter, expected KEY=VALUE")),
    };
    filters.iter().map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(quiet: bool, format: &str, rows: &[Row]) -> String {
        let args = LsArgs { all: false, filter: vec![], format: format.into(), quiet };
        render(&args, &LISTING.parse(Some(format)).unwrap(), rows).unwrap()
    }

    #[test]
    fn projects_read_as_the_peers() {
        let row = |name: &str, statuses: &[&str], files: &str| Row {
            name: name.into(),
            status: combine(statuses),
            config_files: files.into(),
        };
        let rows = [
            row("shop", &["running", "exited", "running"], "/shop/compose.yaml,/shop/b.yaml"),
            row("x", &["paused"], ""),
        ];
        insta::assert_snapshot!(text(false, "table", &rows), @r"
        NAME                STATUS                  CONFIG FILES
        shop                exited(1), running(2)   /shop/compose.yaml,/shop/b.yaml
        x                   paused(1)
        ");
        insta::assert_snapshot!(text(false, "json", &rows), @r#"[{"Name":"shop","Status":"exited(1), running(2)","ConfigFiles":"/shop/compose.yaml,/shop/b.yaml"},{"Name":"x","Status":"paused(1)","ConfigFiles":""}]"#);
        assert_eq!(text(true, "table", &rows), "shop\nx\n");
        assert_eq!(text(false, "json", &[]), "[]\n");
        assert_eq!(text(false, "{{.Name}}: {{.Status}}", &rows[1..]), "x: paused(1)\n");
        assert!(parse_filters(&["label=x".into()]).is_err());
    }
}
