//! Unguarded upserts (layer 4): the records that are there already are read and locked, what is new goes in many rows a statement, and
//! what differs is updated.
//!
//! Not `INSERT … ON DUPLICATE KEY UPDATE`: that goes by whichever unique key collides, and fires update triggers where nothing
//! changes, so that every other pair would look at the record again.

use std::collections::HashMap;

use super::collection::{Collection, Look};
use super::creates;
use super::errors::{Class, Sql, class, is_duplicate};
use super::table::MyColumn;
use super::values::{Bind, is_stored};
use super::write::{RETRY_DELAY, TRIES_MAX, update_one, values};
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

/// Inserts or updates by the correlation fields: see `Target::upsert`.
pub(super) async fn upsert(collection: &Collection, records: &[Record]) -> Result<Upserted> {
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
        let items = records
            .iter()
            .zip(&keys)
            .map(|(record, key)| Ok(Item { record, values: values(collection, record, || Some(key.clone()))? }))
            .collect::<Result<Vec<_>>>()?;
        match Box::pin(attempt(collection, &keys, items)).await {
            Ok(written) => {
                let total = u64::try_from(records.len()).unwrap_or(u64::MAX);
                return Ok(Upserted { written, unchanged: total.saturating_sub(written) });
            }
            // A duplicate: somebody inserted it between our reading and our writing.
            Err(error) if tries < TRIES_MAX && (is_duplicate(&error) || class(&error) == Class::Contention) => {
                tokio::time::sleep(RETRY_DELAY * tries).await;
                tries += 1;
            }
            Err(error) => return Err(collection.place.failed("upserting", error)),
        }
    }
}

async fn attempt(collection: &Collection, keys: &[Key], items: Vec<Item<'_>>) -> Sql<u64> {
    let mut transaction = collection.pool.begin().await?;
    let found = collection.find(&mut transaction, &collection.correlation, keys, Look::Locked).await?;
    let mut written = 0;
    let mut new: HashMap<Vec<&str>, Vec<Values<'_>>> = HashMap::new();
    for (item, stored) in items.into_iter().zip(found) {
        let Some((key, stored)) = stored.into_iter().next() else {
            let names = item.values.iter().map(|(column, _)| column.name()).collect();
            new.entry(names).or_default().push(item.values);
            continue;
        };
        let differing: Values<'_> =
            item.values.into_iter().filter(|(column, _)| differs(column, &stored, item.record)).collect();
        if !differing.is_empty() {
            update_one(&mut transaction, collection, &key, differing).await?;
            written += 1;
        }
    }
    for group in new.into_values() {
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
    transaction.commit().await?;
    Ok(written)
}

/// Whether the column is to be written: it is not stored as the record says, or was not read.
fn differs(column: &MyColumn, stored: &Record, record: &Record) -> bool {
    match (stored.get(column.name()), record.get(column.name())) {
        (Some(stored), Some(wanted)) => !is_stored(column, stored, wanted),
        (None, Some(_)) => true,
        (_, None) => false,
    }
}
