//! Standard output of commands whose text people pipe into others.

use std::io::{self, Write as _};

use crate::cli::exit::CommandError;

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
