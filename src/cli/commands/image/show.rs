//! `windlass image inspect` and `history`

use clap::Args;
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use crate::cli::ui::format::{Listing, Row};
use crate::cli::ui::human;
use crate::cli::ui::narrow::Narrow;
use crate::cli::ui::stdout;
use crate::cli::ui::style::{ellipsis, printable};
use crate::cli::ui::template::Template;
use crate::cli::{CommandError, CommandResult, Context};
use crate::image::{Image, ImageError, Reference, Store};

#[derive(Debug, Args)]
pub struct InspectArgs {
    /// Images by name or id
    #[arg(value_name = "IMAGE", required = true)]
    pub images: Vec<String>,
    /// `json`, or a template such as `{{.Id}}`
    #[arg(short, long, value_name = "FORMAT", default_value = "json")]
    pub format: String,
}

#[derive(Debug, Args)]
pub struct HistoryArgs {
    /// Image by name or id
    pub image: String,
    /// `table`, `json`, or a template such as `{{.CreatedBy}}`
    #[arg(long, value_name = "FORMAT", default_value = "table")]
    pub format: String,
    /// Do not shorten what is shown
    #[arg(long)]
    pub no_trunc: bool,
    /// Only print ids
    #[arg(short, long)]
    pub quiet: bool,
    /// Sizes and times for people
    #[arg(short = 'H', long, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true, default_missing_value = "true", default_value_t = true)]
    pub human: bool,
}

const CREATED_BY_WIDTH: usize = 45;

pub(super) fn inspect(args: &InspectArgs, context: &Context) -> CommandResult {
    let store = Store::at(&context.paths.images());
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for text in &args.images {
        match store.resolve(text)? {
            Some(image) => found.push(description(&image)),
            None => missing.push(text.as_str()),
        }
    }
    if args.format == "json" {
        let values = found.into_iter().map(Value::Object).collect();
        println!("{:#}", Value::Array(values));
    } else {
        let template = Template::parse(&args.format)?;
        for value in &found {
            // Labels are found below Config, as in Docker's templates.
            let label = |key: &str| value["Config"]["Labels"][key].as_str().map(str::to_owned);
            println!("{}", template.render(value, &label)?);
        }
    }
    if missing.is_empty() {
        return Ok(0);
    }
    Err(CommandError::new(format!("no such image: {}", missing.join(", "))))
}

/// Docker's words for everything that is known of an image.
fn description(image: &Image) -> Map<String, Value> {
    let config = &image.config;
    let keys = |names: &[String]| -> Value {
        if names.is_empty() {
            return Value::Null;
        }
        names.iter().map(|name| (name.clone(), json!({}))).collect::<Map<_, _>>().into()
    };
    let mut inner = json!({
        "User": config.user,
        "ExposedPorts": keys(&config.exposed_ports),
        "Env": config.env,
        "Cmd": config.cmd,
        "Volumes": keys(&config.volumes),
        "WorkingDir": config.working_dir,
        "Entrypoint": config.entrypoint,
        "Labels": if config.labels.is_empty() { Value::Null } else { json!(config.labels) },
    });
    if let Some(signal) = &config.stop_signal {
        inner["StopSignal"] = json!(signal);
    }
    if let Some(shell) = &config.shell {
        inner["Shell"] = json!(shell);
    }
    if let Some(health) = &config.healthcheck {
        let mut check = json!({"Test": health.test});
        for (name, value) in [
            ("Interval", health.interval_ns),
            ("Timeout", health.timeout_ns),
            ("StartPeriod", health.start_period_ns),
            ("StartInterval", health.start_interval_ns),
            ("Retries", u64::from(health.retries)),
        ] {
            if value > 0 {
                check[name] = json!(value);
            }
        }
        inner["Healthcheck"] = check;
    }
    let names = |names: &[Reference]| names.iter().map(Reference::familiar).collect::<Vec<_>>();
    let lower: Vec<String> = image.layers.iter().skip(1).map(|layer| layer.display().to_string()).collect();
    let value = json!({
        "Id": image.id,
        "RepoTags": names(&image.references),
        "RepoDigests": names(&image.digests),
        "Created": image.created.map(|created| created.to_string()),
        "Author": image.author,
        "Config": inner,
        "Architecture": image.architecture,
        "Variant": image.platform.variant,
        "Os": image.platform.os,
        "Size": image.size,
        "GraphDriver": {
            "Name": "overlay",
            "Data": {
                "LowerDir": if lower.is_empty() { Value::Null } else { json!(lower.join(":")) },
                "UpperDir": image.layers.first().map(|layer| layer.display().to_string()),
            },
        },
        "RootFS": {"Type": "layers", "Layers": image.diff_ids},
        "Descriptor": {"digest": image.manifest},
    });
    match value {
        Value::Object(mut map) => {
            if image.platform.variant.is_none() {
                map.shift_remove("Variant");
            }
            map
        }
        _ => Map::new(),
    }
}

pub(super) fn history(args: &HistoryArgs, context: &Context) -> CommandResult {
    let listing = Listing {
        fields: &["ID", "CreatedAt", "CreatedSince", "CreatedBy", "Size", "Comment"],
        columns: &["ID", "CreatedSince", "CreatedBy", "Size", "Comment"],
        title,
        narrow: Narrow { leave_out: &["Comment", "ID", "CreatedSince"], shorten: &[("CreatedBy", 16), ("Comment", 8)] },
        ..Listing::default()
    };
    let format = listing.parse(Some(&args.format))?;
    let store = Store::at(&context.paths.images());
    let image = store.resolve(&args.image)?.ok_or_else(|| ImageError::NotFound(args.image.clone()))?;
    let mut sizes = store.layer_sizes(&image.id)?.into_iter();
    let mut steps = Vec::new();
    for step in &image.history {
        let size = if step.empty_layer { 0 } else { sizes.next().unwrap_or(0) };
        steps.push((step, size));
    }
    let now = Timestamp::now();
    let mut rows = Vec::new();
    // Only the last step is an image; Docker calls the others missing.
    for (index, (step, size)) in steps.into_iter().rev().enumerate() {
        let id = match (index, args.no_trunc) {
            (0, true) => image.id.to_string(),
            (0, false) => image.id.short(),
            _ => "<missing>".to_owned(),
        };
        let by = printable(&step.created_by);
        let created = step.created.map(|created| created.to_string()).unwrap_or_default();
        let since = step.created.map_or_else(|| "N/A".to_owned(), |time| format!("{} ago", human::since(time, now)));
        let value = json!({
            "ID": id,
            "CreatedAt": created,
            "CreatedSince": if args.human { since } else { created.clone() },
            "CreatedBy": if args.no_trunc { by } else { ellipsis(&by, CREATED_BY_WIDTH) },
            "Size": if args.human { human::size(size) } else { size.to_string() },
            "Comment": printable(&step.comment),
        });
        if let Value::Object(row) = value {
            rows.push(row);
        }
    }
    let text = |row: &Map<String, Value>, name: &str| row[name].as_str().unwrap_or_default().to_owned();
    if args.quiet {
        rows.iter().for_each(|row| println!("{}", text(row, "ID")));
        return Ok(0);
    }
    let rows: Vec<Row> = rows.into_iter().map(Row::new).collect();
    print!("{}", listing.render_in(&format, &rows, stdout::columns())?);
    Ok(0)
}

fn title(field: &str) -> String {
    match field {
        "ID" => "IMAGE".into(),
        "CreatedSince" => "CREATED".into(),
        "CreatedAt" => "CREATED AT".into(),
        "CreatedBy" => "CREATED BY".into(),
        other => other.to_uppercase(),
    }
}
