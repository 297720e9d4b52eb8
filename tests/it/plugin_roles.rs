//! Plugins that reshape, check and settle records: what they are given, what becomes of what they answer, and that a bad one harms
//! nobody but its own records (I10).

use tidelock::change::Ends;
use tidelock::plugin::{CallContext, Catalogue, Choice, Contested, Reshaped, Resolution};
use tidelock::record::{Record, layout};
use tidelock::value::Value;

use crate::plugin::{function, tidelock, with_guests};

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

fn context() -> CallContext {
    CallContext { pair: "test".into(), input_system: "crm".into(), output_system: "erp".into(), ..CallContext::none() }
}

/// One contested field.
fn conflict(base: Option<&str>, source: &str, target: &str) -> Contested {
    let record = |value: &str| Record::of([("notes", text(value)), ("id", Value::Int(1))]);
    Contested {
        key: Record::of([("id", Value::Int(1))]),
        base: base.map(record),
        values: Ends { source: record(source), target: record(target) },
        modified: Ends { source: Some(1), target: None },
        fields: vec!["notes".to_owned()],
    }
}

#[tokio::test]
async fn standard_plugins_play_every_role() {
    let (_dir, catalog) = with_guests(&[]).await;
    let set = catalog.snapshot();
    let (split, email, merge) = (
        function("split_name", r#"{"full_name":"name"}"#),
        function("email_format", "{}"),
        function("merge_text", "{}"),
    );
    assert_eq!(set.fields(&split).await.unwrap(), ["name"]);
    let mut without = Record::empty(layout(["name", "id"]));
    without.set("id", Value::Int(3));
    let people = vec![
        Record::of([("id", Value::Int(1)), ("name", text("Ada King Lovelace"))]),
        Record::of([("id", Value::Int(2)), ("name", Value::Null)]),
        without,
    ];
    let rows = set.reshape(&split, &context(), people).await.unwrap();
    let names: Vec<Vec<(String, Value)>> = rows
        .into_iter()
        .map(|row| match row.unwrap() {
            Reshaped::Keep(record) => record.iter().map(|(name, value)| (name.to_owned(), value.clone())).collect(),
            other => panic!("{other:?}"),
        })
        .collect();
    let both = |first: Value, last: Value| vec![("first_name".to_owned(), first), ("last_name".to_owned(), last)];
    // Null and absent are not the same.
    assert_eq!(names, [both(text("Ada King"), text("Lovelace")), both(Value::Null, Value::Null), vec![]]);

    let mails = ["ada@example.org", "ada", "b@c.example"].map(|mail| Record::of([("email", text(mail))]));
    let found = set.validate(&email, &context(), mails.to_vec()).await.unwrap();
    let codes: Vec<Vec<(Option<String>, String)>> = found
        .into_iter()
        .map(|row| row.unwrap().into_iter().map(|violation| (violation.field, violation.code)).collect())
        .collect();
    assert_eq!(codes, [vec![], vec![(Some("email".to_owned()), "invalid-email".to_owned())], vec![]]);

    let both = [conflict(Some("a\nb\nc"), "a!\nb\nc", "a\nb\nc\nd"), conflict(None, "x", "y")];
    let settled = set.resolve(&merge, &context(), both.to_vec()).await.unwrap();
    let Ok(Resolution::Settled { fields, .. }) = &settled[0] else { panic!("{settled:?}") };
    assert_eq!(*fields, [("notes".to_owned(), Choice::Custom(text("a!\nb\nc\nd")))]);
    match settled[1].as_ref().unwrap() {
        Resolution::Review { .. } => {}
        Resolution::Settled { fields, .. } => assert!(fields.is_empty(), "{fields:?}"),
    }
}

#[tokio::test]
async fn a_function_is_called_in_its_own_role_only() {
    let (_dir, catalog) = with_guests(&[]).await;
    let set = catalog.snapshot();
    let code = |result: Result<(), tidelock::plugin::PluginError>| result.unwrap_err().code;
    let trim = function("trim", "{}");
    assert_eq!(code(set.fields(&trim).await.map(drop)), "plugin.wrong_role");
    assert_eq!(code(set.reshape(&trim, &context(), vec![]).await.map(drop)), "plugin.wrong_role");
    assert_eq!(
        code(set.validate(&function("split_name", "{}"), &context(), vec![]).await.map(drop)),
        "plugin.wrong_role"
    );
    assert_eq!(
        code(set.resolve(&function("email_format", "{}"), &context(), vec![]).await.map(drop)),
        "plugin.wrong_role"
    );
    assert_eq!(
        code(set.transform(&function("merge_text", "{}"), &context(), vec![]).await.map(drop)),
        "plugin.wrong_role"
    );
    for name in ["trim", "split_name", "email_format", "merge_text"] {
        assert_eq!(set.probe(&function(name, "{}")).await, Ok(()), "{name}");
        assert_eq!(code(set.probe(&function(name, r#"{"field": 1, "nonsense": []}"#)).await), "plugin.invalid_params");
    }
}

#[test]
fn call_takes_records_and_conflicts() {
    let dir = tempfile::tempdir().unwrap();
    let call = |name: &str, input: &str| {
        let output = tidelock(&["plugin", "call", name, "--plugins", dir.path().to_str().unwrap()], input);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let lines = String::from_utf8(output.stdout).unwrap();
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<serde_json::Value>>()
    };
    let names = call("split_name", "{\"full_name\": \"Ada Lovelace\"}\n[]\n{\"full_name\": null}\n");
    assert_eq!(names[0]["value"], serde_json::json!({"first_name": "Ada", "last_name": "Lovelace"}));
    assert_eq!(names[1]["error"]["code"], "plugin.bad_json");
    assert_eq!(names[2]["value"], serde_json::json!({"first_name": null, "last_name": null}));
    let found = call("email_format", "{\"email\": \"x\"}\n{}\n");
    assert_eq!(
        (&found[0]["value"][0]["field"], &found[0]["value"][0]["code"]),
        (&"email".into(), &"invalid-email".into())
    );
    assert_eq!(found[1]["value"], serde_json::json!([]));
    let merged = call(
        "merge_tags",
        "{\"base\": {\"tags\": \"a\"}, \"source\": {\"tags\": \"a, b\"}, \"target\": {\"tags\": \"c\"}}\n",
    );
    assert_eq!(merged[0]["value"], serde_json::json!({"tags": "c, b"}));
}
fn code<T: std::fmt::Debug>(row: &Result<T, tidelock::plugin::ValueError>) -> &str {
    row.as_ref().unwrap_err().code.as_str()
}

fn records(texts: &[&str]) -> Vec<Record> {
    texts.iter().map(|value| Record::of([("a", text(value)), ("n", Value::Int(1))])).collect()
}

fn contested(sources: &[&str]) -> Vec<Contested> {
    sources.iter().map(|source| conflict(Some("b"), source, "t")).collect()
}

#[tokio::test]
async fn batches_that_break_the_contract_are_error_values() {
    let (_dir, catalog) = with_guests(&["misbehave_records"]).await;
    let set = catalog.snapshot();
    for (name, expected) in [
        ("rt_loop", "deadline"),
        ("rt_rows", "bad-output"),
        ("rt_column_rows", "bad-output"),
        ("rt_same_name", "bad-output"),
        ("rt_no_name", "bad-output"),
        ("rt_long_name", "output-limit"),
        ("rt_many_columns", "bad-output"),
        ("rt_presence", "bad-output"),
        ("rt_offsets", "bad-output"),
        ("rt_utf8", "bad-output"),
        ("rt_disposition", "bad-output"),
        ("rt_error_row", "bad-output"),
    ] {
        let rows = set.reshape(&function(name, "{}"), &context(), records(&["x", "y"])).await.unwrap();
        assert_eq!((rows.len(), code(&rows[0]), code(&rows[1])), (2, expected, expected), "{name}");
    }
    for (name, expected) in [("va_loop", "deadline"), ("va_row", "bad-output"), ("va_million", "memory")] {
        let rows = set.validate(&function(name, "{}"), &context(), records(&["x", "y"])).await.unwrap();
        assert_eq!((rows.len(), code(&rows[0]), code(&rows[1])), (2, expected, expected), "{name}");
    }
    for (name, expected) in [
        ("re_loop", "deadline"),
        ("re_choices", "bad-output"),
        ("re_custom", "bad-output"),
        ("re_same_name", "bad-output"),
        ("re_disposition", "bad-output"),
    ] {
        let rows = set.resolve(&function(name, "{}"), &context(), contested(&["x", "y"])).await.unwrap();
        assert_eq!((rows.len(), code(&rows[0]), code(&rows[1])), (2, expected, expected), "{name}");
    }
    let rows = set.resolve(&function("re_choice", "{}"), &context(), contested(&["x", "y"])).await.unwrap();
    assert!(code(&rows[0]) == "bad-output" && rows[1].is_ok());
    let rows = set.validate(&function("va_many", "{}"), &context(), records(&["x", "y"])).await.unwrap();
    assert!(code(&rows[0]) == "output-limit" && rows[1] == Ok(vec![]));
    for name in ["rt_loop_fields", "rt_many_fields"] {
        let error = set.reshape(&function(name, "{}"), &context(), records(&["x"])).await.unwrap_err();
        assert_eq!(error.code, "plugin.open_failed", "{name}");
        assert_eq!(set.probe(&function(name, "{}")).await.unwrap_err().code, "plugin.open_failed", "{name}");
    }
}

#[tokio::test]
async fn only_the_guilty_records_fail_in_every_role() {
    let (_dir, catalog) = with_guests(&["misbehave_records"]).await;
    let set = catalog.snapshot();
    let is_poison = |row: usize| row % 97 == 5;
    let texts: Vec<&str> = (0..500).map(|row| if is_poison(row) { "poison" } else { "good" }).collect();
    let reshaped = set.reshape(&function("rt_trap_on_poison", "{}"), &context(), records(&texts)).await.unwrap();
    let checked = set.validate(&function("va_trap_on_poison", "{}"), &context(), records(&texts)).await.unwrap();
    let settled = set.resolve(&function("re_trap_on_poison", "{}"), &context(), contested(&texts)).await.unwrap();
    assert_eq!((reshaped.len(), checked.len(), settled.len()), (500, 500, 500));
    for row in 0..500 {
        if is_poison(row) {
            let codes = (code(&reshaped[row]), code(&checked[row]), code(&settled[row]));
            assert_eq!(codes, ("trap", "trap", "trap"), "row {row}");
            continue;
        }
        // Only the field that it asked for came, and came back.
        assert_eq!(reshaped[row], Ok(Reshaped::Keep(Record::of([("a", text("good"))]))), "row {row}");
        assert_eq!(checked[row], Ok(Vec::new()), "row {row}");
        let Ok(Resolution::Settled { fields, .. }) = &settled[row] else { panic!("row {row}") };
        assert_eq!(*fields, [("notes".to_owned(), Choice::Source)], "row {row}");
    }
}

#[tokio::test]
async fn what_always_fails_is_not_called_for_ever_in_any_role() {
    let (_dir, catalog) = with_guests(&["misbehave_records"]).await;
    let set = catalog.snapshot();
    let many = vec!["x"; 200];
    let codes = [
        set.reshape(&function("rt_rows", "{}"), &context(), records(&many)).await.unwrap_err().code,
        set.validate(&function("va_row", "{}"), &context(), records(&many)).await.unwrap_err().code,
        set.resolve(&function("re_choices", "{}"), &context(), contested(&many)).await.unwrap_err().code,
    ];
    assert_eq!(codes, ["plugin.breaker_open"; 3]);
    // The breaker is the function's own.
    let other = set.validate(&function("va_trap_on_poison", "{}"), &context(), records(&["x"])).await.unwrap();
    assert_eq!(other, [Ok(Vec::new())]);
}

#[tokio::test]
async fn nothing_is_lent_twice_and_nothing_stays_for_another_pair() {
    let (_dir, catalog) = with_guests(&["misbehave_records"]).await;
    let set = catalog.snapshot();
    let call = async |name: &str, pair: &str| {
        let context = CallContext { pair: pair.into(), ..CallContext::none() };
        let rows = set.transform(&function(name, "{}"), &context, vec![text("x")]).await.unwrap();
        rows.into_iter().next().unwrap()
    };
    // A million texts of 16 MiB that are one and the same.
    assert_eq!(code(&call("aliased_texts", "one").await), "output-limit");
    assert_eq!(call("log_flood", "one").await, Ok(text("x")));
    // The guest's destructors are never run.
    for _ in 0..3 {
        assert_eq!(call("loop_on_drop", "one").await, Ok(text("x")));
    }
    for count in ["1", "2", "3"] {
        assert_eq!(call("count_calls", "state one").await, Ok(text(count)));
    }
    assert_eq!(call("count_calls", "state two").await, Ok(text("1")));
}

#[tokio::test]
async fn the_easy_interfaces_take_records() {
    let (_dir, catalog) = with_guests(&["simple_records"]).await;
    let set = catalog.snapshot();
    let rows = set.validate(&function("no_x", "{}"), &context(), records(&["x", "y"])).await.unwrap();
    assert_eq!(rows[0].as_ref().unwrap()[0].code, "has-x");
    assert_eq!(rows[1], Ok(Vec::new()));
    let rows = set.validate(&function("too_few", "{}"), &context(), records(&["x", "y"])).await.unwrap();
    assert_eq!((code(&rows[0]), code(&rows[1])), ("bad-output", "bad-output"));
    let number = |source: Value| {
        let record = |value: Value| Record::of([("n", value)]);
        Contested {
            base: None,
            values: Ends { source: record(source), target: record(Value::Int(3)) },
            fields: vec!["n".to_owned()],
            ..conflict(None, "", "")
        }
    };
    let conflicts = vec![number(Value::Int(2)), number(text("review")), number(Value::Int(7))];
    let rows = set.resolve(&function("seven", "{}"), &context(), conflicts.clone()).await.unwrap();
    let settled = |choice| Resolution::Settled { fields: vec![("n".to_owned(), choice)], reason: String::new() };
    assert_eq!(rows[0], Ok(settled(Choice::Custom(Value::Int(7)))));
    assert_eq!(rows[1], Ok(Resolution::Review { reason: String::new() }));
    assert_eq!(rows[2], Ok(settled(Choice::Source)));
    let rows = set.resolve(&function("no_json", "{}"), &context(), conflicts).await.unwrap();
    assert!(rows.iter().all(|row| code(row) == "bad-output"));
}
