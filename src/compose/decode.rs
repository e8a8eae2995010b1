//! The canonical tree as a source for serde.

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{DeserializeOwned, Deserializer, Error as _, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use super::yaml::{Mapping, Node, Value};

/// Why a tree does not fit a type; a fault of the schema, as it lets nothing through that does not fit.
pub type DecodeError = serde::de::value::Error;

/// Reads `node` as a `T`.
pub fn decode<T: DeserializeOwned>(node: &Node) -> Result<T, DecodeError> {
    T::deserialize(Tree(node))
}

#[derive(Clone, Copy)]
struct Tree<'a>(&'a Node);

impl<'de> IntoDeserializer<'de, DecodeError> for Tree<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl<'de> Deserializer<'de> for Tree<'_> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.0.value {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Int(value) => visitor.visit_i64(*value),
            Value::Unsigned(value) => visitor.visit_u64(*value),
            Value::Float(value) => visitor.visit_f64(*value),
            Value::String(text) => visitor.visit_str(text),
            Value::Sequence(items) => visitor.visit_seq(SeqDeserializer::new(items.iter().map(Tree))),
            Value::Mapping(mapping) => {
                let entries = mapping.iter().map(|(key, entry)| (key.as_str(), Tree(&entry.node)));
                visitor.visit_map(MapDeserializer::new(entries))
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.0.is_null() {
            true => visitor.visit_none(),
            false => visitor.visit_some(self),
        }
    }

    /// `x-…` keys of a record are its extensions.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        let Value::Mapping(mapping) = &self.0.value else { return self.deserialize_any(visitor) };
        if name == "Windlass" {
            return self.deserialize_any(visitor);
        }
        let is_extension = |key: &str| key.starts_with("x-");
        let gathered: Node;
        let mut parts: Vec<(&str, Tree<'_>)> = Vec::with_capacity(mapping.0.len());
        parts.extend(
            mapping.iter().filter(|(key, _)| !is_extension(key)).map(|(key, entry)| (key.as_str(), Tree(&entry.node))),
        );
        if parts.len() < mapping.0.len() && fields.contains(&"#extensions") {
            if fields.contains(&"#windlass")
                && let Some(own) = mapping.get("x-windlass")
                && !own.is_null()
            {
                parts.push(("#windlass", Tree(own)));
            }
            let extensions = mapping.iter().filter(|(key, _)| is_extension(key));
            let extensions = extensions.map(|(key, entry)| (key.clone(), entry.clone())).collect();
            gathered = Node::mapping(Mapping(extensions), self.0.span);
            parts.push(("#extensions", Tree(&gathered)));
        }
        visitor.visit_map(MapDeserializer::new(parts.into_iter()))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match self.0.as_str() {
            Some(text) => visitor.visit_enum(text.into_deserializer()),
            None => Err(DecodeError::custom("a word is wanted")),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple
        tuple_struct map identifier ignored_any
    }
}
