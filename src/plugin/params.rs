//! The schema of a function's parameters: judged when its plugin is loaded, and what configured parameters have against it.
//!
//! A schema is a stranger's data. Its size, depth and patterns are bounded, it refers to nothing, and no pattern can backtrack, so
//! neither judging it nor checking against it can take long.

use jsonschema::error::ValidationErrorKind;
use jsonschema::{PatternOptions, ValidationError, Validator};
use serde_json::{Map, Value};

use super::limits::printable;
use crate::config::suggestion;

/// Length of a schema.
const BYTES_MAX: usize = 16 << 10;
/// Objects and lists inside one another.
const DEPTH_MAX: usize = 32;
/// A compiled pattern. Enough for some Unicode classes, too little for `(\w{99}){99}`.
const PATTERN_BYTES_MAX: usize = 256 << 10;
/// Problems of one call that are told.
const PROBLEMS_MAX: usize = 20;
/// Characters of what a schema says that are shown.
const SHOWN_CHARS_MAX: usize = 200;

/// What would lead out of the schema, or round in it.
const REFERENCES: [&str; 6] = ["$ref", "$dynamicRef", "$recursiveRef", "$id", "id", "$vocabulary"];

/// One thing that is wrong with a function's parameters. No value of them is shown: it may be a secret (I12).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParamProblem {
    /// JSON pointer into the object of parameters; empty = the object.
    pub pointer: String,
    /// What is wrong.
    pub message: String,
    /// What would be right.
    pub suggestion: Option<String>,
}

/// A judged schema.
#[derive(Debug, Clone)]
pub(super) struct ParamsSchema {
    text: String,
    schema: Value,
    validator: Option<Validator>,
}

impl ParamsSchema {
    /// Reads the schema; an empty text allows every object.
    ///
    /// # Errors
    /// Why it is no schema that the host uses.
    pub(super) fn new(text: &str) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Ok(Self { text: String::new(), schema: Value::Null, validator: None });
        }
        if text.len() > BYTES_MAX {
            return Err(format!("it has {} bytes; at most {BYTES_MAX} are allowed", text.len()));
        }
        let schema: Value = serde_json::from_str(text).map_err(|error| format!("it is not JSON: {error}"))?;
        let Value::Object(root) = &schema else { return Err("it is not a JSON object".to_owned()) };
        if root.get("type").is_some_and(|kind| kind != "object") {
            return Err("its `type` must be \"object\": parameters are an object".to_owned());
        }
        check_bounds(&schema, 1)?;
        let patterns = PatternOptions::regex().size_limit(PATTERN_BYTES_MAX).dfa_size_limit(PATTERN_BYTES_MAX);
        let validator = jsonschema::options()
            .offline()
            .should_validate_formats(false)
            .with_pattern_options(patterns)
            .build(&schema)
            .map_err(|error| printable(&format!("at `{}`: {error}", error.instance_path()), SHOWN_CHARS_MAX))?;
        Ok(Self { text: text.to_owned(), schema, validator: Some(validator) })
    }

    /// The schema as the plugin wrote it, or empty.
    pub(super) fn text(&self) -> &str {
        &self.text
    }

    /// What is wrong with these parameters, the first ones.
    pub(super) fn problems(&self, params: Map<String, Value>) -> Vec<ParamProblem> {
        let Some(validator) = &self.validator else { return Vec::new() };
        let params = Value::Object(params);
        let problems = validator.iter_errors(&params).flat_map(|error| self.explain(&error));
        problems.take(PROBLEMS_MAX).collect()
    }

    fn explain(&self, error: &ValidationError<'_>) -> Vec<ParamProblem> {
        let at = error.instance_path().as_str().to_owned();
        let name = if at.is_empty() { "the parameters".to_owned() } else { format!("parameter `{}`", shown(&at)) };
        let one = |pointer: String, message: String, suggestion: Option<String>| {
            vec![ParamProblem { pointer, message, suggestion }]
        };
        #[expect(clippy::wildcard_enum_match_arm, reason = "the crate's own words do for the others")]
        match error.kind() {
            ValidationErrorKind::AdditionalProperties { unexpected }
            | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
                let known = self.known_beside(error);
                let known: Vec<&str> = known.iter().map(String::as_str).collect();
                let unknown = |wrong: &String| ParamProblem {
                    pointer: format!("{at}/{}", wrong.replace('~', "~0").replace('/', "~1")),
                    message: format!("there is no parameter `{}`", shown(wrong)),
                    suggestion: suggestion(wrong, &known).or_else(|| Some("remove it: there are none".to_owned())),
                };
                unexpected.iter().map(unknown).collect()
            }
            ValidationErrorKind::Required { property } => {
                let property = property.as_str().unwrap_or_default();
                let wanted = shown(property);
                one(at, format!("{name} must have `{wanted}`"), Some(format!("add \"{wanted}\": …")))
            }
            ValidationErrorKind::Enum { options } => {
                let options: Vec<String> = options.as_array().into_iter().flatten().map(Value::to_string).collect();
                one(at, format!("{name} has none of its values"), Some(format!("use {}", shown(&options.join(", ")))))
            }
            _ => one(at, format!("{name}: {}", shown(&error.masked().to_string())), None),
        }
    }

    /// The properties that the schema names where it refuses others.
    fn known_beside(&self, error: &ValidationError<'_>) -> Vec<String> {
        let path = error.schema_path().as_str();
        let parent = path.rsplit_once('/').map_or("", |(parent, _)| parent);
        let properties = self.schema.pointer(&format!("{parent}/properties")).and_then(Value::as_object);
        properties.into_iter().flat_map(Map::keys).map(|name| shown(name)).collect()
    }
}

fn shown(text: &str) -> String {
    printable(text.trim_start_matches('/'), SHOWN_CHARS_MAX)
}

fn check_bounds(schema: &Value, depth: usize) -> Result<(), String> {
    if depth > DEPTH_MAX {
        return Err(format!("it is nested deeper than {DEPTH_MAX}"));
    }
    match schema {
        Value::Object(members) => members.iter().try_for_each(|(key, member)| {
            if REFERENCES.contains(&key.as_str()) && member.is_string() {
                return Err(format!("`{key}` is not allowed: write out what it refers to"));
            }
            check_bounds(member, depth + 1)
        }),
        Value::Array(items) => items.iter().try_for_each(|item| check_bounds(item, depth + 1)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    const SCHEMA: &str = r#"{"type": "object", "additionalProperties": false, "required": ["format"], "properties": {
        "format": {"enum": ["e164", "national"]}, "region": {"type": "string", "pattern": "^[A-Z]{2}$"},
        "nested": {"type": "object", "additionalProperties": false, "properties": {"inner": {"type": "integer"}}}}}"#;

    fn problems(params: &str) -> Vec<(String, String, String)> {
        let found = ParamsSchema::new(SCHEMA).unwrap().problems(serde_json::from_str(params).unwrap());
        found.into_iter().map(|found| (found.pointer, found.message, found.suggestion.unwrap_or_default())).collect()
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place_and_what_would_be_right() {
        assert!(problems(r#"{"format": "e164", "region": "US", "nested": {"inner": 1}}"#).is_empty());
        let one = |params: &str| {
            let found = problems(params);
            assert_eq!(found.len(), 1, "{found:?}");
            found.into_iter().next().unwrap()
        };
        let (pointer, message, suggestion) = one(r#"{"format": "e164", "regoin": "US"}"#);
        assert_eq!((pointer.as_str(), suggestion.as_str()), ("/regoin", "did you mean \"region\"?"));
        assert!(message.contains("`regoin`"), "{message}");
        let (pointer, _, suggestion) = one(r#"{"format": "e164", "nested": {"iner": 1}}"#);
        assert_eq!((pointer.as_str(), suggestion.as_str()), ("/nested/iner", "did you mean \"inner\"?"));
        let (pointer, message, _) = one("{}");
        assert!(pointer.is_empty() && message.contains("`format`"), "{message}");
        let (pointer, _, suggestion) = one(r#"{"format": "e146"}"#);
        assert_eq!((pointer.as_str(), suggestion.as_str()), ("/format", "use \"e164\", \"national\""));
    }

    #[test]
    fn values_are_never_shown() {
        for params in [
            r#"{"format": "hunter2"}"#,
            r#"{"format": "e164", "region": "hunter2"}"#,
            r#"{"format": "e164", "nested": "hunter2"}"#,
        ] {
            let found = problems(params);
            assert!(!found.is_empty() && !format!("{found:?}").contains("hunter2"), "{found:?}");
        }
    }

    #[test]
    fn hostile_schemas_are_refused_and_take_no_time() {
        let deep = format!("{}{{}}{}", r#"{"not":"#.repeat(60), "}".repeat(60));
        let deepest = format!("{}{{}}{}", r#"{"not":"#.repeat(2_000), "}".repeat(2_000));
        let wide = format!(r#"{{"enum": [{}1]}}"#, "1,".repeat(20_000));
        let started = Instant::now();
        for (schema, says) in [
            ("[]", "not a JSON object"),
            ("{", "not JSON"),
            (r#"{"type": "string"}"#, "must be \"object\""),
            (r#"{"type": "object", "properties": 5}"#, "properties"),
            (r##"{"$ref": "#"}"##, "`$ref`"),
            (r#"{"properties": {"a": {"$ref": "http://127.0.0.1/x"}}}"#, "`$ref`"),
            (r#"{"$schema": "http://127.0.0.1/x"}"#, ""),
            (r#"{"properties": {"a": {"pattern": "(\\w{99}){99}"}}}"#, ""),
            (r#"{"properties": {"a": {"pattern": "(a)\\1"}}}"#, ""),
            (r#"{"patternProperties": {"(?=a)": true}}"#, ""),
            (&deep, "nested deeper"),
            (&deepest, ""),
            (&wide, "bytes"),
        ] {
            let refused = ParamsSchema::new(schema).expect_err(schema.get(..60).unwrap_or(schema));
            assert!(refused.contains(says), "{refused}");
        }
        // The pattern that is slow everywhere else.
        let slow = ParamsSchema::new(r#"{"properties": {"a": {"pattern": "^(a+)+$"}}}"#).unwrap();
        let mut params = Map::new();
        params.insert("a".to_owned(), Value::String(format!("{}!", "a".repeat(50_000))));
        assert_eq!(slow.problems(params).len(), 1);
        assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
        assert!(ParamsSchema::new("").unwrap().problems(Map::new()).is_empty());
    }
}
