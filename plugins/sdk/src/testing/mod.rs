//! Runs a plugin's functions natively, and its own examples: the test that [`plugin!`](crate::plugin) writes.
#![allow(clippy::panic, clippy::expect_used, reason = "called from tests only: a broken example is to stop them")]

mod json;
mod samples;

use crate::batch::{Records, batch_of};
use crate::bindings::meta::exports::tidelock::plugin::meta::{Example, FunctionInfo, Guest};
use crate::bindings::resolves::exports::tidelock::plugin::conflict_resolver::{
    Conflicts, ContestedField, Resolution, Side,
};
use crate::bindings::transforms::tidelock::plugin::types::{Batch, Column};
use crate::column::{Builder, Reader};
use crate::conflict_resolver::open_conflict_resolver;
use crate::field_transform::open_field_transform;
use crate::kind::Kind;
use crate::params::json_text;
use crate::plugin::{Component, Plugin, Role};
use crate::record_transform::open_record_transform;
use crate::validator::open_validator;
use crate::value::Value;
use miniserde::json::{Value as Json, from_str};

/// Sets of parameters that laws are tried with.
const PARAM_SETS_MAX: usize = 4;

/// The code of a failure: of the value, the parameters or the call.
type Code = String;

/// Runs one text through a field transform: the text, null, or the failure's code.
///
/// # Errors
/// The code of the failure, be it the value's, the parameters' or the call's.
pub fn call<P: Plugin>(function: &str, params: &str, value: Option<&str>) -> Result<Option<String>, Code> {
    let value = transform::<P>(function, params, &Value::from(value))?;
    Ok(value.to_text().map(std::borrow::Cow::into_owned))
}

/// Runs one value through a field transform.
///
/// # Errors
/// As [`call`].
pub fn transform<P: Plugin>(function: &str, params: &str, value: &Value<'_>) -> Result<Value<'static>, Code> {
    let apply = open_field_transform::<P>(function, params).map_err(|error| error.code)?;
    let outcome = apply(column(value)).map_err(|error| error.code)?;
    if let Some(error) = outcome.errors.first() {
        return Err(error.code.clone());
    }
    Ok(Reader::new(outcome.output).expect("a sound column").value(0).into_owned())
}

/// Runs one input through a function of any role, both in JSON (WIT `meta.example`).
///
/// # Panics
/// Where the plugin has no such function, or the input is not JSON.
pub fn call_json<P: Plugin>(function: &str, params: &str, input: &str) -> String {
    let info = Component::<P>::describe().functions.into_iter().find(|info| info.name == function);
    let info = info.expect("a function of the plugin");
    let input: Json = from_str(input).expect("the input is JSON");
    let result = match info.role.as_str() {
        "record-transform" => reshape::<P>(function, params, &input),
        "validator" => check::<P>(function, params, &input),
        "conflict-resolver" => resolve::<P>(function, params, &input),
        _ => transform::<P>(function, params, &json::read(&input, &kinds(&info))).map(|value| json::write(&value)),
    };
    result.unwrap_or_else(|code| format!(r#"{{"error":{}}}"#, json_text(&code)))
}

/// Panics unless every function of the plugin has a role that the plugin exports and examples, and those hold, and so do the declared laws
/// on them and on generated texts.
pub fn assert_examples<P: Plugin>() {
    let functions = Component::<P>::describe().functions;
    for function in &functions {
        assert!(P::ROLES.iter().any(|role| role.name() == function.role), "{}: plugin! lacks its role", function.name);
        assert!(!function.examples.is_empty(), "{} has no example", function.name);
        assert!(from_str::<Json>(&function.params_schema).is_ok(), "{}: the schema is not JSON", function.name);
        for example in &function.examples {
            assert_one::<P>(function, example, &functions);
        }
        assert_generated::<P>(function, &functions);
    }
}

fn assert_one<P: Plugin>(function: &FunctionInfo, example: &Example, functions: &[FunctionInfo]) {
    let FunctionInfo { name, .. } = function;
    let Example { params, input, output } = example;
    let got = call_json::<P>(name, params, input);
    assert_eq!(got, json::canonical(output), "{name} of {input} with {params}");
    if function.role == Role::FieldTransform.name() && !got.starts_with(r#"{"error""#) {
        let input = json::read(&from_str(input).expect("the input is JSON"), &kinds(function));
        let once = transform::<P>(name, params, &input).expect("the same answer again");
        assert_laws::<P>(function, params, &input, &once, functions);
    }
}

/// The laws, on generated texts and with the parameters of the examples. A text that fails shows nothing.
fn assert_generated<P: Plugin>(function: &FunctionInfo, functions: &[FunctionInfo]) {
    if !(function.idempotent || functions.iter().any(|other| other.name == function.reverse)) {
        return;
    }
    let text = |json: &String| from_str::<String>(json).ok();
    let own: Vec<String> = function.examples.iter().flat_map(|e| [text(&e.input), text(&e.output)]).flatten().collect();
    let mut params: Vec<&str> = function.examples.iter().map(|example| example.params.as_str()).collect();
    params.sort_unstable();
    params.dedup();
    params.truncate(PARAM_SETS_MAX);
    for sample in samples::texts(&own) {
        let input = Value::from(sample.as_str());
        let input = given(&input, function);
        for params in &params {
            if let Ok(once) = transform::<P>(&function.name, params, &input) {
                assert_laws::<P>(function, params, &input, &once, functions);
            }
        }
    }
}

fn assert_laws<P: Plugin>(
    function: &FunctionInfo,
    params: &str,
    input: &Value<'_>,
    once: &Value<'_>,
    functions: &[FunctionInfo],
) {
    let FunctionInfo { name, reverse, .. } = function;
    if function.idempotent {
        let twice = transform::<P>(name, params, &given(once, function));
        assert_eq!(twice.as_ref(), Ok(once), "{name} is declared idempotent, but is not for {input:?} with {params}");
    }
    // The other function may be another plugin's, and may have other parameters.
    if let Some(other) = functions.iter().find(|other| other.name == *reverse).filter(|_| params == "{}") {
        let back = transform::<P>(reverse, params, &given(once, other));
        assert_eq!(back.as_ref(), Ok(input), "{reverse} does not undo {name} for {input:?}");
    }
}

/// A value as the host gives it: of its kind where the function takes that, else as text.
fn given<'a>(value: &'a Value<'_>, function: &FunctionInfo) -> Value<'a> {
    let kinds = kinds(function);
    if kinds.is_empty() || kinds.contains(&value.kind()) { value.clone() } else { Value::from(value.to_text()) }
}

fn kinds(function: &FunctionInfo) -> Vec<Kind> {
    function.inputs.iter().map(|name| kind_named(name)).collect()
}

fn reshape<P: Plugin>(function: &str, params: &str, input: &Json) -> Result<String, Code> {
    let reshape = open_record_transform::<P>(function, params).map_err(|error| error.code)?;
    let outcome = reshape.apply(batch(input, reshape.fields())).map_err(|error| error.code)?;
    if let Some(error) = outcome.errors.first() {
        return Err(error.code.clone());
    }
    let records = Records::new(outcome.output).expect("a sound batch");
    let record = records.record(0);
    Ok(json::object(record.names().map(|name| (name, json::write(&record.get(name).unwrap_or(Value::Null))))))
}

fn check<P: Plugin>(function: &str, params: &str, input: &Json) -> Result<String, Code> {
    let check = open_validator::<P>(function, params).map_err(|error| error.code)?;
    let found = check.check(batch(input, check.fields())).map_err(|error| error.code)?;
    let violations = found.iter().map(|violation| {
        let (field, code) = (json_text(&violation.field), json_text(&violation.code));
        json::object([("field", field), ("code", code)].into_iter())
    });
    Ok(format!("[{}]", violations.collect::<Vec<_>>().join(",")))
}

fn resolve<P: Plugin>(function: &str, params: &str, input: &Json) -> Result<String, Code> {
    let resolve = open_conflict_resolver::<P>(function, params).map_err(|error| error.code)?;
    let conflict = conflict(input);
    let contested: Vec<String> = conflict.contested.iter().map(|contested| contested.field.clone()).collect();
    let [base, source, target] = ["base", "source", "target"].map(|side| batch(part(input, side), &[]));
    let sides = [base, source, target].map(|batch| Records::new(batch).expect("a sound batch"));
    let resolution = resolve.resolve(conflict).map_err(|error| error.code)?;
    let value = |field: &str| chosen(&resolution, field, &sides);
    let settled: Option<Vec<(&str, String)>> =
        contested.iter().map(|field| Some((field.as_str(), json::write(&value(field)?)))).collect();
    Ok(settled.map_or_else(|| json_text("review"), |fields| json::object(fields.into_iter())))
}

/// What a field of the only record becomes; `None`: review.
fn chosen(resolution: &Resolution, field: &str, sides: &[Records; 3]) -> Option<Value<'static>> {
    if resolution.disposition.first() == Some(&1) {
        return None;
    }
    let choice = resolution.fields.iter().find(|choice| choice.field == field)?;
    let code = usize::from(*choice.choice.first()?);
    if let Some(side) = sides.get(code) {
        return Some(side.record(0).get(field).unwrap_or(Value::Null).into_owned());
    }
    let custom = Reader::new(choice.custom.clone()?).expect("a sound column");
    Some(custom.value(0).into_owned())
}

/// The conflict that an example writes down: the fields on which both sides disagree with the base and with each other.
fn conflict(input: &Json) -> Conflicts {
    let [base, source, target] = ["base", "source", "target"].map(|side| fields(part(input, side)));
    let of = |record: &[(String, Value<'static>)], name: &str| record.iter().find(|field| field.0 == name).cloned();
    let mut names: Vec<&String> = source.iter().chain(&target).map(|(name, _)| name).collect();
    names.sort();
    names.dedup();
    let contested = names.into_iter().filter(|name| {
        let [base, source, target] = [&base, &source, &target].map(|record| of(record, name));
        base != source && base != target && source != target
    });
    let contested = contested.map(|name| ContestedField { field: name.clone(), rows: vec![1] }).collect();
    let side = |name: &str, values: &[(String, Value<'static>)]| {
        let modified = json::read(part(input, &format!("{name}_modified")), &[Kind::Instant]);
        Side { system: String::new(), modified: column(&modified), values: batch_of(&[values.to_vec()]) }
    };
    Conflicts {
        rows: 1,
        keys: batch_of(&[Vec::new()]),
        base: batch_of(std::slice::from_ref(&base)),
        source: side("source", &source),
        target: side("target", &target),
        contested,
    }
}

fn part<'a>(input: &'a Json, name: &str) -> &'a Json {
    match input {
        Json::Object(parts) => parts.get(name).unwrap_or(&Json::Null),
        _ => panic!("an example of a resolver is an object"),
    }
}

/// The fields of a record in JSON; null has none.
fn fields(record: &Json) -> Vec<(String, Value<'static>)> {
    match record {
        Json::Null => Vec::new(),
        Json::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), json::read(value, &[]))).collect(),
        _ => panic!("a record is an object"),
    }
}

/// One record, as the host sends it: the fields that are wanted.
fn batch(record: &Json, wanted: &[String]) -> Batch {
    let fields = fields(record).into_iter().filter(|(name, _)| wanted.is_empty() || wanted.contains(name));
    batch_of(&[fields.collect()])
}

fn column(value: &Value<'_>) -> Column {
    let mut builder = Builder::new(Kind::Null);
    builder.push_any(value);
    builder.finish()
}

fn kind_named(name: &str) -> Kind {
    let kind = (0..).map_while(Kind::of_code).find(|kind| kind.name() == name);
    kind.expect("the name of a kind")
}
