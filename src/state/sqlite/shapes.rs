//! What the tables of a pair looked like when it was last in use (layer 4): text that its worker reads, beside the state's own names.

use sqlx::SqlitePool;

use super::failed;
use crate::error::Result;

fn name(pair: &str) -> String {
    format!("shape {pair}")
}

/// What was kept last.
pub(super) async fn shape(pool: &SqlitePool, pair: &str) -> Result<Option<String>> {
    let kept = sqlx::query_scalar("SELECT value FROM meta WHERE name = ?").bind(name(pair));
    kept.fetch_optional(pool).await.map_err(failed)
}

/// Keeps it.
pub(super) async fn keep(pool: &SqlitePool, pair: &str, text: &str) -> Result<()> {
    let keeping = "INSERT INTO meta (name, value) VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2";
    sqlx::query(keeping).bind(name(pair)).bind(text).execute(pool).await.map(drop).map_err(failed)
}

/// Forgets it: a person takes the tables as they are. Where the type of a column held the pair (`"held":true`, which no name can look like
/// in JSON), both sides are compared in full.
pub(super) async fn forget(pool: &SqlitePool, pair: &str) -> Result<()> {
    let comparing = "UPDATE pairs SET resync = 1 WHERE name = ?1
                     AND (SELECT instr(value, '\"held\":true') FROM meta WHERE name = ?2) > 0";
    sqlx::query(comparing).bind(pair).bind(name(pair)).execute(pool).await.map_err(failed)?;
    let forgetting = sqlx::query("DELETE FROM meta WHERE name = ?").bind(name(pair));
    forgetting.execute(pool).await.map(drop).map_err(failed)
}
