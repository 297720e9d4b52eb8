//! `validation_rules` (layer 2).

use serde_json::{Number, Value};

use super::Context;
use super::field_mappings::{params_text, target_names};
use super::scope::Scope;
use crate::config::raw::{self, Bound, OnValidationError};
use crate::config::{Check, Mappings, OnInvalid, Problem, RecordTransform, ValidationRule, codes, suggestion};

/// The keys that a rule may have beside `field`, `rule`, `on_error` and `standardizer`.
const PARAMETERS: &[(&str, &[&str])] = &[
    ("email_format", &[]),
    ("regex", &["pattern"]),
    ("required", &[]),
    ("length", &["min", "max"]),
    ("range", &["min", "max"]),
    ("one_of", &["values"]),
    ("type", &["type"]),
];

const TYPES: &[&str] =
    &["boolean", "integer", "number", "string", "date", "time", "timestamp", "uuid", "bytes", "json"];

/// What may be checked: mapped fields, and those that record transforms make.
type Written<'a> = (&'a Mappings, &'a [RecordTransform]);

pub(super) fn rules(context: &mut Context<'_>, scope: &Scope<'_>, written: Written<'_>) -> Vec<ValidationRule> {
    let Some((_, rules)) = scope.find(|keys| keys.validation_rules.as_ref()) else { return Vec::new() };
    rules.iter().map(|raw| rule(context, raw, written)).collect()
}

fn rule(context: &mut Context<'_>, raw: &raw::ValidationRule, (mappings, transforms): Written<'_>) -> ValidationRule {
    // What a transform makes may be known only when it is asked: `bind` looks again.
    let made = |transform: &RecordTransform| transform.outputs.as_ref().is_none_or(|made| made.contains(&raw.field));
    if target_names(mappings, &raw.field).is_empty() && !transforms.iter().any(made) {
        let at = context.at_key(raw.at, "field");
        let message = format!("the rule of \"{}\" has no effect: no mapping has such a field", raw.field);
        context.report(Problem::warning(codes::UNMAPPED_FIELD, &at, message));
    }
    check_parameters(context, raw);
    let on_error = match raw.on_error {
        None | Some(OnValidationError::RejectRecord) => OnInvalid::RejectRecord,
        Some(OnValidationError::StandardizeFormat) => OnInvalid::StandardizeFormat,
        Some(OnValidationError::SetNull) => OnInvalid::SetNull,
        Some(OnValidationError::SkipField) => OnInvalid::SkipField,
        Some(OnValidationError::QueueForManualReview) => OnInvalid::QueueForManualReview,
        Some(OnValidationError::Warn) => OnInvalid::Warn,
    };
    if raw.standardizer.is_some() && on_error != OnInvalid::StandardizeFormat {
        let at = context.at_key(raw.at, "standardizer");
        let message = "\"standardizer\" is used with \"on_error\": \"standardize_format\" only";
        context.report(Problem::error(codes::MISPLACED_KEY, &at, message));
    }
    ValidationRule {
        at: context.at(raw.at),
        field: raw.field.clone(),
        check: check(context, raw),
        on_error,
        standardizer: raw.standardizer.clone(),
    }
}

/// Each rule takes its own parameters and no others.
fn check_parameters(context: &mut Context<'_>, raw: &raw::ValidationRule) {
    let own = PARAMETERS.iter().find(|(name, _)| *name == raw.rule).map_or(["params"].as_slice(), |(_, own)| *own);
    let said = [
        ("pattern", raw.pattern.is_some()),
        ("min", raw.min.is_some()),
        ("max", raw.max.is_some()),
        ("values", raw.values.is_some()),
        ("type", raw.value_type.is_some()),
        ("params", raw.params.is_some()),
    ];
    for (key, _) in said.iter().filter(|(key, said)| *said && !own.contains(key)) {
        let message = format!("the rule \"{}\" takes no \"{key}\"", raw.rule);
        let at = context.at_key(raw.at, key);
        context.report(Problem::error(codes::MISPLACED_KEY, &at, message));
    }
}

fn check(context: &mut Context<'_>, raw: &raw::ValidationRule) -> Check {
    match raw.rule.as_str() {
        "email_format" => Check::EmailFormat,
        "required" => Check::Required,
        "regex" => Check::Regex(required(context, raw, "pattern", raw.pattern.clone()).unwrap_or_default()),
        "length" => {
            check_bounds(context, raw);
            Check::Length {
                min: whole(context, raw, "min", raw.min.as_ref()),
                max: whole(context, raw, "max", raw.max.as_ref()),
            }
        }
        "range" => {
            check_bounds(context, raw);
            Check::Range { min: bound(raw.min.as_ref()), max: bound(raw.max.as_ref()) }
        }
        "one_of" => Check::OneOf(required(context, raw, "values", raw.values.clone()).unwrap_or_default()),
        "type" => {
            let name = required(context, raw, "type", raw.value_type.clone()).unwrap_or_default();
            if raw.value_type.is_some() && !TYPES.contains(&name.as_str()) {
                let at = context.at_key(raw.at, "type");
                let mut problem = Problem::error(codes::INVALID_VALUE, &at, format!("there is no type \"{name}\""));
                problem.suggestion = suggestion(&name, TYPES);
                context.report(problem);
            }
            Check::Type(name)
        }
        name => Check::Plugin { name: name.to_owned(), params: params_text(raw.params.as_ref()) },
    }
}

fn required<T>(context: &mut Context<'_>, raw: &raw::ValidationRule, key: &str, value: Option<T>) -> Option<T> {
    if value.is_none() {
        let message = format!("the rule \"{}\" needs \"{key}\"", raw.rule);
        context.missing(raw.at, key, &message, &format!("add \"{key}\": …"));
    }
    value
}

fn check_bounds(context: &mut Context<'_>, raw: &raw::ValidationRule) {
    match (&raw.min, &raw.max) {
        (None, None) => {
            if !context.is_broken(raw.at, "min") {
                let message = format!("the rule \"{}\" needs \"min\" or \"max\"", raw.rule);
                context.missing(raw.at, "max", &message, "add \"max\": …");
            }
        }
        (Some(Bound::Number(min)), Some(Bound::Number(max))) if is_less(max, min) => {
            let at = context.at_key(raw.at, "max");
            context.report(Problem::error(codes::INVALID_VALUE, &at, "\"max\" is less than \"min\""));
        }
        (Some(_), _) | (None, Some(_)) => {}
    }
}

/// Whether `a < b`; whole numbers are not taken for floating ones.
fn is_less(a: &Number, b: &Number) -> bool {
    match (a.as_i64(), b.as_i64()) {
        (Some(a), Some(b)) => a < b,
        _ => a.as_f64() < b.as_f64(),
    }
}

fn bound(said: Option<&Bound>) -> Option<Value> {
    said.map(|bound| match bound {
        Bound::Number(number) => Value::Number(number.clone()),
        Bound::Text(text) => Value::String(text.clone()),
    })
}

/// A number of characters.
fn whole(context: &mut Context<'_>, raw: &raw::ValidationRule, key: &str, said: Option<&Bound>) -> Option<u64> {
    let said = said?;
    let whole = match said {
        Bound::Number(number) => number.as_u64().or_else(|| {
            let value = number.as_f64().filter(|value| value.fract() == 0.0)?;
            serde_json::from_str(&format!("{value:.0}")).ok()
        }),
        Bound::Text(_) => None,
    };
    if whole.is_none() {
        let at = context.at_key(raw.at, key);
        let message = format!("\"{key}\" of the rule \"length\" is a number of characters");
        context.report(Problem::error(codes::INVALID_VALUE, &at, message));
    }
    whole
}
