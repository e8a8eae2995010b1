//! Standard output of commands whose text people pipe into others.

use std::fmt;
use std::io::{self, IsTerminal as _, Write as _};

use rustix::termios::tcgetwinsize;

use super::style::Palette;
use crate::cli::exit::CommandError;

/// The columns of the terminal that standard output is; `None` when it is none, or does not know.
#[must_use]
pub fn columns() -> Option<usize> {
    let out = io::stdout();
    let size = out.is_terminal().then(|| tcgetwinsize(&out).ok()).flatten()?;
    (size.ws_col > 0).then_some(usize::from(size.ws_col))
}

/// Writes `text`. A reader that has seen enough (`| head`) is no fault.
///
/// # Errors
/// When standard output cannot be written for another reason, such as a full disk.
pub fn write(text: &str) -> Result<(), CommandError> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(CommandError::caused("cannot write to standard output", &error))
        }
        _ => Ok(()),
    }
}

/// What `print!` and `println!` of this module do. Where standard output cannot be written, the command ends.
#[allow(clippy::exit, reason = "there is nowhere left to tell it from")]
pub fn print(text: fmt::Arguments<'_>) {
    if let Err(error) = write(&text.to_string()) {
        error.print(Palette::plain());
        std::process::exit(i32::from(error.exit_code()));
    }
}
