//! What an empty text means, as `${NAME:-}` makes it.

use super::{Object, Shape, Special};

/// What happens with an attribute whose value is an empty text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmptyText {
    /// As if the attribute were not there.
    Unset,
    /// A value like any other.
    Kept,
    Refused,
}

impl EmptyText {
    /// As the documentation says it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unset => "as if unset",
            Self::Kept => "an empty text",
            Self::Refused => "refused",
        }
    }
}

/// What an empty text means for the attribute `key` of `object`.
#[must_use]
pub fn empty_text(object: &Object, key: &str) -> EmptyText {
    let Some(shape) = object.attribute(key) else { return EmptyText::Kept };
    if object.required.contains(&key) {
        return EmptyText::Refused;
    }
    match (object.name, key) {
        // The contents of a file may be empty, and a published port is any.
        ("config", "content") => EmptyText::Kept,
        ("port", "published") => EmptyText::Unset,
        // There is no such file.
        ("extends", "file") | ("include", "env_file") | ("service", "label_file") => EmptyText::Refused,
        ("x-windlass", "install") => EmptyText::Refused,
        _ => of_shape(shape),
    }
}

fn of_shape(shape: &Shape) -> EmptyText {
    match shape {
        Shape::Text | Shape::TextOrFlag | Shape::Special(Special::MacAddress | Special::Restart) => EmptyText::Unset,
        Shape::Scalar | Shape::TextOrNumber | Shape::TextOrList | Shape::Any => EmptyText::Kept,
        Shape::Special(
            Special::Build | Special::Command | Special::HealthTest | Special::Script | Special::Install,
        ) => EmptyText::Kept,
        _ => EmptyText::Refused,
    }
}

/// What a pair without a value means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmptyPair {
    /// An empty string.
    Blank,
    /// To be looked up in the project's environment.
    Unset,
    /// Refused in a list; an empty string in a mapping.
    Refused,
}
