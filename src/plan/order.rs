//! The order in which services depend on each other.

use std::collections::BTreeMap;

/// Indices of `names` such that everything comes after what it depends on; otherwise the given order is kept.
///
/// Names that are not in the list are left out of account. A cycle cannot come from a loaded project; its members
/// come last, in the given order, so that stopping still reaches everything.
#[must_use]
pub fn dependency_order(names: &[&str], depends_on: impl Fn(usize) -> Vec<String>) -> Vec<usize> {
    let index: BTreeMap<&str, usize> = names.iter().enumerate().map(|(index, name)| (*name, index)).collect();
    let edges: Vec<Vec<usize>> = (0..names.len())
        .map(|from| depends_on(from).iter().filter_map(|name| index.get(name.as_str()).copied()).collect())
        .collect();
    let mut done = vec![false; names.len()];
    let mut order = Vec::with_capacity(names.len());
    while order.len() < names.len() {
        let before = order.len();
        for node in 0..names.len() {
            if !done[node] && edges[node].iter().all(|&needed| done[needed] || needed == node) {
                done[node] = true;
                order.push(node);
            }
        }
        if order.len() == before {
            order.extend((0..names.len()).filter(|&node| !done[node]));
            break;
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dependencies_come_first() {
        let names = ["web", "db", "app"];
        let needs = |index: usize| match index {
            0 => vec!["app".to_owned()],
            2 => vec!["db".to_owned(), "elsewhere".to_owned()],
            _ => vec![],
        };
        assert_eq!(dependency_order(&names, needs), [1, 2, 0]);
    }

    #[test]
    fn a_cycle_still_lists_everything() {
        let names = ["a", "b", "c"];
        let needs = |index: usize| match index {
            0 => vec!["b".to_owned()],
            1 => vec!["a".to_owned()],
            _ => vec![],
        };
        assert_eq!(dependency_order(&names, needs), [2, 0, 1]);
    }
}
