//! Unguarded bulk writes by the correlation (layer 4): many records a statement.

use std::sync::Arc;

use super::Opened;
use super::connection::execute;
use super::errors::{Class, class};
use super::lookup::{Asked, equal, joined};
use super::statement::arguments;
use super::writing::{Attempt, Refused, Writing};
use crate::connector::Upserted;
use crate::connector::change_log::{list, quote};
use crate::error::{ErrorKind, Result, SyncError};
use crate::record::{Key, Record};
use crate::value::Value;

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
    let mut writing = Writing::begin(opened).await?;
    for run in records.chunk_by(Record::has_same_fields) {
        let written = upsert_run(&mut writing, run).await.map_err(|refused| translate(opened, refused))?;
        upserted.written += written;
        upserted.unchanged += (run.len() as u64).saturating_sub(written);
    }
    writing.commit().await?;
    Ok(upserted)
}

/// Records that carry the same fields.
async fn upsert_run(writing: &mut Writing<'_>, run: &[Record]) -> Attempt<u64> {
    let opened = writing.opened;
    let names: Vec<&str> = run.first().into_iter().flat_map(Record::iter).map(|(name, _)| name).collect();
    let columns = names.iter().map(|name| opened.column(name)).collect::<Attempt<Vec<_>>>()?;
    let by = &opened.correlation.layout;
    let (mut written, mut rest) = (0, run);
    let folds = opened.table.folding.iter().any(|set| set.iter().all(|name| by.iter().any(|field| **field == **name)));
    // Records whose keys are taken for equal would overwrite each other within one statement.
    for size in SIZES.into_iter().filter(|size| *size == 1 || (!folds && size * names.len() <= ARGUMENTS_MAX)) {
        let chunks = rest.chunks_exact(size);
        rest = chunks.remainder();
        let sql = sql(opened, &names, size);
        for chunk in chunks {
            let mut raws = Vec::with_capacity(size * names.len());
            for record in chunk {
                if by.iter().any(|name| record.get(name).is_none_or(Value::is_null)) {
                    return Err(no_key(opened));
                }
                if folds {
                    keep_apart(writing, record).await?;
                }
                for (column, (_, value)) in columns.iter().zip(record.iter()) {
                    raws.push(opened.encode(|| record.key(by), column, value)?);
                }
            }
            written += execute(writing.connection(), Arc::clone(&sql), arguments(raws)?).await?;
        }
    }
    Ok(written)
}

/// Fails where another record has the key in another spelling, which its column takes for equal: the other would be overwritten.
async fn keep_apart(writing: &mut Writing<'_>, record: &Record) -> Attempt<()> {
    let (opened, by) = (writing.opened, &writing.opened.correlation);
    let Some(key) = record.key(&by.layout) else { return Ok(()) };
    let table = opened.table.quoted();
    let rest = format!(
        "SELECT 1 FROM tidelock_q CROSS JOIN {table} WHERE {} AND NOT ({}) LIMIT 1",
        equal(by, &table),
        joined(by, &table)
    );
    for (statement, _) in Asked::new(by, std::slice::from_ref(&key)).statements(by.len(), &rest) {
        if !statement.rows(writing.connection()).await.map_err(Refused::Sql)?.is_empty() {
            let why = "is that of another record in another spelling, which the column takes for equal";
            let names = by.layout.join(", ");
            return Err(Refused::Unfit(opened.place().unfit(Some(&key), &names, why)));
        }
    }
    Ok(())
}

/// Deletes by correlation values; how many there were.
pub(super) async fn delete(opened: &Opened, values: &[Key]) -> Result<u64> {
    if values.is_empty() {
        return Ok(0);
    }
    let failed = |error| translate(opened, Refused::Sql(error));
    let (table, by) = (opened.table.quoted(), &opened.correlation);
    let key = list(opened.table.key.iter().map(|name| opened.table.of(name)));
    let rest = format!(
        "DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM tidelock_q CROSS JOIN {table} WHERE {}) RETURNING 1",
        joined(by, &table)
    );
    let mut writing = Writing::begin(opened).await?;
    let mut deleted = 0;
    for (statement, _) in Asked::new(by, values).statements(by.len(), &rest) {
        deleted += statement.rows(writing.connection()).await.map_err(failed)?.len() as u64;
    }
    writing.commit().await?;
    Ok(deleted)
}

fn check_unique(opened: &Opened) -> Result<()> {
    let correlation: Vec<&str> = opened.correlation.layout.iter().map(|name| &**name).collect();
    let is_it = |set: &Vec<String>| {
        set.len() == correlation.len() && set.iter().all(|name| correlation.contains(&name.as_str()))
    };
    if opened.table.unique.iter().any(is_it) {
        return Ok(());
    }
    let message = format!("upserting needs a unique constraint on exactly ({})", correlation.join(", "));
    Err(opened.place().error(ErrorKind::SchemaMismatch, "sqlite.not_unique", message))
}

fn no_key(opened: &Opened) -> Refused {
    let names: Vec<&str> = opened.correlation.layout.iter().map(|name| &**name).collect();
    let message = format!("upserting a record: no value for ({})", names.join(", "));
    Refused::Unfit(opened.place().error(ErrorKind::InvalidRecord, "sqlite.no_key_value", message))
}

fn translate(opened: &Opened, refused: Refused) -> SyncError {
    match refused {
        Refused::Unfit(error) => error,
        Refused::Sql(error) if class(&error) == Class::Data => opened.place().refused("upserting", None, &error),
        Refused::Sql(error) => opened.place().failed("upserting")(error),
    }
}

fn sql(opened: &Opened, names: &[&str], records: usize) -> Arc<str> {
    let table = opened.table.quoted();
    let row = format!("({})", vec!["?"; names.len()].join(", "));
    let columns = list(names.iter().map(|name| quote(name)));
    let correlation = list(opened.correlation.layout.iter().map(|name| quote(name)));
    let insert =
        format!("INSERT INTO {table} ({columns}) VALUES {} ON CONFLICT ({correlation})", vec![row; records].join(", "));
    let others: Vec<String> = names
        .iter()
        .filter(|name| !opened.correlation.layout.iter().any(|field| **field == ***name))
        .map(|name| quote(name))
        .collect();
    if others.is_empty() {
        return format!("{insert} DO NOTHING").into();
    }
    let set = list(others.iter().map(|name| format!("{name} = excluded.{name}")));
    // Bytewise: a column's own collation may take different texts for equal.
    let differs: Vec<String> =
        others.iter().map(|name| format!("{table}.{name} IS NOT excluded.{name} COLLATE BINARY")).collect();
    format!("{insert} DO UPDATE SET {set} WHERE {}", differs.join(" OR ")).into()
}
