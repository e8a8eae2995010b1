//! Go's templates, as people use them with `--format`: `{{.Name}}`, `{{json .}}`, `{{range .Publishers}}…{{end}}`.

mod evaluate;
mod functions;
mod lex;
mod parse;
#[cfg(test)]
mod tests;

use std::fmt;

use serde_json::{Map, Value};

use evaluate::Evaluation;
use parse::Node;

/// A parsed `--format`.
#[derive(Debug, Clone, PartialEq)]
pub struct Template {
    nodes: Vec<Node>,
}

/// Why a `--format` is not understood, or cannot be filled in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TemplateError {
    message: String,
}

impl TemplateError {
    fn new(message: impl Into<String>) -> Self {
        Self { message: message.into() }
    }
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "template: {}", self.message)
    }
}

impl std::error::Error for TemplateError {}

impl Template {
    /// `\t` and `\n` outside of actions may be written as two characters, as in Docker's own formats.
    ///
    /// # Errors
    /// When it is no template, or uses a function that there is not.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        Ok(Self { nodes: parse::template(text)? })
    }

    /// Fields that an object lacks are an error of the template, which `known` finds before anything is printed.
    ///
    /// # Errors
    /// When a field is not among `known`.
    pub fn check(&self, known: &[&str]) -> Result<(), TemplateError> {
        let unknown = parse::fields(&self.nodes).into_iter().find(|field| !known.contains(&field.as_str()));
        unknown.map_or(Ok(()), |field| {
            Err(TemplateError::new(format!("there is no field `.{field}`; there are {}", known.join(", "))))
        })
    }

    /// Fills in an object's fields; `labels` answers `.Label "key"`.
    ///
    /// # Errors
    /// When a function is given what it cannot take.
    pub fn render(
        &self,
        object: &Map<String, Value>,
        labels: &dyn Fn(&str) -> Option<String>,
    ) -> Result<String, TemplateError> {
        Evaluation::of(Value::Object(object.clone()), labels).run(&self.nodes)
    }

    /// The header of `table` formats: every field replaced by its column's title, and functions left out.
    ///
    /// # Errors
    /// As [`Template::render`].
    pub fn header(&self, known: &[&str], title: &dyn Fn(&str) -> String) -> Result<String, TemplateError> {
        let titles = known.iter().map(|field| ((*field).to_owned(), Value::from(title(field))));
        let label = |key: &str| Some(key.rsplit('.').next().unwrap_or(key).replace(['-', '_'], " "));
        Evaluation::of(Value::Object(titles.collect()), &label).with_titles().run(&self.nodes)
    }
}
