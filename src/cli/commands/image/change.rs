//! `windlass image tag`, `rm` and `prune`

use std::path::PathBuf;

use clap::Args;

use super::list::Filters;
use crate::cli::confirm::confirmed;
use crate::cli::images::open_store;
use crate::cli::ui::error::warning;
use crate::cli::ui::human;
use crate::cli::{CommandError, CommandResult, Context, dry};
use crate::image::store::{Removal, Removed};
use crate::image::{Image, ImageError, Reference, Uses, host};
use crate::record::inventory;

#[derive(Debug, Args)]
pub struct TagArgs {
    /// Image by name or id
    pub source: String,
    /// Its new name
    pub target: String,
}

#[derive(Debug, Args)]
pub struct RmArgs {
    /// Images by name or id
    #[arg(value_name = "IMAGE", required = true)]
    pub images: Vec<String>,
    /// Take the names even when containers use the image (its files stay until they are gone)
    #[arg(short, long)]
    pub force: bool,
    /// Accepted for Docker's sake: there are no parent images
    #[arg(long)]
    pub no_prune: bool,
}

#[derive(Debug, Args)]
pub struct PruneArgs {
    /// Remove all images that no container uses, not only those without a name
    #[arg(short, long)]
    pub all: bool,
    /// Do not ask
    #[arg(short, long)]
    pub force: bool,
    /// `label=KEY[=VALUE]` (can be repeated)
    #[arg(long = "filter", value_name = "FILTER")]
    pub filters: Vec<String>,
}

pub(super) fn tag(args: &TagArgs, context: &Context) -> CommandResult {
    context.require_root()?;
    let store = open_store(context)?;
    let target: Reference = args.target.parse()?;
    if target.digest().is_some() {
        return Err(CommandError::new("a name with a digest cannot be given: the digest is the image's own"));
    }
    let image = store.resolve(&args.source)?.ok_or_else(|| ImageError::NotFound(args.source.clone()))?;
    if context.global.dry_run {
        dry::tell([format!("tag image {} as {}: as asked for", args.source, target.familiar())]);
        return Ok(0);
    }
    store.tag(&image.id, &target)?;
    Ok(0)
}

pub(super) fn rm(args: &RmArgs, context: &Context) -> CommandResult {
    context.require_root()?;
    let store = open_store(context)?;
    let uses = Uses::read(&context.paths.projects())?;
    let mut failure: Option<CommandError> = None;
    for image in &args.images {
        let removal = match context.global.dry_run {
            true => store.would_remove(image, &uses, args.force).map(|steps| dry::tell(steps.iter().map(step))),
            false => store.remove(image, &uses, args.force).map(|removal| print_removal(&removal)),
        };
        match removal {
            Ok(()) => {}
            Err(error) => {
                let hint = match &error {
                    ImageError::InUse { .. } => Some("remove the containers first, or take only the name with --force"),
                    ImageError::Refused(_) => Some("name the one to remove, or remove all with --force"),
                    _ => None,
                };
                let mut error = CommandError::from(error);
                if let Some(hint) = hint {
                    error = error.hint(hint);
                }
                if let Some(earlier) = failure.replace(error) {
                    earlier.print(context.palette());
                }
            }
        }
    }
    failure.map_or(Ok(0), Err)
}

pub(super) fn prune(args: &PruneArgs, context: &Context) -> CommandResult {
    context.require_root()?;
    let store = open_store(context)?;
    let uses = Uses::read(&context.paths.projects())?;
    let filters = Filters::parse(&args.filters, &store.images()?)?;
    if context.global.dry_run {
        let images = store.would_prune(&uses, args.all, &|image| filters.fit(image))?;
        dry::tell(images.iter().map(unused));
        return Ok(0);
    }
    let what = if args.all { "all images without at least one container" } else { "all dangling images" };
    if !args.force && !confirmed(&format!("This will remove {what}."))? {
        return Ok(0);
    }
    let removal = store.prune(&uses, args.all, &|image| filters.fit(image))?;
    if !removal.removed.is_empty() {
        println!("Deleted Images:");
        print_removal(&removal);
        println!();
    }
    warn_of_unknown(&uses, context);
    let hosts = match uses.unknown().is_empty() {
        true => host::prune(&context.paths.images(), &layers_in_use(context)?)?,
        false => 0,
    };
    println!("Total reclaimed space: {}", human::size(removal.bytes + hosts));
    Ok(0)
}

/// Why nothing is removed that a container may need whose record cannot be read.
pub(in crate::cli::commands) fn warn_of_unknown(uses: &Uses, context: &Context) {
    for (path, why) in uses.unknown() {
        let text = format!(
            "{} cannot be read ({why}): its container may have been made from any image, so none is removed; put the \
             file back, or remove the container with `windlass down`",
            path.display()
        );
        eprint!("{}", warning(&text, context.palette()));
    }
}

/// Layers that containers of any project are made of.
fn layers_in_use(context: &Context) -> Result<Vec<PathBuf>, CommandError> {
    let mut layers = Vec::new();
    for project in inventory::projects(&context.paths)? {
        let containers = inventory::containers(&context.paths.project(&project))?;
        layers.extend(containers.into_iter().flat_map(|container| container.record.spec.rootfs.lower));
    }
    Ok(layers)
}

fn print_removal(removal: &Removal) {
    removal.removed.iter().for_each(|removed| println!("{}", self::removed(removed)));
    for (image, users) in &removal.kept {
        eprintln!("image {} stays without a name: it is in use by {users}", image.short());
    }
}

/// One step of a dry run as a line.
fn step(removed: &Removed) -> String {
    match removed {
        Removed::Name(name) => format!("untag image {}: as asked for", name.familiar()),
        Removed::Image(id) => format!("remove image {}: as asked for", id.short()),
    }
}

/// The same for an image that goes because nobody uses it.
pub(in crate::cli::commands) fn unused(image: &Image) -> String {
    let name = image.references.first().map_or_else(|| image.id.short(), Reference::familiar);
    format!("remove image {name}: nobody uses it")
}

/// One removal as a line.
pub(in crate::cli::commands) fn removed(removed: &Removed) -> String {
    match removed {
        Removed::Name(name) => format!("Untagged: {}", name.familiar()),
        Removed::Image(id) => format!("Deleted: {id}"),
    }
}
