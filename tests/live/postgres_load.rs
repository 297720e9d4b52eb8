//! Scans, finds and upserts: orders, filters, counts, and that a large table needs no large memory.

use tidelock::connector::{ScanOrder, Target};
use tidelock::error::ErrorKind;
use tidelock::record::{Key, KeyRange, Record, layout};
use tidelock::value::Value;

use crate::postgres::{assert_error, key, text, with_db};

async fn scanned(target: &dyn Target, order: ScanOrder, field: &str) -> Vec<String> {
    let mut scan = target.scan(order).await.unwrap();
    let mut found = Vec::new();
    loop {
        let part = scan.next(3).await.unwrap();
        assert!(part.len() <= 3);
        if part.is_empty() {
            assert!(scan.next(3).await.unwrap().is_empty());
            return found;
        }
        found.extend(part.iter().map(|record| record.get(field).unwrap().to_text().unwrap_or_default()));
    }
}

fn by(field: &str, as_text: bool) -> ScanOrder {
    ScanOrder::Fields { fields: vec![field.to_owned()], as_text }
}

/// The texts of values in the order of `sort`.
fn ordered(mut values: Vec<Value>, as_text: bool) -> Vec<String> {
    if as_text {
        values.sort_by_key(Value::to_text);
    } else {
        values.sort();
    }
    values.iter().map(|value| value.to_text().unwrap()).collect()
}

#[tokio::test]
async fn ordered_scans_agree_with_the_order_of_values() {
    with_db(|db| async move {
        db.run(
            "CREATE TABLE o (id int PRIMARY KEY, t text COLLATE \"en_US.utf8\", n numeric, f float8, by bytea, d date, tz timestamptz, ts timestamp, u uuid, b bool, c char(4));
             INSERT INTO o VALUES
              (1, 'b', 10, 10, '\\x0a', '2024-01-02', '2024-01-02 00:00:00.5+00', '2024-01-02 00:00:00.5', '00000000-0000-0000-0000-0000000000ff', true, 'b'),
              (2, 'B', 9.5, 9.5, '\\x', '1999-12-31', '2024-01-02 00:00:00+00', '2024-01-02', '10000000-0000-0000-0000-000000000000', false, 'B'),
              (3, 'ä', -1, 1e20, '\\x0a00', '2024-01-01', '2023-12-31 23:59:59.999999+00', '2023-12-31', 'a0000000-0000-0000-0000-000000000000', true, 'a'),
              (4, 'a b', 100, -1e-7, '\\xff', '0900-01-01', '2024-01-02 00:00:00.25+00', '2024-01-02 00:00:00.25', '0a000000-0000-0000-0000-000000000000', true, 'ab'),
              (5, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL)"
                .replace("COLLATE \"en_US.utf8\"", "")
                .as_str(),
        )
        .await;
        let fields = ["id", "t", "n", "f", "by", "d", "tz", "ts", "u", "b", "c"];
        let side = db.table("o", &fields).open().await;
        let keys: Vec<Key> = (1..=4).map(key).collect();
        let records: Vec<Record> = side.target.fetch(&keys).await.unwrap().into_iter().flatten().collect();
        for field in fields {
            for as_text in [false, true] {
                let values: Vec<Value> = records.iter().map(|record| record.get(field).unwrap().clone()).collect();
                let mut expected = ordered(values, as_text);
                if field == "id" {
                    expected.push("5".to_owned());
                }
                assert_eq!(scanned(side.target.as_ref(), by(field, as_text), field).await, expected, "{field} {as_text}");
            }
        }
        assert_eq!(scanned(side.target.as_ref(), ScanOrder::Key(KeyRange::ALL), "id").await, ["1", "2", "3", "4", "5"]);
    })
    .await;
}

#[tokio::test]
async fn a_filter_holds_for_scan_fetch_and_find() {
    with_db(|db| async move {
        db.run("CREATE TABLE f (id int PRIMARY KEY, country text, c0 text); INSERT INTO f VALUES (1, 'US', 'x'), (2, 'DE', 'x'), (3, NULL, 'x'), (4, 'US', 'y')").await;
        let side = db.table("f", &["id", "country", "c0"]).correlation(&["c0"]).filter("f.country = 'US' -- only these").open().await;
        assert_eq!(scanned(side.target.as_ref(), ScanOrder::Key(KeyRange::ALL), "id").await, ["1", "4"]);
        assert_eq!(scanned(side.target.as_ref(), by("country", false), "id").await.len(), 2);
        let fetched = side.target.fetch(&[key(4), key(2), key(1), key(4)]).await.unwrap();
        let shown: Vec<bool> = fetched.iter().map(Option::is_some).collect();
        assert_eq!(shown, [true, false, true, true]);
        let found = side.target.find(&["c0".to_owned()], &[Key(vec![text("x")]), Key(vec![text("none")]), Key(vec![text("y")])]).await.unwrap();
        assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [1, 0, 1]);

        for (filter, hint) in [("country = ", "syntax error"), ("contry = 'US'", "contry"), ("country", "must be type boolean"), ("true); SELECT (1", "syntax error")] {
            let error = db.table("f", &["id"]).filter(filter).try_open().await.err().unwrap();
            assert_error(&error, "postgres.filter", &["public.f", hint]);
            assert_eq!(error.kind, ErrorKind::SchemaMismatch);
        }
    })
    .await;
}

#[tokio::test]
async fn find_returns_all_that_match_in_order() {
    with_db(|db| async move {
        db.run(
            "CREATE TABLE m (id int PRIMARY KEY, a int, b text);
             INSERT INTO m VALUES (1, 5, 'x'), (2, 5, 'x'), (3, 6, 'y'), (4, NULL, 'x')",
        )
        .await;
        let side = db.table("m", &["id", "a", "b"]).correlation(&["a", "b"]).open().await;
        let fields = ["a".to_owned(), "b".to_owned()];
        let pair = |a: i64, b: &str| Key(vec![Value::Int(a), text(b)]);
        let found = side
            .target
            .find(&fields, &[pair(6, "y"), pair(5, "x"), pair(5, "y"), pair(1 << 40, "x"), pair(5, "x\0")])
            .await
            .unwrap();
        assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [1, 2, 0, 0, 0]);
        assert!(side.target.find(&fields, &[]).await.unwrap().is_empty());
    })
    .await;
}

#[tokio::test]
async fn find_uses_the_index() {
    with_db(|db| async move {
        db.run(
            "CREATE TABLE big (id int PRIMARY KEY, code varchar(20), num numeric);
             INSERT INTO big SELECT g, 'c' || g, g FROM generate_series(1, 50000) g; CREATE UNIQUE INDEX ON big (code); ANALYZE big",
        )
        .await;
        let side = db.table("big", &["id", "code"]).correlation(&["code"]).open().await;
        let before = db.number("SELECT seq_scan::bigint FROM pg_stat_user_tables WHERE relname = 'big'").await;
        for id in [7, 8, 9, 10, 11, 12, 13, 14] {
            let found = side.target.find(&["code".to_owned()], &[Key(vec![text(&format!("c{id}"))])]).await.unwrap();
            assert_eq!(found[0][0].get("id"), Some(&Value::Int(id)));
        }
        drop(side);
        tokio::time::sleep(std::time::Duration::from_millis(1_500)).await;
        let after = db.number("SELECT seq_scan::bigint FROM pg_stat_user_tables WHERE relname = 'big'").await;
        assert_eq!(after, before);
    })
    .await;
}

#[tokio::test]
async fn upserts_count_what_they_wrote_and_touch_nothing_else() {
    with_db(|db| async move {
        db.run("CREATE TABLE up (id serial PRIMARY KEY, code text UNIQUE, name text, untouched int DEFAULT 7)").await;
        let side = db.table("up", &["id", "code", "name"]).correlation(&["code"]).open().await;
        let names = layout(["code", "name"]);
        let record = |n: i64, name: &str| {
            Record::new(std::sync::Arc::clone(&names), vec![Some(text(&format!("c{n}"))), Some(text(name))])
        };
        for count in [10, 500] {
            let all: Vec<Record> = (0..count).map(|n| record(n, "first")).collect();
            let done = side.target.upsert(&all).await.unwrap();
            assert_eq!(done.written + done.unchanged, u64::try_from(count).unwrap());
            let versions = "SELECT string_agg(xmin::text || ctid::text, ' ' ORDER BY id) FROM up";
            let before = db.text(versions).await;
            let again = side.target.upsert(&all).await.unwrap();
            assert_eq!((again.written, again.unchanged), (0, u64::try_from(count).unwrap()));
            assert_eq!(db.text(versions).await, before);
            let mixed: Vec<Record> =
                (0..count).map(|n| record(n, if n % 5 == 0 { "second" } else { "first" })).collect();
            let done = side.target.upsert(&mixed).await.unwrap();
            assert_eq!(done.written, u64::try_from(count / 5).unwrap());
            assert_eq!(side.target.upsert(&all).await.unwrap().written, u64::try_from(count / 5).unwrap());
        }
        assert_eq!(db.number("SELECT count(*) FROM up WHERE untouched = 7 AND name = 'first'").await, 500);
        // An absent field is left alone, a null is written.
        let layout = layout(["code", "name"]);
        let absent = Record::new(std::sync::Arc::clone(&layout), vec![Some(text("c1")), None]);
        let null = Record::new(layout, vec![Some(text("c2")), Some(Value::Null)]);
        let done = side.target.upsert(&[absent, null]).await.unwrap();
        assert_eq!((done.written, done.unchanged), (1, 1));
        assert_eq!(db.text("SELECT name FROM up WHERE code = 'c1'").await.unwrap(), "first");
        assert_eq!(db.text("SELECT name FROM up WHERE code = 'c2'").await, None);
    })
    .await;
}

#[tokio::test]
async fn a_refused_upsert_writes_nothing_and_the_next_one_works() {
    with_db(|db| async move {
        db.run("CREATE TABLE up (id int PRIMARY KEY, name varchar(3))").await;
        let side = db.table("up", &["id", "name"]).open().await;
        let record = |id: i64, name: &str| Record::of([("id", Value::Int(id)), ("name", text(name))]);
        for count in [5, 100] {
            let mut records: Vec<Record> = (0..count).map(|id| record(id, "ok")).collect();
            records[3] = record(3, "much too long");
            let error = side.target.upsert(&records).await.unwrap_err();
            assert_error(&error, "postgres.invalid_record", &["upserting", "value too long"]);
            assert_eq!(db.number("SELECT count(*) FROM up").await, 0);
            records[3] = record(3, "a\0");
            assert_error(&side.target.upsert(&records).await.unwrap_err(), "postgres.nul_character", &["name"]);
        }
        let records: Vec<Record> = (0..100).map(|id| record(id, "ok")).collect();
        assert_eq!(side.target.upsert(&records).await.unwrap().written, 100);
    })
    .await;
}

#[tokio::test]
async fn upserts_at_the_same_time_fill_an_empty_table_and_collide_with_nobody() {
    with_db(|db| async move {
        db.run("CREATE TABLE up (id int PRIMARY KEY, name text)").await;
        let side = db.table("up", &["id", "name"]).open().await;
        let records = |first: i64, name: &str| -> Vec<Record> {
            (first..first + 500).map(|id| Record::of([("id", Value::Int(id)), ("name", text(name))])).collect()
        };
        let (one, two, three) = (records(0, "a"), records(500, "a"), records(1_000, "a"));
        let target = &side.target;
        let done = tokio::try_join!(target.upsert(&one), target.upsert(&two), target.upsert(&three)).unwrap();
        assert_eq!([done.0.written, done.1.written, done.2.written], [500; 3]);
        // Half of what is written by one is there by now: no longer filled, but merged.
        let (one, two) = (records(1_250, "a"), records(250, "b"));
        let done = tokio::try_join!(target.upsert(&one), target.upsert(&two)).unwrap();
        assert_eq!((done.0.written, done.0.unchanged, done.1.written), (250, 250, 500));
        assert_eq!(db.number("SELECT count(*) FROM up").await, 1_750);
        assert_eq!(db.number("SELECT count(*) FROM up WHERE name = 'b'").await, 500);
    })
    .await;
}

#[tokio::test]
async fn a_scan_that_is_dropped_half_way_does_no_harm() {
    with_db(|db| async move {
        db.run("CREATE TABLE big (id int PRIMARY KEY, pad text); INSERT INTO big SELECT g, repeat('x', 500) FROM generate_series(1, 100000) g").await;
        let side = db.table("big", &["id", "pad"]).open().await;
        for _ in 0..5 {
            let mut scan = side.target.scan(ScanOrder::Key(KeyRange::ALL)).await.unwrap();
            assert_eq!(scan.next(10).await.unwrap().len(), 10);
        }
        let mut scan = side.target.scan(ScanOrder::Key(KeyRange::ALL)).await.unwrap();
        let mut count = 0;
        loop {
            let part = scan.next(2_000).await.unwrap();
            if part.is_empty() {
                break;
            }
            count += part.len();
        }
        assert_eq!(count, 100_000);
    })
    .await;
}
