//! Stages 2 and 3: fields of one side become fields of the other, a column at a time through the plugins. No I/O but the `Plugins` trait.

use std::sync::Arc;

use super::binding::{Binding, BoundField, BoundLookup, BoundMapping};
use crate::change::End;
use crate::config::OnError;
use crate::error::{ErrorKind, Result, SyncError};
use crate::plugin::{CallContext, FunctionRef, PluginError, Plugins, ValueError};
use crate::record::Record;
use crate::state::{Parent, ReviewKind};
use crate::telemetry::clock;
use crate::value::{ConvertError, Kind, Value};

mod lookup;
mod reshape;

pub use lookup::Translations;

/// Why a field of a record was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Stable code: the plugin's own, or ours.
    pub code: String,
    /// For people; no values.
    pub message: String,
    /// The field that was refused; `None`: the whole record.
    pub field: Option<String>,
    /// Digest of the plugin that refused it.
    pub digest: Option<String>,
    /// A record transform leaves the record out: nobody has to look at it.
    pub skipped: bool,
    /// The record that has to come first: this one goes on by itself then.
    pub waits_for: Option<Box<Parent>>,
}

impl Rejection {
    /// What kind of review it comes to.
    pub fn kind(&self) -> ReviewKind {
        if self.waits_for.is_some() { ReviewKind::Waiting } else { ReviewKind::Rejected }
    }

    /// What a function has against a field.
    pub fn by(plugins: &dyn Plugins, function: &FunctionRef, field: Option<&str>, error: ValueError) -> Self {
        Self {
            code: error.code,
            message: format!("{}: {}", function.name, error.message),
            field: field.map(str::to_owned),
            digest: plugins.info(&function.name).ok().map(|info| info.digest),
            skipped: false,
            waits_for: None,
        }
    }
}

/// One field in the other side's terms: a value, absent, or refused. Refusals are rare, so that cells are as small as values.
pub type Cell = std::result::Result<Option<Value>, Box<Rejection>>;

/// A record in the other side's terms: one cell per mapping, `Ok(None)` where nothing flows that way; then one for each field that the
/// record transforms of its side make.
pub type Mapped = Vec<Cell>;

/// What a batch's calls know of each other.
pub(super) struct Stage<'a> {
    pub binding: &'a Binding,
    /// The side that the records come from.
    pub from: End,
    pub plugins: &'a Arc<dyn Plugins>,
    pub context: CallContext,
}

impl<'a> Stage<'a> {
    pub(super) fn new(binding: &'a Binding, from: End, plugins: &'a Arc<dyn Plugins>) -> Self {
        let context = CallContext {
            now_micros: clock::now_micros(),
            pair: Arc::clone(&binding.pair),
            input_system: Arc::clone(binding.systems.get(from)),
            output_system: Arc::clone(binding.systems.get(from.other())),
        };
        Self { binding, from, plugins, context }
    }

    /// Runs one function over the cells that still hold a value.
    pub(super) async fn call(&self, function: &FunctionRef, field: &str, cells: &mut [Cell]) -> Result<()> {
        let (rows, input): (Vec<usize>, Vec<Value>) = cells
            .iter()
            .enumerate()
            .filter_map(|(row, cell)| match cell {
                Ok(Some(value)) if !value.is_null() => Some((row, value.clone())),
                Ok(_) | Err(_) => None,
            })
            .unzip();
        if input.is_empty() {
            return Ok(());
        }
        let output = self.plugins.transform(function, &self.context, input).await;
        let output = output.map_err(|error| unusable(function, &error))?;
        for (row, result) in rows.into_iter().zip(output) {
            if let Some(cell) = cells.get_mut(row) {
                let refused = |error| Box::new(Rejection::by(self.plugins.as_ref(), function, Some(field), error));
                *cell = result.map(Some).map_err(refused);
            }
        }
        Ok(())
    }
}

/// Maps records that come from `from`: out come as many, in order. Nothing is validated. Keys of other pairs are translated first.
///
/// # Errors
/// Where a function cannot be called at all: the pair waits until it can.
pub async fn map_records(
    binding: &Binding,
    from: End,
    records: &[&Record],
    plugins: &Arc<dyn Plugins>,
    translations: &Translations,
) -> Result<Vec<Mapped>> {
    let stage = Stage::new(binding, from, plugins);
    let mut out: Vec<Mapped> = records.iter().map(|_| Vec::with_capacity(binding.mappings.len())).collect();
    for (place, mapping) in binding.mappings.iter().enumerate() {
        match mapping.functions.get(from) {
            None => out.iter_mut().for_each(|cells| cells.push(Ok(None))),
            Some(functions) => {
                let lookup = mapping.lookup.as_ref().map(|lookup| (place, lookup, translations));
                Column { mapping, stage: &stage, lookup }.map(records, functions, &mut out).await?;
            }
        }
    }
    for computed in binding.computed.iter().filter(|computed| computed.from == from) {
        stage.reshape(computed, records, &mut out).await?;
    }
    Ok(out)
}

/// One mapping of one batch.
struct Column<'a> {
    mapping: &'a BoundMapping,
    stage: &'a Stage<'a>,
    lookup: Option<(usize, &'a BoundLookup, &'a Translations)>,
}

impl Column<'_> {
    /// Adds a cell to each of `out`.
    async fn map(&self, records: &[&Record], functions: &[FunctionRef], out: &mut [Mapped]) -> Result<()> {
        let begun = |record: &&Record| -> Cell { Ok(self.original(record)?.map(|value| self.literals(value))) };
        if functions.is_empty() {
            out.iter_mut().zip(records).for_each(|(cells, record)| cells.push(self.finish(begun(record), record)));
            return Ok(());
        }
        let mut column: Vec<Cell> = records.iter().map(begun).collect();
        for function in functions {
            self.stage.call(function, &self.mapping.fields.get(self.stage.from).name, &mut column).await?;
        }
        for ((cells, cell), record) in out.iter_mut().zip(column).zip(records) {
            cells.push(self.finish(cell, record));
        }
        Ok(())
    }

    /// The value as it comes; a key of another pair as the other side has it.
    fn original(&self, record: &Record) -> Cell {
        let of = self.mapping.fields.get(self.stage.from);
        let value = record.values().get(of.position).cloned().flatten();
        match (value, self.lookup) {
            (Some(value), Some((place, lookup, translations))) => {
                Ok(Some(translations.translate((place, lookup), (self.stage.from, &of.name), value)?))
            }
            (value, _) => Ok(value),
        }
    }

    /// `value_map` and, source → target, `default`.
    fn literals(&self, value: Value) -> Value {
        let map = &self.mapping.value_map;
        let mapped = match self.stage.from {
            _ if map.is_empty() || value.is_null() => None,
            End::Source => {
                let text = value.to_text();
                map.iter().find(|(from, _)| text.as_ref() == Some(from)).map(|(_, to)| to.clone())
            }
            End::Target => map.iter().find(|(_, to)| *to == value).map(|(from, _)| Value::Text(from.clone())),
        };
        match (mapped.unwrap_or(value), &self.mapping.default) {
            (Value::Null, Some(default)) if self.stage.from == End::Source => default.clone(),
            (value, _) => value,
        }
    }

    /// Whether no function makes the value.
    fn is_plain(&self) -> bool {
        self.mapping.functions.get(self.stage.from).as_ref().is_some_and(Vec::is_empty)
    }

    /// `on_error`, then the kind of the other side's column.
    fn finish(&self, cell: Cell, record: &Record) -> Cell {
        let of = self.mapping.fields.get(self.stage.from);
        let to = self.mapping.fields.get(self.stage.from.other());
        let value = match (cell, self.mapping.on_error) {
            (Ok(value), _) => value,
            // Nothing stands in for a parent that is yet to come.
            (Err(rejection), _) if rejection.waits_for.is_some() => return Err(rejection),
            (Err(_), OnError::KeepOriginal) => self.original(record)?,
            (Err(_), OnError::SetNull) => Some(Value::Null),
            (Err(rejection), OnError::RejectRecord | OnError::QueueForManualReview) => return Err(rejection),
        };
        // SQLite takes bytes into a column of text, and text into one of bytes. In base64 nobody could tell what they were.
        let foreign = match value {
            Some(Value::Bytes(_)) => of.kind == Kind::Text,
            Some(Value::Text(_)) => of.kind == Kind::Bytes,
            _ => false,
        };
        if foreign && of.kind == to.kind && self.is_plain() {
            let text = format!(
                "\"{}\" has a value of another sort than the column, text or bytes, which \"{}\" cannot take for what it is",
                of.name, to.name
            );
            return Err(unfit(&of.name, text));
        }
        fit(value, &of.name, to)
    }
}

/// A value in the kind of the field that takes it.
pub(super) fn fit(value: Option<Value>, from: &str, to: &BoundField) -> Cell {
    let refuse = |error: ConvertError| unfit(from, format!("\"{from}\" cannot become \"{}\": {error}", to.name));
    value.map(|value| value.convert(to.kind)).transpose().map_err(refuse)
}

fn unfit(field: &str, message: String) -> Box<Rejection> {
    Box::new(Rejection {
        code: "value.does_not_fit".to_owned(),
        message,
        field: Some(field.to_owned()),
        digest: None,
        skipped: false,
        waits_for: None,
    })
}

pub(super) fn unusable(function: &FunctionRef, error: &PluginError) -> SyncError {
    let kind = if error.may_pass() { ErrorKind::Unavailable } else { ErrorKind::SchemaMismatch };
    SyncError::new(kind, error.code, format!("calling the plugin function \"{}\": {}", function.name, error.message))
}
