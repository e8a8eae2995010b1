//! One command a file: its arguments, and what it prints.

pub mod down;
pub mod up;

use super::args::Command;
use super::{CommandResult, Context};

/// Runs one command.
///
/// # Errors
/// Whatever the command fails with, ready to be printed.
pub fn run(command: Command, context: &Context) -> CommandResult {
    match command {
        Command::Up(args) => up::run(&args, context),
        Command::Down(args) => down::run(&args, context),
    }
}
