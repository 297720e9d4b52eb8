//! Reviews and the decisions about them.

use std::collections::BTreeMap;

use sqlx::sqlite::SqliteRow;
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection, SqlitePool};

use super::super::review::{named_values, of_named_values};
use super::super::{Decision, End, Ends, Finding, Outcome, Parent, Review, ReviewFilter, ReviewKind, Verdict};
use super::commit::Ids;
use super::{KEYS_PER_QUERY, damaged, end_of, failed, select_keys, waiting};
use crate::error::Result;
use crate::record::{Key, Record};
use crate::telemetry::clock;

type Written = std::result::Result<(), sqlx::Error>;

const SELECT: &str = "SELECT r.*, p.name AS pair_name, w.parent, w.side AS parent_side, w.key AS parent_key
     FROM reviews r JOIN pairs p ON p.id = r.pair LEFT JOIN waiting w ON w.review = r.id";

/// The reviews of a filter.
pub(super) async fn list(pool: &SqlitePool, filter: &ReviewFilter, max: usize) -> Result<Vec<Review>> {
    let mut query = QueryBuilder::<Sqlite>::new(SELECT);
    narrow(&mut query, filter);
    query.push(" ORDER BY r.id LIMIT ").push_bind(i64::try_from(max).unwrap_or(i64::MAX));
    let rows = query.build().fetch_all(pool).await.map_err(failed)?;
    rows.iter().map(review).collect()
}

/// How many reviews of a filter there are of each kind.
pub(super) async fn counts(pool: &SqlitePool, filter: &ReviewFilter) -> Result<BTreeMap<ReviewKind, u64>> {
    let mut query =
        QueryBuilder::<Sqlite>::new("SELECT r.kind, count(*) AS n FROM reviews r JOIN pairs p ON p.id = r.pair");
    narrow(&mut query, filter);
    let rows = query.push(" GROUP BY r.kind").build().fetch_all(pool).await.map_err(failed)?;
    rows.iter().map(count).collect()
}

fn count(row: &SqliteRow) -> Result<(ReviewKind, u64)> {
    let kind = ReviewKind::of(row.get("kind")).ok_or_else(|| damaged("a review of an unknown kind"))?;
    Ok((kind, u64::try_from(row.get::<i64, _>("n")).unwrap_or_default()))
}

fn narrow(query: &mut QueryBuilder<Sqlite>, filter: &ReviewFilter) {
    query.push(" WHERE r.id > ").push_bind(filter.after.unwrap_or_default());
    let kind = filter.kind.map(|kind| kind.name().to_owned());
    let wanted = [("p.name", &filter.pair), ("r.kind", &kind), ("r.code", &filter.code), ("r.field", &filter.field)];
    for (column, value) in wanted {
        if let Some(value) = value {
            query.push(format!(" AND {column} = ")).push_bind(value.clone());
        }
    }
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

/// Files a finding; one about the same record is renewed, and counts the change that led to it. One about its counterpart goes.
pub(super) async fn file(connection: &mut SqliteConnection, (pair, plugin_set): Ids, finding: &Finding) -> Written {
    if let Some(other) = &finding.other {
        let text = "DELETE FROM reviews WHERE pair = ? AND side = ? AND key = ? RETURNING id";
        let gone = sqlx::query_scalar::<_, i64>(text).bind(pair).bind(finding.end.other().name()).bind(other.encode());
        if let Some(id) = gone.fetch_optional(&mut *connection).await? {
            overtake(connection, id, "another review of its counterpart took its place").await?;
        }
    }
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

/// Takes reviews away that no longer hold, and what was decided about them but not carried out. A few statements for many keys: what a
/// batch costs does not grow with what waits.
pub(super) async fn clear(connection: &mut SqliteConnection, pair: &str, cleared: &[(End, Key)]) -> Written {
    if cleared.is_empty() {
        return Ok(());
    }
    let any: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM reviews JOIN pairs p ON p.id = pair WHERE p.name = ?)")
            .bind(pair)
            .fetch_one(&mut *connection)
            .await?;
    if !any {
        return Ok(());
    }
    for end in [End::Source, End::Target] {
        let keys: Vec<Vec<u8>> = cleared.iter().filter(|(of, _)| *of == end).map(|(_, key)| key.encode()).collect();
        for part in keys.chunks(KEYS_PER_QUERY) {
            let mut query = select_keys(("t.id", "reviews"), pair, "key", part);
            query.push(" AND t.side = ").push_bind(end.name());
            for id in query.build_query_scalar::<i64>().fetch_all(&mut *connection).await? {
                sqlx::query("DELETE FROM reviews WHERE id = ?").bind(id).execute(&mut *connection).await?;
                overtake(connection, id, "the record has gone on without it").await?;
            }
        }
    }
    Ok(())
}

/// Whatever was decided about a review, and not carried out, never will be.
async fn overtake(connection: &mut SqliteConnection, review: i64, why: &str) -> Written {
    sqlx::query("UPDATE decisions SET verdict = ?, message = ? WHERE review = ? AND verdict IS NULL")
        .bind(Verdict::Stale.name())
        .bind(why)
        .bind(review)
        .execute(connection)
        .await
        .map(drop)
}

/// Keeps decisions until they are carried out.
pub(super) async fn decide(connection: &mut SqliteConnection, decisions: &[Decision]) -> Result<Vec<Option<i64>>> {
    let mut ids = Vec::with_capacity(decisions.len());
    for decision in decisions {
        overtake(connection, decision.review, "a later decision took its place").await.map_err(failed)?;
        let id = sqlx::query_scalar(
            "INSERT INTO decisions (pair, review, version, ruling, actor, at)
             SELECT pair, id, ?, ?, ?, ? FROM reviews WHERE id = ? RETURNING id",
        )
        .bind(&decision.version)
        .bind(serde_json::to_string(&decision.ruling).map_err(damaged)?)
        .bind(&decision.actor)
        .bind(decision.at)
        .bind(decision.review)
        .fetch_optional(&mut *connection)
        .await
        .map_err(failed)?;
        ids.push(id);
    }
    Ok(ids)
}

/// Decisions that wait, with their reviews.
pub(super) async fn decisions(pool: &SqlitePool, pair: &str, max: usize) -> Result<Vec<(Decision, Review)>> {
    let rows = sqlx::query(
        "SELECT r.*, p.name AS pair_name, w.parent, w.side AS parent_side, w.key AS parent_key, d.id AS decision, d.review, d.version AS decided, d.ruling, d.actor, d.at AS decided_at
         FROM decisions d JOIN reviews r ON r.id = d.review JOIN pairs p ON p.id = d.pair LEFT JOIN waiting w ON w.review = r.id
         WHERE p.name = ? AND d.verdict IS NULL ORDER BY r.side, r.key LIMIT ?",
    )
    .bind(pair)
    .bind(i64::try_from(max).unwrap_or(i64::MAX))
    .fetch_all(pool)
    .await
    .map_err(failed)?;
    rows.iter().map(|row| Ok((decision(row)?, review(row)?))).collect()
}

fn decision(row: &SqliteRow) -> Result<Decision> {
    Ok(Decision {
        id: row.get("decision"),
        review: row.get("review"),
        version: row.get("decided"),
        ruling: serde_json::from_str(row.get("ruling")).map_err(damaged)?,
        actor: row.get("actor"),
        at: row.get("decided_at"),
    })
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

/// What became of decisions, by their numbers.
pub(super) async fn verdicts(pool: &SqlitePool, ids: &[i64]) -> Result<Vec<Option<Outcome>>> {
    let mut outcomes = Vec::with_capacity(ids.len());
    for id in ids {
        let row = sqlx::query("SELECT verdict, message FROM decisions WHERE id = ?").bind(id).fetch_optional(pool);
        outcomes.push(row.await.map_err(failed)?.as_ref().and_then(outcome));
    }
    Ok(outcomes)
}

fn outcome(row: &SqliteRow) -> Option<Outcome> {
    let name: Option<String> = row.get("verdict");
    let verdict = Verdict::ALL.into_iter().find(|verdict| Some(verdict.name()) == name.as_deref())?;
    Some((verdict, row.get("message")))
}

/// Every decision about a review.
pub(super) async fn about(pool: &SqlitePool, review: i64) -> Result<Vec<(Decision, Option<Outcome>)>> {
    let rows = sqlx::query(
        "SELECT id AS decision, review, version AS decided, ruling, actor, at AS decided_at, verdict, message
         FROM decisions WHERE review = ? ORDER BY id",
    )
    .bind(review)
    .fetch_all(pool)
    .await
    .map_err(failed)?;
    rows.iter().map(|row| Ok((decision(row)?, outcome(row)))).collect()
}
