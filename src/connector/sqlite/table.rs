//! A table as the catalogue describes it, and the SQL that names its parts (layer 4). Every identifier in SQL comes from here.

use sqlx::sqlite::SqliteRow;

use super::errors::Sql;
use super::values::{Codec, Raw};
use crate::connector::change_log::{list, quote};
use crate::connector::{Column, Schema};
use crate::record::{Key, Layout, Record, layout};

/// A column with what SQL needs to know of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LiteColumn {
    /// What the port tells of it.
    pub(super) column: Column,
    /// How its values are read and written.
    pub(super) codec: Codec,
}

impl LiteColumn {
    /// Name.
    pub(super) fn name(&self) -> &str {
        &self.column.name
    }
}

/// A table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Table {
    /// Name in the catalogue's spelling.
    pub(super) name: String,
    /// Every column, in the catalogue's order.
    pub(super) columns: Vec<LiteColumn>,
    /// Primary key, or a unique key without nulls.
    pub(super) key: Vec<String>,
    /// A view: nothing is written to it, and the key is what the configuration says.
    pub(super) view: bool,
    /// Field sets that `ON CONFLICT` can name.
    pub(super) unique: Vec<Vec<String>>,
    /// Those of them that take different texts for equal (`COLLATE NOCASE`).
    pub(super) folding: Vec<Vec<String>>,
    /// Deletes or updates of its records make SQLite change other records: foreign keys with an action point here.
    pub(super) cascades: bool,
}

impl Table {
    /// `"name"`.
    pub(super) fn quoted(&self) -> String {
        quote(&self.name)
    }

    /// The column of that name.
    pub(super) fn column(&self, name: &str) -> Option<&LiteColumn> {
        self.columns.iter().find(|column| column.name() == name)
    }

    /// `"name"."column"`.
    pub(super) fn of(&self, column: &str) -> String {
        format!("{}.{}", self.quoted(), quote(column))
    }

    /// What the port tells of it.
    pub(super) fn schema(&self) -> Schema {
        Schema {
            columns: self.columns.iter().map(|column| column.column.clone()).collect(),
            key: self.key.clone(),
            unique: self.unique.clone(),
            view: self.view,
        }
    }

    /// Field sets with a unique constraint beside the key.
    pub(super) fn other_unique(&self) -> impl Iterator<Item = &Vec<String>> {
        self.unique.iter().filter(|set| **set != self.key)
    }
}

/// Some columns of a table, as records carry them.
#[derive(Debug, Clone)]
pub(super) struct Fields {
    /// The names, shared by all records.
    pub(super) layout: Layout,
    codecs: Vec<(Codec, bool)>,
}

impl Fields {
    /// These columns; those among `findable` are read so that a lookup by the value finds the record.
    pub(super) fn new(table: &Table, names: &[String], findable: &[String]) -> Option<Self> {
        let codecs = names
            .iter()
            .map(|name| table.column(name).map(|column| (column.codec, findable.contains(name))))
            .collect::<Option<Vec<_>>>()?;
        Some(Self { layout: layout(names), codecs })
    }

    /// `"t"."a", "t"."b"`.
    pub(super) fn select(&self, table: &Table) -> String {
        list(self.layout.iter().map(|name| table.of(name)))
    }

    /// `"a", "b"`, for `RETURNING`.
    pub(super) fn returning(&self) -> String {
        list(self.layout.iter().map(|name| quote(name)))
    }

    /// Number of columns.
    pub(super) fn len(&self) -> usize {
        self.codecs.len()
    }

    /// Reads a record from the columns of `row` that begin at `start`.
    pub(super) fn record(&self, row: &SqliteRow, start: usize) -> Sql<Record> {
        let values = self
            .codecs
            .iter()
            .enumerate()
            .map(|(index, (codec, findable))| {
                let raw = Raw::read(row, start + index)?;
                Ok(Some(if *findable { codec.decode_findable(raw) } else { codec.decode(raw) }))
            })
            .collect::<Sql<Vec<_>>>()?;
        Ok(Record::new(Layout::clone(&self.layout), values))
    }

    /// Reads a key from the columns of `row` that begin at `start`.
    pub(super) fn key(&self, row: &SqliteRow, start: usize) -> Sql<Key> {
        Ok(Key(self.record(row, start)?.into_values().into_iter().flatten().collect()))
    }

    /// The stored spellings that a lookup by `key` has to find: one list per field.
    pub(super) fn forms(&self, key: &Key) -> Vec<Vec<Raw>> {
        self.codecs.iter().zip(&key.0).map(|((codec, _), value)| codec.forms(value)).collect()
    }
}
