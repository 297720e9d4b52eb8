//! What is kept of our writes in the transaction that does them (layer 4); its form is in `connector/marks`.

use sqlx::mysql::MySqlRow;
use sqlx::{AssertSqlSafe, MySqlConnection, Row};

use super::collection::Collection;
use super::errors::{Class, Sql, class, is_no_table};
use super::table::Table;
use crate::connector::marks::{Kept, kept, warn_of_none};
use crate::connector::{Mark, Write, WriteOutcome};
use crate::error::Result;

/// The table of marks, quoted.
fn table(table: &Table) -> String {
    table.beside("tidelock_marks")
}

/// Makes the table of marks.
fn definition(of: &Table) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {} (consumer varchar(200) CHARACTER SET ascii COLLATE ascii_bin NOT NULL, \
         collection varchar(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL, number bigint NOT NULL, \
         run varchar(64) CHARACTER SET ascii COLLATE ascii_bin NOT NULL, first bigint NOT NULL, outcomes longblob NOT NULL, \
         PRIMARY KEY (consumer, collection, number, run, first)) ENGINE = InnoDB",
        table(of)
    )
}

/// Whether marks can be kept; makes their table where it is missing: a target is written to before its side's source is prepared, or
/// without. Not inside a transaction, which it would commit.
pub(super) async fn ensure(collection: &Collection) -> Result<bool> {
    let making = || async {
        let mut connection = collection.pool.acquire().await?;
        sqlx::raw_sql(AssertSqlSafe(definition(&collection.table))).execute(&mut *connection).await.map(|_| ())
    };
    let made = || async {
        match making().await {
            Ok(()) => Ok(true),
            Err(error) if class(&error) == Class::Permission => {
                warn_of_none(&collection.table.label());
                Ok(false)
            }
            Err(error) => Err(collection.place.failed("making the table of marks", error)),
        }
    };
    collection.marks.get_or_try_init(made).await.copied()
}

/// The empty answer where the table that was asked does not exist yet.
pub(super) fn or_empty<T>(answer: Sql<T>, empty: T) -> Sql<T> {
    match answer {
        Err(error) if is_no_table(&error) => Ok(empty),
        other => other,
    }
}

/// Keeps what became of writes, and forgets what nobody will ask for.
pub(super) async fn keep(
    connection: &mut MySqlConnection,
    collection: &Collection,
    mark: Mark<'_>,
    (writes, outcomes): (&[Write], &[WriteOutcome]),
) -> Sql<()> {
    let of = table(&collection.table);
    let sql = format!("DELETE FROM {of} WHERE consumer = ? AND collection = ? AND number < ?");
    let query = sqlx::query(AssertSqlSafe(sql)).bind(collection.options.consumer.clone());
    query.bind(collection.table.name.clone()).bind(mark.since).execute(&mut *connection).await?;
    let sql =
        format!("REPLACE INTO {of} (consumer, collection, number, run, first, outcomes) VALUES (?, ?, ?, ?, ?, ?)");
    let query = sqlx::query(AssertSqlSafe(sql)).bind(collection.options.consumer.clone());
    let query = query.bind(collection.table.name.clone()).bind(mark.number).bind(mark.run.to_owned());
    let query = query.bind(i64::try_from(mark.first).unwrap_or(i64::MAX));
    query.bind(kept(writes, outcomes.iter().map(Some))).execute(connection).await.map(|_| ())
}

/// What is kept of the writes of that run and number. Locks what it reads, and so waits for whoever is about to keep something: a
/// transaction whose program died may still be on its way.
pub(super) async fn of(collection: &Collection, run: &str, number: i64) -> Sql<Vec<Kept>> {
    let sql = format!(
        "SELECT first, outcomes FROM {} WHERE consumer = ? AND collection = ? AND number = ? AND run = ? LOCK IN SHARE MODE",
        table(&collection.table)
    );
    let mut transaction = collection.pool.begin().await?;
    let query = sqlx::query(AssertSqlSafe(sql)).bind(collection.options.consumer.clone());
    let query = query.bind(collection.table.name.clone()).bind(number).bind(run.to_owned());
    let rows = query.fetch_all(&mut *transaction).await?;
    transaction.commit().await?;
    let kept = |row: &MySqlRow| {
        let first: i64 = row.try_get_unchecked(0)?;
        Ok((usize::try_from(first).unwrap_or_default(), row.try_get_unchecked(1)?))
    };
    rows.iter().map(kept).collect()
}

/// Drops the marks of a consumer that leaves.
pub(super) async fn forget_consumer(connection: &mut MySqlConnection, collection: &Collection) -> Sql<()> {
    let of = table(&collection.table);
    let sql = format!("DELETE FROM {of} WHERE consumer = ? AND collection = ?");
    let query = sqlx::query(AssertSqlSafe(sql)).bind(collection.options.consumer.clone());
    let deleted = query.bind(collection.table.name.clone()).execute(connection).await.map(|_| ());
    or_empty(deleted, ())
}

/// Drops the table of marks where nobody needs it.
pub(super) async fn drop_if_empty(connection: &mut MySqlConnection, of: &Table) -> Sql<()> {
    let of = table(of);
    let left = format!("SELECT EXISTS (SELECT 1 FROM {of})");
    let left = sqlx::query_scalar(AssertSqlSafe(left)).fetch_one(&mut *connection).await;
    if or_empty(left, 1_i64)? == 0 {
        sqlx::raw_sql(AssertSqlSafe(format!("DROP TABLE IF EXISTS {of}"))).execute(connection).await?;
    }
    Ok(())
}
