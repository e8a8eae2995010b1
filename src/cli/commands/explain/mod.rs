//! `windlass explain`: where a value of the project comes from.

mod service;
mod trail;
mod variables;

use clap::{Args, ValueEnum};

use crate::cli::exit::CommandError;
use crate::cli::load::Loading;
use crate::cli::ui::stdout;
use crate::cli::{CommandResult, Context, names};
use crate::compose::{LoadOptions, Loaded};

#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// A value, as `config` names it (`services.web.environment.DB_URL`, `services.web.ports[0]`), or a service: what `up`
    /// would do with it, and why
    #[arg(value_name = "PATH", required_unless_present = "variables", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    pub path: Option<String>,
    /// Every variable: its value, where it was set and where it is used
    #[arg(long, conflicts_with = "path")]
    pub variables: bool,
    /// Form of the output
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub format: Form,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Form {
    #[default]
    Text,
    Json,
}

/// # Errors
/// Every fault of the files, or when there is nothing at the path.
pub fn run(args: &ExplainArgs, context: &Context) -> CommandResult {
    // What does not fit together is no reason not to say where it comes from.
    let options = LoadOptions { provenance: true, check_consistency: false, ..LoadOptions::default() };
    let json = args.format == Form::Json;
    let loaded = context.load_whole(&Loading { options, ..Loading::default() }, json)?;
    let palette = context.palette_of_stdout();
    let shown = Names { context };
    let Some(path) = &args.path else {
        let variables = loaded.variables();
        stdout::write(&match json {
            true => format!("{:#}\n", serde_json::to_value(&variables)?),
            false => variables::text(&variables, &shown, palette),
        })?;
        return Ok(0);
    };
    if is_service(path, &loaded) {
        return service::run(path, args.format, context);
    }
    let explanation = loaded.explain(path).map_err(|unknown| match unknown.hint {
        // A word alone is a service that was meant.
        _ if !path.contains(['.', '[']) => {
            let services = names::services(&loaded.project);
            names::no_such_service(std::slice::from_ref(path), &services)
        }
        Some(hint) => CommandError::new(unknown.text).hint(hint),
        None => CommandError::new(unknown.text),
    })?;
    let text = match json {
        true => format!("{:#}\n", serde_json::to_value(&explanation)?),
        false => trail::text(&explanation, &shown, palette) + &inactive(path, &loaded).unwrap_or_default(),
    };
    stdout::write(&text)?;
    Ok(0)
}

/// A service's name alone is no path of a value: what is explained is what becomes of it.
fn is_service(path: &str, loaded: &Loaded) -> bool {
    let top_level = ["configs", "models", "name", "networks", "secrets", "services", "volumes"];
    loaded.project.services.contains_key(path) && !top_level.contains(&path)
}

/// Says that the service at `path` is not part of what runs.
fn inactive(path: &str, loaded: &Loaded) -> Option<String> {
    let rest = path.strip_prefix("services.")?;
    let of = |name: &str| rest.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
    let (name, service) = loaded.project.disabled_services.iter().find(|(name, _)| of(name))?;
    let profiles = service.profiles.join(", ");
    Some(format!("\nnote: service \"{name}\" is not active; its profiles: {profiles}\n"))
}

/// How places are named on the terminal.
struct Names<'a> {
    context: &'a Context,
}

impl Names<'_> {
    /// `.env:3`, `--env-file dev.env:3`.
    fn line_of(&self, file: &std::path::Path, line: u32) -> String {
        let named = self.context.global.env_files.iter().any(|named| self.context.working_dir.join(named) == file);
        let shown = file.strip_prefix(&self.context.working_dir).unwrap_or(file).display();
        format!("{}{shown}:{line}", if named { "--env-file " } else { "" })
    }
}
