//! Records that wait for others. Whether a parent is there is kept up to date with the links, so that asking costs nothing.

use sqlx::{Row, SqliteConnection, SqlitePool};

use super::super::{End, Link, Parent};
use super::{damaged, end_of, failed};
use crate::error::Result;
use crate::record::Key;

type Written = std::result::Result<(), sqlx::Error>;

/// What the record of a review waits for; what it waited for before is forgotten.
pub(super) async fn wait(
    connection: &mut SqliteConnection,
    (pair, review): (i64, i64),
    parent: Option<&Parent>,
) -> Written {
    let forget = "DELETE FROM waiting WHERE review = ?";
    sqlx::query(forget).bind(review).execute(&mut *connection).await?;
    let Some(parent) = parent else { return Ok(()) };
    // It may have been linked since it was looked for.
    let text = format!(
        "INSERT INTO waiting (review, pair, parent, side, key, arrived)
         SELECT ?1, ?2, ?3, ?4, ?5,
                EXISTS (SELECT 1 FROM links WHERE pair = (SELECT id FROM pairs WHERE name = ?3) AND {}_key = ?5
                                                  AND source_base IS NOT NULL)",
        parent.end.name()
    );
    sqlx::query(sqlx::AssertSqlSafe(text))
        .bind(review)
        .bind(pair)
        .bind(&*parent.pair)
        .bind(parent.end.name())
        .bind(parent.key.encode())
        .execute(connection)
        .await
        .map(drop)
}

/// The records of these links have arrived for those that wait for them.
pub(super) async fn arrive(connection: &mut SqliteConnection, pair: &str, links: &[Link]) -> Written {
    let any = "SELECT EXISTS (SELECT 1 FROM waiting WHERE parent = ?)";
    if links.is_empty() || !sqlx::query_scalar::<_, bool>(any).bind(pair).fetch_one(&mut *connection).await? {
        return Ok(());
    }
    for link in links.iter().filter(|link| link.base.is_some()) {
        for end in [End::Source, End::Target] {
            sqlx::query("UPDATE waiting SET arrived = 1 WHERE parent = ? AND side = ? AND key = ?")
                .bind(pair)
                .bind(end.name())
                .bind(link.keys.get(end).encode())
                .execute(&mut *connection)
                .await?;
        }
    }
    Ok(())
}

/// Records of a pair whose parents are linked.
pub(super) async fn arrived(pool: &SqlitePool, pair: &str, max: usize) -> Result<Vec<(End, Key)>> {
    let text = "SELECT r.side, r.key FROM waiting w JOIN reviews r ON r.id = w.review
                WHERE w.pair = (SELECT id FROM pairs WHERE name = ?) AND w.arrived = 1 ORDER BY w.review LIMIT ?";
    records(pool, text, pair, max).await
}

/// Records of a pair that wait for themselves in the end. A record waits for one other at a time, so each chain has one way to go.
pub(super) async fn circles(pool: &SqlitePool, pair: &str, max: usize) -> Result<Vec<(End, Key)>> {
    let text = "WITH RECURSIVE next (review, parent) AS NOT MATERIALIZED (
                    SELECT w.review, r.id FROM waiting w JOIN pairs p ON p.name = w.parent
                    JOIN reviews r ON r.pair = p.id AND r.side = w.side AND r.key = w.key
                ), chain (start, at, length) AS (
                    SELECT review, parent, 1 FROM next
                    WHERE review IN (SELECT review FROM waiting WHERE pair = (SELECT id FROM pairs WHERE name = ?) AND arrived = 0)
                    UNION ALL
                    SELECT start, parent, length + 1 FROM chain JOIN next ON next.review = chain.at
                    WHERE chain.at <> chain.start AND length < 16
                )
                SELECT r.side, r.key FROM chain JOIN reviews r ON r.id = chain.start
                WHERE chain.at = chain.start ORDER BY chain.start LIMIT ?";
    records(pool, text, pair, max).await
}

async fn records(pool: &SqlitePool, text: &'static str, pair: &str, max: usize) -> Result<Vec<(End, Key)>> {
    let max = i64::try_from(max).unwrap_or(i64::MAX);
    let rows = sqlx::query(text).bind(pair).bind(max).fetch_all(pool).await.map_err(failed)?;
    let record = |row: &sqlx::sqlite::SqliteRow| {
        Ok((end_of(row.get("side")), Key::decode(row.get::<&[u8], _>("key")).map_err(damaged)?))
    };
    rows.iter().map(record).collect()
}
