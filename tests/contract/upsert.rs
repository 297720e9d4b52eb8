//! Unguarded bulk writes.

use tidelock::connector::{ScanOrder, Upserted};
use tidelock::error::ErrorKind;
use tidelock::record::{Key, KeyRange, Record};
use tidelock::value::{Kind, Value};

use super::{Factory, Field, Opened, TableSpec, key, person, scan_all, strings};

/// Written and unchanged, where nothing was refused.
fn of(done: Upserted) -> (u64, u64) {
    assert!(done.refused.is_empty(), "{done:?}");
    (done.written, done.unchanged)
}

pub async fn counts_inserts_changes_and_equals(factory: &dyn Factory) {
    let opened = Opened::new(factory, &TableSpec::people()).await;
    let upsert = async |records: &[Record]| of(opened.target.upsert(records).await.unwrap());
    assert_eq!(upsert(&[person(1, "a", 1), person(2, "b", 2)]).await, (2, 0));
    assert_eq!(upsert(&[person(1, "a", 1), person(2, "B", 2), person(3, "c", 3)]).await, (2, 1));
    assert_eq!(upsert(&[person(1, "a", 1), person(2, "B", 2), person(3, "c", 3)]).await, (0, 3), "nothing to do");
    let mut null = person(3, "c", 3);
    null.set("age", Value::Null);
    assert_eq!(upsert(std::slice::from_ref(&null)).await, (1, 0));
    assert_eq!(upsert(std::slice::from_ref(&null)).await, (0, 1), "null equals null");
    assert_eq!(opened.get(2).await, Some(person(2, "B", 2)), "capitals are a difference");
    assert_eq!(opened.get(3).await, Some(null));
}

pub async fn absent_fields_are_left_alone(factory: &dyn Factory) {
    let opened = Opened::new(factory, &TableSpec::people().with_default("tier", Kind::Text, "'basic'")).await;
    let part = |id: i64, field: &str, value: Value| Record::of([("id", Value::Int(id)), (field, value)]);
    opened.target.upsert(&[person(1, "a", 1)]).await.unwrap();
    let mixed = [
        part(1, "age", Value::Int(7)),
        part(2, "name", Field::from("b").0),
        part(3, "tier", Value::Null),
        part(4, "age", Value::Null),
    ];
    assert_eq!(of(opened.target.upsert(&mixed).await.unwrap()), (4, 0));
    let stored = opened.get(1).await.unwrap();
    assert_eq!((stored.get("name"), stored.get("age")), (Some(&Field::from("a").0), Some(&Value::Int(7))));
    assert_eq!(opened.get(2).await.unwrap().get("tier"), Some(&Field::from("basic").0));
    assert_eq!(opened.get(3).await.unwrap().get("tier"), Some(&Value::Null));
    let only_keys = [Record::of([("id", Value::Int(1))]), Record::of([("id", Value::Int(9))])];
    assert_eq!(of(opened.target.upsert(&only_keys).await.unwrap()), (1, 1));
    assert!(opened.get(9).await.is_some());
}

pub async fn many_records(factory: &dyn Factory) {
    let opened = Opened::new(factory, &TableSpec::people()).await;
    let records: Vec<Record> = (1..=10_000).map(|id| person(id, &format!("name {id}"), id % 90)).collect();
    assert_eq!(of(opened.target.upsert(&records).await.unwrap()), (10_000, 0));
    let again: Vec<Record> =
        (5_001..=15_000).map(|id| person(id, &format!("name {id}"), if id % 2 == 0 { 99 } else { id % 90 })).collect();
    assert_eq!(of(opened.target.upsert(&again).await.unwrap()), (5_000 + 2_500, 2_500));
    let found = scan_all(&*opened.target, ScanOrder::Key(KeyRange::ALL), 1000).await;
    assert_eq!(found.len(), 15_000);
    assert_eq!(opened.get(5_002).await, Some(person(5_002, "name 5002", 99)));
}

pub async fn a_bad_record_is_reported(factory: &dyn Factory) {
    let opened = Opened::new(factory, &TableSpec::people().required("email", Kind::Text)).await;
    let with = |id: i64, email: Value| {
        let mut record = person(id, "x", id);
        record.set("email", email);
        record
    };
    let records: Vec<Record> =
        (1..=100).map(|id| with(id, if id == 50 { Value::Null } else { Field::from("e").0 })).collect();
    let error = opened.target.upsert(&records).await.unwrap_err();
    assert_eq!(error.kind, ErrorKind::InvalidRecord, "{error}");
    assert!(scan_all(&*opened.target, ScanOrder::Key(KeyRange::ALL), 1000).await.is_empty(), "nothing was applied");
    assert_eq!(of(opened.target.upsert(&records[..49]).await.unwrap()), (49, 0));
}

pub async fn by_another_unique_set(factory: &dyn Factory) {
    let fixture = factory.create(&TableSpec::people().generated().column("email", Kind::Text).unique(&["email"])).await;
    let opened = Opened::with(fixture, |options| options.correlation = strings(&["email"])).await;
    let with = |email: &str, name: &str| Record::of([("email", Field::from(email).0), ("name", Field::from(name).0)]);
    assert_eq!(of(opened.target.upsert(&[with("a@x", "Ann"), with("b@x", "Bob")]).await.unwrap()), (2, 0));
    assert_eq!(of(opened.target.upsert(&[with("b@x", "Bobby"), with("a@x", "Ann")]).await.unwrap()), (1, 1));
    let found = opened.target.find(&strings(&["email"]), &[Key(vec![Field::from("b@x").0])]).await.unwrap();
    assert_eq!(found[0].len(), 1);
    assert_eq!(found[0][0].get("name"), Some(&Field::from("Bobby").0));
}

pub async fn delete_by_correlation(factory: &dyn Factory) {
    let opened = Opened::new(factory, &TableSpec::people()).await;
    opened.create((1..=300).map(|id| person(id, "x", id)).collect()).await;
    let keys: Vec<Key> = (200..=400).map(key).collect();
    assert_eq!(opened.target.delete_by_correlation(&keys).await.unwrap(), 101);
    assert_eq!(opened.target.delete_by_correlation(&keys).await.unwrap(), 0);
    assert_eq!(scan_all(&*opened.target, ScanOrder::Key(KeyRange::ALL), 1000).await.len(), 199);
}
