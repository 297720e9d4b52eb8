//! Initial loads next to what the database itself can do: `COPY`, in the same run, interleaved. Ratios, not seconds, are the result.
//!
//! Run it through `tests/run --bench`, which starts a private PostgreSQL server. Rows: `TIDELOCK_BENCH_ROWS` (default 100000).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a bench is read by people and fails by panicking"
)]

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

const ROUNDS: usize = 3;
const TABLE: &str = "(id INTEGER PRIMARY KEY, email TEXT UNIQUE, name TEXT, phone TEXT, city TEXT, balance NUMERIC(12,2), updated_at TIMESTAMP)";
const COLUMNS: &str = "id, email, name, phone, city, balance, updated_at";

/// Wall time and peak resident memory of one load.
#[derive(Clone, Copy)]
struct Cost {
    seconds: f64,
    peak_kb: u64,
}

fn row(n: u32) -> String {
    let phone = 200 + n % 700;
    format!(
        "{n}\tuser{n}@example.com\tuser NUMBER {n}\t+1 (650) {phone:03}-{:04}\tCity {}\t{}.{:02}\t2026-01-01 00:00:{:02}",
        n % 10_000,
        n % 500,
        n % 9_999,
        n % 100,
        n % 60
    )
}

async fn execute(url: &str, sql: &str) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
}

async fn copy_in(url: &str, table: &str, rows: u32) {
    let mut connection = PgConnection::connect(url).await.unwrap();
    let mut copy = connection.copy_in_raw(&format!("COPY {table} ({COLUMNS}) FROM STDIN")).await.unwrap();
    for part in (1..=rows).collect::<Vec<_>>().chunks(1_000) {
        let text: String = part.iter().map(|n| row(*n) + "\n").collect();
        copy.send(text.as_bytes()).await.unwrap();
    }
    copy.finish().await.unwrap();
}

/// One `COPY` pipe from table to table, through this process.
async fn copy_pipe(source: &str, target: &str) -> f64 {
    use futures_util::TryStreamExt;
    let (mut from, mut to) =
        (PgConnection::connect(source).await.unwrap(), PgConnection::connect(target).await.unwrap());
    let began = Instant::now();
    let mut out = from.copy_out_raw(&format!("COPY customers ({COLUMNS}) TO STDOUT")).await.unwrap();
    let mut into = to.copy_in_raw(&format!("COPY clients ({COLUMNS}) FROM STDIN")).await.unwrap();
    while let Some(chunk) = out.try_next().await.unwrap() {
        into.send(chunk).await.unwrap();
    }
    into.finish().await.unwrap();
    began.elapsed().as_secs_f64()
}

async fn sqlite(path: &Path, rows: u32) {
    let options = sqlx::sqlite::SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(sqlx::sqlite::SqliteJournalMode::Wal);
    let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(format!("CREATE TABLE customers {TABLE}; BEGIN")))
        .execute(&mut connection)
        .await
        .unwrap();
    for n in 1..=rows {
        let text = row(n);
        let mut query = sqlx::query("INSERT INTO customers VALUES (?, ?, ?, ?, ?, ?, ?)").bind(n);
        for field in text.split('\t').skip(1) {
            query = query.bind(field.to_owned());
        }
        query.execute(&mut connection).await.unwrap();
    }
    sqlx::raw_sql("COMMIT").execute(&mut connection).await.unwrap();
    connection.close().await.unwrap();
}

fn run(folder: &Path, config: &Value, rows: u32) -> Cost {
    std::fs::write(folder.join("sync.json"), config.to_string()).unwrap();
    for file in ["tidelock.db", "tidelock.db-wal", "tidelock.db-shm"] {
        let _gone = std::fs::remove_file(folder.join(file));
    }
    let began = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_tidelock"))
        .current_dir(folder)
        .args(["run", "sync.json", "--once", "--json", "--log", "error"])
        .env("XDG_CACHE_HOME", folder.join("cache"))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak_kb = 0;
    while child.try_wait().unwrap().is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let mark =
            text.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB")?.trim().parse().ok());
        peak_kb = peak_kb.max(mark.unwrap_or(0));
        std::thread::sleep(Duration::from_millis(5));
    }
    let seconds = began.elapsed().as_secs_f64();
    let output = child.wait_with_output().unwrap();
    let summary: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(summary["written_target"], rows, "{summary}");
    Cost { seconds, peak_kb }
}

fn config(source: &Value, target: &Value, sync_type: &str) -> Value {
    let plain = ["id", "email", "city", "balance", "updated_at"].map(|name| json!({"source": name, "target": name}));
    let mut mappings = plain.to_vec();
    mappings.push(json!({"source": "name", "target": "name", "transformation": "title_case"}));
    mappings.push(
        json!({"source": "phone", "target": "phone", "transformation": "format_phone", "on_error": "keep_original"}),
    );
    json!({"connection_name": "bench", "source": source, "target": target, "sync_type": sync_type, "field_mappings": mappings})
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

async fn measure(rows: u32) {
    let admin = std::env::var("TIDELOCK_TEST_POSTGRES")
        .expect("run this through tests/run --bench, which starts a private server");
    let (server, _) = admin.rsplit_once('/').unwrap();
    let folder = tempfile::tempdir().unwrap();
    let names = ["tl_bench_source", "tl_bench_target"];
    for name in names {
        execute(&admin, &format!("DROP DATABASE IF EXISTS {name}")).await;
        execute(&admin, &format!("CREATE DATABASE {name}")).await;
    }
    let urls = names.map(|name| format!("{server}/{name}"));
    execute(&urls[0], &format!("CREATE TABLE customers {TABLE}")).await;
    copy_in(&urls[0], "customers", rows).await;
    sqlite(&folder.path().join("source.db"), rows).await;

    let postgres = json!({"type": "postgres", "url": urls[0], "table": "customers"});
    let file = json!({"type": "sqlite", "path": folder.path().join("source.db"), "table": "customers"});
    let target = json!({"type": "postgres", "url": urls[1], "table": "clients"});
    let cases = [
        ("PostgreSQL → PostgreSQL, one way", config(&postgres, &target, "one_way")),
        ("SQLite → PostgreSQL, one way", config(&file, &target, "one_way")),
        ("PostgreSQL ↔ PostgreSQL, both ways", config(&postgres, &target, "bidirectional")),
        ("SQLite ↔ PostgreSQL, both ways", config(&file, &target, "bidirectional")),
    ];
    let fresh = || async {
        // Tracking objects of earlier rounds would log what the next one does.
        execute(&urls[1], &format!("DROP TABLE IF EXISTS clients; CREATE TABLE clients {TABLE}")).await;
    };
    let mut copies = Vec::new();
    let mut costs: Vec<Vec<Cost>> = vec![Vec::new(); cases.len()];
    for _ in 0..ROUNDS {
        fresh().await;
        copies.push(copy_pipe(&urls[0], &urls[1]).await);
        for (case, costs) in cases.iter().zip(&mut costs) {
            fresh().await;
            costs.push(run(folder.path(), &case.1, rows));
        }
    }
    let copy = median(copies);
    println!(
        "\n{rows} rows, median of {ROUNDS} interleaved rounds; one COPY pipe: {copy:.2} s ({:.0} rows/s)",
        f64::from(rows) / copy
    );
    for ((name, _), costs) in cases.iter().zip(costs) {
        let seconds = median(costs.iter().map(|cost| cost.seconds).collect());
        let peak = costs.iter().map(|cost| cost.peak_kb).max().unwrap() / 1024;
        println!(
            "{name:<36} {seconds:6.2} s  {:.2} of COPY's rate  {:>7.0} rows/s  peak {peak} MB",
            copy / seconds,
            f64::from(rows) / seconds
        );
    }
    for name in names {
        execute(&admin, &format!("DROP DATABASE {name} WITH (FORCE)")).await;
    }
}

fn main() {
    let rows = std::env::var("TIDELOCK_BENCH_ROWS").ok().and_then(|rows| rows.parse().ok()).unwrap_or(100_000);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        measure(rows).await;
        // Memory must not grow with rows.
        measure(rows * 3).await;
    });
}
