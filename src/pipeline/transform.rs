//! Stages 2 and 3: fields of one side become fields of the other, a column at a time through the plugins. No I/O but the `Plugins` trait.

use std::sync::Arc;

use super::binding::{Binding, BoundMapping};
use crate::change::{End, Ends};
use crate::config::OnError;
use crate::error::{ErrorKind, Result, SyncError};
use crate::plugin::{CallContext, FunctionRef, PluginError, Plugins};
use crate::record::Record;
use crate::telemetry::clock;
use crate::value::Value;

/// Why a field of a record was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Stable code: the plugin's own, or ours.
    pub code: String,
    /// For people; no values.
    pub message: String,
    /// The field that was refused, on the side that it comes from.
    pub field: String,
    /// Digest of the plugin that refused it.
    pub digest: Option<String>,
}

/// One field in the other side's terms: a value, absent, or refused.
pub type Cell = std::result::Result<Option<Value>, Rejection>;

/// A record in the other side's terms: one cell per mapping, `Ok(None)` where nothing flows that way.
pub type Mapped = Vec<Cell>;

/// Maps records that come from `from`: out come as many, in order.
///
/// # Errors
/// Where a function cannot be called at all: the pair waits until it can.
pub async fn map_records(
    binding: &Binding,
    from: End,
    records: &[&Record],
    plugins: &Arc<dyn Plugins>,
) -> Result<Vec<Mapped>> {
    let context = CallContext {
        now_micros: clock::now_micros(),
        pair: Arc::clone(&binding.pair),
        input_system: Arc::clone(binding.systems.get(from)),
        output_system: Arc::clone(binding.systems.get(from.other())),
    };
    let mut out: Vec<Mapped> = records.iter().map(|_| Vec::with_capacity(binding.mappings.len())).collect();
    for mapping in &binding.mappings {
        let column = match mapping.functions.get(from) {
            None => records.iter().map(|_| Ok(None)).collect(),
            Some(functions) => Column { mapping, from, plugins, context: &context }.map(records, functions).await?,
        };
        for (record, cell) in out.iter_mut().zip(column) {
            record.push(cell);
        }
    }
    Ok(out)
}

/// One mapping of one batch.
struct Column<'a> {
    mapping: &'a BoundMapping,
    from: End,
    plugins: &'a Arc<dyn Plugins>,
    context: &'a CallContext,
}

impl Column<'_> {
    async fn map(&self, records: &[&Record], functions: &[FunctionRef]) -> Result<Vec<Cell>> {
        let mut cells: Vec<Cell> =
            records.iter().map(|record| Ok(self.original(record).map(|value| self.literals(value)))).collect();
        for function in functions {
            self.call(function, &mut cells).await?;
        }
        Ok(cells.into_iter().zip(records).map(|(cell, record)| self.finish(cell, record)).collect())
    }

    /// The value as it comes.
    fn original(&self, record: &Record) -> Option<Value> {
        record.values().get(self.mapping.fields.get(self.from).position).cloned().flatten()
    }

    /// `value_map` and, source → target, `default`.
    fn literals(&self, value: Value) -> Value {
        let map = &self.mapping.value_map;
        let mapped = match self.from {
            _ if map.is_empty() || value.is_null() => None,
            End::Source => {
                let text = value.to_text();
                map.iter().find(|(from, _)| text.as_ref() == Some(from)).map(|(_, to)| to.clone())
            }
            End::Target => map.iter().find(|(_, to)| *to == value).map(|(from, _)| Value::Text(from.clone())),
        };
        match (mapped.unwrap_or(value), &self.mapping.default) {
            (Value::Null, Some(default)) if self.from == End::Source => default.clone(),
            (value, _) => value,
        }
    }

    /// Runs one function over the cells that still hold a value.
    async fn call(&self, function: &FunctionRef, cells: &mut [Cell]) -> Result<()> {
        let (rows, input): (Vec<usize>, Vec<Value>) = cells
            .iter_mut()
            .enumerate()
            .filter_map(|(row, cell)| match cell {
                // Every one of them is put back below.
                Ok(value) => Some((row, value.take_if(|value| !value.is_null())?)),
                Err(_) => None,
            })
            .unzip();
        if input.is_empty() {
            return Ok(());
        }
        let output =
            self.plugins.transform(function, self.context, input).await.map_err(|error| unusable(function, &error))?;
        let digest = self.plugins.info(&function.name).ok().map(|info| info.digest);
        for (row, result) in rows.into_iter().zip(output) {
            if let Some(cell) = cells.get_mut(row) {
                *cell = result.map(Some).map_err(|error| Rejection {
                    code: error.code,
                    message: format!("{}: {}", function.name, error.message),
                    field: self.mapping.fields.get(self.from).name.clone(),
                    digest: digest.clone(),
                });
            }
        }
        Ok(())
    }

    /// `on_error`, then the kind of the other side's column.
    fn finish(&self, cell: Cell, record: &Record) -> Cell {
        let value = match (cell, self.mapping.on_error) {
            (Ok(value), _) => value,
            (Err(_), OnError::KeepOriginal) => self.original(record),
            (Err(_), OnError::SetNull) => Some(Value::Null),
            (Err(rejection), OnError::RejectRecord | OnError::QueueForManualReview) => return Err(rejection),
        };
        let fields: &Ends<_> = &self.mapping.fields;
        let to = fields.get(self.from.other());
        value.map(|value| value.convert(to.kind)).transpose().map_err(|error| Rejection {
            code: "value.does_not_fit".to_owned(),
            message: format!("\"{}\" cannot become \"{}\": {error}", fields.get(self.from).name, to.name),
            field: fields.get(self.from).name.clone(),
            digest: None,
        })
    }
}

fn unusable(function: &FunctionRef, error: &PluginError) -> SyncError {
    let kind = if error.may_pass() { ErrorKind::Unavailable } else { ErrorKind::SchemaMismatch };
    SyncError::new(kind, error.code, format!("calling the plugin function \"{}\": {}", function.name, error.message))
}
