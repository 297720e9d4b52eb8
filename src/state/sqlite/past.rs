//! What was written and settled, read for `explain`.

use std::collections::HashSet;

use async_trait::async_trait;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

use super::super::history::about;
use super::super::{Conflict, ConflictKind, End, Ends, Past, RecordedConflict, Resolver, Winner, WrittenBatch};
use super::{SqliteState, damaged, end_of, failed};
use crate::error::Result;
use crate::record::{Key, Layout, decode_values};
use crate::value::Value;

/// Batches read at a time: a blob of a large load has some 100 kB.
const BATCHES_PER_PAGE: i64 = 64;

#[async_trait]
impl Past for SqliteState {
    async fn writes(&self, pair: &str, keys: &Ends<HashSet<Vec<u8>>>) -> Result<Vec<WrittenBatch>> {
        let wanted = |of: Ends<&[u8]>| keys.source.contains(of.source) || keys.target.contains(of.target);
        let (mut batches, mut before) = (Vec::new(), i64::MAX);
        loop {
            // A page at a time: no reader holds up the log's truncation, nor a connection while layouts are read.
            let rows = self.page(pair, before).await?;
            let Some(last) = rows.last() else { break };
            before = last.get("id");
            for row in &rows {
                let layouts = Ends {
                    source: self.known_layout(row.get("source_layout")).await?,
                    target: self.known_layout(row.get("target_layout")).await?,
                };
                let writes = about(row.get("writes"), &layouts, wanted).map_err(damaged)?;
                if !writes.is_empty() {
                    let plugins: Option<&str> = row.get("plugins");
                    batches.push(WrittenBatch {
                        at: row.get("at"),
                        end: end_of(row.get("side")),
                        position: row.get("position"),
                        plugins: plugins.map_or(Ok(serde_json::json!({})), serde_json::from_str).map_err(damaged)?,
                        writes,
                    });
                }
            }
        }
        Ok(batches)
    }

    async fn conflicts(&self, pair: &str, keys: &Ends<HashSet<Vec<u8>>>) -> Result<Vec<RecordedConflict>> {
        // Found by the source's key, which has an index; by the target's where only that is known.
        let mut found = std::collections::BTreeMap::new();
        for end in [End::Source, End::Target] {
            for key in keys.get(end) {
                let text = format!(
                    "SELECT * FROM conflicts WHERE pair = (SELECT id FROM pairs WHERE name = ?) AND {}_key = ?",
                    end.name()
                );
                let rows = sqlx::query(sqlx::AssertSqlSafe(text)).bind(pair).bind(key);
                for row in rows.fetch_all(&self.pool).await.map_err(failed)? {
                    found.insert(row.get::<i64, _>("id"), conflict(&row)?);
                }
            }
        }
        Ok(found.into_values().rev().collect())
    }

    async fn reviews_about(&self, pair: &str, keys: &Ends<HashSet<Vec<u8>>>) -> Result<Vec<i64>> {
        let mut found = std::collections::BTreeSet::new();
        for end in [End::Source, End::Target] {
            for key in keys.get(end) {
                for (column, side) in [("key", end), ("other_key", end.other())] {
                    let text = format!(
                        "SELECT id FROM reviews WHERE pair = (SELECT id FROM pairs WHERE name = ?) AND side = ? AND {column} = ?"
                    );
                    let ids =
                        sqlx::query_scalar::<_, i64>(sqlx::AssertSqlSafe(text)).bind(pair).bind(side.name()).bind(key);
                    found.extend(ids.fetch_all(&self.pool).await.map_err(failed)?);
                }
            }
        }
        Ok(found.into_iter().collect())
    }
}

impl SqliteState {
    /// Batches of a pair that wrote something, before that number, newest first.
    async fn page(&self, pair: &str, before: i64) -> Result<Vec<SqliteRow>> {
        sqlx::query(
            "SELECT id, at, side, position, writes, source_layout, target_layout,
                    (SELECT plugins FROM plugin_sets WHERE id = plugin_set) AS plugins
             FROM batches WHERE pair = (SELECT id FROM pairs WHERE name = ?) AND id < ? AND writes IS NOT NULL
             ORDER BY id DESC LIMIT ?",
        )
        .bind(pair)
        .bind(before)
        .bind(BATCHES_PER_PAGE)
        .fetch_all(&self.pool)
        .await
        .map_err(failed)
    }

    async fn known_layout(&self, id: Option<i64>) -> Result<Option<Layout>> {
        match id {
            Some(id) => self.layout(id).await.map(Some),
            None => Ok(None),
        }
    }
}

fn conflict(row: &SqliteRow) -> Result<RecordedConflict> {
    let key = |column| Key::decode(row.get::<&[u8], _>(column)).map_err(damaged);
    let resolver = row.get::<Option<String>, _>("resolver");
    let conflict = Conflict {
        keys: Ends { source: key("source_key")?, target: key("target_key")? },
        kind: kind_of(row.get("kind")),
        field: row.get("field"),
        base: value(row.get("base"))?,
        values: Ends { source: value(row.get("source_value"))?, target: value(row.get("target_value"))? },
        winner: winner_of(row.get("winner")),
        rule: row.get("rule"),
        resolver: resolver.map(|name| Resolver {
            name,
            digest: row.get("digest"),
            reason: row.get::<Option<String>, _>("reason").unwrap_or_default(),
        }),
        at: row.get("at"),
    };
    Ok(RecordedConflict { conflict, settled: row.get("settled") })
}

fn value(bytes: Option<&[u8]>) -> Result<Option<Value>> {
    let Some(bytes) = bytes else { return Ok(None) };
    Ok(decode_values(bytes).map_err(damaged)?.into_iter().next().flatten())
}

fn kind_of(name: &str) -> ConflictKind {
    let all = [ConflictKind::UpdateUpdate, ConflictKind::UpdateDelete, ConflictKind::InsertInsert];
    all.into_iter().find(|kind| kind.name() == name).unwrap_or(ConflictKind::UpdateUpdate)
}

fn winner_of(name: &str) -> Winner {
    let all = [Winner::Source, Winner::Target, Winner::Base, Winner::Merged];
    all.into_iter().find(|winner| winner.name() == name).unwrap_or(Winner::Merged)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::record::layout;
    use crate::state::{Commit, Counts, StateStore, WriteOp, Writing};

    /// A batch that updated one field of record 1 at the target.
    fn batch() -> Commit {
        let key = Key(vec![Value::Int(1)]);
        let mut commit =
            Commit { end: Some(End::Source), counts: Counts { read: 1, ..Counts::default() }, ..Commit::default() };
        commit.history.push(Writing {
            op: WriteOp::Update,
            end: End::Target,
            keys: Ends { source: Some(&key), target: Some(&key) },
            changed_at: Some(5),
            fields: Some((&layout(["a", "b"]), &[false, true])),
        });
        commit
    }

    fn one() -> Ends<HashSet<Vec<u8>>> {
        Ends::from_fn(|_| HashSet::from([Key(vec![Value::Int(1)]).encode()]))
    }

    #[tokio::test]
    async fn writes_are_kept_until_they_are_too_old() {
        let state = SqliteState::open("sqlite://:memory:", true).await.unwrap();
        for _ in 0..3 {
            state.commit("pair", &batch()).await.unwrap();
        }
        let kept = state.writes("pair", &one()).await.unwrap();
        assert_eq!(kept.len(), 3);
        assert_eq!(
            (kept[0].writes[0].fields.as_slice(), kept[0].writes[0].changed_at),
            (["b".to_owned()].as_slice(), Some(5))
        );
        assert!(kept[0].at >= kept[2].at, "newest first");
        assert!(state.writes("other", &one()).await.unwrap().is_empty());

        let state = state.keeping(Duration::ZERO);
        state.commit("pair", &batch()).await.unwrap();
        assert_eq!(state.writes("pair", &one()).await.unwrap().len(), 1, "only what is not older than the commit");
    }
}
