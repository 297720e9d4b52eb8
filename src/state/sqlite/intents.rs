//! Intentions: one row each, from before their writes are done until what became of them is committed.

use std::collections::BTreeMap;

use sqlx::sqlite::{SqliteExecutor, SqlitePool, SqliteRow};
use sqlx::{Row, SqliteConnection};

use super::super::intent::{Open, decode, encode};
use super::super::{Begun, Conflict, Intention};
use super::commit::{pair_id, plugin_set, text_of};
use super::{conflicts, damaged, end_of, failed};
use crate::error;

type Result<T> = std::result::Result<T, sqlx::Error>;

/// Puts an intention on record within a transaction, with its conflicts.
pub(super) async fn begin(
    connection: &mut SqliteConnection,
    names: (&str, &str),
    intention: &Intention<Conflict>,
) -> Result<Begun> {
    let pair = pair_id(connection, names.0).await?;
    let mut numbers = Vec::with_capacity(intention.writes.len());
    for write in &intention.writes {
        numbers.push(conflicts::record(connection, pair, &write.conflicts).await?);
    }
    plugin_set(connection, &intention.plugins).await?;
    insert(connection, names, intention, numbers).await?.ok_or(sqlx::Error::RowNotFound)
}

/// The same without conflicts, in one statement that is a transaction by itself: each more is a way to SQLite's thread and back, for which a
/// write waits. `None` where the pair or the plugins were not known before.
pub(super) async fn begin_alone(
    pool: &SqlitePool,
    names: (&str, &str),
    intention: &Intention<Conflict>,
) -> Result<Option<Begun>> {
    insert(pool, names, intention, vec![Vec::new(); intention.writes.len()]).await
}

/// Puts an intention of a known pair with known plugins on record, its conflicts by their numbers.
async fn insert(
    executor: impl SqliteExecutor<'_>,
    (pair, run): (&str, &str),
    intention: &Intention<Conflict>,
    conflicts: Vec<Vec<i64>>,
) -> Result<Option<Begun>> {
    let insert = "INSERT INTO intents (pair, run, side, plugin_set, writes)
                  SELECT p.id, ?2, ?3, s.id, ?5 FROM pairs p LEFT JOIN plugin_sets s ON s.plugins = ?4
                  WHERE p.name = ?1 AND (?4 IS NULL OR s.id IS NOT NULL)
                  RETURNING id, coalesce((SELECT min(id) FROM intents WHERE pair = (SELECT id FROM pairs WHERE name = ?1)), id)";
    let rows: Vec<(i64, i64)> = sqlx::query_as(insert)
        .bind(pair)
        .bind(run)
        .bind(intention.end.name())
        .bind(text_of(&intention.plugins))
        .bind(encode(&intention.writes, &conflicts))
        .fetch_all(executor)
        .await?;
    Ok(rows.first().map(|(number, since)| Begun { run: run.to_owned(), number: *number, since: *since, conflicts }))
}

/// Closes intentions within the transaction that commits what became of them.
pub(super) async fn close(connection: &mut SqliteConnection, numbers: &[i64]) -> Result<()> {
    for number in numbers {
        sqlx::query("DELETE FROM intents WHERE id = ?").bind(number).execute(&mut *connection).await?;
    }
    Ok(())
}

/// Those that no commit has closed, in order.
pub(super) async fn open(pool: &SqlitePool, pair: &str) -> error::Result<Vec<Open>> {
    let rows = sqlx::query(
        "SELECT i.id, i.run, i.side, i.writes, s.plugins FROM intents i LEFT JOIN plugin_sets s ON s.id = i.plugin_set
         WHERE i.pair = (SELECT id FROM pairs WHERE name = ?) ORDER BY i.id",
    )
    .bind(pair)
    .fetch_all(pool)
    .await
    .map_err(failed)?;
    rows.iter().map(read).collect()
}

fn read(row: &SqliteRow) -> error::Result<Open> {
    let plugins: Option<&str> = row.get("plugins");
    let plugins: Option<BTreeMap<String, String>> = plugins.map(serde_json::from_str).transpose().map_err(damaged)?;
    let intention = Intention {
        end: end_of(row.get("side")),
        plugins: plugins.unwrap_or_default(),
        writes: decode(row.get("writes")).map_err(damaged)?,
    };
    Ok(Open { run: row.get("run"), number: row.get("id"), intention })
}
