//! Creates whose key the server makes (layer 4): one row each, with a token that is kept beside the created key in the same
//! transaction, so that a replay finds the record instead of making another.

use std::collections::HashMap;

use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, PgConnection, Row};

use super::collection::{Collection, Column, matching, query, read, unnest};
use super::errors::Sql;
use super::table::{PgColumn, Table};
use super::values;
use crate::connector::PendingCreate;
use crate::connector::change_log::{list, quote};
use crate::record::{Key, Record};

/// The table of tokens, quoted.
pub(super) fn table(table: &Table) -> String {
    table.beside("tidelock_creates")
}

/// Makes the table of tokens.
pub(super) fn definition(of: &Table) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {} (consumer text NOT NULL, collection text NOT NULL, token text NOT NULL, key text[] NOT NULL, \
         created_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (consumer, collection, token))",
        table(of)
    )
}

/// Drops the tokens of a consumer that leaves.
pub(super) async fn forget_consumer(connection: &mut PgConnection, collection: &Collection) -> Sql<()> {
    let sql = format!("DELETE FROM {} WHERE consumer = $1 AND collection = $2", table(&collection.table));
    let query = sqlx::query(AssertSqlSafe(sql)).bind(&collection.options.consumer).bind(&collection.table.name);
    query.execute(connection).await.map(|_| ())
}

/// Drops the table of tokens where nobody needs it.
pub(super) async fn drop_if_empty(connection: &mut PgConnection, of: &Table) -> Sql<()> {
    let name = table(of);
    let exists = "SELECT to_regclass($1) IS NOT NULL";
    if !sqlx::query_scalar::<_, bool>(exists).bind(&name).fetch_one(&mut *connection).await? {
        return Ok(());
    }
    let empty = format!("SELECT NOT EXISTS (SELECT FROM {name})");
    if sqlx::query_scalar::<_, bool>(AssertSqlSafe(empty)).fetch_one(&mut *connection).await? {
        sqlx::raw_sql(AssertSqlSafe(format!("DROP TABLE {name}"))).execute(connection).await?;
    }
    Ok(())
}

/// What earlier creates with these tokens made: the key, and the record if it is still there.
pub(super) async fn earlier(
    connection: &mut PgConnection,
    collection: &Collection,
    tokens: Vec<&str>,
) -> Sql<HashMap<String, (Key, Option<Record>)>> {
    if tokens.is_empty() {
        return Ok(HashMap::new());
    }
    let width = collection.key.len();
    let keys = list((1..=width).map(|index| format!("c.key[{index}] AS c{}", index - 1)));
    let sql = format!(
        "SELECT u.token, t.{first} IS NOT NULL, {parts}, {texts} FROM (SELECT c.token, {keys} FROM {creates} c \
           WHERE c.consumer = $1 AND c.collection = $2 AND c.token = ANY($3::text[])) u \
         LEFT JOIN {table} AS t ON {matching}",
        // A field of the key is null only where there is no record.
        first = collection.key.first().map_or_else(String::new, |column| quote(column.name())),
        parts = list((0..width).map(|index| format!("u.c{index}"))),
        texts = collection.texts("t"),
        creates = table(&collection.table),
        table = collection.table.quoted(),
        matching = matching(&collection.key),
    );
    let query =
        sqlx::query(AssertSqlSafe(sql)).bind(&collection.options.consumer).bind(&collection.table.name).bind(tokens);
    let made = |row: &PgRow| {
        let there = row.try_get::<bool, _>(1)?.then(|| collection.record(row, 2 + width)).transpose()?;
        Ok((row.try_get(0)?, (Key(read(row, 2, &collection.key)?), there)))
    };
    query.fetch_all(connection).await?.iter().map(made).collect()
}

/// Inserts one record; `None` where one with the same unique values exists.
pub(super) async fn insert(
    connection: &mut PgConnection,
    collection: &Collection,
    record: &Record,
    token: Option<&str>,
) -> Sql<Option<Record>> {
    let fields: Vec<(&PgColumn, Option<_>)> = record
        .iter()
        .filter_map(|(name, value)| Some((collection.table.column(name)?, values::input(value))))
        .collect();
    let new = inserting(collection, &fields.iter().map(|(column, _)| *column).collect::<Vec<_>>());
    let count = fields.len();
    let kept = format!(
        ", kept AS (INSERT INTO {creates} (consumer, collection, token, key) \
           SELECT ${}, ${}, ${}, ARRAY[{keys}] FROM new t \
           ON CONFLICT (consumer, collection, token) DO UPDATE SET key = excluded.key)",
        count + 1,
        count + 2,
        count + 3,
        creates = table(&collection.table),
        keys = list(collection.key.iter().map(|column| column.text("t"))),
    );
    let kept = if token.is_some() { kept } else { String::new() };
    let sql = format!("WITH new AS ({new} RETURNING *){kept} SELECT {} FROM new t", collection.texts("t"));
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for (_, value) in fields {
        query = query.bind(value);
    }
    if let Some(token) = token {
        query = query.bind(&collection.options.consumer).bind(&collection.table.name).bind(token);
    }
    let row = query.fetch_optional(connection).await?;
    row.as_ref().map(|row| collection.record(row, 0)).transpose()
}

fn inserting(collection: &Collection, columns: &[&PgColumn]) -> String {
    let table = collection.table.quoted();
    if columns.is_empty() {
        return format!("INSERT INTO {table} DEFAULT VALUES ON CONFLICT DO NOTHING");
    }
    let names = list(columns.iter().map(|column| quote(column.name())));
    let values = list(columns.iter().enumerate().map(|(index, column)| column.cast(&format!("${}::text", index + 1))));
    let overriding = overriding(columns.iter().copied());
    format!("INSERT INTO {table} ({names}){overriding} VALUES ({values}) ON CONFLICT DO NOTHING")
}

/// What an insert of an explicit identity needs.
pub(super) fn overriding<'a>(mut columns: impl Iterator<Item = &'a PgColumn>) -> &'static str {
    if columns.any(|column| column.identity_always) { " OVERRIDING SYSTEM VALUE" } else { "" }
}

/// This consumer's tokens and the keys that were made under them.
pub(super) async fn pending(connection: &mut PgConnection, collection: &Collection) -> Sql<Vec<PendingCreate>> {
    let width = collection.key.len();
    let keys = list((1..=width).map(|index| format!("key[{index}]")));
    let sql = format!(
        "SELECT token, {keys} FROM {} WHERE consumer = $1 AND collection = $2 ORDER BY created_at, token",
        table(&collection.table)
    );
    let query = sqlx::query(AssertSqlSafe(sql)).bind(&collection.options.consumer).bind(&collection.table.name);
    let pair = |row: &PgRow| Ok((row.try_get(0)?, Key(read(row, 1, &collection.key)?)));
    query.fetch_all(connection).await?.iter().map(pair).collect()
}

/// Forgets tokens.
pub(super) async fn forget(connection: &mut PgConnection, collection: &Collection, tokens: &[String]) -> Sql<()> {
    let sql =
        format!("DELETE FROM {} WHERE consumer = $1 AND collection = $2 AND token = ANY($3)", table(&collection.table));
    let query =
        sqlx::query(AssertSqlSafe(sql)).bind(&collection.options.consumer).bind(&collection.table.name).bind(tokens);
    query.execute(connection).await.map(|_| ())
}

/// Inserts records that carry their whole key with one statement; returns those that were inserted, in no certain order.
pub(super) async fn insert_all(
    connection: &mut PgConnection,
    collection: &Collection,
    columns: &[&PgColumn],
    records: &[&Record],
) -> Sql<Vec<Record>> {
    let names = list(columns.iter().map(|column| quote(column.name())));
    let values = list(columns.iter().enumerate().map(|(index, column)| column.cast(&format!("u.c{index}"))));
    let sql = format!(
        "INSERT INTO {table} AS t ({names}){overriding} SELECT {values} FROM {unnest} ORDER BY u.ord ON CONFLICT DO NOTHING RETURNING {texts}",
        table = collection.table.quoted(),
        overriding = overriding(columns.iter().copied()),
        unnest = unnest(columns.len(), 1),
        texts = collection.texts("t"),
    );
    let parameters = columns
        .iter()
        .map(|column| records.iter().map(|record| record.get(column.name()).and_then(values::input)).collect())
        .collect();
    query(sql, parameters).fetch_all(connection).await?.iter().map(|row| collection.record(row, 0)).collect()
}

/// Inserts records with one statement, their keys made beforehand by the columns' defaults, so that each is told from the others.
/// Returns those that were inserted with their index; `None` where a trigger gave one another key.
pub(super) async fn insert_generated(
    connection: &mut PgConnection,
    collection: &Collection,
    columns: &[&PgColumn],
    records: &[(&Record, Option<&str>)],
) -> Sql<Vec<(Option<i64>, Record)>> {
    let count = columns.len();
    let made: Vec<&PgColumn> =
        collection.key.iter().filter(|key| columns.iter().all(|column| column.name() != key.name())).collect();
    let defaults = made.iter().map(|column| column.default.as_deref().unwrap_or("NULL"));
    let all: Vec<&PgColumn> = columns.iter().copied().chain(made.iter().copied()).collect();
    let names = list(all.iter().map(|column| quote(column.name())));
    let given = columns.iter().enumerate().map(|(index, column)| column.cast(&format!("u.c{index}")));
    let values = given
        .chain(defaults.map(str::to_owned))
        .zip(&all)
        .map(|(value, column)| format!("{value} AS {}", quote(column.name())));
    let same = collection
        .key
        .iter()
        .map(|column| format!("{} = {}", column.of("t"), column.of("i")))
        .collect::<Vec<_>>()
        .join(" AND ");
    let kept = format!(
        ", kept AS (INSERT INTO {creates} (consumer, collection, token, key) SELECT ${consumer}, ${collection}, i.tidelock_token, ARRAY[{keys}] \
           FROM t JOIN i ON {same} WHERE i.tidelock_token IS NOT NULL ON CONFLICT (consumer, collection, token) DO UPDATE SET key = excluded.key)",
        creates = table(&collection.table),
        consumer = count + 2,
        collection = count + 3,
        keys = list(collection.key.iter().map(|column| column.text("t"))),
    );
    let tokens = records.iter().any(|(_, token)| token.is_some());
    let sql = format!(
        "WITH i AS MATERIALIZED (SELECT u.ord AS tidelock_ord, u.c{count} AS tidelock_token, {values} FROM {unnest}), \
           t AS (INSERT INTO {table} ({names}){overriding} SELECT {names} FROM i ORDER BY i.tidelock_ord ON CONFLICT DO NOTHING RETURNING *){kept} \
         SELECT i.tidelock_ord, {texts} FROM t LEFT JOIN i ON {same}",
        values = list(values),
        unnest = unnest(count + 1, 1),
        table = collection.table.quoted(),
        overriding = overriding(all.iter().copied()),
        kept = if tokens { kept.as_str() } else { "" },
        texts = collection.texts("t"),
    );
    let column = |name: &str| records.iter().map(|(record, _)| record.get(name).and_then(values::input)).collect();
    let mut parameters: Vec<Column<'_>> = columns.iter().map(|of| column(of.name())).collect();
    parameters.push(records.iter().map(|(_, token)| token.map(std::borrow::Cow::Borrowed)).collect());
    let mut query = query(sql, parameters);
    if tokens {
        query = query.bind(&collection.options.consumer).bind(&collection.table.name);
    }
    let rows = query.fetch_all(connection).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, collection.record(row, 1)?))).collect()
}
