//! Runs a plugin's own examples natively: the test that [`plugin!`](crate::plugin) writes.
#![allow(clippy::panic, clippy::expect_used, reason = "called from tests only: a broken example is to stop them")]

use crate::bindings::columnar::tidelock::plugin::types::Column;
use crate::bindings::meta::exports::tidelock::plugin::meta::{Example, FunctionInfo, Guest};
use crate::column::KIND_TEXT;
use crate::component::{Component, Plugin, open};
use crate::params::json_text;
use crate::simple::{self, SimpleComponent, SimplePlugin};
use miniserde::json::{self, Value};

/// What a function made of one value: its JSON, or `{"error": code}`.
type Run<'a> = &'a dyn Fn(&str, &str, Option<&str>) -> String;

/// Runs one text through a function: the text, null, or the failure's code.
///
/// # Errors
/// The code of the failure, be it the value's, the parameters' or the call's.
pub fn call<P: Plugin>(function: &str, params: &str, value: Option<&str>) -> Result<Option<String>, String> {
    let apply = open::<P>(function, params).map_err(|error| error.code)?;
    let text = value.unwrap_or_default();
    let input = Column {
        rows: 1,
        kind: KIND_TEXT,
        validity: vec![u8::from(value.is_some())],
        offsets: vec![0, u32::try_from(text.len()).expect("a short value")],
        data: text.as_bytes().to_vec(),
    };
    let outcome = apply(input).map_err(|error| error.code)?;
    if let Some(error) = outcome.errors.first() {
        return Err(error.code.clone());
    }
    let present = outcome.output.validity.first().is_none_or(|bits| bits & 1 == 1);
    Ok(present.then(|| String::from_utf8(outcome.output.data).expect("text is UTF-8")))
}

/// Panics unless every function of the plugin has examples, they hold, and so do the declared laws on them.
pub fn assert_examples<P: Plugin>() {
    let run = |function: &str, params: &str, value: Option<&str>| answer(call::<P>(function, params, value));
    assert_all(&Component::<P>::describe().functions, &run);
}

/// The same for a [`simple_plugin!`](crate::simple_plugin).
pub fn assert_simple_examples<P: SimplePlugin>() {
    let run = |function: &str, params: &str, value: Option<&str>| {
        let result = simple::apply::<P>(function, params, &[value.map(str::to_owned)]);
        let first = result.map(|answers| answers.into_iter().next().expect("one answer"));
        answer(first.map_err(|error| error.code).and_then(|one| one.map_err(|failure| failure.code.to_owned())))
    };
    assert_all(&SimpleComponent::<P>::describe().functions, &run);
}

fn assert_all(functions: &[FunctionInfo], run: Run) {
    for function in functions {
        assert!(!function.examples.is_empty(), "{} has no example", function.name);
        assert!(json::from_str::<Value>(&function.params_schema).is_ok(), "{}: the schema is not JSON", function.name);
        for example in &function.examples {
            assert_one(function, example, run);
        }
    }
}

fn assert_one(function: &FunctionInfo, example: &Example, run: Run) {
    let name = &function.name;
    let got = run(name, &example.params, value_text(&example.input).as_deref());
    // A value of another kind may be written in several ways, so only the text counts.
    assert_eq!(value_text(&got), value_text(&example.output), "{name} of {} with {}", example.input, example.params);
    if function.idempotent && !got.starts_with(r#"{"error""#) {
        let again = run(name, &example.params, value_text(&got).as_deref());
        assert_eq!(again, got, "{name} is declared idempotent, but is not for {}", example.input);
    }
}

/// How a value crosses: text as it is, other JSON as its text, null as nothing.
fn value_text(written: &str) -> Option<String> {
    match json::from_str::<Value>(written) {
        Ok(Value::Null) => None,
        Ok(Value::String(text)) => Some(text),
        _ => Some(written.to_owned()),
    }
}

fn answer(result: Result<Option<String>, String>) -> String {
    match result {
        Ok(Some(text)) => json_text(&text),
        Ok(None) => "null".to_owned(),
        Err(code) => format!(r#"{{"error":{}}}"#, json_text(&code)),
    }
}
