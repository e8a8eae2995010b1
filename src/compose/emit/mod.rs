//! The canonical form as text, as `docker compose config` prints it.

mod canonical;
mod order;
mod yaml;

pub use canonical::{Format, canonical};
pub use order::natural;
pub use yaml::to_yaml;

/// Sorts all keys and takes away what is not of the file.
pub(super) fn sorted_tree(tree: &mut serde_json::Value, json: bool) {
    order::forget_hidden(tree);
    match json {
        true => order::sort_all(tree, |left, right| left.cmp(right)),
        false => order::sort_all(tree, natural),
    }
}
