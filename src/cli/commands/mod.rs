//! One command a file: its arguments, and what it prints.

pub mod attach;
pub mod commit;
pub mod completion;
pub mod config;
pub mod cp;
pub mod create;
pub mod down;
pub mod events;
pub mod exec;
pub mod explain;
pub mod export;
mod forms;
pub mod graph;
pub mod image;
pub mod images;
pub mod kill;
pub mod logs;
pub mod ls;
pub mod network;
pub mod pause;
pub mod port;
pub mod ps;
pub mod pull;
pub mod restart;
pub mod rm;
pub mod run;
pub mod scale;
pub mod shell;
pub mod start;
pub mod stats;
pub mod stop;
pub mod system;
pub mod top;
pub mod up;
pub mod version;
pub mod volume;
pub mod volumes;
pub mod wait;
pub mod watch;

use super::args::Command;
use super::{CommandResult, Context};

/// Runs one command.
///
/// # Errors
/// Whatever the command fails with, ready to be printed.
pub fn run(command: Command, context: &Context) -> CommandResult {
    // `explain` of a service asks the project as well, and looks itself whether it may.
    let is_of_files = matches!(
        command,
        Command::Config(_) | Command::Explain(_) | Command::Graph(_) | Command::Version(_) | Command::Completion(_)
    );
    if !is_of_files {
        context.require_access()?;
    }
    if context.global.dry_run {
        forms::check(&command)?;
    }
    match command {
        Command::Up(args) => up::run(&args, context),
        Command::Config(args) => config::run(&args, context),
        Command::Explain(args) => explain::run(&args, context),
        Command::Down(args) => down::run(&args, context),
        Command::Ps(args) => ps::run(&args, context),
        Command::Logs(args) => logs::run(&args, context),
        Command::Ls(args) => ls::run(&args, context),
        Command::Version(args) => version::run(&args, context),
        Command::Start(args) => start::run(&args, context),
        Command::Stop(args) => stop::run(&args, context),
        Command::Restart(args) => restart::run(&args, context),
        Command::Kill(args) => kill::run(&args, context),
        Command::Pause(args) => pause::pause(&args, context),
        Command::Unpause(args) => pause::unpause(&args, context),
        Command::Rm(args) => rm::run(&args, context),
        Command::Create(args) => create::run(&args, context),
        Command::Run(args) => run::run(&args, context),
        Command::Scale(args) => scale::run(&args, context),
        Command::Wait(args) => wait::run(&args, context),
        Command::Watch(args) => watch::run(&args, context),
        Command::Shell(args) => shell::run(&args, context),
        Command::Exec(args) => exec::run(&args, context),
        Command::Pull(args) => pull::run(&args, context),
        Command::Port(args) => port::run(&args, context),
        Command::Top(args) => top::run(&args, context),
        Command::Images(args) => images::run(&args, context),
        Command::Volumes(args) => volumes::run(&args, context),
        Command::Cp(args) => cp::run(&args, context),
        Command::Export(args) => export::run(&args, context),
        Command::Commit(args) => commit::run(&args, context),
        Command::Stats(args) => stats::run(&args, context),
        Command::Events(args) => events::run(&args, context),
        Command::Attach(args) => attach::run(&args, context),
        Command::Graph(args) => graph::run(&args, context),
        Command::Completion(args) => completion::run(&args, context),
        Command::Volume(args) => volume::run(&args.command, context),
        Command::Network(args) => network::run(&args.command, context),
        Command::System(args) => system::run(&args.command, context),
        Command::Image(args) => image::run(&args.command, context),
    }
}
