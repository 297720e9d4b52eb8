//! What is MySQL's own: commits out of order, collations, types without a counterpart, triggers under users' feet.

use std::sync::Arc;
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection};
use tidelock::change::{ChangeBatch, Op, Position};
use tidelock::config::{CaptureMethod, Credentials, Endpoint, Location, Secret};
use tidelock::connector::mysql::Mysql;
use tidelock::connector::{Connector, OpenOptions, ScanOrder, Schema, Side, Source, Write, WriteOutcome};
use tidelock::error::ErrorKind;
use tidelock::record::{Key, KeyRange, Record};
use tidelock::value::{Kind, Value};

use crate::harness::{Database, mysql_connection};

fn endpoint(database: &Database, collection: &str) -> Endpoint {
    let Database::Mysql { url, .. } = database else { unreachable!("made as MySQL") };
    Endpoint {
        at: Location::default(),
        system_type: "mysql".to_owned(),
        name: Arc::from("source"),
        collection: collection.to_owned(),
        filter: None,
        updated_at: None,
        key: Vec::new(),
        external_id: None,
        bulk_threshold: None,
        timeout: None,
        credentials: Credentials { url: Some(Secret::new(url)), ..Credentials::default() },
    }
}

async fn describe(database: &Database, collection: &str) -> tidelock::error::Result<Schema> {
    Mysql::default().describe(&endpoint(database, collection)).await
}

/// Opens every column of a table.
async fn open(database: &Database, collection: &str) -> Side {
    let endpoint = endpoint(database, collection);
    let schema = Mysql::default().describe(&endpoint).await.unwrap();
    let options = OpenOptions {
        fields: schema.columns.iter().map(|column| column.name.clone()).collect(),
        correlation: schema.key.clone(),
        consumer: "store:pair".to_owned(),
        capture: CaptureMethod::DatabaseTriggers,
        updated_at: None,
        looks: false,
        images: false,
        overlap: Duration::ZERO,
    };
    Mysql::default().open(&endpoint, &schema, options).await.unwrap()
}

async fn user(database: &Database) -> sqlx::MySqlConnection {
    let Database::Mysql { url, .. } = database else { unreachable!("made as MySQL") };
    mysql_connection(url).await
}

async fn run(connection: &mut sqlx::MySqlConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(connection).await.unwrap();
}

fn key(id: i64) -> Key {
    Key(vec![Value::Int(id)])
}

fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

/// Reads all that is there; `U1 D2 …`.
async fn drain(source: &mut dyn Source, position: &mut Position) -> String {
    let mut shown = Vec::new();
    loop {
        let ChangeBatch { changes, through, more } = source.next_batch(position, 3).await.unwrap();
        let one = |change: &tidelock::change::Change| {
            format!("{}{}", if change.op == Op::Upsert { "U" } else { "D" }, change.key)
        };
        shown.extend(changes.iter().map(one));
        *position = through;
        if !more {
            return shown.join(" ");
        }
    }
}

/// Reads until no number is missing any more.
async fn settle(source: &mut dyn Source, position: &mut Position) -> String {
    let reading = async {
        let mut shown = Vec::new();
        loop {
            shown.push(drain(source, position).await);
            if !position.0.contains("open") {
                return shown.concat();
            }
            source.wait(Duration::from_millis(50)).await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(20), reading).await.expect("what is missing is found out about")
}

#[tokio::test]
async fn a_transaction_that_commits_late_is_not_skipped() {
    let database = Database::mysql().await;
    database.execute("CREATE TABLE t (id INT PRIMARY KEY, v INT)").await;
    let mut side = open(&database, "t").await;
    side.source.prepare().await.unwrap();
    let mut position = side.source.head().await.unwrap();
    let (mut early, mut other, mut undone) = (user(&database).await, user(&database).await, user(&database).await);
    run(&mut early, "BEGIN; INSERT INTO t VALUES (1, 1), (2, 2)").await;
    run(&mut undone, "BEGIN; INSERT INTO t VALUES (9, 9)").await;
    run(&mut other, "INSERT INTO t VALUES (3, 3)").await;
    assert_eq!(drain(&mut *side.source, &mut position).await, "U3");
    run(&mut other, "BEGIN; INSERT INTO t VALUES (4, 4)").await;
    run(&mut early, "INSERT INTO t VALUES (5, 5)").await;
    run(&mut other, "COMMIT; INSERT INTO t VALUES (6, 6)").await;
    assert_eq!(drain(&mut *side.source, &mut position).await, "U4 U6");
    // Whoever goes on from here, as after a crash, or begins here, as a new pair does, still gets what is open.
    let mut again = open(&database, "t").await;
    let mut replayed = position.clone();
    let mut head = again.source.head().await.unwrap();
    assert_eq!(drain(&mut *again.source, &mut replayed).await, "");
    assert!(replayed.0.contains("open"), "two transactions are under way");
    run(&mut early, "COMMIT").await;
    assert_eq!(drain(&mut *side.source, &mut position).await, "U1 U2 U5");
    assert_eq!(drain(&mut *again.source, &mut replayed).await, "U1 U2 U5");
    assert!(position.0.contains("open"), "another is still under way");
    run(&mut undone, "ROLLBACK").await;
    assert_eq!(settle(&mut *side.source, &mut position).await, "");
    assert_eq!(settle(&mut *again.source, &mut head).await, "U1U2U5".replace('U', " U").trim());
}

#[tokio::test]
async fn many_interleaved_transactions_lose_nothing() {
    let database = Database::mysql().await;
    database.execute("CREATE TABLE t (id INT PRIMARY KEY AUTO_INCREMENT, v INT)").await;
    let mut side = open(&database, "t").await;
    side.source.prepare().await.unwrap();
    let mut position = side.source.head().await.unwrap();
    let writers: Vec<_> = (0..6_i64)
        .map(|writer| {
            let Database::Mysql { url, .. } = &database else { unreachable!("made as MySQL") };
            let url = url.clone();
            tokio::spawn(async move {
                let mut connection = mysql_connection(&url).await;
                for round in 0..25 {
                    let id = writer * 1000 + round * 2 + 1;
                    // Each holds its numbers for a while, in which others commit theirs.
                    let sql = format!(
                        "BEGIN; INSERT INTO t VALUES ({id}, 0); DO SLEEP(0.00{}); INSERT INTO t VALUES ({}, 0); {}",
                        (writer * 7 + round) % 9,
                        id + 1,
                        if round % 5 == 4 { "ROLLBACK" } else { "COMMIT" }
                    );
                    run(&mut connection, &sql).await;
                }
                connection.close().await.unwrap();
            })
        })
        .collect();
    let mut seen = Vec::new();
    let reading = async {
        while writers.iter().any(|writer| !writer.is_finished()) || position.0.contains("open") || seen.len() < 240 {
            let batch = side.source.next_batch(&position, 7).await.unwrap();
            position = batch.through;
            seen.extend(batch.changes.into_iter().map(|change| change.key));
            if !batch.more {
                side.source.wait(Duration::from_millis(20)).await.unwrap();
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), reading).await.expect("everything arrives");
    for writer in writers {
        writer.await.unwrap();
    }
    let stored = database.rows("SELECT CAST(id AS TEXT) FROM t ORDER BY id").await;
    let mut stored: Vec<Key> = stored.into_iter().flatten().map(|id| key(id.unwrap().parse().unwrap())).collect();
    stored.sort();
    seen.sort();
    assert_eq!(seen, stored, "each once");
    // Trimmed while nothing is open; who begins now has nothing to catch up with.
    side.source.acknowledge(&position).await.unwrap();
    assert_eq!(database.value("SELECT CAST(count(*) AS TEXT) FROM tidelock_changes_t").await.as_deref(), Some("0"));
    let mut head = side.source.head().await.unwrap();
    assert_eq!(settle(&mut *side.source, &mut head).await, "");
}

#[tokio::test]
async fn texts_are_compared_by_their_bytes_whatever_the_collation() {
    let database = Database::mysql().await;
    database
        .execute("CREATE TABLE t (id INT PRIMARY KEY, name VARCHAR(50), short CHAR(5)) COLLATE utf8mb4_general_ci; INSERT INTO t VALUES (1, 'Ann', 'a')")
        .await;
    let side = open(&database, "t").await;
    let guarded =
        |guard: Record| Write::Update { key: key(1), fields: Record::of([("name", text("Bob"))]), guard: Some(guard) };
    for other in ["ann", "Ann ", "Änn"] {
        let outcome = side.target.write(&[guarded(Record::of([("name", text(other))]))]).await.unwrap();
        assert!(matches!(outcome[..], [WriteOutcome::Changed]), "{other}");
    }
    assert_eq!(side.target.find(&["name".to_owned()], &[Key(vec![text("ANN")])]).await.unwrap()[0].len(), 0);
    assert_eq!(side.target.find(&["name".to_owned()], &[Key(vec![text("Ann")])]).await.unwrap()[0].len(), 1);
    // A change of nothing but the case is written.
    let record = |name: &str| Record::of([("id", Value::Int(1)), ("name", text(name)), ("short", text("a "))]);
    assert_eq!(side.target.upsert(&[record("ann")]).await.unwrap().written, 1);
    assert_eq!(side.target.upsert(&[record("ann")]).await.unwrap().written, 0, "CHAR drops the blank, again and again");
}

#[tokio::test]
async fn types_without_a_counterpart_lose_nothing() {
    let database = Database::mysql().await;
    database
        .execute(
            "CREATE TABLE t (id BIGINT UNSIGNED PRIMARY KEY, flag BIT(1), bits BIT(64), y YEAR, d DATE, t TIME, f FLOAT, \
             e ENUM('a', 'b'), s SET('x', 'y'), n DECIMAL(5, 2), dt DATETIME, twice INT AS (y * 2)); \
             INSERT INTO t (id, flag, bits, y, d, t, f, e, s, n, dt) VALUES (18446744073709551615, b'1', 18446744073709551615, 2024, \
             '0000-00-00', '-10:00:00', 0.1, 'b', 'x,y', 1.50, '2024-02-03 04:05:06')",
        )
        .await;
    let schema = describe(&database, "t").await.unwrap();
    let kind = |name: &str| schema.column(name).unwrap().kind;
    assert_eq!([kind("flag"), kind("bits"), kind("y")], [Kind::Boolean, Kind::Int, Kind::Int]);
    assert!(!schema.column("twice").unwrap().writable);
    let largest = Key(vec![Value::Decimal(u64::MAX.to_string())]);
    let side = open(&database, "t").await;
    let record =
        side.target.fetch(std::slice::from_ref(&largest)).await.unwrap().pop().flatten().expect("found by its key");
    for (name, value) in [
        ("flag", Value::Boolean(true)),
        ("bits", Value::Decimal(u64::MAX.to_string())),
        ("y", Value::Int(2024)),
        ("d", text("0000-00-00")),
        ("t", text("-10:00:00")),
        ("f", Value::Float(f64::from(0.1_f32))),
        ("e", text("b")),
        ("s", text("x,y")),
        ("n", Value::Decimal("1.5".into())),
        ("dt", Value::Local(1_706_933_106_000_000)),
        ("twice", Value::Int(4048)),
    ] {
        assert_eq!(record.get(name), Some(&value), "{name}");
    }
    // What was read can be assumed and written back.
    let fields =
        Record::of(record.iter().filter(|(name, _)| *name != "twice").map(|(name, value)| (name, value.clone())));
    let back = Write::Update { key: largest.clone(), fields: fields.clone(), guard: Some(record.clone()) };
    let outcomes = side.target.write(&[back]).await.unwrap();
    assert!(
        matches!(&outcomes[..], [WriteOutcome::Applied { stored: Some(stored), .. }] if *stored == record),
        "{outcomes:?}"
    );
    assert_eq!(side.target.upsert(&[fields]).await.unwrap().written, 0);
    // More digits than the column has are refused, never rounded; so is what an enum does not have.
    for (name, value) in [("n", Value::Decimal("1.005".into())), ("e", text("c")), ("y", Value::Int(99_999))] {
        let write = Write::Update { key: largest.clone(), fields: Record::of([(name, value)]), guard: None };
        let outcomes = side.target.write(&[write]).await.unwrap();
        assert!(
            matches!(&outcomes[..], [WriteOutcome::Failed(error)] if error.kind == ErrorKind::InvalidRecord),
            "{outcomes:?}"
        );
    }
}

#[tokio::test]
async fn users_go_on_writing_whatever_becomes_of_the_columns() {
    let database = Database::mysql().await;
    database.execute("CREATE TABLE t (id INT PRIMARY KEY, v INT, w INT)").await;
    let mut side = open(&database, "t").await;
    side.source.prepare().await.unwrap();
    let mut position = side.source.head().await.unwrap();
    database.execute("ALTER TABLE t DROP COLUMN w; ALTER TABLE t CHANGE v x INT; INSERT INTO t VALUES (1, 1)").await;
    assert_eq!(drain(&mut *side.source, &mut position).await, "U1");
    // Renamed, a key cannot be followed: the stream says so, and the application's write succeeds.
    database.execute("ALTER TABLE t CHANGE id nr INT; INSERT INTO t VALUES (2, 2)").await;
    let error = side.source.next_batch(&position, 10).await.unwrap_err();
    assert_eq!(error.code, "source.tracking_lost");
    assert_eq!(database.value("SELECT CAST(count(*) AS TEXT) FROM t").await.as_deref(), Some("2"));
}

#[tokio::test]
async fn replace_and_duplicate_key_updates_are_seen() {
    let database = Database::mysql().await;
    database.execute("CREATE TABLE t (id INT PRIMARY KEY, email VARCHAR(50) UNIQUE, v INT)").await;
    let mut side = open(&database, "t").await;
    side.source.prepare().await.unwrap();
    let mut position = side.source.head().await.unwrap();
    database.execute("INSERT INTO t VALUES (1, 'a', 1)").await;
    database.execute("REPLACE INTO t VALUES (2, 'a', 2)").await;
    database.execute("INSERT INTO t VALUES (2, 'b', 3) ON DUPLICATE KEY UPDATE v = 3").await;
    assert_eq!(drain(&mut *side.source, &mut position).await, "U1 D1 U2 U2");
    assert_eq!(side.target.fetch(&[key(1)]).await.unwrap(), [None]);
}

#[tokio::test]
async fn what_a_users_trigger_answers_to_our_write_is_seen() {
    let database = Database::mysql().await;
    database
        .execute("CREATE TABLE a (id INT PRIMARY KEY, v INT); CREATE TABLE b (id INT PRIMARY KEY, v INT); CREATE TRIGGER answer AFTER INSERT ON b FOR EACH ROW INSERT INTO a VALUES (NEW.id, 0)")
        .await;
    let (mut a, b) = (open(&database, "a").await, open(&database, "b").await);
    a.source.prepare().await.unwrap();
    let mut position = a.source.head().await.unwrap();
    // Both ends of one pair: the same consumer.
    b.target.upsert(&[Record::of([("id", Value::Int(7))])]).await.unwrap();
    assert_eq!(drain(&mut *a.source, &mut position).await, "U7");
}

#[tokio::test]
async fn what_cannot_be_followed_is_refused_with_advice() {
    let database = Database::mysql().await;
    database
        .execute("CREATE TABLE plain (id INT PRIMARY KEY) ENGINE = MyISAM; CREATE VIEW seen AS SELECT * FROM plain")
        .await;
    let engine = describe(&database, "plain").await.unwrap_err();
    assert!(engine.code == "mysql.engine" && engine.message.contains("InnoDB"), "{engine}");
    let view = describe(&database, "seen").await.unwrap_err();
    assert!(view.code == "mysql.no_key" && view.message.contains("\"key\""), "{view}");
    let mut wrong = endpoint(&database, "plain");
    wrong.credentials.password = Some(Secret::new("hunter2"));
    let error = Mysql::default().describe(&wrong).await.unwrap_err();
    assert_eq!((error.kind, error.code), (ErrorKind::Unauthenticated, "mysql.unauthenticated"));
    assert!(!error.to_string().contains("hunter2"), "{error}");
    wrong.credentials.database = Some("nowhere".to_owned());
    wrong.credentials.password = None;
    assert_eq!(Mysql::default().describe(&wrong).await.unwrap_err().code, "mysql.no_database");
}

#[tokio::test]
async fn a_key_of_zero_is_a_key_and_keys_in_backticks_are_names() {
    let database = Database::mysql().await;
    database.execute("CREATE TABLE \"a`b\" (\"i`d\" INT PRIMARY KEY AUTO_INCREMENT, \"v'\\\" INT)").await;
    let mut side = open(&database, "a`b").await;
    side.source.prepare().await.unwrap();
    let mut position = side.source.head().await.unwrap();
    let zero = Record::of([("i`d", Value::Int(0)), ("v'\\", Value::Int(1))]);
    let created = side.target.write(&[Write::Create { record: zero.clone() }]).await.unwrap();
    assert!(matches!(&created[..], [WriteOutcome::Applied { key: made, .. }] if *made == key(0)), "{created:?}");
    database.execute("UPDATE \"a`b\" SET \"v'\\\" = 2").await;
    assert_eq!(drain(&mut *side.source, &mut position).await, "U0");
}

async fn read(side: &Side, range: KeyRange) -> Vec<Key> {
    let mut scan = side.target.scan(ScanOrder::Key(range)).await.unwrap();
    let mut keys = Vec::new();
    loop {
        let records = scan.next(2).await.unwrap();
        if records.is_empty() {
            return keys;
        }
        keys.extend(records.iter().map(|record| record.key(&["id"]).unwrap()));
    }
}

/// From one end of 64 bits to the other, signed and unsigned: the ranges one after the other are the whole.
#[tokio::test]
async fn ranges_of_whole_numbers_cover_every_record_once() {
    let database = Database::mysql().await;
    for (place, (data_type, numbers, cuts)) in [
        ("bigint", "-9223372036854775808, -9223372036854775807, -4611686018427387905, -5, -1, 0, 1, 4611686018427387903, 9223372036854775807", 3),
        ("bigint unsigned", "0, 1, 4611686018427387903, 4611686018427387904, 9223372036854775807, 9223372036854775808, 13835058055282163711, 18446744073709551614, 18446744073709551615", 3),
        ("int", "-300000, -150000, -149999, -1, 0, 1, 150000, 300000", 3),
        ("mediumint unsigned", "0, 4194303, 4194304, 8388607, 16777215", 3),
        ("bigint", "1, 2, 3, 99999", 0),
        ("bigint", "7", 0),
        ("decimal(20, 0)", "1, 99999999999", 0),
        ("varchar(9)", "'1', '300000'", 0),
        ("year", "1901, 2155", 0),
    ]
    .into_iter()
    .enumerate()
    {
        let rows: Vec<String> = numbers.split(", ").map(|number| format!("({number}, 'x')")).collect();
        let sql = format!(
            "CREATE TABLE r{place} (id {data_type} PRIMARY KEY, name varchar(9)); INSERT INTO r{place} VALUES {}",
            rows.join(", ")
        );
        database.execute(&sql).await;
        let side = open(&database, &format!("r{place}")).await;
        let split = side.target.split(4).await.unwrap();
        assert_eq!(split.len(), cuts, "{data_type} {numbers}: {split:?}");
        let whole = read(&side, KeyRange::ALL).await;
        assert_eq!(whole.len(), rows.len());
        let mut joined = Vec::new();
        for range in KeyRange::cut_at(split.clone()) {
            joined.extend(read(&side, range).await);
        }
        assert_eq!(joined, whole, "{data_type}, cut at {split:?}");
    }
    database
        .execute(
            "CREATE TABLE two (id bigint, b bigint, PRIMARY KEY (id, b)); INSERT INTO two VALUES (1, 1), (900000, 1);
             CREATE TABLE none (id bigint PRIMARY KEY)",
        )
        .await;
    for table in ["two", "none"] {
        assert!(open(&database, table).await.target.split(4).await.unwrap().is_empty(), "{table}");
    }
}
