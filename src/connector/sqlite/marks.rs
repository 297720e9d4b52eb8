//! What is kept of our writes in the transaction that does them (layer 4); its form is in `connector/marks`.

use sqlx::{Row, SqliteConnection};

use super::Opened;
use super::connection::run;
use super::errors::Sql;
use super::statement::Statement;
use super::tracking;
use super::values::Raw;
use crate::connector::marks::{Kept, kept};
use crate::connector::{Mark, Write, WriteOutcome};
use crate::error::Result;

/// The table of marks.
pub(super) const TABLE: &str = "tidelock_marks";

/// Also made by the first write that is marked: a target may never be prepared.
pub(super) const DEFINITION: &str = "CREATE TABLE IF NOT EXISTS tidelock_marks (consumer TEXT NOT NULL, collection TEXT NOT NULL, \
     number INTEGER NOT NULL, run TEXT NOT NULL, first INTEGER NOT NULL, outcomes BLOB NOT NULL, \
     PRIMARY KEY (consumer, collection, number, run, first))";

/// Adds the condition for this consumer's marks of this collection.
pub(super) fn push_ours(statement: &mut Statement, opened: &Opened) {
    statement.push("consumer = ");
    statement.push_bind(Raw::Text(opened.consumer.clone()));
    statement.push(" AND collection = ");
    statement.push_bind(Raw::Text(opened.table.name.clone()));
}

/// Keeps what became of writes, and forgets what nobody will ask for.
pub(super) async fn keep(
    connection: &mut SqliteConnection,
    opened: &Opened,
    mark: Mark<'_>,
    (writes, outcomes): (&[Write], &[WriteOutcome]),
) -> Sql<()> {
    run(connection, DEFINITION).await?;
    let mut old = Statement::new("DELETE FROM tidelock_marks WHERE ");
    push_ours(&mut old, opened);
    old.push(" AND number < ");
    old.push_bind(Raw::Int(mark.since));
    old.execute(connection).await?;
    let mut new = Statement::new(
        "INSERT OR REPLACE INTO tidelock_marks (consumer, collection, run, number, first, outcomes) VALUES (",
    );
    let texts = [opened.consumer.clone(), opened.table.name.clone(), mark.run.to_owned()].map(Raw::Text);
    let numbers = [mark.number, i64::try_from(mark.first).unwrap_or(i64::MAX)].map(Raw::Int);
    let outcomes = Raw::Blob(kept(writes, outcomes.iter().map(Some)));
    new.push_binds(texts.into_iter().chain(numbers).chain([outcomes]));
    new.push(")");
    new.execute(connection).await.map(|_| ())
}

/// What is kept of the writes of that run and number. Begins a write transaction: whoever is writing ends first.
pub(super) async fn of(opened: &Opened, of_run: &str, number: i64) -> Result<Vec<Kept>> {
    let failed = || opened.place().failed("reading what became of writes");
    let mut transaction = opened.database.begin().await?;
    let connection = transaction.connection();
    let mut kept = Vec::new();
    if tracking::exists(connection, TABLE).await.map_err(failed())? {
        let mut statement = Statement::new("SELECT first, outcomes FROM tidelock_marks WHERE ");
        push_ours(&mut statement, opened);
        statement.push(" AND number = ");
        statement.push_bind(Raw::Int(number));
        statement.push(" AND run = ");
        statement.push_bind(Raw::Text(of_run.to_owned()));
        for row in statement.rows(connection).await.map_err(failed())? {
            let first: i64 = row.try_get(0).map_err(failed())?;
            kept.push((usize::try_from(first).unwrap_or_default(), row.try_get(1).map_err(failed())?));
        }
    }
    transaction.commit().await.map_err(failed())?;
    Ok(kept)
}
