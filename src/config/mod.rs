//! The typed configuration (layer 2): what everything downstream sees.
//!
//! The way of a file: `document` (text → tree with places) → `structure` (checked against the schema of `raw`, variables filled
//! in) → `raw` (serde) → `resolve` (typed, every problem collected). Parts that have no effect yet are in `planned`.

use std::collections::BTreeMap;
use std::path::PathBuf;

pub mod codes;
pub mod planned;

mod document;
mod include;
mod load;
mod pair;
mod problem;
mod raw;
mod resolve;
mod schema;
mod secret;
mod source_line;
mod structure;
mod suggest;
mod validation_rules;
mod variables;

pub use load::{Loaded, Registry, load, load_with_environment};
pub use pair::{
    BULK_BATCH, CaptureMethod, Close, ConflictPolicy, Credentials, DeleteGuard, Deletes, DriftPolicy, Endpoint,
    FieldMapping, FilterExit, KeyMapping, Lookup, LoopPrevention, Mappings, Nulls, OnError, PairConfig,
    RecordTransform, Retry, Rollout, Rule, SchemaDrift, TransformCall,
};
pub use problem::{Location, Problem, Severity};
pub use schema::schema;
pub use secret::{Secret, environment};
pub use source_line::{below, source_line};
pub use suggest::{nearest, suggestion};
pub use validation_rules::{Check, OnInvalid, ValidationRule};

/// A whole service.
#[derive(Debug, Clone)]
pub struct Config {
    /// Every sync, expanded into pairs; names are unique.
    pub pairs: Vec<PairConfig>,
    /// `sqlite://PATH`; default `sqlite://tidelock.db`.
    pub state_url: String,
    /// The plugin folder and limits.
    pub plugins: PluginSettings,
    /// The HTTP server.
    pub server: ServerSettings,
    /// `monitoring.logging.level`, if given.
    pub log_level: Option<String>,
}

/// The plugin folder, what a plugin may use up, and what it may ask for.
#[derive(Debug, Clone, PartialEq)]
pub struct PluginSettings {
    /// Folder of `NAME.wasm` files; need not exist. Default `plugins`.
    pub dir: PathBuf,
    /// Limits per call.
    pub limits: PluginLimits,
    /// WASI packages (`wasi:clocks`) or interfaces (`wasi:clocks/wall-clock`) that a plugin may import, by the stem of its file.
    pub grants: BTreeMap<String, Vec<String>>,
    /// When a new version is taken back; `None`: never.
    pub rollback: Option<PluginRollback>,
}

impl PluginSettings {
    /// Whether a plugin can be granted this; what reaches out of the sandbox never is.
    pub fn is_grantable(grant: &str) -> bool {
        resolve::is_grantable(grant)
    }

    /// A folder with everything else at its default.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            limits: PluginLimits::default(),
            grants: BTreeMap::new(),
            rollback: Some(PluginRollback::default()),
        }
    }
}

/// When a new version of a plugin is taken back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PluginRollback {
    /// Values of each function that are watched after a replacement.
    pub window_values: u64,
    /// Share of failing values, from 0 to 1, above that of the version before.
    pub error_rate: f64,
}

impl Default for PluginRollback {
    fn default() -> Self {
        Self { window_values: 1_000, error_rate: 0.2 }
    }
}

/// What one plugin call may use up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PluginLimits {
    /// Wall-clock time of a call with one row.
    pub call_ms: u64,
    /// Added per row, in microseconds.
    pub row_us: u64,
    /// No call runs longer than this.
    pub max_call_ms: u64,
    /// Linear memory of an instance, bytes.
    pub memory_bytes: usize,
    /// Elements of each table of an instance.
    pub table_elements: usize,
    /// Stack of a call, bytes.
    pub stack_bytes: usize,
    /// Rows of a call.
    pub call_rows: usize,
    /// What the host copies out of one call, bytes.
    pub output_bytes: usize,
    /// One value of the output, bytes, where its input was not larger itself.
    pub value_bytes: usize,
    /// Violations of one record.
    pub row_violations: usize,
    /// Characters of a message that a plugin gives.
    pub message_chars: usize,
    /// Log lines of a call.
    pub log_lines: u32,
    /// Bytes of a call's log.
    pub log_bytes: usize,
    /// Size of a plugin file, bytes.
    pub file_bytes: u64,
    /// CPU time of compiling one, seconds.
    pub compile_seconds: u64,
    /// Memory of compiling one, bytes.
    pub compile_memory_bytes: u64,
}

impl Default for PluginLimits {
    fn default() -> Self {
        Self {
            call_ms: 200,
            row_us: 20,
            max_call_ms: 5_000,
            memory_bytes: 64 << 20,
            table_elements: 65_536,
            stack_bytes: 512 << 10,
            call_rows: 1_024,
            output_bytes: 32 << 20,
            value_bytes: 64 << 10,
            row_violations: 100,
            message_chars: 500,
            log_lines: 20,
            log_bytes: 8 << 10,
            file_bytes: 40 << 20,
            compile_seconds: 60,
            compile_memory_bytes: 4 << 30,
        }
    }
}

/// The HTTP server.
#[derive(Debug, Clone)]
pub struct ServerSettings {
    /// `127.0.0.1:7070` by default.
    pub listen: String,
    /// Bearer token; required on any address that is not loopback.
    pub token: Option<Secret>,
}

impl ServerSettings {
    /// Whether other machines could reach it without a token.
    pub fn is_unprotected(&self) -> bool {
        self.token.is_none() && !resolve::is_loopback(&self.listen)
    }
}
