//! The order of keys.

use std::cmp::Ordering;

use serde_json::{Map, Value};

/// Numbers inside names count as numbers: `web9` comes before `web10`.
#[must_use]
pub fn natural(left: &str, right: &str) -> Ordering {
    if left == right {
        return Ordering::Equal;
    }
    // Most names differ in a letter, which needs no look at their numbers.
    if let Some((a, b)) = left.bytes().zip(right.bytes()).find(|(a, b)| a != b)
        && a.is_ascii_alphabetic()
        && b.is_ascii_alphabetic()
    {
        return a.cmp(&b);
    }
    let (a, b): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let mut digits = false;
    for index in 0..a.len().min(b.len()) {
        if a[index] == b[index] {
            digits = a[index].is_ascii_digit();
            continue;
        }
        return match (a[index].is_alphabetic(), b[index].is_alphabetic()) {
            (true, true) => a[index].cmp(&b[index]),
            (a_letter, b_letter) if a_letter || b_letter => match if digits { a_letter } else { b_letter } {
                true => Ordering::Less,
                false => Ordering::Greater,
            },
            _ => by_number(&a, &b, index),
        };
    }
    a.len().cmp(&b.len())
}

fn by_number(a: &[char], b: &[char], index: usize) -> Ordering {
    let before = a[..index].iter().rev().take_while(|c| c.is_ascii_digit());
    let zero = a[index] == '0' || b[index] == '0';
    let start = u64::from(zero && before.into_iter().any(|c| *c != '0'));
    let number = |text: &[char]| {
        let digits = text[index..].iter().map_while(|c| c.to_digit(10));
        digits.fold((start, 0_usize), |(value, len), digit| {
            (value.saturating_mul(10).saturating_add(u64::from(digit)), len + 1)
        })
    };
    number(a).cmp(&number(b)).then(a[index].cmp(&b[index]))
}

/// Sorts the keys of a mapping.
pub(super) fn sort(mapping: &mut Map<String, Value>, order: fn(&str, &str) -> Ordering) {
    if mapping.keys().is_sorted_by(|left, right| order(left, right).is_le()) {
        return;
    }
    let mut entries: Vec<(String, Value)> = std::mem::take(mapping).into_iter().collect();
    entries.sort_by(|(left, _), (right, _)| order(left, right));
    mapping.extend(entries);
}

/// Sorts all keys from here down.
pub(super) fn sort_all(value: &mut Value, order: fn(&str, &str) -> Ordering) {
    match value {
        Value::Object(mapping) => {
            sort(mapping, order);
            mapping.values_mut().for_each(|value| sort_all(value, order));
        }
        Value::Array(items) => items.iter_mut().for_each(|value| sort_all(value, order)),
        _ => {}
    }
}

/// Takes away keys that loading added for itself.
pub(super) fn forget_hidden(value: &mut Value) {
    match value {
        Value::Object(mapping) => {
            mapping.retain(|key, _| !key.starts_with('#'));
            mapping.values_mut().for_each(forget_hidden);
        }
        Value::Array(items) => items.iter_mut().for_each(forget_hidden),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::natural;

    #[test]
    fn numbers_count_as_numbers() {
        let mut names = ["web10", "web9", "a", "Z", "web", "b-1", "b1", "b01", "1a", "_x"];
        names.sort_by(|a, b| natural(a, b));
        assert_eq!(names, ["_x", "1a", "Z", "a", "b-1", "b1", "b01", "web", "web9", "web10"]);
    }
}
