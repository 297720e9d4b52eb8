//! Guarded writes.

use tidelock::connector::{Write, WriteOutcome};
use tidelock::error::ErrorKind;
use tidelock::record::{Key, Record};
use tidelock::value::{Kind, Value};

use super::{Factory, Field, Opened, TableSpec, key, person, shown};

/// Writes one.
pub async fn one(opened: &Opened, write: Write) -> WriteOutcome {
    let mut outcomes = opened.target.write(&[write]).await.expect("write");
    assert_eq!(outcomes.len(), 1);
    outcomes.pop().unwrap()
}

pub fn create(record: Record) -> Write {
    Write::Create { record }
}

fn name(text: &str) -> Record {
    Record::of([("name", Field::from(text).0)])
}

fn update(id: i64, fields: Record, guard: Option<Record>) -> Write {
    Write::Update { key: key(id), fields, guard }
}

fn delete(id: i64, guard: Option<Record>) -> Write {
    Write::Delete { key: key(id), guard }
}

#[track_caller]
fn applied(outcome: WriteOutcome) -> (Key, Option<Record>) {
    match outcome {
        WriteOutcome::Applied { key, stored } => (key, stored),
        other => panic!("not applied: {other:?}"),
    }
}

#[track_caller]
fn assert_changed(outcome: WriteOutcome) {
    assert!(matches!(outcome, WriteOutcome::Changed), "{outcome:?}");
}

pub async fn create_returns_what_is_stored(factory: &dyn Factory) {
    let opened = Opened::new(factory, &TableSpec::people().with_default("tier", Kind::Text, "'basic'")).await;
    let outcome = one(&opened, create(person(7, "Ann", 30))).await;
    let mut expected = person(7, "Ann", 30);
    expected.set("tier", Field::from("basic").0);
    let (created, stored) = applied(outcome);
    assert_eq!((created, stored.as_ref()), (key(7), Some(&expected)), "defaults included");
    assert_eq!(opened.get(7).await, stored);
}

pub async fn create_of_an_existing_record_changes_nothing(factory: &dyn Factory) {
    let opened = Opened::new(factory, &TableSpec::people().column("email", Kind::Text).unique(&["email"])).await;
    let mut ann = person(1, "Ann", 30);
    ann.set("email", Field::from("a@x").0);
    opened.create(vec![ann.clone()]).await;
    assert_changed(one(&opened, create(person(1, "Bob", 31))).await);
    let mut other = person(2, "Bob", 31);
    other.set("email", Field::from("a@x").0);
    assert_changed(one(&opened, create(other)).await);
    assert_eq!(opened.get(1).await, Some(ann));
    assert_eq!(opened.get(2).await, None);
}

pub async fn a_generated_key_is_returned(factory: &dyn Factory) {
    let opened = Opened::new(factory, &TableSpec::people().generated()).await;
    let (first, stored) = applied(one(&opened, create(name("Ann"))).await);
    let (second, _) = applied(one(&opened, create(name("Ann"))).await);
    assert_ne!(first, second);
    assert_eq!(stored.unwrap().key(&["id"]), Some(first.clone()));
    assert_eq!(opened.target.fetch(&[first]).await.unwrap().len(), 1);
    // A given one is taken.
    let (third, _) = applied(one(&opened, create(person(1000, "Bob", 1))).await);
    assert_eq!(third, key(1000));
}

pub async fn update_with_a_guard(factory: &dyn Factory) {
    let opened = Opened::new(factory, &TableSpec::people()).await;
    opened.create(vec![person(1, "Ann", 30)]).await;
    let (updated, stored) = applied(one(&opened, update(1, name("Anna"), Some(person(1, "Ann", 30)))).await);
    assert_eq!((updated, stored), (key(1), Some(person(1, "Anna", 30))));
    assert_changed(one(&opened, update(1, name("Bob"), Some(name("Ann")))).await);
    assert_changed(one(&opened, update(2, name("Bob"), Some(name("Ann")))).await);
    assert_eq!(opened.get(1).await, Some(person(1, "Anna", 30)));
    // The same again: it is there already.
    applied(one(&opened, update(1, name("Anna"), Some(name("Anna")))).await);
}

pub async fn update_without_guard(factory: &dyn Factory) {
    let opened = Opened::new(factory, &TableSpec::people()).await;
    opened.create(vec![person(1, "Ann", 30)]).await;
    let (_, stored) = applied(one(&opened, update(1, name("Bob"), None)).await);
    assert_eq!(stored, Some(person(1, "Bob", 30)));
    assert_changed(one(&opened, update(2, name("Bob"), None)).await);
}

pub async fn update_of_the_key(factory: &dyn Factory) {
    let opened = Opened::new(factory, &TableSpec::people()).await;
    opened.create(vec![person(1, "Ann", 30), person(2, "Bob", 31)]).await;
    let to = |id: i64| Record::of([("id", Value::Int(id))]);
    let (moved, stored) = applied(one(&opened, update(1, to(9), Some(name("Ann")))).await);
    assert_eq!((moved, stored), (key(9), Some(person(9, "Ann", 30))), "the new key");
    assert_eq!(opened.get(1).await, None);
    let taken = one(&opened, update(9, to(2), None)).await;
    assert!(!matches!(taken, WriteOutcome::Applied { .. }), "{taken:?}");
    assert_eq!(opened.get(2).await, Some(person(2, "Bob", 31)));
}

pub async fn delete_with_a_guard(factory: &dyn Factory) {
    let opened = Opened::new(factory, &TableSpec::people()).await;
    opened.create((1..=3).map(|id| person(id, "Ann", 30)).collect()).await;
    assert_changed(one(&opened, delete(1, Some(name("Bob")))).await);
    assert!(opened.get(1).await.is_some());
    assert_eq!(applied(one(&opened, delete(1, Some(name("Ann")))).await), (key(1), None));
    assert_eq!(opened.get(1).await, None);
    assert_eq!(applied(one(&opened, delete(1, Some(name("Ann")))).await), (key(1), None), "gone already");
    assert_eq!(applied(one(&opened, delete(2, None)).await), (key(2), None));
    assert_eq!(applied(one(&opened, delete(99, None)).await), (key(99), None));
    assert_eq!(opened.get(3).await, Some(person(3, "Ann", 30)));
}

pub async fn null_and_absent_differ(factory: &dyn Factory) {
    let opened = Opened::new(factory, &TableSpec::people().with_default("tier", Kind::Text, "'basic'")).await;
    let mut with_null = person(1, "Ann", 30);
    with_null.set("tier", Value::Null);
    opened.create(vec![with_null.clone(), person(2, "Bob", 31)]).await;
    assert_eq!(opened.get(1).await, Some(with_null), "null is written, not the default");
    assert_eq!(opened.get(2).await.unwrap().get("tier"), Some(&Field::from("basic").0), "absent takes the default");
    let age = Record::of([("age", Value::Null)]);
    let (_, stored) = applied(one(&opened, update(2, age.clone(), Some(person(2, "Bob", 31)))).await);
    let stored = stored.unwrap();
    assert_eq!((stored.get("age"), stored.get("name")), (Some(&Value::Null), Some(&Field::from("Bob").0)));
    // Null as an assumption holds for null, and for nothing else.
    applied(one(&opened, update(2, name("Bobby"), Some(age.clone()))).await);
    assert_changed(one(&opened, update(1, name("Anna"), Some(age))).await);
}

pub async fn a_bad_record_fails_alone(factory: &dyn Factory) {
    let spec = TableSpec::people().required("email", Kind::Text).column("parent", Kind::Int);
    let opened = Opened::new(factory, &spec).await;
    let with = |id: i64, email: Value| {
        let mut record = person(id, "x", id);
        record.set("email", email);
        record
    };
    opened.create(vec![with(10, Field::from("z").0), with(11, Field::from("z").0)]).await;
    let null = Record::of([("email", Value::Null)]);
    let writes = vec![
        create(with(1, Field::from("a").0)),
        create(with(2, Value::Null)),
        create(with(3, Field::from("c").0)),
        update(10, null.clone(), Some(Record::of([("name", Field::from("x").0)]))),
        update(11, null, None),
        delete(10, None),
        create(with(4, Field::from("d").0)),
    ];
    let outcomes = write_halving(&opened, &writes).await;
    let failed: Vec<usize> = outcomes
        .iter()
        .enumerate()
        .filter(|(_, one)| matches!(one, WriteOutcome::Failed(_)))
        .map(|(at, _)| at)
        .collect();
    assert_eq!(failed, [1, 3, 4], "{outcomes:?}");
    for outcome in &outcomes {
        if let WriteOutcome::Failed(error) = outcome {
            assert_eq!(error.kind, ErrorKind::InvalidRecord, "{error}");
        }
    }
    let there: Vec<bool> = {
        let keys: Vec<Key> = [1, 2, 3, 4, 10, 11].into_iter().map(key).collect();
        opened.target.fetch(&keys).await.unwrap().iter().map(Option::is_some).collect()
    };
    assert_eq!(there, [true, false, true, true, false, true]);
}

/// Writes as the pipeline does: halves a batch that is refused as a whole.
pub async fn write_halving(opened: &Opened, writes: &[Write]) -> Vec<WriteOutcome> {
    let (mut outcomes, mut waiting) = (Vec::new(), vec![writes.to_vec()]);
    while let Some(batch) = waiting.pop() {
        match opened.target.write(&batch).await {
            Ok(done) => outcomes.extend(done),
            Err(error) if error.kind == ErrorKind::InvalidRecord && batch.len() == 1 => {
                outcomes.push(WriteOutcome::Failed(error));
            }
            Err(error) => {
                assert_eq!(error.kind, ErrorKind::InvalidRecord, "{error}");
                let (first, second) = batch.split_at(batch.len() / 2);
                waiting.push(second.to_vec());
                waiting.push(first.to_vec());
            }
        }
    }
    outcomes
}

pub async fn outcomes_keep_the_order(factory: &dyn Factory) {
    let opened = Opened::new(factory, &TableSpec::people()).await;
    opened.create((1..=3).map(|id| person(id, "x", id)).collect()).await;
    let writes = vec![
        delete(3, None),
        create(person(2, "y", 2)),
        update(1, name("z"), Some(name("x"))),
        create(person(4, "y", 4)),
        update(9, name("z"), None),
        // The same record twice in one batch: the second sees the first.
        update(1, name("w"), Some(name("z"))),
        delete(4, Some(name("y"))),
    ];
    let outcomes = opened.target.write(&writes).await.unwrap();
    let applied: Vec<Option<Key>> = outcomes
        .into_iter()
        .map(|outcome| match outcome {
            WriteOutcome::Applied { key, .. } => Some(key),
            WriteOutcome::Changed => None,
            WriteOutcome::Failed(error) => panic!("{error}"),
        })
        .collect();
    assert_eq!(applied, [Some(key(3)), None, Some(key(1)), Some(key(4)), None, Some(key(1)), Some(key(4))]);
    assert_eq!(opened.get(1).await, Some(person(1, "w", 1)));
}

pub async fn guards_see_every_difference(factory: &dyn Factory) {
    let opened = Opened::new(factory, &super::describe::every_kind(factory)).await;
    let mut id = 0;
    for kind in factory.kinds() {
        let column = super::describe::column_of(kind);
        let values: Vec<Value> =
            super::values::samples(kind).into_iter().filter(|value| factory.holds(value)).collect();
        for value in values.iter().chain([&Value::Null]) {
            id += 1;
            let of = |value: &Value| Record::of([(column.clone(), value.clone())]);
            let mut record = of(value);
            record.set("id", Value::Int(id));
            opened.create(vec![record]).await;
            for other in values.iter().chain([&Value::Null]).filter(|other| *other != value) {
                let outcome = one(&opened, update(id, of(value), Some(of(other)))).await;
                assert!(
                    matches!(outcome, WriteOutcome::Changed),
                    "{} is not {}: {outcome:?}",
                    shown(value),
                    shown(other)
                );
            }
            let outcome = one(&opened, update(id, of(value), Some(of(value)))).await;
            assert!(matches!(outcome, WriteOutcome::Applied { .. }), "{}: {outcome:?}", shown(value));
        }
    }
}

pub async fn an_empty_batch_is_nothing(factory: &dyn Factory) {
    let opened = Opened::new(factory, &TableSpec::people()).await;
    assert!(opened.target.write(&[]).await.unwrap().is_empty());
    let none = opened.target.upsert(&[]).await.unwrap();
    assert_eq!((none.written, none.unchanged), (0, 0));
    assert_eq!(opened.target.delete_by_correlation(&[]).await.unwrap(), 0);
    assert!(opened.target.find(&opened.schema.key, &[]).await.unwrap().is_empty());
    assert!(opened.target.change_times(&[]).await.unwrap().is_empty());
    assert!(opened.target.marks("run", 1).await.unwrap().unwrap_or_default().is_empty());
}
