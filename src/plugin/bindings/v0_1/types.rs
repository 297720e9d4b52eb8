//! The records of the contract's interfaces, field by field as `wit/plugin.wit` has them.

use std::sync::Arc;

use wasmtime::component::{ComponentType, Lift, Lower};

/// `types.column`.
#[derive(Debug, Clone, Hash, ComponentType, Lift, Lower)]
#[component(record)]
pub(in crate::plugin) struct Column {
    pub(in crate::plugin) rows: u32,
    pub(in crate::plugin) kind: u16,
    pub(in crate::plugin) validity: Vec<u8>,
    pub(in crate::plugin) offsets: Vec<u32>,
    pub(in crate::plugin) data: Vec<u8>,
}

/// `types.context`.
#[derive(Debug, Clone, ComponentType, Lower)]
#[component(record)]
pub(in crate::plugin) struct Context {
    #[component(name = "now-micros")]
    pub(in crate::plugin) now_micros: i64,
    pub(in crate::plugin) pair: Arc<str>,
    #[component(name = "input-system")]
    pub(in crate::plugin) input_system: Arc<str>,
    #[component(name = "output-system")]
    pub(in crate::plugin) output_system: Arc<str>,
    #[component(name = "trace-id")]
    pub(in crate::plugin) trace_id: String,
}

/// `types.row-error`.
#[derive(Debug, Clone, ComponentType, Lift)]
#[component(record)]
pub(in crate::plugin) struct RowError {
    pub(in crate::plugin) row: u32,
    pub(in crate::plugin) code: String,
    pub(in crate::plugin) message: String,
}

/// `types.plugin-error`.
#[derive(Debug, Clone, ComponentType, Lift)]
#[component(record)]
pub(in crate::plugin) struct CallError {
    pub(in crate::plugin) code: String,
    pub(in crate::plugin) message: String,
    pub(in crate::plugin) retryable: bool,
}

/// `meta.example`.
#[derive(Debug, Clone, ComponentType, Lift)]
#[component(record)]
pub(in crate::plugin) struct Example {
    pub(in crate::plugin) params: String,
    pub(in crate::plugin) input: String,
    pub(in crate::plugin) output: String,
}

/// `meta.function-info`.
#[derive(Debug, Clone, ComponentType, Lift)]
#[component(record)]
pub(in crate::plugin) struct FunctionInfo {
    pub(in crate::plugin) name: String,
    pub(in crate::plugin) doc: String,
    pub(in crate::plugin) role: String,
    pub(in crate::plugin) inputs: Vec<String>,
    pub(in crate::plugin) output: String,
    pub(in crate::plugin) deterministic: bool,
    pub(in crate::plugin) idempotent: bool,
    pub(in crate::plugin) reverse: String,
    #[component(name = "params-schema")]
    pub(in crate::plugin) params_schema: String,
    pub(in crate::plugin) examples: Vec<Example>,
}

/// `meta.plugin-info`.
#[derive(Debug, Clone, ComponentType, Lift)]
#[component(record)]
pub(in crate::plugin) struct PluginInfo {
    pub(in crate::plugin) name: String,
    pub(in crate::plugin) version: String,
    pub(in crate::plugin) functions: Vec<FunctionInfo>,
    pub(in crate::plugin) extra: String,
}

/// `field-transform.outcome`.
#[derive(Debug, Clone, ComponentType, Lift)]
#[component(record)]
pub(in crate::plugin) struct Outcome {
    pub(in crate::plugin) output: Column,
    pub(in crate::plugin) errors: Vec<RowError>,
}

/// `simple-transform.failure`.
#[derive(Debug, Clone, ComponentType, Lift)]
#[component(record)]
pub(in crate::plugin) struct Failure {
    pub(in crate::plugin) code: String,
    pub(in crate::plugin) message: String,
}

/// `types.named-column`.
#[derive(Debug, Clone, Hash, ComponentType, Lift, Lower)]
#[component(record)]
pub(in crate::plugin) struct NamedColumn {
    pub(in crate::plugin) name: String,
    pub(in crate::plugin) column: Column,
    pub(in crate::plugin) presence: Vec<u8>,
}

/// `types.batch`.
#[derive(Debug, Clone, Hash, ComponentType, Lift, Lower)]
#[component(record)]
pub(in crate::plugin) struct Batch {
    pub(in crate::plugin) rows: u32,
    pub(in crate::plugin) columns: Vec<NamedColumn>,
}

/// `record-transform.outcome`.
#[derive(Debug, Clone, ComponentType, Lift)]
#[component(record)]
pub(in crate::plugin) struct BatchOutcome {
    pub(in crate::plugin) output: Batch,
    pub(in crate::plugin) disposition: Vec<u8>,
    pub(in crate::plugin) errors: Vec<RowError>,
}

/// `validator.violation`.
#[derive(Debug, Clone, ComponentType, Lift)]
#[component(record)]
pub(in crate::plugin) struct RowViolation {
    pub(in crate::plugin) row: u32,
    pub(in crate::plugin) field: String,
    pub(in crate::plugin) code: String,
    pub(in crate::plugin) message: String,
}

/// `simple-validator.violation`.
#[derive(Debug, Clone, ComponentType, Lift)]
#[component(record)]
pub(in crate::plugin) struct SimpleViolation {
    pub(in crate::plugin) field: String,
    pub(in crate::plugin) code: String,
    pub(in crate::plugin) message: String,
}

/// `conflict-resolver.side`.
#[derive(Debug, Clone, Hash, ComponentType, Lower)]
#[component(record)]
pub(in crate::plugin) struct Side {
    pub(in crate::plugin) system: Arc<str>,
    pub(in crate::plugin) modified: Column,
    pub(in crate::plugin) values: Batch,
}

/// `conflict-resolver.contested-field`.
#[derive(Debug, Clone, Hash, ComponentType, Lower)]
#[component(record)]
pub(in crate::plugin) struct ContestedField {
    pub(in crate::plugin) field: String,
    pub(in crate::plugin) rows: Vec<u8>,
}

/// `conflict-resolver.conflicts`.
#[derive(Debug, Clone, Hash, ComponentType, Lower)]
#[component(record)]
pub(in crate::plugin) struct Conflicts {
    pub(in crate::plugin) rows: u32,
    pub(in crate::plugin) keys: Batch,
    pub(in crate::plugin) base: Batch,
    pub(in crate::plugin) source: Side,
    pub(in crate::plugin) target: Side,
    pub(in crate::plugin) contested: Vec<ContestedField>,
}

/// `conflict-resolver.field-choice`.
#[derive(Debug, Clone, ComponentType, Lift)]
#[component(record)]
pub(in crate::plugin) struct FieldChoice {
    pub(in crate::plugin) field: String,
    pub(in crate::plugin) choice: Vec<u8>,
    pub(in crate::plugin) custom: Option<Column>,
}

/// `conflict-resolver.resolution`.
#[derive(Debug, Clone, ComponentType, Lift)]
#[component(record)]
pub(in crate::plugin) struct BatchResolution {
    pub(in crate::plugin) disposition: Vec<u8>,
    pub(in crate::plugin) fields: Vec<FieldChoice>,
    pub(in crate::plugin) reasons: Option<Column>,
}
