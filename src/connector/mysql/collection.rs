//! An opened table (layer 4): what source and target share, how rows become records, and how records are found.

use std::collections::HashMap;

use sqlx::mysql::{MySqlPool, MySqlRow};
use sqlx::{AssertSqlSafe, MySqlConnection};

use super::binlog::Stream;
use super::errors::{Place, Sql, said};
use super::options::Server;
use super::table::{MyColumn, Table, quote};
use super::values::{Bind, decode, encode};
use crate::config::CaptureMethod;
use crate::connector::OpenOptions;
use crate::connector::change_log::list;
use crate::error::{ErrorKind, Result};
use crate::record::{Key, Layout, Record, layout};
use crate::value::Value;

/// Values in one `IN`: beyond some hundreds the server goes another way than by the index.
const KEYS_PER_STATEMENT: usize = 500;

/// An opened table.
pub(super) struct Collection {
    /// Where it is, for messages.
    pub(super) place: Place,
    /// How to open connections of its own.
    pub(super) server: Server,
    /// Shared connections, whose changes carry [`Self::origin`].
    pub(super) pool: MySqlPool,
    /// The catalogue's description.
    pub(super) table: Table,
    /// The opened fields.
    pub(super) fields: Vec<MyColumn>,
    /// Their names.
    pub(super) layout: Layout,
    /// Primary key.
    pub(super) key: Vec<MyColumn>,
    /// The columns that `upsert` goes by.
    pub(super) correlation: Vec<MyColumn>,
    /// The endpoint's row filter.
    pub(super) filter: Option<String>,
    /// How it was opened.
    pub(super) options: OpenOptions,
    /// Who writes this table through us: consumer and table. A trigger of the users that answers a write of ours elsewhere by a write to
    /// this table carries another origin, and is seen.
    pub(super) origin: String,
    /// Whether there is a table of marks, once that is known.
    pub(super) marks: tokio::sync::OnceCell<bool>,
    /// The server's log, where changes come from it.
    pub(super) stream: Option<Stream>,
}

/// How records are looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Look {
    /// As the filter lets them through.
    Filtered,
    /// All of them, locked until the transaction ends.
    Locked,
    /// All of them.
    All,
}

impl Collection {
    /// Looks the opened fields up in the table.
    pub(super) fn new(server: Server, table: Table, filter: Option<String>, options: OpenOptions) -> Result<Self> {
        let place = Place { server: server.place.server.clone(), table: Some(table.label()) };
        let columns = |names: &[String]| columns(&place, &table, names);
        let (fields, key, correlation) =
            (columns(&options.fields)?, columns(&table.key)?, columns(&options.correlation)?);
        let origin = format!("{}@{}", options.consumer, table.name);
        let follows = options.capture == CaptureMethod::Binlog;
        Ok(Self {
            stream: follows.then(|| Stream::new(server.reader(), &server.address())),
            pool: server.pool(&origin),
            place,
            server,
            fields,
            layout: layout(&options.fields),
            key,
            correlation,
            table,
            filter: filter.filter(|text| !text.trim().is_empty()),
            options,
            origin,
            marks: tokio::sync::OnceCell::new(),
        })
    }

    /// Columns by their names.
    pub(super) fn columns(&self, names: &[String]) -> Result<Vec<MyColumn>> {
        columns(&self.place, &self.table, names)
    }

    /// Has the server plan a read of the opened fields, so that a wrong filter or a missing grant is known at once.
    pub(super) async fn check(&self, connection: &mut MySqlConnection) -> Result<()> {
        let sql = format!("SELECT {} FROM {}", self.reads(), self.table.quoted());
        let plain = explain(connection, format!("EXPLAIN {sql}")).await;
        plain.map_err(|error| self.place.failed("reading the table", error))?;
        let Some(filter) = self.filter_condition() else { return Ok(()) };
        explain(connection, format!("EXPLAIN {sql} WHERE {filter}")).await.map_err(|error| {
            self.place.error(
                ErrorKind::SchemaMismatch,
                "mysql.filter",
                format_args!("the filter is no condition on this table: {}", said(&error)),
            )
        })
    }

    /// The filter as one condition. The line break ends a comment that it may end with.
    pub(super) fn filter_condition(&self) -> Option<String> {
        self.filter.as_ref().map(|filter| format!("({filter}\n)"))
    }

    /// How many records there are.
    pub(super) async fn count(&self) -> Sql<i64> {
        let condition = self.filter_condition().unwrap_or_else(|| "true".to_owned());
        let sql = format!("SELECT count(*) FROM {} WHERE {condition}", self.table.quoted());
        sqlx::query_scalar(AssertSqlSafe(sql)).persistent(false).fetch_one(&self.pool).await
    }

    /// The table's own name, by which a filter may qualify columns.
    pub(super) fn row(&self) -> String {
        quote(&self.table.name)
    }

    /// The expressions by which the opened fields are read.
    pub(super) fn reads(&self) -> String {
        list(self.fields.iter().map(|column| column.read(&self.row())))
    }

    /// The record in the columns of `row` from `first` on, which are those of [`Self::reads`].
    pub(super) fn record(&self, row: &MySqlRow, first: usize) -> Sql<Record> {
        let values = read(row, first, &self.fields)?;
        Ok(Record::new(Layout::clone(&self.layout), values.into_iter().map(Some).collect()))
    }

    /// For each of `keys` the records whose `columns` have exactly these values, and their primary keys.
    pub(super) async fn find(
        &self,
        connection: &mut MySqlConnection,
        columns: &[MyColumn],
        keys: &[Key],
        look: Look,
    ) -> Sql<Vec<Vec<(Key, Record)>>> {
        let mut found: Vec<Vec<(Key, Record)>> = keys.iter().map(|_| Vec::new()).collect();
        let row_name = self.row();
        let reads = |columns: &[MyColumn]| list(columns.iter().map(|column| column.read(&row_name)));
        let (filter, lock) = match look {
            Look::Filtered => (self.filter_condition(), ""),
            Look::Locked => (None, " FOR UPDATE"),
            Look::All => (None, ""),
        };
        let filter = filter.map(|filter| format!(" AND {filter}")).unwrap_or_default();
        for asked in Asked::new(columns, keys).parts() {
            let sql = format!(
                "SELECT {}, {}, {} FROM {} WHERE {}{filter}{lock}",
                reads(columns),
                reads(&self.key),
                self.reads(),
                self.table.quoted(),
                asked.condition(&row_name),
            );
            for row in &asked.rows(connection, sql).await? {
                let value = Key(read(row, 0, columns)?);
                let key = Key(read(row, columns.len(), &self.key)?);
                let record = self.record(row, columns.len() + self.key.len())?;
                for index in asked.owners(&value) {
                    if let Some(records) = found.get_mut(*index) {
                        records.push((key.clone(), record.clone()));
                    }
                }
            }
        }
        Ok(found)
    }
}

fn columns(place: &Place, table: &Table, names: &[String]) -> Result<Vec<MyColumn>> {
    let missing = |name: &String| {
        place.error(ErrorKind::SchemaMismatch, "mysql.schema", format_args!("there is no column {name}"))
    };
    names.iter().map(|name| table.column(name).cloned().ok_or_else(|| missing(name))).collect()
}

async fn explain(connection: &mut MySqlConnection, sql: String) -> Sql<()> {
    sqlx::query(AssertSqlSafe(sql)).persistent(false).fetch_all(connection).await.map(|_| ())
}

/// Reads the columns of a row from `first` on.
pub(super) fn read(row: &MySqlRow, first: usize, columns: &[MyColumn]) -> Sql<Vec<Value>> {
    columns.iter().enumerate().map(|(index, column)| decode(row, first + index, column)).collect()
}

/// Values that are looked for in some columns. The server's `=` may take more for equal than we do: what it finds is compared again.
pub(super) struct Asked<'a> {
    columns: &'a [MyColumn],
    /// Places in the question, by the value's canonical bytes.
    owners: HashMap<Vec<u8>, Vec<usize>>,
    binds: Vec<Vec<Bind>>,
}

/// What one statement asks for.
pub(super) struct Part<'a> {
    asked: &'a Asked<'a>,
    binds: &'a [Vec<Bind>],
}

impl<'a> Asked<'a> {
    /// Leaves out what no record can have: null, and values that the columns cannot keep.
    pub(super) fn new(columns: &'a [MyColumn], keys: &[Key]) -> Self {
        let mut asked = Self { columns, owners: HashMap::with_capacity(keys.len()), binds: Vec::new() };
        for (index, key) in keys.iter().enumerate() {
            let binds = columns.iter().zip(&key.0).filter(|(_, value)| !value.is_null());
            let binds: Vec<Bind> = binds.filter_map(|(column, value)| encode(column, value).ok()).collect();
            if binds.len() != columns.len() {
                continue;
            }
            let owners = asked.owners.entry(key.encode()).or_default();
            if owners.is_empty() {
                asked.binds.push(binds);
            }
            owners.push(index);
        }
        asked
    }

    /// One for each statement.
    pub(super) fn parts(&'a self) -> impl Iterator<Item = Part<'a>> {
        self.binds.chunks(KEYS_PER_STATEMENT).map(|binds| Part { asked: self, binds })
    }
}

impl Part<'_> {
    /// `a IN (?, …)`, or `(a = ? AND b = ?) OR …`.
    pub(super) fn condition(&self, row: &str) -> String {
        let columns = self.asked.columns;
        if let [column] = columns {
            let parameters = list(self.binds.iter().map(|_| column.parameter()));
            return format!("{} IN ({parameters})", column.of(row));
        }
        let one: Vec<String> =
            columns.iter().map(|column| format!("{} = {}", column.of(row), column.parameter())).collect();
        let one = format!("({})", one.join(" AND "));
        format!("({})", vec![one; self.binds.len()].join(" OR "))
    }

    /// Runs a statement whose parameters are these values.
    pub(super) async fn rows(&self, connection: &mut MySqlConnection, sql: String) -> Sql<Vec<MySqlRow>> {
        let common = [1, KEYS_PER_STATEMENT].contains(&self.binds.len());
        let query = sqlx::query(AssertSqlSafe(sql)).persistent(common);
        let query = self.binds.iter().flatten().cloned().fold(query, |query, bind| bind.to(query));
        query.fetch_all(connection).await
    }

    /// Who asked for exactly this value.
    pub(super) fn owners(&self, value: &Key) -> &[usize] {
        self.asked.owners.get(&value.encode()).map_or(&[], Vec::as_slice)
    }
}
