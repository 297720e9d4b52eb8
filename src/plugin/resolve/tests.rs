//! What resolvers are given, and what becomes of what they answer.

use super::*;
use crate::plugin::bindings::{Column, FieldChoice};
use crate::plugin::column::kind_code;

fn text(text: &str) -> Value {
    Value::Text(text.to_owned())
}

/// `name` is contested in both, `age` in the first only; the second has no base.
fn two() -> Vec<Contested> {
    let record = |name: &str, age: i64| Record::of([("name", text(name)), ("age", Value::Int(age))]);
    let conflict = |base: Option<Record>, fields: &[&str]| Contested {
        key: Record::of([("id", Value::Int(1))]),
        base,
        values: Ends { source: record("s", 2), target: record("t", 3) },
        modified: Ends { source: Some(5), target: None },
        fields: fields.iter().map(|name| (*name).to_owned()).collect(),
    };
    vec![conflict(Some(record("b", 1)), &["name", "age"]), conflict(None, &["name"])]
}

fn choice(field: &str, choice: &[u8]) -> FieldChoice {
    FieldChoice { field: field.to_owned(), choice: choice.to_vec(), custom: None }
}

fn answer(fields: Vec<FieldChoice>) -> BatchResolution {
    BatchResolution { disposition: Vec::new(), fields, reasons: None }
}

fn decode(given: &BatchResolution) -> Result<Rows<Resolution>, Fault> {
    let work = Conflict::new(two(), &[]);
    work.decode(given, &work.contested, &work.sizes, &PluginLimits::default())
}

fn settled(fields: &[(&str, Choice)]) -> Resolution {
    let fields = fields.iter().map(|(name, choice)| ((*name).to_owned(), choice.clone())).collect();
    Resolution::Settled { fields, reason: String::new() }
}

#[test]
fn conflicts_cross_with_their_contested_fields() {
    let context = CallContext { input_system: "crm".into(), output_system: "erp".into(), ..CallContext::none() };
    let work = Conflict::new(two(), &["other".to_owned()]);
    let conflicts = work.encode(&work.contested, &context);
    let contested: Vec<(&str, &[u8])> =
        conflicts.contested.iter().map(|contested| (&*contested.field, &*contested.rows)).collect();
    assert_eq!(contested, [("name", &[3][..]), ("age", &[1])]);
    assert_eq!((&*conflicts.source.system, &*conflicts.target.system), ("crm", "erp"));
    assert_eq!(
        (conflicts.source.modified.validity.len(), conflicts.target.modified.validity.as_slice()),
        (0, &[0][..])
    );
    // Nothing was agreed for the second: every field of its base is absent.
    assert!(conflicts.base.columns.iter().all(|named| named.presence == [1]));
    assert_eq!(work.encode(&work.contested[1..], &context).contested.len(), 1);
    assert!(work.sizes[0] > work.sizes[1]);
}

#[test]
fn choices_are_read_row_by_row() {
    let ages = [Value::Int(7), Value::Null];
    let custom = Some(encode(Kind::Int, ages.iter()));
    let age = FieldChoice { custom, ..choice("age", &[3, 9]) };
    let rows = decode(&answer(vec![choice("name", &[0, 2]), age, choice("unknown", &[])])).unwrap();
    assert_eq!(rows[0], Ok(settled(&[("name", Choice::Base), ("age", Choice::Custom(Value::Int(7)))])));
    // What is not contested is not looked at.
    assert_eq!(rows[1], Ok(settled(&[("name", Choice::Target)])));

    let reasons = [Value::Null, text("a\nb")];
    let reasons = Some(encode(Kind::Text, reasons.iter()));
    let rows = decode(&BatchResolution { disposition: vec![0, 1], fields: vec![], reasons }).unwrap();
    assert_eq!(rows, [Ok(settled(&[])), Ok(Resolution::Review { reason: "a b".to_owned() })]);
}

#[test]
fn a_wrong_choice_fails_its_record_alone() {
    for (field, failing) in [
        (choice("name", &[1, 0]), 1), // the second has no base
        (choice("name", &[1, 4]), 1),
        (choice("name", &[3, 1]), 0), // no custom column
    ] {
        let rows = decode(&answer(vec![field])).unwrap();
        assert_eq!(rows[failing].as_ref().unwrap_err().code, "bad-output");
        assert!(rows[1 - failing].is_ok());
    }
    let odd = decode(&BatchResolution { disposition: vec![2, 0], fields: vec![], reasons: None }).unwrap();
    assert!(odd[0].is_err() && odd[1].is_ok());
}

#[test]
fn a_malformed_resolution_is_a_fault_of_the_call() {
    let texts = [text("a"), text("b")];
    let custom = |column: Column| FieldChoice { custom: Some(column), ..choice("age", &[1, 1]) };
    let of_text = encode(Kind::Text, texts.iter());
    let short = encode(Kind::Int, [Value::Int(1)].iter());
    let unknown = Column { kind: 99, ..encode(Kind::Null, [Value::Null, Value::Null].iter()) };
    for (name, given) in [
        ("choices", answer(vec![choice("name", &[1])])),
        ("a field twice", answer(vec![choice("name", &[1, 1]), choice("name", &[1, 1])])),
        ("another kind", answer(vec![custom(of_text.clone())])),
        ("rows of the custom column", answer(vec![custom(short.clone())])),
        ("unknown kind", answer(vec![custom(unknown)])),
        ("dispositions", BatchResolution { disposition: vec![0; 3], ..answer(vec![]) }),
        ("reasons that are no texts", BatchResolution { reasons: Some(short), ..answer(vec![]) }),
        ("a long name", answer(vec![choice(&"n".repeat(1_000), &[])])),
    ] {
        assert!(decode(&given).is_err(), "{name}");
    }
    assert_eq!(of_text.kind, kind_code(Kind::Text));
}

#[test]
fn simple_answers_are_typed_by_the_field() {
    let contested = two();
    let read = |answer: &str| simple_resolution(answer, &contested[0], 100);
    let both = [("name", Choice::Source), ("age", Choice::Target)];
    assert_eq!(read(r#"{"age": 3, "name": "s", "more": 1}"#), Ok(settled(&both)));
    assert_eq!(read(r#"{"age": 9}"#), Ok(settled(&[("age", Choice::Custom(Value::Int(9)))])));
    assert_eq!(read(r#"{"age": null}"#), Ok(settled(&[("age", Choice::Custom(Value::Null))])));
    assert_eq!(read("null"), Ok(Resolution::Review { reason: String::new() }));
    for wrong in [r#"{"age": "x"}"#, r#"{"age": 1.5}"#, "[]", "", "\"review\""] {
        assert_eq!(read(wrong).unwrap_err().code, "bad-output", "{wrong}");
    }
    let long = format!("{{\"name\": \"{}\"}}", "x".repeat(70_000));
    assert_eq!(read(&long).unwrap_err().code, "output-limit");
    assert!(simple_rows(&[], &contested, &[1, 1], &PluginLimits::default()).is_err());
}
