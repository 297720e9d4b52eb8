//! Guarded writes (layer 4): one transaction a batch.
//!
//! The records that a batch changes are read and locked first, and compared with what is assumed of them here, byte by byte, where the
//! server's own `=` goes by the column's collation. Nobody can change them until the transaction ends. A statement that the server
//! refuses leaves the transaction as it was before it, so that a guilty record is left out without beginning again.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use sqlx::{AssertSqlSafe, MySqlConnection};

use super::collection::{Collection, Look};
use super::errors::{Class, Sql, class, is_duplicate};
use super::table::{MyColumn, quote};
use super::values::{Bind, encode, same};
use super::{binlog, creates, marks};
use crate::connector::change_log::{all, list};
use crate::connector::{Mark, Write, WriteOutcome};
use crate::error::{ErrorKind, Result, SyncError};
use crate::record::{Key, Record};

/// How often a transaction that lost a deadlock or a race is begun again.
pub(super) const TRIES_MAX: u32 = 5;
pub(super) const RETRY_DELAY: Duration = Duration::from_millis(20);

/// A record that was written is not found under its key: the batch is halved, as where a value is refused.
const NOT_FOUND: sqlx::Error = sqlx::Error::RowNotFound;

/// Writes a batch: see `Target::write`.
pub(super) async fn write(
    collection: &Collection,
    writes: &[Write],
    mark: Option<Mark<'_>>,
) -> Result<Vec<WriteOutcome>> {
    let mark = if mark.is_some() && marks::ensure(collection).await? { mark } else { None };
    let mut tries = 1;
    loop {
        match Box::pin(attempt(collection, writes, mark)).await {
            Ok(outcomes) => return Ok(outcomes),
            Err(error) if class(&error) == Class::Contention && tries < TRIES_MAX => {
                tokio::time::sleep(RETRY_DELAY * tries).await;
                tries += 1;
            }
            Err(error) => return Err(collection.place.failed("writing", error)),
        }
    }
}

async fn attempt(collection: &Collection, writes: &[Write], mark: Option<Mark<'_>>) -> Sql<Vec<WriteOutcome>> {
    if writes.is_empty() {
        return Ok(Vec::new());
    }
    let mut transaction = collection.pool.begin().await?;
    let (mut outcomes, mut rows) = (Vec::with_capacity(writes.len()), 0);
    for round in rounds(collection, writes) {
        let mut batch = Batch {
            collection,
            connection: &mut transaction,
            writes: round,
            outcomes: Vec::new(),
            written: Vec::new(),
            rows: 0,
        };
        batch.outcomes.resize_with(round.len(), || None);
        batch.run().await?;
        rows += batch.rows;
        // None is left without one: whatever was not applied is to be looked at again.
        outcomes.extend(batch.outcomes.into_iter().map(|outcome| outcome.unwrap_or(WriteOutcome::Changed)));
    }
    if let Some(mark) = mark {
        marks::keep(&mut transaction, collection, mark, (writes, &outcomes)).await?;
    }
    binlog::mark(&mut transaction, collection, rows).await?;
    transaction.commit().await?;
    Ok(outcomes)
}

/// Cuts a batch so that no key is there twice in one part: the second write of a record is to see the first.
fn rounds<'a>(collection: &Collection, writes: &'a [Write]) -> Vec<&'a [Write]> {
    let (mut rounds, mut begin, mut keys) = (Vec::new(), 0, HashSet::new());
    for (index, write) in writes.iter().enumerate() {
        let Some(key) = key_of(collection, write).map(|key| key.encode()) else { continue };
        if !keys.insert(key.clone()) {
            rounds.extend(writes.get(begin..index));
            begin = index;
            keys = HashSet::from([key]);
        }
    }
    rounds.extend(writes.get(begin..));
    rounds
}

fn key_of(collection: &Collection, write: &Write) -> Option<Key> {
    match write {
        Write::Create { record } => record.key(&collection.table.key),
        Write::Update { key, .. } | Write::Delete { key, .. } => Some(key.clone()),
    }
}

/// A part of a batch, in which no key is there twice.
struct Batch<'a> {
    collection: &'a Collection,
    connection: &'a mut MySqlConnection,
    writes: &'a [Write],
    outcomes: Vec<Option<WriteOutcome>>,
    /// What is to be read back: place in the batch and key.
    written: Vec<(usize, Key)>,
    /// Rows inserted, changed or deleted.
    rows: u64,
}

/// A record to be inserted with its key: place in the batch, key, values.
struct Insert<'a> {
    index: usize,
    key: Key,
    values: Vec<(&'a MyColumn, Bind)>,
}

impl<'a> Batch<'a> {
    /// Deletes first: what they free a create may use.
    async fn run(&mut self) -> Sql<()> {
        let stored = self.lock().await?;
        self.delete(&stored).await?;
        self.update(&stored).await?;
        self.create().await?;
        self.create_generated().await?;
        self.read_back().await
    }

    fn settle(&mut self, index: usize, outcome: WriteOutcome) {
        if let Some(slot) = self.outcomes.get_mut(index) {
            *slot = Some(outcome);
        }
    }

    fn refuse(&mut self, index: usize, error: &sqlx::Error) {
        let key = self.writes.get(index).and_then(|write| key_of(self.collection, write));
        let refused = self.collection.place.refused("writing", key.as_ref(), error);
        self.settle(index, WriteOutcome::Failed(refused));
    }

    /// Reads and locks what is updated or deleted, by place in the batch.
    async fn lock(&mut self) -> Sql<HashMap<usize, Record>> {
        let asked: (Vec<usize>, Vec<Key>) = self
            .writes
            .iter()
            .enumerate()
            .filter_map(|(index, write)| match write {
                Write::Update { key, .. } | Write::Delete { key, .. } => Some((index, key.clone())),
                Write::Create { .. } => None,
            })
            .unzip();
        let found = self.collection.find(self.connection, &self.collection.key, &asked.1, Look::Locked).await?;
        let records = found.into_iter().map(|records| records.into_iter().next().map(|(_, record)| record));
        Ok(asked.0.into_iter().zip(records).filter_map(|(index, record)| Some((index, record?))).collect())
    }

    async fn delete(&mut self, stored: &HashMap<usize, Record>) -> Sql<()> {
        let mut held = Vec::new();
        for (index, write) in self.writes.iter().enumerate() {
            let Write::Delete { key, guard } = write else { continue };
            match stored.get(&index) {
                Some(record) if !holds(record, guard.as_ref()) => self.settle(index, WriteOutcome::Changed),
                Some(_) => held.push((index, key)),
                None => self.settle(index, WriteOutcome::Applied { key: key.clone(), stored: None }),
            }
        }
        for (index, key) in held {
            match delete_one(self.connection, self.collection, key).await {
                Ok(()) => {
                    self.rows += 1;
                    self.settle(index, WriteOutcome::Applied { key: key.clone(), stored: None });
                }
                Err(error) if class(&error) == Class::Data => self.refuse(index, &error),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn update(&mut self, stored: &HashMap<usize, Record>) -> Sql<()> {
        for (index, write) in self.writes.iter().enumerate() {
            let Write::Update { key, fields, guard } = write else { continue };
            let Some(record) = stored.get(&index).filter(|record| holds(record, guard.as_ref())) else {
                self.settle(index, WriteOutcome::Changed);
                continue;
            };
            let Some(values) = self.values(index, fields)? else { continue };
            if values.is_empty() {
                let outcome = WriteOutcome::Applied { key: key.clone(), stored: Some(record.clone()) };
                self.settle(index, outcome);
                continue;
            }
            match update_one(self.connection, self.collection, key, values).await {
                Ok(()) => self.written.push((index, moved(self.collection, key, fields))),
                Err(error) if class(&error) == Class::Data => self.refuse(index, &error),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// What is sent for the fields of a write; `None` where one of them cannot be kept, which settles it.
    fn values(&mut self, index: usize, fields: &Record) -> Sql<Option<Vec<(&'a MyColumn, Bind)>>> {
        match values(self.collection, fields, || {
            self.writes.get(index).and_then(|write| key_of(self.collection, write))
        }) {
            Ok(values) => Ok(Some(values)),
            Err(error) if error.kind == ErrorKind::InvalidRecord => {
                self.settle(index, WriteOutcome::Failed(error));
                Ok(None)
            }
            Err(error) => Err(sqlx::Error::Encode(Box::new(error))),
        }
    }

    /// Inserts records that carry their keys, many in one statement.
    async fn create(&mut self) -> Sql<()> {
        let mut groups: HashMap<Vec<&str>, Vec<Insert<'a>>> = HashMap::new();
        for (index, write) in self.writes.iter().enumerate() {
            let Write::Create { record } = write else { continue };
            let Some(key) = record.key(&self.collection.table.key) else { continue };
            let Some(values) = self.values(index, record)? else { continue };
            let names = values.iter().map(|(column, _)| column.name()).collect();
            groups.entry(names).or_default().push(Insert { index, key, values });
        }
        for group in groups.into_values() {
            let width = group.first().map_or(1, |insert| insert.values.len());
            let size = |insert: &Insert<'_>| insert.values.iter().map(|(_, bind)| bind.size()).sum();
            for part in creates::statements(group, width, size) {
                self.insert(part).await?;
            }
        }
        Ok(())
    }

    /// Inserts a part, and where something is refused inserts it in halves, so that only the guilty records fail.
    async fn insert(&mut self, part: Vec<Insert<'a>>) -> Sql<()> {
        let mut waiting = vec![part];
        while let Some(mut part) = waiting.pop() {
            let columns: Vec<&MyColumn> = part
                .first()
                .map(|insert| insert.values.iter().map(|(column, _)| *column).collect())
                .unwrap_or_default();
            let rows = part.iter().map(|insert| insert.values.iter().map(|(_, bind)| bind.clone()).collect()).collect();
            match creates::insert_all(self.connection, self.collection, &columns, rows).await {
                Ok(_) => self.written.extend(part.into_iter().map(|insert| (insert.index, insert.key))),
                Err(error) if class(&error) == Class::Data => match part.as_slice() {
                    [only] if is_duplicate(&error) => self.settle(only.index, WriteOutcome::Changed),
                    [only] => self.refuse(only.index, &error),
                    _ => {
                        let second = part.split_off(part.len() / 2);
                        waiting.extend([second, part]);
                    }
                },
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Inserts records whose key the server makes.
    async fn create_generated(&mut self) -> Sql<()> {
        for (index, write) in self.writes.iter().enumerate() {
            let Write::Create { record } = write else { continue };
            if record.key(&self.collection.table.key).is_some() {
                continue;
            }
            if let Some(name) = keyless(self.collection, record) {
                let why = "is missing; the server makes a key only for an AUTO_INCREMENT column";
                let error = self.collection.place.unfit("creating", None, name, why);
                self.settle(index, WriteOutcome::Failed(error));
                continue;
            }
            let Some(values) = self.values(index, record)? else { continue };
            match creates::insert(self.connection, self.collection, record, values).await {
                Ok(key) => self.written.push((index, key.ok_or(NOT_FOUND)?)),
                Err(error) if is_duplicate(&error) => self.settle(index, WriteOutcome::Changed),
                Err(error) if class(&error) == Class::Data => self.refuse(index, &error),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// The images as the server has them now.
    async fn read_back(&mut self) -> Sql<()> {
        let (places, keys): (Vec<usize>, Vec<Key>) = std::mem::take(&mut self.written).into_iter().unzip();
        self.rows += u64::try_from(keys.len()).unwrap_or_default();
        let found = self.collection.find(self.connection, &self.collection.key, &keys, Look::All).await?;
        for (index, records) in places.into_iter().zip(found) {
            let (key, record) = records.into_iter().next().ok_or(NOT_FOUND)?;
            self.settle(index, WriteOutcome::Applied { key, stored: Some(record) });
        }
        Ok(())
    }
}

/// The key field that has no value and will be given none.
fn keyless<'a>(collection: &'a Collection, record: &Record) -> Option<&'a str> {
    let lacks = |column: &&MyColumn| {
        !column.auto_increment && record.get(column.name()).is_none_or(crate::value::Value::is_null)
    };
    collection.key.iter().find(lacks).map(MyColumn::name)
}

/// Whether a record is as assumed.
fn holds(record: &Record, guard: Option<&Record>) -> bool {
    guard.is_none_or(|guard| {
        guard.iter().all(|(name, expected)| record.get(name).is_some_and(|stored| same(stored, expected)))
    })
}

/// The key of a record after some fields of it were set.
fn moved(collection: &Collection, key: &Key, fields: &Record) -> Key {
    let part = |(column, value): (&MyColumn, &crate::value::Value)| fields.get(column.name()).unwrap_or(value).clone();
    Key(collection.key.iter().zip(&key.0).map(part).collect())
}

/// What is sent for a record's fields.
pub(super) fn values<'a>(
    collection: &'a Collection,
    record: &Record,
    key: impl Fn() -> Option<Key>,
) -> Result<Vec<(&'a MyColumn, Bind)>> {
    let value = |(name, value): (&str, &crate::value::Value)| {
        let column = collection.table.column(name).ok_or_else(|| -> SyncError {
            let message = format_args!("there is no column {name}");
            collection.place.error(ErrorKind::SchemaMismatch, "mysql.schema", message)
        })?;
        let bind = encode(column, value);
        Ok((column, bind.map_err(|why| collection.place.unfit("writing", key().as_ref(), name, why))?))
    };
    record.iter().map(value).collect()
}

/// `k = ? AND …`.
fn by_key(collection: &Collection) -> String {
    all(collection.key.iter().map(|column| format!("{} = {}", quote(column.name()), column.parameter())))
}

fn key_binds(collection: &Collection, key: &Key) -> Vec<Bind> {
    // The record was found by this key: the column has it.
    let bind = |(column, value): (&MyColumn, &crate::value::Value)| encode(column, value).unwrap_or(Bind::Null);
    collection.key.iter().zip(&key.0).map(bind).collect()
}

/// Sets some columns of the record of this key.
pub(super) async fn update_one(
    connection: &mut MySqlConnection,
    collection: &Collection,
    key: &Key,
    values: Vec<(&MyColumn, Bind)>,
) -> Sql<()> {
    let set = list(values.iter().map(|(column, _)| format!("{} = ?", quote(column.name()))));
    let sql = format!("UPDATE {} SET {set} WHERE {}", collection.table.quoted(), by_key(collection));
    let binds = values.into_iter().map(|(_, bind)| bind).chain(key_binds(collection, key));
    let query = binds.fold(sqlx::query(AssertSqlSafe(sql)), |query, bind| bind.to(query));
    query.execute(connection).await.map(|_| ())
}

async fn delete_one(connection: &mut MySqlConnection, collection: &Collection, key: &Key) -> Sql<()> {
    let sql = format!("DELETE FROM {} WHERE {}", collection.table.quoted(), by_key(collection));
    let query = sqlx::query(AssertSqlSafe(sql));
    let query = key_binds(collection, key).into_iter().fold(query, |query, bind| bind.to(query));
    query.execute(connection).await.map(|_| ())
}

/// Deletes by correlation values, without a guard.
pub(super) async fn delete_by_correlation(collection: &Collection, values: &[Key]) -> Result<u64> {
    let mut tries = 1;
    loop {
        match delete_found(collection, values).await {
            Ok(count) => return Ok(count),
            Err(error) if class(&error) == Class::Contention && tries < TRIES_MAX => {
                tokio::time::sleep(RETRY_DELAY * tries).await;
                tries += 1;
            }
            Err(error) => return Err(collection.place.failed("deleting", error)),
        }
    }
}

async fn delete_found(collection: &Collection, values: &[Key]) -> Sql<u64> {
    if values.is_empty() {
        return Ok(0);
    }
    let mut transaction = collection.pool.begin().await?;
    let found = collection.find(&mut transaction, &collection.correlation, values, Look::Locked).await?;
    let mut count = 0;
    let mut deleted = HashSet::new();
    for (key, _) in found.into_iter().flatten() {
        if deleted.insert(key.encode()) {
            delete_one(&mut transaction, collection, &key).await?;
            count += 1;
        }
    }
    binlog::mark(&mut transaction, collection, count).await?;
    transaction.commit().await?;
    Ok(count)
}
