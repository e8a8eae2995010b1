//! One layer over another, along the schema: mappings merge, lists append, the rest is replaced.

use std::collections::HashMap;

use super::schema::{EmptyPair, Object, Shape, Special, object_of};
use super::yaml::{Mapping, Node, Tag, Value};

/// `over` merged onto `base`.
pub fn merge(base: Node, over: Node, shape: &Shape) -> Node {
    if over.tag == Tag::Override {
        return Node { tag: Tag::None, ..over };
    }
    if over.is_null() {
        return base;
    }
    if base.is_null() || base.tag == Tag::Reset {
        return over;
    }
    let shape = canonical_shape(shape);
    let (tag, span, origin) = (base.tag, over.span, over.origin);
    let value = match (base.value, over.value) {
        (Value::Mapping(base), Value::Mapping(over)) => Value::Mapping(Box::new(mappings(*base, *over, shape))),
        (Value::Sequence(base), Value::Sequence(over)) => Value::Sequence(sequences(base, over, shape)),
        (_, over) => over,
    };
    Node { value, span, tag, origin }
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
pub fn unify(node: &mut Node, shape: &Shape) {
    match (canonical_shape(shape), &mut node.value) {
        (Shape::List(Shape::Object(known)), Value::Sequence(items)) => {
            if let Some(identity) = identity(known) {
                let all = std::mem::take(items);
                *items = last_of_each(all, identity);
            }
        }
        (Shape::Object(known) | Shape::Nullable(known), Value::Mapping(mapping)) => {
            for (key, entry) in &mut mapping.0 {
                if let Some(shape) = known.attribute(key) {
                    unify(&mut entry.node, shape);
                }
            }
        }
        (Shape::Table(item), Value::Mapping(mapping)) => {
            mapping.0.values_mut().for_each(|entry| unify(&mut entry.node, item));
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

fn mappings(mut base: Mapping, over: Mapping, shape: &Shape) -> Mapping {
    if let Shape::Object(known) = shape
        && known.name == "logging"
        && !same_driver(&base, &over)
    {
        return over;
    }
    for (key, entry) in over.0 {
        if entry.node.tag == Tag::Reset {
            base.0.shift_remove(&key);
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
                existing.node = merge(before, entry.node, inner);
                existing.key_span = entry.key_span;
            }
            Some(existing) => *existing = entry,
            None => {
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

fn sequences(mut base: Vec<Node>, over: Vec<Node>, shape: &Shape) -> Vec<Node> {
    match shape {
        Shape::Special(Special::Command | Special::HealthTest) => over,
        Shape::Set(_) | Shape::TextOrList | Shape::Special(Special::ExtraHosts | Special::Ssh) => {
            base.extend(over);
            let mut all = Node::sequence(base, super::session::nowhere());
            super::canonical::unique(&mut all);
            match all.value {
                Value::Sequence(items) => items,
                _ => Vec::new(),
            }
        }
        Shape::List(Shape::Object(known)) => {
            base.extend(over);
            match identity(known) {
                Some(identity) => last_of_each(base, identity),
                None => base,
            }
        }
        _ => {
            base.extend(over);
            base
        }
    }
}

fn last_of_each(items: Vec<Node>, identity: fn(&Node) -> String) -> Vec<Node> {
    let mut places: HashMap<String, usize> = HashMap::new();
    let mut unique: Vec<Node> = Vec::with_capacity(items.len());
    for item in items {
        match places.get(&identity(&item)) {
            Some(&place) => unique[place] = item,
            None => {
                places.insert(identity(&item), unique.len());
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
