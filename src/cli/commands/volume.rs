//! `windlass volume`: the volumes of all projects. Flags and columns are those of `docker volume`.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use crate::cli::confirm::confirmed;
use crate::cli::filter::Filters;
use crate::cli::objects::{self, pair};
use crate::cli::ui::{human, stdout, volumes};
use crate::cli::{CommandError, CommandResult, Context, dry};
use crate::engine::disk;
use crate::record::users;
use crate::volumes::spec::{VolumeRecord, VolumeSpec};
use crate::volumes::{Store, VolumeError};

#[derive(Debug, Subcommand)]
pub enum VolumeCommand {
    /// List volumes
    #[command(visible_alias = "list")]
    Ls(LsArgs),
    /// Make a volume, as for `external: true`
    Create(CreateArgs),
    /// Show everything that is known about volumes
    Inspect(InspectArgs),
    /// Remove volumes that no container uses
    #[command(visible_alias = "remove")]
    Rm(RmArgs),
    /// Remove all anonymous volumes that no container uses
    Prune(PruneArgs),
}

#[derive(Debug, Args)]
pub struct LsArgs {
    /// `dangling=true|false`, `label=KEY[=VALUE]`, `name=PART`, `project=NAME` (can be repeated)
    #[arg(short, long = "filter", value_name = "FILTER")]
    pub filters: Vec<String>,
    /// `table`, `json`, `table TEMPLATE` or a template such as `{{.Name}}`
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
    /// Only names
    #[arg(short, long)]
    pub quiet: bool,
}

#[derive(Debug, Args)]
pub struct CreateArgs {
    /// Driver; `local` is the only one there is
    #[arg(short, long, value_name = "DRIVER", default_value = "local")]
    pub driver: String,
    /// Option of the driver: `type=nfs`, `device=...`, `o=...` (can be repeated)
    #[arg(short, long = "opt", value_name = "KEY=VALUE")]
    pub options: Vec<String>,
    /// Label (can be repeated)
    #[arg(long = "label", value_name = "KEY[=VALUE]")]
    pub labels: Vec<String>,
    pub name: String,
}

#[derive(Debug, Args)]
pub struct InspectArgs {
    #[arg(value_name = "VOLUME", required = true)]
    pub names: Vec<String>,
    /// `json`, or a template such as `{{.Mountpoint}}`
    #[arg(short, long, value_name = "FORMAT", default_value = "json")]
    pub format: String,
}

#[derive(Debug, Args)]
pub struct RmArgs {
    #[arg(value_name = "VOLUME", required = true)]
    pub names: Vec<String>,
    /// A volume that is not there is no fault
    #[arg(short, long)]
    pub force: bool,
}

#[derive(Debug, Args)]
pub struct PruneArgs {
    /// Those with a name, too
    #[arg(short, long)]
    pub all: bool,
    /// Do not ask
    #[arg(short, long)]
    pub force: bool,
    /// `label=KEY[=VALUE]`, `label!=KEY[=VALUE]`, `project=NAME` (can be repeated)
    #[arg(long = "filter", value_name = "FILTER")]
    pub filters: Vec<String>,
}

/// # Errors
/// Whatever the command fails with.
pub fn run(command: &VolumeCommand, context: &Context) -> CommandResult {
    match command {
        VolumeCommand::Ls(args) => ls(args, context),
        VolumeCommand::Create(args) => create(args, context),
        VolumeCommand::Inspect(args) => inspect(args, context),
        VolumeCommand::Rm(args) => rm(args, context),
        VolumeCommand::Prune(args) => prune(args, context),
    }
}

fn ls(args: &LsArgs, context: &Context) -> CommandResult {
    let format = volumes::LISTING.parse(args.format.as_deref())?;
    let filters = Filters::parse(&args.filters, &["dangling", "driver", "label", "label!", "name", "project"])?;
    let dangling = filters.flag("dangling")?;
    let store = Store::new(&context.paths);
    let mut found = store.list()?;
    found.retain(|volume| {
        filters.labels(&volume.labels)
            && filters.any("name", |part| volume.name.contains(part))
            && filters.any("driver", |driver| volume.driver == driver)
            && filters.any("project", |project| volume.project.as_deref() == Some(project))
            && dangling
                .is_none_or(|dangling| users::of_volume(&context.paths, &volume.name, None).is_empty() == dangling)
    });
    if args.quiet {
        found.iter().for_each(|volume| println!("{}", volume.name));
        return Ok(0);
    }
    // To measure is slow: only for those who want to see it.
    let measured = args.format.as_deref().is_some_and(|format| format.contains(".Size") || format.contains(".Links"));
    let rows: Vec<_> = found
        .iter()
        .map(|volume| {
            let data = store.data(&volume.name);
            let users = || users::of_volume(&context.paths, &volume.name, None).len();
            volumes::row(volume, &data, measured.then(|| (users(), disk::usage(&data))))
        })
        .collect();
    print!("{}", volumes::LISTING.render_in(&format, &rows, stdout::columns())?);
    Ok(0)
}

fn create(args: &CreateArgs, context: &Context) -> CommandResult {
    context.require_root()?;
    let spec = VolumeSpec {
        name: args.name.clone(),
        key: args.name.clone(),
        driver: args.driver.clone(),
        driver_opts: args.options.iter().map(|text| pair(text)).collect(),
        labels: args.labels.iter().map(|text| pair(text)).collect(),
        external: false,
    };
    let store = Store::new(&context.paths);
    if context.global.dry_run {
        Store::check(&spec)?;
        let name = &spec.name;
        dry::tell(store.find(name)?.is_none().then(|| format!("create volume {name}: as asked for")));
        return Ok(0);
    }
    store.ensure(&spec, None)?;
    println!("{}", args.name);
    Ok(0)
}

fn inspect(args: &InspectArgs, context: &Context) -> CommandResult {
    let store = Store::new(&context.paths);
    objects::inspect("volume", &args.names, &args.format, |name| {
        Ok(store.find(name)?.map(|volume| description(&volume, &store)))
    })
}

fn description(volume: &VolumeRecord, store: &Store) -> Map<String, Value> {
    let or_null = |map: &BTreeMap<String, String>| if map.is_empty() { Value::Null } else { json!(map) };
    let value = json!({
        "CreatedAt": volume.created.to_string(),
        "Driver": volume.driver,
        "Labels": or_null(&volume.labels),
        "Mountpoint": store.data(&volume.name),
        "Name": volume.name,
        "Options": or_null(&volume.driver_opts),
        "Scope": "local",
    });
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

fn rm(args: &RmArgs, context: &Context) -> CommandResult {
    context.require_root()?;
    let store = Store::new(&context.paths);
    objects::remove_each("volume", &args.names, args.force, context, |name| {
        remove(&store, name, context).map_err(|error| match error {
            error @ VolumeError::InUse { .. } => {
                CommandError::from(error).hint("remove the containers first: `windlass -p PROJECT down`")
            }
            error => error.into(),
        })
    })
}

/// Whether it was there. A dry run only says whether it could be removed.
fn remove(store: &Store, name: &str, context: &Context) -> Result<bool, VolumeError> {
    let users = || users::of_volume(&context.paths, name, None);
    match context.global.dry_run {
        true => store.removable(name, users),
        false => store.remove(name, users),
    }
}

fn prune(args: &PruneArgs, context: &Context) -> CommandResult {
    context.require_root()?;
    let filters = Filters::parse(&args.filters, &["label", "label!", "project"])?;
    let what = if args.all { "all local volumes" } else { "anonymous local volumes" };
    if context.global.dry_run {
        let (removed, _) = prune_now(context, args.all, &filters)?;
        dry::tell(removed.iter().map(|name| format!("remove volume {name}: nobody uses it")));
        return Ok(0);
    }
    if !args.force && !confirmed(&format!("This will remove {what} not used by at least one container."))? {
        return Ok(0);
    }
    let (removed, bytes) = prune_now(context, args.all, &filters)?;
    if !removed.is_empty() {
        println!("Deleted Volumes:");
        removed.iter().for_each(|name| println!("{name}"));
        println!();
    }
    println!("Total reclaimed space: {}", human::size(bytes));
    Ok(0)
}

/// Removes what nobody uses; answers with the names and the space. A dry run only does the latter.
pub(super) fn prune_now(context: &Context, all: bool, filters: &Filters) -> Result<(Vec<String>, u64), CommandError> {
    let store = Store::new(&context.paths);
    let (mut removed, mut bytes) = (Vec::new(), 0);
    for volume in store.list()? {
        // Anonymous volumes have no key in any file.
        let chosen = (all || volume.key.is_empty())
            && filters.labels(&volume.labels)
            && filters.any("project", |project| volume.project.as_deref() == Some(project));
        if !chosen || !users::of_volume(&context.paths, &volume.name, None).is_empty() {
            continue;
        }
        let size = disk::usage(&store.data(&volume.name));
        match remove(&store, &volume.name, context) {
            Ok(true) => {
                removed.push(volume.name);
                bytes += size;
            }
            // Taken into use, or removed, in the meantime.
            Ok(false) | Err(VolumeError::InUse { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok((removed, bytes))
}
