//! Fixtures: what must become of inputs, one JSON object a line, in the shapes of `meta.example`.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;
use serde_json::value::RawValue;

use crate::plugin::{CallContext, FunctionRef, PluginError, PluginSet};

/// A line as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    function: String,
    params: Option<Box<RawValue>>,
    input: Box<RawValue>,
    output: Json,
}

/// One fixture.
pub(super) struct Fixture {
    /// In the file, from 1.
    pub(super) line: usize,
    function: FunctionRef,
    input: String,
    expected: Json,
}

/// A fixture that does not hold.
#[derive(Debug, Serialize)]
pub(super) struct Difference {
    line: usize,
    function: String,
    params: String,
    input: String,
    expected: Json,
    got: Json,
    /// Where it failed: the guest's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
}

/// Reads a file of fixtures; empty lines are nothing.
///
/// # Errors
/// `plugin.fixtures`, naming the line.
pub(super) fn read(file: &Path) -> Result<Vec<Fixture>, PluginError> {
    let wrong = |message: String| PluginError::new("plugin.fixtures", message);
    let path = file.display();
    let text = std::fs::read_to_string(file).map_err(|error| wrong(format!("`{path}` cannot be read: {error}")))?;
    let lines = text.lines().zip(1..).filter(|(text, _)| !text.trim().is_empty());
    let fixtures = lines.map(|(text, line)| {
        parse(text, line).map_err(|error| {
            wrong(format!("{path}:{line}: {error}; a fixture is {{\"function\", \"params\", \"input\", \"output\"}}"))
        })
    });
    fixtures.collect()
}

fn parse(text: &str, line: usize) -> Result<Fixture, serde_json::Error> {
    let Line { function, params, input, output } = serde_json::from_str(text)?;
    let params = params.map_or_else(|| "{}".to_owned(), |params| params.get().to_owned());
    Ok(Fixture {
        line,
        function: FunctionRef { name: function, params },
        input: input.get().to_owned(),
        expected: output,
    })
}

impl Fixture {
    /// What is otherwise than the fixture says.
    ///
    /// # Errors
    /// Where the function cannot be called: there is none of that name, or it does not take the parameters.
    pub(super) async fn run(&self, set: &PluginSet) -> Result<Option<Difference>, PluginError> {
        let answers = set.call_json(&self.function, &CallContext::none(), std::slice::from_ref(&self.input)).await?;
        let (got, message) = match answers.into_iter().next() {
            Some(Ok(text)) => (said(&text, &self.expected), None),
            Some(Err(error)) => (serde_json::json!({"error": error.code}), Some(error.message)),
            None => (Json::Null, Some("no result".to_owned())),
        };
        if same(&got, &self.expected) {
            return Ok(None);
        }
        let FunctionRef { name, params } = self.function.clone();
        let (line, input, expected) = (self.line, self.input.clone(), self.expected.clone());
        Ok(Some(Difference { line, function: name, params, input, expected, got, message }))
    }
}

/// An answer; messages of violations count only where the fixture has them.
fn said(text: &str, expected: &Json) -> Json {
    let mut got = serde_json::from_str(text).unwrap_or_else(|_| Json::String(text.to_owned()));
    if let (Json::Array(got), Json::Array(expected)) = (&mut got, expected) {
        for (got, expected) in got.iter_mut().zip(expected) {
            if let Json::Object(got) = got
                && expected.get("message").is_none()
            {
                got.remove("message");
            }
        }
    }
    got
}

/// Equal by meaning: 1 is 1.0, and objects have no order.
fn same(got: &Json, expected: &Json) -> bool {
    match (got, expected) {
        (Json::Number(got), Json::Number(expected)) => got == expected || got.as_f64() == expected.as_f64(),
        (Json::Array(got), Json::Array(expected)) => {
            got.len() == expected.len() && got.iter().zip(expected).all(|(got, expected)| same(got, expected))
        }
        (Json::Object(got), Json::Object(expected)) => {
            let pair = |(name, got)| expected.get(name).is_some_and(|expected| same(got, expected));
            got.len() == expected.len() && got.iter().all(pair)
        }
        _ => got == expected,
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let params = if self.params == "{}" { String::new() } else { format!(" {}", self.params) };
        writeln!(f, "line {}: {}{params} of {}", self.line, self.function, self.input)?;
        writeln!(f, "  - {}", self.expected)?;
        write!(f, "  + {}", self.got)?;
        self.message.as_ref().map_or(Ok(()), |message| write!(f, "  ({message})"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_compared_by_meaning() {
        let same = |got: &str, expected: &str| {
            super::same(&serde_json::from_str(got).unwrap(), &serde_json::from_str(expected).unwrap())
        };
        assert!(same("1", "1.0") && same("{\"a\":1,\"b\":[2]}", "{\"b\":[2.0],\"a\":1}") && same("null", "null"));
        assert!(!same("1", "\"1\"") && !same("[1]", "[1,2]") && !same("{\"a\":1}", "{\"a\":1,\"b\":null}"));
    }

    #[test]
    fn messages_of_violations_count_where_the_fixture_has_them() {
        let expected = |text: &str| serde_json::from_str::<Json>(text).unwrap();
        let got = r#"[{"field":"a","code":"b","message":"c"}]"#;
        let without = expected(r#"[{"field":"a","code":"b"}]"#);
        assert_eq!(said(got, &without), without);
        let other = expected(r#"[{"field":"a","code":"b","message":"d"}]"#);
        assert!(!same(&said(got, &other), &other));
    }

    #[test]
    fn a_line_that_is_no_fixture_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "{\"function\":\"f\",\"input\":1,\"output\":1}\n\n{\"function\":\"f\"}\n").unwrap();
        let error = read(file.path()).err().unwrap();
        assert!(error.code == "plugin.fixtures" && error.message.contains(":3: missing field `input`"), "{error}");
        std::fs::write(file.path(), "{\"function\":\"f\",\"params\":{\"a\":1},\"input\":1,\"output\":1}\n").unwrap();
        let fixtures = read(file.path()).unwrap();
        assert_eq!((fixtures[0].line, fixtures[0].function.params.as_str()), (1, "{\"a\":1}"));
    }
}
