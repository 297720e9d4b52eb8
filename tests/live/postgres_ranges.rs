//! Key ranges: whatever the key is, they cover every record once, and each holds its share of them.

use tidelock::config::CaptureMethod;
use tidelock::connector::{ScanOrder, Target};
use tidelock::record::{Key, KeyRange, Record};

use crate::postgres::{Db, with_db};

/// So many rows, of a page each, are more than what a table is cut from.
const ROWS: usize = 4_400;
const PARTS: usize = 4;

/// Makes a table with these columns and a wide one that is stored in its row, and fills it with what `select` makes of `g`.
async fn fill(db: &Db, table: &str, columns: &str, select: &str) {
    db.run(&format!(
        "CREATE TABLE {table} ({columns}, pad text NOT NULL DEFAULT repeat('x', 7000));
         ALTER TABLE {table} ALTER COLUMN pad SET STORAGE PLAIN; {}",
        insert(table, select)
    ))
    .await;
}

fn insert(table: &str, select: &str) -> String {
    format!("INSERT INTO {table} SELECT {select} FROM generate_series(1, {ROWS}) g")
}

async fn read(target: &dyn Target, range: KeyRange) -> Vec<Record> {
    let mut scan = target.scan(ScanOrder::Key(range)).await.unwrap();
    assert!(scan.resumable());
    let mut records = Vec::new();
    loop {
        let next = scan.next(1_000).await.unwrap();
        if next.is_empty() {
            return records;
        }
        records.extend(next);
    }
}

/// The ranges one after the other are the whole, in its order, and none is much larger than the others.
async fn cover(target: &dyn Target, records: usize) -> Vec<Key> {
    let cuts = target.split(PARTS).await.unwrap();
    assert_eq!(cuts.len(), PARTS - 1);
    let whole = read(target, KeyRange::ALL).await;
    assert_eq!(whole.len(), records);
    let (mut joined, share) = (Vec::new(), records / PARTS);
    for range in KeyRange::cut_at(cuts.clone()) {
        let part = read(target, range.clone()).await;
        assert!((share / 2..share * 2).contains(&part.len()), "{range:?} has {} of {records}", part.len());
        joined.extend(part);
    }
    assert!(joined == whole, "{cuts:?}: {} records in ranges, {} in all", joined.len(), whole.len());
    cuts
}

#[tokio::test]
async fn ranges_of_any_key_cover_every_record_once() {
    for (columns, select, fields) in [
        // The order of a composite key is that of its columns one after the other; most of the first ones are equal.
        ("a int, \"B \"\"b\" text, PRIMARY KEY (a, \"B \"\"b\")", "g % 3, md5(g::text)", &["a", "B \"b"][..]),
        // Small letters before large ones and accents among them, unlike their bytes.
        (
            "id text COLLATE \"und-x-icu\" PRIMARY KEY",
            "(ARRAY['a', 'A', 'ä', 'Z', 'z', 'é', ''''])[1 + g % 7] || CASE WHEN g % 2 = 0 THEN upper(md5(g::text)) ELSE md5(g::text) END",
            &["id"],
        ),
        (
            "id text COLLATE \"C\" PRIMARY KEY",
            "CASE WHEN g % 2 = 0 THEN upper(md5(g::text)) ELSE md5(g::text) END",
            &["id"],
        ),
        ("id char(40) PRIMARY KEY", "md5(g::text)", &["id"]),
        ("id numeric PRIMARY KEY", "(g - 2000) * 1e15 + 0.25", &["id"]),
        ("id float8 PRIMARY KEY", "(g - 2000) / 7.0", &["id"]),
        ("id uuid PRIMARY KEY", "md5(g::text)::uuid", &["id"]),
        ("id bytea PRIMARY KEY", "decode(md5(g::text), 'hex')", &["id"]),
        ("id timestamptz PRIMARY KEY", "'2024-02-28 00:00:00.000001+02'::timestamptz + g * '1 h'::interval", &["id"]),
        ("id date PRIMARY KEY", "'1999-12-31'::date + g", &["id"]),
        ("id bigint PRIMARY KEY", "CASE WHEN g % 2 = 0 THEN g ELSE -9223372036854775808 + g END", &["id"]),
    ] {
        with_db(move |db| async move {
            fill(&db, "\"Odd \"\" table\"", columns, select).await;
            let side = db.table("Odd \" table", fields).open().await;
            cover(side.target.as_ref(), ROWS).await;
        })
        .await;
    }
}

#[tokio::test]
async fn ranges_of_a_partitioned_table_go_through_all_of_its_partitions() {
    with_db(|db| async move {
        db.run(
            "CREATE TABLE parted (id int, kind int, pad text NOT NULL DEFAULT repeat('x', 7000), PRIMARY KEY (id, kind)) PARTITION BY HASH (id);
             CREATE TABLE parted_0 PARTITION OF parted FOR VALUES WITH (MODULUS 2, REMAINDER 0);
             CREATE TABLE parted_1 PARTITION OF parted FOR VALUES WITH (MODULUS 2, REMAINDER 1) PARTITION BY LIST (kind);
             CREATE TABLE parted_1_0 PARTITION OF parted_1 FOR VALUES IN (0);
             CREATE TABLE parted_1_1 PARTITION OF parted_1 DEFAULT;
             ALTER TABLE parted ALTER COLUMN pad SET STORAGE PLAIN;
             ALTER TABLE parted_0 ALTER COLUMN pad SET STORAGE PLAIN;
             ALTER TABLE parted_1_0 ALTER COLUMN pad SET STORAGE PLAIN;
             ALTER TABLE parted_1_1 ALTER COLUMN pad SET STORAGE PLAIN;",
        )
        .await;
        db.run(&insert("parted", "g, g % 4")).await;
        let side = db.table("parted", &["id", "kind"]).open().await;
        cover(side.target.as_ref(), ROWS).await;
    })
    .await;
}

/// The filter is not looked at where the cuts are made: the ranges are as unequal as it makes them.
#[tokio::test]
async fn ranges_of_a_filtered_table_cover_what_the_filter_leaves() {
    with_db(|db| async move {
        fill(&db, "f", "id int PRIMARY KEY", "g").await;
        let side = db.table("f", &["id"]).filter("id % 2 = 0 -- even ones").open().await;
        cover(side.target.as_ref(), ROWS / 2).await;
    })
    .await;
}

#[tokio::test]
async fn what_is_small_or_cannot_be_drawn_from_is_not_cut() {
    with_db(|db| async move {
        fill(&db, "large", "id int PRIMARY KEY, at timestamptz NOT NULL DEFAULT now()", "g").await;
        db.run(
            "CREATE TABLE small (id int PRIMARY KEY); INSERT INTO small SELECT generate_series(1, 1000);
             CREATE TABLE empty (id int PRIMARY KEY);
             CREATE VIEW seen AS SELECT id, at FROM large;
             CREATE MATERIALIZED VIEW kept AS SELECT * FROM large WITH NO DATA;
             ALTER MATERIALIZED VIEW kept ALTER COLUMN pad SET STORAGE PLAIN; REFRESH MATERIALIZED VIEW kept;",
        )
        .await;
        for table in ["small", "empty"] {
            let side = db.table(table, &["id"]).open().await;
            assert!(side.target.split(PARTS).await.unwrap().is_empty(), "{table}");
        }
        for (table, cuts) in [("seen", 0), ("kept", PARTS - 1)] {
            let mut opening = db.table(table, &["id"]);
            opening.endpoint.key = vec!["id".to_owned()];
            (opening.options.capture, opening.options.updated_at) = (CaptureMethod::Polling, Some("at".to_owned()));
            let side = opening.open().await;
            assert_eq!(side.target.split(PARTS).await.unwrap().len(), cuts, "{table}");
        }
        let side = db.table("large", &["id"]).open().await;
        assert!(side.target.split(1).await.unwrap().is_empty(), "one part needs no cut");
        // Rows that are there no more say nothing, and the size is that of before.
        db.run("DELETE FROM large WHERE id > 2").await;
        let side = db.table("large", &["id"]).open().await;
        let cuts = side.target.split(PARTS).await.unwrap();
        let mut found = Vec::new();
        for range in KeyRange::cut_at(cuts) {
            found.extend(read(side.target.as_ref(), range).await);
        }
        assert_eq!(found.len(), 2);
    })
    .await;
}
