//! What a shell proposes when the tab key is pressed: commands and flags from their definition, services and profiles
//! from the Compose file, and of the services those that the command can do something with.

use std::ffi::{OsStr, OsString};

use clap::{Arg, Command, CommandFactory, Parser};
use clap_complete::CompleteEnv;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};

use super::args::Cli;
use super::commands::{images, ls, ps, stats};
use super::global::GlobalArgs;
use super::ui::volumes;
use crate::compose::model::Project;
use crate::compose::{self, FsSource, LoadOptions, LoadRequest};
use crate::record::Status;
use crate::record::truth;
use crate::state::Paths;

/// The variable by which a shell's script asks for proposals.
pub const VARIABLE: &str = "COMPLETE";

/// Answers a shell and ends the process, when it is a shell that asks.
pub fn answer() {
    CompleteEnv::with_factory(command).var(VARIABLE).complete();
}

/// The command line with what its values may be.
#[must_use]
pub fn command() -> Command {
    with_values(Cli::command())
}

fn with_values(command: Command) -> Command {
    let name = command.get_name().to_owned();
    let command = command.mut_args(|arg| with_value(&name, arg));
    let names: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    names.into_iter().fold(command, |command, name| command.mut_subcommand(name, with_values))
}

fn with_value(command: &str, arg: Arg) -> Arg {
    match arg.get_id().as_str() {
        "services" | "service" | "only" if arg.is_positional() => {
            let fits = Fits::of(command);
            arg.add(ArgValueCompleter::new(move |typed: &OsStr| services(fits, typed)))
        }
        "attach" | "no_attach" | "exit_code_from" | "hash" => {
            arg.add(ArgValueCompleter::new(|typed: &OsStr| services(Fits::Any, typed)))
        }
        "scale" => arg.add(ArgValueCompleter::new(scales)),
        "profiles" if !arg.is_positional() => arg.add(ArgValueCompleter::new(profiles)),
        "format" => match columns(command) {
            Some(fields) => arg.add(ArgValueCompleter::new(move |typed: &OsStr| formats(fields, typed))),
            None => arg,
        },
        _ => arg,
    }
}

/// Which services a command can do something with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fits {
    Any,
    /// With a container that runs.
    Running,
    Paused,
    /// With a container that does not run.
    Stopped,
    /// With a container.
    There,
}

impl Fits {
    fn of(command: &str) -> Self {
        match command {
            "exec" | "attach" | "top" | "stats" | "port" | "pause" | "kill" | "stop" | "wait" => Self::Running,
            "unpause" => Self::Paused,
            "start" | "rm" => Self::Stopped,
            "logs" | "restart" | "cp" | "export" | "commit" | "images" => Self::There,
            _ => Self::Any,
        }
    }

    fn holds(self, status: &Status) -> bool {
        let running = matches!(status, Status::Running { .. } | Status::Restarting { .. });
        match self {
            Self::Any | Self::There => true,
            Self::Running => running,
            Self::Paused => matches!(status, Status::Running { paused: true, .. }),
            Self::Stopped => !running,
        }
    }
}

fn services(fits: Fits, typed: &OsStr) -> Vec<CompletionCandidate> {
    let Some(project) = project() else { return vec![] };
    let all: Vec<&str> = project.services.keys().chain(project.disabled_services.keys()).map(String::as_str).collect();
    if fits == Fits::Any {
        return candidates(all.into_iter(), typed);
    }
    // Who may not read the records is shown the file's.
    let Ok(containers) = truth::containers(&paths().project(&project.name)) else {
        return candidates(all.into_iter(), typed);
    };
    let fit = containers.iter().filter(|have| fits.holds(&have.state.status));
    let mut names: Vec<&str> = fit.map(|have| have.record.service.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    candidates(names.into_iter(), typed)
}

/// `web=`
fn scales(typed: &OsStr) -> Vec<CompletionCandidate> {
    let Some(project) = project() else { return vec![] };
    let names: Vec<String> = project.services.keys().map(|name| format!("{name}=")).collect();
    candidates(names.iter().map(String::as_str), typed)
}

fn profiles(typed: &OsStr) -> Vec<CompletionCandidate> {
    let Some(project) = project() else { return vec![] };
    let mut names: Vec<&str> = project
        .services
        .values()
        .chain(project.disabled_services.values())
        .flat_map(|service| service.profiles.iter().map(String::as_str))
        .collect();
    names.sort_unstable();
    names.dedup();
    candidates(names.into_iter(), typed)
}

/// The fields of a command's list.
fn columns(command: &str) -> Option<&'static [&'static str]> {
    Some(match command {
        "ps" => ps::LISTING.fields,
        "ls" => ls::LISTING.fields,
        "images" => images::LISTING.fields,
        "stats" => stats::LISTING.fields,
        "volumes" => volumes::LISTING.fields,
        _ => return None,
    })
}

fn formats(fields: &[&str], typed: &OsStr) -> Vec<CompletionCandidate> {
    let fields = fields.iter().map(|field| format!("{{{{.{field}}}}}"));
    let all: Vec<String> = ["table", "json"].into_iter().map(str::to_owned).chain(fields).collect();
    candidates(all.iter().map(String::as_str), typed)
}

fn candidates<'a>(names: impl Iterator<Item = &'a str>, typed: &OsStr) -> Vec<CompletionCandidate> {
    let typed = typed.to_string_lossy();
    names.filter(|name| name.starts_with(&*typed)).map(CompletionCandidate::new).collect()
}

/// A file with faults proposes nothing: who presses a key did not ask for its faults.
fn project() -> Option<Project> {
    let global = global(std::env::args_os());
    let current_dir = std::env::current_dir().ok()?;
    let request = LoadRequest {
        files: global.files.iter().map(Into::into).collect(),
        project_directory: global.project_directory,
        project_name: global.project_name,
        profiles: global.profiles,
        env_files: global.env_files.iter().map(Into::into).collect(),
        current_dir,
        environment: std::env::vars_os()
            .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
            .collect(),
        options: LoadOptions { check_consistency: false, resolve_environment: false, ..LoadOptions::default() },
    };
    compose::load(request, &FsSource).ok().map(|loaded| loaded.project)
}

fn paths() -> Paths {
    let home = std::env::var_os("WINDLASS_HOME").filter(|home| !home.is_empty());
    Paths::from_home(home.as_ref().map(std::path::Path::new))
}

/// The global flags that were typed so far: shells hand the line over after `--`. What cannot be read counts for
/// nothing.
fn global(arguments: impl Iterator<Item = OsString>) -> GlobalArgs {
    #[derive(Parser)]
    #[command(ignore_errors = true, disable_help_flag = true)]
    struct Line {
        #[command(flatten)]
        global: GlobalArgs,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        rest: Vec<OsString>,
    }
    let line = arguments.skip_while(|argument| argument != "--").skip(1);
    Line::try_parse_from(line).map(|line| line.global).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_proposed_for_real_arguments() {
        command().debug_assert();
    }

    #[test]
    fn the_files_and_the_project_of_the_line_are_looked_at() {
        let read = |line: &str| global(line.split(' ').map(OsString::from));
        let line = read("windlass -- windlass -f other.yaml --project-name shop exec -T ");
        assert_eq!((line.files, line.project_name), (vec!["other.yaml".to_owned()], Some("shop".to_owned())));
        assert!(read("windlass -- windlass exec -f x").files.is_empty());
        assert!(read("windlass -- windlass").files.is_empty());
    }

    #[test]
    fn columns_are_proposed() {
        let names = |typed: &str| {
            let found = formats(columns("ps").unwrap(), OsStr::new(typed));
            found.iter().map(|it| it.get_value().to_string_lossy().into_owned()).collect::<Vec<_>>()
        };
        assert_eq!(names("t"), ["table"]);
        assert_eq!(names("{{.Serv"), ["{{.Service}}"]);
    }
}
