//! Laws on functions that are closures: liars are caught, and what keeps its word is let through.

#![allow(clippy::wildcard_enum_match_arm, reason = "the other kinds are not what a test is about")]

use super::super::FunctionInfo;
use super::super::params::ParamsSchema;
use super::*;

/// What a function does with one value; `calls` counts all values so far.
type Body = fn(value: &Value, calls: usize) -> Answer;

struct Closures {
    bodies: Vec<(&'static str, Body)>,
    calls: usize,
    log: Vec<usize>,
    /// Whether many values at once take longer than a call may.
    slow: bool,
}

impl Trial for Closures {
    fn apply(&mut self, function: &Function, params: &Arc<str>, _: Kind, values: &[Value]) -> Tried {
        if params.contains("refuse") {
            return Err(Untried::NotOpened("invalid-params".to_owned()));
        }
        self.log.push(values.len());
        if self.slow && values.len() > FEW_VALUES {
            return Err(Untried::Unknown);
        }
        let body = self.bodies.iter().find(|(name, _)| *name == function.info.name).unwrap().1;
        let answer = |value| {
            self.calls += 1;
            body(value, self.calls)
        };
        Ok(values.iter().map(answer).collect())
    }

    fn fresh(&mut self) {
        self.calls = 0;
    }
}

fn function(name: &str, inputs: &[Kind], output: Option<Kind>) -> Function {
    let info = FunctionInfo {
        name: name.to_owned(),
        plugin: "p".to_owned(),
        digest: String::new(),
        doc: String::new(),
        role: Role::FieldTransform.name().to_owned(),
        output: None,
        idempotent: false,
        reverse: None,
    };
    Function {
        info,
        role: Role::FieldTransform,
        inputs: inputs.to_vec(),
        output,
        deterministic: true,
        params: ParamsSchema::new("").unwrap(),
        examples: Vec::new(),
    }
}

fn idempotent(mut function: Function) -> Function {
    function.info.idempotent = true;
    function
}

fn undone_by(mut function: Function, other: &str) -> Function {
    function.info.reverse = Some(other.to_owned());
    function
}

fn verdict(functions: &[Function], bodies: &[(&'static str, Body)]) -> Result<(), String> {
    let mut closures = Closures { bodies: bodies.to_vec(), calls: 0, log: Vec::new(), slow: false };
    let verdict = check_on(&mut closures, functions);
    assert!(!closures.log.is_empty(), "nothing was tried");
    verdict.map_err(|error| {
        assert_eq!(error.code, "plugin.law_broken");
        error.message
    })
}

fn on_text(value: &Value, change: impl Fn(&str) -> String) -> Answer {
    match value {
        Value::Text(text) => Ok(Value::Text(change(text))),
        _ => Err("no-text".to_owned()),
    }
}

const TEXT: &[Kind] = &[Kind::Text];

#[test]
fn a_function_that_goes_on_changing_its_own_output_is_no_normaliser() {
    let append = idempotent(function("f", TEXT, Some(Kind::Text)));
    let message = verdict(&[append], &[("f", |value, _| on_text(value, |text| format!("{text}!")))]).unwrap_err();
    // The smallest there is.
    assert_eq!(message, r#"`f` is declared idempotent, but f("") is "!", and f of that is "!!""#);
    let once_more = |value: &Value, _: usize| on_text(value, |text| text.replacen("  ", " ", 1));
    let message = verdict(&[idempotent(function("f", TEXT, None))], &[("f", once_more)]).unwrap_err();
    assert!(message.contains(r#"f("   ") is "  ", and f of that is " ""#), "{message}");
}

#[test]
fn what_fails_on_its_own_output_is_no_normaliser_and_what_fails_on_its_input_may_be() {
    let strip = |value: &Value, _: usize| match value {
        Value::Text(text) if text.starts_with('a') => Ok(Value::Text(text.trim_start_matches('a').to_owned())),
        _ => Err("no-a".to_owned()),
    };
    let message = verdict(&[idempotent(function("f", TEXT, None))], &[("f", strip)]).unwrap_err();
    assert_eq!(message, r#"`f` is declared idempotent, but f("a") is "", and f of that is an error (no-a)"#);
    let picky = |value: &Value, _: usize| match value {
        Value::Text(text) if text.is_ascii() => Ok(Value::Text(text.to_ascii_lowercase())),
        _ => Err("not-ascii".to_owned()),
    };
    verdict(&[idempotent(function("f", TEXT, None))], &[("f", picky)]).unwrap();
}

#[test]
fn outputs_of_another_kind_are_given_back_as_the_function_takes_them() {
    let parse = |value: &Value, _: usize| value.clone().convert(Kind::Decimal).map_err(|_| "no-number".to_owned());
    verdict(&[idempotent(function("f", TEXT, Some(Kind::Decimal)))], &[("f", parse)]).unwrap();
    let show = |value: &Value, _: usize| Ok(value.to_text().map_or(Value::Null, Value::Text));
    let message = verdict(&[idempotent(function("f", &[Kind::Int], Some(Kind::Text)))], &[("f", show)]).unwrap_err();
    assert_eq!(message, r#"`f` is declared idempotent, but f(0) is "0", and f of that is an error (wrong-kind)"#);
    // Null is never given to a function.
    let blank = |value: &Value, _: usize| {
        if *value == Value::Text(String::new()) { Ok(Value::Null) } else { Ok(value.clone()) }
    };
    verdict(&[idempotent(function("f", TEXT, None))], &[("f", blank)]).unwrap();
}

#[test]
fn a_round_trip_that_loses_something_is_caught() {
    let (upper, lower): (Body, Body) =
        (|value, _| on_text(value, str::to_uppercase), |value, _| on_text(value, str::to_lowercase));
    let pair = [undone_by(function("upper", TEXT, None), "lower"), function("lower", TEXT, None)];
    let message = verdict(&pair, &[("upper", upper), ("lower", lower)]).unwrap_err();
    assert_eq!(
        message,
        r#"`upper` is declared to be undone by `lower`, but upper("A") is "A", and lower of that is "a""#
    );
    let cents: Body = |value, _| match value {
        Value::Int(number) => number.checked_mul(100).map(Value::Int).ok_or_else(|| "too-large".to_owned()),
        _ => Err("no-number".to_owned()),
    };
    let wrapping: Body = |value, _| match value {
        Value::Int(number) => Ok(Value::Int(number.wrapping_mul(100))),
        _ => Err("no-number".to_owned()),
    };
    let euros: Body = |value, _| match value {
        Value::Int(number) => Ok(Value::Int(number / 100)),
        _ => Err("no-number".to_owned()),
    };
    let pair = [undone_by(function("cents", &[Kind::Int], None), "euros"), function("euros", &[Kind::Int], None)];
    verdict(&pair, &[("cents", cents), ("euros", euros)]).unwrap();
    verdict(&pair, &[("cents", wrapping), ("euros", euros)]).unwrap_err();
    // Of another plugin: nothing to try.
    verdict(&[undone_by(function("cents", &[Kind::Int], None), "elsewhere")], &[("cents", wrapping)]).unwrap();
}

#[test]
fn arithmetic_of_doubles_may_be_off_by_a_little() {
    let times: Body =
        |value, _| if let Value::Float(number) = value { Ok(Value::Float(number * 1.1)) } else { Err(String::new()) };
    let divided: Body =
        |value, _| if let Value::Float(number) = value { Ok(Value::Float(number / 1.1)) } else { Err(String::new()) };
    let floored: Body =
        |value, _| if let Value::Float(number) = value { Ok(Value::Float(number.floor())) } else { Err(String::new()) };
    let pair = [undone_by(function("f", &[Kind::Float], None), "g"), function("g", &[Kind::Float], None)];
    verdict(&pair, &[("f", times), ("g", divided)]).unwrap();
    verdict(&pair, &[("f", times), ("g", floored)]).unwrap_err();
}

#[test]
fn counting_calls_is_not_deterministic() {
    let count: Body = |value, calls| {
        on_text(value, |text| if text == "x@Example.COM" { format!("{calls}") } else { text.to_owned() })
    };
    let message = verdict(&[function("f", TEXT, None)], &[("f", count)]).unwrap_err();
    assert!(message.contains("declared deterministic") && message.contains(r#"f("x@Example.COM")"#), "{message}");
    let mut honest = function("f", TEXT, None);
    honest.deterministic = false;
    honest.info.idempotent = true;
    verdict(&[honest], &[("f", |value, _| Ok(value.clone()))]).unwrap();
}

#[test]
fn what_is_too_slow_for_all_values_is_tried_on_some() {
    let bodies: Vec<(&'static str, Body)> = vec![("f", |value, _| on_text(value, |text| format!("{text}!")))];
    let mut closures = Closures { bodies, calls: 0, log: Vec::new(), slow: true };
    let refused = check_on(&mut closures, &[idempotent(function("f", TEXT, None))]).unwrap_err();
    assert!(refused.message.contains(r#"f("") is "!""#), "{refused}");
}

#[test]
fn parameters_are_those_of_the_examples() {
    let example = |params: &str| super::super::bindings::Example {
        params: params.to_owned(),
        input: "\"a\"".to_owned(),
        output: "\"a\"".to_owned(),
    };
    let mut picky = idempotent(function("f", TEXT, None));
    picky.examples = vec![example(""), example(r#"{"refuse": 1}"#), example("{}"), example(r#"{"b": 2}"#)];
    let sets: Vec<String> = param_sets(&picky).iter().map(ToString::to_string).collect();
    assert_eq!(sets, ["{}", r#"{"refuse": 1}"#, r#"{"b": 2}"#]);
    verdict(&[picky], &[("f", |value, _| Ok(value.clone()))]).unwrap();
}
