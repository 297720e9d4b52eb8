//! The write of one record under its guard (layer 4): one statement that does it if all is as assumed, and what to do if not.

use super::Opened;
use super::lookup;
use super::statement::Statement;
use super::table::{Fields, LiteColumn};
use super::values::Raw;
use super::writing::{Attempt, Refused, Writing};
use crate::connector::change_log::{list, quote};
use crate::connector::{Write, WriteOutcome};
use crate::error::{ErrorKind, SyncError};
use crate::record::{Key, Record};
use crate::value::Value;

/// The one statement that does a write where nothing stands against it, and then gives one row: the stored image.
///
/// # Errors
/// Where a value cannot be stored, or there is no key. `None` where one statement does not do.
pub(super) fn statement(opened: &Opened, write: &Write) -> Attempt<Option<Statement>> {
    match write {
        Write::Create { record } => insert(opened, record).map(Some),
        Write::Update { key, fields, guard } => match terms(opened, guard.as_ref()) {
            Some(guard) => set(opened, key, fields, guard).map(Some),
            None => Ok(None),
        },
        Write::Delete { key, guard } => Ok(terms(opened, guard.as_ref()).map(|guard| delete(opened, key, guard))),
    }
}

/// The outcome of a write whose statement gave this row.
pub(super) fn outcome(opened: &Opened, write: &Write, row: &sqlx::sqlite::SqliteRow) -> Attempt<WriteOutcome> {
    match write {
        Write::Delete { key, .. } => Ok(gone(key)),
        Write::Create { .. } | Write::Update { .. } => {
            let stored = opened.fields.record(row, 0)?;
            let key = stored.key(&opened.table.key).ok_or_else(|| no_key(opened))?;
            Ok(WriteOutcome::Applied { key, stored: Some(stored) })
        }
    }
}

fn gone(key: &Key) -> WriteOutcome {
    WriteOutcome::Applied { key: key.clone(), stored: None }
}

/// What is stored for a field's value.
fn encode(opened: &Opened, key: Option<&Key>, name: &str, value: &Value) -> Attempt<Raw> {
    opened.encode(|| key.cloned(), opened.column(name)?, value)
}

impl Opened {
    /// The column of that name.
    pub(super) fn column(&self, name: &str) -> Attempt<&LiteColumn> {
        self.table.column(name).ok_or_else(|| {
            let message = format!("{}: there is no column {name}", self.place());
            Refused::Unfit(SyncError::internal(message))
        })
    }

    /// What is written for a value of the record of that key.
    pub(super) fn encode(&self, key: impl FnOnce() -> Option<Key>, column: &LiteColumn, value: &Value) -> Attempt<Raw> {
        let unfit = |why| Refused::Unfit(self.place().unfit(key().as_ref(), column.name(), why));
        column.codec.encode(value).map_err(unfit)
    }
}

fn insert(opened: &Opened, record: &Record) -> Attempt<Statement> {
    check_key(opened, record)?;
    let mut statement = Statement::new(format!("INSERT INTO {} ", opened.table.quoted()));
    if record.is_empty() {
        statement.push("DEFAULT VALUES");
    } else {
        statement.push(&format!("({}) VALUES (", list(record.iter().map(|(name, _)| quote(name)))));
        let raws = record.iter().map(|(name, value)| encode(opened, None, name, value)).collect::<Attempt<Vec<_>>>()?;
        statement.push_binds(raws);
        statement.push(") ON CONFLICT DO NOTHING");
    }
    statement.push(&format!(" RETURNING {}", opened.fields.returning()));
    Ok(statement)
}

/// SQLite stores null in most primary keys: such a record could never be found again.
fn check_key(opened: &Opened, record: &Record) -> Attempt<()> {
    for name in &opened.table.key {
        let Some(column) = opened.table.column(name).map(|column| &column.column) else { continue };
        let has_key = match record.get(name) {
            None => column.has_default,
            Some(Value::Null) => column.has_default && !column.nullable,
            Some(_) => true,
        };
        if !has_key {
            return Err(no_key(opened));
        }
    }
    Ok(())
}

fn no_key(opened: &Opened) -> Refused {
    let message =
        format!("creating a record: no value for the key ({}), and SQLite makes none", opened.table.key.join(", "));
    Refused::Unfit(opened.place().error(ErrorKind::InvalidRecord, "sqlite.no_key_value", message))
}

/// A guard as stored values; `None` where one of them could not be stored, and so cannot be compared by SQLite.
fn terms(opened: &Opened, guard: Option<&Record>) -> Option<Vec<(String, Raw)>> {
    let Some(guard) = guard else { return Some(Vec::new()) };
    guard
        .iter()
        .map(|(name, value)| Some((quote(name), opened.table.column(name)?.codec.encode(value).ok()?)))
        .collect()
}

fn push_guard(statement: &mut Statement, guard: Vec<(String, Raw)>) {
    for (column, raw) in guard {
        statement.push(&format!(" AND {column} IS "));
        statement.push_bind(raw);
        statement.push(" COLLATE BINARY");
    }
}

fn set(opened: &Opened, key: &Key, fields: &Record, guard: Vec<(String, Raw)>) -> Attempt<Statement> {
    let (table, returning) = (opened.table.quoted(), opened.fields.returning());
    let mut statement = if fields.is_empty() {
        // Nothing to set: the guard alone decides.
        Statement::new(format!("SELECT {returning} FROM {table}"))
    } else {
        Statement::new(format!("UPDATE {table} SET "))
    };
    for (index, (name, value)) in fields.iter().enumerate() {
        statement.push(&format!("{}{} = ", if index == 0 { "" } else { ", " }, quote(name)));
        statement.push_bind(encode(opened, Some(key), name, value)?);
    }
    statement.push(" WHERE ");
    statement.push_key(&opened.key, key);
    push_guard(&mut statement, guard);
    if !fields.is_empty() {
        statement.push(&format!(" RETURNING {returning}"));
    }
    Ok(statement)
}

fn delete(opened: &Opened, key: &Key, guard: Vec<(String, Raw)>) -> Statement {
    let mut statement = Statement::new(format!("DELETE FROM {} WHERE ", opened.table.quoted()));
    statement.push_key(&opened.key, key);
    push_guard(&mut statement, guard);
    statement.push(" RETURNING 1");
    statement
}

/// Whether both are the same value, one of them perhaps read as another kind than the column's. The JSON document `null` is not null.
fn same(stored: &Value, expected: &Value) -> bool {
    let converted =
        || !expected.is_null() && stored.clone().convert(expected.kind()).is_ok_and(|value| value == *expected);
    stored == expected || converted()
}

/// How a record stands to what was assumed of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Standing {
    Gone,
    Different,
    AsAssumed,
}

impl Writing<'_> {
    /// Writes one record.
    pub(super) async fn attempt(&mut self, write: &Write) -> Attempt<WriteOutcome> {
        let opened = self.opened;
        match write {
            Write::Create { record } => self.create(record, write).await,
            Write::Update { key, fields, guard } => {
                if let Some(done) = self.try_once(write).await? {
                    return Ok(done);
                }
                // Gone, changed, or as assumed but spelt differently in the file ('T' for a space).
                if self.standing(key, guard.as_ref()).await? != Standing::AsAssumed {
                    return Ok(WriteOutcome::Changed);
                }
                let rows = set(opened, key, fields, Vec::new())?.rows(self.connection()).await?;
                rows.first().map_or(Ok(WriteOutcome::Changed), |row| outcome(opened, write, row))
            }
            Write::Delete { key, guard } => {
                if let Some(done) = self.try_once(write).await? {
                    return Ok(done);
                }
                match self.standing(key, guard.as_ref()).await? {
                    Standing::Different => return Ok(WriteOutcome::Changed),
                    Standing::Gone => {}
                    Standing::AsAssumed => {
                        delete(opened, key, Vec::new()).rows(self.connection()).await?;
                    }
                }
                Ok(gone(key))
            }
        }
    }

    async fn try_once(&mut self, write: &Write) -> Attempt<Option<WriteOutcome>> {
        let Some(statement) = statement(self.opened, write)? else { return Ok(None) };
        let rows = statement.rows(self.connection()).await?;
        rows.first().map(|row| outcome(self.opened, write, row)).transpose()
    }

    async fn create(&mut self, record: &Record, write: &Write) -> Attempt<WriteOutcome> {
        let opened = self.opened;
        let rows = match insert(opened, record)?.rows(self.connection()).await {
            // `DEFAULT VALUES` takes no `ON CONFLICT`.
            Err(sqlx::Error::Database(error)) if record.is_empty() && error.is_unique_violation() => Vec::new(),
            rows => rows?,
        };
        rows.first().map_or(Ok(WriteOutcome::Changed), |row| outcome(opened, write, row))
    }

    /// Compares by value, whatever the spelling in the file.
    async fn standing(&mut self, key: &Key, guard: Option<&Record>) -> Attempt<Standing> {
        let opened = self.opened;
        let names: Vec<String> = guard.iter().flat_map(|guard| guard.iter().map(|(name, _)| name.to_owned())).collect();
        let Some(fields) = Fields::new(&opened.table, &names, &opened.table.key) else {
            return Ok(Standing::Different);
        };
        let mut columns = vec!["1".to_owned()];
        columns.extend(names.iter().map(|name| quote(name)));
        let mut statement = Statement::new(format!("SELECT {} FROM {} WHERE ", list(columns), opened.table.quoted()));
        statement.push_key(&opened.key, key);
        let rows = statement.rows(self.connection()).await?;
        let Some(row) = rows.first() else { return Ok(Standing::Gone) };
        let stored = fields.record(row, 1)?;
        let holds = guard.is_none_or(|guard| {
            guard.iter().all(|(name, expected)| stored.get(name).is_some_and(|value| same(value, expected)))
        });
        Ok(if holds { Standing::AsAssumed } else { Standing::Different })
    }

    /// Current images inside the transaction, the endpoint's filter left out.
    pub(super) async fn read(&mut self, keys: &[Key]) -> Attempt<Vec<Option<Record>>> {
        let opened = self.opened;
        let found = lookup::find(self.connection(), opened, &opened.key, keys, "").await?;
        Ok(found.into_iter().map(|records| records.into_iter().next()).collect())
    }
}
