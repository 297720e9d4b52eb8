//! What the pipeline sees of the plugins: the port in front of the Wasm host (layer 3).
//!
//! The pipeline asks the catalogue for a set once per batch (I9) and calls functions of that set by name. A guest's failure is an
//! error value of its record, never more (I10).

use std::sync::Arc;

use async_trait::async_trait;

use crate::change::Ends;
use crate::record::Record;
use crate::value::{Kind, Value};

mod batch;
mod bindings;
mod breaker;
mod burnt;
pub mod catalog;
mod column;
mod compile;
mod counts;
mod describe;
mod detail;
mod engine;
mod event;
mod examples;
mod folder;
mod host;
mod images;
mod instance;
mod json;
mod json_lines;
mod laws;
mod limits;
mod load;
mod params;
mod pool;
mod preamble;
mod probation;
mod reshape;
mod resolve;
mod run;
mod set;
mod standard;
mod target;
mod transform;
mod validate;
mod wasi;
mod watch;

pub use catalog::{Catalog, CatalogSettings};
pub use compile::{CompileJob, compile_here};
pub use counts::FunctionCounts;
pub use detail::{FunctionDetail, PluginDetail, RefusedDetail};
pub use event::{CatalogEvent, Happened, LoadFailure};
pub use images::default_cache_dir;
pub use limits::call_deadline;
pub use params::ParamProblem;
pub use set::PluginSet;
pub use watch::Watch;

/// One function bound to its parameters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct FunctionRef {
    /// `format_phone`, or `plugin/format_phone`.
    pub name: String,
    /// JSON object.
    pub params: String,
}

/// What a function says about itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionInfo {
    /// Function name.
    pub name: String,
    /// Plugin that exports it (stem of its file).
    pub plugin: String,
    /// SHA-256 of the plugin's file, lower-case hex.
    pub digest: String,
    /// One line for people.
    pub doc: String,
    /// "field-transform", "record-transform", "validator" or "conflict-resolver".
    pub role: String,
    /// Of a field transform: the kind of what it returns, `None` = that of its input.
    pub output: Option<Kind>,
    /// f(f(x)) = f(x): may run in both directions.
    pub idempotent: bool,
    /// Name of the function that undoes this one.
    pub reverse: Option<String>,
}

/// Why a plugin or function cannot be used. The text is for the user.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} [{code}]")]
pub struct PluginError {
    /// Stable dotted code, listed in `docs/errors.md` (`plugin.unknown_function`, `plugin.ambiguous`, `plugin.invalid_params`, …).
    pub code: &'static str,
    /// What is wrong and what would be right.
    pub message: String,
}

impl PluginError {
    /// An error with a stable code.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// Whether the same call may do later: the plugin asks for that, is not called for a while, or its version before is back.
    pub fn may_pass(&self) -> bool {
        ["plugin.retryable", "plugin.breaker_open", "plugin.busy", "plugin.rolled_back"].contains(&self.code)
    }
}

/// A failure of one value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ValueError {
    /// The guest's own kebab-case code (`invalid-phone`), or `trap`, `deadline`, `memory`, `output-limit`, `bad-output`.
    pub code: String,
    /// The guest's message, capped.
    pub message: String,
}

/// What a function may know about a call.
#[derive(Debug, Clone)]
pub struct CallContext {
    /// Microseconds since 1970-01-01 UTC.
    pub now_micros: i64,
    /// Name of the pair.
    pub pair: Arc<str>,
    /// System that the input comes from.
    pub input_system: Arc<str>,
    /// System that the output goes to.
    pub output_system: Arc<str>,
}

impl CallContext {
    /// The context of examples and probes: nothing is known.
    pub fn none() -> Self {
        let empty: Arc<str> = Arc::from("");
        Self { now_micros: 0, pair: Arc::clone(&empty), input_system: Arc::clone(&empty), output_system: empty }
    }
}

/// What a record transform made of one record.
#[derive(Debug, Clone, PartialEq)]
pub enum Reshaped {
    /// The fields that it returned; those that it left absent are absent.
    Keep(Record),
    /// The record is left out.
    Skip,
    /// The record waits for a person.
    Review,
}

/// What a validator has against one record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// `None`: the whole record.
    pub field: Option<String>,
    /// The guest's own kebab-case code.
    pub code: String,
    /// The guest's message, capped.
    pub message: String,
}

/// A record that changed on both sides. Fields are in the target's terms on both sides.
#[derive(Debug, Clone, PartialEq)]
pub struct Contested {
    /// The key fields.
    pub key: Record,
    /// The last agreed state; `None` where nothing was agreed.
    pub base: Option<Record>,
    /// Both sides' values.
    pub values: Ends<Record>,
    /// When each side changed: microseconds since 1970-01-01 UTC, where that is known.
    pub modified: Ends<Option<i64>>,
    /// The fields on which both sides disagree with the base and with each other.
    pub fields: Vec<String>,
}

/// What a contested field becomes.
#[derive(Debug, Clone, PartialEq)]
pub enum Choice {
    /// What was agreed before.
    Base,
    /// The source's value.
    Source,
    /// The target's value.
    Target,
    /// This value, in the target's terms.
    Custom(Value),
}

/// How a resolver settles one record.
#[derive(Debug, Clone, PartialEq)]
pub enum Resolution {
    /// A person decides.
    Review {
        /// Why, for people; empty where the guest does not say.
        reason: String,
    },
    /// Field by field. A contested field that is missing here goes to review.
    Settled {
        /// Name and choice.
        fields: Vec<(String, Choice)>,
        /// Why, for people; empty where the guest does not say.
        reason: String,
    },
}

/// One consistent set of loaded plugins.
///
/// The calls that take records send a guest only the fields that it asks for. As many results as records, in their order; a failed
/// call is bisected down to the guilty records, whose results are then errors (I10).
#[async_trait]
pub trait Plugins: Send + Sync {
    /// What a function says about itself.
    ///
    /// # Errors
    /// Where no plugin, or more than one, exports the name; the message names near ones.
    fn info(&self, name: &str) -> Result<FunctionInfo, PluginError>;

    /// What the parameters of the call have against them by the function's own `params-schema`. A call of a function that is not to be
    /// had has none: `info` says so.
    /// A set that knows no schemas has nothing to say.
    fn param_problems(&self, _: &FunctionRef) -> Vec<ParamProblem> {
        Vec::new()
    }

    /// Opens the function with its parameters once, in a throw-away instance.
    ///
    /// # Errors
    /// As `info`, or where the guest refuses the parameters.
    async fn probe(&self, function: &FunctionRef) -> Result<(), PluginError>;

    /// Transforms a column. Same order and length out; a trap is bisected down to the guilty values.
    ///
    /// # Errors
    /// Where the function cannot be called at all: unknown, ambiguous, its breaker open, or `retryable`.
    async fn transform(
        &self,
        function: &FunctionRef,
        context: &CallContext,
        input: Vec<Value>,
    ) -> Result<Vec<Result<Value, ValueError>>, PluginError>;

    /// The fields that a record transform, validator or resolver wants to see; empty = all.
    ///
    /// # Errors
    /// As `probe`.
    async fn fields(&self, function: &FunctionRef) -> Result<Vec<String>, PluginError>;

    /// Reshapes records: several fields in, several out.
    ///
    /// # Errors
    /// As `transform`.
    async fn reshape(
        &self,
        function: &FunctionRef,
        context: &CallContext,
        input: Vec<Record>,
    ) -> Result<Vec<Result<Reshaped, ValueError>>, PluginError>;

    /// Checks records; none against a record = it is valid.
    ///
    /// # Errors
    /// As `transform`.
    async fn validate(
        &self,
        function: &FunctionRef,
        context: &CallContext,
        input: Vec<Record>,
    ) -> Result<Vec<Result<Vec<Violation>, ValueError>>, PluginError>;

    /// Settles conflicts. `context.input_system` is the source's, `context.output_system` the target's name.
    ///
    /// # Errors
    /// As `transform`.
    async fn resolve(
        &self,
        function: &FunctionRef,
        context: &CallContext,
        input: Vec<Contested>,
    ) -> Result<Vec<Result<Resolution, ValueError>>, PluginError>;
}

/// The loaded plugins, which change while the service runs.
pub trait Catalogue: Send + Sync {
    /// The set as it is now; it stays as it is for as long as it is held (I9).
    fn snapshot(&self) -> Arc<dyn Plugins>;
}
