//! A hostile plugin in one pair: what it costs the others, in windows that alternate with quiet ones.
//!
//! Each window begins with the hostile function's breaker closed (its file was replaced); once the breaker is open, it costs nothing.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tidelock::plugin::{Catalog, Catalogue};
use tokio::task::JoinHandle;

use crate::reload::{put, texts, variant};
use crate::{context, function, guest, median, start};

const WINDOW: Duration = Duration::from_millis(1_500);
const ROUNDS: usize = 7;

pub(crate) async fn measure() {
    let folder = tempfile::tempdir().unwrap();
    let cache = tempfile::tempdir().unwrap();
    put(folder.path(), "us_phone", &guest("us_phone"));
    put(folder.path(), "misbehave", &variant("misbehave", 0));
    let catalog = start(folder.path(), cache.path()).await;
    let _watch = catalog.watch();
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    println!(
        "\nA hostile plugin in one pair, {ROUNDS} rounds of windows of {WINDOW:?}: what the other pairs still get through"
    );
    let mut version = 0;
    for pairs in [1, cores] {
        for hostile in ["loop_forever", "hog_memory"] {
            let mut shares = Vec::new();
            for _ in 0..ROUNDS {
                let quiet = window(&catalog, pairs, None).await;
                version += 1;
                renew(&catalog, folder.path(), version).await;
                shares.push(window(&catalog, pairs, Some(hostile)).await / quiet);
            }
            let (least, most) = shares.iter().fold((f64::MAX, 0.0_f64), |(a, b), share| (a.min(*share), b.max(*share)));
            println!(
                "  {hostile:<12} beside {pairs} busy pairs on {cores} cores: median {:.0} % ({:.0} to {:.0} %)",
                median(&shares) * 100.0,
                least * 100.0,
                most * 100.0
            );
        }
    }
}

/// Replaces the hostile plugin by one that does the same, so that its breakers are closed again.
async fn renew(catalog: &Arc<Catalog>, folder: &Path, version: usize) {
    let mut events = catalog.subscribe();
    let digest = put(folder, "misbehave", &variant("misbehave", version));
    while *events.recv().await.unwrap().digest != *digest {}
}

/// Values per second of all honest pairs together.
async fn window(catalog: &Arc<Catalog>, pairs: usize, hostile: Option<&'static str>) -> f64 {
    let (done, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let mut tasks: Vec<JoinHandle<()>> = (0..pairs)
        .map(|pair| tokio::spawn(honest(Arc::clone(catalog), pair, Arc::clone(&done), Arc::clone(&stop))))
        .collect();
    if let Some(name) = hostile {
        tasks.push(tokio::spawn(attack(Arc::clone(catalog), name, Arc::clone(&stop))));
    }
    let began = Instant::now();
    tokio::time::sleep(WINDOW).await;
    let rate = done.load(Ordering::Relaxed) as f64 / began.elapsed().as_secs_f64();
    stop.store(true, Ordering::Relaxed);
    for task in tasks {
        // A batch of the hostile pair may take half a minute to be split.
        task.abort();
        let _aborted = task.await;
    }
    // The call that the guest is in ends by its deadline.
    tokio::time::sleep(Duration::from_millis(300)).await;
    rate
}

async fn honest(catalog: Arc<Catalog>, pair: usize, done: Arc<AtomicU64>, stop: Arc<AtomicBool>) {
    let (function, context, input) = (function("us_phone"), context(&format!("honest-{pair}")), texts(1_000));
    while !stop.load(Ordering::Relaxed) {
        let rows = catalog.snapshot().transform(&function, &context, input.clone()).await.unwrap();
        done.fetch_add(rows.len() as u64, Ordering::Relaxed);
    }
}

/// Batch after batch of a function that never ends well, as a pair would that has such records; it waits where it is told to.
async fn attack(catalog: Arc<Catalog>, name: &'static str, stop: Arc<AtomicBool>) {
    let (function, context, input) = (function(name), context("hostile"), texts(1_000));
    while !stop.load(Ordering::Relaxed) {
        if catalog.snapshot().transform(&function, &context, input.clone()).await.is_err() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }
}
