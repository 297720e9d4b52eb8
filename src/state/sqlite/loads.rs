//! How far loads have come (layer 4).

use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqlitePool};

use super::{damaged, end_of, failed};
use crate::change::End;
use crate::error::Result;
use crate::record::{DecodeError, Key, KeyRange, decode_values, encode_values};
use crate::state::LoadProgress;
use crate::value::Value;

/// What a pair's row says of a load that was begun.
pub(super) fn progress(row: &SqliteRow) -> Result<Option<LoadProgress>> {
    let Some(mapping) = row.get("load_mapping") else { return Ok(None) };
    let ranges = row.get::<Option<&[u8]>, _>("load_ranges").map(decode).transpose().map_err(damaged)?;
    let side = row.get::<Option<&str>, _>("load_side").map(end_of);
    Ok(Some(LoadProgress { mapping, had_links: row.get("load_had_links"), side, ranges: ranges.unwrap_or_default() }))
}

/// See `StateStore::keep_load`.
pub(super) async fn keep(pool: &SqlitePool, pair: &str, progress: &LoadProgress) -> Result<()> {
    sqlx::query("UPDATE pairs SET load_mapping = ?, load_had_links = ?, load_side = ?, load_ranges = ? WHERE name = ?")
        .bind(&progress.mapping)
        .bind(progress.had_links)
        .bind(progress.side.map(End::name))
        .bind(encode(&progress.ranges))
        .bind(pair)
        .execute(pool)
        .await
        .map(drop)
        .map_err(failed)
}

/// The ends of ranges, one after the other: the bytes of a key, or an absent value.
fn encode(ranges: &[KeyRange]) -> Vec<u8> {
    let ends = ranges.iter().flat_map(|range| [&range.after, &range.until]);
    let ends: Vec<Option<Value>> = ends.map(|end| end.as_ref().map(|key| Value::Bytes(key.encode()))).collect();
    encode_values(&ends)
}

fn decode(bytes: &[u8]) -> std::result::Result<Vec<KeyRange>, DecodeError> {
    let end = |value: Option<Value>| match value {
        Some(Value::Bytes(bytes)) => Key::decode(&bytes).map(Some),
        Some(_) => Err(DecodeError),
        None => Ok(None),
    };
    let ends: Vec<Option<Key>> = decode_values(bytes)?.into_iter().map(end).collect::<std::result::Result<_, _>>()?;
    let (pairs, []) = ends.as_chunks() else { return Err(DecodeError) };
    Ok(pairs.iter().cloned().map(|[after, until]| KeyRange { after, until }).collect())
}
