//! The project's name.

use std::path::Path;

use crate::compose::session::Session;
use crate::compose::yaml::{Node, Value};
use crate::diag::Diagnostic;

/// A text that is no project name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name:?} cannot be a project name")]
pub struct InvalidProjectName {
    name: String,
    /// The rule, and a name like this one that keeps it.
    pub hint: String,
}

/// Refuses what cannot be a project name.
///
/// # Errors
/// When `name` is one that no project can have.
pub fn check_project_name(name: &str) -> Result<(), InvalidProjectName> {
    match is_valid(name) {
        true => Ok(()),
        false => Err(InvalidProjectName { name: name.to_owned(), hint: suggestion(name) }),
    }
}

/// Lower case letters, digits, `_` and `-`; begins with a letter or digit.
fn is_valid(name: &str) -> bool {
    name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
        && name.bytes().all(is_name_byte)
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'_' | b'-')
}

/// What is left of `name` when all that a project's name cannot have is gone.
pub(super) fn normalise(name: &str) -> String {
    let lower = name.to_lowercase();
    let kept: String = lower.chars().filter(|c| c.is_ascii() && is_name_byte(*c as u8)).collect();
    kept.trim_start_matches(['_', '-']).to_owned()
}

/// The name from the folder.
pub(super) fn from_dir(dir: &Path) -> String {
    normalise(&dir.file_name().unwrap_or_default().to_string_lossy())
}

/// Refuses a name that was given as such.
pub(super) fn check_given(name: &str, origin: &str, session: &mut Session) {
    if let Err(invalid) = check_project_name(name) {
        let diagnostic = Diagnostic::error(invalid.to_string()).note(format!("it comes from {origin}"));
        session.report(diagnostic.hint(invalid.hint));
    }
}

/// Brings a `name:` of the file into a form that a project can have; refuses one of which nothing is left.
pub(super) fn settle_node(node: &mut Node, session: &mut Session) {
    if session.is_template(node) {
        return;
    }
    let Some(Err(invalid)) = node.as_str().filter(|name| !name.is_empty()).map(check_project_name) else { return };
    let normal = normalise(node.as_str().unwrap_or_default());
    if normal.is_empty() {
        let diagnostic =
            Diagnostic::error(invalid.to_string()).at(node.span, "not a valid name").path("name").hint(invalid.hint);
        return session.report_node(node, diagnostic);
    }
    let diagnostic = Diagnostic::warning(format!("the project is called {normal}"))
        .at(node.span, "not a valid name as it is")
        .path("name")
        .hint(invalid.hint);
    session.report_node(node, diagnostic);
    node.value = Value::String(normal);
}

fn suggestion(name: &str) -> String {
    let rule = "lower-case letters, digits, `_` and `-`, beginning with a letter or digit";
    match normalise(name) {
        normal if normal.is_empty() => rule.to_owned(),
        normal => format!("{rule}: `{normal}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for (name, normal) in [("My App", "myapp"), ("_x.y", "xy"), ("a-b_c1", "a-b_c1"), ("été", "t"), ("--", "")] {
            assert_eq!(normalise(name), normal, "{name}");
        }
        for good in ["shop", "0-x_y", "a-b_1"] {
            assert!(check_project_name(good).is_ok(), "{good}");
        }
        // Names become paths and parts of the names of kernel objects.
        for bad in ["", "..", "a/b", "-a", "_a", "Shop", "a.b", "a b", "ä"] {
            assert!(check_project_name(bad).is_err(), "{bad}");
        }
    }
}
