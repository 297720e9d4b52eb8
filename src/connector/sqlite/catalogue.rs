//! Reads the catalogue (layer 4): endpoint → [`Table`].

use sqlx::{Row, SqliteConnection};

use super::affinity::{self, Affinity};
use super::errors::{Place, Sql};
use super::table::{LiteColumn, Table};
use super::values::Codec;
use crate::config::Endpoint;
use crate::connector::{Column, Keeps, view};
use crate::error::{ErrorKind, Result, SyncError};
use crate::value::Kind;

/// Near names that a message lists at most.
const NEAR_NAMES: usize = 3;
/// Names less alike than this are not worth a mention.
const NEAR_ENOUGH: f64 = 0.7;

/// A row of `PRAGMA table_xinfo`.
struct Info {
    name: String,
    declared: String,
    not_null: bool,
    default: bool,
    /// Place in the primary key, from 1; 0 = not in it.
    key: i64,
    generated: bool,
}

/// A unique index.
struct Unique {
    fields: Vec<String>,
    primary: bool,
    /// One of them is compared otherwise than by its bytes.
    folds: bool,
}

/// What `PRAGMA table_list` says.
struct Listed {
    name: String,
    sort: String,
    without_rowid: bool,
    strict: bool,
}

/// Reads what the catalogue says about a table.
///
/// # Errors
/// `SchemaMismatch` where there is no such table, or where it has no key.
pub(super) async fn table(connection: &mut SqliteConnection, place: &Place, endpoint: &Endpoint) -> Result<Table> {
    let collection = endpoint.collection.as_str();
    let failed = || place.failed("reading the catalogue");
    let Some(listed) = listed(connection, collection).await.map_err(failed())? else {
        let names = names(connection).await.map_err(failed())?;
        return Err(missing(place, collection, &names));
    };
    let place = Place { table: Some(listed.name.clone()), ..place.clone() };
    let is_view = listed.sort == "view";
    if listed.sort != "table" && !is_view {
        let message = format!("this is a {} table; tidelock keeps ordinary tables in step", listed.sort);
        return Err(place.error(ErrorKind::SchemaMismatch, "sqlite.not_a_table", message));
    }
    let infos = infos(connection, &listed.name).await.map_err(failed())?;
    let uniques = uniques(connection, &listed.name).await.map_err(failed())?;
    let cascades = cascades(connection, &listed.name).await.map_err(failed())?;
    let mut table = assemble(listed, &infos, &uniques, cascades);
    if is_view {
        table.key = view::keyed_by(table.columns.iter_mut().map(|column| &mut column.column), &endpoint.key)
            .map_err(|why| place.error(ErrorKind::SchemaMismatch, "sqlite.no_key", why))?;
        table.unique = vec![table.key.clone()];
        table.view = true;
    }
    if table.key.is_empty() {
        return Err(place.error(
            ErrorKind::SchemaMismatch,
            "sqlite.no_key",
            "the table has no primary key and no unique constraint on NOT NULL columns, so its records cannot be told apart: add one \
             (CREATE UNIQUE INDEX … ON the columns that identify a record)",
        ));
    }
    Ok(table)
}

async fn listed(connection: &mut SqliteConnection, collection: &str) -> Sql<Option<Listed>> {
    // An exact name first: two names never differ in case only.
    let row = sqlx::query(
        "SELECT name, type, wr, strict FROM pragma_table_list WHERE schema = 'main' AND name = ?1 COLLATE NOCASE AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'",
    )
    .bind(collection.to_owned())
    .fetch_all(connection)
    .await?;
    row.first()
        .map(|row| {
            Ok(Listed {
                name: row.try_get(0)?,
                sort: row.try_get(1)?,
                without_rowid: row.try_get::<i64, _>(2)? != 0,
                strict: row.try_get::<i64, _>(3)? != 0,
            })
        })
        .transpose()
}

async fn names(connection: &mut SqliteConnection) -> Sql<Vec<String>> {
    sqlx::query_scalar(
        "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table' \
         AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' AND name NOT LIKE 'tidelock\\_%' ESCAPE '\\' ORDER BY name",
    )
    .fetch_all(connection)
    .await
}

async fn infos(connection: &mut SqliteConnection, table: &str) -> Sql<Vec<Info>> {
    sqlx::query(
        "SELECT name, type, \"notnull\", dflt_value IS NOT NULL, pk, hidden FROM pragma_table_xinfo(?1, 'main') ORDER BY cid",
    )
    .bind(table.to_owned())
    .fetch_all(connection)
    .await?
    .iter()
    .map(|row| {
        let declared: String = row.try_get(1)?;
        let hidden: i64 = row.try_get(5)?;
        Ok(Info {
            name: row.try_get(0)?,
            // `GENERATED ALWAYS` is part of the type's text for generated columns.
            declared: declared.trim_end_matches("GENERATED ALWAYS").trim().to_owned(),
            not_null: row.try_get::<i64, _>(2)? != 0,
            default: row.try_get::<i64, _>(3)? != 0,
            key: row.try_get(4)?,
            generated: hidden > 1,
        })
    })
    .collect()
}

async fn uniques(connection: &mut SqliteConnection, table: &str) -> Sql<Vec<Unique>> {
    let rows = sqlx::query(
        "SELECT l.name, l.origin, i.name, coalesce(i.coll, 'BINARY') <> 'BINARY' FROM pragma_index_list(?1, 'main') l, pragma_index_xinfo(l.name, 'main') i \
         WHERE l.\"unique\" AND NOT l.partial AND i.key ORDER BY l.seq, i.seqno",
    )
    .bind(table.to_owned())
    .fetch_all(connection)
    .await?;
    let mut found: Vec<(String, bool, Vec<Option<String>>, bool)> = Vec::new();
    for row in rows {
        let (index, origin, field): (String, String, Option<String>) =
            (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let folds = row.try_get::<i64, _>(3)? != 0;
        match found.last_mut().filter(|(name, ..)| *name == index) {
            Some((.., fields, any)) => {
                fields.push(field);
                *any |= folds;
            }
            None => found.push((index, origin == "pk", vec![field], folds)),
        }
    }
    // An index over an expression says nothing about its columns.
    Ok(found
        .into_iter()
        .filter_map(|(_, primary, fields, folds)| {
            Some(Unique { fields: fields.into_iter().collect::<Option<Vec<_>>>()?, primary, folds })
        })
        .collect())
}

async fn cascades(connection: &mut SqliteConnection, table: &str) -> Sql<bool> {
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM pragma_table_list l, pragma_foreign_key_list(l.name, 'main') f \
         WHERE l.schema = 'main' AND l.type = 'table' AND f.\"table\" = ?1 COLLATE NOCASE \
         AND (f.on_delete NOT IN ('NO ACTION', 'RESTRICT') OR f.on_update NOT IN ('NO ACTION', 'RESTRICT')))",
    )
    .bind(table.to_owned())
    .fetch_one(connection)
    .await
}

fn assemble(listed: Listed, infos: &[Info], uniques: &[Unique], cascades: bool) -> Table {
    let mut key: Vec<&Info> = infos.iter().filter(|info| info.key > 0).collect();
    key.sort_by_key(|info| info.key);
    // `INTEGER PRIMARY KEY` is the rowid itself and needs no index: SQLite fills it in where it is left out.
    let rowid = match key.as_slice() {
        [one] if !listed.without_rowid && one.declared.eq_ignore_ascii_case("INTEGER") => {
            !uniques.iter().any(|unique| unique.primary)
        }
        _ => false,
    };
    let key_forbids_null = rowid || listed.without_rowid || listed.strict;
    let columns = infos
        .iter()
        .map(|info| {
            let affinity = Affinity::of(&info.declared, listed.strict);
            let kind = affinity::kind(&info.declared, affinity);
            let in_key = info.key > 0;
            LiteColumn {
                column: Column {
                    name: info.name.clone(),
                    kind,
                    native_type: info.declared.clone(),
                    nullable: !(info.not_null || (in_key && key_forbids_null)),
                    has_default: info.default || info.generated || (in_key && rowid),
                    writable: !info.generated,
                    keeps: Keeps { anything: affinity == Affinity::Blob && kind == Kind::Text, ..Keeps::default() },
                },
                codec: Codec { kind, affinity },
            }
        })
        .collect();
    let mut key: Vec<String> = key.iter().map(|info| info.name.clone()).collect();
    let mut unique: Vec<Vec<String>> = if rowid { vec![key.clone()] } else { Vec::new() };
    unique.extend(uniques.iter().map(|unique| unique.fields.clone()));
    let folding = uniques.iter().filter(|unique| unique.folds).map(|unique| unique.fields.clone()).collect();
    if key.is_empty() {
        let never_null = |name: &String| infos.iter().any(|info| info.name == *name && info.not_null);
        key = unique.iter().find(|set| set.iter().all(never_null)).cloned().unwrap_or_default();
    }
    Table { name: listed.name, columns, key, unique, folding, cascades, view: false }
}

fn missing(place: &Place, collection: &str, names: &[String]) -> SyncError {
    let near = near(collection, names);
    let hint = match (near.is_empty(), names.is_empty()) {
        (false, _) => format!("did you mean {}?", near.join(" or ")),
        (true, true) => "the database has no tables".to_owned(),
        (true, false) => format!("there are {} tables, none of a name like it", names.len()),
    };
    place.error(
        ErrorKind::SchemaMismatch,
        "sqlite.no_table",
        format_args!("there is no table \"{collection}\"; {hint}"),
    )
}

/// The names most like `name`, best first.
pub(super) fn near(name: &str, names: &[String]) -> Vec<String> {
    let mut scored: Vec<(f64, &String)> = names
        .iter()
        .map(|other| (strsim::jaro_winkler(&name.to_lowercase(), &other.to_lowercase()), other))
        .filter(|(score, _)| *score >= NEAR_ENOUGH)
        .collect();
    scored.sort_by(|a, b| b.0.total_cmp(&a.0));
    scored.into_iter().take(NEAR_NAMES).map(|(_, name)| format!("\"{name}\"")).collect()
}
