//! What plugins say about themselves, for people and programs: `tidelock plugin list`, `plugin check` and the API.

use serde::Serialize;

use super::column::kind_name;
use super::host::{LoadedFunction, LoadedPlugin};

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
}

impl PluginDetail {
    pub(super) fn of(plugin: &LoadedPlugin) -> Self {
        Self {
            plugin: plugin.stem.to_string(),
            digest: plugin.digest.to_string(),
            name: plugin.name.clone(),
            version: plugin.version.clone(),
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
            params_schema: function.params_schema.clone(),
            examples: function.examples.len(),
        }
    }
}
