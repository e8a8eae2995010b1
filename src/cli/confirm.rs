//! The question before something is removed for good.

use std::io::{self, BufRead, Write};

use super::CommandError;

/// Asks; everything but a yes is a no.
///
/// # Errors
/// When it cannot be asked.
pub fn confirmed(warning: &str) -> Result<bool, CommandError> {
    print!("WARNING! {warning}\nAre you sure you want to continue? [y/N] ");
    let mut answer = String::new();
    let asked = io::stdout().flush().and_then(|()| io::stdin().lock().read_line(&mut answer));
    asked
        .map_err(|error| CommandError::caused("the question cannot be asked", &error).hint("answer it with --force"))?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}
