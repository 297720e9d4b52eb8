//! One consistent, immutable set of loaded plugins: what a batch sees (I9).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use async_trait::async_trait;

use super::detail::PluginDetail;
use super::event::LoadFailure;
use super::host::{Host, LoadedPlugin};
use super::transform::{Target, transform};
use super::{
    CallContext, Contested, FunctionInfo, FunctionRef, PluginError, Plugins, Reshaped, Resolution, ValueError,
    Violation,
};
use crate::record::Record;
use crate::value::Value;

/// Names this near are suggested.
const NEAR: f64 = 0.6;
const SUGGESTIONS_MAX: usize = 3;

/// The plugins as they were at one moment, and the files that were refused.
pub struct PluginSet {
    host: Arc<Host>,
    plugins: BTreeMap<Arc<str>, Arc<LoadedPlugin>>,
    failures: BTreeMap<Arc<str>, LoadFailure>,
    /// Plugins and function indexes by function name.
    by_name: HashMap<Arc<str>, Vec<(Arc<LoadedPlugin>, usize)>>,
}

impl PluginSet {
    pub(super) fn new(
        host: Arc<Host>,
        plugins: BTreeMap<Arc<str>, Arc<LoadedPlugin>>,
        failures: BTreeMap<Arc<str>, LoadFailure>,
    ) -> Self {
        let mut by_name: HashMap<Arc<str>, Vec<(Arc<LoadedPlugin>, usize)>> = HashMap::new();
        for plugin in plugins.values() {
            for (index, function) in plugin.functions.iter().enumerate() {
                by_name.entry(Arc::clone(&function.name)).or_default().push((Arc::clone(plugin), index));
            }
        }
        Self { host, plugins, failures, by_name }
    }

    pub(super) fn plugins(&self) -> &BTreeMap<Arc<str>, Arc<LoadedPlugin>> {
        &self.plugins
    }

    /// Files that are not in use, and why, by stem.
    pub fn failures(&self) -> &BTreeMap<Arc<str>, LoadFailure> {
        &self.failures
    }

    /// Every function, by plugin, in the order of its plugin.
    pub fn functions(&self) -> Vec<FunctionInfo> {
        let functions = self.plugins.values().flat_map(|plugin| &plugin.functions);
        functions.map(|function| function.function.info.clone()).collect()
    }

    /// What every plugin says about itself.
    pub fn details(&self) -> Vec<PluginDetail> {
        self.plugins.values().map(|plugin| PluginDetail::of(plugin)).collect()
    }

    /// Reads a JSON text as the kind that the function takes (`meta.example` of the contract).
    ///
    /// # Errors
    /// As [`Plugins::info`], or `plugin.bad_json`.
    pub fn value_from_json(&self, name: &str, json: &str) -> Result<Value, PluginError> {
        let (plugin, index) = self.resolve(name)?;
        let inputs =
            plugin.functions.get(index).map(|function| function.function.inputs.as_slice()).unwrap_or_default();
        super::json::read(json, inputs)
            .map_err(|error| PluginError::new("plugin.bad_json", format!("the value is not JSON: {error}")))
    }

    fn resolve(&self, name: &str) -> Result<(&Arc<LoadedPlugin>, usize), PluginError> {
        let (wanted, function) = match name.split_once('/') {
            Some((plugin, function)) => (Some(plugin), function),
            None => (None, name),
        };
        let candidates = self.by_name.get(function).map(Vec::as_slice).unwrap_or_default();
        let mut found = candidates.iter().filter(|(plugin, _)| wanted.is_none_or(|wanted| *plugin.stem == *wanted));
        match (found.next(), found.next()) {
            (Some((plugin, index)), None) => Ok((plugin, *index)),
            (None, _) => Err(self.unknown(name)),
            (Some(_), Some(_)) => {
                let names: Vec<String> =
                    candidates.iter().map(|(plugin, _)| format!("`{}/{function}`", plugin.stem)).collect();
                let message =
                    format!("several plugins have a function `{function}`: say which of {}", names.join(", "));
                Err(PluginError::new("plugin.ambiguous", message))
            }
        }
    }

    fn unknown(&self, name: &str) -> PluginError {
        let mut message = format!("no plugin has a function `{}`", super::limits::printable(name, 100));
        let (plugin, function) = name.split_once('/').unwrap_or((name, name));
        let refused = [plugin, function].into_iter().find_map(|stem| self.failures.get_key_value(stem));
        if let Some((stem, failure)) = refused {
            message = format!("{message}; `{stem}.wasm` was refused: {}", failure.error);
        }
        let full = |plugin: &LoadedPlugin, function: &str| format!("{}/{function}", plugin.stem);
        let mut near: Vec<(f64, String)> = self
            .by_name
            .iter()
            .flat_map(|(known, plugins)| plugins.iter().map(move |(plugin, _)| (known, plugin)))
            .map(|(known, plugin)| {
                let whole = full(plugin, known);
                let near = strsim::jaro_winkler(name, known).max(strsim::jaro_winkler(name, &whole));
                (near, if name.contains('/') { whole } else { known.to_string() })
            })
            .filter(|(near, _)| *near >= NEAR)
            .collect();
        near.sort_by(|(a, left), (b, right)| b.total_cmp(a).then_with(|| left.cmp(right)));
        let names: Vec<String> = near.into_iter().take(SUGGESTIONS_MAX).map(|(_, name)| format!("`{name}`")).collect();
        if !names.is_empty() {
            message = format!("{message}; did you mean {}?", names.join(" or "));
        }
        PluginError::new("plugin.unknown_function", message)
    }

    fn target(&self, function: &FunctionRef) -> Result<Target, PluginError> {
        let (plugin, index) = self.resolve(&function.name)?;
        let params = if function.params.trim().is_empty() { "{}" } else { function.params.as_str() };
        let object = serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(params);
        object.map_err(|error| {
            let message = format!("the parameters of `{}` are not a JSON object: {error}", function.name);
            PluginError::new("plugin.invalid_params", message)
        })?;
        Ok(Target { host: Arc::clone(&self.host), plugin: Arc::clone(plugin), function: index, params: params.into() })
    }
}

#[async_trait]
impl Plugins for PluginSet {
    fn info(&self, name: &str) -> Result<FunctionInfo, PluginError> {
        let (plugin, index) = self.resolve(name)?;
        let function = plugin.functions.get(index).ok_or_else(|| self.unknown(name))?;
        Ok(function.function.info.clone())
    }

    async fn probe(&self, function: &FunctionRef) -> Result<(), PluginError> {
        let target = self.target(function)?;
        target.check_role()?;
        target.probe().await
    }

    async fn transform(
        &self,
        function: &FunctionRef,
        context: &CallContext,
        input: Vec<Value>,
    ) -> Result<Vec<Result<Value, ValueError>>, PluginError> {
        transform(self.target(function)?, context, input).await
    }

    async fn fields(&self, function: &FunctionRef) -> Result<Vec<String>, PluginError> {
        Err(not_yet(function))
    }

    async fn reshape(
        &self,
        function: &FunctionRef,
        _: &CallContext,
        _: Vec<Record>,
    ) -> Result<Vec<Result<Reshaped, ValueError>>, PluginError> {
        Err(not_yet(function))
    }

    async fn validate(
        &self,
        function: &FunctionRef,
        _: &CallContext,
        _: Vec<Record>,
    ) -> Result<Vec<Result<Vec<Violation>, ValueError>>, PluginError> {
        Err(not_yet(function))
    }

    async fn resolve(
        &self,
        function: &FunctionRef,
        _: &CallContext,
        _: Vec<Contested>,
    ) -> Result<Vec<Result<Resolution, ValueError>>, PluginError> {
        Err(not_yet(function))
    }
}

fn not_yet(function: &FunctionRef) -> PluginError {
    PluginError::new("plugin.wrong_role", format!("`{}` cannot be called in this role yet", function.name))
}
