//! The trail of a value as text: what counts first, what lost below it.

use std::fmt::Write as _;

use serde_json::Value;

use super::Names;
use crate::cli::ui::style::{Meaning, Palette, ellipsis, printable, width};
use crate::cli::ui::table::Table;
use crate::compose::provenance::{Explanation, Shown, Step, UsedVariable, ValueOf, Via};

/// Wider values are cut where there is one a line.
const VALUE_WIDTH: usize = 48;
/// As wide as `written`.
const TITLE_WIDTH: usize = 7;

pub(super) fn text(explanation: &Explanation, names: &Names<'_>, palette: Palette) -> String {
    let path = palette.paint(Meaning::Strong, printable(&explanation.path));
    let mut text = match &explanation.value {
        None => format!("{path} is not set\n"),
        Some(Shown::Value(Value::Array(items))) if !explanation.parts.is_empty() => {
            format!("{path}: a list of {}\n", items.len())
        }
        Some(_) if !explanation.parts.is_empty() => format!("{path}\n"),
        Some(Shown::Value(Value::String(value))) if value.contains('\n') => format!("{path}:\n{}", block(value, "  ")),
        Some(shown) => format!("{path} = {}\n", one_line(shown)),
    };
    text.push('\n');
    let places = explanation.trail.iter().map(|step| width(&place(step)));
    let column = places.max().unwrap_or(0);
    for step in &explanation.trail {
        text.push_str(&full_step(step, explanation, column, names, palette));
    }
    if !explanation.parts.is_empty() {
        text.push('\n');
        text.push_str(&parts(explanation, names));
    }
    text
}

fn full_step(step: &Step, explanation: &Explanation, column: usize, names: &Names<'_>, palette: Palette) -> String {
    let place = place(step);
    let gap = " ".repeat(column.saturating_sub(width(&place)));
    let (mark, place) = match step.wins {
        true => (palette.paint(Meaning::Good, ">"), palette.paint(Meaning::Strong, place)),
        false => (" ".to_owned(), place),
    };
    let mut text = format!("{mark} {place}{gap}  {}\n", step.effect);
    let titles = step.variables.iter().map(|variable| width(&variable.name) + 1);
    let titles = titles.chain([TITLE_WIDTH]).max().unwrap_or(TITLE_WIDTH);
    let mut line = |title: &str, value: &str| {
        _ = writeln!(text, "    {}  {value}", palette.paint(Meaning::Faint, format_args!("{title:<titles$}")));
    };
    if let Some(written) = &step.written {
        line("written", &printable(written));
    }
    if let Some(value) = step.value.as_ref().filter(|_| !step.wins && explanation.value != step.value)
        && !is_null(value)
        && (step.written.is_none() || !step.variables.is_empty())
    {
        line("value", &ellipsis(&one_line(value), 100));
    }
    for variable in &step.variables {
        line(&format!("${}", variable.name), &variable_text(variable, names));
    }
    for way in &step.through {
        line("through", &way_text(way));
    }
    text
}

fn place(step: &Step) -> String {
    step.place.as_ref().map_or_else(|| "(no file)".to_owned(), ToString::to_string)
}

fn way_text(way: &Via) -> String {
    match &way.place {
        Some(place) => format!("`{}` at {place}", printable(&way.by)),
        None => format!("`{}`", printable(&way.by)),
    }
}

fn variable_text(variable: &UsedVariable, names: &Names<'_>) -> String {
    let value = variable.value.as_ref().map(one_line).unwrap_or_default();
    match &variable.from {
        ValueOf::Unset => "is not set".to_owned(),
        ValueOf::Default => format!("= {value}, the default given there"),
        from => format!("= {value}, from {}", origin(from, names)),
    }
}

/// Where a variable has its value from.
pub(super) fn origin(from: &ValueOf, names: &Names<'_>) -> String {
    match from {
        ValueOf::Shell => "the shell".to_owned(),
        ValueOf::File { file, line } => names.line_of(file, *line),
        ValueOf::Project => "the project's name".to_owned(),
        ValueOf::Default => "its default".to_owned(),
        ValueOf::Unset => "nowhere: it is not set".to_owned(),
    }
}

/// A line for each value below.
fn parts(explanation: &Explanation, names: &Names<'_>) -> String {
    let mut table = Table::new(&["PART", "VALUE", "FROM", "WHY"]);
    for part in &explanation.parts {
        let name = part.path.strip_prefix(&explanation.path).unwrap_or(&part.path).trim_start_matches('.');
        let winner = part.trail.first();
        let value = match &part.value {
            None => "(not set)".to_owned(),
            Some(shown @ Shown::Value(Value::Object(_) | Value::Array(_))) => {
                // What all of the path was made of says nothing of a part.
                let whole = explanation.trail.first().and_then(|step| step.written.as_ref());
                let written = winner.and_then(|step| step.written.clone());
                written.filter(|written| whole != Some(written)).unwrap_or_else(|| one_line(shown))
            }
            Some(shown) => one_line(shown),
        };
        let from = winner.map(place).unwrap_or_default();
        table.row([printable(name), ellipsis(&printable(&value), VALUE_WIDTH), from, why(part, names)]);
    }
    let text = table.render();
    text.lines().fold(String::new(), |text, line| text + "  " + line.trim_end() + "\n")
}

/// Why the value counts, in a few words.
fn why(part: &Explanation, names: &Names<'_>) -> String {
    let Some(winner) = part.trail.first() else { return String::new() };
    let mut words = Vec::new();
    if part.trail.len() > 1 || winner.effect != "set here" {
        words.push(winner.effect.clone());
    }
    if let [_, below, ..] = &part.trail[..] {
        words.push(format!("before: {}", place(below)));
    }
    words.extend(winner.through.iter().map(way_text));
    for variable in &winner.variables {
        words.push(format!("${} from {}", variable.name, origin(&variable.from, names)));
    }
    words.join("; ")
}

/// A value in one line: text as it is, the rest as JSON.
pub(super) fn one_line(shown: &Shown) -> String {
    match shown {
        Shown::Hidden => "(hidden)".to_owned(),
        Shown::Value(Value::String(text)) if text.is_empty() => "\"\"".to_owned(),
        Shown::Value(Value::String(text)) => printable(text),
        Shown::Value(Value::Null) => "(no value)".to_owned(),
        Shown::Value(value) => printable(&value.to_string()),
    }
}

fn is_null(shown: &Shown) -> bool {
    *shown == Shown::Value(Value::Null)
}

fn block(text: &str, indent: &str) -> String {
    text.lines().fold(String::new(), |block, line| block + indent + &printable(line) + "\n")
}
