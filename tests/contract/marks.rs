//! What a system keeps of writes in the transaction that does them, and what a replay finds of it.

use tidelock::connector::marks::fates;
use tidelock::connector::{Mark, Write, WriteOutcome};
use tidelock::record::{Key, Record};
use tidelock::value::Value;

use super::{Factory, Field, Opened, TableSpec, key};

fn named(name: &str) -> Record {
    Record::of([("name", Field::from(name).0)])
}

fn mark(number: i64, first: usize) -> Mark<'static> {
    Mark { run: "run", number, since: number, first }
}

/// For each of `count` writes whether it was done, and the key that was made for it.
async fn told(opened: &Opened, number: i64, count: usize) -> Vec<Option<Option<Key>>> {
    let kept = opened.target.marks("run", number).await.unwrap().unwrap_or_default();
    let key = |fields: Option<Record>| fields.and_then(|fields| fields.key(&["id"]));
    fates(&kept, count).unwrap().into_iter().map(|fate| fate.map(key)).collect()
}

fn key_of(outcome: &WriteOutcome) -> Option<Key> {
    match outcome {
        WriteOutcome::Applied { key, .. } => Some(key.clone()),
        WriteOutcome::Changed | WriteOutcome::Failed(_) => None,
    }
}

pub async fn marks_say_what_was_done_and_which_keys_were_made(factory: &dyn Factory) {
    let opened = Opened::new(factory, &TableSpec::people().generated()).await;
    assert_eq!(told(&opened, 1, 1).await, [None], "nothing was written");
    let creates = [named("Ann"), named("Bob")].map(|record| Write::Create { record });
    let outcomes = opened.target.write_marked(&creates, Some(mark(1, 0))).await.unwrap();
    let made: Vec<Option<Key>> = outcomes.iter().map(key_of).collect();
    assert!(made[0].is_some() && made[1].is_some() && made[0] != made[1], "{made:?}");
    // The rest of the same intention, in a transaction of its own: one guard does not hold.
    let ann = made[0].clone().unwrap();
    let renamed =
        |from: &str, to: &str| Write::Update { key: ann.clone(), fields: named(to), guard: Some(named(from)) };
    let rest = [renamed("nobody", "x"), renamed("Ann", "Eve"), Write::Delete { key: key(77), guard: None }];
    opened.target.write_marked(&rest, Some(mark(1, 2))).await.unwrap();
    let told_of = |key: &Option<Key>| Some(key.clone());
    let expected = [told_of(&made[0]), told_of(&made[1]), None, Some(None), Some(None), None];
    assert_eq!(told(&opened, 1, 6).await, expected);
    let others = opened.target.marks("another run", 1).await.unwrap().unwrap_or_default();
    assert!(others.is_empty(), "a restored state file gives numbers again");
}

pub async fn a_write_that_is_undone_leaves_no_mark(factory: &dyn Factory) {
    let opened = Opened::new(factory, &TableSpec::people()).await;
    let record = |id: i64| Record::of([("id", Value::Int(id)), ("name", Field::from("Ann").0)]);
    let create = |id| Write::Create { record: record(id) };
    let outcomes = opened.target.write_marked(&[create(1), create(1)], Some(mark(1, 0))).await.unwrap();
    assert!(matches!(&outcomes[..], [WriteOutcome::Applied { .. }, WriteOutcome::Changed]), "{outcomes:?}");
    let told_of = told(&opened, 1, 2).await;
    assert!(told_of[0].is_some() && told_of[1].is_none(), "{told_of:?}");
    opened.target.write(&[create(2)]).await.unwrap();
    assert_eq!(told(&opened, 2, 1).await, [None], "it was not marked");
}

pub async fn marks_of_others_are_not_seen(factory: &dyn Factory) {
    let opened = Opened::new(factory, &TableSpec::people().generated()).await;
    let other = opened.again(|options| options.consumer = "state.pair-2".to_owned()).await;
    let create = |name: &str| [Write::Create { record: named(name) }];
    opened.target.write_marked(&create("Ann"), Some(mark(1, 0))).await.unwrap();
    assert!(other.target.marks("run", 1).await.unwrap().unwrap_or_default().is_empty());
    other.target.write_marked(&create("Bob"), Some(mark(2, 0))).await.unwrap();
    assert!(told(&opened, 1, 1).await[0].is_some(), "nobody forgets the marks of others");
}

pub async fn old_marks_are_forgotten_with_the_next(factory: &dyn Factory) {
    let opened = Opened::new(factory, &TableSpec::people().generated()).await;
    for number in 1..=3 {
        let create = [Write::Create { record: named("Ann") }];
        // The second is still open when the third is written.
        let mark = Mark { since: number.min(2), ..mark(number, 0) };
        opened.target.write_marked(&create, Some(mark)).await.unwrap();
    }
    let mut found = Vec::new();
    for number in 1..=3 {
        found.push(told(&opened, number, 1).await[0].is_some());
    }
    assert_eq!(found, [false, true, true]);
}
