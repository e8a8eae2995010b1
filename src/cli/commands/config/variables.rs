//! `config --variables`: the variables that the files name.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use super::json::escaped;
use crate::compose::Loaded;
use crate::compose::emit::to_yaml;

#[derive(Default)]
struct Named {
    required: bool,
    default: String,
    alternative: String,
}

pub(super) fn render(loaded: &Loaded, format: Option<&str>) -> String {
    let mut named: BTreeMap<&str, Named> = BTreeMap::new();
    for used in &loaded.trail.uses {
        let entry = named.entry(&used.name).or_default();
        entry.required |= used.required;
        if let Some(default) = used.default.as_ref().filter(|_| entry.default.is_empty()) {
            entry.default.clone_from(default);
        }
        if let Some(alternative) = used.alternative.as_ref().filter(|_| entry.alternative.is_empty()) {
            entry.alternative.clone_from(alternative);
        }
    }
    match format {
        Some("json") => json(&named),
        Some("yaml") => yaml(&named),
        _ => table(&named),
    }
}

fn table(named: &BTreeMap<&str, Named>) -> String {
    let header = ["NAME", "REQUIRED", "DEFAULT VALUE", "ALTERNATE VALUE"];
    let rows: Vec<[&str; 4]> = std::iter::once(header)
        .chain(named.iter().map(|(name, it)| {
            [*name, if it.required { "true" } else { "false" }, it.default.as_str(), it.alternative.as_str()]
        }))
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count() + 3).max().unwrap_or(0).max(20);
    let widths: Vec<usize> = (0..3).map(width).collect();
    let mut text = String::new();
    for row in &rows {
        for (cell, width) in row.iter().zip(&widths) {
            _ = write!(text, "{cell:<width$}");
        }
        text.push_str(row[3]);
        text.push('\n');
    }
    text
}

/// With the names that the peer's programs have for the columns.
fn json(named: &BTreeMap<&str, Named>) -> String {
    let entry = |name: &str, it: &Named| {
        json!({
            "Name": name,
            "DefaultValue": it.default,
            "PresenceValue": it.alternative,
            "Required": it.required,
        })
    };
    let all: Map<String, Value> = named.iter().map(|(name, it)| ((*name).to_owned(), entry(name, it))).collect();
    escaped(&format!("{:#}\n", Value::Object(all)))
}

fn yaml(named: &BTreeMap<&str, Named>) -> String {
    let entry = |name: &str, it: &Named| {
        json!({
            "name": name,
            "defaultvalue": it.default,
            "presencevalue": it.alternative,
            "required": it.required,
        })
    };
    let all: Map<String, Value> = named.iter().map(|(name, it)| ((*name).to_owned(), entry(name, it))).collect();
    to_yaml(&Value::Object(all))
}
