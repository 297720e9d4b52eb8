//! What plugins say about themselves, for people and programs: `tidelock plugin list`, `plugin check` and the API.

use serde::Serialize;

use super::column::kind_name;
use super::counts::FunctionCounts;
use super::event::LoadFailure;
use super::host::{LoadedFunction, LoadedPlugin};
use super::probation::ROLLED_BACK;

/// A loaded plugin.
#[derive(Debug, Clone, Serialize)]
pub struct PluginDetail {
    /// Stem of its file: the name it is addressed by.
    pub plugin: String,
    /// SHA-256 of its file, lower-case hex.
    pub digest: String,
    /// What it calls itself.
    pub name: String,
    /// Its version.
    pub version: String,
    /// "in_use", or "on_probation": it took another version's place and is being watched.
    pub state: &'static str,
    /// From reading the file to the last example.
    pub load_ms: u64,
    /// Its functions, in its own order.
    pub functions: Vec<FunctionDetail>,
}

/// One function.
#[derive(Debug, Clone, Serialize)]
pub struct FunctionDetail {
    /// Function name.
    pub name: String,
    /// "field-transform", "record-transform", "validator" or "conflict-resolver".
    pub role: String,
    /// One line for people.
    pub doc: String,
    /// Names of the kinds accepted; empty = any.
    pub inputs: Vec<&'static str>,
    /// Name of the kind returned, or "same"; empty for other roles than field transforms.
    pub output: &'static str,
    /// f(f(x)) = f(x).
    pub idempotent: bool,
    /// The same input gives the same output.
    pub deterministic: bool,
    /// Name of the function that undoes this one.
    pub reverse: Option<String>,
    /// JSON Schema of the parameters, or empty.
    pub params_schema: String,
    /// How many examples were run.
    pub examples: usize,
    /// What it did since this version was loaded.
    pub counts: FunctionCounts,
    /// Whether it is not called for the time being, because it failed too often.
    pub breaker_open: bool,
}

/// A file that is not in use.
#[derive(Debug, Clone, Serialize)]
pub struct RefusedDetail {
    /// Stem of the file.
    pub plugin: String,
    /// "refused", or "rolled_back": it was in use and failed too often.
    pub state: &'static str,
    /// SHA-256 of the file, lower-case hex, where it could be read.
    pub digest: Option<String>,
    /// Stable code of the reason.
    pub code: &'static str,
    /// The reason.
    pub message: String,
    /// Digest of the version that is in use in its place, if any.
    pub kept: Option<String>,
}

impl RefusedDetail {
    pub(super) fn of(stem: &str, failure: &LoadFailure) -> Self {
        let text = |digest: &Option<std::sync::Arc<str>>| digest.as_deref().map(str::to_owned);
        Self {
            plugin: stem.to_owned(),
            state: if failure.error.code == ROLLED_BACK { "rolled_back" } else { "refused" },
            digest: text(&failure.digest),
            code: failure.error.code,
            message: failure.error.message.clone(),
            kept: text(&failure.kept),
        }
    }
}

impl PluginDetail {
    pub(super) fn of(plugin: &LoadedPlugin) -> Self {
        Self {
            plugin: plugin.stem.to_string(),
            digest: plugin.digest.to_string(),
            name: plugin.name.clone(),
            version: plugin.version.clone(),
            state: if plugin.probation().is_some() { "on_probation" } else { "in_use" },
            load_ms: plugin.load_ms,
            functions: plugin.functions.iter().map(FunctionDetail::of).collect(),
        }
    }
}

impl FunctionDetail {
    fn of(loaded: &LoadedFunction) -> Self {
        let function = &loaded.function;
        let is_transform = function.role == super::bindings::Role::FieldTransform;
        Self {
            name: function.info.name.clone(),
            role: function.info.role.clone(),
            doc: function.info.doc.clone(),
            inputs: function.inputs.iter().map(|kind| kind_name(*kind)).collect(),
            output: function.output.map_or(if is_transform { "same" } else { "" }, kind_name),
            idempotent: function.info.idempotent,
            deterministic: function.deterministic,
            reverse: function.info.reverse.clone(),
            params_schema: function.params.text().to_owned(),
            examples: function.examples.len(),
            counts: loaded.counts.read(),
            breaker_open: loaded.breaker.open_for(std::time::Instant::now()).is_some(),
        }
    }
}
