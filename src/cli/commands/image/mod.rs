//! `windlass image`: what is in the image store. Flags and columns are those of `docker image`.

mod change;
mod list;
mod show;
mod transfer;

use clap::Subcommand;

pub(super) use change::{removed, unused, warn_of_unknown};

use crate::cli::{CommandResult, Context};

#[derive(Debug, Subcommand)]
pub enum ImageCommand {
    /// List images
    #[command(visible_alias = "list")]
    Ls(list::LsArgs),
    /// Pull images from registries
    Pull(transfer::PullArgs),
    /// Load images from an archive, an OCI layout, or standard input
    Load(transfer::LoadArgs),
    /// Save images to an archive, a folder, or standard output
    Save(transfer::SaveArgs),
    /// Give an image a further name
    Tag(change::TagArgs),
    /// Remove images
    #[command(visible_alias = "remove")]
    Rm(change::RmArgs),
    /// Show everything that is known about images
    Inspect(show::InspectArgs),
    /// Show how an image was built
    History(show::HistoryArgs),
    /// Remove images that nobody uses
    Prune(change::PruneArgs),
}

/// # Errors
/// Whatever the command fails with.
pub fn run(command: &ImageCommand, context: &Context) -> CommandResult {
    match command {
        ImageCommand::Ls(args) => list::run(args, context),
        ImageCommand::Pull(args) => transfer::pull(args, context),
        ImageCommand::Load(args) => transfer::load(args, context),
        ImageCommand::Save(args) => transfer::save(args, context),
        ImageCommand::Tag(args) => change::tag(args, context),
        ImageCommand::Rm(args) => change::rm(args, context),
        ImageCommand::Inspect(args) => show::inspect(args, context),
        ImageCommand::History(args) => show::history(args, context),
        ImageCommand::Prune(args) => change::prune(args, context),
    }
}
