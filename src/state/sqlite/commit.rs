//! One batch, one transaction (I2).

use std::collections::BTreeMap;
use std::sync::Arc;

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection};

use super::super::{Commit, Counts, Link};
use super::{conflicts, encode_base, intents, layout_id, reviews, waiting};
use crate::change::{End, Ends};
use crate::record::Layout;
use crate::telemetry::clock;

type Result<T> = std::result::Result<T, sqlx::Error>;

/// A pair and the plugin set of its batch.
pub(super) type Ids = (i64, Option<i64>);

/// Rows of `batches` that are kept, over all pairs.
const BATCHES_KEPT: i64 = 100_000;

/// Batches and conflicts that are dropped with one commit at most, so that none takes long.
const DROPPED_AT_ONCE: i64 = 64;

/// Rows in one statement.
const ROWS_PER_STATEMENT: usize = 128;

/// Writes a commit within a transaction.
/// What is older than `keep_from` (microseconds since 1970-01-01 UTC) is forgotten, in small steps.
pub(super) async fn write(
    connection: &mut SqliteConnection,
    name: &str,
    commit: &Commit,
    keep_from: i64,
) -> Result<()> {
    waiting::arrive(connection, name, &commit.links).await?;
    let pair = pair_id(connection, name).await?;
    let plugin_set = plugin_set(connection, &commit.plugins).await?;
    links(connection, (pair, plugin_set), &commit.links).await?;
    conflicts::settle(connection, (pair, plugin_set), commit).await?;
    intents::close(connection, &commit.intentions).await?;
    reviews::decided(connection, &commit.decided).await?;
    reviews::clear(connection, name, &commit.cleared).await?;
    for finding in &commit.reviews {
        reviews::file(connection, (pair, plugin_set), finding).await?;
    }
    let counts = &commit.counts;
    if let Some(end) = commit.end.filter(|_| counts.read > 0 || !commit.history.is_empty()) {
        insert_batch(connection, (pair, plugin_set), end, commit).await?;
        drop_old(connection, keep_from).await?;
    }
    let position =
        |end| commit.positions.get(end).as_ref().map(|position: &crate::change::Position| position.0.clone());
    sqlx::query(
        "UPDATE pairs SET loaded = loaded OR ?, mapping = coalesce(?, mapping), source_position = coalesce(?, source_position),
                          target_position = coalesce(?, target_position), read = read + ?, written_source = written_source + ?,
                          written_target = written_target + ?, skipped = skipped + ?, conflicts = conflicts + ?,
                          rejected = rejected + ?, warnings = warnings + ?, held = held + ?, last_commit = ?
         WHERE id = ?",
    )
    .bind(commit.loaded.is_some())
    .bind(&commit.loaded)
    .bind(position(End::Source))
    .bind(position(End::Target))
    .bind(number(counts.read))
    .bind(number(counts.written_source))
    .bind(number(counts.written_target))
    .bind(number(counts.skipped))
    .bind(number(counts.conflicts))
    .bind(number(counts.rejected))
    .bind(number(counts.warnings))
    .bind(number(counts.held))
    .bind(clock::now_micros())
    .bind(pair)
    .execute(connection)
    .await
    .map(drop)
}

/// What a row of `pairs` counts.
pub(super) fn counts(row: &SqliteRow) -> Counts {
    let count = |column| u64::try_from(row.get::<i64, _>(column)).unwrap_or_default();
    Counts {
        read: count("read"),
        written_source: count("written_source"),
        written_target: count("written_target"),
        skipped: count("skipped"),
        conflicts: count("conflicts"),
        rejected: count("rejected"),
        warnings: count("warnings"),
        held: count("held"),
    }
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// What a set of plugins is known by; `None` where it is empty.
pub(super) fn text_of(plugins: &BTreeMap<String, String>) -> Option<String> {
    (!plugins.is_empty()).then(|| serde_json::json!(plugins).to_string())
}

/// The id of a set of plugins, made where it is new; `None` where no plugin took part.
pub(super) async fn plugin_set(
    connection: &mut SqliteConnection,
    plugins: &BTreeMap<String, String>,
) -> Result<Option<i64>> {
    let Some(text) = text_of(plugins) else { return Ok(None) };
    let select = "SELECT id FROM plugin_sets WHERE plugins = ?";
    if let Some(id) = sqlx::query_scalar(select).bind(&text).fetch_optional(&mut *connection).await? {
        return Ok(Some(id));
    }
    let insert = "INSERT INTO plugin_sets (plugins) VALUES (?) RETURNING id";
    sqlx::query_scalar(insert).bind(&text).fetch_one(connection).await.map(Some)
}

/// Keeps what a batch did.
async fn insert_batch(connection: &mut SqliteConnection, ids: Ids, end: End, commit: &Commit) -> Result<()> {
    let counts = &commit.counts;
    let mut layouts = Ends::default();
    for end in [End::Source, End::Target] {
        if let Some(layout) = commit.history.layouts.get(end) {
            *layouts.get_mut(end) = Some(layout_id(connection, layout).await?);
        }
    }
    sqlx::query(
        "INSERT INTO batches (pair, at, side, position, read, written_source, written_target, skipped, conflicts, rejected, plugin_set,
                              writes, source_layout, target_layout)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(ids.0)
    .bind(clock::now_micros())
    .bind(end.name())
    .bind(commit.positions.get(end).as_ref().map(|position| position.0.clone()))
    .bind(number(counts.read))
    .bind(number(counts.written_source))
    .bind(number(counts.written_target))
    .bind(number(counts.skipped))
    .bind(number(counts.conflicts))
    .bind(number(counts.rejected))
    .bind(ids.1)
    .bind(Some(commit.history.bytes()).filter(|bytes| !bytes.is_empty()))
    .bind(layouts.source)
    .bind(layouts.target)
    .execute(connection)
    .await
    .map(drop)
}

/// Drops the oldest batches and conflicts, those that are too many and those that are too old. A conflict that is not settled stays.
async fn drop_old(connection: &mut SqliteConnection, keep_from: i64) -> Result<()> {
    sqlx::query(
        "DELETE FROM batches WHERE id IN (SELECT id FROM batches ORDER BY id LIMIT ?1)
                AND (at < ?2 OR id <= (SELECT max(id) FROM batches) - ?3)",
    )
    .bind(DROPPED_AT_ONCE)
    .bind(keep_from)
    .bind(BATCHES_KEPT)
    .execute(&mut *connection)
    .await?;
    sqlx::query(
        "DELETE FROM conflicts WHERE id IN (SELECT id FROM conflicts ORDER BY id LIMIT ?) AND settled = 1 AND at < ?",
    )
    .bind(DROPPED_AT_ONCE)
    .bind(keep_from)
    .execute(connection)
    .await
    .map(drop)
}

pub(super) async fn pair_id(connection: &mut SqliteConnection, pair: &str) -> Result<i64> {
    let known = sqlx::query_scalar("SELECT id FROM pairs WHERE name = ?").bind(pair).fetch_optional(&mut *connection);
    match known.await? {
        Some(id) => Ok(id),
        None => {
            sqlx::query_scalar("INSERT INTO pairs (name) VALUES (?) RETURNING id")
                .bind(pair)
                .fetch_one(connection)
                .await
        }
    }
}

/// `REPLACE` removes whatever link has either key, which is what finding by either key means.
async fn links(connection: &mut SqliteConnection, (pair, plugin_set): Ids, links: &[Link]) -> Result<()> {
    // A few at most, shared by most records.
    let mut ids: Vec<(Layout, i64)> = Vec::new();
    for record in links.iter().filter_map(|link| link.base.as_ref()).flat_map(|base| [&base.source, &base.target]) {
        if known_id(&ids, record.layout()).is_none() {
            ids.push((Layout::clone(record.layout()), layout_id(connection, record.layout()).await?));
        }
    }
    for part in links.chunks(ROWS_PER_STATEMENT) {
        let mut query = QueryBuilder::<Sqlite>::new(
            "REPLACE INTO links (pair, source_key, target_key, source_layout, source_base, target_layout, target_base, plugin_set, gone) ",
        );
        query.push_values(part, |mut row, link| {
            let source = link.base.as_ref().map(|base| &base.source);
            let target = link.base.as_ref().map(|base| &base.target);
            row.push_bind(pair).push_bind(link.keys.source.encode()).push_bind(link.keys.target.encode());
            for record in [source, target] {
                row.push_bind(record.and_then(|record| known_id(&ids, record.layout())))
                    .push_bind(record.map(encode_base));
            }
            row.push_bind(plugin_set).push_bind(link.gone.map(End::name));
        });
        query.build().execute(&mut *connection).await?;
    }
    Ok(())
}

fn known_id(ids: &[(Layout, i64)], layout: &Layout) -> Option<i64> {
    ids.iter().find(|(known, _)| Arc::ptr_eq(known, layout) || known == layout).map(|(_, id)| *id)
}
