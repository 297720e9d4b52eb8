//! Table tests of the rules, with a validator that is a Rust function.

use std::collections::HashSet;

use async_trait::async_trait;
use regex::Regex;

use super::*;
use crate::change::Ends;
use crate::config::{Deletes, Nulls, OnError, Rule};
use crate::pipeline::binding::{BoundField, BoundMapping};
use crate::plugin::{CallContext, Contested, FunctionInfo, PluginError, Reshaped, Resolution, Violation};
use crate::record::layout;

/// `digits` keeps a text's digits; `short` refuses records whose `b` is longer than three characters; `whole` refuses every record as
/// a whole; `broken` fails.
struct Fake;

#[async_trait]
impl Plugins for Fake {
    fn info(&self, name: &str) -> std::result::Result<FunctionInfo, PluginError> {
        let text = str::to_owned;
        Ok(FunctionInfo {
            name: text(name),
            plugin: text("fake"),
            digest: text("d1"),
            doc: String::new(),
            role: String::new(),
            output: None,
            idempotent: false,
            reverse: None,
        })
    }

    async fn probe(&self, _: &FunctionRef) -> std::result::Result<(), PluginError> {
        Ok(())
    }

    async fn transform(
        &self,
        _: &FunctionRef,
        _: &CallContext,
        input: Vec<Value>,
    ) -> std::result::Result<Vec<std::result::Result<Value, ValueError>>, PluginError> {
        let digits = |value: Value| value.to_text().unwrap_or_default().chars().filter(char::is_ascii_digit).collect();
        Ok(input.into_iter().map(|value| Ok(Value::Text(digits(value)))).collect())
    }

    async fn fields(&self, _: &FunctionRef) -> std::result::Result<Vec<String>, PluginError> {
        Ok(Vec::new())
    }

    async fn reshape(
        &self,
        _: &FunctionRef,
        _: &CallContext,
        input: Vec<Record>,
    ) -> std::result::Result<Vec<std::result::Result<Reshaped, ValueError>>, PluginError> {
        Ok(input.into_iter().map(|record| Ok(Reshaped::Keep(record))).collect())
    }

    async fn validate(
        &self,
        function: &FunctionRef,
        _: &CallContext,
        input: Vec<Record>,
    ) -> std::result::Result<Vec<std::result::Result<Vec<Violation>, ValueError>>, PluginError> {
        let violation = |field: Option<&str>| Violation {
            field: field.map(str::to_owned),
            code: "too-long".to_owned(),
            message: String::new(),
        };
        let check = |record: Record| match function.name.as_str() {
            "broken" => Err(ValueError { code: "trap".to_owned(), message: String::new() }),
            "whole" => Ok(vec![violation(None)]),
            _ => {
                let text = record.get("b").and_then(Value::to_text).unwrap_or_default();
                Ok(if text.len() > 3 { vec![violation(Some("b"))] } else { Vec::new() })
            }
        };
        Ok(input.into_iter().map(check).collect())
    }

    async fn resolve(
        &self,
        _: &FunctionRef,
        _: &CallContext,
        _: Vec<Contested>,
    ) -> std::result::Result<Vec<std::result::Result<Resolution, ValueError>>, PluginError> {
        Ok(Vec::new())
    }
}

/// The fields `a` and `b`, whose kinds are given, copied as they are.
fn binding(kinds: [Kind; 2], rules: Vec<BoundRule>) -> Binding {
    let names = ["a", "b"];
    let mapping = |(position, (name, kind)): (usize, (&&str, &Kind))| {
        let of = || BoundField { name: (*name).to_owned(), position, kind: *kind };
        BoundMapping {
            fields: Ends { source: of(), target: of() },
            functions: Ends::from_fn(|_| Some(Vec::new())),
            on_error: OnError::RejectRecord,
            default: None,
            value_map: Vec::new(),
            correlation: false,
            generated: false,
            lookup: None,
        }
    };
    Binding {
        pair: Arc::from("pair"),
        systems: Ends { source: Arc::from("crm"), target: Arc::from("erp") },
        mappings: names.iter().zip(&kinds).enumerate().map(mapping).collect(),
        layouts: Ends::from_fn(|_| layout(names)),
        keys: Ends::default(),
        correlation: Ends::default(),
        match_on: Vec::new(),
        timestamp: Ends::default(),
        flows: Ends { source: true, target: true },
        upsert_only: false,
        looked_up: false,
        apart: false,
        rules: Vec::new(),
        default_rule: Rule::LATER,
        skew_window: std::time::Duration::ZERO,
        resolvers: Vec::new(),
        computed: Vec::new(),
        groups: Vec::new(),
        checks: rules,
        deletes: Deletes::Propagate,
        marks: Ends::default(),
        delete_guard: None,
        loop_prevention: None,
        filtered: Ends::default(),
        nulls: Nulls::Preserve,
        renewed: false,
    }
}

fn rule(check: BoundCheck, on_error: OnInvalid) -> BoundRule {
    BoundRule {
        field: "b".to_owned(),
        places: Ends::from_fn(|_| Some(1)),
        kinds: Ends::from_fn(|_| Some(Kind::Text)),
        check,
        on_error,
        standardizer: Ends::from_fn(|_| vec![function("digits")]),
    }
}

fn function(name: &str) -> FunctionRef {
    FunctionRef { name: name.to_owned(), params: "{}".to_owned() }
}

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

async fn run(rules: Vec<BoundRule>, values: &[Value]) -> Checked {
    let kind = values.first().map_or(Kind::Text, Value::kind);
    let binding = binding([Kind::Text, kind], rules);
    let records: Vec<Record> =
        values.iter().map(|value| Record::of([("a", text("x")), ("b", value.clone())])).collect();
    let plugins: Arc<dyn Plugins> = Arc::new(Fake);
    check_records(&binding, End::Source, &records.iter().collect::<Vec<_>>(), &plugins, &Translations::default())
        .await
        .unwrap()
}

fn codes(checked: &Checked) -> Vec<Option<&str>> {
    checked.refused.iter().map(|refused| refused.as_ref().map(|rejection| rejection.code.as_str())).collect()
}

#[tokio::test]
async fn each_rule_refuses_what_breaks_it_and_nothing_else() {
    let int = |number: i64| Value::Int(number);
    let limit = |number: &str| Some(text(number));
    let list = || Ends::from_fn(|_| HashSet::from([text("x"), text("y")]));
    let cases: Vec<(BoundCheck, Vec<Value>, Vec<Value>)> = vec![
        (BoundCheck::Required, vec![text("")], vec![]),
        (
            BoundCheck::Regex(Regex::new("^\\+[0-9]+$").unwrap()),
            vec![text("+1"), Value::Null],
            vec![text("1"), text("")],
        ),
        (
            BoundCheck::Length { min: Some(2), max: Some(3) },
            vec![text("äöü"), text("ab")],
            vec![text("a"), text("abcd")],
        ),
        (
            BoundCheck::Range { min: limit("9007199254740993"), max: None },
            vec![int(9_007_199_254_740_993)],
            vec![int(9_007_199_254_740_992)],
        ),
        (BoundCheck::Range { min: None, max: limit("2026-01-31") }, vec![Value::Date(0)], vec![Value::Date(30_000)]),
        (
            BoundCheck::Range { min: limit("0.1"), max: limit("0.3") },
            vec![text("0.2")],
            vec![text("0.30001"), text("x")],
        ),
        (BoundCheck::OneOf(list()), vec![text("x"), Value::Null], vec![text("z")]),
        (BoundCheck::Type(&[Kind::Int]), vec![text("12")], vec![text("1.5"), text("a")]),
    ];
    for (check, good, bad) in cases {
        let name = format!("{check:?}");
        let code = rule(check.clone(), OnInvalid::RejectRecord).code();
        let fine = run(vec![rule(check.clone(), OnInvalid::RejectRecord)], &good).await;
        assert!(fine.refused.iter().all(Option::is_none), "{name}: {:?}", codes(&fine));
        let broken = run(vec![rule(check, OnInvalid::RejectRecord)], &bad).await;
        assert!(codes(&broken).iter().all(|said| *said == Some(code)), "{name}: {:?}", codes(&broken));
    }
    let null = run(vec![rule(BoundCheck::Required, OnInvalid::RejectRecord)], &[Value::Null]).await;
    assert_eq!(codes(&null), [Some("validation.required")]);
}

#[tokio::test]
async fn a_refused_record_has_no_cell_left_to_write() {
    let checked = run(
        vec![rule(BoundCheck::Length { min: None, max: Some(1) }, OnInvalid::RejectRecord)],
        &[text("ab"), text("a")],
    )
    .await;
    let cells: Vec<Mapped> = checked.into_cells().map(|(cells, _)| cells).collect();
    assert!(cells[0].iter().all(Result::is_err));
    assert_eq!(cells[1], [Ok(Some(text("x"))), Ok(Some(text("a")))]);
}

#[tokio::test]
async fn on_error_says_what_becomes_of_a_value() {
    let longest = || BoundCheck::Length { min: None, max: Some(3) };
    let long = text("1-23");
    for (on_error, cell, warnings) in [
        (OnInvalid::SetNull, Some(Value::Null), 0),
        (OnInvalid::SkipField, None, 0),
        (OnInvalid::Warn, Some(long.clone()), 1),
        (OnInvalid::StandardizeFormat, Some(text("123")), 0),
    ] {
        let checked = run(vec![rule(longest(), on_error)], std::slice::from_ref(&long)).await;
        assert_eq!((&checked.mapped[0][1], checked.warnings[0]), (&Ok(cell), warnings), "{on_error:?}");
        assert_eq!(codes(&checked), [None], "{on_error:?}");
    }
    let hopeless = run(vec![rule(longest(), OnInvalid::StandardizeFormat)], &[text("1-2345")]).await;
    assert_eq!(codes(&hopeless), [Some("validation.length")]);
}

#[tokio::test]
async fn a_validator_of_a_plugin_is_asked_and_named() {
    let plugin = |name: &str, on_error| rule(BoundCheck::Plugin(function(name)), on_error);
    let checked = run(vec![plugin("short", OnInvalid::RejectRecord)], &[text("abcd"), text("abc")]).await;
    assert_eq!(codes(&checked), [Some("too-long"), None]);
    let rejection = checked.refused[0].as_ref().unwrap();
    assert_eq!((rejection.field.as_deref(), rejection.digest.as_deref()), (Some("b"), Some("d1")));
    let nulled = run(vec![plugin("short", OnInvalid::SetNull)], &[text("abcd")]).await;
    assert_eq!((&nulled.mapped[0][1], codes(&nulled)), (&Ok(Some(Value::Null)), vec![None]));
    let standard = run(vec![plugin("short", OnInvalid::StandardizeFormat)], &[text("a1b2c3"), text("123456")]).await;
    assert_eq!((&standard.mapped[0][1], codes(&standard)), (&Ok(Some(text("123"))), vec![None, Some("too-long")]));
    for name in ["whole", "broken"] {
        let record = run(vec![plugin(name, OnInvalid::SetNull)], &[text("a")]).await;
        assert!(record.refused[0].is_some(), "{name}: nothing that could be set to null is at fault");
    }
}

#[tokio::test]
async fn without_rules_nothing_is_kept_per_record() {
    let checked = run(Vec::new(), &[text("a"), text("b")]).await;
    assert_eq!((checked.mapped.len(), checked.refused.capacity()), (2, 0));
}
