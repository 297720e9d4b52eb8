//! Values of every kind, at their extremes, through every way in and out: create, upsert by parameters and by COPY, fetch, scan.

use tidelock::connector::{ScanOrder, Side, Target, Write};
use tidelock::record::{Key, KeyRange, Record, layout};
use tidelock::value::Value;

use crate::postgres::{Db, key, outcomes, stored, text, with_db};

const COLUMNS: [&str; 29] = [
    "id", "b", "i2", "i8", "f4", "f8", "n", "t", "v", "c", "by", "d", "ti", "tz", "ts", "j", "jb", "u", "e", "a", "ta",
    "iv", "ci", "ip", "net", "bits", "dom", "r", "x",
];

const TABLE: &str = "CREATE EXTENSION IF NOT EXISTS citext;
    CREATE TYPE mood AS ENUM ('sad', 'it''s, \"ok\"'); CREATE DOMAIN short AS varchar(3) CHECK (value <> 'no');
    CREATE TABLE v (id int PRIMARY KEY, b bool, i2 smallint, i8 bigint, f4 real, f8 double precision, n numeric, t text, v varchar(4), c char(5),
      by bytea, d date, ti time, tz timestamptz, ts timestamp, j json, jb jsonb, u uuid, e mood, a int[], ta text[], iv interval, ci citext,
      ip inet, net cidr, bits bit(3), dom short, r int4range, x xml)";

fn json(value: &str) -> Value {
    Value::Json(value.to_owned())
}

fn decimal(value: &str) -> Value {
    Value::Decimal(value.to_owned())
}

/// Rows in the form in which the server gives them back.
fn rows() -> Vec<Vec<Value>> {
    let null = vec![Value::Null; COLUMNS.len() - 1];
    let row = |id: i64, values: Vec<Value>| [vec![Value::Int(id)], values].concat();
    let low = vec![
        Value::Boolean(false),
        Value::Int(-32_768),
        Value::Int(i64::MIN),
        Value::Float(-3.4028235e38),
        Value::Float(f64::MIN),
        decimal("-123456789012345678901234567890.000000000000000000001000"),
        text(""),
        text("äöü😀"),
        text("ab"),
        Value::Bytes(vec![]),
        Value::Date(-2_440_588),
        Value::Time(0),
        Value::Instant(-210_866_803_200_000_000),
        Value::Local(-210_866_803_200_000_000),
        json("{ \"a\" : 1.0, \"a\": null }"),
        json("{\"a\": 1.0, \"b\": [1, null, \"\\t\"]}"),
        Value::Uuid([0; 16]),
        text("sad"),
        text("{}"),
        text("{\"a,b\",NULL,\"\\\\\",\"\\\"\"}"),
        text("-1 days +02:03:04"),
        text("MiXed"),
        text("10.0.0.1"),
        text("10.0.0.0/8"),
        text("101"),
        text("yes"),
        text("[1,5)"),
        text("<a>1</a>"),
    ];
    let high = vec![
        Value::Boolean(true),
        Value::Int(32_767),
        Value::Int(i64::MAX),
        Value::Float(1e-45),
        Value::Float(5e-324),
        decimal("0.00"),
        text("tab\tline\ncr\rback\\slash \\N \\. 'quote' \"q\" \u{1}\u{7f}\u{fffd}"),
        text("\\N"),
        text("x"),
        Value::Bytes((0..=255).collect()),
        Value::Date(2_145_042_905),
        Value::Time(86_400_000_000),
        Value::Instant(i64::MAX),
        Value::Local(i64::MAX),
        json("\"x\""),
        json("12345678901234567890.123456789"),
        Value::Uuid([255; 16]),
        text("it's, \"ok\""),
        text("{1,-2,NULL}"),
        text("{}"),
        text("178000000 years"),
        text("mixed"),
        text("::1"),
        text("::/0"),
        text("000"),
        text("ja"),
        text("empty"),
        text("<a/>"),
    ];
    let mut special = null.clone();
    special[3] = Value::Float(f64::INFINITY);
    special[4] = Value::Float(f64::NAN);
    special[5] = decimal("NaN");
    // What a date cannot hold stays text.
    special[10] = text("infinity");
    special[12] = text("-infinity");
    special[13] = text("infinity");
    vec![row(1, null), row(2, low), row(3, high), row(4, special)]
}

fn records() -> Vec<Record> {
    let names = layout(COLUMNS);
    rows()
        .into_iter()
        .map(|row| Record::new(std::sync::Arc::clone(&names), row.into_iter().map(Some).collect()))
        .collect()
}

/// Texts tell more than equality: `-0` and `0`, `1.0` and `1`.
fn texts(record: &Record) -> Vec<(String, Option<String>)> {
    record.iter().map(|(name, value)| (format!("{name} {:?}", value.kind()), value.to_text())).collect()
}

async fn check(target: &dyn Target) {
    let keys: Vec<Key> = (1..=4).map(key).collect();
    let fetched = target.fetch(&keys).await.unwrap();
    let mut scan = target.scan(ScanOrder::Key(KeyRange::ALL)).await.unwrap();
    let scanned = scan.next(100).await.unwrap();
    assert_eq!(scanned.len(), 4);
    for ((expected, fetched), scanned) in records().iter().zip(&fetched).zip(&scanned) {
        assert_eq!(texts(fetched.as_ref().unwrap()), texts(expected));
        assert_eq!(texts(scanned), texts(expected));
    }
}

async fn opened(db: &Db) -> Side {
    db.run(TABLE).await;
    db.table("v", &COLUMNS).open().await
}

#[tokio::test]
async fn every_kind_survives_create_fetch_and_scan() {
    with_db(|db| async move {
        let side = opened(&db).await;
        let writes: Vec<Write> = records().into_iter().map(|record| Write::Create { record }).collect();
        let done = side.target.write(&writes).await.unwrap();
        assert_eq!(outcomes(&done), ["applied"; 4]);
        for (outcome, expected) in done.iter().zip(&records()) {
            assert_eq!(texts(stored(outcome)), texts(expected));
        }
        check(side.target.as_ref()).await;
    })
    .await;
}

#[tokio::test]
async fn every_kind_survives_upserts_and_a_second_one_writes_nothing() {
    with_db(|db| async move {
        let side = opened(&db).await;
        let small = side.target.upsert(&records()).await.unwrap();
        assert_eq!((small.written, small.unchanged), (4, 0));
        check(side.target.as_ref()).await;
        assert_eq!(side.target.upsert(&records()).await.unwrap().unchanged, 4);

        db.run("TRUNCATE v").await;
        let names = layout(COLUMNS);
        let filler = |id: i64| {
            let mut values = vec![Some(Value::Null); COLUMNS.len()];
            values[0] = Some(Value::Int(id));
            Record::new(std::sync::Arc::clone(&names), values)
        };
        let many: Vec<Record> = records().into_iter().chain((5..200).map(filler)).collect();
        assert_eq!(side.target.upsert(&many).await.unwrap().written, 199);
        assert_eq!(side.target.upsert(&many).await.unwrap().unchanged, 199);
        db.run("DELETE FROM v WHERE id > 4").await;
        check(side.target.as_ref()).await;
    })
    .await;
}

#[tokio::test]
async fn guards_hold_for_every_kind() {
    with_db(|db| async move {
        let side = opened(&db).await;
        side.target.upsert(&records()).await.unwrap();
        for record in records() {
            let id = record.key(&["id"]).unwrap();
            let guarded = Write::Update {
                key: id.clone(),
                fields: Record::of([("t", text("new"))]),
                guard: Some(record.clone()),
            };
            let done = side.target.write(std::slice::from_ref(&guarded)).await.unwrap();
            assert_eq!(outcomes(&done), ["applied"], "{id}");
            assert_eq!(outcomes(&side.target.write(&[guarded]).await.unwrap()), ["changed"], "{id}");
            let now = stored(&done[0]).clone();
            let deleted = side.target.write(&[Write::Delete { key: id, guard: Some(now) }]).await.unwrap();
            assert_eq!(outcomes(&deleted), ["applied"]);
        }
        assert_eq!(db.number("SELECT count(*) FROM v").await, 0);
    })
    .await;
}

#[tokio::test]
async fn what_differs_in_case_or_spelling_only_is_a_change() {
    with_db(|db| async move {
        let side = opened(&db).await;
        let one = |ci: &str, j: &str, iv: &str| {
            Record::of([("id", Value::Int(1)), ("ci", text(ci)), ("j", json(j)), ("iv", text(iv))])
        };
        assert_eq!(side.target.upsert(&[one("a", "[1]", "30 days")]).await.unwrap().written, 1);
        for record in [one("A", "[1]", "30 days"), one("A", "[ 1]", "30 days"), one("A", "[ 1]", "1 mon")] {
            assert_eq!(side.target.upsert(std::slice::from_ref(&record)).await.unwrap().written, 1);
            assert_eq!(side.target.upsert(&[record]).await.unwrap().written, 0);
        }
    })
    .await;
}
