//! Arguments in, text out: the only code that prints or reads the environment.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is the module that prints")]

mod act;
pub mod args;
pub mod commands;
pub mod complete;
pub mod confirm;
pub mod containers;
pub mod context;
pub mod conversation;
mod desired;
mod ended;
pub mod exit;
pub mod filter;
mod foreground;
pub mod graph;
pub mod images;
mod keys;
mod later;
pub mod load;
pub mod logs;
mod menu;
mod npm;
mod project;
pub mod signals;
mod streams;
pub mod terminal;
pub mod toolchains;
pub mod trace;
pub mod ui;
mod watching;

use std::process::ExitCode;

use clap::Parser;

pub use context::Context;
pub use exit::{CommandError, CommandResult};

/// Runs the role that the first argument names: the command line, or one of the two background processes.
pub fn main() -> ExitCode {
    complete::answer();
    later::put_off();
    let cli = match args::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { exit::USAGE } else { exit::SUCCESS });
        }
    };
    let trace = trace::Trace::start(cli.global.verbose, cli.global.timings);
    let context = match Context::from_environment(cli.global, cli.command.prints_json()) {
        Ok(context) => context,
        Err(error) => {
            error.print(ui::style::Palette::plain());
            return ExitCode::from(error.exit_code());
        }
    };
    let code = match commands::run(cli.command, &context) {
        Ok(code) => code,
        Err(error) => {
            error.print(context.palette());
            error.exit_code()
        }
    };
    trace.finish();
    ExitCode::from(code)
}
