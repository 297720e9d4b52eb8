//! How fast a backlog of changes is applied, next to PostgreSQL's own logical replication.

use std::time::Instant;

use crate::systems::{Systems, execute};
use crate::{ROUNDS, median, program, ratio, replication};

/// Rows of a backlog; each is changed once.
const BACKLOG: u32 = 50_000;

/// Writes a backlog in transactions of `size` rows. The last one is awaited on disk: only what is there is sent.
async fn change(systems: &Systems, rows: u32, size: u32, city: &str) {
    let sql = format!(
        "DO $$ BEGIN \
           FOR i IN 0..{last} LOOP \
             SET LOCAL synchronous_commit = off; \
             UPDATE customers SET city = '{city}' WHERE id BETWEEN i * {size} + 1 AND least((i + 1) * {size}, {rows}); \
             COMMIT; \
           END LOOP; \
         END $$",
        last = (rows - 1) / size,
    );
    execute(&systems.postgres[0], &sql).await;
    execute(&systems.postgres[0], &format!("UPDATE customers SET city = '{city}' WHERE id = {rows}")).await;
}

async fn native(systems: &Systems, rows: u32, size: u32, city: &str) -> f64 {
    replication::enable(systems, false).await;
    change(systems, rows, size, city).await;
    let mut reader = replication::connect(&systems.postgres[1]).await;
    let began = Instant::now();
    replication::enable(systems, true).await;
    replication::until_there(&mut reader, "customers", rows, city).await;
    began.elapsed().as_secs_f64()
}

/// Without what a start costs where there is nothing to do, which the other does not have either.
async fn ours(systems: &Systems, rows: u32, size: u32, city: &str) -> f64 {
    let idle = program::once(systems.folder(), 0).seconds;
    change(systems, rows, size, city).await;
    (program::once(systems.folder(), rows).seconds - idle).max(f64::EPSILON)
}

pub(crate) async fn measure(systems: &Systems) {
    let rows = BACKLOG.min(systems.rows);
    println!("\nA backlog of {rows} changed rows, medians of {ROUNDS} interleaved rounds");
    for (sync_type, asked) in [("one_way", 1.0), ("bidirectional", 0.5)] {
        systems.empty_targets().await;
        program::forget(systems.folder());
        program::configure(systems.folder(), &program::following(systems, sync_type, "logical_replication"));
        program::once(systems.folder(), systems.rows);
        replication::start(systems).await;
        for size in [1, 1_000] {
            let (mut anchor, mut seconds) = (Vec::new(), Vec::new());
            for round in 0..ROUNDS {
                anchor.push(native(systems, rows, size, &format!("native {size} {round}")).await);
                // It would have our changes to apply, too, while we are measured.
                replication::enable(systems, false).await;
                program::once(systems.folder(), rows);
                seconds.push(ours(systems, rows, size, &format!("ours {size} {round}")).await);
                replication::enable(systems, true).await;
                let mut reader = replication::connect(&systems.postgres[1]).await;
                replication::until_there(&mut reader, "customers", rows, &format!("ours {size} {round}")).await;
            }
            println!("  {}", rates("native", &anchor, rows));
            println!("  {}", rates("tidelock", &seconds, rows));
            let name = format!("{sync_type}, {size} rows a transaction");
            println!("  {}", ratio(&name, (median(seconds), median(anchor)), rows, Some(asked)));
        }
        replication::stop(systems).await;
    }
}

fn rates(name: &str, seconds: &[f64], rows: u32) -> String {
    let rates: Vec<String> = seconds.iter().map(|seconds| format!("{:.0}", f64::from(rows) / seconds)).collect();
    format!("  {name}: {} rows/s", rates.join(", "))
}
