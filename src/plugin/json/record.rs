//! Records, conflicts and what functions answer to them, in JSON: for the simple interfaces, for examples and for `tidelock plugin call`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::{read, says, write};
use crate::change::Ends;
use crate::plugin::{Choice, Contested, Reshaped, Resolution, Violation};
use crate::record::{Record, layout};
use crate::value::{Kind, Value};

type Fields<'a> = BTreeMap<String, &'a RawValue>;

/// A conflict as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written<'a> {
    #[serde(borrow, default)]
    key: Option<Fields<'a>>,
    #[serde(borrow)]
    base: Option<Fields<'a>>,
    #[serde(borrow)]
    source: Option<Fields<'a>>,
    #[serde(borrow)]
    target: Option<Fields<'a>>,
    #[serde(default)]
    source_modified: Option<String>,
    #[serde(default)]
    target_modified: Option<String>,
    #[serde(default)]
    fields: Option<Vec<String>>,
}

/// A violation as it is written.
#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
struct WrittenViolation {
    #[serde(default)]
    field: String,
    code: String,
}

/// The object of a record's fields, on one line.
pub(crate) fn write_record(record: &Record) -> String {
    write_fields(record.iter().map(|(name, value)| (name, write(value))))
}

fn write_fields<'a>(fields: impl Iterator<Item = (&'a str, String)>) -> String {
    let field = |(name, value)| format!("{}: {value}", serde_json::Value::from(name));
    format!("{{{}}}", fields.map(field).collect::<Vec<_>>().join(", "))
}

/// Reads a record from an object.
///
/// # Errors
/// Where the text is not one JSON object.
pub(crate) fn read_record(text: &str) -> Result<Record, serde_json::Error> {
    record(&serde_json::from_str(text)?)
}

fn record(fields: &Fields<'_>) -> Result<Record, serde_json::Error> {
    let values = fields.values().map(|raw| read(raw.get(), &[]).map(Some)).collect::<Result<_, _>>()?;
    Ok(Record::new(layout(fields.keys()), values))
}

/// The object of a conflict, as `simple-resolver` has it.
pub(crate) fn write_conflict(conflict: &Contested) -> String {
    let moment = |micros: Option<i64>| write(&micros.map_or(Value::Null, Value::Instant));
    let names: Vec<String> = conflict.fields.iter().map(|name| serde_json::Value::from(&**name).to_string()).collect();
    let parts = [
        ("key", write_record(&conflict.key)),
        ("base", conflict.base.as_ref().map_or_else(|| "null".to_owned(), write_record)),
        ("source", write_record(&conflict.values.source)),
        ("target", write_record(&conflict.values.target)),
        ("source_modified", moment(conflict.modified.source)),
        ("target_modified", moment(conflict.modified.target)),
        ("fields", format!("[{}]", names.join(", "))),
    ];
    write_fields(parts.into_iter())
}

/// Reads a conflict. Which fields are contested is worked out where it is not said: those on which both sides disagree with the base
/// and with each other.
///
/// # Errors
/// Where the text is not such an object.
pub(crate) fn read_conflict(text: &str) -> Result<Contested, String> {
    let written: Written<'_> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let side = |fields: &Option<Fields<'_>>| {
        fields.as_ref().map(record).transpose().map_err(|error: serde_json::Error| error.to_string())
    };
    let moment = |text: Option<String>| match text.map(|text| Value::from_text(Kind::Instant, &text)).transpose() {
        Ok(Some(Value::Instant(micros))) => Ok(Some(micros)),
        Ok(_) => Ok(None),
        Err(error) => Err(format!("a time of change: {error}")),
    };
    let base = side(&written.base)?;
    let values = Ends {
        source: side(&written.source)?.unwrap_or_else(nothing),
        target: side(&written.target)?.unwrap_or_else(nothing),
    };
    let fields = written.fields.unwrap_or_else(|| contested(base.as_ref(), &values));
    Ok(Contested {
        key: side(&written.key)?.unwrap_or_else(nothing),
        base,
        modified: Ends { source: moment(written.source_modified)?, target: moment(written.target_modified)? },
        values,
        fields,
    })
}

fn nothing() -> Record {
    Record::empty(layout::<&str>([]))
}

fn contested(base: Option<&Record>, values: &Ends<Record>) -> Vec<String> {
    let Ends { source, target } = values;
    let differs = |name: &str| {
        let base = base.and_then(|base| base.get(name));
        source.get(name) != target.get(name) && source.get(name) != base && target.get(name) != base
    };
    let mut names: Vec<&str> = source.iter().chain(target.iter()).map(|(name, _)| name).collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter().filter(|name| differs(name)).map(str::to_owned).collect()
}

/// What a record transform made of a record: the record, `"skip"` or `"review"`.
pub(crate) fn write_reshaped(reshaped: &Reshaped) -> String {
    match reshaped {
        Reshaped::Keep(record) => write_record(record),
        Reshaped::Skip => "\"skip\"".to_owned(),
        Reshaped::Review => "\"review\"".to_owned(),
    }
}

/// The array of violations.
pub(crate) fn write_violations(violations: &[Violation]) -> String {
    let one = |violation: &Violation| {
        let text = |text: &str| serde_json::Value::from(text).to_string();
        let parts = [
            ("field", text(violation.field.as_deref().unwrap_or_default())),
            ("code", text(&violation.code)),
            ("message", text(&violation.message)),
        ];
        write_fields(parts.into_iter())
    };
    format!("[{}]", violations.iter().map(one).collect::<Vec<_>>().join(", "))
}

/// The values of the contested fields, or `"review"`.
pub(crate) fn write_resolution(conflict: &Contested, resolution: &Resolution) -> String {
    match merged(conflict, resolution) {
        Some(record) => write_record(&record),
        None => "\"review\"".to_owned(),
    }
}

/// The contested fields with the values that the resolution gives them; `None` where a person decides all of them.
fn merged(conflict: &Contested, resolution: &Resolution) -> Option<Record> {
    let Resolution::Settled { fields, .. } = resolution else { return None };
    if fields.is_empty() && !conflict.fields.is_empty() {
        return None;
    }
    let value = |name: &str, choice: &Choice| match choice {
        Choice::Base => conflict.base.as_ref().and_then(|base| base.get(name)).cloned(),
        Choice::Source => conflict.values.source.get(name).cloned(),
        Choice::Target => conflict.values.target.get(name).cloned(),
        Choice::Custom(value) => Some(value.clone()),
    };
    Some(Record::of(fields.iter().filter_map(|(name, choice)| Some((name, value(name, choice)?)))))
}

/// Whether a record transform's answer is what the example says.
pub(in crate::plugin) fn reshaped_says(reshaped: &Reshaped, expected: &str) -> bool {
    match reshaped {
        Reshaped::Keep(record) => record_says(record, expected),
        Reshaped::Skip | Reshaped::Review => write_reshaped(reshaped) == expected.trim(),
    }
}

/// Whether the violations are those of the example, in any order.
pub(in crate::plugin) fn violations_say(violations: &[Violation], expected: &str) -> bool {
    let Ok(mut expected) = serde_json::from_str::<Vec<WrittenViolation>>(expected) else { return false };
    let written = |violation: &Violation| WrittenViolation {
        field: violation.field.clone().unwrap_or_default(),
        code: violation.code.clone(),
    };
    let mut found: Vec<WrittenViolation> = violations.iter().map(written).collect();
    found.sort_unstable();
    expected.sort_unstable();
    found == expected
}

/// Whether the resolution is what the example says.
pub(in crate::plugin) fn resolution_says(conflict: &Contested, resolution: &Resolution, expected: &str) -> bool {
    match merged(conflict, resolution) {
        Some(record) => record_says(&record, expected),
        None => expected.trim() == "\"review\"",
    }
}

fn record_says(record: &Record, expected: &str) -> bool {
    let Ok(expected) = serde_json::from_str::<Fields<'_>>(expected) else { return false };
    let says = |(name, raw): (&String, &&RawValue)| record.get(name).is_some_and(|value| says(value, raw.get()));
    record.iter().count() == expected.len() && expected.iter().all(says)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_objects_without_what_is_absent() {
        let mut record = Record::empty(layout(["absent"]));
        record.set("a\"b", Value::Int(i64::MAX));
        record.set("n", Value::Null);
        record.set("j", Value::Json("{\"x\":\n0.10}".into()));
        record.set("d", Value::Date(0));
        let text = write_record(&record);
        assert_eq!(text, "{\"a\\\"b\": 9223372036854775807, \"n\": null, \"j\": {\"x\": 0.10}, \"d\": \"1970-01-01\"}");
        let back = read_record(&text).unwrap();
        assert_eq!(back.get("a\"b"), Some(&Value::Int(i64::MAX)));
        assert_eq!((back.get("n"), back.get("absent")), (Some(&Value::Null), None));
        assert_eq!(back.get("d"), Some(&Value::Text("1970-01-01".into())));
        assert!(read_record("[]").is_err() && read_record("{} x").is_err());
        assert!(record_says(&record, &text) && !record_says(&record, "{}") && !record_says(&back, "{\"n\": null}"));
    }

    #[test]
    fn conflicts_say_which_fields_are_contested() {
        let text = r#"{"base": {"a": 1, "b": 1, "c": 1, "d": 1}, "source": {"a": 2, "b": 2, "c": 2, "d": null},
            "target": {"a": 3, "b": 2, "c": 1}, "source_modified": "1970-01-01T00:00:01Z"}"#;
        let conflict = read_conflict(text).unwrap();
        assert_eq!(conflict.fields, ["a", "d"]);
        assert_eq!(conflict.modified, Ends { source: Some(1_000_000), target: None });
        let again = read_conflict(&write_conflict(&conflict)).unwrap();
        assert_eq!(again, conflict);
        let both_new = read_conflict(r#"{"base": null, "source": {"a": 1}, "target": {"a": 2}}"#).unwrap();
        assert_eq!((both_new.base, both_new.fields), (None, vec!["a".to_owned()]));
        for wrong in ["1", "{\"bases\": null}", r#"{"base":null,"source":{},"target":{},"source_modified":"noon"}"#] {
            assert!(read_conflict(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn answers_are_compared_by_meaning() {
        let found = |field: &str, code: &str| Violation {
            field: (!field.is_empty()).then(|| field.to_owned()),
            code: code.to_owned(),
            message: "m".to_owned(),
        };
        let violations = [found("b", "x"), found("", "y")];
        assert!(violations_say(&violations, r#"[{"code": "y"}, {"field": "b", "code": "x"}]"#));
        assert!(!violations_say(&violations, r#"[{"field": "b", "code": "x"}]"#) && !violations_say(&violations, "{}"));
        let conflict = read_conflict(r#"{"base": {"a": 0}, "source": {"a": 1}, "target": {"a": 2}}"#).unwrap();
        let settled = |choice| Resolution::Settled { fields: vec![("a".to_owned(), choice)], reason: String::new() };
        let says = |choice, expected| resolution_says(&conflict, &settled(choice), expected);
        assert!(says(Choice::Base, "{\"a\": 0}") && says(Choice::Source, "{\"a\": 1}"));
        assert!(says(Choice::Custom(Value::Decimal("2.50".into())), "{\"a\": 2.5}"));
        assert!(!says(Choice::Target, "{\"a\": 1}") && !says(Choice::Target, "\"review\""));
        let nothing = Resolution::Settled { fields: vec![], reason: String::new() };
        assert!(resolution_says(&conflict, &nothing, "\"review\""));
        let review = Resolution::Review { reason: String::new() };
        assert!(resolution_says(&conflict, &review, "\"review\"") && !resolution_says(&conflict, &review, "{}"));
        assert!(reshaped_says(&Reshaped::Skip, "\"skip\"") && !reshaped_says(&Reshaped::Review, "\"skip\""));
    }
}
