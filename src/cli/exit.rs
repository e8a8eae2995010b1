//! Exit codes, and the error that a command ends with.

use std::error::Error;

use super::ui::error::{Report, render};
use super::ui::style::Palette;
use crate::message::Failure;
use crate::state::remedy;

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
pub struct CommandError(Box<Parts>);

#[derive(Debug, Default)]
struct Parts {
    message: String,
    causes: Vec<String>,
    /// Title and text: the last output of a probe, the end of a log.
    details: Vec<(String, String)>,
    hints: Vec<String>,
    /// Further faults that have nothing to do with the first: each with its own causes.
    others: Vec<(String, Vec<String>)>,
    /// Rendered diagnostics that are printed as they are, before everything else.
    rendered: Option<String>,
    /// `rendered` is for programs: nothing else is printed.
    is_data: bool,
    code: Option<u8>,
}

impl CommandError {
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self(Box::new(Parts { message: message.into(), ..Parts::default() }))
    }

    /// A message and the error that caused it, with its whole chain.
    #[must_use]
    pub fn caused(message: impl Into<String>, source: &(dyn Error + 'static)) -> Self {
        Self::new(message).causes(chain(source)).remedy(source)
    }

    /// Text that is complete already, such as the diagnostics of a Compose file.
    #[must_use]
    pub fn rendered(text: impl Into<String>) -> Self {
        Self(Box::new(Parts { rendered: Some(text.into()), ..Parts::default() }))
    }

    /// Faults for programs: one line of JSON.
    #[must_use]
    pub fn data(value: &serde_json::Value) -> Self {
        Self(Box::new(Parts { rendered: Some(value.to_string()), is_data: true, ..Parts::default() }))
    }

    /// No text at all: everything was said already.
    #[must_use]
    pub fn silent(code: u8) -> Self {
        Self(Box::new(Parts { code: Some(code), ..Parts::default() }))
    }

    /// A further fault beside this one.
    #[must_use]
    pub fn also(mut self, message: impl Into<String>, source: &(dyn Error + 'static)) -> Self {
        self.0.others.push((message.into(), chain(source)));
        self.remedy(source)
    }

    /// The same for a fault that says everything itself.
    #[must_use]
    pub fn beside(mut self, message: impl Into<String>) -> Self {
        self.0.others.push((message.into(), Vec::new()));
        self
    }

    #[must_use]
    pub fn causes(mut self, causes: Vec<String>) -> Self {
        self.0.causes.extend(causes);
        self
    }

    #[must_use]
    pub fn detail(mut self, title: impl Into<String>, text: impl Into<String>) -> Self {
        self.0.details.push((title.into(), text.into()));
        self
    }

    fn remedy(self, source: &(dyn Error + 'static)) -> Self {
        remedy::of(source).into_iter().fold(self, Self::hint)
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        let hint = hint.into();
        if !self.0.hints.contains(&hint) {
            self.0.hints.push(hint);
        }
        self
    }

    #[must_use]
    pub fn code(mut self, code: u8) -> Self {
        self.0.code = Some(code);
        self
    }

    #[must_use]
    pub fn exit_code(&self) -> u8 {
        self.0.code.unwrap_or(FAILURE)
    }

    /// `error:`, the causes, the details, a blank line, `hint:`; on stderr.
    pub fn print(&self, palette: Palette) {
        if let Some(text) = &self.0.rendered {
            eprint!("{text}");
            if !text.ends_with('\n') {
                eprintln!();
            }
        }
        if self.0.is_data {
            return;
        }
        let others = self.0.others.iter().map(|(message, causes)| Report { message, causes, ..Report::default() });
        let first =
            Report { message: &self.0.message, causes: &self.0.causes, details: &self.0.details, ..Report::default() };
        let mut reports: Vec<Report<'_>> = std::iter::once(first).chain(others).collect();
        // What to do comes last, whichever of them it is for.
        if let Some(last) = reports.last_mut() {
            last.hints = &self.0.hints;
        }
        for report in reports {
            eprint!("{}", render(&report, palette));
        }
    }
}

impl From<CommandError> for Failure {
    fn from(error: CommandError) -> Self {
        let parts = *error.0;
        let message = match parts.rendered {
            Some(text) => text.trim().trim_start_matches("error: ").to_owned(),
            None => parts.message,
        };
        let mut failure = Self::new(message);
        failure.causes = parts.causes;
        failure.hints = parts.hints;
        for (title, text) in parts.details {
            failure = failure.detail(title, text);
        }
        for (message, causes) in parts.others {
            failure = failure.detail(message, causes.join(": "));
        }
        failure
    }
}

impl<E: Error + 'static> From<E> for CommandError {
    fn from(error: E) -> Self {
        let mut chain = chain(&error).into_iter();
        Self::new(chain.next().unwrap_or_default()).causes(chain.collect()).remedy(&error)
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
