//! Changes, as an updated-at column shows them.

use std::time::Duration;

use tidelock::change::{Change, Position};
use tidelock::config::CaptureMethod;
use tidelock::connector::Source;
use tidelock::record::Key;
use tidelock::value::Kind;

use super::{Factory, Opened, TableSpec, key};

const OVERLAP: Duration = Duration::from_secs(5);

async fn opened(factory: &dyn Factory) -> Opened {
    let spec = TableSpec::people().column("changed", Kind::Instant);
    Opened::with(factory.create(&spec).await, |options| {
        options.capture = CaptureMethod::Polling;
        options.updated_at = Some("changed".to_owned());
        options.overlap = OVERLAP;
    })
    .await
}

/// A user's write at a second of a day in 2024.
fn insert(id: i64, second: i64) -> String {
    let (hours, minutes, seconds) = (second / 3600, second / 60 % 60, second % 60);
    format!("INSERT INTO {{t}} (id, changed) VALUES ({id}, '2024-05-01 {hours:02}:{minutes:02}:{seconds:02}Z')")
}

/// Reads until nothing more is said to be there. Keys in order of delivery.
async fn drain(source: &mut dyn Source, position: &mut Position, max: usize) -> Vec<Change> {
    let mut changes = Vec::new();
    loop {
        let batch = source.next_batch(position, max).await.expect("next_batch");
        *position = batch.through;
        assert!(batch.changes.len() <= max + 1);
        changes.extend(batch.changes);
        assert!(changes.len() < 10_000, "no end");
        if !batch.more {
            return changes;
        }
    }
}

fn keys(changes: &[Change]) -> Vec<Key> {
    changes.iter().map(|change| change.key.clone()).collect()
}

pub async fn changes_are_found(factory: &dyn Factory) {
    let mut opened = opened(factory).await;
    opened.sql(&insert(1, 100)).await;
    let mut position = opened.start().await;
    assert!(!opened.source.capabilities().deletes);
    assert_eq!(keys(&drain(&mut *opened.source, &mut position, 10).await), [], "what is there is behind the head");
    opened.sql(&insert(2, 200)).await;
    opened.sql(&insert(3, 150)).await;
    let changes = drain(&mut *opened.source, &mut position, 10).await;
    assert_eq!(keys(&changes), [key(3), key(2)], "in the order of their times");
    let at = |second: i64| Some(1_714_521_600_000_000 + second * 1_000_000);
    assert_eq!(changes.iter().map(|change| change.at).collect::<Vec<_>>(), [at(150), at(200)]);
    assert_eq!(opened.target.change_times(&[key(3), key(9)]).await.unwrap(), [at(150), None]);
    for change in &changes {
        if let Some(image) = &change.image {
            assert_eq!(image.key(&["id"]), Some(change.key.clone()));
        }
    }
    opened.sql("UPDATE {t} SET name = 'x', changed = '2024-05-01 01:00:00Z' WHERE id = 1").await;
    assert_eq!(keys(&drain(&mut *opened.source, &mut position, 10).await), [key(1)]);
}

pub async fn an_idle_collection_is_quiet(factory: &dyn Factory) {
    let mut opened = opened(factory).await;
    let mut position = opened.start().await;
    for id in 1..=20 {
        opened.sql(&insert(id, 100 + id / 10)).await;
    }
    assert_eq!(drain(&mut *opened.source, &mut position, 3).await.len(), 20);
    let mut idle = drain(&mut *opened.source, &mut position, 3).await.len();
    for _ in 0..3 {
        let before = position.clone();
        idle += drain(&mut *opened.source, &mut position, 3).await.len();
        assert_eq!(before, position, "an idle source stores nothing new");
    }
    assert_eq!(idle, 0, "nothing is delivered twice for ever");
}

pub async fn equal_times_hide_nothing(factory: &dyn Factory) {
    let mut opened = opened(factory).await;
    let mut position = opened.start().await;
    opened.sql(&insert(1, 100)).await;
    opened.sql(&insert(2, 100)).await;
    assert_eq!(drain(&mut *opened.source, &mut position, 10).await.len(), 2);
    // Within the same tick of the users' clock.
    opened.sql(&insert(3, 100)).await;
    opened.sql("UPDATE {t} SET name = 'again' WHERE id = 1").await;
    let mut found = keys(&drain(&mut *opened.source, &mut position, 10).await);
    found.sort();
    assert_eq!(found, [key(1), key(3)]);
}

pub async fn late_commits_are_found(factory: &dyn Factory) {
    let mut opened = opened(factory).await;
    let mut position = opened.start().await;
    opened.sql(&insert(1, 100)).await;
    drain(&mut *opened.source, &mut position, 10).await;
    // Began before the other and was committed after it was read.
    opened.sql(&insert(2, 97)).await;
    assert_eq!(keys(&drain(&mut *opened.source, &mut position, 10).await), [key(2)]);
    opened.sql(&insert(3, 98)).await;
    opened.sql(&insert(4, 140)).await;
    assert_eq!(keys(&drain(&mut *opened.source, &mut position, 10).await), [key(3), key(4)]);
    // Later than that nobody is waited for.
    opened.sql(&insert(5, 50)).await;
    assert_eq!(keys(&drain(&mut *opened.source, &mut position, 10).await), []);
}

pub async fn a_replay_delivers_again(factory: &dyn Factory) {
    let mut opened = opened(factory).await;
    let mut position = opened.start().await;
    opened.sql(&insert(1, 100)).await;
    drain(&mut *opened.source, &mut position, 10).await;
    opened.sql(&insert(2, 101)).await;
    for _ in 0..3 {
        let batch = opened.source.next_batch(&position, 10).await.unwrap();
        assert!(keys(&batch.changes).contains(&key(2)), "{:?}", keys(&batch.changes));
    }
    let mut restarted = opened
        .again(|options| {
            options.capture = CaptureMethod::Polling;
            options.updated_at = Some("changed".to_owned());
            options.overlap = OVERLAP;
        })
        .await;
    restarted.source.prepare().await.unwrap();
    assert!(keys(&drain(&mut *restarted.source, &mut position, 10).await).contains(&key(2)));
    assert_eq!(keys(&drain(&mut *restarted.source, &mut position, 10).await), []);
}

pub async fn every_batch_size(factory: &dyn Factory) {
    for max in 1..=8 {
        let mut opened = opened(factory).await;
        let mut position = opened.start().await;
        for (id, second) in [(1, 100), (2, 100), (3, 100), (4, 101), (5, 400), (6, 401), (7, 402)] {
            opened.sql(&insert(id, second)).await;
        }
        let first = drain(&mut *opened.source, &mut position, max).await;
        assert_eq!(keys(&first), (1..=7).map(key).collect::<Vec<_>>(), "batches of {max}");
        opened.sql(&insert(8, 399)).await;
        opened.sql(&insert(9, 403)).await;
        assert_eq!(keys(&drain(&mut *opened.source, &mut position, max).await), [key(8), key(9)], "batches of {max}");
    }
}
