//! What a shell proposes when the tab key is pressed: commands and flags from their definition, services and profiles
//! from the Compose file of the folder.

use std::ffi::OsStr;

use clap::{Command, CommandFactory};
use clap_complete::CompleteEnv;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};

use super::args::Cli;
use crate::compose::model::Project;
use crate::compose::{self, FsSource, LoadOptions, LoadRequest};

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
    let command = command.mut_args(|arg| match arg.get_id().as_str() {
        "services" | "service" | "only" if arg.is_positional() => arg.add(ArgValueCompleter::new(services)),
        "profiles" if !arg.is_positional() => arg.add(ArgValueCompleter::new(profiles)),
        _ => arg,
    });
    let names: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    names.into_iter().fold(command, |command, name| command.mut_subcommand(name, with_values))
}

fn services(typed: &OsStr) -> Vec<CompletionCandidate> {
    let Some(project) = project() else { return vec![] };
    let names = project.services.keys().chain(project.disabled_services.keys()).map(String::as_str);
    candidates(names, typed)
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

fn candidates<'a>(names: impl Iterator<Item = &'a str>, typed: &OsStr) -> Vec<CompletionCandidate> {
    let typed = typed.to_string_lossy();
    names.filter(|name| name.starts_with(&*typed)).map(CompletionCandidate::new).collect()
}

/// A file with faults proposes nothing: who presses a key did not ask for its faults.
fn project() -> Option<Project> {
    let request = LoadRequest {
        current_dir: std::env::current_dir().ok()?,
        environment: std::env::vars_os()
            .filter_map(|(key, value)| Some((key.into_string().ok()?, value.into_string().ok()?)))
            .collect(),
        options: LoadOptions { check_consistency: false, resolve_environment: false, ..LoadOptions::default() },
        ..LoadRequest::default()
    };
    compose::load(request, &FsSource).ok().map(|loaded| loaded.project)
}

#[cfg(test)]
mod tests {
    #[test]
    fn values_are_proposed_for_real_arguments() {
        super::command().debug_assert();
    }
}
