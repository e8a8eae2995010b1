//! `windlass ls`

use std::collections::BTreeMap;

use clap::Args;
use serde::Serialize;

use crate::cli::ui::status;
use crate::cli::ui::table::Table;
use crate::cli::{CommandError, CommandResult, Context};
use crate::engine::{inventory, truth};
use crate::state::record;
use crate::supervisor::record::ProjectRecord;

#[derive(Debug, Args)]
pub struct LsArgs {
    /// Stopped projects too
    #[arg(short = 'a', long)]
    pub all: bool,
    /// Only projects that this holds for: `name=shop`
    #[arg(long, value_name = "KEY=VALUE")]
    pub filter: Vec<String>,
    /// `table` or `json`
    #[arg(long, value_name = "FORMAT", default_value = "table", value_parser = ["table", "json"])]
    pub format: String,
    /// Only names
    #[arg(short = 'q', long)]
    pub quiet: bool,
}

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
    let mut rows = Vec::new();
    for name in inventory::projects(&context.paths)? {
        if !names.is_empty() && !names.iter().any(|wanted| name.contains(wanted.as_str())) {
            continue;
        }
        let paths = context.paths.project(&name);
        let mut statuses: Vec<&str> = Vec::new();
        for container in truth::containers(&paths)? {
            let word = status::word(&container.state.status);
            if args.all || matches!(word, "running" | "paused" | "restarting") {
                statuses.push(word);
            }
        }
        if statuses.is_empty() {
            continue;
        }
        let project = record::read::<ProjectRecord>(&paths.record())?;
        let files = project.map(|project| project.config_files).unwrap_or_default();
        let files: Vec<String> = files.iter().map(|file| file.display().to_string()).collect();
        rows.push(Row { name, status: combine(&statuses), config_files: files.join(",") });
    }
    print!("{}", render(args, &rows));
    Ok(0)
}

fn render(args: &LsArgs, rows: &[Row]) -> String {
    if args.quiet {
        return rows.iter().map(|row| format!("{}\n", row.name)).collect();
    }
    if args.format == "json" {
        return format!("{}\n", serde_json::to_string(rows).unwrap_or_default());
    }
    let mut table = Table::with_min_width(&["NAME", "STATUS", "CONFIG FILES"], 20);
    rows.iter().for_each(|row| table.row([&row.name, &row.status, &row.config_files]));
    table.render()
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

    fn args(quiet: bool, format: &str) -> LsArgs {
        LsArgs { all: false, filter: vec![], format: format.into(), quiet }
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
        insta::assert_snapshot!(render(&args(false, "table"), &rows), @r"
        NAME                STATUS                  CONFIG FILES
        shop                exited(1), running(2)   /shop/compose.yaml,/shop/b.yaml
        x                   paused(1)
        ");
        insta::assert_snapshot!(render(&args(false, "json"), &rows), @r#"[{"Name":"shop","Status":"exited(1), running(2)","ConfigFiles":"/shop/compose.yaml,/shop/b.yaml"},{"Name":"x","Status":"paused(1)","ConfigFiles":""}]"#);
        assert_eq!(render(&args(true, "table"), &rows), "shop\nx\n");
        assert_eq!(render(&args(false, "json"), &[]), "[]\n");
        assert!(parse_filters(&["label=x".into()]).is_err());
    }
}
