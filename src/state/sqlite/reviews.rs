//! Reviews and the decisions about them.

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection, SqlitePool};

use super::super::review::{named_values, of_named_values};
use super::super::{Decision, End, Ends, Finding, Parent, Review, ReviewFilter, ReviewKind, Verdict};
use super::commit::Ids;
use super::{damaged, end_of, failed, waiting};
use crate::error::Result;
use crate::record::{Key, Record};
use crate::telemetry::clock;

type Written = std::result::Result<(), sqlx::Error>;

const SELECT: &str = "SELECT r.*, p.name AS pair_name, w.parent, w.side AS parent_side, w.key AS parent_key
     FROM reviews r JOIN pairs p ON p.id = r.pair LEFT JOIN waiting w ON w.review = r.id";

/// The reviews of a filter.
pub(super) async fn list(pool: &SqlitePool, filter: &ReviewFilter, max: usize) -> Result<Vec<Review>> {
    let mut query = QueryBuilder::<Sqlite>::new(SELECT);
    query.push(" WHERE r.id > ").push_bind(filter.after.unwrap_or_default());
    let kind = filter.kind.map(|kind| kind.name().to_owned());
    let wanted = [("p.name", &filter.pair), ("r.kind", &kind), ("r.code", &filter.code), ("r.field", &filter.field)];
    for (column, value) in wanted {
        if let Some(value) = value {
            query.push(format!(" AND {column} = ")).push_bind(value);
        }
    }
    query.push(" ORDER BY r.id LIMIT ").push_bind(i64::try_from(max).unwrap_or(i64::MAX));
    let rows = query.build().fetch_all(pool).await.map_err(failed)?;
    rows.iter().map(review).collect()
}

/// The review of a number.
pub(super) async fn one(pool: &SqlitePool, id: i64) -> Result<Option<Review>> {
    let mut query = QueryBuilder::<Sqlite>::new(SELECT);
    query.push(" WHERE r.id = ").push_bind(id);
    let row = query.build().fetch_optional(pool).await.map_err(failed)?;
    row.as_ref().map(review).transpose()
}

fn review(row: &SqliteRow) -> Result<Review> {
    let key = |column: &str| row.get::<Option<&[u8]>, _>(column).map(Key::decode).transpose().map_err(damaged);
    let record = |column: &str| -> Result<Option<Record>> {
        row.get::<Option<&[u8]>, _>(column).map(of_named_values).transpose().map_err(damaged)
    };
    let base = match (record("source_base")?, record("target_base")?) {
        (Some(source), Some(target)) => Some(Ends { source, target }),
        _ => None,
    };
    let finding = Finding {
        end: end_of(row.get("side")),
        key: key("key")?.ok_or_else(|| damaged("a review without a key"))?,
        other: key("other_key")?,
        kind: ReviewKind::of(row.get("kind")).ok_or_else(|| damaged("a review of an unknown kind"))?,
        code: row.get("code"),
        message: row.get("message"),
        field: row.get("field"),
        digest: row.get("digest"),
        contested: serde_json::from_str(row.get("contested")).map_err(damaged)?,
        now: Ends { source: record("source_now")?, target: record("target_now")? },
        base,
        waits_for: match (row.get::<Option<&str>, _>("parent"), key("parent_key")?) {
            (Some(pair), Some(key)) => Some(Parent { pair: pair.into(), end: end_of(row.get("parent_side")), key }),
            _ => None,
        },
    };
    Ok(Review {
        id: row.get("id"),
        pair: row.get("pair_name"),
        finding,
        version: row.get("version"),
        at: row.get("at"),
        seen: row.get("seen"),
        later: u64::try_from(row.get::<i64, _>("later")).unwrap_or_default(),
    })
}

/// Files a finding; one about the same record is renewed, and counts the change that led to it.
pub(super) async fn file(connection: &mut SqliteConnection, (pair, plugin_set): Ids, finding: &Finding) -> Written {
    let contested = serde_json::json!(finding.contested).to_string();
    let base = |end: End| finding.base.as_ref().map(|base| named_values(base.get(end)));
    let id: i64 = sqlx::query_scalar(
        "INSERT INTO reviews (pair, side, key, other_key, kind, code, message, field, digest, contested, source_now, target_now, source_base,
                              target_base, version, at, seen, plugin_set)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?16, ?17)
         ON CONFLICT (pair, side, key) DO UPDATE
         SET other_key = ?4, kind = ?5, code = ?6, message = ?7, field = ?8, digest = ?9, contested = ?10, source_now = ?11, target_now = ?12,
             source_base = ?13, target_base = ?14, version = ?15, seen = ?16, plugin_set = ?17, later = later + (version <> ?15)
         RETURNING id",
    )
    .bind(pair)
    .bind(finding.end.name())
    .bind(finding.key.encode())
    .bind(finding.other.as_ref().map(Key::encode))
    .bind(finding.kind.name())
    .bind(&finding.code)
    .bind(&finding.message)
    .bind(&finding.field)
    .bind(&finding.digest)
    .bind(contested)
    .bind(finding.now.source.as_ref().map(named_values))
    .bind(finding.now.target.as_ref().map(named_values))
    .bind(base(End::Source))
    .bind(base(End::Target))
    .bind(finding.version())
    .bind(clock::now_micros())
    .bind(plugin_set)
    .fetch_one(&mut *connection)
    .await?;
    waiting::wait(connection, (pair, id), finding.waits_for.as_ref()).await
}

/// Takes reviews away that no longer hold, and what was decided about them but not carried out.
pub(super) async fn clear(connection: &mut SqliteConnection, pair: i64, cleared: &[(End, Key)]) -> Written {
    if cleared.is_empty() {
        return Ok(());
    }
    let any: bool = sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM reviews WHERE pair = ?)")
        .bind(pair)
        .fetch_one(&mut *connection)
        .await?;
    if !any {
        return Ok(());
    }
    for (end, key) in cleared {
        let id: Option<i64> =
            sqlx::query_scalar("DELETE FROM reviews WHERE pair = ? AND side = ? AND key = ? RETURNING id")
                .bind(pair)
                .bind(end.name())
                .bind(key.encode())
                .fetch_optional(&mut *connection)
                .await?;
        if let Some(id) = id {
            sqlx::query("UPDATE decisions SET verdict = ? WHERE review = ? AND verdict IS NULL")
                .bind(Verdict::Stale.name())
                .bind(id)
                .execute(&mut *connection)
                .await?;
        }
    }
    Ok(())
}

/// Keeps decisions until they are carried out.
pub(super) async fn decide(connection: &mut SqliteConnection, decisions: &[Decision]) -> Result<()> {
    for decision in decisions {
        sqlx::query("DELETE FROM decisions WHERE review = ? AND verdict IS NULL")
            .bind(decision.review)
            .execute(&mut *connection)
            .await
            .map_err(failed)?;
        sqlx::query(
            "INSERT INTO decisions (pair, review, version, ruling, actor, at)
             SELECT pair, id, ?, ?, ?, ? FROM reviews WHERE id = ?",
        )
        .bind(&decision.version)
        .bind(serde_json::to_string(&decision.ruling).map_err(damaged)?)
        .bind(&decision.actor)
        .bind(decision.at)
        .bind(decision.review)
        .execute(&mut *connection)
        .await
        .map_err(failed)?;
    }
    Ok(())
}

/// Decisions that wait, with their reviews.
pub(super) async fn decisions(pool: &SqlitePool, pair: &str, max: usize) -> Result<Vec<(Decision, Review)>> {
    let rows = sqlx::query(
        "SELECT r.*, p.name AS pair_name, w.parent, w.side AS parent_side, w.key AS parent_key, d.id AS decision, d.version AS decided, d.ruling, d.actor, d.at AS decided_at
         FROM decisions d JOIN reviews r ON r.id = d.review JOIN pairs p ON p.id = d.pair LEFT JOIN waiting w ON w.review = r.id
         WHERE p.name = ? AND d.verdict IS NULL ORDER BY r.side, r.key LIMIT ?",
    )
    .bind(pair)
    .bind(i64::try_from(max).unwrap_or(i64::MAX))
    .fetch_all(pool)
    .await
    .map_err(failed)?;
    let decision = |row: &SqliteRow| {
        let decision = Decision {
            id: row.get("decision"),
            review: row.get("id"),
            version: row.get("decided"),
            ruling: serde_json::from_str(row.get("ruling")).map_err(damaged)?,
            actor: row.get("actor"),
            at: row.get("decided_at"),
        };
        Ok((decision, review(row)?))
    };
    rows.iter().map(decision).collect()
}

/// What became of decisions.
pub(super) async fn decided(connection: &mut SqliteConnection, decided: &[(i64, Verdict, String)]) -> Written {
    for (id, verdict, message) in decided {
        sqlx::query("UPDATE decisions SET verdict = ?, message = ? WHERE id = ?")
            .bind(verdict.name())
            .bind(message)
            .bind(id)
            .execute(&mut *connection)
            .await?;
    }
    Ok(())
}

/// What became of the latest decision about a review.
pub(super) async fn verdict(pool: &SqlitePool, review: i64) -> Result<Option<(Verdict, String)>> {
    let row = sqlx::query("SELECT verdict, message FROM decisions WHERE review = ? ORDER BY id DESC LIMIT 1")
        .bind(review)
        .fetch_optional(pool)
        .await
        .map_err(failed)?;
    let all = [Verdict::Applied, Verdict::Stale, Verdict::Refused];
    let read = |row: SqliteRow| {
        let name: Option<String> = row.get("verdict");
        let verdict = all.into_iter().find(|verdict| Some(verdict.name()) == name.as_deref())?;
        Some((verdict, row.get("message")))
    };
    Ok(row.and_then(read))
}
