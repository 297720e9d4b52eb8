//! Runs a plugin's own worked examples: a plugin that breaks its own word is refused.

use std::sync::Arc;

use super::bindings::{Example, Role};
use super::describe::Function;
use super::instance::{Call, CallFailure, Instance};
use super::limits::{call_deadline, guest_error, printable};
use super::{CallContext, PluginError, json};
use crate::config::PluginLimits;
use crate::value::{Kind, Value};

/// Characters of a value in a message. Examples are the plugin's own data, not the user's.
const SHOWN_CHARS_MAX: usize = 100;

/// Runs every example of the field transforms in an instance that is thrown away.
///
/// # Errors
/// `plugin.example_failed`, naming function and example.
pub(super) fn check(instance: &mut Instance, functions: &[Function], limits: &PluginLimits) -> Result<(), PluginError> {
    for function in functions.iter().filter(|function| function.role == Role::FieldTransform) {
        for (example, number) in function.examples.iter().zip(1..) {
            run(instance, function, example, limits).map_err(|reason| {
                let name = &function.info.name;
                PluginError::new("plugin.example_failed", format!("example {number} of `{name}` fails: {reason}"))
            })?;
        }
    }
    Ok(())
}

fn run(instance: &mut Instance, function: &Function, example: &Example, limits: &PluginLimits) -> Result<(), String> {
    let input =
        json::read(&example.input, &function.inputs).map_err(|error| format!("its input is not JSON: {error}"))?;
    let kind = if input.is_null() { function.kind_of_nulls() } else { input.kind() };
    let params: &str = if example.params.is_empty() { "{}" } else { &example.params };
    let call = Call {
        function: &Arc::from(function.info.name.as_str()),
        params: &Arc::from(params),
        context: &CallContext::none(),
        kind,
        output: function.output.unwrap_or(kind),
        values: &[input],
        deadline: call_deadline(limits, 1),
    };
    let answer = match instance.apply(&call) {
        Ok(rows) => rows.into_iter().next().unwrap_or(Ok(Value::Null)).map_err(|error| error.code),
        Err(CallFailure::Refused(error) | CallFailure::NotOpened(error)) => Err(guest_error(&error.code, "").code),
        Err(CallFailure::Fault(fault)) => {
            let error = fault.into_value_error();
            return Err(format!("{} [{}]", error.message, error.code));
        }
        Err(CallFailure::Unusable(error)) => return Err(error.to_string()),
        Err(CallFailure::NoRoom) => return Err("there is no room for an instance".to_owned()),
    };
    compare(&answer, &example.output, function.output == Some(Kind::Json))
}

fn compare(answer: &Result<Value, String>, expected: &str, json: bool) -> Result<(), String> {
    let matches = match (answer, expected_code(expected)) {
        (Err(code), Some(expected)) => *code == guest_error(&expected, "").code,
        (Ok(value), expected_code) => (json || expected_code.is_none()) && json::says(value, expected),
        (Err(_), None) => false,
    };
    if matches {
        return Ok(());
    }
    let got = match answer {
        Ok(value) => json::write(value),
        Err(code) => format!("{{\"error\": \"{code}\"}}"),
    };
    Err(format!("it says {}, the result is {}", printable(expected, SHOWN_CHARS_MAX), printable(&got, SHOWN_CHARS_MAX)))
}

/// The code, where the expected output is `{"error": "code"}`.
fn expected_code(expected: &str) -> Option<String> {
    let fields: std::collections::BTreeMap<String, String> = serde_json::from_str(expected).ok()?;
    if fields.len() == 1 { fields.get("error").cloned() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_compared_with_values_and_codes() {
        let text = |text: &str| Ok(Value::Text(text.to_owned()));
        assert!(compare(&text("a"), "\"a\"", false).is_ok());
        assert!(compare(&text("a"), "\"b\"", false).is_err());
        assert!(compare(&Err("bad".to_owned()), "{\"error\": \"bad\"}", false).is_ok());
        assert!(compare(&Err("bad".to_owned()), "{\"error\": \"worse\"}", false).is_err());
        assert!(compare(&Err("bad".to_owned()), "\"bad\"", false).is_err());
        assert!(compare(&Ok(Value::Json("{\"error\": \"x\"}".into())), "{\"error\": \"x\"}", true).is_ok());
    }
}
