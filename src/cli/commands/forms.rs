//! Which commands have a dry form, and which act in any case.

use super::image::ImageCommand;
use super::network::NetworkCommand;
use crate::cli::args::Command;
use crate::cli::exit::{CommandError, USAGE};

/// # Errors
/// When the command, as it is asked for, has no dry form.
pub fn check(command: &Command) -> Result<(), CommandError> {
    match acts(command) {
        None => Ok(()),
        Some(what) => Err(CommandError::new(format!("{what} has no dry form: it cannot be shown what it would do"))
            .hint("leave --dry-run out to do it")
            .code(USAGE)),
    }
}

/// What a command does in any case. Every command is listed, so that none is forgotten.
fn acts(command: &Command) -> Option<&'static str> {
    match command {
        Command::Attach(_) => Some("`attach`"),
        Command::Commit(_) => Some("`commit`"),
        Command::Cp(_) => Some("`cp`"),
        Command::Exec(_) => Some("`exec`"),
        Command::Export(_) => Some("`export`"),
        Command::Shell(_) => Some("`shell`"),
        Command::Completion(args) => args.install.then_some("`completion --install`"),
        Command::Config(args) => args.output.is_some().then_some("`config --output`"),
        Command::Network(args) => match &args.command {
            NetworkCommand::Create(_) => Some("`network create`"),
            NetworkCommand::Connect(_) => Some("`network connect`"),
            NetworkCommand::Disconnect(_) => Some("`network disconnect`"),
            NetworkCommand::Ls(_) | NetworkCommand::Inspect(_) | NetworkCommand::Rm(_) | NetworkCommand::Prune(_) => {
                None
            }
        },
        Command::Image(args) => match &args.command {
            ImageCommand::Load(_) => Some("`image load`"),
            ImageCommand::Save(_) => Some("`image save`"),
            ImageCommand::Ls(_)
            | ImageCommand::Pull(_)
            | ImageCommand::Tag(_)
            | ImageCommand::Rm(_)
            | ImageCommand::Inspect(_)
            | ImageCommand::History(_)
            | ImageCommand::Prune(_) => None,
        },
        // What they would do is shown.
        Command::Up(_)
        | Command::Down(_)
        | Command::Create(_)
        | Command::Run(_)
        | Command::Scale(_)
        | Command::Wait(_)
        | Command::Start(_)
        | Command::Stop(_)
        | Command::Restart(_)
        | Command::Kill(_)
        | Command::Pause(_)
        | Command::Unpause(_)
        | Command::Rm(_)
        | Command::Watch(_)
        | Command::Pull(_)
        | Command::Volume(_)
        | Command::System(_) => None,
        // They only read.
        Command::Explain(_)
        | Command::Ps(_)
        | Command::Logs(_)
        | Command::Ls(_)
        | Command::Version(_)
        | Command::Port(_)
        | Command::Top(_)
        | Command::Images(_)
        | Command::Volumes(_)
        | Command::Stats(_)
        | Command::Events(_)
        | Command::Graph(_) => None,
    }
}
