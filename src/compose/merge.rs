//! One layer over another, along the schema: mappings merge, lists append, the rest is replaced.

use std::collections::HashMap;

use super::provenance::{History, Removed, Rule};
use super::schema::{EmptyPair, Object, Shape, Special, object_of};
use super::yaml::{Mapping, Node, Tag, Value};

/// `over` merged onto `base`.
pub fn merge(base: Node, over: Node, shape: &Shape, history: &mut History) -> Node {
    if over.tag == Tag::Override {
        let past = history.over(&base, &over, Rule::Override);
        return Node { tag: Tag::None, past, ..over };
    }
    if over.is_null() {
        let past = history.nothing_over(&base, &over);
        return Node { past, ..base };
    }
    if base.is_null() || base.tag == Tag::Reset {
        let past = history.over(&base, &over, Rule::Replaces);
        return Node { past, ..over };
    }
    let shape = canonical_shape(shape);
    let rule = rule(&base, &over, shape);
    let mut past = history.over(&base, &over, rule);
    let (tag, span, origin) = (base.tag, over.span, over.origin);
    let value = match (base.value, over.value) {
        (Value::Mapping(base), Value::Mapping(over)) if rule == Rule::Merges => {
            let mut removed = history.removed(past);
            let merged = mappings(*base, *over, shape, &mut removed, history);
            past = history.with_removed(past, removed);
            Value::Mapping(Box::new(merged))
        }
        (Value::Sequence(base), Value::Sequence(over)) if rule == Rule::Appends => {
            Value::Sequence(sequences(base, over, shape, history))
        }
        (_, over) => over,
    };
    Node { value, span, tag, origin, past }
}

/// What `over` does with `base`.
fn rule(base: &Node, over: &Node, shape: &Shape) -> Rule {
    match (&base.value, &over.value) {
        (Value::Mapping(base), Value::Mapping(over)) => match shape {
            Shape::Object(known) if known.name == "logging" && !same_driver(base, over) => Rule::OtherDriver,
            _ => Rule::Merges,
        },
        (Value::Sequence(_), Value::Sequence(_)) => match shape {
            Shape::Special(Special::Command | Special::Script | Special::HealthTest) => Rule::ReplacesList,
            _ => Rule::Appends,
        },
        _ => Rule::Replaces,
    }
}

/// Takes away what `!reset` marks and forgets `!override`, once nothing more comes on top.
pub fn settle(node: &mut Node) {
    if node.tag == Tag::Override {
        node.tag = Tag::None;
    }
    match &mut node.value {
        Value::Mapping(mapping) => {
            mapping.0.retain(|_, entry| entry.node.tag != Tag::Reset);
            mapping.0.values_mut().for_each(|entry| settle(&mut entry.node));
        }
        Value::Sequence(items) => {
            items.retain(|item| item.tag != Tag::Reset);
            items.iter_mut().for_each(settle);
        }
        _ => {}
    }
}

/// Entries of a list that mean the same thing count once; the later one stays, in the place of the earlier.
pub fn unify(node: &mut Node, shape: &Shape, history: &mut History) {
    match (canonical_shape(shape), &mut node.value) {
        (Shape::List(Shape::Object(known)), Value::Sequence(items)) => {
            if let Some(identity) = identity(known) {
                let all = std::mem::take(items);
                *items = last_of_each(all, identity, known.name, history);
            }
        }
        (Shape::Object(known) | Shape::Nullable(known), Value::Mapping(mapping)) => {
            for (key, entry) in &mut mapping.0 {
                if let Some(shape) = known.attribute(key) {
                    unify(&mut entry.node, shape, history);
                }
            }
        }
        (Shape::Table(item), Value::Mapping(mapping)) => {
            mapping.0.values_mut().for_each(|entry| unify(&mut entry.node, item, history));
        }
        _ => {}
    }
}

fn canonical_shape(shape: &Shape) -> &Shape {
    match shape {
        Shape::Special(special) => object_of(*special).unwrap_or(shape),
        _ => shape,
    }
}

fn mappings(mut base: Mapping, over: Mapping, shape: &Shape, removed: &mut Removed, history: &mut History) -> Mapping {
    for (key, mut entry) in over.0 {
        if entry.node.tag == Tag::Reset {
            if let Some(gone) = base.0.shift_remove(&key) {
                history.remove(removed, &key, &gone.node, &entry.node);
            }
            continue;
        }
        let inner = match shape {
            Shape::Table(item) => item,
            Shape::Object(known) | Shape::Nullable(known) => known.attribute(&key).unwrap_or(&Shape::Any),
            _ => &Shape::Any,
        };
        // A variable without a value is taken from outside: that replaces a value.
        let null_wins = matches!(shape, Shape::Pairs(EmptyPair::Unset));
        let is_ulimit = matches!(inner, Shape::Object(known) if known.name == "ulimit");
        match base.0.get_mut(&key) {
            Some(existing) if !(null_wins || is_ulimit) => {
                let before = std::mem::replace(&mut existing.node, Node::new(Value::Null, entry.key_span));
                existing.node = merge(before, entry.node, inner, history);
                existing.key_span = entry.key_span;
            }
            Some(existing) => {
                entry.node.past = history.over(&existing.node, &entry.node, Rule::Replaces);
                *existing = entry;
            }
            None => {
                if let Some(layers) = removed.shift_remove(&key) {
                    entry.node.past = history.after(layers, &entry.node, Rule::Replaces, Removed::new());
                }
                base.0.insert(key, entry);
            }
        }
    }
    base
}

/// Options of a log driver only merge with those of the same driver.
fn same_driver(base: &Mapping, over: &Mapping) -> bool {
    match (base.get("driver").and_then(Node::as_str), over.get("driver").and_then(Node::as_str)) {
        (Some(base), Some(over)) => base == over,
        _ => true,
    }
}

fn sequences(mut base: Vec<Node>, mut over: Vec<Node>, shape: &Shape, history: &mut History) -> Vec<Node> {
    over.iter_mut().for_each(|item| history.appended(item));
    base.extend(over);
    match shape {
        Shape::Set(_) | Shape::TextOrList | Shape::Special(Special::ExtraHosts | Special::Ssh) => {
            let mut all = Node::sequence(base, super::session::nowhere());
            super::canonical::unique(&mut all);
            match all.value {
                Value::Sequence(items) => items,
                _ => Vec::new(),
            }
        }
        Shape::List(Shape::Object(known)) => match identity(known) {
            Some(identity) => last_of_each(base, identity, known.name, history),
            None => base,
        },
        _ => base,
    }
}

fn last_of_each(
    items: Vec<Node>,
    identity: fn(&Node) -> String,
    name: &'static str,
    history: &mut History,
) -> Vec<Node> {
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut unique: Vec<Node> = Vec::with_capacity(items.len());
    for mut item in items {
        // A text with variables in it, which were left alone, is only itself.
        let key = item.scalar_text().unwrap_or_else(|| identity(&item));
        match places.get(&key) {
            Some(&place) => {
                item.past = history.over(&unique[place], &item, Rule::SameItem(name));
                unique[place] = item;
            }
            None => {
                places.insert(key, unique.len());
                unique.push(item);
            }
        }
    }
    unique
}

/// What makes two entries of a list the same thing.
fn identity(known: &Object) -> Option<fn(&Node) -> String> {
    fn text(node: &Node, key: &str) -> Option<String> {
        node.get(key).and_then(Node::scalar_text)
    }
    match known.name {
        "port" => Some(|node| {
            let text = |key, default: &str| text(node, key).unwrap_or_else(|| default.to_owned());
            let (ip, published) = (text("host_ip", "0.0.0.0"), text("published", ""));
            format!("{ip}:{published}:{}/{}", text("target", ""), text("protocol", "tcp"))
        }),
        "volume" | "device" => Some(|node| text(node, "target").or_else(|| text(node, "source")).unwrap_or_default()),
        "file reference" => Some(|node| {
            let source = text(node, "source").unwrap_or_default();
            text(node, "target").map_or_else(
                || format!("/run/secrets/{source}"),
                |target| match target.starts_with('/') {
                    true => target,
                    false => format!("/run/secrets/{target}"),
                },
            )
        }),
        "env_file" => Some(|node| text(node, "path").unwrap_or_default()),
        "ipam config" => Some(|node| text(node, "subnet").unwrap_or_default()),
        _ => None,
    }
}
