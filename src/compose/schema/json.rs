//! The schema as JSON schema, for editors.

use serde_json::{Map, Value, json};

use super::{Object, PROJECT, Shape, Special, build_object, object_of};

/// A JSON schema (2020-12) of the accepted files.
#[must_use]
pub fn json_schema() -> Value {
    let mut root = object(&PROJECT);
    if let Some(root) = root.as_object_mut() {
        root.insert("$schema".to_owned(), "https://json-schema.org/draft/2020-12/schema".into());
        root.insert("title".to_owned(), "Compose file as windlass reads it".into());
    }
    root
}

fn object(known: &Object) -> Value {
    let mut properties = Map::new();
    for (name, shape) in known.attributes {
        properties.insert((*name).to_owned(), schema(shape));
    }
    // Not required here: a key may come from another file.
    json!({
        "type": "object",
        "properties": properties,
        "patternProperties": {"^x-": {}},
        "additionalProperties": false,
    })
}

fn table(item: Value) -> Value {
    json!({"type": "object", "patternProperties": {"^x-": {}}, "additionalProperties": item})
}

fn text() -> Value {
    json!({"type": "string"})
}

fn texts() -> Value {
    json!({"type": "array", "items": {"type": "string"}})
}

fn schema(shape: &Shape) -> Value {
    match shape {
        Shape::Text | Shape::Duration => text(),
        Shape::TextOrNumber | Shape::Number | Shape::Size | Shape::Mode => json!({"type": ["string", "number"]}),
        Shape::Scalar => json!({"type": ["string", "number", "boolean", "null"]}),
        Shape::Word(words) => json!({"type": "string", "enum": words}),
        Shape::Flag => json!({"type": ["boolean", "string"]}),
        Shape::Whole { .. } => json!({"type": ["integer", "string"]}),
        Shape::Any => json!({}),
        Shape::List(item) | Shape::Set(item) => json!({"type": "array", "items": schema(item)}),
        Shape::TextOrList => json!({"anyOf": [text(), texts()]}),
        Shape::Table(item) => table(schema(item)),
        Shape::Pairs(_) => json!({"anyOf": [
            {"type": "object", "additionalProperties": {"type": ["string", "number", "boolean", "null"]}},
            texts(),
        ]}),
        Shape::Object(known) => object(known),
        Shape::Nullable(known) => json!({"anyOf": [object(known), {"type": "null"}]}),
        Shape::Special(special) => short(*special),
    }
}

/// The short forms beside the long one.
fn short(special: Special) -> Value {
    let long = object_of(special).map(schema).unwrap_or_default();
    let items_or = |short: Value| {
        let item = long.get("items").cloned().unwrap_or_default();
        json!({"type": "array", "items": {"anyOf": [short, item]}})
    };
    match special {
        Special::Build => json!({"anyOf": [text(), object(build_object())]}),
        Special::Command => json!({"anyOf": [text(), texts(), {"type": "null"}]}),
        Special::HealthTest => json!({"anyOf": [text(), texts()]}),
        Special::DependsOn | Special::Networks | Special::Models => json!({"anyOf": [texts(), long]}),
        Special::Devices
        | Special::Volumes
        | Special::FileReferences
        | Special::SecretReferences
        | Special::Include => items_or(text()),
        Special::Ports => items_or(json!({"type": ["string", "number"]})),
        Special::DeviceCount => json!({"type": ["string", "integer"]}),
        Special::EnvFile => json!({"anyOf": [text(), items_or(text())]}),
        Special::Extends => json!({"anyOf": [text(), long]}),
        Special::External => json!({"anyOf": [
            {"type": ["boolean", "string"]},
            {"type": "object", "properties": {"name": text()}},
        ]}),
        Special::ExtraHosts => json!({"anyOf": [
            texts(),
            {"type": "object", "additionalProperties": {"anyOf": [text(), texts()]}},
        ]}),
        Special::Gpus => json!({"anyOf": [{"type": "string", "enum": ["all"]}, long]}),
        Special::MacAddress | Special::Restart => text(),
        Special::ProviderOptions => table(json!({"anyOf": [
            {"type": ["string", "number", "boolean"]},
            {"type": "array", "items": {"type": ["string", "number", "boolean"]}},
        ]})),
        Special::Ssh => json!({"anyOf": [
            texts(),
            {"type": "object", "additionalProperties": {"type": ["string", "null"]}},
        ]}),
        Special::Ulimits => {
            let limit = long.get("additionalProperties").cloned().unwrap_or_default();
            table(json!({"anyOf": [{"type": ["integer", "string"]}, limit]}))
        }
    }
}
