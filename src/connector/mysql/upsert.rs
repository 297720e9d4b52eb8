//! Unguarded upserts (layer 4): the records that are there already are read and locked, what is new goes in many rows a statement, and
//! what differs is updated. In a table that was empty when we came none is looked for until something collides.
//!
//! Not `INSERT … ON DUPLICATE KEY UPDATE`: that goes by whichever unique key collides, and fires update triggers where nothing
//! changes, so that every other pair would look at the record again.

use sqlx::AssertSqlSafe;

use super::collection::{Collection, Look};
use super::errors::{Class, Sql, class, is_duplicate};
use super::table::MyColumn;
use super::values::{Bind, is_stored};
use super::write::{RETRY_DELAY, TRIES_MAX, update_one, values};
use super::{binlog, creates};
use crate::connector::Upserted;
use crate::error::{ErrorKind, Result};
use crate::record::{Key, Record};

/// What is sent for a record.
type Values<'a> = Vec<(&'a MyColumn, Bind)>;

/// A record and what is sent for it.
struct Item<'a> {
    record: &'a Record,
    values: Values<'a>,
}

/// Whether the table was empty at first and nothing has collided since; `None`: nobody has looked yet.
pub(super) type Filling = tokio::sync::Mutex<Option<bool>>;

/// The others wait while the first looks: its records come after.
async fn is_filling(collection: &Collection, filling: &Filling) -> Sql<bool> {
    let mut known = filling.lock().await;
    if let Some(filling) = *known {
        return Ok(filling);
    }
    let sql = format!("SELECT count(*) FROM (SELECT 1 FROM {} LIMIT 1) AS t", collection.table.quoted());
    let count: i64 = sqlx::query_scalar(AssertSqlSafe(sql)).persistent(false).fetch_one(&collection.pool).await?;
    *known = Some(count == 0);
    Ok(count == 0)
}

/// Inserts or updates by the correlation fields: see `Target::upsert`.
pub(super) async fn upsert(collection: &Collection, filling: &Filling, records: &[Record]) -> Result<Upserted> {
    if records.is_empty() {
        return Ok(Upserted::default());
    }
    let names: Vec<&str> = collection.correlation.iter().map(MyColumn::name).collect();
    let lacks = || {
        let message = format!("upserting: a record lacks a value of {}", names.join(", "));
        collection.place.error(ErrorKind::InvalidRecord, "mysql.invalid_record", message)
    };
    let keys = records.iter().map(|record| record.key(&names).ok_or_else(lacks)).collect::<Result<Vec<Key>>>()?;
    let mut tries = 1;
    loop {
        let known = is_filling(collection, filling).await;
        let empty = known.map_err(|error| collection.place.failed("looking whether there are records", error))?;
        let items = records
            .iter()
            .zip(&keys)
            .map(|(record, key)| Ok(Item { record, values: values(collection, record, || Some(key.clone()))? }))
            .collect::<Result<Vec<_>>>()?;
        match Box::pin(attempt(collection, (!empty).then_some(&keys), items)).await {
            Ok(written) => {
                let total = u64::try_from(records.len()).unwrap_or(u64::MAX);
                return Ok(Upserted { written, unchanged: total.saturating_sub(written), ..Upserted::default() });
            }
            Err(error) if empty && is_duplicate(&error) => *filling.lock().await = Some(false),
            // A duplicate: somebody inserted it between our reading and our writing.
            Err(error) if tries < TRIES_MAX && (is_duplicate(&error) || class(&error) == Class::Contention) => {
                tokio::time::sleep(RETRY_DELAY * tries).await;
                tries += 1;
            }
            Err(error) => return Err(collection.place.failed("upserting", error)),
        }
    }
}

/// `keys`: what is looked for first; `None`: nothing is there.
async fn attempt(collection: &Collection, keys: Option<&Vec<Key>>, items: Vec<Item<'_>>) -> Sql<u64> {
    let mut transaction = collection.pool.begin().await?;
    let found = match keys {
        Some(keys) => collection.find(&mut transaction, &collection.correlation, keys, Look::Locked).await?,
        None => items.iter().map(|_| Vec::new()).collect(),
    };
    let mut written = 0;
    // Rows of the same columns; a few groups at most.
    let mut new: Vec<Vec<Values<'_>>> = Vec::new();
    for (item, stored) in items.into_iter().zip(found) {
        let Some((key, stored)) = stored.into_iter().next() else {
            match new.iter_mut().find(|group| group.first().is_some_and(|row| same_columns(row, &item.values))) {
                Some(group) => group.push(item.values),
                None => new.push(vec![item.values]),
            }
            continue;
        };
        let differing: Values<'_> =
            item.values.into_iter().filter(|(column, _)| differs(column, &stored, item.record)).collect();
        if !differing.is_empty() {
            update_one(&mut transaction, collection, &key, differing).await?;
            written += 1;
        }
    }
    for group in new {
        let columns: Vec<&MyColumn> =
            group.first().map(|row| row.iter().map(|(column, _)| *column).collect()).unwrap_or_default();
        let rows: Vec<Vec<Bind>> =
            group.into_iter().map(|row| row.into_iter().map(|(_, bind)| bind).collect()).collect();
        let size = |row: &Vec<Bind>| row.iter().map(Bind::size).sum();
        for part in creates::statements(rows, columns.len(), size) {
            written += u64::try_from(part.len()).unwrap_or(u64::MAX);
            creates::insert_all(&mut transaction, collection, &columns, part).await?;
        }
    }
    binlog::mark(&mut transaction, collection, written).await?;
    transaction.commit().await?;
    Ok(written)
}

fn same_columns(one: &Values<'_>, other: &Values<'_>) -> bool {
    one.iter().map(|(column, _)| column.name()).eq(other.iter().map(|(column, _)| column.name()))
}

/// Whether the column is to be written: it is not stored as the record says, or was not read.
fn differs(column: &MyColumn, stored: &Record, record: &Record) -> bool {
    match (stored.get(column.name()), record.get(column.name())) {
        (Some(stored), Some(wanted)) => !is_stored(column, stored, wanted),
        (None, Some(_)) => true,
        (_, None) => false,
    }
}
