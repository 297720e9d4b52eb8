//! Sorts a batch of writes into steps that one statement can do each (layer 4). Pure.

use std::collections::{BTreeMap, HashSet};

use super::collection::Collection;
use super::table::{PgColumn, Table};
use super::values;
use crate::connector::Write;
use crate::error::{ErrorKind, Result};
use crate::record::Record;

/// What one statement does; fields are indexes of the table's columns. In the order in which steps are taken: what a delete frees
/// a create may use.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// Deletes by key, where these fields are as assumed.
    Delete {
        /// Guard.
        guard: Option<Vec<usize>>,
    },
    /// Sets fields by key, where these fields are as assumed.
    Update {
        /// What to set.
        set: Vec<usize>,
        /// Guard.
        guard: Option<Vec<usize>>,
    },
    /// Inserts records that carry their key.
    Create {
        /// What to set.
        set: Vec<usize>,
    },
    /// Inserts records whose key is made by the server.
    CreateGenerated {
        /// What to set.
        set: Vec<usize>,
    },
    /// Inserts records one by one: how the server makes their key cannot be told.
    CreateEach,
}

/// A write and its place in the batch.
#[derive(Debug, Clone, Copy)]
pub(super) struct Item<'a> {
    /// Index in the batch.
    pub(super) index: usize,
    /// The write.
    pub(super) write: &'a Write,
}

/// The steps of a batch, in order.
#[derive(Debug, Default)]
pub(super) struct Plan<'a> {
    /// Steps and what each is done to.
    pub(super) steps: Vec<(Step, Vec<Item<'a>>)>,
    /// Writes that their columns cannot hold: see `Table::unfit`.
    pub(super) impossible: Vec<Item<'a>>,
    /// Writes that assume such a text: it cannot be there.
    pub(super) stale: Vec<Item<'a>>,
}

impl<'a> Plan<'a> {
    /// Plans a batch. Writes of one key keep their order.
    pub(super) fn of(collection: &Collection, writes: &'a [Write]) -> Result<Self> {
        let mut plan = Self::default();
        let mut round: BTreeMap<Step, Vec<Item<'a>>> = BTreeMap::new();
        let mut keys = HashSet::new();
        for (index, write) in writes.iter().enumerate() {
            let item = Item { index, write };
            let (key, written, assumed) = parts(&collection.table, write);
            if written.is_some_and(|record| collection.table.unfit(record).is_some()) {
                plan.impossible.push(item);
                continue;
            }
            if assumed.is_some_and(|record| record.iter().any(|(_, value)| values::has_nul(value))) {
                plan.stale.push(item);
                continue;
            }
            if let Some(key) = key {
                if keys.contains(&key) {
                    plan.steps.extend(std::mem::take(&mut round));
                    keys.clear();
                }
                keys.insert(key);
            }
            round.entry(step(collection, write)?).or_default().push(item);
        }
        plan.steps.extend(round);
        Ok(plan)
    }
}

/// Encoded key, what is written, what is assumed.
fn parts<'a>(table: &Table, write: &'a Write) -> (Option<Vec<u8>>, Option<&'a Record>, Option<&'a Record>) {
    match write {
        Write::Create { record } => (record.key(&table.key).map(|key| key.encode()), Some(record), None),
        Write::Update { key, fields, guard } => (Some(key.encode()), Some(fields), guard.as_ref()),
        Write::Delete { key, guard } => (Some(key.encode()), None, guard.as_ref()),
    }
}

fn step(collection: &Collection, write: &Write) -> Result<Step> {
    let table = &collection.table;
    let indexes = |record: &Record| -> Result<Vec<usize>> {
        record
            .iter()
            .map(|(name, _)| {
                table.columns.iter().position(|column| column.name() == name).ok_or_else(|| {
                    collection.place.error(
                        ErrorKind::SchemaMismatch,
                        "postgres.schema",
                        format_args!("there is no column {name}"),
                    )
                })
            })
            .collect()
    };
    Ok(match write {
        Write::Create { record } if record.key(&table.key).is_some() => Step::Create { set: indexes(record)? },
        Write::Create { record } => {
            let set = indexes(record)?;
            let known = |column: &PgColumn| match record.get(column.name()) {
                Some(value) => !value.is_null(),
                None => column.default.is_some(),
            };
            if collection.key.iter().all(known) { Step::CreateGenerated { set } } else { Step::CreateEach }
        }
        Write::Update { fields, guard, .. } => {
            Step::Update { set: indexes(fields)?, guard: guard.as_ref().map(indexes).transpose()? }
        }
        Write::Delete { guard, .. } => Step::Delete { guard: guard.as_ref().map(indexes).transpose()? },
    })
}
