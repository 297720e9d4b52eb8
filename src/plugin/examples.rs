//! Runs a plugin's own worked examples: a plugin that breaks its own word is refused.

use std::sync::Arc;

use super::bindings::{Example, Role};
use super::describe::Function;
use super::instance::{CallFailure, Entry, Instance};
use super::limits::{call_deadline, guest_error, printable};
use super::reshape::Reshape;
use super::resolve::Conflict;
use super::run::Work;
use super::transform::Values;
use super::validate::Checks;
use super::{CallContext, PluginError, Resolution, json};
use crate::config::PluginLimits;
use crate::value::Kind;

/// Characters of a value in a message. Examples are the plugin's own data, not the user's.
const SHOWN_CHARS_MAX: usize = 100;

/// Runs every example in an instance that is thrown away.
///
/// # Errors
/// `plugin.example_failed`, naming function and example.
pub(super) fn check(instance: &mut Instance, functions: &[Function], limits: &PluginLimits) -> Result<(), PluginError> {
    for function in functions {
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
    let params: &str = if example.params.is_empty() { "{}" } else { &example.params };
    let entry = Entry {
        function: &Arc::from(function.info.name.as_str()),
        params: &Arc::from(params),
        context: &CallContext::none(),
        deadline: call_deadline(limits, 1),
    };
    let Example { input, output, .. } = example;
    let broken = |error: &dyn std::fmt::Display| format!("its input is not what the role takes: {error}");
    match function.role {
        Role::FieldTransform => {
            let value = json::read(input, &function.inputs).map_err(|error| broken(&error))?;
            let kind = if value.is_null() { function.kind_of_nulls() } else { value.kind() };
            let answer = answer(instance, &entry, &Values::new(function, kind, vec![value]))?;
            let json = function.output == Some(Kind::Json);
            compare(&answer, output, json, |value| json::says(value, output), json::write)
        }
        Role::RecordTransform => {
            let record = json::read_record(input).map_err(|error| broken(&error))?;
            let answer = answer(instance, &entry, &Reshape::new(vec![record], &[]))?;
            compare(&answer, output, true, |reshaped| json::reshaped_says(reshaped, output), json::write_reshaped)
        }
        Role::Validator => {
            let record = json::read_record(input).map_err(|error| broken(&error))?;
            let answer = answer(instance, &entry, &Checks::new(vec![record], &[]))?;
            compare(
                &answer,
                output,
                false,
                |found| json::violations_say(found, output),
                |found| json::write_violations(found),
            )
        }
        Role::ConflictResolver => {
            let conflict = json::read_conflict(input).map_err(|error| broken(&error))?;
            let answer = answer(instance, &entry, &Conflict::new(vec![conflict.clone()], &[]))?;
            let says = |resolution: &Resolution| json::resolution_says(&conflict, resolution, output);
            compare(&answer, output, true, says, |resolution| json::write_resolution(&conflict, resolution))
        }
    }
}

/// What the function answers to the one input, or the code of its error.
fn answer<W: Work>(instance: &mut Instance, entry: &Entry<'_>, work: &W) -> Result<Result<W::Output, String>, String> {
    match work.call(instance, entry, 0..1) {
        Ok(rows) => match rows.into_iter().next() {
            Some(row) => Ok(row.map_err(|error| error.code)),
            None => Err("there is no result".to_owned()),
        },
        Err(CallFailure::Refused(error) | CallFailure::NotOpened(error)) => Ok(Err(guest_error(&error.code, "").code)),
        Err(CallFailure::Fault(fault)) => {
            let error = fault.into_value_error();
            Err(format!("{} [{}]", error.message, error.code))
        }
        Err(CallFailure::Unusable(error)) => Err(error.to_string()),
        Err(CallFailure::NoRoom) => Err("there is no room for an instance".to_owned()),
    }
}

/// `may_look_like_an_error`: `{"error": "code"}` can be what a function gives back.
fn compare<T>(
    answer: &Result<T, String>,
    expected: &str,
    may_look_like_an_error: bool,
    says: impl Fn(&T) -> bool,
    write: impl Fn(&T) -> String,
) -> Result<(), String> {
    let matches = match (answer, expected_code(expected)) {
        (Err(code), Some(expected)) => *code == guest_error(&expected, "").code,
        (Ok(answer), expected_code) => (may_look_like_an_error || expected_code.is_none()) && says(answer),
        (Err(_), None) => false,
    };
    if matches {
        return Ok(());
    }
    let got = match answer {
        Ok(answer) => write(answer),
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
    use crate::value::Value;

    fn compare(answer: &Result<Value, String>, expected: &str, json: bool) -> Result<(), String> {
        super::compare(answer, expected, json, |value| json::says(value, expected), json::write)
    }

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
