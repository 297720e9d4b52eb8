//! Validation rules, bound: patterns compiled, limits read, functions known.

use std::collections::HashSet;

use regex::{Regex, RegexBuilder};
use serde_json::json;

use super::{Binder, BoundMapping, Computed};
use crate::change::{End, Ends};
use crate::config::{Check, OnInvalid, Problem, TransformCall, ValidationRule};
use crate::plugin::FunctionRef;
use crate::value::{Kind, Value};

/// A pattern may not grow beyond this when it is compiled, in bytes.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// One rule about one field that is written.
#[derive(Debug, Clone)]
pub struct BoundRule {
    /// The field, as the target calls it (or, where only the source has it, the source).
    pub field: String,
    /// Place of the field among the cells of a record that comes from this end; `None` where the field is not written from there.
    pub places: Ends<Option<usize>>,
    /// Kind of the field where it is written, by the end that it comes from.
    pub kinds: Ends<Option<Kind>>,
    /// What is checked.
    pub check: BoundCheck,
    /// What becomes of a value that fails.
    pub on_error: OnInvalid,
    /// What `standardize_format` runs, by the end that the record comes from.
    pub standardizer: Ends<Vec<FunctionRef>>,
}

/// What is checked.
#[derive(Debug, Clone)]
pub enum BoundCheck {
    /// Not null.
    Required,
    /// Some part of the text matches.
    Regex(Regex),
    /// Characters.
    Length {
        /// At least.
        min: Option<u64>,
        /// At most.
        max: Option<u64>,
    },
    /// Numbers and times, compared in the value's own kind.
    Range {
        /// At least.
        min: Option<Value>,
        /// At most.
        max: Option<Value>,
    },
    /// One of these, by the end that the record comes from.
    OneOf(Ends<HashSet<Value>>),
    /// Of one of these kinds, or a text that reads as one.
    Type(&'static [Kind]),
    /// What a plugin's validator says.
    Plugin(FunctionRef),
}

impl BoundRule {
    /// The functions that it calls.
    pub fn functions(&self) -> impl Iterator<Item = &FunctionRef> {
        let validator = match &self.check {
            BoundCheck::Plugin(function) => Some(function),
            BoundCheck::Required
            | BoundCheck::Regex(_)
            | BoundCheck::Length { .. }
            | BoundCheck::Range { .. }
            | BoundCheck::OneOf(_)
            | BoundCheck::Type(_) => None,
        };
        validator.into_iter().chain(&self.standardizer.source).chain(&self.standardizer.target)
    }

    /// The rule's name in codes.
    pub fn code(&self) -> &'static str {
        match self.check {
            BoundCheck::Required => "validation.required",
            BoundCheck::Regex(_) => "validation.regex",
            BoundCheck::Length { .. } => "validation.length",
            BoundCheck::Range { .. } => "validation.range",
            BoundCheck::OneOf(_) => "validation.one_of",
            BoundCheck::Type(_) => "validation.type",
            BoundCheck::Plugin(_) => "validation.plugin",
        }
    }
}

/// Where a field is written.
struct Written {
    name: String,
    places: Ends<Option<usize>>,
    kinds: Ends<Option<Kind>>,
    own: Ends<Vec<FunctionRef>>,
}

impl Binder<'_> {
    pub(super) fn checks(&mut self, mappings: &[BoundMapping], computed: &[Computed]) -> Vec<BoundRule> {
        let mut checks = Vec::new();
        for rule in &self.pair.validation_rules {
            let written = written(&rule.field, mappings, computed);
            if written.is_empty() {
                let text = format!("the rule of \"{}\" checks nothing: no such field is written", rule.field);
                self.problems.push(Problem::error("mapping.unknown_field", &rule.at, text));
            }
            for of in written {
                checks.extend(self.check(rule, of));
            }
        }
        checks
    }

    fn check(&mut self, rule: &ValidationRule, of: Written) -> Option<BoundRule> {
        let check = match &rule.check {
            Check::Required => BoundCheck::Required,
            Check::Regex(pattern) => BoundCheck::Regex(self.pattern(pattern, rule)?),
            Check::Length { min, max } => BoundCheck::Length { min: *min, max: *max },
            Check::Range { min, max } => BoundCheck::Range {
                min: self.bound(min.as_ref(), "min", rule, &of)?,
                max: self.bound(max.as_ref(), "max", rule, &of)?,
            },
            Check::OneOf(values) => BoundCheck::OneOf(self.listed_values(values, rule, &of)),
            Check::Type(name) => BoundCheck::Type(kinds(name)),
            Check::EmailFormat | Check::Plugin { .. } => {
                BoundCheck::Plugin(self.function(&validator(rule, &of.name)?, "validator", &rule.at)?)
            }
        };
        let Written { name, places, kinds, own } = of;
        let standardizer = self.standardizer(rule, own);
        Some(BoundRule { field: name, places, kinds, check, on_error: rule.on_error, standardizer })
    }

    fn pattern(&mut self, pattern: &str, rule: &ValidationRule) -> Option<Regex> {
        let built = RegexBuilder::new(pattern).size_limit(PATTERN_BYTES_MAX).dfa_size_limit(PATTERN_BYTES_MAX).build();
        built.map_err(|error| self.bad(rule, format!("the pattern cannot be used: {error}"))).ok()
    }

    fn bad(&mut self, rule: &ValidationRule, text: String) {
        self.problems.push(Problem::error("validation.bad_rule", &rule.at, text));
    }

    /// A limit in the form in which it is compared. `Some(None)`: there is none.
    #[allow(clippy::option_option, reason = "a missing limit is fine, one that cannot be read is not")]
    fn bound(
        &mut self,
        said: Option<&serde_json::Value>,
        key: &str,
        rule: &ValidationRule,
        of: &Written,
    ) -> Option<Option<Value>> {
        let Some(json) = said else { return Some(None) };
        // What is no text is a number: the configuration takes nothing else.
        let value = Value::Text(json.as_str().map_or_else(|| json.to_string(), str::to_owned));
        let written = [of.kinds.source, of.kinds.target];
        for kind in written.into_iter().flatten() {
            let comparable = comparable(kind).is_some_and(|kind| value.clone().convert(kind).is_ok());
            if !comparable {
                self.bad(rule, format!("\"{key}\" cannot be compared with the values of \"{}\"", of.name));
                return None;
            }
        }
        Some(Some(value))
    }

    fn listed_values(
        &mut self,
        values: &[serde_json::Value],
        rule: &ValidationRule,
        of: &Written,
    ) -> Ends<HashSet<Value>> {
        Ends::from_fn(|end| {
            let Some(kind) = *of.kinds.get(end) else { return HashSet::new() };
            let read = |json: &serde_json::Value| match Value::from_json(kind, json) {
                Ok(value) => Some(value),
                Err(error) => {
                    self.bad(rule, format!("a value of \"values\" does not fit \"{}\": {error}", of.name));
                    None
                }
            };
            values.iter().filter_map(read).collect()
        })
    }

    fn standardizer(&mut self, rule: &ValidationRule, own: Ends<Vec<FunctionRef>>) -> Ends<Vec<FunctionRef>> {
        if rule.on_error != OnInvalid::StandardizeFormat {
            return Ends::default();
        }
        let functions = match &rule.standardizer {
            None => own,
            Some(name) => {
                let function = self.function(&plain_call(rule, name), "field-transform", &rule.at);
                Ends::from_fn(|_| function.clone().into_iter().collect())
            }
        };
        if functions.source.is_empty() && functions.target.is_empty() {
            let text = format!("nothing standardizes \"{}\": its mapping has no transformation", rule.field);
            self.problems.push(
                Problem::warning("validation.no_standardizer", &rule.at, text)
                    .suggest("add \"standardizer\": \"FUNCTION\""),
            );
        }
        functions
    }

    /// Whether the functions that a rule calls are there and play their roles.
    pub(super) fn check_rule_functions(&mut self, rule: &ValidationRule) {
        if let Some(call) = validator(rule, &rule.field) {
            self.function(&call, "validator", &rule.at);
        }
        if let Some(name) = &rule.standardizer {
            self.function(&plain_call(rule, name), "field-transform", &rule.at);
        }
        if let Check::Regex(pattern) = &rule.check {
            self.pattern(pattern, rule);
        }
    }
}

/// The validator that a rule calls, if it calls one. `email_format` is the validator of that name.
fn validator(rule: &ValidationRule, field: &str) -> Option<TransformCall> {
    match &rule.check {
        Check::EmailFormat => {
            let params = json!({ "field": field }).to_string();
            Some(TransformCall { at: rule.at.clone(), name: "email_format".to_owned(), params })
        }
        Check::Plugin { name, params } => {
            Some(TransformCall { at: rule.at.clone(), name: name.clone(), params: params.clone() })
        }
        Check::Regex(_)
        | Check::Required
        | Check::Length { .. }
        | Check::Range { .. }
        | Check::OneOf(_)
        | Check::Type(_) => None,
    }
}

fn plain_call(rule: &ValidationRule, name: &str) -> TransformCall {
    TransformCall { at: rule.at.clone(), name: name.to_owned(), params: "{}".to_owned() }
}

/// Where the field of a rule is written: the source's name counts before the target's.
fn written(field: &str, mappings: &[BoundMapping], computed: &[Computed]) -> Vec<Written> {
    let by = |end: End| -> Vec<Written> {
        let named = mappings.iter().enumerate().filter(|(_, mapping)| mapping.fields.get(end).name == field);
        named
            .map(|(place, mapping)| {
                let flows = |from: End| mapping.functions.get(from).is_some();
                Written {
                    name: mapping.fields.target.name.clone(),
                    places: Ends::from_fn(|from| flows(from).then_some(place)),
                    kinds: Ends::from_fn(|from| flows(from).then_some(mapping.fields.get(from.other()).kind)),
                    own: Ends::from_fn(|from| mapping.functions.get(from).clone().unwrap_or_default()),
                }
            })
            .collect()
    };
    let mut found = by(End::Source);
    if found.is_empty() {
        found = by(End::Target);
    }
    for one in computed {
        for (offset, output) in one.outputs.iter().enumerate().filter(|(_, output)| output.name == field) {
            let of = |from: End| from == one.from;
            found.push(Written {
                name: output.name.clone(),
                places: Ends::from_fn(|from| of(from).then_some(one.first + offset)),
                kinds: Ends::from_fn(|from| of(from).then_some(output.kind)),
                own: Ends::default(),
            });
        }
    }
    found
}

/// The kind in which values of `kind` are compared with a limit; `None` where they have no order that a user would mean.
pub fn comparable(kind: Kind) -> Option<Kind> {
    match kind {
        Kind::Int | Kind::Decimal | Kind::Text => Some(Kind::Decimal),
        Kind::Float | Kind::Date | Kind::Time | Kind::Instant | Kind::Local => Some(kind),
        Kind::Null | Kind::Boolean | Kind::Bytes | Kind::Json | Kind::Uuid => None,
    }
}

/// The kinds of a type's name; the first is the one that a text must read as.
fn kinds(name: &str) -> &'static [Kind] {
    match name {
        "boolean" => &[Kind::Boolean],
        "integer" => &[Kind::Int],
        "number" => &[Kind::Decimal, Kind::Int, Kind::Float],
        "date" => &[Kind::Date],
        "time" => &[Kind::Time],
        "timestamp" => &[Kind::Instant, Kind::Local],
        "uuid" => &[Kind::Uuid],
        "bytes" => &[Kind::Bytes],
        "json" => &[Kind::Json],
        _ => &[Kind::Text],
    }
}
