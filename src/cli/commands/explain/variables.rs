//! `explain --variables` as text.

use std::fmt::Write as _;

use super::Names;
use super::trail::{one_line, origin};
use crate::cli::ui::style::{Meaning, Palette, ellipsis, printable};
use crate::compose::provenance::{ValueOf, VariableReport, VariableUsed};

/// Wider values are cut.
const VALUE_WIDTH: usize = 80;

pub(super) fn text(variables: &[VariableReport], names: &Names<'_>, palette: Palette) -> String {
    if variables.is_empty() {
        return "the files use no variables\n".to_owned();
    }
    let blocks: Vec<String> = variables.iter().map(|variable| block(variable, names, palette)).collect();
    blocks.join("\n")
}

fn block(variable: &VariableReport, names: &Names<'_>, palette: Palette) -> String {
    let name = palette.paint(Meaning::Strong, printable(&variable.name));
    let mut text = match &variable.value {
        Some(value) => format!("{name} = {}\n", ellipsis(&one_line(value), VALUE_WIDTH)),
        None => format!("{name} is not set\n"),
    };
    let mut line = |title: &str, value: &str| {
        _ = writeln!(text, "  {} {value}", palette.paint(Meaning::Faint, format_args!("{title:<5}")));
    };
    if variable.from != ValueOf::Unset {
        line("from", &origin(&variable.from, names));
    }
    for other in &variable.also_set {
        let value = ellipsis(&one_line(&other.value), VALUE_WIDTH);
        line("not", &format!("{value}, from {}: what is above wins", origin(&other.from, names)));
    }
    for (index, used) in variable.used.iter().enumerate() {
        line(if index == 0 { "used" } else { "" }, &use_text(used));
    }
    if variable.used.is_empty() {
        let by = match variable.name.starts_with("COMPOSE_") || variable.name.starts_with("WINDLASS_") {
            true => "by windlass itself",
            false => "nowhere",
        };
        line("used", by);
    }
    text
}

fn use_text(used: &VariableUsed) -> String {
    let place = used.place.as_ref().map(ToString::to_string).unwrap_or_default();
    let mut text = format!("{place}  {}", printable(&used.path));
    if let Some(default) = &used.default {
        _ = write!(text, "  (default: {})", printable(default));
    }
    if used.required {
        text.push_str("  (required)");
    }
    text
}
