//! Rates beside those of a plain COPY pipe, in one run: `cargo test --release --test live rates -- --ignored --nocapture`.

use std::time::Instant;

use futures_util::StreamExt;
use tidelock::connector::{ScanOrder, Write};
use tidelock::record::Record;
use tidelock::value::Value;

use crate::postgres::{Db, key, outcomes, text, with_db};

const ROWS: i64 = 100_000;
const FIELDS: [&str; 9] = ["id", "name", "email", "phone", "country", "balance", "active", "created", "notes"];

async fn tables(db: &Db) {
    let columns = "id bigint PRIMARY KEY, name text NOT NULL, email text UNIQUE, phone text, country char(2), balance numeric(12,2),
        active bool, created timestamptz, notes text";
    db.run(&format!(
        "CREATE TABLE a ({columns}); CREATE TABLE b ({columns}); CREATE TABLE gen (id bigserial PRIMARY KEY, name text, email text UNIQUE);
         INSERT INTO a SELECT g, 'Name ' || g, 'user' || g || '@example.com', '+1 555 ' || g, 'US', g * 1.25, g % 3 = 0,
           now() - make_interval(secs => g), repeat('n', g::int % 40) FROM generate_series(1, {ROWS}) g"
    ))
    .await;
    db.run("VACUUM ANALYZE a").await;
}

async fn copy_pipe(db: &Db) -> f64 {
    db.run("TRUNCATE b").await;
    let (mut from, mut to) = (db.connect().await, db.connect().await);
    let began = Instant::now();
    let mut rows = from.copy_out_raw("COPY a TO STDOUT").await.unwrap();
    let mut copy = to.copy_in_raw("COPY b FROM STDIN").await.unwrap();
    let mut piece = Vec::new();
    while let Some(row) = rows.next().await {
        piece.extend_from_slice(&row.unwrap());
        if piece.len() > 128 << 10 {
            copy.send(piece.as_slice()).await.unwrap();
            piece.clear();
        }
    }
    copy.send(piece).await.unwrap();
    copy.finish().await.unwrap();
    began.elapsed().as_secs_f64()
}

#[tokio::test]
#[ignore = "measures, and proves nothing"]
#[allow(clippy::print_stderr, clippy::cast_precision_loss, reason = "its output is its purpose")]
async fn rates_beside_copy() {
    with_db(|db| async move {
        tables(&db).await;
        let from = db.table("a", &FIELDS).open().await;
        let to = db.table("b", &FIELDS).open().await;
        for round in 1..=3 {
            let pipe = copy_pipe(&db).await;
            let began = Instant::now();
            let mut scan = from.target.scan(ScanOrder::Key).await.unwrap();
            let mut batches = Vec::new();
            loop {
                let batch = scan.next(10_000).await.unwrap();
                if batch.is_empty() {
                    break;
                }
                batches.push(batch);
            }
            let scanned = began.elapsed().as_secs_f64();
            db.run("TRUNCATE b").await;
            let mut seconds = Vec::new();
            for _ in 0..2 {
                let began = Instant::now();
                for batch in &batches {
                    to.target.upsert(batch).await.unwrap();
                }
                seconds.push(began.elapsed().as_secs_f64());
            }
            db.run("UPDATE b SET notes = 'old'").await;
            let began = Instant::now();
            for batch in &batches {
                assert_eq!(to.target.upsert(batch).await.unwrap().written, 10_000);
            }
            let changed = began.elapsed().as_secs_f64();
            db.run("TRUNCATE b").await;
            let began = Instant::now();
            let mut scan = from.target.scan(ScanOrder::Key).await.unwrap();
            let mut batch = scan.next(10_000).await.unwrap();
            while !batch.is_empty() {
                let (done, next) = tokio::join!(to.target.upsert(&batch), scan.next(10_000));
                done.unwrap();
                batch = next.unwrap();
            }
            let both = began.elapsed().as_secs_f64();
            let rate = |seconds: f64| format!("{:.0}k/s ({:.2})", ROWS as f64 / seconds / 1000.0, pipe / seconds);
            eprintln!(
                "round {round}: COPY pipe {} scan {} upsert new {} equal {} changed {} scan+upsert {}",
                rate(pipe),
                rate(scanned),
                rate(seconds[0]),
                rate(seconds[1]),
                rate(changed),
                rate(both)
            );
        }
        writes(&db).await;
    })
    .await;
}

#[allow(clippy::print_stderr, clippy::cast_precision_loss, reason = "its output is its purpose")]
async fn writes(db: &Db) {
    let side = db.table("b", &FIELDS).open().await;
    let generated = db.table("gen", &["id", "name", "email"]).open().await;
    for round in 1..=3 {
        let mut figures = Vec::new();
        for size in [1, 100, 2_000] {
            let began = Instant::now();
            let rounds = if size == 1 { 200 } else { 4 };
            for first in 0..rounds {
                let writes: Vec<Write> = (0..size)
                    .map(|n| Write::Update {
                        key: key(first * size + n + 1),
                        fields: Record::of([("notes", text(&format!("note {round} {first}")))]),
                        guard: Some(Record::of([("country", text("US"))])),
                    })
                    .collect();
                let done = side.target.write(&writes).await.unwrap();
                assert_eq!(outcomes(&done)[0], "applied");
            }
            figures.push(format!("update x{size} {:.0}/s", (rounds * size) as f64 / began.elapsed().as_secs_f64()));
        }
        let began = Instant::now();
        let creates: Vec<Write> = (0..2_000)
            .map(|n| Write::Create {
                record: Record::of([("name", text("n")), ("email", text(&format!("{round}-{n}")))]),
                token: Some(format!("{round}-{n}")),
            })
            .collect();
        let done = generated.target.write(&creates).await.unwrap();
        assert_eq!(outcomes(&done)[0], "applied");
        figures.push(format!("create with token {:.0}/s", 2_000.0 / began.elapsed().as_secs_f64()));
        let records: Vec<Record> = (10_000_001..=10_020_000)
            .map(|id| {
                Record::of([("id", Value::Int(id)), ("name", text(&format!("r{round}"))), ("email", Value::Null)])
            })
            .collect();
        let began = Instant::now();
        for part in records.chunks(40) {
            generated.target.upsert(part).await.unwrap();
        }
        figures.push(format!("upsert x40 {:.0}/s", 20_000.0 / began.elapsed().as_secs_f64()));
        eprintln!("round {round}: {}", figures.join(", "));
    }
}
