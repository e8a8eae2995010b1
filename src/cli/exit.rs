//! Exit codes, and the error that a command ends with.

use std::error::Error;

/// Everything went well.
pub const SUCCESS: u8 = 0;
/// Something failed.
pub const FAILURE: u8 = 1;
/// The command line is wrong.
pub const USAGE: u8 = 2;
/// Ended by Ctrl-C.
pub const INTERRUPTED: u8 = 130;

/// The code to exit with, or why the command failed.
pub type CommandResult = Result<u8, CommandError>;

/// Why a command failed, in words for a person.
#[derive(Debug, Default)]
pub struct CommandError {
    /// What failed; the causes follow from `source`.
    message: String,
    causes: Vec<String>,
    hints: Vec<String>,
    /// Rendered diagnostics that are printed as they are instead of message and causes.
    rendered: Option<String>,
    code: Option<u8>,
}

impl CommandError {
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), ..Self::default() }
    }

    /// A message and the error that caused it, with its whole chain.
    #[must_use]
    pub fn caused(message: impl Into<String>, source: &dyn Error) -> Self {
        let mut error = Self::new(message);
        error.causes = chain(source);
        error
    }

    /// Text that is complete already, such as the diagnostics of a Compose file.
    #[must_use]
    pub fn rendered(text: impl Into<String>) -> Self {
        Self { rendered: Some(text.into()), ..Self::default() }
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    #[must_use]
    pub fn code(mut self, code: u8) -> Self {
        self.code = Some(code);
        self
    }

    #[must_use]
    pub fn exit_code(&self) -> u8 {
        self.code.unwrap_or(FAILURE)
    }

    /// `error:`, the causes, a blank line, `hint:`; on stderr.
    pub fn print(&self) {
        if let Some(text) = &self.rendered {
            eprint!("{text}");
            if !text.ends_with('\n') {
                eprintln!();
            }
        } else if !self.message.is_empty() {
            eprintln!("error: {}", self.message);
            for cause in &self.causes {
                eprintln!("  caused by: {cause}");
            }
        }
        for (index, hint) in self.hints.iter().enumerate() {
            if index == 0 {
                eprintln!();
            }
            eprintln!("hint: {hint}");
        }
    }
}

impl<E: Error> From<E> for CommandError {
    fn from(error: E) -> Self {
        let mut chain = chain(&error).into_iter();
        let mut result = Self::new(chain.next().unwrap_or_default());
        result.causes = chain.collect();
        result
    }
}

/// The texts of an error and its sources; a text that only repeats the one before is left out.
fn chain(error: &dyn Error) -> Vec<String> {
    let mut texts = vec![error.to_string()];
    let mut next = error.source();
    while let Some(error) = next {
        let text = error.to_string();
        if texts.last().is_none_or(|last| !last.contains(&text)) {
            texts.push(text);
        }
        next = error.source();
    }
    texts
}
