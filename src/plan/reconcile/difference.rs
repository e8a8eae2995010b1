//! What differs between two configurations of a service, for people.

use std::collections::{BTreeMap, BTreeSet};

use crate::plan::lower::labels::{CONTENTS, PACKAGES};

/// The first few paths at which two configurations differ: `environment.DEBUG "0" → "1" (compose.yaml:14)`.
pub(super) fn difference(
    old: &serde_json::Value,
    new: &serde_json::Value,
    places: &BTreeMap<String, String>,
) -> String {
    let mut found = Vec::new();
    collect_differences("", old, new, &mut found);
    let found: Vec<String> = found
        .into_iter()
        .map(|(path, text)| {
            // What has no place of its own has that of what it is part of.
            let mut place = places.get(&path);
            let mut outer = path.as_str();
            while let (None, Some((rest, _))) = (place, outer.rsplit_once('.')) {
                (place, outer) = (places.get(rest), rest);
            }
            place.map_or_else(|| text.clone(), |place| format!("{text} ({place})"))
        })
        .collect();
    match found.len() {
        0 => "its configuration changed".to_owned(),
        1..=3 => found.join(", "),
        more => format!("{} and {} more", found[..3].join(", "), more - 3),
    }
}

fn collect_differences(
    path: &str,
    old: &serde_json::Value,
    new: &serde_json::Value,
    found: &mut Vec<(String, String)>,
) {
    use serde_json::Value;
    if old == new {
        return;
    }
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            let keys: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            for key in keys {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                let null = Value::Null;
                collect_differences(&path, old.get(key).unwrap_or(&null), new.get(key).unwrap_or(&null), found);
            }
        }
        _ if path.split('.').next() == Some(PACKAGES) => {
            let name = path.split_once('.').map_or("what its packages depend on", |(_, name)| name);
            found.push((path.to_owned(), format!("{name} changed")));
        }
        // The digest of a secret is nobody's business.
        _ if path.split('.').next() == Some(CONTENTS) => {
            let name = path.split_once('.').map_or("a secret or config", |(_, name)| name);
            found.push((path.to_owned(), format!("the content of {name} changed")));
        }
        _ => found.push((path.to_owned(), format!("{path} {} → {}", short(old), short(new)))),
    }
}

fn short(value: &serde_json::Value) -> String {
    let text = if value.is_null() { "(none)".to_owned() } else { value.to_string() };
    if text.chars().count() <= 40 { text } else { format!("{}…", text.chars().take(39).collect::<String>()) }
}
