//! Arguments in, text out: the only code that prints or reads the environment.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is the module that prints")]

/// As the standard library's, for a reader who may have left (`| head`): there is nobody left to tell, and that is no fault.
macro_rules! print {
    ($($text:tt)*) => { $crate::cli::ui::stdout::print(format_args!($($text)*)) };
}

/// The same, with a line's end.
macro_rules! println {
    () => { $crate::cli::ui::stdout::print(format_args!("\n")) };
    ($($text:tt)*) => { $crate::cli::ui::stdout::print(format_args!("{}\n", format_args!($($text)*))) };
}

mod act;
mod advice;
pub mod args;
pub mod commands;
pub mod complete;
pub mod confirm;
pub mod containers;
pub mod context;
mod converging;
pub mod conversation;
mod desired;
mod dry;
mod ended;
mod execute;
pub mod exit;
mod faults;
pub mod filter;
mod foreground;
pub mod global;
pub mod graph;
mod help;
pub mod images;
mod keys;
mod later;
pub mod load;
pub mod logs;
mod menu;
mod mounted;
mod names;
mod npm;
mod objects;
mod project;
mod settings;
pub mod signals;
mod standstill;
mod streams;
pub mod terminal;
pub mod toolchains;
pub mod trace;
pub mod ui;
mod watching;

use std::process::ExitCode;

pub use context::Context;
pub use exit::{CommandError, CommandResult};

/// Runs the role that the first argument names: the command line, or one of the two background processes.
pub fn main() -> ExitCode {
    complete::answer();
    later::put_off();
    let cli = match args::parse() {
        Ok(cli) => cli,
        // As the peer, whose `-v` is the version where nothing else is said.
        Err(_) if std::env::args_os().skip(1).eq(["-v"]) => {
            println!("windlass {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::from(exit::SUCCESS);
        }
        Err(mut error) => {
            advice::mend(&mut error);
            match advice::on(&error) {
                Some(advice) => eprint!("{advice}"),
                None => _ = error.print(),
            }
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
    for text in crate::state::notice::take() {
        eprint!("{}", ui::error::warning(&text, context.palette()));
    }
    trace.finish();
    ExitCode::from(code)
}
