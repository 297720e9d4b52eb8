//! One batch, one transaction (I2).

use std::sync::Arc;

use sqlx::{QueryBuilder, Sqlite, SqliteConnection};

use super::super::{Commit, Conflict, Link, Review};
use super::{encode_base, layout_id};
use crate::change::End;
use crate::record::{Layout, encode_values};
use crate::telemetry::clock;
use crate::value::Value;

type Result<T> = std::result::Result<T, sqlx::Error>;

/// Rows in one statement.
const ROWS_PER_STATEMENT: usize = 128;

/// Writes a commit within a transaction.
pub(super) async fn write(connection: &mut SqliteConnection, pair: &str, commit: &Commit) -> Result<()> {
    let pair = pair_id(connection, pair).await?;
    links(connection, pair, &commit.links).await?;
    for conflict in &commit.conflicts {
        insert_conflict(connection, pair, conflict).await?;
    }
    clear(connection, pair, commit).await?;
    for review in &commit.reviews {
        insert_review(connection, pair, review).await?;
    }
    let counts = &commit.counts;
    let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
    let position =
        |end| commit.positions.get(end).as_ref().map(|position: &crate::change::Position| position.0.clone());
    sqlx::query(
        "UPDATE pairs SET loaded = loaded OR ?, source_position = coalesce(?, source_position),
                          target_position = coalesce(?, target_position), read = read + ?, written_source = written_source + ?,
                          written_target = written_target + ?, skipped = skipped + ?, conflicts = conflicts + ?,
                          rejected = rejected + ?, last_commit = ?
         WHERE id = ?",
    )
    .bind(commit.loaded)
    .bind(position(End::Source))
    .bind(position(End::Target))
    .bind(number(counts.read))
    .bind(number(counts.written_source))
    .bind(number(counts.written_target))
    .bind(number(counts.skipped))
    .bind(number(counts.conflicts))
    .bind(number(counts.rejected))
    .bind(clock::now_micros())
    .bind(pair)
    .execute(connection)
    .await
    .map(drop)
}

async fn pair_id(connection: &mut SqliteConnection, pair: &str) -> Result<i64> {
    sqlx::query("INSERT INTO pairs (name) VALUES (?) ON CONFLICT DO NOTHING")
        .bind(pair)
        .execute(&mut *connection)
        .await?;
    sqlx::query_scalar("SELECT id FROM pairs WHERE name = ?").bind(pair).fetch_one(connection).await
}

/// `REPLACE` removes whatever link has either key, which is what finding by either key means.
async fn links(connection: &mut SqliteConnection, pair: i64, links: &[Link]) -> Result<()> {
    // A few at most, shared by most records.
    let mut ids: Vec<(Layout, i64)> = Vec::new();
    for record in links.iter().filter_map(|link| link.base.as_ref()).flat_map(|base| [&base.source, &base.target]) {
        if known_id(&ids, record.layout()).is_none() {
            ids.push((Layout::clone(record.layout()), layout_id(connection, record.layout()).await?));
        }
    }
    for part in links.chunks(ROWS_PER_STATEMENT) {
        let mut query = QueryBuilder::<Sqlite>::new(
            "REPLACE INTO links (pair, source_key, target_key, source_layout, source_base, target_layout, target_base) ",
        );
        query.push_values(part, |mut row, link| {
            let source = link.base.as_ref().map(|base| &base.source);
            let target = link.base.as_ref().map(|base| &base.target);
            row.push_bind(pair).push_bind(link.keys.source.encode()).push_bind(link.keys.target.encode());
            for record in [source, target] {
                row.push_bind(record.and_then(|record| known_id(&ids, record.layout())))
                    .push_bind(record.map(encode_base));
            }
        });
        query.build().execute(&mut *connection).await?;
    }
    Ok(())
}

fn known_id(ids: &[(Layout, i64)], layout: &Layout) -> Option<i64> {
    ids.iter().find(|(known, _)| Arc::ptr_eq(known, layout) || known == layout).map(|(_, id)| *id)
}

async fn clear(connection: &mut SqliteConnection, pair: i64, commit: &Commit) -> Result<()> {
    if commit.cleared.is_empty() {
        return Ok(());
    }
    let any: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM reviews WHERE pair = ?)")
        .bind(pair)
        .fetch_one(&mut *connection)
        .await?;
    if !any {
        return Ok(());
    }
    for (end, key) in &commit.cleared {
        sqlx::query("DELETE FROM reviews WHERE pair = ? AND side = ? AND key = ?")
            .bind(pair)
            .bind(end.name())
            .bind(key.encode())
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

async fn insert_review(connection: &mut SqliteConnection, pair: i64, review: &Review) -> Result<()> {
    sqlx::query(
        "INSERT INTO reviews (pair, side, key, code, message, field, digest, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)
         ON CONFLICT (pair, side, key) DO UPDATE SET code = ?4, message = ?5, field = ?6, digest = ?7, at = ?8",
    )
    .bind(pair)
    .bind(review.end.name())
    .bind(review.key.encode())
    .bind(&review.code)
    .bind(&review.message)
    .bind(&review.field)
    .bind(&review.digest)
    .bind(clock::now_micros())
    .execute(connection)
    .await
    .map(drop)
}

async fn insert_conflict(connection: &mut SqliteConnection, pair: i64, conflict: &Conflict) -> Result<()> {
    let value = |value: &Option<Value>| value.as_ref().map(|value| encode_values(&[Some(value.clone())]));
    sqlx::query(
        "INSERT INTO conflicts (pair, source_key, target_key, field, base, source_value, target_value, winner, rule, at)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )
    .bind(pair)
    .bind(conflict.keys.source.encode())
    .bind(conflict.keys.target.encode())
    .bind(&conflict.field)
    .bind(value(&conflict.base))
    .bind(value(&conflict.values.source))
    .bind(value(&conflict.values.target))
    .bind(conflict.winner.name())
    .bind(&conflict.rule)
    .bind(conflict.at)
    .execute(connection)
    .await
    .map(drop)
}
