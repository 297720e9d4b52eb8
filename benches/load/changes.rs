//! How fast a backlog of changes is applied, next to PostgreSQL's own logical replication.
//!
//! Both are measured while they run and are caught up: no start is part of it. The table that they write to is locked while the backlog is
//! written, and the clock runs from the sight of the row that ends the first quarter to the sight of the last. What either has read ahead, or
//! begun to write, while the lock was held lies within that quarter. Only one of them runs at a time.

use std::process::Child;
use std::time::{Duration, Instant};

use sqlx::{Connection, PgConnection};

use crate::systems::{Systems, execute};
use crate::{ROUNDS, median, program, ratio, replication};

/// Rows of a backlog; each is changed once.
const BACKLOG: u32 = 100_000;
/// How often it is looked whether a row is there: seldom enough that the looks cost nothing.
const LOOK: Duration = Duration::from_millis(2);

/// Who applies the changes.
#[derive(Clone, Copy)]
enum Who {
    Native,
    Ours,
}

impl Who {
    fn table(self) -> &'static str {
        match self {
            Self::Native => "customers",
            Self::Ours => "clients",
        }
    }
}

/// Writes a backlog in transactions of `size` rows. The last one is awaited on disk: only what is there is sent.
async fn change(systems: &Systems, rows: u32, size: u32, city: &str) {
    let sql = format!(
        "DO $$ BEGIN \
           FOR i IN 0..{last} LOOP \
             SET LOCAL synchronous_commit = off; \
             UPDATE customers SET city = '{city}' WHERE id BETWEEN i * {size} + 1 AND least((i + 1) * {size}, {rows} - 1); \
             COMMIT; \
           END LOOP; \
         END $$",
        last = (rows - 1) / size,
    );
    execute(&systems.postgres[0], &sql).await;
    execute(&systems.postgres[0], &format!("UPDATE customers SET city = '{city}' WHERE id = {rows}")).await;
}

/// Seconds that three quarters of a backlog took.
async fn backlog(systems: &Systems, who: Who, (rows, size): (u32, u32), name: &str) -> f64 {
    let mut service: Option<Child> = None;
    match who {
        Who::Native => replication::enable(systems, true).await,
        Who::Ours => service = Some(program::spawn(systems.folder(), &["run", "sync.json", "--listen", "127.0.0.1:0"])),
    }
    let mut reader = replication::connect(&systems.postgres[1]).await;
    // Caught up, and warm.
    for n in 0..3 {
        let city = format!("{name} ready {n}");
        execute(&systems.postgres[0], &format!("UPDATE customers SET city = '{city}' WHERE id = {rows}")).await;
        replication::until_there(&mut reader, (who.table(), LOOK), rows, &city).await;
    }
    let mut lock = replication::connect(&systems.postgres[1]).await;
    let locking = format!("BEGIN; LOCK TABLE {} IN EXCLUSIVE MODE", who.table());
    let lock = lock.begin_with(sqlx::AssertSqlSafe(locking)).await;
    change(systems, rows, size, name).await;
    lock.unwrap().commit().await.unwrap();
    replication::until_there(&mut reader, (who.table(), LOOK), rows / 4, name).await;
    let began = Instant::now();
    replication::until_there(&mut reader, (who.table(), LOOK), rows, name).await;
    let seconds = began.elapsed().as_secs_f64();
    all_there(&mut reader, who.table(), rows, name).await;
    if let Some(service) = service {
        program::stop(service);
    } else {
        replication::enable(systems, false).await;
    }
    seconds
}

/// The last row that was changed is the last to come, but for those that are on their way beside it.
async fn all_there(reader: &mut PgConnection, table: &str, rows: u32, city: &str) {
    for _ in 0..1_000 {
        let sql = format!("SELECT count(*) FROM {table} WHERE city = $1");
        let count: i64 = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).bind(city).fetch_one(&mut *reader).await.unwrap();
        if count == i64::from(rows) {
            return;
        }
        tokio::time::sleep(LOOK).await;
    }
    panic!("not every row of the backlog has arrived in {table}");
}

pub(crate) async fn measure(systems: &Systems) {
    let rows = BACKLOG.min(systems.rows);
    let measured = rows - rows / 4;
    println!(
        "\nA backlog of {rows} changed rows while running, the last {measured} of them, medians of {ROUNDS} interleaved rounds"
    );
    for (sync_type, asked) in [("one_way", 1.0), ("bidirectional", 0.5)] {
        systems.empty_targets().await;
        program::forget(systems.folder());
        program::configure(systems.folder(), &program::following(systems, sync_type, "logical_replication"));
        program::once(systems.folder(), systems.rows);
        replication::start(systems).await;
        for size in [1, 1_000] {
            let (mut anchor, mut seconds) = (Vec::new(), Vec::new());
            for round in 0..ROUNDS {
                anchor.push(backlog(systems, Who::Native, (rows, size), &format!("native {size} {round}")).await);
                seconds.push(backlog(systems, Who::Ours, (rows, size), &format!("ours {size} {round}")).await);
            }
            println!("  {}", rates("native", &anchor, measured));
            println!("  {}", rates("tidelock", &seconds, measured));
            let name = format!("{sync_type}, {size} rows a transaction");
            println!("  {}", ratio(&name, (median(seconds), median(anchor)), measured, Some(asked)));
        }
        replication::stop(systems).await;
    }
}

fn rates(name: &str, seconds: &[f64], rows: u32) -> String {
    let rates: Vec<String> = seconds.iter().map(|seconds| format!("{:.0}", f64::from(rows) / seconds)).collect();
    format!("  {name}: {} rows/s", rates.join(", "))
}
