//! From a file in place to the first values under its digest, while a pair transforms without a pause, and how long that pair's
//! batches took meanwhile.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use tidelock::plugin::{Catalog, Catalogue};
use tidelock::value::Value;
use tokio::sync::watch;

use crate::{context, function, guest, median, native, start};

const RELOADS: usize = 25;

/// A guest with other bytes, which does the same: a custom section behind it makes a file that was never compiled before.
pub(crate) fn variant(name: &str, number: usize) -> Vec<u8> {
    let mut bytes = guest(name);
    let mark = format!("bench {number:>6}");
    let size = u8::try_from(mark.len()).unwrap();
    bytes.extend_from_slice(&[0, size + 1, size]);
    bytes.extend_from_slice(mark.as_bytes());
    bytes
}

/// Puts a file in its place as a careful user does: whole, by a rename. Its digest.
pub(crate) fn put(folder: &Path, name: &str, bytes: &[u8]) -> String {
    let digest: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    std::fs::write(folder.join(".new"), bytes).unwrap();
    std::fs::rename(folder.join(".new"), folder.join(name).with_extension("wasm")).unwrap();
    digest
}

pub(crate) fn texts(rows: u32) -> Vec<Value> {
    native::values(rows).into_iter().map(|value| value.map_or(Value::Null, Value::Text)).collect()
}

pub(crate) async fn measure() {
    let folder = tempfile::tempdir().unwrap();
    let cache = tempfile::tempdir().unwrap();
    put(folder.path(), "us_phone", &variant("us_phone", 0));
    let catalog = start(folder.path(), cache.path()).await;
    let _watch = catalog.watch();
    let (used, mut seen) = watch::channel(String::new());
    let (reloading, stop) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    let load = tokio::spawn(load(Arc::clone(&catalog), used, Arc::clone(&reloading), Arc::clone(&stop)));
    let mut times = Vec::new();
    for number in 1..=RELOADS {
        // Time between reloads, for comparison: as many batches as pass in 0.3 s.
        tokio::time::sleep(Duration::from_millis(300)).await;
        let bytes = variant("us_phone", number);
        reloading.store(true, Ordering::Relaxed);
        let began = Instant::now();
        let digest = put(folder.path(), "us_phone", &bytes);
        let first = seen.wait_for(|used| *used == digest);
        drop(tokio::time::timeout(Duration::from_secs(60), first).await.expect("the new version is used").unwrap());
        times.push(began.elapsed().as_secs_f64() * 1e3);
        reloading.store(false, Ordering::Relaxed);
    }
    stop.store(true, Ordering::Relaxed);
    let (quiet, busy) = load.await.unwrap();
    let slowest = times.iter().copied().fold(0.0, f64::max);
    println!(
        "\nFrom a file in place to the first values under its digest, {RELOADS} times, a pair transforming all the while"
    );
    println!("  median {:.0} ms, slowest {slowest:.0} ms", median(&times));
    for (name, batches) in [("between reloads", quiet), ("while one is compiled", busy)] {
        let worst = batches.iter().copied().fold(0.0, f64::max);
        println!(
            "  batches {name}: {} of 1000, median {:.2} ms, slowest {worst:.2} ms",
            batches.len(),
            median(&batches)
        );
    }
}

/// Transforms batch after batch with the newest set; milliseconds of each, apart for those while a reload was on its way.
async fn load(
    catalog: Arc<Catalog>,
    used: watch::Sender<String>,
    reloading: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
) -> (Vec<f64>, Vec<f64>) {
    let (function, context, input) = (function("us_phone"), context("load"), texts(1_000));
    let (mut quiet, mut busy) = (Vec::new(), Vec::new());
    while !stop.load(Ordering::Relaxed) {
        let input = input.clone();
        let began = Instant::now();
        let set = catalog.snapshot();
        let digest = set.info("us_phone").unwrap().digest;
        let rows = set.transform(&function, &context, input).await.unwrap();
        let took = began.elapsed().as_secs_f64() * 1e3;
        assert_eq!(rows.len(), 1_000);
        if reloading.load(Ordering::Relaxed) { &mut busy } else { &mut quiet }.push(took);
        used.send_if_modified(|used| std::mem::replace(used, digest.clone()) != digest);
    }
    (quiet, busy)
}
