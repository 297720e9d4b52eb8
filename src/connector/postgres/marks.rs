//! What is kept of our writes in the transaction that does them (layer 4); its form is in `connector/marks`.

use sqlx::{AssertSqlSafe, PgConnection, Row};

use super::collection::Collection;
use super::errors::{Class, Sql, class};
use super::logical;
use super::table::Table;
use super::tracking;
use crate::connector::marks::{Kept, kept, warn_of_none};
use crate::connector::{Mark, Write, WriteOutcome};
use crate::error::Result;

/// The table of marks, quoted.
pub(super) fn table(table: &Table) -> String {
    table.beside("tidelock_marks")
}

/// Makes the table of marks. What is in it is compressed by nobody: it is short, and soon gone.
pub(super) fn definition(of: &Table) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {} (consumer text NOT NULL, collection text NOT NULL, number bigint NOT NULL, run text NOT NULL, \
         first bigint NOT NULL, outcomes bytea NOT NULL, PRIMARY KEY (consumer, collection, number, run, first))",
        table(of)
    )
}

/// Whether marks can be kept; makes their table where it is missing: a target is written to before its side's source is prepared, or without.
pub(super) async fn ensure(collection: &Collection) -> Result<bool> {
    let making = async {
        match tracking::make_marks(collection).await {
            Ok(()) => Ok(true),
            Err(error) if class(&error) == Class::Permission => {
                warn_of_none(&collection.table.label());
                Ok(false)
            }
            Err(error) => Err(collection.place.failed("making the table of marks", error)),
        }
    };
    Box::pin(collection.marks.get_or_try_init(|| making)).await.copied()
}

/// Keeps what became of writes, and forgets what nobody will ask for. `said` is what the reader of our own stream has to know of the
/// transaction, if there is one: with it, in one statement.
pub(super) async fn keep(
    connection: &mut PgConnection,
    collection: &Collection,
    mark: Mark<'_>,
    (writes, outcomes): (&[Write], &[Option<WriteOutcome>]),
    said: Option<String>,
) -> Sql<()> {
    let saying = if said.is_some() { "pg_logical_emit_message(true, $8, $9)" } else { "$8::text, $9::text" };
    let sql = format!(
        "WITH old AS (DELETE FROM {table} WHERE consumer = $1 AND collection = $2 AND number < $3) \
         INSERT INTO {table} (consumer, collection, number, run, first, outcomes) \
         SELECT $1, $2, $4, $5, $6, $7 FROM (SELECT {saying}) AS said \
         ON CONFLICT (consumer, collection, number, run, first) DO UPDATE SET outcomes = excluded.outcomes",
        table = table(&collection.table)
    );
    sqlx::query(AssertSqlSafe(sql))
        .bind(&collection.options.consumer)
        .bind(&collection.table.name)
        .bind(mark.since)
        .bind(mark.number)
        .bind(mark.run)
        .bind(i64::try_from(mark.first).unwrap_or(i64::MAX))
        .bind(kept(writes, outcomes.iter().map(Option::as_ref)))
        .bind(logical::MARK)
        .bind(said)
        .execute(connection)
        .await
        .map(|_| ())
}

/// What is kept of the writes of that run and number; `None` where there is no table. Waits for whoever is about to keep something: a
/// transaction whose program died may still be on its way.
pub(super) async fn of(collection: &Collection, run: &str, number: i64) -> Sql<Option<Vec<Kept>>> {
    let name = table(&collection.table);
    let mut transaction = collection.pool.begin().await?;
    if !tracking::exists(&mut transaction, &name).await? {
        return Ok(None);
    }
    sqlx::raw_sql(AssertSqlSafe(format!("LOCK TABLE {name} IN SHARE MODE"))).execute(&mut *transaction).await?;
    let sql = format!(
        "SELECT first, outcomes FROM {name} WHERE consumer = $1 AND collection = $2 AND number = $3 AND run = $4"
    );
    let query = sqlx::query(AssertSqlSafe(sql)).bind(&collection.options.consumer).bind(&collection.table.name);
    let rows = query.bind(number).bind(run).fetch_all(&mut *transaction).await?;
    transaction.commit().await?;
    let kept = |row: &sqlx::postgres::PgRow| {
        Ok((usize::try_from(row.try_get::<i64, _>(0)?).unwrap_or_default(), row.try_get(1)?))
    };
    rows.iter().map(kept).collect::<Sql<Vec<Kept>>>().map(Some)
}

/// Drops the marks of a consumer that leaves.
pub(super) async fn forget_consumer(connection: &mut PgConnection, collection: &Collection) -> Sql<()> {
    let sql = format!("DELETE FROM {} WHERE consumer = $1 AND collection = $2", table(&collection.table));
    let query = sqlx::query(AssertSqlSafe(sql)).bind(&collection.options.consumer).bind(&collection.table.name);
    query.execute(connection).await.map(|_| ())
}

/// Drops the table of marks where nobody needs it and no change table is beside it, whose readers count on it.
pub(super) async fn drop_if_unused(connection: &mut PgConnection, of: &Table) -> Sql<()> {
    if tracking::exists(connection, &of.beside("tidelock_consumers")).await? {
        return Ok(());
    }
    drop_if_empty(connection, of).await
}

/// Drops the table of marks where nobody needs it.
pub(super) async fn drop_if_empty(connection: &mut PgConnection, of: &Table) -> Sql<()> {
    let name = table(of);
    if !tracking::exists(connection, &name).await? {
        return Ok(());
    }
    let empty = format!("SELECT NOT EXISTS (SELECT FROM {name})");
    if sqlx::query_scalar::<_, bool>(AssertSqlSafe(empty)).fetch_one(&mut *connection).await? {
        sqlx::raw_sql(AssertSqlSafe(format!("DROP TABLE {name}"))).execute(connection).await?;
    }
    Ok(())
}
