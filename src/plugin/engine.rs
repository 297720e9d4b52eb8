//! The Wasm engine: settings that are the same where a plugin is compiled and where it runs, and the clock of the deadlines.
//!
//! Measured reasons for the settings are in `docs/plugins.md`; images only load into an engine whose compile settings are equal
//! (wasmtime checks that), so both sides begin with [`settings`].

use std::num::NonZeroUsize;
use std::time::Duration;

use wasmtime::{Config, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig};

use super::PluginError;
use super::limits::LIVE_INSTANCES_MAX;
use crate::config::PluginLimits;

/// One step of the epoch: deadlines are this exact.
pub(super) const TICK: Duration = Duration::from_millis(5);

/// Part of a memory that stays mapped when its instance ends: cheaper than asking the system for the pages again.
const KEEP_RESIDENT_BYTES: usize = 256 << 10;
/// Places of ended instances that keep such a part while there are others to take. Without a bound every version that is loaded takes new ones, up to 100:
/// measured, 25 MB after a hundred reloads.
const WARM_PLACES_MAX: u32 = 8;

fn settings() -> Config {
    let mut config = Config::new();
    config
        // No stream or future crosses our interfaces; the empty call costs 155 ns instead of 500.
        .concurrency_support(false)
        // The deadline. Fuel costs as much and is not wall time.
        .epoch_interruption(true)
        // Guests made from a snapshot (JavaScript, Python) start in microseconds only by this.
        .memory_init_cow(true)
        .wasm_backtrace_max_frames(NonZeroUsize::new(16))
        // Guard pages stay as they are by default: explicit bounds checks cost twice the time.
        .cranelift_opt_level(OptLevel::Speed);
    config
}

/// The engine of the compiler child. It reserves no address space, so it works under a memory limit.
///
/// # Errors
/// Where this machine has no compiler.
pub(super) fn for_compiling() -> wasmtime::Result<Engine> {
    Engine::new(&settings())
}

/// The engine that runs plugins, with its ticker.
///
/// # Errors
/// Where the machine cannot run compiled code or start a thread.
pub(super) fn for_running(limits: &PluginLimits) -> Result<Engine, PluginError> {
    let failed = |error: &dyn std::fmt::Display| {
        PluginError::new("plugin.engine", format!("the WebAssembly engine does not start: {error}"))
    };
    let mut on_demand = settings();
    // Host threads have 2 MiB and the configuration allows half of that, so a guest's overflow is always a trap of its own.
    on_demand.max_wasm_stack(limits.stack_bytes);
    let mut pooled = on_demand.clone();
    pooled.allocation_strategy(InstanceAllocationStrategy::Pooling(pool(limits)));
    let engine = match Engine::new(&pooled) {
        Ok(engine) => engine,
        // A container or `ulimit -v` may be short of address space; instances are then made one by one.
        Err(error) => {
            tracing::debug!(%error, "no address space for a pool of plugin instances: allocating on demand");
            Engine::new(&on_demand).map_err(|error| failed(&error))?
        }
    };
    start_ticker(&engine).map_err(|error| failed(&error))?;
    Ok(engine)
}

/// Slots for every live instance. Rust, C and QuickJS components are one to four core instances with one memory.
fn pool(limits: &PluginLimits) -> PoolingAllocationConfig {
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(LIVE_INSTANCES_MAX)
        .total_core_instances(4 * LIVE_INSTANCES_MAX)
        .total_memories(LIVE_INSTANCES_MAX + LIVE_INSTANCES_MAX / 4)
        .total_tables(4 * LIVE_INSTANCES_MAX)
        .table_elements(limits.table_elements)
        .total_stacks(0)
        .max_memory_size(limits.memory_bytes)
        .linear_memory_keep_resident(KEEP_RESIDENT_BYTES)
        .max_unused_warm_slots(WARM_PLACES_MAX);
    pool
}

/// A plain thread, not a task: a busy runtime must not stop the clock. It ends with the engine.
fn start_ticker(engine: &Engine) -> std::io::Result<()> {
    let engine = engine.weak();
    std::thread::Builder::new().name("tidelock-epoch".to_owned()).spawn(move || {
        while let Some(engine) = engine.upgrade() {
            engine.increment_epoch();
            drop(engine);
            std::thread::sleep(TICK);
        }
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::hash_map::DefaultHasher;
    use std::hash::{Hash, Hasher};

    use super::*;

    #[test]
    fn what_the_child_compiles_loads_into_the_running_engine() {
        let hash = |engine: &Engine| {
            let mut hasher = DefaultHasher::new();
            engine.precompile_compatibility_hash().hash(&mut hasher);
            hasher.finish()
        };
        let running = for_running(&PluginLimits::default()).unwrap();
        assert_eq!(hash(&running), hash(&for_compiling().unwrap()));
    }
}
