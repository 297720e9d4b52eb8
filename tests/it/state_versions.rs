//! A state file of an earlier version is brought to this one, with all that is in it.

use tidelock::record::{Key, KeyRange, Record};
use tidelock::state::sqlite::SqliteState;
use tidelock::state::{
    Commit, Conflict, End, Ends, Intended, Intention, LoadProgress, Progress, ReviewKind, StateStore, WriteOp,
};
use tidelock::telemetry::CrashPoint;
use tidelock::value::Value;

use crate::scenarios::{Kind, Setup};

#[tokio::test]
async fn version_1_is_read_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let file = crate::harness::Database::sqlite(folder.path(), "state.db").await;
    file.execute(include_str!("../data/state_version_1.sql")).await;
    file.execute(
        "INSERT INTO meta VALUES ('id', 'abc'), ('version', '1');
         INSERT INTO pairs (name, loaded, source_position, read) VALUES ('customers', 1, '7', 42);
         INSERT INTO reviews (id, pair, side, key, code, message, at) VALUES (5, 1, 'source', x'', 'match.taken', 'why', 9);
         INSERT INTO conflicts (pair, source_key, target_key, winner, rule, at) VALUES (1, x'', x'', 'source', 'system_priority', 9)",
    )
    .await;
    let url = format!("sqlite://{}", folder.path().join("state.db").display());
    for _ in 0..2 {
        let state = SqliteState::open(&url, true).await.unwrap();
        assert_eq!(state.id(), "abc");
        let progress = state.progress("customers").await.unwrap();
        assert!(progress.loaded && progress.mapping.is_none());
        assert_eq!(progress.positions.source.unwrap().0, "7");
        let counts = state.summaries().await.unwrap()[0].counts;
        assert_eq!((counts.read, counts.warnings), (42, 0));
    }
    assert_eq!(file.value("SELECT value FROM meta WHERE name = 'version'").await.as_deref(), Some("6"));
    let state = SqliteState::open(&url, true).await.unwrap();
    let review = state.review(5).await.unwrap().unwrap();
    assert_eq!((review.finding.kind, &*review.finding.message, review.seen), (ReviewKind::Ambiguous, "why", 9));
    let conflict = file.value("SELECT kind || settled FROM conflicts").await;
    assert_eq!(conflict.as_deref(), Some("update_delete1"));
    assert_eq!(file.value("SELECT count(plugin_set) || '' FROM links").await.as_deref(), Some("0"));
}

#[tokio::test]
async fn version_3_is_read_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let file = crate::harness::Database::sqlite(folder.path(), "state.db").await;
    file.execute(include_str!("../data/state_version_3.sql")).await;
    // Key 1 and null, a link that is a tombstone, and a conflict whose write a crash may have prevented.
    file.execute(
        "INSERT INTO meta VALUES ('id', 'abc'), ('version', '3');
         INSERT INTO pairs (name, loaded, target_position, conflicts) VALUES ('customers', 1, '9', 3);
         INSERT INTO links (pair, source_key, target_key) VALUES (1, x'020000000000000001', x'020000000000000001');
         INSERT INTO conflicts (pair, source_key, target_key, kind, winner, rule, at, settled)
           VALUES (1, x'', x'', 'update_update', 'source', 'manual', 9, 0)",
    )
    .await;
    let url = format!("sqlite://{}", folder.path().join("state.db").display());
    for _ in 0..2 {
        let state = SqliteState::open(&url, true).await.unwrap();
        let progress = state.progress("customers").await.unwrap();
        assert_eq!((state.id(), progress.loaded, progress.positions.target.unwrap().0.as_str()), ("abc", true, "9"));
        let one = Key(vec![Value::Int(1)]);
        let links = state.links("customers", End::Source, std::slice::from_ref(&one)).await.unwrap();
        let link = links[0].as_ref().unwrap();
        assert_eq!((&link.keys.target, &link.base), (&one, &None));
        assert!(state.intentions("customers").await.unwrap().is_empty());
        assert_eq!(state.summaries().await.unwrap()[0].counts.conflicts, 3);
    }
    assert_eq!(file.value("SELECT value FROM meta WHERE name = 'version'").await.as_deref(), Some("6"));
    assert_eq!(file.value("SELECT count(*) || '' FROM conflicts WHERE settled = 0").await.as_deref(), Some("1"));
}

#[tokio::test]
async fn version_5_is_read_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let file = crate::harness::Database::sqlite(folder.path(), "state.db").await;
    file.execute(include_str!("../data/state_version_5.sql")).await;
    // A load that was stopped behind key 1, one that was stopped before its first record, and a pair that was never loaded.
    file.execute(
        "INSERT INTO meta VALUES ('id', 'abc'), ('version', '5');
         INSERT INTO pairs (name, load_mapping, load_had_links, load_side, load_after)
           VALUES ('stopped', 'digest', 1, 'target', x'020000000000000001'), ('begun', 'digest', 0, 'source', NULL), ('new', NULL, 0, NULL, NULL)",
    )
    .await;
    let url = format!("sqlite://{}", folder.path().join("state.db").display());
    let one = Key(vec![Value::Int(1)]);
    for _ in 0..2 {
        let state = SqliteState::open(&url, true).await.unwrap();
        let stopped = state.progress("stopped").await.unwrap().load.unwrap();
        assert_eq!((stopped.mapping.as_str(), stopped.had_links, stopped.side), ("digest", true, Some(End::Target)));
        assert_eq!(stopped.ranges, [KeyRange { after: Some(one.clone()), until: None }]);
        let begun = state.progress("begun").await.unwrap().load.unwrap();
        assert_eq!((begun.side, begun.ranges), (Some(End::Source), Vec::new()));
        assert_eq!(state.progress("new").await.unwrap().load, None);
    }
}

/// The ranges of a load, whatever their keys are made of.
#[tokio::test]
async fn ranges_of_a_load_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("state.db").display());
    let keys = [
        Key(vec![Value::Int(i64::MIN), Value::Text("a\0'\"".to_owned())]),
        Key(vec![Value::Decimal("18446744073709551615".to_owned()), Value::Text(String::new())]),
        Key(vec![Value::Bytes(vec![255, 0]), Value::Text("ä".to_owned())]),
    ];
    let ranges = KeyRange::cut_at(keys.to_vec());
    let progress = LoadProgress { mapping: "digest".to_owned(), had_links: false, side: Some(End::Source), ranges };
    let state = SqliteState::open(&url, true).await.unwrap();
    state.begin_load("customers", &Progress::default()).await.unwrap();
    state.keep_load("customers", &progress).await.unwrap();
    drop(state);
    let state = SqliteState::open(&url, true).await.unwrap();
    assert_eq!(state.progress("customers").await.unwrap().load, Some(progress));
}

/// What was to be written is known to the next opening, under the name of this one, until a commit closes it.
#[tokio::test]
async fn an_intention_is_kept_until_it_is_closed() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", folder.path().join("state.db").display());
    let key = Some(Key(vec![Value::Int(1)]));
    let image = |name: &str| Record::of([("id", Value::Int(1)), ("name", Value::Text(name.to_owned()))]);
    let write = |name: &str| Intended {
        op: WriteOp::Update,
        keys: Ends { source: key.clone(), target: key.clone() },
        base: Some(Ends { source: image(name), target: image(name) }),
        gone: None,
        changed_at: Some(5),
        fields: None,
        conflicts: Vec::<Conflict>::new(),
    };
    let plugins = [("standard".to_owned(), "digest".to_owned())].into();
    let intention = Intention { end: End::Target, plugins, writes: vec![write("a"), write("b")] };
    let state = SqliteState::open(&url, true).await.unwrap();
    let first = state.intend("customers", intention.clone()).await.unwrap();
    let second = state.intend("customers", intention.clone()).await.unwrap();
    let others = state.intend("others", intention.clone()).await.unwrap();
    assert_eq!((first.since, second.since), (first.number, first.number), "the first is open still");
    assert_eq!(others.since, others.number, "each pair has its own");
    drop(state);
    let state = SqliteState::open(&url, true).await.unwrap();
    let open = state.intentions("customers").await.unwrap();
    assert_eq!(open.iter().map(|open| open.number).collect::<Vec<_>>(), [first.number, second.number]);
    assert_eq!((&open[0].run, &open[1].run), (&first.run, &second.run));
    assert_eq!(open[0].intention, intention.clone().numbered(&[vec![], vec![]]));
    let close = |number| Commit { intentions: vec![number], ..Commit::default() };
    state.commit("customers", &close(first.number)).await.unwrap();
    let third = state.intend("customers", intention).await.unwrap();
    assert_eq!(third.since, second.number);
    assert!(third.run != first.run && third.number > others.number, "numbers are never used again");
    assert_eq!(state.intentions("customers").await.unwrap().len(), 2);
}

/// A crash between two versions leaves a file that the next start brings further.
#[tokio::test]
async fn a_migration_that_is_cut_short_goes_on() {
    let setup = Setup::new((Kind::Sqlite, Kind::Sqlite)).await;
    setup.tables().await;
    setup.configure(serde_json::json!({}));
    setup.source.execute("INSERT INTO customers (id, name) VALUES (1, 'Ada')").await;
    let state = crate::harness::Database::sqlite(setup.tidelock.folder.path(), "tidelock.db").await;
    state.execute(include_str!("../data/state_version_1.sql")).await;
    state.execute("INSERT INTO meta VALUES ('id', 'abc'), ('version', '1')").await;
    let version = "SELECT value FROM meta WHERE name = 'version'";
    for next in ["2", "3", "4", "5", "6"] {
        setup.dies_at(CrashPoint::StateMigrated.name());
        assert_eq!(state.value(version).await.as_deref(), Some(next));
    }
    setup.tidelock.once(0);
    setup.settled().await;
}

/// So that a load under a new mapping that is cut short is begun again, as one under a new mapping.
#[tokio::test]
async fn the_mapping_is_kept_until_a_load_by_another_is_through() {
    let state = SqliteState::open("sqlite://:memory:", true).await.unwrap();
    let through = |mapping: &str| Commit { loaded: Some(mapping.to_owned()), ..Commit::default() };
    state.begin_load("customers", &Progress::default()).await.unwrap();
    assert_eq!(state.progress("customers").await.unwrap().mapping, None);
    state.commit("customers", &through("first")).await.unwrap();
    let fresh = Progress { mapping: Some("second".to_owned()), ..Progress::default() };
    state.begin_load("customers", &fresh).await.unwrap();
    state.commit("customers", &Commit::default()).await.unwrap();
    let progress = state.progress("customers").await.unwrap();
    assert_eq!((progress.loaded, progress.mapping.as_deref()), (false, Some("first")));
    state.commit("customers", &through("second")).await.unwrap();
    let progress = state.progress("customers").await.unwrap();
    assert_eq!((progress.loaded, progress.mapping.as_deref()), (true, Some("second")));
}
