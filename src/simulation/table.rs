//! One simulated collection: its rows, its change log, its clock, and what is odd about it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::ledger::{Mark, Thing};
use crate::connector::{Column, Schema};
use crate::value::{Kind, Value};

/// Fields that people edit, the last columns of every table.
pub(super) const FIELDS: usize = 3;

/// Their names.
pub(super) const FIELD_NAMES: [&str; FIELDS] = ["x", "y", "z"];

/// What a system makes of a text that it is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stores {
    AsIs,
    Trimmed,
    UpperCase,
    LowerCase,
}

impl Stores {
    pub(super) fn store(self, value: &Value) -> Value {
        match (self, value) {
            (Self::Trimmed, Value::Text(text)) => Value::Text(text.trim().to_owned()),
            (Self::UpperCase, Value::Text(text)) => Value::Text(text.to_uppercase()),
            (Self::LowerCase, Value::Text(text)) => Value::Text(text.to_lowercase()),
            _ => value.clone(),
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Row {
    /// In the order of the columns.
    pub(super) values: Vec<Value>,
    /// Who wrote the fields.
    pub(super) marks: [Option<Mark>; FIELDS],
    pub(super) things: BTreeSet<Thing>,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) id: i64,
    pub(super) at: i64,
    /// The consumer that wrote it; `None`: a person.
    pub(super) origin: Option<Arc<str>>,
    /// The row as it was then; `None`: a delete.
    pub(super) row: Option<Row>,
}

#[derive(Debug)]
pub(super) struct Table {
    pub(super) name: &'static str,
    pub(super) columns: Vec<&'static str>,
    /// Whether the system makes the keys.
    pub(super) generates: bool,
    pub(super) rows: BTreeMap<i64, Row>,
    /// Rows as they were before their last change.
    pub(super) before: BTreeMap<i64, Option<Row>>,
    /// What was deleted here, by whomever, once it was known to be the same as something elsewhere.
    pub(super) removed: Vec<BTreeSet<Thing>>,
    next_id: i64,
    pub(super) log: Vec<Entry>,
    pub(super) incarnation: u32,
    /// What consumers will never ask for again.
    pub(super) acknowledged: BTreeMap<Arc<str>, usize>,
    /// Records that the program created, by the intention that is still open.
    pub(super) created: BTreeMap<i64, i64>,
    /// What is kept of writes: by consumer, intention, and place.
    pub(super) marks: BTreeMap<(Arc<str>, i64, usize), Vec<u8>>,
    pub(super) stores: Stores,
    /// Microseconds by which its clock is off.
    pub(super) skew: i64,
    /// Cannot be reached.
    pub(super) down: bool,
    /// A column is missing.
    pub(super) drifted: bool,
    /// Keys that are being written, by whom.
    pub(super) writing: BTreeSet<(Arc<str>, i64)>,
}

impl Table {
    pub(super) fn new(name: &'static str, correlations: &[&'static str], generates: bool, stores: Stores) -> Self {
        let columns = ["id"].into_iter().chain(correlations.iter().copied()).chain(FIELD_NAMES).collect();
        Self {
            name,
            columns,
            generates,
            rows: BTreeMap::new(),
            before: BTreeMap::new(),
            removed: Vec::new(),
            next_id: 1,
            log: Vec::new(),
            incarnation: 1,
            acknowledged: BTreeMap::new(),
            created: BTreeMap::new(),
            marks: BTreeMap::new(),
            stores,
            skew: 0,
            down: false,
            drifted: false,
            writing: BTreeSet::new(),
        }
    }

    pub(super) fn schema(&self) -> Schema {
        let column = |name: &&'static str| {
            let is_text = FIELD_NAMES.contains(name);
            let (kind, native_type) = if is_text { (Kind::Text, "TEXT") } else { (Kind::Int, "INTEGER") };
            Column {
                name: (*name).to_owned(),
                kind,
                native_type: native_type.to_owned(),
                nullable: *name != "id",
                has_default: *name == "id" && self.generates,
                writable: true,
                keeps: crate::connector::Keeps::default(),
            }
        };
        let others = &self.columns[1..self.columns.len() - FIELDS];
        let unique = ["id"].iter().chain(others).map(|name| vec![(*name).to_owned()]).collect();
        Schema { columns: self.columns.iter().map(column).collect(), key: vec!["id".to_owned()], unique, view: false }
    }

    pub(super) fn place(&self, column: &str) -> usize {
        self.columns.iter().position(|name| *name == column).unwrap()
    }

    /// The place of a field that people edit.
    pub(super) fn field(&self, column: usize) -> Option<usize> {
        column.checked_sub(self.columns.len() - FIELDS)
    }

    pub(super) fn fresh_id(&mut self) -> i64 {
        self.next_id += 1;
        self.next_id
    }

    pub(super) fn blank(&self, id: i64) -> Row {
        let mut values = vec![Value::Null; self.columns.len()];
        values[0] = Value::Int(id);
        Row { values, marks: [None; FIELDS], things: BTreeSet::new() }
    }

    /// Puts a row there, or takes it away, and writes that into the change log.
    pub(super) fn put(&mut self, id: i64, row: Option<Row>, now: i64, origin: Option<Arc<str>>) {
        let entry = Entry { id, at: now + self.skew, origin, row: row.clone() };
        let before = match row {
            Some(row) => self.rows.insert(id, row),
            None => self.rows.remove(&id),
        };
        self.before.insert(id, before);
        self.log.push(entry);
    }

    /// When a record last changed other than by this consumer, as far as the unacknowledged log knows.
    pub(super) fn changed_at(&self, id: i64, consumer: &str) -> Option<i64> {
        let from = self.acknowledged.get(consumer).copied().unwrap_or(0);
        let of = |entry: &&Entry| entry.id == id && entry.origin.as_deref() != Some(consumer);
        self.log.iter().skip(from).filter(of).map(|entry| entry.at).max()
    }
}
