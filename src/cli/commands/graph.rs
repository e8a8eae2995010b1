//! `windlass graph`: a drawing of the project.

use std::collections::BTreeMap;
use std::io::IsTerminal;

use clap::{Args, ValueEnum};

use crate::cli::containers::Containers;
use crate::cli::graph::{Graph, dot, mermaid, svg, text};
use crate::cli::load::Loading;
use crate::cli::ui::status;
use crate::cli::ui::style::Palette;
use crate::cli::{CommandResult, Context, names};
use crate::compose::LoadOptions;
use crate::record::Status;

#[derive(Debug, Args)]
pub struct GraphArgs {
    /// Only these services and what they need
    pub services: Vec<String>,
    /// How it is drawn
    #[arg(long, value_name = "FORMAT", value_enum, default_value = "text")]
    pub format: GraphFormat,
    /// Show what the containers do now
    #[arg(long)]
    pub live: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GraphFormat {
    Text,
    Mermaid,
    Dot,
    Svg,
    Json,
}

/// # Errors
/// When the files are wrong, or with `--live` a record cannot be read.
pub fn run(args: &GraphArgs, context: &Context) -> CommandResult {
    let options = LoadOptions { resolve_environment: false, ..LoadOptions::default() };
    let mut project = context.load(&Loading { options, services: args.services.clone() })?.project;
    names::check(&args.services, &names::services(&project))?;
    if !args.services.is_empty() {
        keep(&mut project.services, &args.services);
    }
    let states = if args.live { Some(states(&Containers::of(context)?)) } else { None };
    let graph = Graph::of(&project, states.as_ref());
    let drawing = match args.format {
        GraphFormat::Text => {
            let terminal = std::io::stdout().is_terminal();
            text(&graph, Palette::resolve(context.global.ansi, &context.environment, terminal))
        }
        GraphFormat::Mermaid => mermaid(&graph),
        GraphFormat::Dot => dot(&graph),
        GraphFormat::Svg => svg(&graph),
        GraphFormat::Json => format!("{}\n", serde_json::to_string_pretty(&graph)?),
    };
    print!("{drawing}");
    Ok(0)
}

/// The named services and, transitively, what they need.
fn keep(services: &mut indexmap::IndexMap<String, crate::compose::model::Service>, named: &[String]) {
    let mut wanted: Vec<String> = named.to_vec();
    let mut next = 0;
    while let Some(name) = wanted.get(next).cloned() {
        let needs = services.get(&name).into_iter().flat_map(|service| service.depends_on.keys());
        let new: Vec<String> = needs.filter(|need| !wanted.contains(need)).cloned().collect();
        wanted.extend(new);
        next += 1;
    }
    services.retain(|name, _| wanted.contains(name));
}

/// One word a service: that of the replica that is worst off.
fn states(containers: &Containers) -> BTreeMap<String, String> {
    const WORST_FIRST: [&str; 9] =
        ["failed", "unhealthy", "restarting", "starting", "paused", "created", "running", "healthy", "done"];
    let mut states: BTreeMap<String, String> = BTreeMap::new();
    let place = |word: &str| WORST_FIRST.iter().position(|known| *known == word);
    for container in containers.of_services(&[], false) {
        let word = match &container.state.status {
            Status::Exited { exit, .. } if exit.code() == 0 => "done",
            Status::Exited { .. } => "failed",
            running => Some(status::health(running)).filter(|word| !word.is_empty()).unwrap_or(status::word(running)),
        };
        let known = states.entry(container.record.service.clone()).or_insert_with(|| word.to_owned());
        if place(word) < place(known) {
            *known = word.to_owned();
        }
    }
    states
}
