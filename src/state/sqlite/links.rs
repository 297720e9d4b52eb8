//! Reads links. A query gives all of its links in one row, for a row costs a walk from the thread that reads to ours.

use std::collections::HashMap;

use sqlx::{QueryBuilder, Sqlite};

use super::{KEYS_PER_QUERY, SqliteState, damaged, end_of, failed, select_keys};
use crate::change::{End, Ends};
use crate::error::Result;
use crate::record::{DecodeError, Key, Record, decode_values};
use crate::state::Link;

/// Links `t`, one behind the other: a head with the lengths of keys and bases (-1: there is none), both layouts and which side is gone, then keys and bases. SQLite
/// joins the bytes of texts and blobs as they are.
const LINK: &str = "CAST(group_concat(
    printf('%d %d %d %d %d %d %s;', length(t.source_key), length(t.target_key), ifnull(length(t.source_base), -1),
           ifnull(length(t.target_base), -1), ifnull(t.source_layout, -1), ifnull(t.target_layout, -1), ifnull(t.gone, ''))
    || t.source_key || t.target_key || ifnull(t.source_base, '') || ifnull(t.target_base, ''), '') AS BLOB)";

/// The links of a pair by the keys of an end: one for each key.
pub(super) async fn of(state: &SqliteState, pair: &str, end: End, keys: &[Key]) -> Result<Vec<Option<Link>>> {
    let encoded: Vec<Vec<u8>> = keys.iter().map(Key::encode).collect();
    let column = format!("{}_key", end.name());
    let mut places: HashMap<&[u8], usize> = HashMap::with_capacity(keys.len());
    let mut again: Vec<(usize, usize)> = Vec::new();
    for (place, key) in encoded.iter().enumerate() {
        let first = *places.entry(key).or_insert(place);
        if first < place {
            again.push((place, first));
        }
    }
    let mut links: Vec<Option<Link>> = vec![None; keys.len()];
    for part in encoded.chunks(KEYS_PER_QUERY) {
        let mut query = select_keys((LINK, "links"), pair, &column, part);
        let packed: Option<Vec<u8>> = query.build_query_scalar().fetch_one(&state.pool).await.map_err(failed)?;
        let packed = packed.unwrap_or_default();
        let mut rest = packed.as_slice();
        while !rest.is_empty() {
            let (stored, link) = next(state, &mut rest).await?;
            if let Some(slot) = places.get(stored.get(end)).and_then(|place| links.get_mut(*place)) {
                *slot = Some(link);
            }
        }
    }
    for (place, first) in again {
        let link = links.get(first).cloned().flatten();
        if let Some(slot) = links.get_mut(place) {
            *slot = link;
        }
    }
    Ok(links)
}

/// The first links of a pair behind a key, in the order of the keys of an end.
pub(super) async fn after(
    state: &SqliteState,
    pair: &str,
    end: End,
    after: Option<&Key>,
    max: usize,
) -> Result<Vec<Link>> {
    let column = format!("{}_key", end.name());
    let mut query = QueryBuilder::<Sqlite>::new(format!(
        "SELECT {LINK} FROM (SELECT * FROM links WHERE pair = (SELECT id FROM pairs WHERE name = "
    ));
    query.push_bind(pair).push(format!(") AND source_base IS NOT NULL AND {column} > "));
    query.push_bind(after.map(Key::encode).unwrap_or_default());
    query.push(format!(" ORDER BY {column} LIMIT ")).push_bind(i64::try_from(max).unwrap_or(i64::MAX)).push(") AS t");
    let packed: Option<Vec<u8>> = query.build_query_scalar().fetch_one(&state.pool).await.map_err(failed)?;
    let (packed, mut links) = (packed.unwrap_or_default(), Vec::new());
    let mut rest = packed.as_slice();
    while !rest.is_empty() {
        links.push(next(state, &mut rest).await?.1);
    }
    // In which order rows are joined, nobody promises.
    links.sort_by_cached_key(|link: &Link| link.keys.get(end).encode());
    Ok(links)
}

/// Takes the first link of those that [`LINK`] gives; and its keys as they are stored.
async fn next<'a>(state: &SqliteState, bytes: &mut &'a [u8]) -> Result<(Ends<&'a [u8]>, Link)> {
    let head = bytes.iter().position(|byte| *byte == b';').and_then(|end| take(bytes, end + 1));
    let head = head.and_then(|head| std::str::from_utf8(head).ok()).ok_or_else(|| damaged(DecodeError))?;
    let mut numbers = head.trim_end_matches(';').splitn(7, ' ');
    let mut number = || numbers.next().and_then(|text| text.parse::<i64>().ok()).ok_or_else(|| damaged(DecodeError));
    let (keys, bases) = (Ends { source: number()?, target: number()? }, Ends { source: number()?, target: number()? });
    let layouts = Ends { source: number()?, target: number()? };
    let gone = numbers.next().filter(|gone| !gone.is_empty()).map(end_of);
    let mut part = |length: i64| {
        let length = usize::try_from(length).ok();
        length.and_then(|length| take(bytes, length)).ok_or_else(|| damaged(DecodeError))
    };
    let stored = Ends { source: part(keys.source)?, target: part(keys.target)? };
    let mut base = |length: i64| if length < 0 { Ok(None) } else { part(length).map(Some) };
    let base = match (base(bases.source)?, base(bases.target)?) {
        (Some(source), Some(target)) => Some(Ends {
            source: Record::new(state.layout(layouts.source).await?, decode_values(source).map_err(damaged)?),
            target: Record::new(state.layout(layouts.target).await?, decode_values(target).map_err(damaged)?),
        }),
        _ => None,
    };
    let keys = Ends {
        source: Key::decode(stored.source).map_err(damaged)?,
        target: Key::decode(stored.target).map_err(damaged)?,
    };
    Ok((stored, Link { keys, base, gone }))
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> Option<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(count)?;
    *bytes = rest;
    Some(taken)
}

#[cfg(test)]
mod tests {
    use super::super::{KEYS_PER_QUERY, SqliteState};
    use super::*;

    #[tokio::test]
    async fn links_are_found_by_either_key_without_reading_the_others() {
        let state = SqliteState::open("sqlite://:memory:", true).await.unwrap();
        for column in ["source_key", "target_key"] {
            let keys = vec![Key(vec![crate::value::Value::Int(7)]).encode(); KEYS_PER_QUERY];
            let mut query = select_keys((LINK, "links"), "pair", column, &keys);
            let explained = format!("EXPLAIN QUERY PLAN {}", query.sql().as_str());
            let mut explained = sqlx::query(sqlx::AssertSqlSafe(explained));
            for key in &keys {
                explained = explained.bind(key.clone());
            }
            let rows = explained.bind("pair").fetch_all(&state.pool).await.unwrap();
            let steps: Vec<String> = rows.iter().map(|row| sqlx::Row::get(row, "detail")).collect();
            let search = format!("(pair=? AND {column}=?)");
            assert!(steps.iter().any(|step| step.contains(&search)), "{steps:?}");
            let none: Option<Vec<u8>> = query.build_query_scalar().fetch_one(&state.pool).await.unwrap();
            assert_eq!(none, None);
        }
    }

    #[tokio::test]
    async fn links_come_back_as_they_were_whatever_their_bytes() {
        use crate::state::{Commit, StateStore};
        use crate::value::Value;

        let state = SqliteState::open("sqlite://:memory:", true).await.unwrap();
        let text = |text: &str| Value::Text(text.to_owned());
        let key = |name: &str| Key(vec![text(name)]);
        let record = |id: &str, bytes: &[u8]| Record::of([("id", text(id)), ("bytes", Value::Bytes(bytes.to_vec()))]);
        let link = |a: &str, b: &str, base| Link { keys: Ends { source: key(a), target: key(b) }, base, gone: None };
        let agreed =
            |a: &str, b: &str| Some(Ends { source: record(a, &[0, 255, b';', 0]), target: record(b, b"7 7;\xff") });
        let (odd, plain) = (link("a;0", "b\0", agreed("a;0", "b\0")), link("c", "", agreed("c", "")));
        let (tombstone, marked) =
            (link("d", "e", None), Link { gone: Some(End::Target), ..link("f", "g", agreed("f", "g")) });
        let links = vec![odd.clone(), plain.clone(), tombstone.clone(), marked.clone()];
        state.commit("pair", &Commit { links, ..Commit::default() }).await.unwrap();

        let asked = ["a;0", "none", "f", "d", "a;0"].map(key);
        let found = state.links("pair", End::Source, &asked).await.unwrap();
        assert_eq!(found, [Some(odd.clone()), None, Some(marked.clone()), Some(tombstone), Some(odd.clone())]);
        assert_eq!(state.links("pair", End::Target, &[key("")]).await.unwrap(), [Some(plain.clone())]);
        assert_eq!(state.links("other", End::Source, &asked).await.unwrap(), vec![None; asked.len()]);
        // Short keys come first.
        assert_eq!(state.links_after("pair", End::Source, None, 2).await.unwrap(), [plain, marked]);
        assert_eq!(state.links_after("pair", End::Source, Some(&key("f")), 9).await.unwrap(), [odd]);
    }
}
