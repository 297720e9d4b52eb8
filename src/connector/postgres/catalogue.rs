//! Reads the catalogue (layer 4): endpoint → [`Table`].

use sqlx::postgres::PgRow;
use sqlx::{PgConnection, Row};

use super::errors::{Place, Sql};
use super::options::Server;
use super::table::{Compare, PgColumn, Table};
use super::values;
use crate::config::Endpoint;
use crate::connector::{Column, Keeps, view};
use crate::error::{ErrorKind, Result, SyncError};

/// Near names that a message lists at most.
const NEAR_NAMES: usize = 3;
/// Names less alike than this are not worth a mention.
const NEAR_ENOUGH: f64 = 0.7;

/// The tables that a name can mean, best first: as it stands, then as `schema.table`, with or without quotes.
fn candidates(schema: &str, collection: &str) -> Vec<(String, String)> {
    let mut found = vec![(schema.to_owned(), collection.to_owned())];
    match split_name(collection).as_deref() {
        Some([table]) => found.push((schema.to_owned(), table.clone())),
        Some([schema, table]) => found.push((schema.clone(), table.clone())),
        _ => {}
    }
    found
}

/// Cuts `a."b.c"` at the dots outside quotes; `None` where the quotes do not match.
pub(super) fn split_name(text: &str) -> Option<Vec<String>> {
    let (mut parts, mut part, mut quoted) = (Vec::new(), String::new(), false);
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '"' if quoted && letters.peek() == Some(&'"') => {
                letters.next();
                part.push('"');
            }
            '"' => quoted = !quoted,
            '.' if !quoted => parts.push(std::mem::take(&mut part)),
            _ => part.push(letter),
        }
    }
    parts.push(part);
    (!quoted && parts.iter().all(|part| !part.is_empty())).then_some(parts)
}

/// Describes the endpoint's table.
pub(super) async fn describe(connection: &mut PgConnection, server: &Server, endpoint: &Endpoint) -> Result<Table> {
    let place = &server.place;
    let (oid, schema, name, view) = locate(connection, server, &endpoint.collection).await?;
    let place = Place { server: place.server.clone(), table: Some(format!("{schema}.{name}")) };
    let failed = |error| place.failed("reading the catalogue", error);
    let mut columns = columns(connection, oid).await.map_err(failed)?;
    if view {
        let key =
            view::keyed_by(columns.iter_mut().map(|column| &mut column.column), &endpoint.key).map_err(|why| {
                place.error(ErrorKind::SchemaMismatch, "postgres.no_key", format_args!("{schema}.{name} {why}"))
            })?;
        return Ok(Table { schema, name, columns, unique: vec![key.clone()], key, view });
    }
    let keys = keys(connection, oid).await.map_err(failed)?;
    let not_null = |fields: &[String]| {
        fields.iter().all(|field| columns.iter().any(|column| column.name() == field && !column.column.nullable))
    };
    let key = keys.iter().find(|key| key.primary || not_null(&key.fields)).map(|key| key.fields.clone()).ok_or_else(
        || {
            place.error(
                ErrorKind::SchemaMismatch,
                "postgres.no_key",
                "the table has neither a primary key nor a unique constraint over not-null columns; \
             add one, e.g. ALTER TABLE … ADD PRIMARY KEY (…)",
            )
        },
    )?;
    let unique = keys.into_iter().filter(|key| key.immediate).map(|key| key.fields).collect();
    Ok(Table { schema, name, columns, key, unique, view })
}

/// Number, schema and name, and whether it is read only: a view, a materialized view, or a table of another server.
async fn locate(
    connection: &mut PgConnection,
    server: &Server,
    collection: &str,
) -> Result<(i64, String, String, bool)> {
    let place = &server.place;
    let wanted = candidates(&server.schema, collection);
    let (schemas, names): (Vec<&str>, Vec<&str>) =
        wanted.iter().map(|(schema, name)| (schema.as_str(), name.as_str())).unzip();
    let found = sqlx::query(
        "SELECT c.oid::bigint, n.nspname::text, c.relname::text, c.relkind::text \
         FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS w(schema, name, rank) \
         JOIN pg_namespace n ON n.nspname = w.schema JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = w.name \
         WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') ORDER BY w.rank LIMIT 1",
    )
    .bind(schemas)
    .bind(names)
    .fetch_optional(&mut *connection)
    .await
    .map_err(|error| place.failed("looking for the table", error))?;
    let Some(row) = found else { return Err(missing(connection, server, collection).await) };
    let read = || -> Sql<(i64, String, String, String)> {
        Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?))
    };
    let (oid, schema, name, relation) = read().map_err(|error| place.failed("looking for the table", error))?;
    Ok((oid, schema, name, !matches!(relation.as_str(), "r" | "p")))
}

async fn missing(connection: &mut PgConnection, server: &Server, collection: &str) -> SyncError {
    let place = &server.place;
    let names: Vec<(String, String)> = match sqlx::query_as(
        "SELECT n.nspname::text, c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE c.relkind IN ('r', 'p') AND n.nspname <> 'information_schema' AND n.nspname NOT LIKE 'pg\\_%' \
         AND c.relname NOT LIKE 'tidelock\\_%' LIMIT 10000",
    )
    .fetch_all(connection)
    .await
    {
        Ok(names) => names,
        Err(error) => return place.failed("looking for the table", error),
    };
    let text = format!("there is no table {collection} (schema {})", server.schema);
    let near = near_names(&server.schema, collection, &names);
    let text = if near.is_empty() { text } else { format!("{text}; did you mean {}?", near.join(" or ")) };
    place.error(ErrorKind::SchemaMismatch, "postgres.no_table", text)
}

fn near_names(schema: &str, collection: &str, names: &[(String, String)]) -> Vec<String> {
    let bare = split_name(collection)
        .and_then(|mut parts| parts.pop())
        .unwrap_or_else(|| collection.to_owned())
        .to_lowercase();
    let mut near: Vec<(f64, String)> = names
        .iter()
        .map(|(of, name)| {
            let shown = if of == schema { name.clone() } else { format!("{of}.{name}") };
            (strsim::jaro_winkler(&bare, &name.to_lowercase()), shown)
        })
        .filter(|(likeness, _)| *likeness >= NEAR_ENOUGH)
        .collect();
    near.sort_by(|a, b| b.0.total_cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
    near.into_iter().take(NEAR_NAMES).map(|(_, name)| name).collect()
}

const COLUMNS: &str = "WITH RECURSIVE base AS ( \
       SELECT t.oid AS declared, t.oid, t.typtype, t.typbasetype, t.typtypmod, t.typnotnull, t.typdefault IS NOT NULL AS has_default FROM pg_type t \
       WHERE t.oid IN (SELECT atttypid FROM pg_attribute WHERE attrelid = $1::bigint::oid) \
     UNION ALL \
       SELECT b.declared, t.oid, t.typtype, t.typbasetype, greatest(b.typtypmod, t.typtypmod), b.typnotnull OR t.typnotnull, b.has_default OR t.typdefault IS NOT NULL \
       FROM base b JOIN pg_type t ON t.oid = b.typbasetype WHERE b.typtype = 'd') \
     SELECT a.attname::text AS name, format_type(a.atttypid, a.atttypmod) AS native, format_type(t.oid, -1) AS cast_type, \
       format_type(t.oid, greatest(a.atttypmod, b.typtypmod)) AS base_type, \
       n.nspname::text AS type_schema, t.typname::text AS type_name, \
       NOT (a.attnotnull OR b.typnotnull) AS nullable, \
       a.atthasdef OR a.attidentity <> '' OR b.has_default AS has_default, \
       a.attgenerated <> '' AS generated, a.attidentity = 'a' AS identity_always, \
       coalesce(c.collisdeterministic, true) AS deterministic, \
       CASE WHEN a.attidentity = '' THEN pg_get_expr(d.adbin, d.adrelid) \
         WHEN has_sequence_privilege(q.sequence, 'USAGE') THEN format('nextval(%L::regclass)', q.sequence) END AS default_expression \
     FROM pg_attribute a JOIN base b ON b.declared = a.atttypid AND b.typtype <> 'd' \
     JOIN pg_type t ON t.oid = b.oid JOIN pg_namespace n ON n.oid = t.typnamespace \
     LEFT JOIN pg_collation c ON c.oid = a.attcollation \
     LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
     CROSS JOIN LATERAL (SELECT CASE WHEN a.attidentity <> '' THEN pg_get_serial_sequence(a.attrelid::regclass::text, a.attname) END) q (sequence) \
     WHERE a.attrelid = $1::bigint::oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";

async fn columns(connection: &mut PgConnection, oid: i64) -> Sql<Vec<PgColumn>> {
    sqlx::query(COLUMNS).bind(oid).fetch_all(connection).await?.iter().map(column).collect()
}

fn column(row: &PgRow) -> Sql<PgColumn> {
    let (type_schema, type_name): (String, String) = (row.try_get("type_schema")?, row.try_get("type_name")?);
    let kind = values::kind_of(&type_schema, &type_name);
    let built_in = if type_schema == "pg_catalog" { type_name } else { String::new() };
    let exact = match built_in.as_str() {
        "bool" | "int2" | "int4" | "int8" | "float4" | "float8" | "numeric" | "bytea" | "date" | "time"
        | "timestamptz" | "timestamp" | "jsonb" | "uuid" => true,
        "text" | "varchar" | "bpchar" => row.try_get("deterministic")?,
        _ => false,
    };
    let generated: bool = row.try_get("generated")?;
    let base: String = row.try_get("base_type")?;
    let digits = digits(&base);
    let length = digits.filter(|_| built_in == "varchar").and_then(|(length, _)| usize::try_from(length).ok());
    let keeps = Keeps {
        second_digits: digits.filter(|_| built_in.starts_with("time")).map(|(digits, _)| digits),
        rounded_to: digits.filter(|_| built_in == "numeric").map(|(_, scale)| scale),
        single: built_in == "float4",
        no_blanks_at_end: built_in == "bpchar",
        filled_to: None,
        json_by_meaning: built_in == "jsonb",
        bits: matches!(built_in.as_str(), "bit" | "varbit"),
        anything: false,
        set: false,
    };
    Ok(PgColumn {
        column: Column {
            name: row.try_get("name")?,
            kind,
            native_type: row.try_get("native")?,
            nullable: row.try_get("nullable")?,
            has_default: row.try_get::<bool, _>("has_default")? && !generated,
            writable: !generated,
            keeps,
        },
        cast: row.try_get("cast_type")?,
        built_in,
        compare: if exact { Compare::Native } else { Compare::Text },
        length,
        identity_always: row.try_get("identity_always")?,
        default: row.try_get::<Option<String>, _>("default_expression")?.filter(|_| !generated),
    })
}

/// The numbers of a type: `numeric(10,2)` → 10 and 2, `timestamp(3) without time zone` → 3 and 0. A negative scale rounds to tens: as 0.
fn digits(native: &str) -> Option<(u32, u32)> {
    let (inside, _) = native.split_once('(')?.1.split_once(')')?;
    let (first, second) = inside.split_once(',').unwrap_or((inside, "0"));
    Some((first.trim().parse().ok()?, second.trim().parse().unwrap_or(0)))
}

struct UniqueKey {
    fields: Vec<String>,
    primary: bool,
    immediate: bool,
}

/// Unique indexes over plain columns of the whole table, the primary key first, then the shortest.
async fn keys(connection: &mut PgConnection, oid: i64) -> Sql<Vec<UniqueKey>> {
    let rows = sqlx::query(
        "SELECT i.indisprimary, i.indimmediate, ARRAY(SELECT a.attname::text FROM unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, rank) \
           JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum WHERE k.rank <= i.indnkeyatts ORDER BY k.rank) AS fields \
         FROM pg_index i WHERE i.indrelid = $1::bigint::oid AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL \
         ORDER BY i.indisprimary DESC, i.indnkeyatts, i.indexrelid",
    )
    .bind(oid)
    .fetch_all(connection)
    .await?;
    rows.iter()
        .map(|row| Ok(UniqueKey { primary: row.try_get(0)?, immediate: row.try_get(1)?, fields: row.try_get(2)? }))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_tell_their_numbers() {
        assert_eq!(digits("numeric(10,2)"), Some((10, 2)));
        assert_eq!(digits("timestamp(3) without time zone"), Some((3, 0)));
        assert_eq!(digits("numeric"), None);
    }

    #[test]
    fn names_are_taken_as_they_stand_then_cut_at_dots() {
        let pair = |schema: &str, table: &str| (schema.to_owned(), table.to_owned());
        assert_eq!(candidates("public", "a.b"), [pair("public", "a.b"), pair("a", "b")]);
        assert_eq!(candidates("public", "\"My.Table\""), [pair("public", "\"My.Table\""), pair("public", "My.Table")]);
        assert_eq!(candidates("public", "s.\"T\"\"x\""), [pair("public", "s.\"T\"\"x\""), pair("s", "T\"x")]);
        assert_eq!(candidates("public", "a..b").len(), 1);
    }

    #[test]
    fn near_names_name_their_schema_where_it_is_another() {
        let names = [
            ("public".to_owned(), "Customers".to_owned()),
            ("sales".to_owned(), "customer".to_owned()),
            ("public".to_owned(), "zebra".to_owned()),
        ];
        assert_eq!(near_names("public", "custmers", &names), ["Customers", "sales.customer"]);
    }
}
