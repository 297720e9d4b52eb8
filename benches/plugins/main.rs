//! What plugins cost, as ratios in one run with every limit on: next to native code, while one is replaced, and beside a hostile one.
//!
//! Run it through `tests/run --bench plugins`, which also builds what users would else embed (`benches/peers`) to stand beside them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a bench is read by people and fails by panicking"
)]

mod malice;
mod native;
mod peers;
mod reload;
mod sandbox;
mod speed;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tidelock::config::PluginSettings;
use tidelock::plugin::{CallContext, Catalog, CatalogSettings, FunctionRef};

/// The program's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A component of `tests/guests`.
fn guest(name: &str) -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guests").join(name).with_extension("wasm");
    std::fs::read(path).unwrap()
}

/// A catalogue on a folder, with a cache of its own and the default limits.
async fn start(folder: &Path, cache_dir: &Path) -> Arc<Catalog> {
    let settings = CatalogSettings {
        // A hostile plugin is not to be taken back: it is what is measured.
        plugins: PluginSettings { rollback: None, ..PluginSettings::new(folder.to_owned()) },
        compiler: PathBuf::from(env!("CARGO_BIN_EXE_tidelock")),
        cache_dir: cache_dir.to_owned(),
    };
    let catalog = Catalog::start(settings).await.unwrap();
    assert!(catalog.failures().is_empty(), "{:?}", catalog.failures());
    catalog
}

fn function(name: &str) -> FunctionRef {
    FunctionRef { name: name.to_owned(), params: "{}".to_owned() }
}

fn context(pair: &str) -> CallContext {
    CallContext { pair: pair.into(), ..CallContext::none() }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

fn minimum(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::INFINITY, f64::min)
}

/// CPU time of this process, all threads: on a busy machine the only time that says something.
fn cpu_time() -> Duration {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(now.tv_sec.try_into().unwrap(), now.tv_nsec.try_into().unwrap())
}

fn main() {
    // Cargo passes options of its own harness; a name runs that part only.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let runs = |part: &str| wanted.is_empty() || wanted.iter().any(|name| name == part);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    if runs("speed") {
        speed::measure(&runtime);
    }
    if runs("reload") {
        runtime.block_on(reload::measure());
    }
    if runs("malice") {
        runtime.block_on(malice::measure());
    }
}
