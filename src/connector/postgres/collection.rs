//! An opened table (layer 4): what source and target share, and how rows become records.

use sqlx::postgres::{PgArguments, PgPool, PgRow};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, PgConnection, Postgres, Row, ValueRef};
use std::borrow::Cow;
use std::sync::Arc;

use super::errors::{Place, Sql};
use super::logical::{Fields, Stream};
use super::options::Server;
use super::table::{PgColumn, Table};
use super::values;
use crate::config::CaptureMethod;
use crate::connector::OpenOptions;
use crate::connector::change_log::{all, list};
use crate::error::{ErrorKind, Result};
use crate::record::{Key, Layout, Record, layout};
use crate::value::Value;

/// The values of one column over a batch, as the server reads them: one parameter of a set-based statement.
pub(super) type Column<'a> = Vec<Option<Cow<'a, str>>>;

/// An opened table.
pub(super) struct Collection {
    /// Where it is, for messages.
    pub(super) place: Place,
    /// How to open connections of its own.
    pub(super) server: Server,
    /// Shared connections.
    pub(super) pool: PgPool,
    /// The catalogue's description.
    pub(super) table: Table,
    /// The opened fields.
    pub(super) fields: Vec<PgColumn>,
    /// Their names.
    pub(super) layout: Layout,
    /// Primary key.
    pub(super) key: Vec<PgColumn>,
    /// The columns that `upsert` goes by.
    pub(super) correlation: Vec<PgColumn>,
    /// The endpoint's row filter.
    pub(super) filter: Option<String>,
    /// How it was opened.
    pub(super) options: OpenOptions,
    /// Its stream, where changes are read from the server's log.
    pub(super) stream: Option<Arc<Stream>>,
    /// Whether there is a table of marks, once that is known.
    pub(super) marks: tokio::sync::OnceCell<bool>,
}

impl Collection {
    /// Looks the opened fields up in the table.
    pub(super) fn new(server: Server, table: Table, filter: Option<String>, options: OpenOptions) -> Result<Self> {
        let place = Place { server: server.place.server.clone(), table: Some(table.label()) };
        let columns = |names: &[String]| columns(&place, &table, names);
        let (fields, key, correlation) =
            (columns(&options.fields)?, columns(&table.key)?, columns(&options.correlation)?);
        let filter = filter.filter(|text| !text.trim().is_empty());
        let layout = layout(&options.fields);
        let logical = options.capture == CaptureMethod::LogicalReplication;
        let whole = options.images && filter.is_none();
        let carried = if whole { Fields::new(&fields, &layout) } else { None };
        let stream = || Arc::new(Stream::new(&server, &place, &table, (&key, &options.consumer), carried));
        let stream = logical.then(stream);
        Ok(Self {
            place,
            stream,
            pool: server.pool(),
            server,
            fields,
            layout,
            key,
            correlation,
            table,
            filter,
            options,
            marks: tokio::sync::OnceCell::new(),
        })
    }

    /// Columns by their names.
    pub(super) fn columns(&self, names: &[String]) -> Result<Vec<PgColumn>> {
        columns(&self.place, &self.table, names)
    }

    /// Has the server plan a read of the opened fields, so that a wrong filter or a missing grant is known at once.
    pub(super) async fn check(&self, connection: &mut PgConnection) -> Result<()> {
        let plain = format!("EXPLAIN SELECT {} FROM {} AS t", self.texts("t"), self.table.quoted());
        explain(connection, plain).await.map_err(|error| self.place.failed("reading the table", error))?;
        let filtered = format!("EXPLAIN SELECT {} FROM {} AS t", self.texts("t"), self.rows());
        explain(connection, filtered).await.map_err(|error| {
            let text = super::errors::said(&error);
            self.place.error(
                ErrorKind::SchemaMismatch,
                "postgres.filter",
                format_args!("the filter is no condition on this table: {text}"),
            )
        })
    }

    /// The rows that the filter leaves, as an item of FROM. The planner looks through it.
    pub(super) fn rows(&self) -> String {
        // The line break ends a comment that the filter may end with.
        let filtered = |filter| format!("(SELECT * FROM {} WHERE ({filter}\n))", self.table.quoted());
        self.filter.as_ref().map_or_else(|| self.table.quoted(), filtered)
    }

    /// The opened fields of row `row` as text.
    pub(super) fn texts(&self, row: &str) -> String {
        list(self.fields.iter().map(|column| column.text(row)))
    }

    /// The record in the columns of `row` from `first` on, which are those of [`Self::texts`].
    pub(super) fn record(&self, row: &PgRow, first: usize) -> Sql<Record> {
        read(row, first, &self.fields)
            .map(|values| Record::new(Layout::clone(&self.layout), values.into_iter().map(Some).collect()))
    }

    /// The key fields' values of a record that was read.
    pub(super) fn key_of(&self, record: &Record) -> Result<Key> {
        record
            .key(&self.table.key)
            .ok_or_else(|| self.place.error(ErrorKind::Internal, "internal", "a record came without its key"))
    }
}

fn columns(place: &Place, table: &Table, names: &[String]) -> Result<Vec<PgColumn>> {
    let missing = |name: &String| {
        place.error(ErrorKind::SchemaMismatch, "postgres.schema", format_args!("there is no column {name}"))
    };
    names.iter().map(|name| table.column(name).cloned().ok_or_else(|| missing(name))).collect()
}

async fn explain(connection: &mut PgConnection, sql: String) -> Sql<()> {
    sqlx::query(AssertSqlSafe(sql)).fetch_all(connection).await.map(|_| ())
}

/// Reads the text columns of a row from `first` on.
pub(super) fn read(row: &PgRow, first: usize, columns: &[PgColumn]) -> Sql<Vec<Value>> {
    let value = |(index, column): (usize, &PgColumn)| {
        let raw = row.try_get_raw(first + index)?;
        if raw.is_null() {
            return Ok(Value::Null);
        }
        raw.as_str().map(|text| values::parse(column.kind(), text)).map_err(sqlx::Error::Decode)
    };
    columns.iter().enumerate().map(value).collect()
}

/// Turns keys into one array per field; null, which matches nothing, where no column can hold the value.
pub(super) fn columns_of<'a>(keys: impl Iterator<Item = &'a Key> + Clone, width: usize) -> Vec<Column<'a>> {
    let part = |key: &'a Key, index| key.0.get(index).filter(|value| !values::has_nul(value)).and_then(values::input);
    (0..width).map(|index| keys.clone().map(|key| part(key, index)).collect()).collect()
}

/// `unnest($first::text[], …) WITH ORDINALITY AS u(c0, …, ord)`: the parameters as rows, numbered from 1.
pub(super) fn unnest(width: usize, first_parameter: usize) -> String {
    let parameters = list((0..width).map(|index| format!("${}::text[]", index + first_parameter)));
    let names = list((0..width).map(|index| format!("c{index}")));
    format!("unnest({parameters}) WITH ORDINALITY AS u({names}, ord)")
}

/// `t.a = u.c0::type AND …`: rows of `t` with the values of `u`.
pub(super) fn matching(columns: &[PgColumn]) -> String {
    all(columns.iter().enumerate().map(|(index, column)| column.matches("t", &format!("u.c{index}"))))
}

/// A statement whose first parameters are `columns`.
pub(super) fn query<'q>(sql: String, columns: Vec<Column<'_>>) -> Query<'q, Postgres, PgArguments> {
    columns.into_iter().fold(sqlx::query(AssertSqlSafe(sql)), |query, column| query.bind(column))
}
