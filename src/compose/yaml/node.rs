//! The tree.

use foldhash::fast::RandomState;
use indexmap::IndexMap;

use crate::diag::Span;

/// A node of the tree.
#[derive(Debug, Clone)]
pub struct Node {
    pub value: Value,
    pub span: Span,
    pub tag: Tag,
    pub origin: Origin,
    pub past: Past,
}

/// Which variables made the value: a number into [`crate::compose::interpolate::Trail`]; 0 is none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Origin(pub u32);

/// What the value was before: a number into [`crate::compose::provenance::History`]; 0 is nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Past(pub u32);

/// What the merge does with a node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Tag {
    #[default]
    None,
    /// `!reset`: the attribute goes away.
    Reset,
    /// `!override`: the value replaces instead of merging.
    Override,
}

#[derive(Debug, Clone, Default)]
pub enum Value {
    #[default]
    Null,
    Bool(bool),
    Int(i64),
    /// Whole numbers above `i64::MAX`.
    Unsigned(u64),
    Float(f64),
    String(String),
    Sequence(Vec<Node>),
    Mapping(Box<Mapping>),
}

impl Value {
    /// What people call this kind of value.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "a boolean",
            Self::Int(_) | Self::Unsigned(_) | Self::Float(_) => "a number",
            Self::String(_) => "a string",
            Self::Sequence(_) => "a list",
            Self::Mapping(_) => "a mapping",
        }
    }
}

/// A value and the place of its key.
#[derive(Debug, Clone)]
pub struct Entry {
    pub key_span: Span,
    pub node: Node,
}

/// A mapping in the order of the text. Keys come from files of others: the hash has a secret.
#[derive(Debug, Clone, Default)]
pub struct Mapping(pub IndexMap<String, Entry, RandomState>);

impl Mapping {
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.0.get(key).map(|entry| &entry.node)
    }

    pub fn get_mut(&mut self, key: &str) -> Option<&mut Node> {
        self.0.get_mut(key).map(|entry| &mut entry.node)
    }

    #[must_use]
    pub fn contains(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    /// Puts `node` at `key`; a new key stands where the node stands.
    pub fn insert(&mut self, key: impl Into<String>, node: Node) {
        let key_span = node.span;
        self.0.insert(key.into(), Entry { key_span, node });
    }

    pub fn remove(&mut self, key: &str) -> Option<Node> {
        self.0.shift_remove(key).map(|entry| entry.node)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&String, &Entry)> {
        self.0.iter()
    }
}

impl Node {
    #[must_use]
    pub fn new(value: Value, span: Span) -> Self {
        Self { value, span, tag: Tag::None, origin: Origin::default(), past: Past::default() }
    }

    #[must_use]
    pub fn string(text: impl Into<String>, span: Span) -> Self {
        Self::new(Value::String(text.into()), span)
    }

    #[must_use]
    pub fn mapping(mapping: Mapping, span: Span) -> Self {
        Self::new(Value::Mapping(Box::new(mapping)), span)
    }

    #[must_use]
    pub fn sequence(items: Vec<Node>, span: Span) -> Self {
        Self::new(Value::Sequence(items), span)
    }

    /// The same place, origin and past with another value.
    #[must_use]
    pub fn with(&self, value: Value) -> Self {
        Self { value, span: self.span, tag: self.tag, origin: self.origin, past: self.past }
    }

    #[must_use]
    pub fn as_str(&self) -> Option<&str> {
        match &self.value {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match self.value {
            Value::Bool(value) => Some(value),
            _ => None,
        }
    }

    #[must_use]
    pub fn as_int(&self) -> Option<i64> {
        match self.value {
            Value::Int(value) => Some(value),
            _ => None,
        }
    }

    #[must_use]
    pub fn as_mapping(&self) -> Option<&Mapping> {
        match &self.value {
            Value::Mapping(mapping) => Some(mapping),
            _ => None,
        }
    }

    pub fn as_mapping_mut(&mut self) -> Option<&mut Mapping> {
        match &mut self.value {
            Value::Mapping(mapping) => Some(mapping),
            _ => None,
        }
    }

    #[must_use]
    pub fn as_sequence(&self) -> Option<&[Node]> {
        match &self.value {
            Value::Sequence(items) => Some(items),
            _ => None,
        }
    }

    pub fn as_sequence_mut(&mut self) -> Option<&mut Vec<Node>> {
        match &mut self.value {
            Value::Sequence(items) => Some(items),
            _ => None,
        }
    }

    #[must_use]
    pub fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// The value at `key` of a mapping.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.as_mapping()?.get(key)
    }

    /// The text that a scalar stands for where a string is wanted; `None` for lists, mappings and nothing.
    #[must_use]
    pub fn scalar_text(&self) -> Option<String> {
        match &self.value {
            Value::Bool(value) => Some(value.to_string()),
            Value::Int(value) => Some(value.to_string()),
            Value::Unsigned(value) => Some(value.to_string()),
            Value::Float(value) => Some(super::float_text(*value)),
            Value::String(text) => Some(text.clone()),
            Value::Null | Value::Sequence(_) | Value::Mapping(_) => None,
        }
    }

    /// Number of nodes from here down.
    #[must_use]
    pub fn count(&self) -> usize {
        match &self.value {
            Value::Sequence(items) => 1 + items.iter().map(Self::count).sum::<usize>(),
            Value::Mapping(mapping) => 1 + mapping.iter().map(|(_, entry)| entry.node.count()).sum::<usize>(),
            _ => 1,
        }
    }

    /// As JSON; numbers that JSON lacks become strings.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Int(value) => (*value).into(),
            Value::Unsigned(value) => (*value).into(),
            // As the peer writes it: `3.0` is 3.
            Value::Float(value) if value.fract() == 0.0 && value.abs() < 9e15 => (*value as i64).into(),
            Value::Float(value) => serde_json::Number::from_f64(*value)
                .map_or_else(|| super::float_text(*value).into(), serde_json::Value::Number),
            Value::String(text) => text.as_str().into(),
            Value::Sequence(items) => items.iter().map(Self::to_json).collect(),
            Value::Mapping(mapping) => serde_json::Value::Object(
                mapping.iter().map(|(key, entry)| (key.clone(), entry.node.to_json())).collect(),
            ),
        }
    }
}
