//! Unguarded bulk writes by the correlation (layer 4): many records a statement.

use super::Opened;
use super::errors::{Class, class};
use super::statement::Statement;
use super::table::list;
use super::write::{Refused, Writing, encode};
use crate::connector::change_log::quote;
use crate::connector::Upserted;
use crate::error::{ErrorKind, Result, SyncError};
use crate::record::{Key, Record};

/// Records in one statement. Few sizes, so that few statements have to be prepared.
const SIZES: [usize; 3] = [64, 8, 1];
/// SQLite takes at most 32,766 arguments.
const ARGUMENTS_MAX: usize = 32_000;

/// Inserts or updates; see [`crate::connector::Target::upsert`].
pub(super) async fn upsert(opened: &Opened, records: &[Record]) -> Result<Upserted> {
    let mut upserted = Upserted::default();
    if records.is_empty() {
        return Ok(upserted);
    }
    check_unique(opened)?;
    let mut writing = Writing::begin(opened, false).await?;
    for run in records.chunk_by(|a, b| present(a).eq(present(b))) {
        let mut rest = run;
        while let Some(first) = rest.first() {
            let width = present(first).count().max(1);
            let size = SIZES.into_iter().find(|size| *size <= rest.len() && size * width <= ARGUMENTS_MAX).unwrap_or(1);
            let (chunk, others) = rest.split_at(size.min(rest.len()));
            rest = others;
            let statement = statement(opened, chunk).map_err(|refused| translate(opened, refused))?;
            let changed = statement.execute(writing.connection()).await;
            let changed = changed.map_err(|error| translate(opened, Refused::Sql(error)))?;
            upserted.written += changed;
            upserted.unchanged += (chunk.len() as u64).saturating_sub(changed);
        }
    }
    writing.commit().await?;
    Ok(upserted)
}

/// Deletes by correlation values; how many there were.
pub(super) async fn delete(opened: &Opened, values: &[Key]) -> Result<u64> {
    if values.is_empty() {
        return Ok(0);
    }
    let failed = |error| translate(opened, Refused::Sql(error));
    let mut writing = Writing::begin(opened, false).await?;
    let mut deleted = 0;
    for value in values {
        let mut statement = Statement::new(format!("DELETE FROM {} WHERE ", opened.table.quoted()));
        statement.push_key(&opened.correlation, value).map_err(failed)?;
        deleted += statement.execute(writing.connection()).await.map_err(failed)?;
    }
    writing.commit().await?;
    Ok(deleted)
}

/// The names of the fields that a record carries.
fn present(record: &Record) -> impl Iterator<Item = &str> {
    record.iter().map(|(name, _)| name)
}

fn check_unique(opened: &Opened) -> Result<()> {
    let correlation: Vec<&str> = opened.correlation.layout.iter().map(|name| &**name).collect();
    let equal = |set: &Vec<String>| set.len() == correlation.len() && set.iter().all(|name| correlation.contains(&name.as_str()));
    if opened.table.unique.iter().any(equal) {
        return Ok(());
    }
    let message = format!("upserting needs a unique constraint on exactly ({})", correlation.join(", "));
    Err(opened.place().error(ErrorKind::SchemaMismatch, "sqlite.not_unique", message))
}

fn translate(opened: &Opened, refused: Refused) -> SyncError {
    match refused {
        Refused::Unfit(error) => error,
        Refused::Sql(error) if class(&error) == Class::Data => opened.place().refused("upserting", None, &error),
        Refused::Sql(error) => opened.place().failed("upserting")(error),
    }
}

fn statement(opened: &Opened, records: &[Record]) -> std::result::Result<Statement, Refused> {
    let table = opened.table.quoted();
    let names: Vec<&str> = records.first().map(|record| present(record).collect()).unwrap_or_default();
    let mut statement = Statement::new(format!("INSERT INTO {table} ({}) VALUES ", list(names.iter().map(|name| quote(name)))));
    for (index, record) in records.iter().enumerate() {
        let key = record.key(&opened.correlation.layout);
        if key.is_none() {
            let correlation = list(opened.correlation.layout.iter().map(|name| name.to_string()));
            let message = format!("upserting a record: no value for ({correlation})");
            let error = opened.place().error(ErrorKind::InvalidRecord, "sqlite.no_key_value", message);
            return Err(Refused::Unfit(error));
        }
        let mut holders = Vec::with_capacity(names.len());
        for (name, value) in record.iter() {
            holders.push(statement.bind(encode(opened, key.as_ref(), name, value)?)?);
        }
        statement.push(if index == 0 { "(" } else { ", (" });
        statement.push(&holders.join(", "));
        statement.push(")");
    }
    let correlation = list(opened.correlation.layout.iter().map(|name| quote(name)));
    let others: Vec<String> = names
        .iter()
        .filter(|name| !opened.correlation.layout.iter().any(|field| **field == ***name))
        .map(|name| quote(name))
        .collect();
    if others.is_empty() {
        statement.push(&format!(" ON CONFLICT ({correlation}) DO NOTHING"));
        return Ok(statement);
    }
    let set = list(others.iter().map(|name| format!("{name} = excluded.{name}")));
    // Bytewise: a column's own collation may take different texts for equal.
    let differs: Vec<String> =
        others.iter().map(|name| format!("{table}.{name} IS NOT excluded.{name} COLLATE BINARY")).collect();
    statement.push(&format!(" ON CONFLICT ({correlation}) DO UPDATE SET {set} WHERE {}", differs.join(" OR ")));
    Ok(statement)
}
