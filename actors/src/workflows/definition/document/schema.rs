//! The JSON Schema of documents, from the table that they are read by. Pure. Editors complete and check by it; what it
//! cannot say (names that are unique, expressions that are none) only reading finds.

use serde_json::{Map, Value, json};

use super::keys::{self, Key, SHAPES, Shape, Type};
use crate::workflows::definition::{DESCRIPTION_MAX, NAME_MAX};

/// The JSON Schema (draft 2020-12) of a document.
pub fn schema() -> Value {
    let mut schema = object(keys::document());
    let own = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Fleetward workflow",
        "description": "A tree of named nodes. Expressions are in the Common Expression Language; they see `input`, \
                        `previous`, `steps.NAME`, `iteration` and `run.id`.",
        "$defs": definitions(),
    });
    if let (Value::Object(schema), Value::Object(own)) = (&mut schema, own) {
        schema.extend(own);
    }
    schema
}

fn definitions() -> Value {
    // What stands without quotes in YAML reaches a validator as a number, or as true or false.
    let plain = json!(["string", "number", "boolean"]);
    json!({
        "name": { "type": "string", "pattern": format!("^[A-Za-z][A-Za-z0-9_-]{{0,{}}}$", NAME_MAX - 1) },
        "text": { "type": plain, "maxLength": DESCRIPTION_MAX },
        "expression": { "type": plain, "description": "An expression." },
        "expressions": {
            "description": "An expression, or a list or mapping of them.",
            "anyOf": [
                { "type": ["string", "number", "boolean", "null"] },
                { "type": "array", "items": { "$ref": "#/$defs/expressions" } },
                { "type": "object", "additionalProperties": { "$ref": "#/$defs/expressions" } },
            ],
        },
        "duration": {
            "type": "string",
            "pattern": "^([0-9]+(\\.[0-9]+)?(ms|s|m|h|d|w))+$",
            "examples": ["500ms", "2s", "1h30m", "3d"],
        },
        "nodes": { "type": "array", "minItems": 1, "items": { "$ref": "#/$defs/node" } },
        "node": { "oneOf": SHAPES.iter().map(node).collect::<Vec<_>>() },
    })
}

fn node(shape: &Shape) -> Value {
    let mut node = object(shape.keys());
    node["title"] = json!(shape.word);
    node["description"] = json!(shape.about);
    node["properties"][shape.word] =
        json!({ "$ref": "#/$defs/name", "description": "Its name, unique in the document." });
    let required = node["required"].as_array().cloned().unwrap_or_default();
    node["required"] = [json!(shape.word)].into_iter().chain(required).collect();
    node
}

fn object(keys: impl Iterator<Item = &'static Key> + Clone) -> Value {
    let required: Vec<_> = keys.clone().filter(|key| key.required).map(|key| key.name).collect();
    let properties: Map<String, Value> =
        keys.map(|key| (key.name.to_owned(), property(key))).collect();
    json!({
        "type": "object",
        "properties": properties,
        "required": required,
        "additionalProperties": false,
    })
}

fn property(key: &Key) -> Value {
    let mut property = holds(key.holds);
    // A handler that is nothing stands for any worker.
    if key.name == "handler" {
        property = json!({ "anyOf": [property, { "type": "null" }] });
    }
    property["description"] = json!(key.about);
    property
}

fn holds(holds: Type) -> Value {
    match holds {
        Type::Name => json!({ "$ref": "#/$defs/name" }),
        Type::Text => json!({ "$ref": "#/$defs/text" }),
        Type::Expression => json!({ "$ref": "#/$defs/expression" }),
        Type::Expressions => json!({ "$ref": "#/$defs/expressions" }),
        Type::Duration => json!({ "$ref": "#/$defs/duration" }),
        Type::Integer(least, most) => {
            json!({ "type": "integer", "minimum": least, "maximum": most })
        }
        Type::Number(least, most) => json!({ "type": "number", "minimum": least, "maximum": most }),
        Type::Boolean => json!({ "type": "boolean" }),
        Type::Switch => {
            json!({ "anyOf": [{ "type": "boolean" }, { "$ref": "#/$defs/duration" }] })
        }
        Type::Choice(words) => json!({ "enum": words }),
        Type::Texts => json!({ "type": "array", "items": { "$ref": "#/$defs/text" } }),
        Type::Labels => {
            json!({ "type": "object", "additionalProperties": { "$ref": "#/$defs/text" } })
        }
        Type::Items(keys) => json!({ "type": "array", "items": object(keys.iter()) }),
        Type::Part(keys) => object(keys.iter()),
        Type::Nodes => json!({ "$ref": "#/$defs/nodes" }),
        Type::Any => json!({}),
    }
}
