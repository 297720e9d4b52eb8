//! Instances that wait for their pair's next batch. An instance only ever serves one pair, so no state crosses pairs (DESIGN §6).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::instance::Instance;

struct Idle {
    digest: Arc<str>,
    pair: Arc<str>,
    instance: Instance,
}

/// Idle instances, the one that has waited longest first.
pub(super) struct Pool {
    idle: Mutex<VecDeque<Idle>>,
    idle_max: usize,
}

impl Pool {
    pub(super) fn new(idle_max: usize) -> Self {
        Self { idle: Mutex::new(VecDeque::new()), idle_max }
    }

    /// An instance of the plugin that served this pair before.
    pub(super) fn take(&self, digest: &str, pair: &str) -> Option<Instance> {
        let mut idle = self.lock();
        let index = idle.iter().rposition(|idle| *idle.digest == *digest && *idle.pair == *pair)?;
        idle.remove(index).map(|idle| idle.instance)
    }

    /// Keeps an instance for the pair; the one that has waited longest goes where there are too many.
    pub(super) fn put(&self, digest: &Arc<str>, pair: &Arc<str>, instance: Instance) {
        let entry = Idle { digest: Arc::clone(digest), pair: Arc::clone(pair), instance };
        let mut idle = self.lock();
        idle.push_back(entry);
        let evicted = if idle.len() > self.idle_max { idle.pop_front() } else { None };
        drop(idle);
        // Unmapping memory takes a while: not under the lock.
        drop(evicted);
    }

    /// Drops the instances of plugins that `keep` does not name.
    pub(super) fn retain(&self, keep: impl Fn(&str) -> bool) {
        let mut idle = self.lock();
        let (kept, dropped): (VecDeque<_>, VecDeque<_>) = idle.drain(..).partition(|idle| keep(&idle.digest));
        *idle = kept;
        drop(idle);
        drop(dropped);
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Idle>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use wasmtime::component::Component;

    use super::*;
    use crate::config::PluginLimits;
    use crate::plugin::bindings::{Exports, linker};
    use crate::plugin::engine;
    use crate::plugin::instance::Image;

    #[test]
    fn an_instance_serves_one_plugin_and_one_pair_only() {
        let limits = PluginLimits::default();
        let engine = engine::for_running(&limits).unwrap();
        let component = Component::new(&engine, include_bytes!("../../tests/guests/simple_reverse.wasm")).unwrap();
        let (pre, exports) =
            (linker(&engine).unwrap().instantiate_pre(&component), Exports::find(&component, "reverse", &[]));
        let image = Image { plugin: "reverse".into(), pre: pre.unwrap(), exports: exports.unwrap(), granted: false };
        let instance = || Instance::new(&image, &engine, &limits).unwrap();
        let (digest, pair): (Arc<str>, Arc<str>) = ("d".into(), "one".into());

        let pool = Pool::new(2);
        pool.put(&digest, &pair, instance());
        assert!(pool.take("d", "two").is_none() && pool.take("e", "one").is_none());
        assert!(pool.take("d", "one").is_some() && pool.take("d", "one").is_none());

        // Where there are too many, the one that has waited longest goes.
        pool.put(&digest, &"old".into(), instance());
        pool.put(&digest, &pair, instance());
        pool.put(&digest, &pair, instance());
        assert!(pool.take("d", "old").is_none() && pool.take("d", "one").is_some());
        pool.retain(|kept| kept != "d");
        assert!(pool.take("d", "one").is_none());
    }
}
