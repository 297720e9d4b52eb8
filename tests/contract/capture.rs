//! Changes, as a log delivers them.

use std::time::{Duration, Instant};

use tidelock::change::Op;
use tidelock::connector::Write;
use tidelock::record::{Key, Record};
use tidelock::value::{Kind, Value};

use super::{Factory, Field, Opened, TIMEOUT, TableSpec, brief, key, person, read_through, read_until};

fn upsert(id: i64) -> (Key, Op) {
    (key(id), Op::Upsert)
}

fn delete(id: i64) -> (Key, Op) {
    (key(id), Op::Delete)
}

pub async fn insert_update_and_delete(factory: &dyn Factory) {
    let mut opened = Opened::new(factory, &TableSpec::people()).await;
    let mut position = opened.start().await;
    assert!(opened.source.capabilities().deletes);
    opened.sql("INSERT INTO {t} (id, name, age) VALUES (1, 'a', 1), (2, 'b', 2)").await;
    opened.sql("UPDATE {t} SET name = 'c' WHERE id = 2").await;
    opened.sql("DELETE FROM {t} WHERE id = 1").await;
    opened.sql("INSERT INTO {t} (id) VALUES (3)").await;
    let changes = read_through(&mut *opened.source, &mut position, 100, &key(3)).await;
    assert_eq!(changes.iter().map(brief).collect::<Vec<_>>(), [upsert(1), upsert(2), upsert(2), delete(1), upsert(3)]);
    let now = i64::try_from(std::time::UNIX_EPOCH.elapsed().unwrap().as_micros()).unwrap();
    let mut last = 0;
    for change in &changes {
        let at = change.at.expect("a log knows when");
        assert!(at >= last && (now - at).abs() < 3_600_000_000, "{at} is not about {now}");
        last = at;
    }
}

pub async fn a_changed_key_is_two_changes(factory: &dyn Factory) {
    let mut opened = Opened::new(factory, &TableSpec::people()).await;
    let mut position = opened.start().await;
    opened.sql("INSERT INTO {t} (id) VALUES (1)").await;
    opened.sql("UPDATE {t} SET id = 2, name = 'x' WHERE id = 1").await;
    let changes = read_through(&mut *opened.source, &mut position, 100, &key(2)).await;
    assert_eq!(changes.iter().map(brief).collect::<Vec<_>>(), [upsert(1), delete(1), upsert(2)]);
}

pub async fn head_is_behind_what_is_there(factory: &dyn Factory) {
    let mut opened = Opened::new(factory, &TableSpec::people()).await;
    opened.start().await;
    opened.sql("INSERT INTO {t} (id) VALUES (1), (2)").await;
    let mut position = opened.source.head().await.unwrap();
    let batch = opened.source.next_batch(&position, 10).await.unwrap();
    assert!(batch.changes.is_empty() && !batch.more, "{:?}", batch.changes);
    opened.sql("INSERT INTO {t} (id) VALUES (3)").await;
    let changes = read_through(&mut *opened.source, &mut position, 10, &key(3)).await;
    assert_eq!(changes.iter().map(brief).collect::<Vec<_>>(), [upsert(3)]);
}

pub async fn own_writes_are_left_out(factory: &dyn Factory) {
    let mut opened = Opened::new(factory, &TableSpec::people()).await;
    let mut position = opened.start().await;
    opened.create((1..=20).map(|id| person(id, "ours", id)).collect()).await;
    opened.target.upsert(&[person(1, "ours again", 1), person(21, "ours", 1)]).await.unwrap();
    opened.target.delete_by_correlation(&[key(5)]).await.unwrap();
    opened.target.write(&[Write::Delete { key: key(6), guard: None }]).await.unwrap();
    opened.sql("UPDATE {t} SET name = 'theirs' WHERE id = 3").await;
    let before = position.clone();
    let changes = read_through(&mut *opened.source, &mut position, 4, &key(3)).await;
    assert_eq!(changes.iter().map(brief).collect::<Vec<_>>(), [upsert(3)]);
    assert_ne!(before, position, "the position moves over our own");
}

pub async fn others_writes_are_not(factory: &dyn Factory) {
    let mut opened = Opened::new(factory, &TableSpec::people()).await;
    let mut position = opened.start().await;
    let other = opened.again(|options| options.consumer = "state.pair-2".to_owned()).await;
    other.target.upsert(&[person(1, "theirs", 1)]).await.unwrap();
    let changes = read_through(&mut *opened.source, &mut position, 10, &key(1)).await;
    assert_eq!(changes.len(), 1);
}

pub async fn nothing_is_lost_at_any_batch_size(factory: &dyn Factory) {
    let mut opened = Opened::new(factory, &TableSpec::people()).await;
    let start = opened.start().await;
    for id in 1..=9 {
        opened.sql(&format!("INSERT INTO {{t}} (id, name) VALUES ({id}, 'a')")).await;
        opened.create(vec![person(100 + id, "ours", id)]).await;
    }
    opened.sql("UPDATE {t} SET name = 'b' WHERE id <= 9").await;
    opened.sql("INSERT INTO {t} (id) VALUES (50)").await;
    let all = read_through(&mut *opened.source, &mut start.clone(), 1000, &key(50)).await;
    let expected: Vec<_> = (1..=9).map(upsert).chain((1..=9).map(upsert)).chain([upsert(50)]).collect();
    assert_eq!(all.iter().map(brief).collect::<Vec<_>>(), expected);
    for size in 1..=all.len() + 1 {
        // Each batch is read by a new reader, as after a crash, and once more, as after a failure.
        let (mut position, mut found) = (start.clone(), Vec::new());
        while found.len() < expected.len() {
            let mut side = opened.again(|_| ()).await;
            side.source.prepare().await.unwrap();
            let first = side.source.next_batch(&position, size).await.unwrap();
            let again = side.source.next_batch(&position, size).await.unwrap();
            let keys = |changes: &[tidelock::change::Change]| changes.iter().map(brief).collect::<Vec<_>>();
            assert_eq!(keys(&first.changes), keys(&again.changes), "a replay is the same");
            assert!(first.more || !first.changes.is_empty(), "there is more");
            found.extend(keys(&first.changes));
            position = first.through;
        }
        assert_eq!(found, expected, "batches of {size}");
    }
}

pub async fn prepare_twice_is_once(factory: &dyn Factory) {
    let mut opened = Opened::new(factory, &TableSpec::people()).await;
    let incarnation = opened.source.prepare().await.unwrap();
    let mut position = opened.source.head().await.unwrap();
    opened.sql("INSERT INTO {t} (id) VALUES (1)").await;
    assert_eq!(opened.source.prepare().await.unwrap(), incarnation);
    let mut other = opened.again(|options| options.consumer = "state.pair-2".to_owned()).await;
    other.source.prepare().await.unwrap();
    let mut same = opened.again(|_| ()).await;
    assert_eq!(same.source.prepare().await.unwrap(), incarnation, "a restart finds its stream");
    opened.sql("INSERT INTO {t} (id) VALUES (2)").await;
    let changes = read_through(&mut *same.source, &mut position, 10, &key(2)).await;
    assert_eq!(changes.iter().map(brief).collect::<Vec<_>>(), [upsert(1), upsert(2)], "each change once");
}

pub async fn acknowledged_changes_go_when_nobody_needs_them(factory: &dyn Factory) {
    let mut opened = Opened::new(factory, &TableSpec::people()).await;
    let start = opened.start().await;
    let mut other = opened.again(|options| options.consumer = "state.pair-2".to_owned()).await;
    other.source.prepare().await.unwrap();
    // A position is one of its own stream.
    let mut theirs = other.source.head().await.unwrap();
    // A third party writes more than any implementation may keep back for economy.
    let third = opened.again(|options| options.consumer = "state.pair-3".to_owned()).await;
    let people: Vec<Record> = (1..=3000).map(|id| person(id, "x", id)).collect();
    third.target.upsert(&people).await.unwrap();
    let mut ours = start.clone();
    read_through(&mut *opened.source, &mut ours, 1000, &key(3000)).await;
    opened.source.acknowledge(&ours).await.unwrap();
    if opened.fixture.kept_changes().await.is_some() {
        assert_eq!(opened.fixture.kept_changes().await, Some(3000), "the other still needs them");
    }
    let changes = read_through(&mut *other.source, &mut theirs, 1000, &key(3000)).await;
    assert_eq!(changes.len(), 3000);
    other.source.acknowledge(&theirs).await.unwrap();
    let kept = opened.fixture.kept_changes().await;
    assert!(kept.is_none_or(|kept| kept == 0), "{kept:?} are kept for nobody");
    opened.sql("INSERT INTO {t} (id) VALUES (5000)").await;
    for (source, position) in [(&mut opened.source, &mut ours), (&mut other.source, &mut theirs)] {
        let changes = read_through(&mut **source, position, 10, &key(5000)).await;
        assert_eq!(changes.len(), 1, "positions hold after trimming");
    }
}

pub async fn remove_takes_everything_away(factory: &dyn Factory) {
    let mut opened = Opened::new(factory, &TableSpec::people()).await;
    let before = opened.fixture.tracking_objects().await;
    let mut position = opened.start().await;
    assert!(opened.fixture.tracking_objects().await.len() > before.len());
    let mut other = opened.again(|options| options.consumer = "state.pair-2".to_owned()).await;
    other.source.prepare().await.unwrap();
    other.source.remove().await.unwrap();
    opened.sql("INSERT INTO {t} (id) VALUES (1)").await;
    read_through(&mut *opened.source, &mut position, 10, &key(1)).await;
    opened.source.remove().await.unwrap();
    assert_eq!(opened.fixture.tracking_objects().await, before);
    opened.source.remove().await.unwrap();
    opened.sql("INSERT INTO {t} (id) VALUES (2)").await;
    opened.sql("DELETE FROM {t}").await;
}

pub async fn who_comes_back_gets_a_new_incarnation(factory: &dyn Factory) {
    let mut opened = Opened::new(factory, &TableSpec::people()).await;
    let first = opened.source.prepare().await.unwrap();
    let mut other = opened.again(|options| options.consumer = "state.pair-2".to_owned()).await;
    other.source.prepare().await.unwrap();
    opened.source.remove().await.unwrap();
    // Missed by the one that is not registered.
    opened.sql("INSERT INTO {t} (id) VALUES (1)").await;
    let second = opened.source.prepare().await.unwrap();
    assert_ne!(first, second, "positions of before are void");
    let mut position = opened.source.head().await.unwrap();
    opened.sql("INSERT INTO {t} (id) VALUES (2)").await;
    let changes = read_through(&mut *opened.source, &mut position, 10, &key(2)).await;
    assert_eq!(changes.len(), 1);
}

pub async fn wait_ends_at_a_change(factory: &dyn Factory) {
    let mut opened = Opened::new(factory, &TableSpec::people()).await;
    let position = opened.start().await;
    opened.source.next_batch(&position, 10).await.unwrap();
    let began = Instant::now();
    let Opened { fixture, source, .. } = &mut opened;
    // Long enough that only the change can have ended it.
    let (waited, ()) = tokio::join!(source.wait(TIMEOUT * 3), fixture.execute("INSERT INTO {t} (id) VALUES (1)"));
    waited.unwrap();
    assert!(began.elapsed() < TIMEOUT);
    // A change between reading and waiting is not slept over.
    let batch = source.next_batch(&position, 10).await.unwrap();
    fixture.execute("INSERT INTO {t} (id) VALUES (2)").await;
    source.wait(TIMEOUT * 3).await.unwrap();
    assert!(began.elapsed() < TIMEOUT);
    let mut position = batch.through;
    read_through(&mut **source, &mut position, 10, &key(2)).await;
    // Cancelled in the middle, it still works.
    for _ in 0..20 {
        tokio::time::timeout(Duration::from_millis(1), source.wait(TIMEOUT)).await.ok();
    }
    fixture.execute("INSERT INTO {t} (id) VALUES (3)").await;
    read_through(&mut **source, &mut position, 10, &key(3)).await;
}

pub async fn wait_ends_at_its_timeout(factory: &dyn Factory) {
    let mut opened = Opened::new(factory, &TableSpec::people()).await;
    let position = opened.start().await;
    opened.source.next_batch(&position, 10).await.unwrap();
    tokio::time::timeout(TIMEOUT, async {
        opened.source.wait(Duration::ZERO).await.unwrap();
        opened.source.wait(Duration::from_millis(100)).await.unwrap();
    })
    .await
    .expect("wait ends by itself");
}

pub async fn change_times_of_others(factory: &dyn Factory) {
    let mut opened = Opened::new(factory, &TableSpec::people()).await;
    let mut position = opened.start().await;
    opened.sql("INSERT INTO {t} (id) VALUES (1), (2)").await;
    opened.create(vec![person(3, "ours", 3)]).await;
    opened.target.upsert(&[person(2, "ours", 2)]).await.unwrap();
    opened.sql("DELETE FROM {t} WHERE id = 1").await;
    let times = opened.target.change_times(&[key(3), key(2), key(1), key(99), key(1)]).await.unwrap();
    assert_eq!(times.len(), 5);
    assert_eq!((times[0], times[3]), (None, None), "ours, and unknown ones");
    assert_eq!(times[2], times[4]);
    let changes = read_until(&mut *opened.source, &mut position, 10, |changes| {
        changes.last().is_some_and(|change| change.op == Op::Delete)
    })
    .await;
    let of = |key: &Key| changes.iter().rev().find(|change| change.key == *key).and_then(|change| change.at);
    assert_eq!((times[1], times[2]), (of(&key(2)), of(&key(1))), "as the stream says");
}

pub async fn composite_keys_are_captured(factory: &dyn Factory) {
    let spec =
        TableSpec::new().required("b", Kind::Int).required("a", Kind::Text).column("c", Kind::Int).key(&["a", "b"]);
    let mut opened = Opened::new(factory, &spec).await;
    let mut position = opened.start().await;
    let of = |a: &str, b: i64| Key(vec![Field::from(a).0, Value::Int(b)]);
    opened.sql("INSERT INTO {t} (a, b) VALUES ('x', 1), ('X', 1)").await;
    opened.sql("UPDATE {t} SET a = 'Y' WHERE a = 'X'").await;
    opened.sql("DELETE FROM {t} WHERE a = 'x'").await;
    opened.sql("INSERT INTO {t} (a, b) VALUES ('z', 9)").await;
    let changes = read_through(&mut *opened.source, &mut position, 2, &of("z", 9)).await;
    let expected = [
        (of("x", 1), Op::Upsert),
        (of("X", 1), Op::Upsert),
        (of("X", 1), Op::Delete),
        (of("Y", 1), Op::Upsert),
        (of("x", 1), Op::Delete),
        (of("z", 9), Op::Upsert),
    ];
    assert_eq!(changes.iter().map(brief).collect::<Vec<_>>(), expected);
    let times = opened.target.change_times(&[of("X", 1), of("x", 1), of("x", 2)]).await.unwrap();
    assert_eq!(times.iter().map(Option::is_some).collect::<Vec<_>>(), [true, true, false]);
}

pub async fn many_writers_at_once(factory: &dyn Factory) {
    let mut opened = Opened::new(factory, &TableSpec::people()).await;
    let mut position = opened.start().await;
    let Opened { fixture, source, target, .. } = &mut opened;
    let users = async {
        for id in 1..=40 {
            fixture.execute(&format!("INSERT INTO {{t}} (id, name) VALUES ({id}, 'theirs')")).await;
        }
    };
    let ours = async {
        for id in 101..=140 {
            target.upsert(&[person(id, "ours", id)]).await.unwrap();
        }
    };
    let last = key(40);
    let reading = read_through(&mut **source, &mut position, 3, &last);
    let ((), (), changes) = tokio::join!(users, ours, reading);
    assert_eq!(changes.iter().map(brief).collect::<Vec<_>>(), (1..=40).map(upsert).collect::<Vec<_>>());
}
