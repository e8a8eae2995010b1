//! Faults of the supervisor's machinery in the form that a command prints.

use std::error::Error;

use super::message::{Detail, Failure};

impl Failure {
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), exit_code: 1, ..Self::default() }
    }

    /// A message and the error that caused it, with its whole chain.
    #[must_use]
    pub fn caused(message: impl Into<String>, source: &dyn Error) -> Self {
        let mut failure = Self::new(message);
        let mut next = Some(source);
        while let Some(error) = next {
            let text = error.to_string();
            if failure.causes.last().is_none_or(|last| !last.contains(&text)) {
                failure.causes.push(text);
            }
            next = error.source();
        }
        failure
    }

    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }

    #[must_use]
    pub fn detail(mut self, title: impl Into<String>, text: impl Into<String>) -> Self {
        self.details.push(Detail { title: title.into(), text: text.into() });
        self
    }
}
