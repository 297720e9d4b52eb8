//! A deterministic simulation of the whole: the code that production runs (worker, load, pipeline, decisions) between simulated systems, state,
//! plugins and people, ordered by one seed. See docs/simulation.md.

mod at_rest;
mod before_write;
mod ledger;
mod people;
mod planted;
mod plugins;
mod rng;
mod run;
mod scan;
mod scenario;
mod side;
mod store;
mod table;
mod topology;
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use planted::Bug;
use run::{Order, Outcome, run};

/// A number from the environment.
#[expect(clippy::disallowed_methods, reason = "seeds are chosen for one run of the tests, not for the program")]
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Figures for those who run the tests.
#[expect(clippy::print_stderr, reason = "the output of a test")]
fn say(text: &str) {
    eprintln!("{text}");
}

/// Seeds in every run of the tests, and in how many tests.
const SEEDS: u64 = 20_000;
const PARTS: u64 = 4;

/// Failures after which a search ends.
const FAILURES_MAX: usize = 10;

/// Runs seeds from `first` on, on all processors; those that failed, in their order.
fn search(first: u64, count: u64, enough: usize, order: impl Fn(u64) -> Order + Sync) -> Vec<(u64, Outcome)> {
    let (next, failed) = (AtomicU64::new(first), Mutex::new(Vec::new()));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count || failed.lock().unwrap().len() >= enough {
                        return;
                    }
                    let outcome = run(order(seed));
                    if outcome.violation.is_some() {
                        failed.lock().unwrap().push((seed, outcome));
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner().unwrap();
    failed.sort_by_key(|(seed, _)| *seed);
    failed
}

fn healthy(seed: u64) -> Order {
    Order { seed, ..Order::default() }
}

/// Seeds of one test. The first runs others where the environment says so: `TIDELOCK_SEED=7` one seed, with all that happened;
/// `TIDELOCK_SEEDS=1000000` that many, from `TIDELOCK_FIRST_SEED` on.
fn search_part(part: u64) {
    if let Some(seed) = number("TIDELOCK_SEED") {
        let outcome = run(Order { trace: true, ..healthy(seed) });
        assert!(outcome.violation.is_none(), "seed {seed}:\n{}", outcome.trace.join("\n"));
        return;
    }
    let (first, count) = match number("TIDELOCK_SEEDS") {
        Some(count) => (number("TIDELOCK_FIRST_SEED").unwrap_or(0), count),
        None => (part * SEEDS / PARTS, SEEDS / PARTS),
    };
    let began = std::time::Instant::now();
    let failed = search(first, count, FAILURES_MAX, healthy);
    let Some((seed, outcome)) = failed.first() else {
        say(&format!("{count} seeds from {first} on in {:?}", began.elapsed()));
        return;
    };
    let again = run(Order { trace: true, ..healthy(*seed) });
    assert_eq!((&outcome.violation, outcome.print), (&again.violation, again.print), "seed {seed} does not replay");
    let said = |(seed, one): &(u64, Outcome)| format!("{seed}: {}", one.violation.as_deref().unwrap_or_default());
    let all: Vec<String> = failed.iter().map(said).collect();
    panic!("seeds\n{}\n{}", all.join("\n"), again.trace.join("\n"));
}

/// In parts, so that each is through in time on a busy machine.
#[test]
fn nothing_is_lost_and_nothing_loops() {
    search_part(0);
}

#[test]
fn nothing_is_lost_and_nothing_loops_in_the_second_part() {
    search_part(1);
}

#[test]
fn nothing_is_lost_and_nothing_loops_in_the_third_part() {
    search_part(2);
}

#[test]
fn nothing_is_lost_and_nothing_loops_in_the_last_part() {
    search_part(3);
}

/// A failure can be looked at only if it can be had again.
#[test]
fn a_seed_is_always_the_same_run() {
    for seed in 0..200 {
        let order = Order { trace: true, ..healthy(seed) };
        assert_eq!(run(order), run(order), "seed {seed}");
    }
}

/// I11: wherever a run is killed, it ends as one that is not.
#[test]
fn a_kill_at_any_turn_changes_nothing() {
    for seed in 0..4 {
        let whole = run(healthy(seed));
        assert_eq!(whole.violation, None, "seed {seed}");
        for turn in 0..whole.turns {
            let killed = run(Order { kill_at: Some(turn), ..healthy(seed) });
            assert_eq!(killed.violation, None, "seed {seed}, killed at turn {turn}");
        }
    }
}

/// Oracles that see nothing prove nothing: each planted bug is found within this many seeds.
const PLANTED_SEEDS: u64 = 2_000;

#[test]
fn every_planted_bug_is_found() {
    let mut missed = Vec::new();
    for bug in Bug::ALL {
        let planted = |seed| Order { bug: Some(bug), ..healthy(seed) };
        match search(0, PLANTED_SEEDS, 1, planted).first() {
            Some((seed, one)) => {
                say(&format!("{bug:?}: seed {seed}, {}", one.violation.as_deref().unwrap_or_default()));
                assert_eq!(run(healthy(*seed)).violation, None, "{bug:?} is not what fails");
            }
            None => missed.push(bug),
        }
    }
    assert!(missed.is_empty(), "not found within {PLANTED_SEEDS} seeds: {missed:?}");
}
