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
