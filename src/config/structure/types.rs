//! What the schema says about JSON types (layer 2).

use serde_json::{Map, Value};

use crate::config::document::Shape;

pub(super) fn is_anything(schema: &Map<String, Value>) -> bool {
    !["type", "const", "enum", "properties"].iter().any(|key| schema.contains_key(*key))
}

pub(super) fn types(schema: &Map<String, Value>) -> impl Iterator<Item = &str> {
    let (one, several) = match schema.get("type") {
        Some(Value::Array(several)) => (None, several.as_slice()),
        one => (one, [].as_slice()),
    };
    one.into_iter().chain(several).filter_map(Value::as_str)
}

pub(super) fn fits(shape: &Shape, schema: &Map<String, Value>) -> bool {
    types(schema).any(|name| match shape {
        Shape::Null => name == "null",
        Shape::Bool(_) => name == "boolean",
        Shape::Number(text) => {
            name == "number" || name == "integer" && text.chars().all(|char| char.is_ascii_digit() || char == '-')
        }
        Shape::String(_) => name == "string",
        Shape::Array(_) => name == "array",
        Shape::Object(_) => name == "object",
    })
}

/// How a message calls a type of the schema; null is never recommended.
pub(super) fn type_name(name: &str) -> Option<&'static str> {
    match name {
        "boolean" => Some("true or false"),
        "number" => Some("a number"),
        "integer" => Some("a whole number"),
        "string" => Some("a string"),
        "array" => Some("an array"),
        "object" => Some("an object"),
        _ => None,
    }
}

pub(super) fn shape_name(shape: &Shape) -> &'static str {
    match shape {
        Shape::Null => "null",
        Shape::Bool(_) => "true or false",
        Shape::Number(_) => "a number",
        Shape::String(_) => "a string",
        Shape::Array(_) => "an array",
        Shape::Object(_) => "an object",
    }
}

/// The least and the most that a number may be.
pub(super) fn range(schema: &Map<String, Value>) -> (Option<f64>, Option<f64>) {
    let bound = |key: &str| schema.get(key).and_then(Value::as_f64);
    let of_format = match schema.get("format").and_then(Value::as_str) {
        Some("uint32") => Some(f64::from(u32::MAX)),
        Some("uint64" | "uint") => Some(MAX_WHOLE),
        _ => None,
    };
    (bound("minimum"), bound("maximum").or(of_format))
}

/// 2^53: the largest whole number that every JSON reader keeps.
const MAX_WHOLE: f64 = 9_007_199_254_740_992.0;
