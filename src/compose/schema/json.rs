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
        Shape::TextOrFlag => json!({"type": ["string", "boolean"]}),
        Shape::TextOrNumber | Shape::Number | Shape::Size | Shape::Space | Shape::Mode => {
            json!({"type": ["string", "number"]})
        }
        Shape::Scalar => json!({"type": ["string", "number", "boolean", "null"]}),
        // A variable may stand for the word.
        Shape::Word(words) => json!({"anyOf": [{"enum": words}, {"type": "string", "pattern": "\\$"}]}),
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
        Special::Script | Special::HealthTest => json!({"anyOf": [text(), texts()]}),
        Special::DependsOn | Special::Networks | Special::Models => json!({"anyOf": [texts(), long]}),
        Special::Devices
        | Special::Volumes
        | Special::FileReferences
        | Special::SecretReferences
        | Special::Include => items_or(text()),
        Special::Ports => items_or(json!({"type": ["string", "number"]})),
        Special::DeviceCount => json!({"type": ["string", "integer"]}),
        Special::EnvFile => json!({"anyOf": [text(), items_or(text())]}),
        Special::Install => json!({"anyOf": [text(), texts(), long]}),
        Special::Extends => json!({"anyOf": [text(), long]}),
        Special::External => json!({"anyOf": [
            {"type": ["boolean", "string"]},
            {"type": "object", "properties": {"name": text()}, "additionalProperties": false},
        ]}),
        Special::ExtraHosts => json!({"anyOf": [
            texts(),
            {"type": "object", "additionalProperties": {"anyOf": [text(), texts()]}},
        ]}),
        Special::Gpus => json!({"anyOf": [{"enum": ["all"]}, long]}),
        Special::MacAddress | Special::ContainerName | Special::PullPolicy | Special::Restart => text(),
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

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::json_schema;

    /// Checks the keywords of a schema and of all that are inside it.
    fn check(schema: &Value, at: &str) {
        const TYPES: [&str; 7] = ["string", "number", "integer", "boolean", "null", "array", "object"];
        let keywords = schema.as_object().unwrap_or_else(|| panic!("{at}: {schema} is no schema"));
        for (keyword, value) in keywords {
            let at = format!("{at}/{keyword}");
            match keyword.as_str() {
                "$schema" | "title" | "description" | "pattern" => assert!(value.is_string(), "{at}"),
                "type" => {
                    let one = std::slice::from_ref(value);
                    let types = value.as_array().map_or(one, Vec::as_slice);
                    assert!(!types.is_empty(), "{at}");
                    assert!(types.iter().all(|it| TYPES.contains(&it.as_str().unwrap_or_default())), "{at}: {value}");
                }
                "enum" => assert!(value.as_array().is_some_and(|it| !it.is_empty()), "{at}"),
                "properties" | "patternProperties" => {
                    for (name, inner) in value.as_object().unwrap() {
                        check(inner, &format!("{at}/{name}"));
                    }
                }
                "anyOf" => {
                    let all = value.as_array().unwrap();
                    assert!(all.len() > 1, "{at}");
                    all.iter().enumerate().for_each(|(index, inner)| check(inner, &format!("{at}/{index}")));
                }
                "items" => check(value, &at),
                "additionalProperties" => {
                    _ = value.is_boolean() || {
                        check(value, &at);
                        true
                    }
                }
                other => panic!("{at}: {other} is no keyword that is used here"),
            }
        }
    }

    #[test]
    fn the_schema_is_one_and_knows_our_keys() {
        let schema = json_schema();
        check(&schema, "");
        let service = &schema["properties"]["services"]["additionalProperties"]["properties"];
        let ours = &service["x-windlass"]["anyOf"][0]["properties"];
        assert_eq!(ours["rootfs"]["anyOf"][0]["enum"][0], "host");
        assert!(service["image"].is_object() && service["depends_on"].is_object());
        for path in super::super::paths() {
            let mut at = &schema;
            for part in path.split('.') {
                at = below(at, part).unwrap_or_else(|| panic!("the schema lacks {path}"));
            }
        }
    }

    /// What a schema says of the values at `part`; `*` is any name or index.
    fn below<'a>(schema: &'a Value, part: &str) -> Option<&'a Value> {
        let own = match part {
            "*" => schema.get("additionalProperties").filter(|it| it.is_object()).or_else(|| schema.get("items")),
            name => schema.get("properties").and_then(|it| it.get(name)),
        };
        own.or_else(|| schema.get("anyOf")?.as_array()?.iter().rev().find_map(|it| below(it, part)))
    }
}
