//! `windlass volumes`: those of one project.

use std::collections::BTreeSet;

use clap::Args;

use crate::cli::containers::Containers;
use crate::cli::ui::{stdout, volumes};
use crate::cli::{CommandResult, Context};
use crate::volumes::Store;

#[derive(Debug, Args)]
pub struct VolumesArgs {
    /// Only volumes that these services mount
    pub services: Vec<String>,
    /// `table`, `json`, `table TEMPLATE` or a template such as `{{.Name}}`
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<String>,
    /// Only names
    #[arg(short = 'q', long)]
    pub quiet: bool,
}

/// # Errors
/// When a service does not exist, or a record cannot be read.
pub fn run(args: &VolumesArgs, context: &Context) -> CommandResult {
    let format = volumes::LISTING.parse(args.format.as_deref())?;
    let containers = Containers::of(context)?;
    containers.check_services(&args.services)?;
    let store = Store::new(&context.paths);
    let mounted: BTreeSet<&str> = containers
        .of_services(&args.services, true)
        .flat_map(|container| &container.record.volumes)
        .map(|used| used.volume.as_str())
        .collect();
    let name = containers.project.name();
    let found = store.list()?.into_iter().filter(|volume| {
        mounted.contains(volume.name.as_str()) || (args.services.is_empty() && volume.project.as_deref() == Some(name))
    });
    let found: Vec<_> = found.collect();
    if args.quiet {
        found.iter().for_each(|volume| println!("{}", volume.name));
    } else {
        let rows: Vec<_> = found.iter().map(|volume| volumes::row(volume, &store.data(&volume.name), None)).collect();
        print!("{}", volumes::LISTING.render_in(&format, &rows, stdout::columns())?);
    }
    Ok(0)
}
