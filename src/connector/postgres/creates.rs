//! Creates (layer 4): of records with their keys, and of those whose keys the server makes.

use sqlx::{AssertSqlSafe, PgConnection, Row};

use super::collection::{Collection, Column, query, unnest};
use super::errors::Sql;
use super::table::PgColumn;
use super::values;
use crate::connector::change_log::{list, quote};
use crate::record::Record;

/// Inserts one record; `None` where one with the same unique values exists.
pub(super) async fn insert(
    connection: &mut PgConnection,
    collection: &Collection,
    record: &Record,
) -> Sql<Option<Record>> {
    let fields: Vec<(&PgColumn, Option<_>)> = record
        .iter()
        .filter_map(|(name, value)| Some((collection.table.column(name)?, values::input(value))))
        .collect();
    let new = inserting(collection, &fields.iter().map(|(column, _)| *column).collect::<Vec<_>>());
    let sql = format!("WITH new AS ({new} RETURNING *) SELECT {} FROM new t", collection.texts("t"));
    let mut query = sqlx::query(AssertSqlSafe(sql));
    for (_, value) in fields {
        query = query.bind(value);
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
    records: &[&Record],
) -> Sql<Vec<(Option<i64>, Record)>> {
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
    let sql = format!(
        "WITH i AS MATERIALIZED (SELECT u.ord AS tidelock_ord, {values} FROM {unnest}), \
           t AS (INSERT INTO {table} ({names}){overriding} SELECT {names} FROM i ORDER BY i.tidelock_ord ON CONFLICT DO NOTHING RETURNING *) \
         SELECT i.tidelock_ord, {texts} FROM t LEFT JOIN i ON {same}",
        values = list(values),
        unnest = unnest(columns.len(), 1),
        table = collection.table.quoted(),
        overriding = overriding(all.iter().copied()),
        texts = collection.texts("t"),
    );
    let column = |name: &str| records.iter().map(|record| record.get(name).and_then(values::input)).collect();
    let parameters: Vec<Column<'_>> = columns.iter().map(|of| column(of.name())).collect();
    let query = query(sql, parameters);
    let rows = query.fetch_all(connection).await?;
    rows.iter().map(|row| Ok((row.try_get(0)?, collection.record(row, 1)?))).collect()
}
