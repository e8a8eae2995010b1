//! Arguments in, text out: the only code that prints or reads the environment.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is the module that prints")]

pub mod args;
pub mod commands;
pub mod context;
pub mod exit;
mod project;
pub mod terminal;
pub mod trace;
pub mod ui;

use std::process::ExitCode;

use clap::Parser;

pub use context::Context;
pub use exit::{CommandError, CommandResult};

/// Runs the role that the first argument names: the command line, or one of the two background processes.
pub fn main() -> ExitCode {
    let mut arguments = std::env::args_os();
    if arguments.next().is_some_and(|role| role == crate::keeper::ROLE) {
        return crate::keeper::main(arguments);
    }
    let cli = match args::Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { exit::USAGE } else { exit::SUCCESS });
        }
    };
    let trace = trace::Trace::start(cli.global.verbose, cli.global.timings);
    let result = Context::from_environment(cli.global).and_then(|context| commands::run(cli.command, &context));
    let code = match result {
        Ok(code) => code,
        Err(error) => {
            error.print();
            error.exit_code()
        }
    };
    trace.finish();
    ExitCode::from(code)
}
