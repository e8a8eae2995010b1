//! The canonical form as text, as `docker compose config` prints it.

mod canonical;
mod order;
mod yaml;

pub use canonical::{Format, canonical};
pub use order::natural;
pub use yaml::to_yaml;

/// Doubles each `$` of the values, so that reading does not take it for a variable. Keys are never read for variables.
pub fn double_dollars(value: &mut serde_json::Value) {
    match value {
        serde_json::Value::String(text) if text.contains('$') => *text = text.replace('$', "$$"),
        serde_json::Value::Array(items) => items.iter_mut().for_each(double_dollars),
        serde_json::Value::Object(entries) => entries.values_mut().for_each(double_dollars),
        _ => {}
    }
}

/// Sorts all keys and takes away what is not of the file.
pub(super) fn sorted_tree(tree: &mut serde_json::Value, json: bool) {
    order::forget_hidden(tree);
    match json {
        true => order::sort_all(tree, |left, right| left.cmp(right)),
        false => order::sort_all(tree, natural),
    }
}
