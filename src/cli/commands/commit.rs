//! `windlass commit`

use clap::Args;
use serde_json::{Map, Value, json};

use crate::cli::containers::{Containers, is_running};
use crate::cli::images::open_store;
use crate::cli::ui::progress::{ProgressEvent, State};
use crate::cli::{CommandError, CommandResult, Context};
use crate::engine::client::Client;
use crate::image::Reference;
use crate::image::commit::{self, Commit};
use crate::message::{Request, Response};
use crate::record::ContainerRecord;
use crate::state::ProjectPaths;

#[derive(Debug, Args)]
pub struct CommitArgs {
    /// Author of the image
    #[arg(short = 'a', long, value_name = "AUTHOR", default_value = "")]
    pub author: String,
    /// An instruction of a Dockerfile for the new image: `CMD ["sh"]` (can be repeated)
    #[arg(short = 'c', long = "change", value_name = "INSTRUCTION")]
    pub changes: Vec<String>,
    /// Number of the replica
    #[arg(long, value_name = "N")]
    pub index: Option<u32>,
    /// Why
    #[arg(short = 'm', long, value_name = "MESSAGE", default_value = "")]
    pub message: String,
    /// Pause the container meanwhile
    #[arg(short = 'p', long, value_name = "BOOL", num_args = 0..=1, require_equals = true, default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pub pause: bool,
    pub service: String,
    /// Name of the image
    #[arg(value_name = "REPOSITORY[:TAG]")]
    pub name: Option<String>,
}

/// # Errors
/// When the service has no container, its image is not in the store, or the layer cannot be made.
pub fn run(args: &CommitArgs, context: &Context) -> CommandResult {
    context.require_root()?;
    let name = args.name.as_deref().map(str::parse::<Reference>).transpose()?;
    if name.as_ref().is_some_and(|name| name.digest().is_some()) {
        return Err(CommandError::new("a name with a digest cannot be given: the digest is the image's own"));
    }
    let containers = Containers::of_service(context, &args.service)?;
    containers.check_services(std::slice::from_ref(&args.service))?;
    let container = containers.pick(&args.service, args.index, false)?;
    let record = &container.record;
    let base = record.image.id.parse().map_err(|_| {
        CommandError::new(format!("container {} is not made of an image, so there is none to add to", record.name))
            .hint("`windlass export` writes its files as an archive")
    })?;
    let held = (args.pause && is_running(container)).then(|| hold(context, &containers.project, record)).transpose()?;
    let commit = Commit {
        base: &base,
        upper: &record.spec.rootfs.upper,
        author: &args.author,
        message: &args.message,
        created_by: &record.command,
        config: of_container(record),
        changes: &args.changes,
        name: name.as_ref(),
    };
    let committed = open_store(context).and_then(|store| Ok(commit::commit(&store, &commit)?));
    let released = held.map_or(Ok(()), release);
    let id = committed?;
    let progress = context.progress("Committing");
    progress.event(ProgressEvent::new(record.name.clone(), format!("Committed as {id}"), State::Done));
    drop(progress);
    println!("{id}");
    // The image is there, whatever became of the container.
    released.map(|()| 0)
}

/// The container stands still until what is given back is released, or dropped.
fn hold(context: &Context, project: &ProjectPaths, record: &ContainerRecord) -> Result<Client, CommandError> {
    let mut client = Client::connect_or_start(&context.paths, project)?;
    client.send(&Request::Hold { container: record.id.clone() })?;
    loop {
        match client.receive()?.0 {
            Response::Held => return Ok(client),
            Response::Failed(failure) => return Err(failure.into()),
            _ => {}
        }
    }
}

/// Returns when the container goes on.
fn release(mut client: Client) -> Result<(), CommandError> {
    client.send(&Request::GiveUp)?;
    loop {
        match client.receive()?.0 {
            Response::Done { .. } => return Ok(()),
            Response::Failed(failure) => return Err(failure.into()),
            _ => {}
        }
    }
}

/// What the service said in place of the image.
fn of_container(record: &ContainerRecord) -> Map<String, Value> {
    let process = &record.spec.process;
    let mut config = Map::new();
    config.insert("Env".into(), json!(process.env));
    config.insert("User".into(), json!(process.user));
    config.insert("WorkingDir".into(), json!(process.cwd));
    for (field, key) in [("Entrypoint", "entrypoint"), ("Cmd", "command")] {
        match record.config.get(key) {
            Some(Value::Array(list)) => {
                config.insert(field.into(), json!(list));
            }
            // A service with an entrypoint of its own has nothing of the image's command.
            _ if field == "Cmd" && config.contains_key("Entrypoint") => {
                config.insert(field.into(), Value::Null);
            }
            _ => {}
        }
    }
    if let Some(labels @ Value::Object(_)) = record.config.get("labels") {
        config.insert("Labels".into(), labels.clone());
    }
    config
}
