//! Guarded writes (layer 4): one `IMMEDIATE` transaction a batch. A statement that fails undoes itself only, so the other records of
//! the batch are not touched by a bad one.

use sqlx::Row;

use super::Opened;
use super::connection::{Transaction, run};
use super::errors::{Class, Sql, class};
use super::lookup;
use super::statement::Statement;
use super::table::{Fields, list};
use super::tracking;
use super::values::Raw;
use crate::connector::change_log::{quote, tracking_name};
use crate::connector::{Write, WriteOutcome};
use crate::error::{ErrorKind, Result, SyncError};
use crate::record::{Key, Record};
use crate::value::Value;

/// Why a record was not written.
#[derive(Debug)]
pub(super) enum Refused {
    /// A value that SQLite would change.
    Unfit(SyncError),
    /// SQLite's word.
    Sql(sqlx::Error),
}

impl From<sqlx::Error> for Refused {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

type Attempt<T> = std::result::Result<T, Refused>;

/// A write transaction with what it has to mind.
pub(super) struct Writing<'a> {
    opened: &'a Opened,
    transaction: Transaction<'a>,
    marked: bool,
    /// The users' triggers may change what was written.
    others_triggers: bool,
    returning: String,
}

impl<'a> Writing<'a> {
    /// Begins, and marks the changes to come as ours.
    ///
    /// They are not marked where the users' own triggers or cascades may add changes to them: those must reach the other side.
    pub(super) async fn begin(opened: &'a Opened, with_tokens: bool) -> Result<Self> {
        let mut transaction = opened.database.begin().await?;
        let begun = Self::mark(opened, &mut transaction, with_tokens).await;
        let (marked, others_triggers) = begun.map_err(opened.place().failed("beginning to write"))?;
        Ok(Self { opened, transaction, marked, others_triggers, returning: opened.fields.returning() })
    }

    async fn mark(opened: &Opened, transaction: &mut Transaction<'_>, with_tokens: bool) -> Sql<(bool, bool)> {
        let connection = transaction.connection();
        let row = sqlx::query(
            "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'trigger' AND name = ?2), \
             EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ?1 AND name NOT LIKE 'tidelock\\_%' ESCAPE '\\')",
        )
        .bind(opened.table.name.clone())
        .bind(tracking_name("insert", &opened.table.name))
        .fetch_one(&mut *connection)
        .await?;
        let (tracked, others): (bool, bool) = (row.try_get(0)?, row.try_get(1)?);
        let marked = tracked && !others && !opened.table.cascades;
        if marked {
            let mut statement = Statement::new("INSERT INTO tidelock_origin (id) VALUES (");
            let holder = statement.bind(Raw::Text(opened.consumer.clone()))?;
            statement.push(&holder);
            statement.push(")");
            statement.execute(&mut *connection).await?;
        }
        if with_tokens {
            run(&mut *connection, tracking::CREATE_CREATES).await?;
        }
        // See `alive`.
        run(&mut *connection, "SAVEPOINT tidelock").await?;
        Ok((marked, others))
    }

    /// The connection that the transaction runs on.
    pub(super) fn connection(&mut self) -> &mut sqlx::SqliteConnection {
        self.transaction.connection()
    }

    /// Commits.
    pub(super) async fn commit(mut self) -> Result<()> {
        let failed = || self.opened.place().failed("committing");
        if self.marked {
            run(self.transaction.connection(), "DELETE FROM tidelock_origin").await.map_err(failed())?;
        }
        self.transaction.commit().await.map_err(failed())
    }

    /// Whether the transaction is still there: a constraint with `ON CONFLICT ROLLBACK` or a trigger with `RAISE(ROLLBACK)` ends it.
    async fn alive(&mut self) -> bool {
        let connection = self.transaction.connection();
        run(connection, "RELEASE tidelock").await.is_ok() && run(connection, "SAVEPOINT tidelock").await.is_ok()
    }

    async fn one(&mut self, write: &Write) -> Result<WriteOutcome> {
        let (doing, key) = match write {
            Write::Create { .. } => ("creating", None),
            Write::Update { key, .. } => ("updating", Some(key)),
            Write::Delete { key, .. } => ("deleting", Some(key)),
        };
        let attempt = match write {
            Write::Create { record, token } => self.create(record, token.as_deref()).await,
            Write::Update { key, fields, guard } => self.update(key, fields, guard.as_ref()).await,
            Write::Delete { key, guard } => self.delete(key, guard.as_ref()).await,
        };
        match attempt {
            Ok(outcome) => Ok(outcome),
            Err(Refused::Unfit(error)) => Ok(WriteOutcome::Failed(error)),
            Err(Refused::Sql(error)) if class(&error) == Class::Data => {
                let refusal = self.opened.place().refused(doing, key, &error);
                if self.alive().await { Ok(WriteOutcome::Failed(refusal)) } else { Err(refusal) }
            }
            Err(Refused::Sql(error)) => Err(self.opened.place().failed(doing)(error)),
        }
    }

    async fn create(&mut self, record: &Record, token: Option<&str>) -> Attempt<WriteOutcome> {
        if let Some(token) = token
            && let Some(key) = self.created_earlier(token).await?
        {
            let stored = self.read(std::slice::from_ref(&key)).await?.pop().flatten();
            return Ok(WriteOutcome::Applied { key, stored });
        }
        self.check_key(record)?;
        let opened = self.opened;
        let table = opened.table.quoted();
        let mut statement = Statement::new(format!("INSERT INTO {table} "));
        if record.is_empty() {
            statement.push("DEFAULT VALUES");
        } else {
            let names = list(record.iter().map(|(name, _)| quote(name)));
            let mut holders = Vec::new();
            for (name, value) in record.iter() {
                holders.push(statement.bind(encode(opened, None, name, value)?)?);
            }
            statement.push(&format!("({names}) VALUES ({}) ON CONFLICT DO NOTHING", holders.join(", ")));
        }
        statement.push(&format!(" RETURNING {}", self.returning));
        let rows = match statement.rows(self.connection()).await {
            // `DEFAULT VALUES` takes no `ON CONFLICT`.
            Err(sqlx::Error::Database(error)) if record.is_empty() && error.is_unique_violation() => Vec::new(),
            rows => rows?,
        };
        let Some(row) = rows.first() else { return Ok(WriteOutcome::Changed) };
        let stored = opened.fields.record(row, 0)?;
        let key = stored.key(&opened.table.key).ok_or_else(|| Refused::Unfit(self.no_key()))?;
        if let Some(token) = token {
            self.remember(token, &key).await?;
        }
        Ok(WriteOutcome::Applied { key, stored: Some(stored) })
    }

    /// SQLite stores null in most primary keys: such a record could never be found again.
    fn check_key(&self, record: &Record) -> Attempt<()> {
        for name in &self.opened.table.key {
            let given = record.get(name);
            let filled = self.opened.table.column(name).is_some_and(|column| column.column.has_default);
            if given.is_none_or(Value::is_null) && !(filled && (given.is_none() || !self.nullable(name))) {
                return Err(Refused::Unfit(self.no_key()));
            }
        }
        Ok(())
    }

    fn nullable(&self, name: &str) -> bool {
        self.opened.table.column(name).is_some_and(|column| column.column.nullable)
    }

    fn no_key(&self) -> SyncError {
        let message = format!("creating a record: no value for the key ({}), and SQLite makes none", self.opened.table.key.join(", "));
        self.opened.place().error(ErrorKind::InvalidRecord, "sqlite.no_key_value", message)
    }

    async fn update(&mut self, key: &Key, fields: &Record, guard: Option<&Record>) -> Attempt<WriteOutcome> {
        if let Some(holds) = self.guard_terms(guard) {
            let stored = self.set(key, fields, &holds).await?;
            if let Some(stored) = stored {
                return self.updated(stored);
            }
        }
        // Nothing to update, a guard that does not hold, or one that holds but is spelt differently in the file ('T' for a space).
        if !self.still_holds(key, guard).await? {
            return Ok(WriteOutcome::Changed);
        }
        match self.set(key, fields, &[]).await? {
            Some(stored) => self.updated(stored),
            None => Ok(WriteOutcome::Changed),
        }
    }

    fn updated(&self, stored: Record) -> Attempt<WriteOutcome> {
        let key = stored.key(&self.opened.table.key).ok_or_else(|| Refused::Unfit(self.no_key()))?;
        Ok(WriteOutcome::Applied { key, stored: Some(stored) })
    }

    async fn set(&mut self, key: &Key, fields: &Record, guard: &[(String, Raw)]) -> Attempt<Option<Record>> {
        let opened = self.opened;
        let mut statement = Statement::new(format!("UPDATE {} SET ", opened.table.quoted()));
        let mut terms = Vec::new();
        for (name, value) in fields.iter() {
            let holder = statement.bind(encode(opened, Some(key), name, value)?)?;
            terms.push(format!("{} = {holder}", quote(name)));
        }
        if terms.is_empty() {
            // Nothing to set: the guard alone decides.
            statement = Statement::new(format!("SELECT {} FROM {}", self.returning, opened.table.quoted()));
        }
        statement.push(&terms.join(", "));
        statement.push(" WHERE ");
        statement.push_key(&opened.key, key)?;
        push_guard(&mut statement, guard)?;
        if !terms.is_empty() {
            statement.push(&format!(" RETURNING {}", self.returning));
        }
        let rows = statement.rows(self.connection()).await?;
        Ok(rows.first().map(|row| opened.fields.record(row, 0)).transpose()?)
    }

    async fn delete(&mut self, key: &Key, guard: Option<&Record>) -> Attempt<WriteOutcome> {
        let gone = || Ok(WriteOutcome::Applied { key: key.clone(), stored: None });
        if let Some(holds) = self.guard_terms(guard)
            && self.drop_row(key, &holds).await?
        {
            return gone();
        }
        if guard.is_none() || !self.is_there(key).await? {
            return gone();
        }
        if !self.still_holds(key, guard).await? {
            return Ok(WriteOutcome::Changed);
        }
        self.drop_row(key, &[]).await?;
        gone()
    }

    async fn drop_row(&mut self, key: &Key, guard: &[(String, Raw)]) -> Attempt<bool> {
        let mut statement = Statement::new(format!("DELETE FROM {} WHERE ", self.opened.table.quoted()));
        statement.push_key(&self.opened.key, key)?;
        push_guard(&mut statement, guard)?;
        Ok(statement.execute(self.connection()).await? > 0)
    }

    /// The guard as stored values; `None` where one of them could not be stored, and so cannot be compared by SQLite.
    fn guard_terms(&self, guard: Option<&Record>) -> Option<Vec<(String, Raw)>> {
        let Some(guard) = guard else { return Some(Vec::new()) };
        guard
            .iter()
            .map(|(name, value)| {
                let codec = self.opened.table.column(name)?.codec;
                Some((quote(name), codec.encode(value).ok()?))
            })
            .collect()
    }

    async fn is_there(&mut self, key: &Key) -> Attempt<bool> {
        let mut statement = Statement::new(format!("SELECT 1 FROM {} WHERE ", self.opened.table.quoted()));
        statement.push_key(&self.opened.key, key)?;
        Ok(!statement.rows(self.connection()).await?.is_empty())
    }

    /// Whether the record is there and equals the guard by value, whatever the spelling in the file.
    async fn still_holds(&mut self, key: &Key, guard: Option<&Record>) -> Attempt<bool> {
        let Some(guard) = guard else { return Ok(false) };
        let opened = self.opened;
        let names: Vec<String> = guard.iter().map(|(name, _)| name.to_owned()).collect();
        let Some(fields) = Fields::new(&opened.table, &names, &opened.table.key) else { return Ok(false) };
        if names.is_empty() {
            return self.is_there(key).await;
        }
        let mut statement =
            Statement::new(format!("SELECT {} FROM {} WHERE ", fields.select(&opened.table), opened.table.quoted()));
        statement.push_key(&opened.key, key)?;
        let rows = statement.rows(self.connection()).await?;
        let Some(row) = rows.first() else { return Ok(false) };
        let stored = fields.record(row, 0)?;
        Ok(guard.iter().all(|(name, expected)| stored.get(name).is_some_and(|value| same(value, expected))))
    }

    async fn created_earlier(&mut self, token: &str) -> Attempt<Option<Key>> {
        let mut statement = Statement::new("SELECT key FROM tidelock_creates WHERE token = ");
        let holder = statement.bind(Raw::Text(token.to_owned()))?;
        statement.push(&holder);
        statement.push(" AND ");
        tracking::push_ours(&mut statement, self.opened)?;
        let rows = statement.rows(self.connection()).await?;
        let Some(row) = rows.first() else { return Ok(None) };
        let bytes: Vec<u8> = row.try_get(0)?;
        Key::decode(&bytes).map(Some).map_err(|error| Refused::Sql(sqlx::Error::Decode(Box::new(error))))
    }

    async fn remember(&mut self, token: &str, key: &Key) -> Attempt<()> {
        let opened = self.opened;
        let mut statement = Statement::new("INSERT INTO tidelock_creates (token, consumer, collection, key) VALUES (");
        let mut holders = Vec::new();
        for raw in [
            Raw::Text(token.to_owned()),
            Raw::Text(opened.consumer.clone()),
            Raw::Text(opened.table.name.clone()),
            Raw::Blob(key.encode()),
        ] {
            holders.push(statement.bind(raw)?);
        }
        statement.push(&format!("{})", holders.join(", ")));
        statement.execute(self.connection()).await?;
        Ok(())
    }

    /// Current images inside the transaction, the endpoint's filter left out.
    async fn read(&mut self, keys: &[Key]) -> Attempt<Vec<Option<Record>>> {
        let opened = self.opened;
        let found = lookup::find(self.connection(), opened, &opened.key, keys, "").await?;
        Ok(found.into_iter().map(|records| records.into_iter().next()).collect())
    }

    /// `RETURNING` shows a record as it was before AFTER triggers: reads again what was written.
    async fn read_again(&mut self, outcomes: &mut [WriteOutcome]) -> Attempt<()> {
        let mut slots = Vec::new();
        for outcome in outcomes {
            if let WriteOutcome::Applied { key, stored } = outcome
                && stored.is_some()
            {
                slots.push((key.clone(), stored));
            }
        }
        let keys: Vec<Key> = slots.iter().map(|(key, _)| key.clone()).collect();
        for ((_, stored), now) in slots.into_iter().zip(self.read(&keys).await?) {
            *stored = now;
        }
        Ok(())
    }
}

/// Whether both are the same value, one of them perhaps read as another kind than the column's. The JSON document `null` is not null.
fn same(stored: &Value, expected: &Value) -> bool {
    let converted = || !expected.is_null() && stored.clone().convert(expected.kind()).is_ok_and(|value| value == *expected);
    stored == expected || converted()
}

/// What is stored for a field's value.
pub(super) fn encode(opened: &Opened, key: Option<&Key>, name: &str, value: &Value) -> Attempt<Raw> {
    let Some(column) = opened.table.column(name) else {
        let message = format!("{}: there is no column {name}", opened.place());
        return Err(Refused::Unfit(SyncError::internal(message)));
    };
    column.codec.encode(value).map_err(|why| Refused::Unfit(opened.place().unfit(key, name, why)))
}

fn push_guard(statement: &mut Statement, guard: &[(String, Raw)]) -> Sql<()> {
    for (column, raw) in guard {
        let holder = statement.bind(raw.clone())?;
        statement.push(&format!(" AND {column} IS {holder} COLLATE BINARY"));
    }
    Ok(())
}

/// Writes a batch; see [`crate::connector::Target::write`].
pub(super) async fn write(opened: &Opened, writes: &[Write]) -> Result<Vec<WriteOutcome>> {
    if writes.is_empty() {
        return Ok(Vec::new());
    }
    match write_all(opened, writes).await {
        // There is nothing to halve.
        Err(error) if error.kind == ErrorKind::InvalidRecord && writes.len() == 1 => Ok(vec![WriteOutcome::Failed(error)]),
        outcomes => outcomes,
    }
}

async fn write_all(opened: &Opened, writes: &[Write]) -> Result<Vec<WriteOutcome>> {
    let with_tokens = writes.iter().any(|write| matches!(write, Write::Create { token: Some(_), .. }));
    let mut writing = Writing::begin(opened, with_tokens).await?;
    let mut outcomes = Vec::with_capacity(writes.len());
    for write in writes {
        outcomes.push(writing.one(write).await?);
    }
    if writing.others_triggers {
        writing.read_again(&mut outcomes).await.map_err(|refused| match refused {
            Refused::Unfit(error) => error,
            Refused::Sql(error) => opened.place().failed("reading what was written")(error),
        })?;
    }
    writing.commit().await?;
    Ok(outcomes)
}
