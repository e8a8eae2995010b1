//! `windlass system`: the space that everything takes, and how to get it back.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::cli::confirm::confirmed;
use crate::cli::filter::Filters;
use crate::cli::images::open_store;
use crate::cli::ui::format::{Listing, Row};
use crate::cli::ui::narrow::Narrow;
use crate::cli::ui::table::Table;
use crate::cli::ui::{human, status, stdout};
use crate::cli::{CommandError, CommandResult, Context, dry};
use crate::engine::{disk, leftovers};
use crate::image::toolchain::{self, Kept};
use crate::image::{Store, Uses};
use crate::record::truth;
use crate::record::{inventory, users};
use crate::volumes;

#[derive(Debug, Subcommand)]
pub enum SystemCommand {
    /// Show the space that images, containers, volumes, toolchains and logs take
    Df(DfArgs),
    /// Remove unused networks and images, and what dead projects have left behind
    Prune(PruneArgs),
}

#[derive(Debug, Args)]
pub struct DfArgs {
    /// `table`, `json`, `table TEMPLATE` or a template such as `{{.Type}}: {{.Size}}`
    #[arg(long, value_name = "FORMAT", conflicts_with = "verbose_lists")]
    pub format: Option<String>,
    /// One line for each image, container and volume
    #[arg(short = 'v', long = "verbose", id = "verbose_lists")]
    pub detailed: bool,
}

#[derive(Debug, Args)]
pub struct PruneArgs {
    /// All images and toolchains that no container uses, not only images without a name
    #[arg(short, long)]
    pub all: bool,
    /// Do not ask
    #[arg(short, long)]
    pub force: bool,
    /// Anonymous volumes that no container uses, too
    #[arg(long)]
    pub volumes: bool,
    /// `label=KEY[=VALUE]`, `label!=KEY[=VALUE]` of networks and volumes (can be repeated)
    #[arg(long = "filter", value_name = "FILTER")]
    pub filters: Vec<String>,
}

const LISTING: Listing = Listing {
    fields: &["Active", "Reclaimable", "Size", "TotalCount", "Type"],
    columns: &["Type", "TotalCount", "Active", "Size", "Reclaimable"],
    title,
    min_width: 10,
    gap: 3,
    narrow: Narrow { leave_out: &["Active", "TotalCount"], shorten: &[("Type", 10)] },
    json_array: false,
};

/// For the list of all that takes space.
const NARROW: Narrow = Narrow { leave_out: &["USED BY"], shorten: &[("USED BY", 10), ("Name", 12)] };

/// # Errors
/// Whatever the command fails with.
pub fn run(command: &SystemCommand, context: &Context) -> CommandResult {
    match command {
        SystemCommand::Df(args) => df(args, context),
        SystemCommand::Prune(args) => prune(args, context),
    }
}

/// Something that takes space.
struct Item {
    name: String,
    detail: String,
    bytes: u64,
    active: bool,
}

fn df(args: &DfArgs, context: &Context) -> CommandResult {
    let format = LISTING.parse(args.format.as_deref())?;
    let (containers, logs) = containers(context)?;
    let groups = [
        ("Images", images(context)?),
        ("Containers", containers),
        ("Local Volumes", local_volumes(context)?),
        ("Toolchains", toolchains(context)?),
        ("Logs", logs),
    ];
    if args.detailed {
        for (index, (kind, items)) in groups.iter().enumerate() {
            if index > 0 {
                println!();
            }
            println!("{kind} space usage:\n");
            let mut table = Table::new(&["NAME", "USED BY", "SIZE"]);
            items.iter().for_each(|item| table.row([&item.name, &item.detail, &human::size(item.bytes)]));
            print!("{}", table.render_in(stdout::columns(), &["Name", "USED BY", "SIZE"], &NARROW));
        }
        return Ok(0);
    }
    let rows: Vec<Row> = groups.iter().map(|(kind, items)| summary(kind, items)).collect();
    print!("{}", LISTING.render_in(&format, &rows, stdout::columns())?);
    Ok(0)
}

fn summary(kind: &str, items: &[Item]) -> Row {
    let sum = |active: bool| items.iter().filter(|item| item.active == active).map(|item| item.bytes).sum::<u64>();
    let free = sum(false);
    let all = sum(true) + free;
    let percent = if all == 0 { 0 } else { u128::from(free) * 100 / u128::from(all) };
    let fields = json!({
        "Active": items.iter().filter(|item| item.active).count().to_string(),
        "Reclaimable": format!("{} ({percent}%)", human::size(free)),
        "Size": human::size(all),
        "TotalCount": items.len().to_string(),
        "Type": kind,
    });
    match fields {
        Value::Object(fields) => Row::new(fields),
        _ => Row::default(),
    }
}

/// A layer that several images share counts for the first of them that is used.
fn images(context: &Context) -> Result<Vec<Item>, CommandError> {
    let store = Store::at(&context.paths.images());
    let uses = Uses::read(&context.paths.projects())?;
    let mut images = store.images()?;
    images.sort_by_key(|image| uses.of(&image.id).is_empty());
    let mut counted = BTreeSet::new();
    let mut items = Vec::new();
    for image in images {
        let users = uses.of(&image.id);
        let sizes = store.layer_sizes(&image.id)?;
        let own = image.diff_ids.iter().zip(sizes).filter(|(layer, _)| counted.insert(**layer));
        items.push(Item {
            name: image.references.first().map_or_else(|| image.id.short(), |name| name.familiar()),
            detail: users.join(", "),
            bytes: own.map(|(_, size)| size).sum(),
            active: !users.is_empty(),
        });
    }
    Ok(items)
}

/// Writable layers, and logs.
fn containers(context: &Context) -> Result<(Vec<Item>, Vec<Item>), CommandError> {
    let (mut items, mut logs) = (Vec::new(), Vec::new());
    for project in inventory::projects(&context.paths)? {
        let paths = context.paths.project(&project);
        let found = match truth::containers(&paths) {
            Ok(found) => found,
            // The others can be shown all the same.
            Err(error) => {
                CommandError::from(error).print(context.palette());
                continue;
            }
        };
        for container in found {
            let places = paths.container(&container.record.id);
            let state = status::word(&container.state.status);
            let active = !matches!(state, "exited" | "created");
            let item = |bytes| Item { name: container.record.name.clone(), detail: state.to_owned(), bytes, active };
            items.push(item(disk::usage(&container.record.spec.rootfs.upper)));
            logs.push(item(log_size(&places.log())));
        }
    }
    Ok((items, logs))
}

/// With the older ones that it was rotated to.
fn log_size(log: &Path) -> u64 {
    let size = |path: &Path| std::fs::metadata(path).ok().map(|file| file.len());
    let older = (1..).map_while(|number| size(&PathBuf::from(format!("{}.{number}", log.display()))));
    size(log).unwrap_or(0) + older.sum::<u64>()
}

fn local_volumes(context: &Context) -> Result<Vec<Item>, CommandError> {
    let store = volumes::Store::new(&context.paths);
    let list = store.list()?.into_iter();
    let items = list.map(|volume| {
        let users = users::of_volume(&context.paths, &volume.name, None);
        let bytes = disk::usage(&store.data(&volume.name));
        Item { name: volume.name, detail: users.join(", "), bytes, active: !users.is_empty() }
    });
    Ok(items.collect())
}

/// Node.js and Python that were fetched for services.
fn toolchains(context: &Context) -> Result<Vec<Item>, CommandError> {
    let mounted = inventory::mounted(&context.paths)?;
    let items = toolchain::kept(&context.paths.toolchains()).into_iter().map(|kept| {
        let users = users_of(&kept, &mounted);
        let bytes = disk::usage(&kept.folder);
        Item { name: kept.name, detail: users.join(", "), bytes, active: !users.is_empty() }
    });
    Ok(items.collect())
}

fn users_of(kept: &Kept, mounted: &[(String, Vec<PathBuf>)]) -> Vec<String> {
    let uses = mounted.iter().filter(|(_, sources)| sources.iter().any(|source| source.starts_with(&kept.folder)));
    uses.map(|(name, _)| name.clone()).collect()
}

/// Removes the toolchains that no container uses; answers with their names and the space.
fn prune_toolchains(context: &Context) -> Result<(Vec<String>, u64), CommandError> {
    let (mut removed, mut bytes) = (Vec::new(), 0);
    for kept in toolchain::kept(&context.paths.toolchains()) {
        let size = disk::usage(&kept.folder);
        // What cannot be read counts as a user.
        let is_used =
            || inventory::mounted(&context.paths).map_or(true, |mounted| !users_of(&kept, &mounted).is_empty());
        if toolchain::remove(&kept, is_used)? {
            removed.push(kept.name);
            bytes += size;
        }
    }
    Ok((removed, bytes))
}

fn prune(args: &PruneArgs, context: &Context) -> CommandResult {
    context.require_root()?;
    let filters = Filters::parse(&args.filters, &["label", "label!"])?;
    if context.global.dry_run {
        return show_prune(args, context, &filters);
    }
    let mut what = vec!["all networks not used by at least one container", "what dead projects have left behind"];
    if args.all {
        what.push("all toolchains without at least one container");
    }
    what.push(if args.all { "all images without at least one container" } else { "all dangling images" });
    if args.volumes {
        what.push("all anonymous volumes not used by at least one container");
    }
    let list: Vec<String> = what.iter().map(|what| format!("\n  - {what}")).collect();
    if !args.force && !confirmed(&format!("This will remove:{}\n", list.concat()))? {
        return Ok(0);
    }
    let mut bytes = 0;
    // First: what is left of the dead can stand in nobody's way then.
    tell("Deleted Leftovers:", &leftovers::remove(&context.paths)?);
    let networks = super::network::prune_now(context, &filters)?;
    tell("Deleted Networks:", &networks);
    if args.volumes {
        let (removed, freed) = super::volume::prune_now(context, false, &filters)?;
        tell("Deleted Volumes:", &removed);
        bytes += freed;
    }
    if args.all {
        let (removed, freed) = prune_toolchains(context)?;
        tell("Deleted Toolchains:", &removed);
        bytes += freed;
    }
    if context.paths.images().is_dir() {
        let uses = Uses::read(&context.paths.projects())?;
        super::image::warn_of_unknown(&uses, context);
        let removal = open_store(context)?.prune(&uses, args.all, &|image| filters.labels(&image.config.labels))?;
        let removed: Vec<String> = removal.removed.iter().map(super::image::removed).collect();
        tell("Deleted Images:", &removed);
        bytes += removal.bytes;
    }
    println!("Total reclaimed space: {}", human::size(bytes));
    Ok(0)
}

/// What `prune` would remove.
fn show_prune(args: &PruneArgs, context: &Context, filters: &Filters) -> CommandResult {
    let step = |kind: &str, name: &str| format!("remove {kind} {name}: nobody uses it");
    let mut steps: Vec<String> =
        leftovers::find(&context.paths)?.iter().map(|what| format!("remove {what}: nobody keeps it")).collect();
    steps.extend(super::network::prune_now(context, filters)?.iter().map(|name| step("network", name)));
    if args.volumes {
        let (volumes, _) = super::volume::prune_now(context, false, filters)?;
        steps.extend(volumes.iter().map(|name| step("volume", name)));
    }
    if args.all {
        let unused = toolchains(context)?.into_iter().filter(|item| !item.active);
        steps.extend(unused.map(|item| step("toolchain", &item.name)));
    }
    let uses = Uses::read(&context.paths.projects())?;
    let images = open_store(context)?.would_prune(&uses, args.all, &|image| filters.labels(&image.config.labels))?;
    steps.extend(images.iter().map(super::image::unused));
    dry::tell(steps);
    Ok(0)
}

fn tell(title: &str, removed: &[String]) {
    if !removed.is_empty() {
        println!("{title}");
        removed.iter().for_each(|name| println!("{name}"));
        println!();
    }
}

fn title(field: &str) -> String {
    if field == "TotalCount" { "TOTAL".into() } else { field.to_uppercase() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_uses_can_be_had_back() {
        let item = |bytes, active| Item { name: "x".into(), detail: String::new(), bytes, active };
        let rows = [summary("Images", &[item(1_000, true), item(3_000, false)]), summary("Logs", &[])];
        insta::assert_snapshot!(LISTING.render(&LISTING.parse(None).unwrap(), &rows).unwrap(), @r"
        TYPE      TOTAL     ACTIVE    SIZE      RECLAIMABLE
        Images    2         1         4kB       3kB (75%)
        Logs      0         0         0B        0B (0%)
        ");
    }
}
