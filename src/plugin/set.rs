//! One consistent, immutable set of loaded plugins: what a batch sees (I9).

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;

use super::detail::{PluginDetail, RefusedDetail};
use super::event::LoadFailure;
use super::host::{Host, LoadedPlugin};
use super::run::Rows;
use super::target::Target;
use super::{
    CallContext, Contested, FunctionCounts, FunctionInfo, FunctionRef, ParamProblem, PluginError, Plugins, Reshaped,
    Resolution, ValueError, Violation,
};
use super::{reshape, resolve, transform, validate};
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

    /// What every plugin says about itself, and what it did since it was loaded.
    pub fn details(&self) -> Vec<PluginDetail> {
        self.plugins.values().map(|plugin| PluginDetail::of(plugin)).collect()
    }

    /// The files that are not in use, and why.
    pub fn refused(&self) -> Vec<RefusedDetail> {
        self.failures.iter().map(|(stem, failure)| RefusedDetail::of(stem, failure)).collect()
    }

    /// The inputs of a function's examples, in JSON.
    ///
    /// # Errors
    /// As [`Plugins::info`].
    pub fn example_inputs(&self, name: &str) -> Result<Vec<String>, PluginError> {
        let (plugin, index) = self.find(name)?;
        let examples = plugin.functions.get(index).map(|function| function.function.examples.as_slice());
        Ok(examples.unwrap_or_default().iter().map(|example| example.input.clone()).collect())
    }

    /// What a function did so far.
    ///
    /// # Errors
    /// As [`Plugins::info`].
    pub fn counts(&self, name: &str) -> Result<FunctionCounts, PluginError> {
        let (plugin, index) = self.find(name)?;
        let function = plugin.functions.get(index).ok_or_else(|| self.unknown(name))?;
        Ok(function.counts.read())
    }

    fn find(&self, name: &str) -> Result<(&Arc<LoadedPlugin>, usize), PluginError> {
        let (wanted, function) = match name.split_once('/') {
            Some((plugin, function)) => (Some(plugin), function),
            None => (None, name),
        };
        let candidates = self.by_name.get(function).map(Vec::as_slice).unwrap_or_default();
        let wanted = wanted.or_else(|| replaces_standard(function, candidates));
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

    pub(super) fn target(&self, function: &FunctionRef) -> Result<Target, PluginError> {
        let (plugin, index) = self.find(&function.name)?;
        read_params(function)?;
        let params = text_of_params(function);
        Ok(Target { host: Arc::clone(&self.host), plugin: Arc::clone(plugin), function: index, params: params.into() })
    }
}

#[async_trait]
impl Plugins for PluginSet {
    fn info(&self, name: &str) -> Result<FunctionInfo, PluginError> {
        let (plugin, index) = self.find(name)?;
        let function = plugin.functions.get(index).ok_or_else(|| self.unknown(name))?;
        Ok(function.function.info.clone())
    }

    fn param_problems(&self, function: &FunctionRef) -> Vec<ParamProblem> {
        let (Ok((plugin, index)), Ok(params)) = (self.find(&function.name), read_params(function)) else {
            return Vec::new();
        };
        let function = plugin.functions.get(index);
        function.map(|function| function.function.params.problems(params)).unwrap_or_default()
    }

    async fn probe(&self, function: &FunctionRef) -> Result<(), PluginError> {
        let target = self.target(function)?;
        if let Some(problem) = self.param_problems(function).into_iter().next() {
            let message = format!("`{}` does not take these parameters: {}", function.name, problem.message);
            let message = problem.suggestion.map_or(message.clone(), |right| format!("{message}; {right}"));
            return Err(PluginError::new("plugin.invalid_params", message));
        }
        target.probe().await
    }

    async fn transform(
        &self,
        function: &FunctionRef,
        context: &CallContext,
        input: Vec<Value>,
    ) -> Result<Vec<Result<Value, ValueError>>, PluginError> {
        let (target, rows) = (self.target(function)?, input.len());
        counted(&target, rows, transform::transform(&target, context, input)).await
    }

    async fn fields(&self, function: &FunctionRef) -> Result<Vec<String>, PluginError> {
        self.target(function)?.fields().await.map(|fields| fields.to_vec())
    }

    async fn reshape(
        &self,
        function: &FunctionRef,
        context: &CallContext,
        input: Vec<Record>,
    ) -> Result<Vec<Result<Reshaped, ValueError>>, PluginError> {
        let (target, rows) = (self.target(function)?, input.len());
        counted(&target, rows, reshape::reshape(&target, context, input)).await
    }

    async fn validate(
        &self,
        function: &FunctionRef,
        context: &CallContext,
        input: Vec<Record>,
    ) -> Result<Vec<Result<Vec<Violation>, ValueError>>, PluginError> {
        let (target, rows) = (self.target(function)?, input.len());
        counted(&target, rows, validate::validate(&target, context, input)).await
    }

    async fn resolve(
        &self,
        function: &FunctionRef,
        context: &CallContext,
        input: Vec<Contested>,
    ) -> Result<Vec<Result<Resolution, ValueError>>, PluginError> {
        let (target, rows) = (self.target(function)?, input.len());
        counted(&target, rows, resolve::resolve(&target, context, input)).await
    }
}

/// The file that is named like a standard function replaces that function, also where it is one of several of its plugin
/// (`format_email.wasm` beside the standard `email`).
fn replaces_standard<'a>(function: &'a str, candidates: &[(Arc<LoadedPlugin>, usize)]) -> Option<&'a str> {
    let (named, others): (Vec<&str>, Vec<&str>) =
        candidates.iter().map(|(plugin, _)| &*plugin.stem).partition(|stem| *stem == function);
    (!named.is_empty() && others.iter().all(|stem| super::standard::standard(stem).is_some())).then_some(function)
}

/// Counts the call as one of its version's.
async fn counted<T>(
    target: &Target,
    rows: usize,
    call: impl Future<Output = Result<Rows<T>, PluginError>>,
) -> Result<Rows<T>, PluginError> {
    let started = Instant::now();
    let result = call.await;
    target.account(rows, started.elapsed(), result)
}

/// The parameters as they cross to the guest.
fn text_of_params(function: &FunctionRef) -> &str {
    if function.params.trim().is_empty() { "{}" } else { function.params.as_str() }
}

fn read_params(function: &FunctionRef) -> Result<serde_json::Map<String, serde_json::Value>, PluginError> {
    serde_json::from_str(text_of_params(function)).map_err(|error| {
        let message = format!("the parameters of `{}` are not a JSON object: {error}", function.name);
        PluginError::new("plugin.invalid_params", message)
    })
}
