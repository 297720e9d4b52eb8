//! tidelock next to what the databases themselves can do, in the same run, interleaved. Ratios, not seconds, are the result; where a limit is
//! asked for, it stands beside its ratio.
//!
//! Run it through `tests/run --bench load`, which starts private servers. `TIDELOCK_BENCH_ROWS` (default 100000) are loaded; a second pass
//! loads `TIDELOCK_BENCH_MORE` times as many (default 3), because memory must not grow with rows. `TIDELOCK_BENCH_ONLY` names one part:
//! `loads`, `changes`, `latency` or `audit`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a bench is read by people and fails by panicking"
)]

mod audit;
mod changes;
mod latency;
mod loads;
mod program;
mod replication;
mod systems;

use systems::Systems;

pub(crate) const ROUNDS: usize = 3;

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// How much of the anchor's rate was reached, and what is asked for.
pub(crate) fn ratio(name: &str, (seconds, anchor): (f64, f64), rows: u32, asked: Option<f64>) -> String {
    let reached = anchor / seconds;
    let verdict = match asked {
        Some(asked) if reached >= asked => format!(" (asked ≥ {asked:.2}: reached)"),
        Some(asked) => format!(" (asked ≥ {asked:.2}: MISSED)"),
        None => String::new(),
    };
    format!("{name:<46} {seconds:7.2} s {:>8.0} rows/s  ratio {reached:5.2}{verdict}", f64::from(rows) / seconds)
}

fn number(name: &str, default: u32) -> u32 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

fn main() {
    let (rows, more) = (number("TIDELOCK_BENCH_ROWS", 100_000), number("TIDELOCK_BENCH_MORE", 3));
    let only = std::env::var("TIDELOCK_BENCH_ONLY").ok();
    let wanted = |part: &str| only.as_deref().is_none_or(|only| only == part);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let systems = Systems::new(rows).await;
        if wanted("loads") {
            loads::measure(&systems).await;
        }
        if wanted("changes") {
            changes::measure(&systems).await;
        }
        if wanted("latency") {
            latency::measure(&systems).await;
        }
        if wanted("audit") {
            audit::measure(&systems).await;
        }
        systems.remove().await;
        if wanted("loads") && more > 1 {
            let systems = Systems::new(rows * more).await;
            loads::measure(&systems).await;
            systems.remove().await;
        }
    });
}
