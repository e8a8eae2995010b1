//! Why a request failed, in the form that a command prints.

use std::error::Error;

use serde::{Deserialize, Serialize};

use crate::state::remedy;

/// Why a request failed.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub message: String,
    pub causes: Vec<String>,
    /// Longer text that belongs to it: the last probe's output, the tail of the log.
    pub details: Vec<Detail>,
    pub hints: Vec<String>,
    pub exit_code: i32,
    /// A container did not start: the code that docker would exit with for it.
    #[serde(default)]
    pub start_code: i32,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail {
    pub title: String,
    pub text: String,
}

impl Failure {
    #[must_use]
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), exit_code: 1, ..Self::default() }
    }

    /// The client did not want to wait any longer.
    #[must_use]
    pub fn given_up() -> Self {
        Self { exit_code: 130, ..Self::new("interrupted") }
    }

    /// A message and the error that caused it, with its whole chain.
    #[must_use]
    pub fn caused(message: impl Into<String>, source: &(dyn Error + 'static)) -> Self {
        let mut failure = Self::new(message);
        failure.hints.extend(remedy::of(source).map(str::to_owned));
        let mut next: Option<&dyn Error> = Some(source);
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
