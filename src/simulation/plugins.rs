//! Simulated plugins: one function, `tidy`, which trims, refuses what has a `%`, crashes on a `&`, and changes its version while the program runs.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;

use super::planted::Bug;
use super::world::{Shared, World, turn};
use crate::plugin::{
    CallContext, Catalogue, Contested, FunctionInfo, FunctionRef, PluginError, Plugins, Reshaped, Resolution,
    ValueError, Violation,
};
use crate::record::Record;
use crate::value::Value;

type Rows<T> = Result<Vec<Result<T, ValueError>>, PluginError>;

/// What a function says about itself in one version.
pub(super) fn info(name: &str, version: u32) -> FunctionInfo {
    FunctionInfo {
        name: name.to_owned(),
        plugin: "tidy".to_owned(),
        digest: format!("v{version}"),
        doc: String::new(),
        role: "field-transform".to_owned(),
        output: None,
        idempotent: true,
        reverse: None,
    }
}

/// The plugins as one pair's worker has them.
pub(super) struct Simulated {
    pub(super) shared: Shared,
    pub(super) pair: usize,
}

impl Catalogue for Simulated {
    fn snapshot(&self) -> Arc<dyn Plugins> {
        let mut world = self.shared.world();
        let version = world.plugins;
        world.snapshots[self.pair].push(version);
        Arc::new(Set { shared: self.shared.clone(), version, used: Mutex::default() })
    }
}

/// Plugins for those who only ask what they say about themselves.
pub(super) fn unused() -> Arc<dyn Plugins> {
    let shared = Shared::new(World::new(0));
    Arc::new(Set { shared, version: 0, used: Mutex::default() })
}

/// One version of the plugins.
struct Set {
    shared: Shared,
    version: u32,
    /// The version that was called first.
    used: Mutex<Option<u32>>,
}

impl Set {
    fn version(&self) -> u32 {
        let world = self.shared.world();
        if world.has(Bug::PluginsMidBatch) { world.plugins } else { self.version }
    }

    /// I9: one batch sees one version.
    fn check(&self) {
        let version = self.version();
        let first = *self.used.lock().unwrap().get_or_insert(version);
        if first != version {
            self.shared.world().violate(|| format!("I9: one batch saw the plugins v{first} and v{version}"));
        }
    }
}

fn tidy(value: Value) -> Result<Value, ValueError> {
    let refuse = |code: &str| Err(ValueError { code: code.to_owned(), message: String::new() });
    let Value::Text(text) = value else { return Ok(value) };
    if text.contains('%') {
        return refuse("bad-value");
    }
    if text.contains('&') {
        return refuse("trap");
    }
    Ok(Value::Text(text.trim().to_owned()))
}

fn none<T>() -> Rows<T> {
    Err(PluginError::new("plugin.unknown_function", "there is no such function"))
}

#[async_trait]
impl Plugins for Set {
    fn info(&self, name: &str) -> Result<FunctionInfo, PluginError> {
        Ok(info(name, self.version()))
    }

    async fn probe(&self, _: &FunctionRef) -> Result<(), PluginError> {
        Ok(())
    }

    async fn transform(&self, _: &FunctionRef, _: &CallContext, input: Vec<Value>) -> Rows<Value> {
        turn().await;
        self.check();
        {
            let mut world = self.shared.world();
            let rate = world.faults.plugin;
            if world.rng.chance(rate) {
                return Err(PluginError::new("plugin.retryable", "it asks to be called later"));
            }
        }
        turn().await;
        Ok(input.into_iter().map(tidy).collect())
    }

    async fn fields(&self, _: &FunctionRef) -> Result<Vec<String>, PluginError> {
        Ok(Vec::new())
    }

    async fn reshape(&self, _: &FunctionRef, _: &CallContext, _: Vec<Record>) -> Rows<Reshaped> {
        none()
    }

    async fn validate(&self, _: &FunctionRef, _: &CallContext, _: Vec<Record>) -> Rows<Vec<Violation>> {
        none()
    }

    async fn resolve(&self, _: &FunctionRef, _: &CallContext, _: Vec<Contested>) -> Rows<Resolution> {
        none()
    }
}
