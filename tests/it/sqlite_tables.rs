//! SQLite: what its catalogue and its loose typing can hold that other systems do not have.

use tidelock::connector::{ScanOrder, Write, WriteOutcome};
use tidelock::error::ErrorKind;
use tidelock::record::{Key, KeyRange, Record};
use tidelock::value::{Kind, Value};

use crate::contract::write::{create, one};
use crate::contract::{Fixture, Opened, assert_same, key, read_through, scan_all, strings};
use crate::sqlite::SqliteFixture;

async fn opened(create: &str) -> Opened {
    Opened::with(Box::new(SqliteFixture::new(&[create]).await), |_| ()).await
}

async fn refusal(statements: &[&str]) -> tidelock::error::SyncError {
    let fixture = SqliteFixture::new(statements).await;
    fixture.connector().describe(&fixture.endpoint()).await.expect_err("it cannot be synced")
}

fn text(value: &str) -> Value {
    Value::Text(value.to_owned())
}

#[tokio::test]
async fn what_is_no_table_is_refused() {
    let view = refusal(&["CREATE TABLE t (id INTEGER PRIMARY KEY)", "CREATE VIEW People AS SELECT * FROM t"]).await;
    assert_eq!((view.kind, view.code), (ErrorKind::SchemaMismatch, "sqlite.no_key"));
    let search = refusal(&["CREATE VIRTUAL TABLE People USING fts5(body)"]).await;
    assert_eq!(search.code, "sqlite.not_a_table");
    let own = refusal(&["CREATE TABLE other (id INTEGER PRIMARY KEY)"]).await;
    assert_eq!(own.code, "sqlite.no_table");
}

#[tokio::test]
async fn a_table_is_found_whatever_the_case() {
    let fixture = SqliteFixture::new(&["CREATE TABLE PEOPLE (Id INTEGER PRIMARY KEY)"]).await;
    let schema = fixture.connector().describe(&fixture.endpoint()).await.unwrap();
    assert_eq!(schema.key, strings(&["Id"]), "in the catalogue's spelling");
}

#[tokio::test]
async fn keys_of_all_sorts_of_tables() {
    for (sql, nullable, has_default) in [
        ("CREATE TABLE People (id INTEGER PRIMARY KEY, name TEXT)", false, true),
        ("CREATE TABLE People (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT)", false, true),
        ("CREATE TABLE People (id INT PRIMARY KEY, name TEXT)", true, false),
        ("CREATE TABLE People (id INTEGER, name TEXT, PRIMARY KEY (id DESC))", false, true),
        ("CREATE TABLE People (id INTEGER PRIMARY KEY DESC, name TEXT)", true, false),
        ("CREATE TABLE People (id INTEGER PRIMARY KEY, name TEXT) WITHOUT ROWID", false, false),
        ("CREATE TABLE People (id INTEGER PRIMARY KEY, name TEXT) STRICT", false, true),
        ("CREATE TABLE People (id INT PRIMARY KEY, name TEXT) STRICT", false, false),
    ] {
        let mut opened = opened(sql).await;
        let id = opened.schema.column("id").unwrap();
        assert_eq!((id.nullable, id.has_default), (nullable, has_default), "{sql}");
        let mut position = opened.start().await;
        let other = opened.again(|options| options.consumer = "state.pair-2".to_owned()).await;
        let record = Record::of([("id", Value::Int(7)), ("name", text("a"))]);
        other.target.upsert(std::slice::from_ref(&record)).await.unwrap();
        assert_eq!(read_through(&mut *opened.source, &mut position, 10, &key(7)).await.len(), 1, "{sql}");
        assert_eq!(opened.get(7).await, Some(record), "{sql}");
        let without_key = one(&opened, create(Record::of([("name", text("b"))]))).await;
        match (has_default, without_key) {
            (true, WriteOutcome::Applied { .. }) => {}
            (false, WriteOutcome::Failed(error)) => assert_eq!(error.kind, ErrorKind::InvalidRecord, "{sql}"),
            (_, other) => panic!("{sql}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn a_record_without_key_is_left_alone() {
    let mut opened = opened("CREATE TABLE People (id TEXT PRIMARY KEY, name TEXT)").await;
    let mut position = opened.start().await;
    // SQLite allows it, by an old mistake that it keeps.
    opened.sql("INSERT INTO {t} VALUES (NULL, 'nobody'), (NULL, 'nobody'), ('a', 'Ann')").await;
    let found = scan_all(&*opened.target, ScanOrder::Key(KeyRange::ALL), 10).await;
    assert_eq!(found.len(), 1);
    let changes = read_through(&mut *opened.source, &mut position, 10, &Key(vec![text("a")])).await;
    assert_eq!(changes.len(), 1);
}

#[tokio::test]
async fn generated_columns_are_read_and_not_written() {
    let opened = opened(
        "CREATE TABLE People (id INTEGER PRIMARY KEY, name TEXT, loud TEXT GENERATED ALWAYS AS (upper(name)) STORED, \
         size INTEGER AS (length(name)))",
    )
    .await;
    for (name, kind) in [("loud", Kind::Text), ("size", Kind::Int)] {
        let column = opened.schema.column(name).unwrap();
        assert_eq!((column.kind, column.writable), (kind, false), "{name}");
    }
    let outcome = one(&opened, create(Record::of([("id", Value::Int(1)), ("name", text("ann"))]))).await;
    let WriteOutcome::Applied { stored: Some(stored), .. } = outcome else { panic!("{outcome:?}") };
    assert_same(stored.get("loud"), Some(&text("ANN")), "stored");
    assert_same(stored.get("size"), Some(&Value::Int(3)), "virtual");
}

#[tokio::test]
async fn what_does_not_fit_its_column_is_read_as_it_is() {
    let opened =
        opened("CREATE TABLE People (id INTEGER PRIMARY KEY, n INTEGER, d DATETIME, b BOOLEAN, x, s STRING, t TEXT)")
            .await;
    opened
        .sql(
            "INSERT INTO {t} VALUES (1, 'many', 1700000000, 'yes', 5, 12, CAST(x'ff' AS TEXT)), \
             (2, 1.5, '2024-05-01T10:00:00Z', 2, x'00', 1.5, 'ok'), (3, x'01', '2024-05-01T10:00:00.5', 1, 'five', 'abc', '')",
        )
        .await;
    let expected = [
        [text("many"), Value::Int(1_700_000_000), text("yes"), Value::Int(5), text("12"), Value::Bytes(vec![0xff])],
        [
            Value::Float(1.5),
            Value::Instant(1_714_557_600_000_000),
            Value::Int(2),
            Value::Bytes(vec![0]),
            text("1.5"),
            text("ok"),
        ],
        [
            Value::Bytes(vec![1]),
            Value::Local(1_714_557_600_500_000),
            Value::Boolean(true),
            text("five"),
            text("abc"),
            text(""),
        ],
    ];
    for (id, values) in (1..).zip(expected) {
        let record = opened.get(id).await.unwrap();
        for (name, value) in ["n", "d", "b", "x", "s", "t"].iter().zip(&values) {
            assert_same(record.get(name), Some(value), name);
        }
        // Such an image holds as a guard, however it is spelt in the file.
        let fields = Record::of([("n", Value::Int(0))]);
        let outcome = one(&opened, Write::Update { key: key(id), fields, guard: Some(record) }).await;
        assert!(matches!(outcome, WriteOutcome::Applied { .. }), "{id}: {outcome:?}");
    }
}

#[tokio::test]
async fn text_that_a_column_would_change_is_refused() {
    let opened = opened("CREATE TABLE People (id INTEGER PRIMARY KEY, s STRING, n NUMERIC)").await;
    for (value, kept) in [("7", true), ("abc", true), ("007", false), ("1.50", false), ("1.5", true), ("1e3", false)] {
        let record = Record::of([("id", Value::Int(1)), ("s", text(value))]);
        let upserted = opened.target.upsert(&[record]).await;
        assert_eq!(upserted.is_ok(), kept, "{value}");
        match upserted {
            Ok(_) => assert_same(opened.get(1).await.unwrap().get("s"), Some(&text(value)), "kept"),
            Err(error) => assert_eq!((error.kind, error.code), (ErrorKind::InvalidRecord, "sqlite.unfit_value")),
        }
    }
}

#[tokio::test]
async fn decimaltext_keeps_every_digit() {
    let opened = opened("CREATE TABLE People (id DECIMALTEXT PRIMARY KEY, n DECIMAL_TEXT(38, 10))").await;
    for text in ["123456789012345678901234567890.0123456789", "-0.1", "9", "10"] {
        let number = Value::Decimal(text.to_owned());
        let record = Record::of([("id", number.clone()), ("n", number.clone())]);
        opened.target.upsert(&[record]).await.unwrap();
        assert_same(opened.get(number.clone()).await.unwrap().get("n"), Some(&number), "kept");
    }
    let order = ScanOrder::Fields { fields: strings(&["n"]), as_text: false };
    let found = scan_all(&*opened.target, order, 10).await;
    let numbers: Vec<String> = found.iter().map(|record| record.get("n").unwrap().to_text().unwrap()).collect();
    assert_eq!(numbers, ["-0.1", "9", "10", "123456789012345678901234567890.0123456789"], "by value, not by text");
}

#[tokio::test]
async fn strict_tables_refuse_per_record() {
    let opened = opened("CREATE TABLE People (id INTEGER PRIMARY KEY, f REAL, a ANY) STRICT").await;
    let record = |id: i64, f: f64| Record::of([("id", Value::Int(id)), ("f", Value::Float(f)), ("a", text("007"))]);
    let writes = [create(record(1, 1.0)), create(record(2, f64::NAN)), create(record(3, 2.0))];
    let outcomes = opened.target.write(&writes).await.unwrap();
    assert!(
        matches!(&outcomes[1], WriteOutcome::Failed(error) if error.kind == ErrorKind::InvalidRecord),
        "{outcomes:?}"
    );
    assert_eq!(opened.get(3).await, Some(record(3, 2.0)), "and ANY changes nothing");
}

#[tokio::test]
async fn keys_in_another_spelling_are_found() {
    let opened = opened("CREATE TABLE People (id UUID PRIMARY KEY, at DATETIME UNIQUE)").await;
    opened
        .sql(
            "INSERT INTO {t} VALUES ('0000000A-0000-0000-0000-00000000000B', '2024-05-01T10:00:00'), \
             (x'0000000a00000000000000000000000c', '2024-05-01 11:00:00'), ('{0000000a-0000-0000-0000-00000000000d}', '2024-05-01 12:00')",
        )
        .await;
    let records = scan_all(&*opened.target, ScanOrder::Key(KeyRange::ALL), 2).await;
    assert_eq!(records.len(), 3);
    for record in records {
        let key = record.key(&["id"]).unwrap();
        assert_eq!(opened.target.fetch(std::slice::from_ref(&key)).await.unwrap(), [Some(record.clone())], "{key}");
        let write = Write::Update { key: key.clone(), fields: Record::of([("at", Value::Null)]), guard: Some(record) };
        assert!(matches!(one(&opened, write).await, WriteOutcome::Applied { .. }), "{key}");
        let write = Write::Delete { key: key.clone(), guard: Some(Record::of([("at", Value::Null)])) };
        assert!(matches!(one(&opened, write).await, WriteOutcome::Applied { stored: None, .. }), "{key}");
    }
    assert!(scan_all(&*opened.target, ScanOrder::Key(KeyRange::ALL), 2).await.is_empty());
}

#[tokio::test]
async fn collations_do_not_blur_keys_and_guards() {
    let mut opened = opened("CREATE TABLE People (id TEXT COLLATE NOCASE PRIMARY KEY, name TEXT COLLATE NOCASE)").await;
    let mut position = opened.start().await;
    opened.sql("INSERT INTO {t} VALUES ('a', 'Ann')").await;
    assert!(opened.get("A").await.is_none());
    assert!(opened.get("a").await.is_some());
    let update = |guard: &str| Write::Update {
        key: Key(vec![text("a")]),
        fields: Record::of([("name", text("ann"))]),
        guard: Some(Record::of([("name", text(guard))])),
    };
    assert!(matches!(one(&opened, update("ANN")).await, WriteOutcome::Changed));
    assert!(matches!(one(&opened, update("Ann")).await, WriteOutcome::Applied { .. }));
    let loud = Record::of([("id", text("a")), ("name", text("ANN"))]);
    assert_eq!(opened.target.upsert(&[loud]).await.unwrap().written, 1, "a difference in case is one");
    opened.sql("UPDATE {t} SET id = 'A'").await;
    let changes = read_through(&mut *opened.source, &mut position, 10, &Key(vec![text("A")])).await;
    let keys: Vec<String> = changes.iter().map(|change| change.key.to_string()).collect();
    assert_eq!(keys, ["a", "a", "A"], "inserted, deleted, inserted");
}

#[tokio::test]
async fn utf16_databases_read_the_same() {
    let fixture = SqliteFixture::new(&[
        "PRAGMA encoding = 'UTF-16le'",
        "CREATE TABLE People (id INTEGER PRIMARY KEY, name TEXT)",
    ])
    .await;
    let opened = Opened::with(Box::new(fixture), |_| ()).await;
    let names = ["\u{ff01}", "😀", "a", "ä", "z\0z"];
    for (id, name) in (1..).zip(names) {
        opened.create(vec![Record::of([("id", Value::Int(id)), ("name", text(name))])]).await;
        assert_same(opened.get(id).await.unwrap().get("name"), Some(&text(name)), "read back");
        let found = opened.target.find(&strings(&["name"]), &[Key(vec![text(name)])]).await.unwrap();
        assert_eq!(found[0].len(), 1, "{name}");
    }
    let order = ScanOrder::Fields { fields: strings(&["name"]), as_text: false };
    let found = scan_all(&*opened.target, order, 2).await;
    let found: Vec<String> = found.iter().map(|record| record.get("name").unwrap().to_text().unwrap()).collect();
    let mut sorted = names.map(str::to_owned);
    sorted.sort();
    assert_eq!(found, sorted, "by the bytes of UTF-8");
}

#[tokio::test]
async fn a_filter_cannot_reach_out() {
    let fixture =
        SqliteFixture::new(&["CREATE TABLE People (id INTEGER PRIMARY KEY)", "INSERT INTO People VALUES (1)"]).await;
    let schema = fixture.connector().describe(&fixture.endpoint()).await.unwrap();
    let mut endpoint = fixture.endpoint();
    endpoint.filter = Some("1 = 1); DELETE FROM People; --".to_owned());
    let refused = fixture.connector().open(&endpoint, &schema, crate::contract::options(&schema)).await;
    if let Ok(side) = refused {
        let _rows = scan_all(&*side.target, ScanOrder::Key(KeyRange::ALL), 10).await;
    }
    assert_eq!(fixture.strings("SELECT CAST(count(*) AS TEXT) FROM People").await, ["1"]);
}
