//! From a commit on one side to the sight of it on the other, at low load.
//!
//! Nobody polls, which would measure the poll and take a core away. A trigger of the target's table, the same for both, sends a notification,
//! which the server delivers once others can see the transaction. The clock runs from the answer to the commit on one side to the arrival of
//! the notification. How long one takes to arrive after the answer to a commit on the target itself is measured, too, and taken off.

use std::time::{Duration, Instant};

use sqlx::AssertSqlSafe;
use sqlx::postgres::PgListener;

use crate::systems::{Systems, TABLE, execute};
use crate::{program, replication};

const EDITS: u32 = 200;
const PAUSE: Duration = Duration::from_millis(50);

/// How often the anchor may be exceeded, at the median and at the 99th percentile.
const ASKED: f64 = 3.0;
/// Milliseconds that the median may be with triggers.
const ASKED_TRIGGERS: f64 = 15.0;

const CASES: [(&str, &str); 4] = [
    ("one_way", "logical_replication"),
    ("bidirectional", "logical_replication"),
    ("one_way", "database_triggers"),
    ("bidirectional", "database_triggers"),
];

pub(crate) async fn measure(systems: &Systems) {
    println!("\nLatency of {EDITS} edits, 20 a second: milliseconds from the commit to the sight of it");
    for (sync_type, detection) in CASES {
        systems.empty_targets().await;
        program::forget(systems.folder());
        program::configure(systems.folder(), &program::following(systems, sync_type, detection));
        program::once(systems.folder(), systems.rows);
        replication::start(systems).await;
        replication::enable(systems, true).await;
        let native = edits(systems, "customers").await;
        replication::stop(systems).await;
        let service = program::spawn(systems.folder(), &["run", "sync.json", "--listen", "127.0.0.1:0"]);
        let ours = edits(systems, "clients").await;
        program::stop(service);
        let overhead = overhead(systems).await;
        let [native, ours] = [native, ours].map(|times| times.iter().map(|time| time - overhead).collect::<Vec<_>>());
        let ratio = |percent| at(&ours, percent) / at(&native, percent);
        let reached = match detection {
            "database_triggers" => at(&ours, 50) < ASKED_TRIGGERS,
            _ => ratio(50) <= ASKED && ratio(99) <= ASKED,
        };
        println!(
            "  {:<40} p50 {:7.2}  p99 {:7.2}  (a notification takes {overhead:.3}, taken off)",
            "native logical replication",
            at(&native, 50),
            at(&native, 99)
        );
        println!(
            "  {:<40} p50 {:7.2}  p99 {:7.2}  ratios {:5.2} and {:5.2} ({})",
            format!("tidelock, {sync_type}, {detection}"),
            at(&ours, 50),
            at(&ours, 99),
            ratio(50),
            ratio(99),
            if reached { "reached" } else { "MISSED" }
        );
    }
}

fn at(sorted: &[f64], percent: usize) -> f64 {
    sorted[(sorted.len() - 1) * percent / 100]
}

/// Sorted, in milliseconds.
async fn edits(systems: &Systems, table: &str) -> Vec<f64> {
    let notify = format!(
        "CREATE OR REPLACE FUNCTION tl_bench_seen() RETURNS trigger LANGUAGE plpgsql AS \
           $$ BEGIN PERFORM pg_notify('tl_bench', NEW.city); RETURN NULL; END $$; \
         CREATE OR REPLACE TRIGGER tl_bench_seen AFTER UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION tl_bench_seen(); \
         ALTER TABLE {table} ENABLE ALWAYS TRIGGER tl_bench_seen"
    );
    execute(&systems.postgres[1], &notify).await;
    let mut listener = PgListener::connect(&systems.postgres[1]).await.unwrap();
    listener.listen("tl_bench").await.unwrap();
    let times = observed(&systems.postgres[0], "customers", &mut listener).await;
    execute(&systems.postgres[1], &format!("DROP TRIGGER tl_bench_seen ON {table}")).await;
    times
}

/// How long a notification takes to arrive after the answer to the commit that sent it, at the median.
async fn overhead(systems: &Systems) -> f64 {
    let sql =
        format!("DROP TABLE IF EXISTS observed; CREATE TABLE observed {TABLE}; INSERT INTO observed (id) VALUES (1)");
    execute(&systems.postgres[1], &sql).await;
    let mut listener = PgListener::connect(&systems.postgres[1]).await.unwrap();
    listener.listen("tl_bench").await.unwrap();
    let notify = "CREATE TRIGGER tl_bench_seen AFTER UPDATE ON observed FOR EACH ROW EXECUTE FUNCTION tl_bench_seen()";
    execute(&systems.postgres[1], notify).await;
    let times = observed(&systems.postgres[1], "observed", &mut listener).await;
    execute(&systems.postgres[1], "DROP TABLE observed").await;
    at(&times, 50)
}

/// Edits the first record of a table, and waits for each edit to be told of; sorted, in milliseconds. It may be told before the answer comes.
async fn observed(url: &str, table: &str, listener: &mut PgListener) -> Vec<f64> {
    let mut writer = replication::connect(url).await;
    let sql = format!("UPDATE {table} SET city = $1 WHERE id = 1");
    let mut times = Vec::new();
    // The first one waits for the start.
    for n in 0..=EDITS {
        let city = format!("{table} {n}");
        let edit = async {
            sqlx::query(AssertSqlSafe(sql.clone())).bind(&city).execute(&mut writer).await.unwrap();
            Instant::now()
        };
        let seen = async {
            while listener.recv().await.unwrap().payload() != city {}
            Instant::now()
        };
        let (committed, seen) = tokio::join!(edit, seen);
        let early = committed.saturating_duration_since(seen).as_secs_f64();
        times.push((seen.saturating_duration_since(committed).as_secs_f64() - early) * 1e3);
        tokio::time::sleep(PAUSE).await;
    }
    times.remove(0);
    times.sort_by(f64::total_cmp);
    times
}
