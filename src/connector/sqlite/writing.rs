//! A write transaction of ours (layer 4): what it marks, and whether it is still there.

use sqlx::Row;

use super::Opened;
use super::connection::{Transaction, run};
use super::errors::Sql;
use super::statement::Statement;
use super::values::Raw;
use crate::connector::change_log::tracking_name;
use crate::error::{Result, SyncError};

/// Why a record was not written.
#[derive(Debug)]
pub(super) enum Refused {
    /// A value that SQLite would change.
    Unfit(SyncError),
    /// SQLite's word.
    Sql(sqlx::Error),
}

impl From<sqlx::Error> for Refused {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

/// Result of writing one record.
pub(super) type Attempt<T> = std::result::Result<T, Refused>;

/// A write transaction with what it has to mind. Dropped, it is rolled back.
pub(super) struct Writing<'a> {
    /// The collection.
    pub(super) opened: &'a Opened,
    transaction: Transaction<'a>,
    marked: bool,
    /// The users' triggers may change what was written.
    pub(super) others_triggers: bool,
}

impl<'a> Writing<'a> {
    /// Begins, and marks the changes to come as ours.
    ///
    /// They are not marked where the users' own triggers or cascades may add changes to them: those must reach the other side.
    pub(super) async fn begin(opened: &'a Opened) -> Result<Self> {
        let mut transaction = opened.database.begin().await?;
        let begun = mark(opened, &mut transaction).await;
        let (marked, others_triggers) = begun.map_err(opened.place().failed("beginning to write"))?;
        Ok(Self { opened, transaction, marked, others_triggers })
    }

    /// The connection that the transaction runs on.
    pub(super) fn connection(&mut self) -> &mut sqlx::SqliteConnection {
        self.transaction.connection()
    }

    /// Commits.
    pub(super) async fn commit(mut self) -> Result<()> {
        let failed = || self.opened.place().failed("committing");
        if self.marked {
            run(self.transaction.connection(), "DELETE FROM tidelock_origin").await.map_err(failed())?;
        }
        self.transaction.commit().await.map_err(failed())
    }

    /// Whether the transaction is still there: a constraint with `ON CONFLICT ROLLBACK` or a trigger with `RAISE(ROLLBACK)` ends it.
    pub(super) async fn alive(&mut self) -> bool {
        let connection = self.transaction.connection();
        run(connection, "RELEASE tidelock").await.is_ok() && run(connection, "SAVEPOINT tidelock").await.is_ok()
    }

    /// A statement that moves the savepoint here; others are appended to it. See [`Writing::undo`].
    pub(super) fn savepoint() -> Statement {
        Statement::new("RELEASE tidelock; SAVEPOINT tidelock")
    }

    /// Undoes everything since the savepoint; false where the transaction is gone.
    pub(super) async fn undo(&mut self) -> bool {
        run(self.transaction.connection(), "ROLLBACK TO tidelock").await.is_ok()
    }
}

async fn mark(opened: &Opened, transaction: &mut Transaction<'_>) -> Sql<(bool, bool)> {
    let connection = transaction.connection();
    let row = sqlx::query(
        "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'trigger' AND name = ?), \
         EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'trigger' AND tbl_name = ? AND name NOT LIKE 'tidelock\\_%' ESCAPE '\\')",
    )
    .bind(tracking_name("insert", &opened.table.name))
    .bind(opened.table.name.clone())
    .fetch_one(&mut *connection)
    .await?;
    let (tracked, others): (bool, bool) = (row.try_get(0)?, row.try_get(1)?);
    let marked = tracked && !others && !opened.table.cascades;
    if marked {
        let mut statement = Statement::new("INSERT INTO tidelock_origin (id) VALUES (");
        statement.push_bind(Raw::Text(opened.consumer.clone()));
        statement.push(")");
        statement.execute(&mut *connection).await?;
    }
    run(&mut *connection, "SAVEPOINT tidelock").await?;
    Ok((marked, others))
}
