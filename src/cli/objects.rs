//! What `network`, `volume` and `image` do alike with each of the objects that are named.

use serde_json::{Map, Value};

use super::ui::template::Template;
use super::{CommandError, CommandResult, Context, dry};

/// `KEY[=VALUE]`
pub fn pair(text: &str) -> (String, String) {
    match text.split_once('=') {
        Some((key, value)) => (key.to_owned(), value.to_owned()),
        None => (text.to_owned(), String::new()),
    }
}

/// Prints everything that `find` knows of each.
///
/// # Errors
/// When the format is none, one cannot be read, or one is not there; the others are printed all the same.
pub fn inspect(
    kind: &str,
    names: &[String],
    format: &str,
    find: impl Fn(&str) -> Result<Option<Map<String, Value>>, CommandError>,
) -> CommandResult {
    let mut found = Vec::new();
    let mut missing = Vec::new();
    for name in names {
        match find(name)? {
            Some(description) => found.push(description),
            None => missing.push(name.as_str()),
        }
    }
    if format == "json" {
        println!("{:#}", Value::Array(found.into_iter().map(Value::Object).collect()));
    } else {
        let template = Template::parse(format)?;
        for value in &found {
            let label = |key: &str| value["Labels"][key].as_str().map(str::to_owned);
            println!("{}", template.render(value, &label)?);
        }
    }
    if missing.is_empty() {
        return Ok(0);
    }
    Err(CommandError::new(format!("no such {kind}: {}", missing.join(", "))))
}

/// Removes each; `remove` says whether it was there. With `force`, one that is not is no fault.
///
/// # Errors
/// When one cannot be removed; the others are removed all the same.
pub fn remove_each(
    kind: &str,
    names: &[String],
    force: bool,
    context: &Context,
    remove: impl Fn(&str) -> Result<bool, CommandError>,
) -> CommandResult {
    let mut failure: Option<CommandError> = None;
    for name in names {
        let fault = match remove(name) {
            Ok(true) if context.global.dry_run => {
                dry::tell([format!("remove {kind} {name}: as asked for")]);
                continue;
            }
            Ok(true) => {
                println!("{name}");
                continue;
            }
            Ok(false) if force => continue,
            Ok(false) => CommandError::new(format!("no such {kind}: {name}")),
            Err(error) => error,
        };
        if let Some(earlier) = failure.replace(fault) {
            earlier.print(context.palette());
        }
    }
    failure.map_or(Ok(0), Err)
}
