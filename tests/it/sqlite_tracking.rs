//! SQLite: triggers beside the users' own triggers, `REPLACE`, cascades, and tables that are rebuilt.

use tidelock::change::{Op, Position};
use tidelock::connector::{Write, WriteOutcome};
use tidelock::error::ErrorKind;
use tidelock::record::{Key, Record};
use tidelock::value::Value;

use crate::contract::write::{create, one, write_halving};
use crate::contract::{Fixture, Opened, TableSpec, brief, key, person, read_through, read_until};
use crate::sqlite::{SqliteFactory, SqliteFixture};

async fn opened(statements: &[&str]) -> Opened {
    Opened::with(Box::new(SqliteFixture::new(statements).await), |_| ()).await
}

fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

#[tokio::test]
async fn replace_loses_no_deleted_record() {
    let mut opened =
        opened(&["CREATE TABLE People (id INTEGER PRIMARY KEY, email TEXT UNIQUE, a INT, b INT, UNIQUE (a, b))"]).await;
    let mut position = opened.start().await;
    opened.sql("INSERT INTO {t} VALUES (1, 'a', 1, 1), (2, 'b', 2, 2), (3, 'c', 3, 3)").await;
    read_through(&mut *opened.source, &mut position, 10, &key(3)).await;
    // Takes the places of 1, 2 and 3, and of itself.
    opened.sql("INSERT OR REPLACE INTO {t} VALUES (3, 'a', 2, 2)").await;
    let changes = read_through(&mut *opened.source, &mut position, 10, &key(3)).await;
    let mut found: Vec<(Key, Op)> = changes.iter().map(brief).collect();
    found.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(found, [(key(1), Op::Delete), (key(2), Op::Delete), (key(3), Op::Upsert)]);
    opened.sql("INSERT INTO {t} VALUES (4, 'd', 4, 4)").await;
    opened.sql("UPDATE OR REPLACE {t} SET email = 'a' WHERE id = 4").await;
    let changes = read_until(&mut *opened.source, &mut position, 1, |changes| changes.len() == 3).await;
    let found: Vec<(Key, Op)> = changes.iter().map(brief).collect();
    assert_eq!(found, [(key(4), Op::Upsert), (key(3), Op::Delete), (key(4), Op::Upsert)]);
    // What replaces nothing says nothing.
    opened.sql("INSERT OR IGNORE INTO {t} VALUES (5, 'a', 5, 5)").await;
    opened.sql("INSERT INTO {t} VALUES (6, 'f', 6, 6)").await;
    let changes = read_through(&mut *opened.source, &mut position, 10, &key(6)).await;
    assert_eq!(changes.iter().map(brief).collect::<Vec<_>>(), [(key(6), Op::Upsert)]);
}

#[tokio::test]
async fn what_users_triggers_do_is_seen() {
    let mut opened = opened(&[
        "CREATE TABLE People (id INTEGER PRIMARY KEY, name TEXT, changes INTEGER DEFAULT 0)",
        "CREATE TRIGGER tidy AFTER INSERT ON People BEGIN UPDATE People SET name = lower(NEW.name) WHERE id = NEW.id; END",
        "CREATE TRIGGER count AFTER UPDATE OF name ON People BEGIN UPDATE People SET changes = changes + 1 WHERE id = NEW.id; END",
    ])
    .await;
    let mut position = opened.start().await;
    let record = Record::of([("id", Value::Int(1)), ("name", text("ANN"))]);
    let expected = Record::of([("id", Value::Int(1)), ("name", text("ann")), ("changes", Value::Int(1))]);
    let WriteOutcome::Applied { stored, .. } = one(&opened, create(record)).await else { panic!("not applied") };
    assert_eq!(stored, Some(expected), "as it is after the triggers");
    let changes = read_through(&mut *opened.source, &mut position, 10, &key(1)).await;
    assert!(!changes.is_empty(), "their changes must reach the other side");
}

#[tokio::test]
async fn what_cascades_is_seen() {
    let mut opened = opened(&[
        "CREATE TABLE People (id INTEGER PRIMARY KEY, parent INTEGER REFERENCES People (id) ON DELETE CASCADE)",
    ])
    .await;
    let mut position = opened.start().await;
    opened.sql("INSERT INTO {t} VALUES (1, NULL), (2, 1), (3, 2)").await;
    read_through(&mut *opened.source, &mut position, 10, &key(3)).await;
    one(&opened, Write::Delete { key: key(1), guard: None }).await;
    let changes = read_until(&mut *opened.source, &mut position, 10, |changes| changes.len() >= 3).await;
    let mut deleted: Vec<Key> =
        changes.into_iter().filter(|change| change.op == Op::Delete).map(|change| change.key).collect();
    deleted.sort();
    assert_eq!(deleted, [key(1), key(2), key(3)]);
}

#[tokio::test]
async fn a_trigger_that_rolls_back_takes_only_its_record() {
    let opened = opened(&[
        "CREATE TABLE People (id INTEGER PRIMARY KEY, name TEXT, age INTEGER CHECK (age < 100) )",
        "CREATE TRIGGER stop BEFORE INSERT ON People WHEN NEW.name = 'bad' BEGIN SELECT RAISE(ROLLBACK, 'not this one'); END",
        "CREATE TRIGGER no BEFORE INSERT ON People WHEN NEW.name = 'no' BEGIN SELECT RAISE(ABORT, 'nor this'); END",
    ])
    .await;
    let writes: Vec<Write> = [(1, "a", 1), (2, "bad", 2), (3, "c", 3), (4, "no", 4), (5, "e", 500), (6, "f", 6)]
        .map(|(id, name, age)| create(person(id, name, age)))
        .into();
    let outcomes = write_halving(&opened, &writes).await;
    for (outcome, expected) in outcomes.iter().zip(["", "not this one", "", "nor this", "CHECK", ""]) {
        match outcome {
            WriteOutcome::Applied { .. } => assert_eq!(expected, ""),
            WriteOutcome::Failed(error) => {
                assert!(!expected.is_empty() && error.message.contains(expected), "{error}");
                assert_eq!(error.kind, ErrorKind::InvalidRecord);
            }
            WriteOutcome::Changed => panic!("{outcome:?}"),
        }
    }
    for (id, there) in [(1, true), (2, false), (3, true), (4, false), (5, false), (6, true)] {
        assert_eq!(opened.get(id).await.is_some(), there, "{id}");
    }
}

#[tokio::test]
async fn foreign_keys_are_held_per_record() {
    for deferred in ["", "DEFERRABLE INITIALLY DEFERRED"] {
        let opened = opened(&[
            "CREATE TABLE teams (id INTEGER PRIMARY KEY)",
            "INSERT INTO teams VALUES (1)",
            &format!("CREATE TABLE People (id INTEGER PRIMARY KEY, team INTEGER REFERENCES teams (id) {deferred})"),
        ])
        .await;
        let record = |id: i64, team: i64| create(Record::of([("id", Value::Int(id)), ("team", Value::Int(team))]));
        let outcomes = write_halving(&opened, &[record(1, 1), record(2, 9), record(3, 1)]).await;
        let failed: Vec<bool> = outcomes.iter().map(|outcome| matches!(outcome, WriteOutcome::Failed(_))).collect();
        assert_eq!(failed, [false, true, false], "{deferred} {outcomes:?}");
        assert!(opened.get(2).await.is_none() && opened.get(3).await.is_some(), "{deferred}");
    }
}

#[tokio::test]
async fn a_rebuilt_table_is_noticed() {
    let mut opened = Opened::new(&SqliteFactory, &TableSpec::people()).await;
    let incarnation = opened.source.prepare().await.unwrap();
    let position = opened.source.head().await.unwrap();
    opened.source.next_batch(&position, 10).await.unwrap();
    // The procedure of https://www.sqlite.org/lang_altertable.html#otheralter
    opened.sql("CREATE TABLE rebuilt (id INTEGER PRIMARY KEY, name TEXT, age INTEGER, more TEXT)").await;
    opened.sql("INSERT INTO rebuilt SELECT *, NULL FROM {t}; DROP TABLE {t}; ALTER TABLE rebuilt RENAME TO {t}").await;
    opened.sql("INSERT INTO {t} (id) VALUES (1)").await;
    let error = opened.source.next_batch(&position, 10).await.unwrap_err();
    assert_eq!((error.kind, error.code), (ErrorKind::SchemaMismatch, "sqlite.tracking_lost"));
    assert_ne!(opened.source.prepare().await.unwrap(), incarnation, "changes were missed");
    let mut position = opened.source.head().await.unwrap();
    opened.sql("INSERT INTO {t} (id) VALUES (2)").await;
    assert_eq!(read_through(&mut *opened.source, &mut position, 10, &key(2)).await.len(), 1);
}

#[tokio::test]
async fn triggers_of_an_older_version_are_replaced_without_a_gap() {
    let mut opened = Opened::new(&SqliteFactory, &TableSpec::people()).await;
    let incarnation = opened.source.prepare().await.unwrap();
    let mut position = opened.source.head().await.unwrap();
    opened.sql("INSERT INTO {t} (id) VALUES (1)").await;
    opened.sql("DROP TRIGGER \"tidelock_insert_People\"").await;
    opened
        .sql(
            "CREATE TRIGGER \"tidelock_insert_People\" AFTER INSERT ON {t} BEGIN \
             INSERT INTO \"tidelock_changes_People\" (op, at, k0) VALUES ('U', 0, NEW.id); END",
        )
        .await;
    assert_eq!(opened.source.prepare().await.unwrap(), incarnation);
    opened.create(vec![person(2, "ours", 2)]).await;
    opened.sql("INSERT INTO {t} (id) VALUES (3)").await;
    let changes = read_through(&mut *opened.source, &mut position, 10, &key(3)).await;
    assert_eq!(changes.len(), 2, "the new body knows origins");
    // Dropped for good: a gap.
    opened.sql("DROP TRIGGER \"tidelock_delete_People\"").await;
    assert_ne!(opened.source.prepare().await.unwrap(), incarnation);
}

#[tokio::test]
async fn positions_of_another_stream_are_refused() {
    let mut opened = Opened::new(&SqliteFactory, &TableSpec::people()).await;
    let head = opened.start().await;
    for bad in ["12345", "{}", "", "x"] {
        let error = opened.source.next_batch(&Position(bad.to_owned()), 10).await.unwrap_err();
        assert_eq!((error.kind, error.code), (ErrorKind::SchemaMismatch, "sqlite.position"), "{bad}");
    }
    opened.source.next_batch(&head, 10).await.unwrap();
}

#[tokio::test]
async fn an_unprepared_target_needs_nothing() {
    let opened = Opened::new(&SqliteFactory, &TableSpec::people()).await;
    opened.create(vec![person(1, "a", 1)]).await;
    assert_eq!(opened.target.change_times(&[key(1)]).await.unwrap(), [None]);
    assert!(opened.target.marks("run", 1).await.unwrap().unwrap_or_default().is_empty());
    assert!(opened.fixture.tracking_objects().await.is_empty(), "opening and writing create nothing");
}

#[tokio::test]
async fn long_names_are_tracked() {
    let name = "a_name_longer_than_any_identifier_that_every_database_takes_which_is_63_bytes";
    let fixture = SqliteFixture::new(&[&format!("CREATE TABLE {name} (id INTEGER PRIMARY KEY)")]).await;
    let mut endpoint = fixture.endpoint();
    endpoint.collection = name.to_owned();
    let schema = fixture.connector().describe(&endpoint).await.unwrap();
    let mut side = fixture.connector().open(&endpoint, &schema, crate::contract::options(&schema)).await.unwrap();
    side.source.prepare().await.unwrap();
    let mut position = side.source.head().await.unwrap();
    fixture.execute(&format!("INSERT INTO {name} VALUES (1)")).await;
    assert_eq!(read_through(&mut *side.source, &mut position, 10, &key(1)).await.len(), 1);
    side.source.remove().await.unwrap();
    assert!(fixture.tracking_objects().await.is_empty());
}
