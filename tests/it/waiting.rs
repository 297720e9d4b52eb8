//! Who waits for whom, as the state store keeps it: no wake-up is lost, and a circle is seen by each pair that is in it.

use tidelock::change::{End, Ends};
use tidelock::record::{Key, Record};
use tidelock::state::sqlite::SqliteState;
use tidelock::state::{Commit, Finding, Link, Parent, ReviewFilter, ReviewKind, StateStore};
use tidelock::value::Value;

fn key(id: i64) -> Key {
    Key(vec![Value::Int(id)])
}

async fn state() -> SqliteState {
    SqliteState::open("sqlite://:memory:", true).await.unwrap()
}

/// A record of the source that waits for one of the source of `parent`.
fn waits(child: i64, parent: &str, id: i64) -> Finding {
    let waits_for = Some(Parent { pair: parent.into(), end: End::Source, key: key(id) });
    let finding = Finding::new(End::Source, key(child), ReviewKind::Waiting, "lookup.no_parent", "waits");
    Finding { waits_for, ..finding }
}

async fn file(state: &SqliteState, pair: &str, findings: Vec<Finding>) {
    state.commit(pair, &Commit { reviews: findings, ..Commit::default() }).await.unwrap();
}

async fn link(state: &SqliteState, pair: &str, id: i64, live: bool) {
    let base = live.then(|| Ends::from_fn(|_| Record::of([("id", Value::Int(id))])));
    let links = vec![Link { keys: Ends { source: key(id), target: key(id + 1000) }, base, gone: None }];
    state.commit(pair, &Commit { links, ..Commit::default() }).await.unwrap();
}

async fn arrived(state: &SqliteState, pair: &str) -> Vec<Key> {
    let arrived = state.arrived(pair, 10).await.unwrap();
    assert_eq!(state.progress(pair).await.unwrap().arrived, !arrived.is_empty());
    arrived.into_iter().map(|(_, key)| key).collect()
}

async fn circles(state: &SqliteState, pair: &str) -> Vec<Key> {
    state.circles(pair, 100).await.unwrap().into_iter().map(|(_, key)| key).collect()
}

#[tokio::test]
async fn a_parent_arrives_before_or_after_its_child_waits() {
    let state = state().await;
    file(&state, "tasks", vec![waits(1, "users", 7), waits(2, "users", 8)]).await;
    assert!(state.progress("tasks").await.unwrap().waiting);
    assert_eq!(arrived(&state, "tasks").await, []);
    link(&state, "others", 7, true).await;
    link(&state, "users", 7, false).await;
    assert_eq!(arrived(&state, "tasks").await, [], "another pair's record, and a tombstone");
    link(&state, "users", 7, true).await;
    assert_eq!(arrived(&state, "tasks").await, [key(1)]);
    // It was linked while its child was on its way here.
    file(&state, "tasks", vec![waits(3, "users", 7)]).await;
    assert_eq!(arrived(&state, "tasks").await, [key(1), key(3)]);
    // From the other side.
    let parent = Parent { pair: "users".into(), end: End::Target, key: key(1007) };
    file(&state, "tasks", vec![Finding { waits_for: Some(parent.clone()), ..waits(4, "users", 0) }]).await;
    assert_eq!(arrived(&state, "tasks").await, [key(1), key(3), key(4)]);
    let reviews = state.reviews(&ReviewFilter::pair("tasks"), 10).await.unwrap();
    assert_eq!(reviews.last().unwrap().finding.waits_for, Some(parent));
}

#[tokio::test]
async fn what_goes_on_waits_no_more() {
    let state = state().await;
    file(&state, "tasks", vec![waits(1, "users", 7), waits(2, "users", 7), waits(3, "users", 7)]).await;
    let cleared = vec![(End::Source, key(1))];
    let refused = Finding::new(End::Source, key(2), ReviewKind::Rejected, "invalid-phone", "why");
    state.commit("tasks", &Commit { cleared, reviews: vec![refused], ..Commit::default() }).await.unwrap();
    let summary = state.summaries().await.unwrap().into_iter().find(|summary| summary.pair == "tasks").unwrap();
    assert_eq!((summary.waiting, summary.reviews), (1, 1));
    link(&state, "users", 7, true).await;
    assert_eq!(arrived(&state, "tasks").await, [key(3)]);
    // Looked at again, it waits for something else.
    file(&state, "tasks", vec![waits(3, "users", 8)]).await;
    assert_eq!(arrived(&state, "tasks").await, []);
}

#[tokio::test]
async fn circles_are_seen_by_every_pair_in_them() {
    let state = state().await;
    // 1 for itself; 2, 3 and 4 in a round; 5 for one of them; 6 for nobody who waits.
    let own = [(1, 1), (2, 3), (3, 4), (4, 2), (5, 2), (6, 99)];
    file(&state, "staff", own.map(|(child, parent)| waits(child, "staff", parent)).to_vec()).await;
    assert_eq!(circles(&state, "staff").await, [1, 2, 3, 4].map(key));
    file(&state, "accounts", vec![waits(1, "contacts", 20), waits(2, "contacts", 21)]).await;
    assert_eq!(circles(&state, "accounts").await, []);
    file(&state, "contacts", vec![waits(20, "accounts", 1), waits(21, "accounts", 9)]).await;
    assert_eq!((circles(&state, "accounts").await, circles(&state, "contacts").await), (vec![key(1)], vec![key(20)]));
    // A link opens it.
    link(&state, "accounts", 1, true).await;
    assert_eq!(arrived(&state, "contacts").await, [key(20)]);
    assert_eq!(circles(&state, "contacts").await, []);
}

#[tokio::test]
async fn a_very_long_circle_is_left_to_a_person() {
    for (length, found) in [(16, 16), (17, 0)] {
        let state = state().await;
        let round = (0..length).map(|child| waits(child, "staff", (child + 1) % length));
        file(&state, "staff", round.collect()).await;
        assert_eq!(circles(&state, "staff").await.len(), found, "{length}");
    }
}
