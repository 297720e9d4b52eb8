//! Parameters: declared once, from which both their JSON Schema and their check follow.

use crate::bindings::transforms::tidelock::plugin::types::PluginError;
use crate::failure::call_failure;
use miniserde::json::{self, Number, Object, Value};

/// A parameter that a function takes.
#[derive(Clone, Debug)]
pub struct Param {
    name: &'static str,
    doc: &'static str,
    shape: Shape,
    required: bool,
}

#[derive(Clone, Debug)]
enum Shape {
    Text,
    Choice(&'static [&'static str]),
    Integer,
    Flag,
}

impl Param {
    /// Any text.
    pub const fn text(name: &'static str, doc: &'static str) -> Self {
        Self { name, doc, shape: Shape::Text, required: false }
    }

    /// One of these texts.
    pub const fn choice(name: &'static str, allowed: &'static [&'static str], doc: &'static str) -> Self {
        Self { name, doc, shape: Shape::Choice(allowed), required: false }
    }

    /// A whole number.
    pub const fn integer(name: &'static str, doc: &'static str) -> Self {
        Self { name, doc, shape: Shape::Integer, required: false }
    }

    /// True or false.
    pub const fn flag(name: &'static str, doc: &'static str) -> Self {
        Self { name, doc, shape: Shape::Flag, required: false }
    }

    /// The same, but it must be given.
    #[must_use]
    pub const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    /// What is wrong with a value for this parameter, or nothing.
    fn check(&self, value: &Value) -> Result<(), ParamError> {
        let wanted = match (&self.shape, value) {
            (Shape::Text, Value::String(_)) | (Shape::Flag, Value::Bool(_)) => return Ok(()),
            (Shape::Integer, Value::Number(number)) if integer(number).is_some() => return Ok(()),
            (Shape::Choice(allowed), Value::String(text)) if allowed.contains(&text.as_str()) => return Ok(()),
            (Shape::Text, _) => "a text".to_owned(),
            (Shape::Flag, _) => "true or false".to_owned(),
            (Shape::Integer, _) => "a whole number".to_owned(),
            (Shape::Choice(allowed), _) => format!("one of {}", quoted(allowed)),
        };
        Err(ParamError::new(self.name, format!("expected {wanted}")))
    }

    fn schema(&self) -> String {
        let shape = match self.shape {
            Shape::Text => r#""type":"string""#.to_owned(),
            Shape::Integer => r#""type":"integer""#.to_owned(),
            Shape::Flag => r#""type":"boolean""#.to_owned(),
            Shape::Choice(allowed) => format!(r#""enum":[{}]"#, quoted(allowed)),
        };
        format!(r#"{}:{{{shape},"description":{}}}"#, json_text(self.name), json_text(self.doc))
    }
}

/// The parameters that a configuration gave: every one is declared and has the declared shape.
#[derive(Debug, Default)]
pub struct Params {
    values: Object,
}

impl Params {
    /// The text or choice of this name, if it was given.
    pub fn text(&self, name: &str) -> Option<&str> {
        match self.values.get(name) {
            Some(Value::String(text)) => Some(text),
            _ => None,
        }
    }

    /// The whole number of this name, if it was given.
    pub fn integer(&self, name: &str) -> Option<i64> {
        match self.values.get(name) {
            Some(Value::Number(number)) => integer(number),
            _ => None,
        }
    }

    /// The flag of this name, if it was given.
    pub fn flag(&self, name: &str) -> Option<bool> {
        match self.values.get(name) {
            Some(Value::Bool(flag)) => Some(*flag),
            _ => None,
        }
    }

    /// Reads a JSON object and checks it against what is declared.
    pub(crate) fn parse(text: &str, declared: &[Param]) -> Result<Self, ParamError> {
        let Ok(Value::Object(object)) = json::from_str::<Value>(text) else {
            return Err(ParamError { message: "the parameters must be a JSON object".to_owned() });
        };
        for (name, value) in &object {
            let Some(param) = declared.iter().find(|param| param.name == name) else {
                return Err(ParamError::new(name, unknown(declared)));
            };
            param.check(value)?;
        }
        if let Some(missing) = declared.iter().find(|param| param.required && !object.contains_key(param.name)) {
            return Err(ParamError::new(missing.name, "required"));
        }
        Ok(Self { values: object })
    }
}

/// What is wrong with the parameters: names the parameter and says what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamError {
    message: String,
}

impl ParamError {
    /// `problem` reads on after the parameter's name, such as `expected an ISO 3166 region code, such as "US"`.
    pub fn new(param: &str, problem: impl AsRef<str>) -> Self {
        Self { message: format!("parameter {}: {}", json_text(param), problem.as_ref()) }
    }
}

impl From<ParamError> for PluginError {
    fn from(error: ParamError) -> Self {
        call_failure("invalid-params", error.message)
    }
}

/// The JSON Schema of an object of these parameters and no others.
pub(crate) fn schema(declared: &[Param]) -> String {
    let properties: Vec<String> = declared.iter().map(Param::schema).collect();
    let required: Vec<&str> = declared.iter().filter(|param| param.required).map(|param| param.name).collect();
    let required = if required.is_empty() { String::new() } else { format!(r#""required":[{}],"#, quoted(&required)) };
    format!(r#"{{"type":"object",{required}"properties":{{{}}},"additionalProperties":false}}"#, properties.join(","))
}

/// A text as JSON.
pub(crate) fn json_text(text: &str) -> String {
    json::to_string(text)
}

fn unknown(declared: &[Param]) -> String {
    let names: Vec<&str> = declared.iter().map(|param| param.name).collect();
    if names.is_empty() {
        "unknown; this function takes none".to_owned()
    } else {
        format!("unknown; this function takes {}", quoted(&names))
    }
}

fn quoted(texts: &[&str]) -> String {
    texts.iter().map(|text| json_text(text)).collect::<Vec<_>>().join(",")
}

fn integer(number: &Number) -> Option<i64> {
    match number {
        Number::I64(value) => Some(*value),
        Number::U64(value) => i64::try_from(*value).ok(),
        Number::F64(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared() -> Vec<Param> {
        vec![
            Param::choice("mode", &["fast", "safe"], "How."),
            Param::integer("width", "Of the field."),
            Param::flag("strict", "Whether \"so\"."),
            Param::text("region", "Where."),
        ]
    }

    #[test]
    fn declared_parameters_are_read() {
        let text = r#"{"mode":"safe","width":-3,"strict":true,"region":"US"}"#;
        let params = Params::parse(text, &declared()).unwrap();
        assert_eq!((params.text("mode"), params.text("region")), (Some("safe"), Some("US")));
        assert_eq!((params.integer("width"), params.flag("strict")), (Some(-3), Some(true)));
        assert_eq!(Params::parse("{}", &declared()).unwrap().text("mode"), None);
    }

    #[test]
    fn every_problem_names_the_parameter_and_what_is_right() {
        let cases = [
            ("[]", "the parameters must be a JSON object"),
            ("{", "the parameters must be a JSON object"),
            (r#"{"mode":"slow"}"#, r#"parameter "mode": expected one of "fast","safe""#),
            (r#"{"width":1.5}"#, r#"parameter "width": expected a whole number"#),
            (r#"{"strict":null}"#, r#"parameter "strict": expected true or false"#),
            (r#"{"region":7}"#, r#"parameter "region": expected a text"#),
            (r#"{"x":1}"#, r#"parameter "x": unknown; this function takes "mode","width","strict","region""#),
        ];
        for (text, message) in cases {
            assert_eq!(Params::parse(text, &declared()).unwrap_err().message, message);
        }
        let required = [Param::text("by", "What.").required()];
        assert_eq!(Params::parse("{}", &required).unwrap_err().message, r#"parameter "by": required"#);
    }

    #[test]
    fn the_schema_allows_the_declared_ones_only() {
        let text = schema(&declared());
        assert!(json::from_str::<Value>(&text).is_ok(), "{text}");
        assert!(text.contains(r#""mode":{"enum":["fast","safe"],"description":"How."}"#), "{text}");
        assert!(text.ends_with(r#""additionalProperties":false}"#), "{text}");
        assert!(schema(&[Param::text("by", "What.").required()]).contains(r#""required":["by"]"#));
    }
}
