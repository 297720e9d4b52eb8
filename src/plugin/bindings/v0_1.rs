//! `tidelock:plugin@0.1.x` (`wit/plugin.wit`) in Rust: its types, and the typed functions of an instance.
//!
//! Written by hand instead of generated: a generated world demands every export, while a plugin has `meta` and any of the roles.

use std::sync::Arc;

use wasmtime::component::{
    Component, ComponentExportIndex, ComponentType, Instance, Lift, Linker, Lower, ResourceAny, TypedFunc, WasmStr,
};
use wasmtime::{Store, StoreContextMut};

use super::Role;
use crate::plugin::PluginError;
use crate::plugin::instance::Guest;
use crate::plugin::limits::LOG_LINE_CHARS_MAX;

/// `types.column`.
#[derive(Debug, Clone, ComponentType, Lift, Lower)]
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

/// `meta.describe`.
pub(in crate::plugin) type Describe = TypedFunc<(), (PluginInfo,)>;
/// `field-transform.transform.open`.
pub(in crate::plugin) type Open = TypedFunc<(Arc<str>, Arc<str>), (Result<ResourceAny, CallError>,)>;
/// `field-transform.transform.apply`.
pub(in crate::plugin) type Apply = TypedFunc<(ResourceAny, Context, Column), (Result<Outcome, CallError>,)>;
/// What `simple-transform.apply` answers.
pub(in crate::plugin) type SimpleOutcome = Result<Vec<Result<Option<String>, Failure>>, CallError>;
/// `simple-transform.apply`.
pub(in crate::plugin) type SimpleApply =
    TypedFunc<(Context, Arc<str>, Arc<str>, u16, Vec<Option<String>>), (SimpleOutcome,)>;

/// Where the functions stand in a component.
#[derive(Clone)]
pub(in crate::plugin) struct Exports {
    describe: ComponentExportIndex,
    transform: Option<TransformExports>,
    pub(super) roles: Vec<Role>,
}

#[derive(Clone)]
enum TransformExports {
    Columnar { open: ComponentExportIndex, apply: ComponentExportIndex },
    Simple { apply: ComponentExportIndex },
}

/// The functions of one instance.
pub(in crate::plugin) struct Bound {
    pub(in crate::plugin) describe: Describe,
    pub(in crate::plugin) transform: Option<Transform>,
}

/// A field transform, columnar or simple.
#[derive(Clone)]
pub(in crate::plugin) enum Transform {
    Columnar { open: Open, apply: Apply },
    Simple { apply: SimpleApply },
}

impl Exports {
    /// `meta`, `columnar` and `simple` are the full names of the interfaces, where they are exported.
    pub(super) fn find(
        component: &Component,
        meta: &str,
        columnar: Option<&str>,
        simple: Option<&str>,
        roles: Vec<Role>,
    ) -> Result<Self, PluginError> {
        let function = |interface: &str, name: &str| {
            let index = component.get_export_index(None, interface);
            index.and_then(|index| component.get_export_index(Some(&index), name)).ok_or_else(|| {
                PluginError::new(
                    "plugin.contract",
                    format!("`{interface}` has no function `{name}`; see wit/plugin.wit"),
                )
            })
        };
        let transform = match (columnar, simple) {
            (Some(interface), _) => Some(TransformExports::Columnar {
                open: function(interface, "[static]transform.open")?,
                apply: function(interface, "[method]transform.apply")?,
            }),
            (None, Some(interface)) => Some(TransformExports::Simple { apply: function(interface, "apply")? }),
            (None, None) => None,
        };
        Ok(Self { describe: function(meta, "describe")?, transform, roles })
    }

    pub(super) fn bind(&self, store: &mut Store<Guest>, instance: &Instance) -> Result<Bound, PluginError> {
        let transform = match &self.transform {
            Some(TransformExports::Columnar { open, apply }) => Some(Transform::Columnar {
                open: instance.get_typed_func(&mut *store, open).map_err(|error| mistyped("open", &error))?,
                apply: instance.get_typed_func(&mut *store, apply).map_err(|error| mistyped("apply", &error))?,
            }),
            Some(TransformExports::Simple { apply }) => Some(Transform::Simple {
                apply: instance.get_typed_func(&mut *store, apply).map_err(|error| mistyped("apply", &error))?,
            }),
            None => None,
        };
        let describe = instance.get_typed_func(store, self.describe).map_err(|error| mistyped("describe", &error))?;
        Ok(Bound { describe, transform })
    }
}

fn mistyped(function: &str, error: &wasmtime::Error) -> PluginError {
    let message = format!("`{function}` is not of the type in wit/plugin.wit: {}", error.root_cause());
    PluginError::new("plugin.contract", message)
}

/// Gives `log.write`: at most so many lines and bytes per call, the rest is dropped.
pub(super) fn add_log(linker: &mut Linker<Guest>) -> wasmtime::Result<()> {
    linker.instance("tidelock:plugin/log@0.1.0")?.func_wrap(
        "write",
        |mut store: StoreContextMut<'_, Guest>, (level, message): (u8, WasmStr)| {
            // Borrowed from the guest's memory: of a long message only what can be shown is copied.
            let message: String = message.to_str(&store)?.chars().take(LOG_LINE_CHARS_MAX + 1).collect();
            store.data_mut().log(level, &message);
            Ok(())
        },
    )
}
