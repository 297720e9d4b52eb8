//! Conflicts: on record before their losers are overwritten, settled with the batch (I6).

use sqlx::SqliteConnection;

use super::super::{Commit, Conflict, End};
use super::commit::Ids;
use crate::record::encode_values;
use crate::value::Value;

type Result<T> = std::result::Result<T, sqlx::Error>;

/// Puts conflicts on record within a transaction.
pub(super) async fn record(connection: &mut SqliteConnection, pair: i64, conflicts: &[Conflict]) -> Result<Vec<i64>> {
    let mut ids = Vec::with_capacity(conflicts.len());
    for conflict in conflicts {
        let id = match same(connection, pair, conflict).await? {
            Some(id) => id,
            None => insert(connection, pair, conflict).await?,
        };
        ids.push(id);
    }
    Ok(ids)
}

fn encoded(value: Option<&Value>) -> Option<Vec<u8>> {
    value.map(|value| encode_values(&[Some(value.clone())]))
}

/// One that a crash left open: its write did not happen, else this would not be the same conflict.
async fn same(connection: &mut SqliteConnection, pair: i64, conflict: &Conflict) -> Result<Option<i64>> {
    sqlx::query_scalar(
        "SELECT id FROM conflicts WHERE pair = ? AND settled = 0 AND source_key = ? AND target_key = ? AND field IS ? AND base IS ?
                AND source_value IS ? AND target_value IS ? AND winner = ? AND rule = ?",
    )
    .bind(pair)
    .bind(conflict.keys.source.encode())
    .bind(conflict.keys.target.encode())
    .bind(&conflict.field)
    .bind(encoded(conflict.base.as_ref()))
    .bind(encoded(conflict.values.source.as_ref()))
    .bind(encoded(conflict.values.target.as_ref()))
    .bind(conflict.winner.name())
    .bind(&conflict.rule)
    .fetch_optional(connection)
    .await
}

async fn insert(connection: &mut SqliteConnection, pair: i64, conflict: &Conflict) -> Result<i64> {
    sqlx::query_scalar(
        "INSERT INTO conflicts (pair, source_key, target_key, kind, field, base, source_value, target_value, winner, rule, at, settled,
                                resolver, digest, reason)
         VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, ?) RETURNING id",
    )
    .bind(pair)
    .bind(conflict.keys.source.encode())
    .bind(conflict.keys.target.encode())
    .bind(conflict.kind.name())
    .bind(&conflict.field)
    .bind(encoded(conflict.base.as_ref()))
    .bind(encoded(conflict.values.source.as_ref()))
    .bind(encoded(conflict.values.target.as_ref()))
    .bind(conflict.winner.name())
    .bind(&conflict.rule)
    .bind(conflict.at)
    .bind(conflict.resolver.as_ref().map(|resolver| resolver.name.clone()))
    .bind(conflict.resolver.as_ref().and_then(|resolver| resolver.digest.clone()))
    .bind(conflict.resolver.as_ref().map(|resolver| resolver.reason.clone()))
    .fetch_one(connection)
    .await
}

/// What a batch did to the conflicts on record.
pub(super) async fn settle(connection: &mut SqliteConnection, (pair, plugin_set): Ids, commit: &Commit) -> Result<()> {
    for id in &commit.void {
        sqlx::query("DELETE FROM conflicts WHERE id = ? AND settled = 0").bind(id).execute(&mut *connection).await?;
    }
    for id in &commit.settled {
        sqlx::query("UPDATE conflicts SET settled = 1, plugin_set = ? WHERE id = ?")
            .bind(plugin_set)
            .bind(id)
            .execute(&mut *connection)
            .await?;
    }
    let open: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM conflicts WHERE pair = ? AND settled = 0)")
        .bind(pair)
        .fetch_one(&mut *connection)
        .await?;
    let decided = commit.cleared.iter().filter(|(end, _)| open && *end == End::Source);
    for (_, key) in decided {
        sqlx::query("UPDATE conflicts SET settled = 1 WHERE pair = ? AND settled = 0 AND source_key = ?")
            .bind(pair)
            .bind(key.encode())
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}
