//! How fast the SQLite connector is beside a plain loop over a prepared insert. `cargo test --release --test it -- --ignored speed`.

use std::time::Instant;

use sqlx::{ConnectOptions, Connection};
use tidelock::connector::{ScanOrder, Write};
use tidelock::record::{Key, Record};
use tidelock::value::Value;

use crate::contract::{Opened, strings};
use crate::sqlite::SqliteFixture;

const ROWS: i64 = 100_000;
const TABLE: &str =
    "(id INTEGER PRIMARY KEY, name TEXT, email TEXT, age INTEGER, balance REAL, joined DATETIME, active BOOLEAN)";

fn row(id: i64) -> Record {
    Record::of([
        ("id", Value::Int(id)),
        ("name", Value::Text(format!("Name {id}"))),
        ("email", Value::Text(format!("person{id}@example.com"))),
        ("age", Value::Int(id % 90)),
        ("balance", Value::Float(0.25 * f64::from(i32::try_from(id).unwrap()))),
        ("joined", Value::Local(1_700_000_000_000_000 + id)),
        ("active", Value::Boolean(id % 2 == 0)),
    ])
}

/// A stretch of work: its time, and the processor time of all threads, which says more on a busy machine.
struct Clock(Instant, f64);

impl Clock {
    fn start() -> Self {
        Self(Instant::now(), processor_seconds())
    }

    fn report(&self, what: &str) {
        let (seconds, busy) = (self.0.elapsed().as_secs_f64(), processor_seconds() - self.1);
        eprintln!("{what:<44} {:>9.0} rows/s {:>7.1} us of processor a row", 100_000.0 / seconds, busy * 10.0);
    }
}

/// User and system time of this process, from `/proc/self/stat`; 0 where there is none.
fn processor_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let ticks: f64 = stat.split(' ').skip(13).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum();
    ticks / 100.0
}

async fn plain_loop(fixture: &SqliteFixture) {
    let mut connection = fixture.options().connect().await.unwrap();
    let began = Clock::start();
    let mut transaction = connection.begin().await.unwrap();
    for id in 1..=ROWS {
        sqlx::query("INSERT INTO plain VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")
            .bind(id)
            .bind(format!("Name {id}"))
            .bind(format!("person{id}@example.com"))
            .bind(id % 90)
            .bind(0.25 * f64::from(i32::try_from(id).unwrap()))
            .bind("2023-11-14 22:13:20.000001")
            .bind(id % 2)
            .execute(&mut *transaction)
            .await
            .unwrap();
    }
    transaction.commit().await.unwrap();
    began.report("plain loop, one transaction (sqlx)");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn speed() {
    let people = format!("CREATE TABLE People {TABLE}");
    let plain = format!("CREATE TABLE plain {TABLE}");
    let fixture = SqliteFixture::new(&["PRAGMA journal_mode = WAL", &people, &plain]).await;
    plain_loop(&fixture).await;
    let mut opened = Opened::with(Box::new(fixture), |_| ()).await;
    let records: Vec<Record> = (1..=ROWS).map(row).collect();
    let upsert = async |what: &str| {
        let began = Clock::start();
        for batch in records.chunks(1000) {
            opened.target.upsert(batch).await.unwrap();
        }
        began.report(what);
    };
    upsert("upsert, new, 1000 a transaction").await;
    upsert("upsert, equal").await;
    opened.sql("UPDATE {t} SET age = age + 1").await;
    upsert("upsert, each changed").await;
    for (what, order) in [
        ("scan by key", ScanOrder::Key),
        ("scan by a field without index", ScanOrder::Fields { fields: strings(&["email"]), as_text: false }),
        ("scan by a time", ScanOrder::Fields { fields: strings(&["joined"]), as_text: true }),
    ] {
        let began = Clock::start();
        let mut scan = opened.target.scan(order).await.unwrap();
        let mut found = 0;
        while let Some(page) = Some(scan.next(1000).await.unwrap()).filter(|page| !page.is_empty()) {
            found += page.len();
        }
        assert_eq!(found, 100_000);
        began.report(what);
    }
    let keys: Vec<Key> = (1..=ROWS).map(|id| Key(vec![Value::Int(id)])).collect();
    let began = Clock::start();
    for keys in keys.chunks(1000) {
        opened.target.fetch(keys).await.unwrap();
    }
    began.report("fetch, 1000 keys");
    let guarded = async |what: &str, age: i64| {
        let began = Clock::start();
        for batch in records.chunks(1000) {
            let writes: Vec<Write> = batch
                .iter()
                .map(|record| Write::Update {
                    key: record.key(&["id"]).unwrap(),
                    fields: Record::of([("age", Value::Int(age))]),
                    guard: Some(Record::of(record.iter().filter(|(name, _)| *name != "age").map(|(name, value)| (name, value.clone())))),
                })
                .collect();
            opened.target.write(&writes).await.unwrap();
        }
        began.report(what);
    };
    guarded("guarded updates, 1000 a transaction", 1).await;
    opened.source.prepare().await.unwrap();
    let guarded_tracked = Clock::start();
    for batch in records.chunks(1000) {
        opened.target.upsert(batch).await.unwrap();
    }
    guarded_tracked.report("upsert, each changed, tracked");
    let began = Clock::start();
    let mut position = tidelock::change::Position("0".to_owned());
    loop {
        let batch = opened.source.next_batch(&position, 1000).await.unwrap();
        position = batch.through;
        if !batch.more {
            break;
        }
    }
    began.report("reading the change table");
    let began = Clock::start();
    for keys in keys.chunks(1000) {
        opened.target.delete_by_correlation(keys).await.unwrap();
    }
    began.report("delete by correlation, tracked");
}
