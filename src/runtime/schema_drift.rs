//! `schema_drift`: what a pair's tables looked like when it was last in use, and what is done where they look different now.
//!
//! Nothing is guessed: a column that is gone is never written as null, and what may have changed values is compared in full.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::open::{OpenError, connectors, endpoint};
use super::worker::Worker;
use crate::change::{End, Ends};
use crate::config::{DriftPolicy, Mappings, PairConfig, SchemaDrift};
use crate::connector::{Column, NewColumn, Schema};
use crate::error::{ErrorKind, SyncError};

/// What a pair's tables looked like, and which fields it was asked to keep in step: kept with its state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Shapes {
    asked: Vec<String>,
    source: Shape,
    target: Shape,
    /// The pair was held because of a type: once it goes on, both sides are compared in full. The state looks for it as a person lets the
    /// pair go on.
    #[serde(default)]
    held: bool,
}

/// A table: names and types of its columns, and its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Shape {
    columns: Vec<(String, String)>,
    key: Vec<String>,
}

/// How a table differs from what it was.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Drift {
    end: End,
    kind: DriftKind,
    column: String,
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DriftKind {
    Added,
    Dropped,
    Retyped,
}

impl Drift {
    fn policy(&self, policies: &SchemaDrift) -> DriftPolicy {
        match self.kind {
            DriftKind::Added => policies.added,
            DriftKind::Dropped => policies.dropped,
            DriftKind::Retyped => policies.retyped,
        }
    }
}

impl Shape {
    fn of(schema: &Schema) -> Self {
        let columns = schema.columns.iter().map(|column| (column.name.clone(), column.native_type.clone()));
        Self { columns: columns.collect(), key: schema.key.clone() }
    }

    fn place(&self, name: &str) -> Option<(usize, &str)> {
        self.columns
            .iter()
            .enumerate()
            .find(|(_, (of, _))| of == name)
            .map(|(place, (_, native))| (place, native.as_str()))
    }

    /// What became of this table.
    fn drifts(&self, now: &Self, end: End) -> Vec<Drift> {
        let drift = |kind, column: &str, text| Drift { end, kind, column: column.to_owned(), text };
        let mut drifts = Vec::new();
        let mut renamed = Vec::new();
        for (place, (name, native)) in self.columns.iter().enumerate() {
            match now.place(name) {
                Some((_, other)) if other != native => {
                    let text = format!("the type of column \"{name}\" was {native} and is {other}");
                    drifts.push(drift(DriftKind::Retyped, name, text));
                }
                Some(_) => {}
                None => {
                    // A new name keeps place and type.
                    let here = now.columns.get(place).filter(|(of, other)| other == native && self.place(of).is_none());
                    renamed.extend(here.map(|(of, _)| of.clone()));
                    let text = match here {
                        Some((of, _)) => format!("column \"{name}\" is gone, and \"{of}\" stands in its place"),
                        None => format!("column \"{name}\" ({native}) is gone"),
                    };
                    drifts.push(drift(DriftKind::Dropped, name, text));
                }
            }
        }
        for (name, native) in now.columns.iter().filter(|(name, _)| self.place(name).is_none()) {
            if !renamed.contains(name) {
                drifts.push(drift(DriftKind::Added, name, format!("column \"{name}\" ({native}) is new")));
            }
        }
        if self.key != now.key {
            let text = format!("the key was {} and is {}", self.key.join(", "), now.key.join(", "));
            drifts.push(drift(DriftKind::Retyped, now.key.first().map_or("", String::as_str), text));
        }
        drifts
    }
}

/// The fields that the configuration asks for: where that changes, a person has looked at the tables.
fn asked(config: &PairConfig) -> Vec<String> {
    let mut names = match &config.mappings {
        Mappings::Listed(listed) => listed.iter().map(|one| format!("{} {}", one.source, one.target)).collect(),
        Mappings::SameNames { exclude } => exclude.clone(),
    };
    if let Some(key) = &config.key {
        names.extend(key.source.iter().chain(&key.target).cloned());
    }
    names
}

/// Whether the pair has to do with the column: it maps or goes by it, or is to keep all fields in step.
fn is_used(config: &PairConfig, drift: &Drift, key: &[String]) -> bool {
    let named = |name: Option<&String>| name == Some(&drift.column);
    let of_key = config.key.as_ref().is_some_and(|key| match drift.end {
        End::Source => key.source.contains(&drift.column),
        End::Target => key.target.contains(&drift.column),
    });
    let mapped = match &config.mappings {
        Mappings::Listed(listed) => listed.iter().any(|one| match drift.end {
            End::Source => one.source == drift.column,
            End::Target => one.target == drift.column,
        }),
        Mappings::SameNames { exclude } => !exclude.contains(&drift.column),
    };
    mapped
        || of_key
        || key.contains(&drift.column)
        || named(config.soft_delete.as_ref())
        || named(config.conflict.timestamp_field.as_ref())
        || named(endpoint(config, drift.end).updated_at.as_ref())
}

/// When a running pair looks at its tables.
pub(super) struct Lookout {
    looked: Instant,
}

impl Lookout {
    pub(super) fn new() -> Self {
        Self { looked: Instant::now() }
    }

    /// Whether it is time to look, and a table is not what it was as the pair was opened.
    pub(super) async fn sees_drift(&mut self, config: &PairConfig, schemas: &Ends<Schema>) -> bool {
        if self.looked.elapsed() < config.schema_drift.check_every {
            return false;
        }
        self.looked = Instant::now();
        match described(config).await {
            Ok(now) => {
                [End::Source, End::Target].iter().any(|end| Shape::of(now.get(*end)) != Shape::of(schemas.get(*end)))
            }
            // An outage is noticed by whoever reads or writes.
            Err(OpenError::System(error)) => error.kind == ErrorKind::SchemaMismatch,
            Err(OpenError::Configuration(_)) => false,
        }
    }
}

async fn described(config: &PairConfig) -> Result<Ends<Schema>, OpenError> {
    let connectors = connectors(config)?;
    let source = connectors.source.describe(&config.source).await?;
    let target = connectors.target.describe(&config.target).await?;
    Ok(Ends { source, target })
}

impl Worker {
    /// Does what the policy says about tables that are not as they were when the pair was last in use. What they are is kept by
    /// [`Worker::keep_shapes`] once the pair is open.
    ///
    /// # Errors
    /// `mapping.schema_drift` where a person has to look first.
    pub(super) async fn face_drift(&self) -> Result<(), OpenError> {
        let config = &self.config;
        let Some(before) = self.state.shape(&config.name).await? else { return Ok(()) };
        let Ok(before) = serde_json::from_str::<Shapes>(&before) else { return Ok(()) };
        if before.asked != asked(config) {
            return Ok(());
        }
        let now = described(config).await?;
        let mut drifts = before.source.drifts(&Shape::of(&now.source), End::Source);
        drifts.extend(before.target.drifts(&Shape::of(&now.target), End::Target));
        drifts.retain(|drift| {
            is_used(config, drift, if drift.end == End::Source { &now.source.key } else { &now.target.key })
        });
        let held: Vec<&Drift> =
            drifts.iter().filter(|drift| drift.policy(&config.schema_drift) == DriftPolicy::Hold).collect();
        if !held.is_empty() {
            if held.iter().any(|drift| drift.kind == DriftKind::Retyped) {
                self.keep(&Shapes { held: true, ..before }).await?;
            }
            return Err(self.held(&held).into());
        }
        for drift in &drifts {
            let what = format!("{}: {}", self.table(drift.end), drift.text);
            match drift.policy(&config.schema_drift) {
                DriftPolicy::Alert => tracing::warn!(pair = %config.name, code = "mapping.schema_drift", "{what}"),
                DriftPolicy::Apply | DriftPolicy::Ignore | DriftPolicy::Hold => {
                    tracing::info!(pair = %config.name, "{what}");
                }
            }
            if drift.policy(&config.schema_drift) == DriftPolicy::Apply && drift.kind == DriftKind::Added {
                self.add_to_other(drift, &now).await?;
            }
        }
        // A change of a type may have changed values, of which no trigger tells.
        if before.held || drifts.iter().any(|drift| drift.kind == DriftKind::Retyped) {
            self.state.request_resync(&config.name).await?;
        }
        Ok(())
    }

    /// Keeps what the tables look like, with whose shapes the pair goes on.
    ///
    /// # Errors
    /// Where the state cannot be written.
    pub(super) async fn keep_shapes(&self, schemas: &Ends<Schema>) -> Result<(), SyncError> {
        let (source, target) = (Shape::of(&schemas.source), Shape::of(&schemas.target));
        self.keep(&Shapes { asked: asked(&self.config), source, target, held: false }).await
    }

    async fn keep(&self, shapes: &Shapes) -> Result<(), SyncError> {
        let text = serde_json::to_string(shapes).map_err(|error| SyncError::internal(error.to_string()))?;
        self.state.keep_shape(&self.config.name, &text).await
    }

    fn table(&self, end: End) -> String {
        format!("the {} \"{}\"", end.name(), endpoint(&self.config, end).collection)
    }

    fn held(&self, drifts: &[&Drift]) -> SyncError {
        let name = &self.config.name;
        let said: Vec<String> =
            drifts.iter().map(|drift| format!("{}: {}", self.table(drift.end), drift.text)).collect();
        let text = format!(
            "pair {name}: its tables are not what they were when it was last in use; {}. Nothing was lost: change it back, change the \
             mapping, or let the pair go on with the tables as they are (`tidelock resume {name}`)",
            said.join("; ")
        );
        SyncError::new(ErrorKind::SchemaMismatch, "mapping.schema_drift", text)
    }

    /// Adds a new column to the other side, where all fields are kept in step and records flow there.
    async fn add_to_other(&self, drift: &Drift, now: &Ends<Schema>) -> Result<(), OpenError> {
        let config = &self.config;
        let all = matches!(config.mappings, Mappings::SameNames { .. });
        let flows = drift.end == End::Source || config.target_to_source;
        let other = drift.end.other();
        let column: Option<&Column> = now.get(drift.end).column(&drift.column);
        let Some(column) = column.filter(|_| all && flows && now.get(other).column(&drift.column).is_none()) else {
            return Ok(());
        };
        let like = Some((endpoint(config, drift.end).system_type.clone(), column.native_type.clone()));
        // Records that are there have no value yet.
        let column = NewColumn { name: column.name.clone(), kind: column.kind, like, not_null: false };
        let (connectors, endpoint) = (connectors(config)?, endpoint(config, other));
        let statement = connectors.get(other).addition(endpoint, &column).await?;
        connectors.get(other).define(endpoint, std::slice::from_ref(&statement)).await?;
        tracing::info!(pair = %config.name, "{}: added column \"{}\"", self.table(other), column.name);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(columns: &[(&str, &str)]) -> Shape {
        let columns = columns.iter().map(|(name, native)| ((*name).to_owned(), (*native).to_owned())).collect();
        Shape { columns, key: vec!["id".to_owned()] }
    }

    #[test]
    fn every_difference_is_told_once() {
        let before = shape(&[("id", "int"), ("a", "text"), ("b", "text"), ("c", "int")]);
        assert_eq!(before.drifts(&before, End::Source), []);
        let now = shape(&[("id", "int"), ("a2", "text"), ("c", "bigint"), ("d", "date")]);
        let drifts: Vec<(DriftKind, String)> =
            before.drifts(&now, End::Source).into_iter().map(|drift| (drift.kind, drift.text)).collect();
        let expected = [
            (DriftKind::Dropped, "column \"a\" is gone, and \"a2\" stands in its place"),
            (DriftKind::Dropped, "column \"b\" (text) is gone"),
            (DriftKind::Retyped, "the type of column \"c\" was int and is bigint"),
            (DriftKind::Added, "column \"d\" (date) is new"),
        ];
        assert_eq!(drifts, expected.map(|(kind, text)| (kind, text.to_owned())));
    }

    #[test]
    fn another_key_is_a_change_of_type() {
        let before = shape(&[("id", "int"), ("nr", "int")]);
        let now = Shape { key: vec!["nr".to_owned()], ..before.clone() };
        let drifts = before.drifts(&now, End::Target);
        assert_eq!(drifts.iter().map(|drift| drift.kind).collect::<Vec<_>>(), [DriftKind::Retyped]);
    }
}
