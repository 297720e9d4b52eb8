//! SQLite: files that are missing, busy, replaced, or in another journal mode.

use std::time::Duration;

use sqlx::{ConnectOptions, Connection};
use tidelock::config::CaptureMethod;
use tidelock::connector::ScanOrder;
use tidelock::error::ErrorKind;
use tidelock::record::KeyRange;
use tidelock::value::Kind;

use crate::contract::{Fixture, Opened, TIMEOUT, TableSpec, key, person, read_through, scan_all, strings};
use crate::sqlite::{SqliteFactory, SqliteFixture};

const PEOPLE: &str = "CREATE TABLE People (id INTEGER PRIMARY KEY, name TEXT, age INTEGER)";

#[tokio::test]
async fn a_file_that_is_none_is_said_so() {
    let fixture = SqliteFixture::new(&[PEOPLE]).await;
    let mut endpoint = fixture.endpoint();
    let folder = fixture.path().parent().unwrap().to_owned();
    let text = folder.join("notes.txt");
    std::fs::write(&text, "This is text, and more of it than a database's header has. ".repeat(10)).unwrap();
    for (path, code) in
        [(text, "sqlite.not_a_database"), (folder.join("none.db"), "sqlite.no_file"), (folder, "sqlite.no_file")]
    {
        endpoint.credentials.path = Some(path.clone());
        let error = fixture.connector().describe(&endpoint).await.unwrap_err();
        assert_eq!((error.kind, error.code), (ErrorKind::SchemaMismatch, code), "{}", path.display());
        assert!(error.message.contains(&path.display().to_string()), "{error}");
    }
}

#[tokio::test]
async fn a_busy_database_is_waited_for() {
    let opened = Opened::new(&SqliteFactory, &TableSpec::people()).await;
    opened.create(vec![person(1, "a", 1)]).await;
    let options =
        sqlx::sqlite::SqliteConnectOptions::new().filename(opened.fixture.endpoint().credentials.path.unwrap());
    let mut holder = options.connect().await.unwrap();
    let held = holder.begin_with("BEGIN IMMEDIATE").await.unwrap();
    let write = async { opened.target.upsert(&[person(2, "b", 2)]).await.unwrap() };
    let release = async {
        // Reads go on meanwhile.
        for _ in 0..20 {
            assert!(opened.get(1).await.is_some());
        }
        held.rollback().await.unwrap();
    };
    let (upserted, ()) = tokio::time::timeout(TIMEOUT, async { tokio::join!(write, release) }).await.unwrap();
    assert_eq!(upserted.written, 1);
}

#[tokio::test]
async fn a_cancelled_write_leaves_nothing_behind() {
    let opened = Opened::new(&SqliteFactory, &TableSpec::people()).await;
    let people: Vec<_> = (1..=500).map(|id| person(id, "x", id)).collect();
    for micros in (0..4000).step_by(200) {
        let write = opened.target.upsert(&people);
        tokio::time::timeout(Duration::from_micros(micros), write).await.ok();
        let count = scan_all(&*opened.target, ScanOrder::Key(KeyRange::ALL), 1000).await.len();
        assert!(count == 0 || count == 500, "{count}: a part of a batch");
    }
    opened.target.upsert(&people).await.unwrap();
    assert_eq!(scan_all(&*opened.target, ScanOrder::Key(KeyRange::ALL), 1000).await.len(), 500);
}

#[tokio::test]
async fn a_replaced_file_is_not_written_to() {
    let mut opened = Opened::new(&SqliteFactory, &TableSpec::people()).await;
    let mut position = opened.start().await;
    opened.sql("INSERT INTO {t} (id) VALUES (1)").await;
    read_through(&mut *opened.source, &mut position, 10, &key(1)).await;
    let path = opened.fixture.endpoint().credentials.path.unwrap();
    let backup = path.with_extension("backup");
    opened.sql(&format!("VACUUM INTO '{}'", backup.display())).await;
    opened.sql("INSERT INTO {t} (id) VALUES (2)").await;
    read_through(&mut *opened.source, &mut position, 10, &key(2)).await;
    for suffix in ["-wal", "-shm"] {
        std::fs::remove_file(format!("{}{suffix}", path.display())).ok();
    }
    std::fs::rename(&backup, &path).unwrap();
    for error in [
        opened.target.upsert(&[person(3, "c", 3)]).await.unwrap_err(),
        opened.target.fetch(&[key(1)]).await.unwrap_err(),
        opened.source.next_batch(&position, 10).await.unwrap_err(),
        opened.source.wait(Duration::from_secs(1)).await.unwrap_err(),
    ] {
        assert_eq!((error.kind, error.code), (ErrorKind::Unavailable, "sqlite.file_replaced"));
    }
    let mut side = opened.again(|_| ()).await;
    side.source.prepare().await.unwrap();
    let error = side.source.next_batch(&position, 10).await.unwrap_err();
    assert_eq!(
        (error.kind, error.code),
        (ErrorKind::SchemaMismatch, "sqlite.position"),
        "the copy is older than the position"
    );
}

/// A fixture that cannot be switched to write-ahead logging, because someone reads it all the time.
async fn without_wal() -> (SqliteFixture, sqlx::SqliteConnection) {
    let fixture =
        SqliteFixture::new(&["PRAGMA journal_mode = DELETE", PEOPLE, "INSERT INTO People VALUES (0, 'x', 0)"]).await;
    let mut reader = fixture.options().connect().await.unwrap();
    sqlx::raw_sql("BEGIN; SELECT * FROM People").execute(&mut reader).await.unwrap();
    (fixture, reader)
}

#[tokio::test]
async fn without_write_ahead_logging_it_works_too() {
    let (fixture, mut reader) = without_wal().await;
    let opened = Opened::with(Box::new(fixture), |_| ()).await;
    assert_eq!(
        scan_all(&*opened.target, ScanOrder::Key(KeyRange::ALL), 10).await.len(),
        1,
        "not waited for the reader's end"
    );
    sqlx::raw_sql("COMMIT").execute(&mut reader).await.unwrap();
    opened.target.upsert(&(1..=2000).map(|id| person(id, "x", id)).collect::<Vec<_>>()).await.unwrap();
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut reader).await.unwrap();
    assert_eq!(mode, "delete");
    for order in [ScanOrder::Key(KeyRange::ALL), ScanOrder::Fields { fields: strings(&["age"]), as_text: false }] {
        let mut scan = opened.target.scan(order).await.unwrap();
        assert_eq!(scan.next(10).await.unwrap().len(), 10);
        let late = [person(5000, "y", 1)];
        let write = opened.target.upsert(&late);
        tokio::time::timeout(Duration::from_secs(10), write)
            .await
            .expect("a running scan keeps no writer out")
            .unwrap();
        let mut found = 10;
        while let Some(page) = Some(scan.next(500).await.unwrap()).filter(|page| !page.is_empty()) {
            found += page.len();
        }
        assert!(found >= 2001, "{found}");
    }
}

#[tokio::test]
async fn two_sides_of_one_file_do_not_lock_each_other_out() {
    let fixture =
        SqliteFixture::new(&[PEOPLE, "CREATE TABLE copies (id INTEGER PRIMARY KEY, name TEXT, age INTEGER)"]).await;
    let source = Opened::with(Box::new(fixture), |_| ()).await;
    source.create((1..=3000).map(|id| person(id, "x", id)).collect()).await;
    let mut endpoint = source.fixture.endpoint();
    endpoint.collection = "copies".to_owned();
    let schema = source.fixture.connector().describe(&endpoint).await.unwrap();
    let target =
        source.fixture.connector().open(&endpoint, &schema, crate::contract::options(&schema)).await.unwrap().target;
    for order in [ScanOrder::Key(KeyRange::ALL), ScanOrder::Fields { fields: strings(&["id"]), as_text: false }] {
        let mut scan = source.target.scan(order).await.unwrap();
        loop {
            let page = scan.next(500).await.unwrap();
            if page.is_empty() {
                break;
            }
            tokio::time::timeout(TIMEOUT, target.upsert(&page)).await.unwrap().unwrap();
        }
    }
    assert_eq!(scan_all(&*target, ScanOrder::Key(KeyRange::ALL), 1000).await.len(), 3000);
}

#[tokio::test]
async fn polling_by_seconds_and_by_a_counter() {
    for (first, second) in [(1_700_000_000_i64, 1_700_000_009_i64), (1_700_000_000_000, 1_700_000_009_000), (1, 2)] {
        let spec = TableSpec::people().column("changed", Kind::Int);
        let fixture = crate::contract::Factory::create(&SqliteFactory, &spec).await;
        let mut opened = Opened::with(fixture, |options| {
            options.capture = CaptureMethod::Polling;
            options.updated_at = Some("changed".to_owned());
            options.overlap = Duration::from_secs(5);
        })
        .await;
        opened.sql(&format!("INSERT INTO {{t}} (id, changed) VALUES (1, {first})")).await;
        let mut position = opened.start().await;
        opened.sql(&format!("INSERT INTO {{t}} (id, changed) VALUES (2, {second})")).await;
        let changes = read_through(&mut *opened.source, &mut position, 10, &key(2)).await;
        assert_eq!(changes.len(), 1);
        assert_eq!(changes[0].at, (first > 1).then_some(1_700_000_009_000_000));
        // A time in the far future does not hide what comes now.
        let unit = if first > 1_000_000_000_000 { 1000 } else { 1 };
        opened.sql(&format!("INSERT INTO {{t}} (id, changed) VALUES (3, 4102444800 * {unit})")).await;
        read_through(&mut *opened.source, &mut position, 10, &key(3)).await;
        opened.sql(&format!("INSERT INTO {{t}} (id, changed) SELECT 4, strftime('%s', 'now') * {unit}")).await;
        read_through(&mut *opened.source, &mut position, 10, &key(4)).await;
    }
}

#[tokio::test]
async fn polling_needs_its_column() {
    let fixture = SqliteFixture::new(&[PEOPLE]).await;
    let schema = fixture.connector().describe(&fixture.endpoint()).await.unwrap();
    for (column, code) in [(None, "sqlite.updated_at"), (Some("changed".to_owned()), "sqlite.no_column")] {
        let mut options = crate::contract::options(&schema);
        (options.capture, options.updated_at) = (CaptureMethod::Polling, column);
        let error = fixture.connector().open(&fixture.endpoint(), &schema, options).await.err().unwrap();
        assert_eq!((error.kind, error.code), (ErrorKind::SchemaMismatch, code));
    }
}
