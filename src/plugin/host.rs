//! What all plugins of a service share: engine, linker, limits, idle instances and the permits to run.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use wasmtime::Engine;
use wasmtime::component::Linker;

use super::PluginError;
use super::breaker::Breaker;
use super::counts::Counts;
use super::describe::{Description, Function};
use super::instance::{CallFailure, Guest, Image, Instance};
use super::limits::{LIVE_INSTANCES_MAX, PARAMS_KEPT_MAX};
use super::pool::Pool;
use super::probation::Probation;
use super::{bindings, engine};
use crate::config::PluginLimits;

/// Instances for loading and probing beside those that run and wait.
const RESERVE: usize = 16;

/// Of threads for guests that failed: a tenth of the weight of the others.
#[cfg(target_os = "linux")]
const ASIDE_PRIORITY: i32 = 10;

/// The machinery that plugins run on.
pub(super) struct Host {
    pub(super) engine: Engine,
    pub(super) linker: Linker<Guest>,
    pub(super) limits: PluginLimits,
    pub(super) pool: Pool,
    /// One permit per running call. More than cores, so that a guest that runs into its deadline does not hold up other pairs; the
    /// queue is fair, and a bisected batch queues again for each of its runs.
    permits: Arc<Semaphore>,
}

impl Host {
    /// # Errors
    /// Where the engine does not start.
    pub(super) fn new(limits: PluginLimits) -> Result<Self, PluginError> {
        let engine = engine::for_running(&limits)?;
        let linker = bindings::linker(&engine).map_err(|error| {
            PluginError::new("plugin.engine", format!("the plugin linker is not complete: {error}"))
        })?;
        let live_max = usize::try_from(LIVE_INSTANCES_MAX).unwrap_or(usize::MAX);
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let running_max = (2 * cores).clamp(4, live_max / 4);
        let pool = Pool::new(live_max - running_max - RESERVE);
        Ok(Self { engine, linker, limits, pool, permits: Arc::new(Semaphore::new(running_max)) })
    }

    /// Runs guest code on a thread that may block, when it is its turn.
    ///
    /// # Errors
    /// Only where the service is stopping.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PluginError> {
        let permit = self.turn().await?;
        let running = tokio::task::spawn_blocking(move || {
            let result = work();
            drop(permit);
            result
        });
        running.await.map_err(|_| stopping())
    }

    /// Runs guest code that has failed before, on a thread of low priority: what a bad plugin burns is only what nobody else
    /// wants. A thread of its own, because a thread cannot raise its priority again.
    ///
    /// # Errors
    /// Where the service is stopping, or the machine gives no thread.
    pub(super) async fn run_aside<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PluginError> {
        let permit = self.turn().await?;
        let (done, result) = oneshot::channel();
        let thread = std::thread::Builder::new().name("tidelock-aside".to_owned());
        let started = thread.spawn(move || {
            lower_priority();
            // Nobody waits for it any more where the service is stopping.
            let _unread = done.send(work());
            drop(permit);
        });
        started.map_err(|error| PluginError::new("plugin.busy", format!("no thread to run a plugin on: {error}")))?;
        result.await.map_err(|_| stopping())
    }

    async fn turn(&self) -> Result<OwnedSemaphorePermit, PluginError> {
        Arc::clone(&self.permits).acquire_owned().await.map_err(|_| stopping())
    }

    /// A fresh instance; idle ones make room where there is none.
    pub(super) fn instantiate(&self, image: &Image) -> Result<Instance, CallFailure> {
        match Instance::new(image, &self.engine, &self.limits) {
            Err(CallFailure::NoRoom) => {
                self.pool.retain(|_| false);
                Instance::new(image, &self.engine, &self.limits)
            }
            other => other,
        }
    }
}

fn stopping() -> PluginError {
    PluginError::new("plugin.stopped", "the plugin host is stopping")
}

/// Of this thread. Elsewhere than on Linux a priority is the whole process's, so it stays as it is there.
fn lower_priority() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::setpriority_process(None, ASIDE_PRIORITY) {
        tracing::debug!(%error, "a failing plugin keeps its priority");
    }
}

/// A plugin that passed every check. It lives as long as a set or a running batch holds it.
pub(super) struct LoadedPlugin {
    pub(super) stem: Arc<str>,
    /// SHA-256 of the file, lower-case hex.
    pub(super) digest: Arc<str>,
    /// What the plugin calls itself, and its version.
    pub(super) name: String,
    pub(super) version: String,
    pub(super) functions: Vec<LoadedFunction>,
    pub(super) image: Image,
    /// From reading the file to the last example.
    pub(super) load_ms: u64,
    retired: AtomicBool,
    rolled_back: AtomicBool,
    probation: Mutex<Option<Arc<Probation>>>,
}

/// One function of a loaded plugin.
pub(super) struct LoadedFunction {
    pub(super) name: Arc<str>,
    pub(super) function: Function,
    pub(super) breaker: Breaker,
    pub(super) counts: Counts,
    pub(super) fields: WantedFields,
}

/// The fields that a function said it wants, by its parameters.
#[derive(Default)]
pub(super) struct WantedFields(Mutex<HashMap<Arc<str>, Arc<[String]>>>);

impl WantedFields {
    pub(super) fn get(&self, params: &str) -> Option<Arc<[String]>> {
        self.lock().get(params).cloned()
    }

    /// Keeps what it said.
    pub(super) fn keep(&self, params: &Arc<str>, fields: Arc<[String]>) -> Arc<[String]> {
        let mut known = self.lock();
        if known.len() < PARAMS_KEPT_MAX {
            known.insert(Arc::clone(params), Arc::clone(&fields));
        }
        fields
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<[String]>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LoadedPlugin {
    pub(super) fn new(image: Image, digest: Arc<str>, description: Description, load_ms: u64) -> Self {
        let Description { name, version, functions } = description;
        let loaded = |function: Function| LoadedFunction {
            name: function.info.name.as_str().into(),
            function,
            breaker: Breaker::default(),
            counts: Counts::default(),
            fields: WantedFields::default(),
        };
        let functions = functions.into_iter().map(loaded).collect();
        let stem = Arc::clone(&image.plugin);
        let (retired, rolled_back) = (AtomicBool::new(false), AtomicBool::new(false));
        let probation = Mutex::default();
        Self { stem, digest, name, version, functions, image, load_ms, retired, rolled_back, probation }
    }

    pub(super) fn function(&self, name: &str) -> Option<&LoadedFunction> {
        self.functions.iter().find(|function| *function.name == *name)
    }

    /// What is to be proved yet.
    pub(super) fn probation(&self) -> MutexGuard<'_, Option<Arc<Probation>>> {
        self.probation.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It failed its probation: no result of it is used any more.
    pub(super) fn roll_back(&self) {
        self.rolled_back.store(true, Ordering::Relaxed);
        self.retire();
    }

    /// See [`LoadedPlugin::roll_back`].
    pub(super) fn is_rolled_back(&self) -> bool {
        self.rolled_back.load(Ordering::Relaxed)
    }

    /// It is in use again after all.
    pub(super) fn reinstate(&self) {
        self.retired.store(false, Ordering::Relaxed);
    }

    /// No new set has this plugin: its instances are not kept for later any more.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }

    /// See [`LoadedPlugin::retire`].
    pub(super) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_failed_before_runs_on_a_thread_of_low_priority() {
        let host = Host::new(PluginLimits::default()).unwrap();
        let here = || std::thread::current().name().map(str::to_owned);
        assert_eq!(host.run_aside(here).await.unwrap().as_deref(), Some("tidelock-aside"));
        assert_ne!(host.run(here).await.unwrap().as_deref(), Some("tidelock-aside"));
        #[cfg(target_os = "linux")]
        {
            let priority = || rustix::process::getpriority_process(None).unwrap();
            let before = host.run(priority).await.unwrap();
            assert_eq!(host.run_aside(priority).await.unwrap(), before.max(ASIDE_PRIORITY));
            assert_eq!(host.run(priority).await.unwrap(), before);
        }
    }
}
