//! The command line, one source for parsing and help. Flags and their meaning are those of `docker compose`.

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use super::global::GlobalArgs;
use super::help;
use super::later::Later;

/// Run Compose projects on this machine, without a daemon
#[derive(Debug, Parser)]
#[command(name = "windlass", version, args_override_self = true)]
pub struct Cli {
    #[command(flatten)]
    pub global: GlobalArgs,
    #[command(subcommand)]
    pub command: Command,
}

/// The command line with its help in groups.
#[must_use]
pub fn command() -> clap::Command {
    help::grouped(Cli::command())
}

/// Reads the arguments of this process.
///
/// # Errors
/// When they are not understood, or ask for help or the version.
pub fn parse() -> Result<Cli, clap::Error> {
    Cli::from_arg_matches_mut(&mut command().try_get_matches()?)
}

/// A command that only has commands of its own.
#[derive(Debug, Args)]
pub struct Subcommands<T: Subcommand> {
    #[command(subcommand)]
    pub command: T,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Create and start the services
    Up(Later<super::commands::up::UpArgs>),
    /// Print the project as it is understood
    #[command(visible_alias = "convert")]
    Config(Later<super::commands::config::ConfigArgs>),
    /// Show where a value of the project comes from
    Explain(Later<super::commands::explain::ExplainArgs>),
    /// Stop and remove containers and networks
    Down(Later<super::commands::down::DownArgs>),
    /// Create containers without starting them
    Create(Later<super::commands::create::CreateArgs>),
    /// Run a command in a container of its own
    Run(Later<super::commands::run::RunArgs>),
    /// Change how many containers services have
    Scale(Later<super::commands::scale::ScaleArgs>),
    /// Wait until containers have ended
    Wait(Later<super::commands::wait::WaitArgs>),
    /// Start containers that exist
    Start(Later<super::commands::start::StartArgs>),
    /// Stop containers without removing them
    Stop(Later<super::commands::stop::StopArgs>),
    /// Stop and start containers
    Restart(Later<super::commands::restart::RestartArgs>),
    /// Send a signal to containers
    Kill(Later<super::commands::kill::KillArgs>),
    /// Freeze every process of the containers
    Pause(Later<super::commands::pause::PauseArgs>),
    /// Let paused containers go on
    Unpause(Later<super::commands::pause::PauseArgs>),
    /// Remove stopped containers
    Rm(Later<super::commands::rm::RmArgs>),
    /// List containers
    Ps(Later<super::commands::ps::PsArgs>),
    /// Show what the containers wrote
    Logs(Later<super::commands::logs::LogsArgs>),
    /// List projects
    Ls(Later<super::commands::ls::LsArgs>),
    /// Show the version
    Version(Later<super::commands::version::VersionArgs>),
    /// Start the services and follow edits of their files
    Watch(Later<super::commands::watch::WatchArgs>),
    /// Open a shell in a service's environment, whether or not it runs
    Shell(Later<super::commands::shell::ShellArgs>),
    /// Run a command in a running container
    Exec(Later<super::commands::exec::ExecArgs>),
    /// Pull the services' images
    Pull(Later<super::commands::pull::PullArgs>),
    /// Print where a port of a service is published
    Port(Later<super::commands::port::PortArgs>),
    /// Show the processes of the containers
    Top(Later<super::commands::top::TopArgs>),
    /// List the images of the containers
    Images(Later<super::commands::images::ImagesArgs>),
    /// List the project's volumes
    Volumes(Later<super::commands::volumes::VolumesArgs>),
    /// Copy files between a container and this machine
    Cp(Later<super::commands::cp::CpArgs>),
    /// Write a container's file system as a tar archive
    Export(Later<super::commands::export::ExportArgs>),
    /// Make an image out of a container's changes
    Commit(Later<super::commands::commit::CommitArgs>),
    /// Show what the containers use
    Stats(Later<super::commands::stats::StatsArgs>),
    /// Show what happens to the containers
    Events(Later<super::commands::events::EventsArgs>),
    /// Connect to a container's input and output
    Attach(Later<super::commands::attach::AttachArgs>),
    /// Draw the services and what they need
    Graph(Later<super::commands::graph::GraphArgs>),
    /// Print a shell's completions, or install them with the man pages
    Completion(Later<super::commands::completion::CompletionArgs>),
    /// Manage volumes
    Volume(Later<Subcommands<super::commands::volume::VolumeCommand>>),
    /// Manage networks
    Network(Later<Subcommands<super::commands::network::NetworkCommand>>),
    /// Show and reclaim the space that everything takes
    System(Later<Subcommands<super::commands::system::SystemCommand>>),
    /// Manage images
    Image(Later<Subcommands<super::commands::image::ImageCommand>>),
}

impl Command {
    /// Whether what it prints is for programs.
    #[must_use]
    pub fn prints_json(&self) -> bool {
        let format = match self {
            Self::Config(args) => args.format.as_deref(),
            Self::Images(args) => args.format.as_deref(),
            Self::Ps(args) => args.format.as_deref(),
            Self::Stats(args) => args.format.as_deref(),
            Self::Volumes(args) => args.format.as_deref(),
            Self::Events(args) => return args.json,
            Self::Explain(args) => return args.format == super::commands::explain::Form::Json,
            _ => None,
        };
        format == Some("json")
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn no_two_flags_meet() {
        super::Cli::command().debug_assert();
    }
}
