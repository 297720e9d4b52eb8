//! Comparisons of some records that people have asked for.

use async_trait::async_trait;
use sqlx::Row;

use super::super::{AskedResync, Resyncs};
use super::{SqliteState, commit, failed};
use crate::error::Result;
use crate::telemetry::clock;

/// What was answered is kept for so long: microseconds.
const KEPT: i64 = 24 * 60 * 60 * 1_000_000;

#[async_trait]
impl Resyncs for SqliteState {
    async fn ask_resync(&self, pair: &str, request: &str) -> Result<i64> {
        let _turn = self.committing.lock().await;
        let mut transaction = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
        let now = clock::now_micros();
        let pair = commit::pair_id(&mut transaction, pair).await.map_err(failed)?;
        let forget = "DELETE FROM resyncs WHERE outcome IS NOT NULL AND at < ?";
        sqlx::query(forget).bind(now.saturating_sub(KEPT)).execute(&mut *transaction).await.map_err(failed)?;
        let insert = "INSERT INTO resyncs (pair, request, at) VALUES (?, ?, ?) RETURNING id";
        let asked = sqlx::query_scalar(insert).bind(pair).bind(request).bind(now);
        let id = asked.fetch_one(&mut *transaction).await.map_err(failed)?;
        transaction.commit().await.map_err(failed)?;
        Ok(id)
    }

    async fn asked_resync(&self, pair: &str) -> Result<Option<AskedResync>> {
        let text =
            "SELECT id, request FROM resyncs WHERE outcome IS NULL AND pair = (SELECT id FROM pairs WHERE name = ?)
                    ORDER BY id LIMIT 1";
        let row = sqlx::query(text).bind(pair).fetch_optional(&self.pool).await.map_err(failed)?;
        Ok(row.map(|row| AskedResync { id: row.get("id"), request: row.get("request") }))
    }

    async fn answer_resync(&self, id: i64, outcome: &str) -> Result<()> {
        let _turn = self.committing.lock().await;
        let text = "UPDATE resyncs SET outcome = ?, at = ? WHERE id = ?";
        let answered = sqlx::query(text).bind(outcome).bind(clock::now_micros()).bind(id);
        answered.execute(&self.pool).await.map(drop).map_err(failed)
    }

    async fn resync_outcome(&self, id: i64) -> Result<Option<String>> {
        let text = "SELECT outcome FROM resyncs WHERE id = ?";
        let outcome = sqlx::query_scalar::<_, Option<String>>(text).bind(id).fetch_optional(&self.pool).await;
        Ok(outcome.map_err(failed)?.flatten())
    }
}
