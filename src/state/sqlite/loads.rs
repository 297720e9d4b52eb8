//! How far loads have come (layer 4).

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqlitePool};

use super::{damaged, end_of, failed};
use crate::change::End;
use crate::error::Result;
use crate::record::Key;
use crate::state::LoadProgress;

/// What a pair's row says of a load that was begun.
pub(super) fn progress(row: &SqliteRow) -> Result<Option<LoadProgress>> {
    let Some(mapping) = row.get("load_mapping") else { return Ok(None) };
    let after = row.get::<Option<&[u8]>, _>("load_after").map(Key::decode).transpose().map_err(damaged)?;
    let side = row.get::<Option<&str>, _>("load_side").map(end_of);
    Ok(Some(LoadProgress { mapping, had_links: row.get("load_had_links"), side, after }))
}

/// See `StateStore::keep_load`.
pub(super) async fn keep(pool: &SqlitePool, pair: &str, progress: &LoadProgress) -> Result<()> {
    sqlx::query("UPDATE pairs SET load_mapping = ?, load_had_links = ?, load_side = ?, load_after = ? WHERE name = ?")
        .bind(&progress.mapping)
        .bind(progress.had_links)
        .bind(progress.side.map(End::name))
        .bind(progress.after.as_ref().map(Key::encode))
        .bind(pair)
        .execute(pool)
        .await
        .map(drop)
        .map_err(failed)
}
