//! The project's name.

use std::path::Path;

use crate::compose::session::Session;
use crate::compose::yaml::Node;
use crate::diag::Diagnostic;

/// Lower case letters, digits, `_` and `-`; begins with a letter or digit.
pub(super) fn is_valid(name: &str) -> bool {
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
    if !is_valid(name) {
        session.report(
            Diagnostic::error(format!("{name:?} cannot be a project name"))
                .note(format!("it comes from {origin}"))
                .hint(suggestion(name)),
        );
    }
}

/// Refuses a `name:` of the file.
pub(super) fn check_node(node: &Node, session: &mut Session) {
    if let Some(name) = node.as_str()
        && !is_valid(name)
    {
        let diagnostic = Diagnostic::error(format!("{name:?} cannot be a project name"))
            .at(node.span, "not a valid name")
            .path("name")
            .hint(suggestion(name));
        session.report_node(node, diagnostic);
    }
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
        assert!(is_valid("a-b_1") && !is_valid("A") && !is_valid("-a") && !is_valid(""));
    }
}
