//! From a commit on one side to the sight of it on the other, at low load.

use std::time::Duration;

use crate::systems::Systems;
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
        let mut service = program::spawn(systems.folder(), &["run", "sync.json"]);
        let ours = edits(systems, "clients").await;
        service.kill().unwrap();
        service.wait().unwrap();
        let ratio = |percent| at(&ours, percent) / at(&native, percent);
        let reached = match detection {
            "database_triggers" => at(&ours, 50) < ASKED_TRIGGERS,
            _ => ratio(50) <= ASKED && ratio(99) <= ASKED,
        };
        println!("  {:<40} p50 {:7.2}  p99 {:7.2}", "native logical replication", at(&native, 50), at(&native, 99));
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
    let mut writer = replication::connect(&systems.postgres[0]).await;
    let mut reader = replication::connect(&systems.postgres[1]).await;
    let mut times = Vec::new();
    // The first one waits for the start.
    for n in 0..=EDITS {
        let city = format!("{table} {n}");
        sqlx::query("UPDATE customers SET city = $1 WHERE id = 1").bind(&city).execute(&mut writer).await.unwrap();
        times.push(replication::until_there(&mut reader, table, 1, &city).await.as_secs_f64() * 1e3);
        tokio::time::sleep(PAUSE).await;
    }
    times.remove(0);
    times.sort_by(f64::total_cmp);
    times
}
