//! The source half over the change table (layer 4). One writer at a time: the order of `seq` is the order of commits, so a position
//! is a `seq`.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::Row;
use sqlx::sqlite::SqliteRow;
use tokio::time::Instant;

use super::errors::Sql;
use super::statement::Statement;
use super::target::capabilities;
use super::values::Raw;
use super::watch::Watch;
use super::{Opened, tracking};
use crate::change::{Change, ChangeBatch, Op, Position};
use crate::connector::change_log::{all, list, quote};
use crate::connector::{Capabilities, Source};
use crate::error::{ErrorKind, Result};

/// An acknowledgement is written down (one commit of the user's database) after so many changes …
const TRIM_CHANGES: i64 = 1000;
/// … or so long after the last one.
const TRIM_INTERVAL: Duration = Duration::from_secs(5);

/// The source half of an opened collection.
#[derive(Debug)]
pub(super) struct LogSource {
    opened: Arc<Opened>,
    watch: Watch,
    /// The last acknowledgement that was written down, and when.
    trimmed: Option<(i64, Instant)>,
    /// The schema's version when the triggers were last seen.
    intact_at: Option<i64>,
}

impl LogSource {
    /// A source over the change table.
    pub(super) fn new(opened: Arc<Opened>) -> Self {
        Self { watch: Watch::new(Arc::clone(&opened)), opened, trimmed: None, intact_at: None }
    }

    fn parse(&self, position: &Position) -> Result<i64> {
        position.0.parse().map_err(|_| {
            self.opened.place().error(
                ErrorKind::SchemaMismatch,
                "sqlite.position",
                "the stored position is not one of this change table; run `tidelock resync`",
            )
        })
    }

    /// A position that this change table has not reached yet comes from a newer copy of the file.
    fn check(&self, after: i64, head: i64) -> Result<()> {
        if after <= head {
            return Ok(());
        }
        Err(self.opened.place().error(
            ErrorKind::SchemaMismatch,
            "sqlite.position",
            format_args!(
                "the change table ends at {head}, before the stored position {after}: the file was replaced by an older copy; \
                 run `tidelock resync`"
            ),
        ))
    }

    async fn read_head(&self, connection: &mut sqlx::SqliteConnection) -> Sql<i64> {
        let head: Option<i64> = sqlx::query_scalar("SELECT max(seq) FROM sqlite_sequence WHERE name = ?1")
            .bind(tracking::change_table(&self.opened.table))
            .fetch_one(connection)
            .await?;
        Ok(head.unwrap_or(0))
    }

    /// A table that was rebuilt (as SQLite's own manual says to, where `ALTER TABLE` does not do) has lost its triggers.
    async fn check_triggers(&mut self, connection: &mut sqlx::SqliteConnection) -> Result<()> {
        let failed = || self.opened.place().failed("looking for the triggers");
        let version = sqlx::query_scalar("PRAGMA schema_version").fetch_one(&mut *connection).await.map_err(failed())?;
        if self.intact_at == Some(version) {
            return Ok(());
        }
        if !tracking::is_intact(connection, &self.opened.table).await.map_err(failed())? {
            return Err(self.opened.place().error(
                ErrorKind::SchemaMismatch,
                "sqlite.tracking_lost",
                "the change table or its triggers are gone (was the table rebuilt?), so changes were missed; resume the pair to make \
                 them again and to compare all records",
            ));
        }
        self.intact_at = Some(version);
        Ok(())
    }

    fn batch_sql(&self) -> String {
        let table = &self.opened.table;
        let keys = list((0..table.key.len()).map(|field| format!("k{field}")));
        let there = all(table.key.iter().enumerate().map(|(field, name)| format!("{} = k{field}", table.of(name))));
        // A record that REPLACE may have deleted (`R`) is looked for.
        format!(
            "SELECT seq, at, origin, CASE op WHEN 'R' THEN NOT EXISTS (SELECT 1 FROM {} WHERE {there}) ELSE op = 'D' END, op, {keys} \
             FROM {} WHERE seq > ",
            table.quoted(),
            quote(&tracking::change_table(table))
        )
    }

    /// The change of a row; `None` for our own, and for what changed nothing.
    fn change(&self, row: &SqliteRow) -> Sql<Option<Change>> {
        let origin: Option<String> = row.try_get(2)?;
        let (deleted, op): (bool, String) = (row.try_get(3)?, row.try_get(4)?);
        let key = self.opened.key.key(row, 5)?;
        // A key with a null (SQLite allows it in old tables) is no key.
        let is_nothing = (op == "R" && !deleted) || key.0.iter().any(crate::value::Value::is_null);
        if is_nothing || origin.as_deref() == Some(self.opened.consumer.as_str()) {
            return Ok(None);
        }
        let op = if deleted { Op::Delete } else { Op::Upsert };
        Ok(Some(Change { key, op, at: Some(row.try_get(1)?), image: None }))
    }

    async fn write_acknowledged(&self, through: i64) -> Result<()> {
        let failed = || self.opened.place().failed("trimming the change table");
        let table = tracking::change_table(&self.opened.table);
        let mut transaction = self.opened.database.begin().await?;
        sqlx::query("UPDATE tidelock_consumers SET acknowledged = max(acknowledged, ?3) WHERE change_table = ?1 AND consumer = ?2")
            .bind(table.clone())
            .bind(self.opened.consumer.clone())
            .bind(through)
            .execute(transaction.connection())
            .await
            .map_err(failed())?;
        let mut trim = Statement::new(format!(
            "DELETE FROM {} WHERE seq <= (SELECT min(acknowledged) FROM tidelock_consumers WHERE change_table = ",
            quote(&table)
        ));
        trim.push_bind(Raw::Text(table));
        trim.push(")");
        trim.execute(transaction.connection()).await.map_err(failed())?;
        transaction.commit().await.map_err(failed())
    }
}

#[async_trait]
impl Source for LogSource {
    fn capabilities(&self) -> Capabilities {
        capabilities(self.opened.capture)
    }

    fn tracking(&self) -> Vec<String> {
        tracking::names(&self.opened.table)
    }

    async fn prepare(&mut self) -> Result<String> {
        tracking::prepare(&self.opened).await
    }

    async fn remove(&mut self) -> Result<()> {
        tracking::remove(&self.opened).await
    }

    async fn head(&mut self) -> Result<Position> {
        let mut lease = self.opened.database.read().await?;
        let head =
            self.read_head(lease.connection()).await.map_err(self.opened.place().failed("reading the change table"))?;
        lease.give_back();
        Ok(Position(head.to_string()))
    }

    async fn next_batch(&mut self, after: &Position, max: usize) -> Result<ChangeBatch> {
        let since = self.parse(after)?;
        self.watch.mark().await?;
        let opened = Arc::clone(&self.opened);
        let failed = || opened.place().failed("reading the change table");
        let limit = i64::try_from(max.max(1)).unwrap_or(i64::MAX);
        let mut statement = Statement::new(self.batch_sql());
        statement.push_bind(Raw::Int(since));
        statement.push(" ORDER BY seq LIMIT ");
        statement.push_bind(Raw::Int(limit));
        let mut lease = opened.database.read().await?;
        let rows = statement.rows(lease.connection()).await.map_err(failed())?;
        let mut through = since;
        let mut changes = Vec::with_capacity(rows.len());
        for row in &rows {
            through = row.try_get(0).map_err(failed())?;
            changes.extend(self.change(row).map_err(failed())?);
        }
        if rows.is_empty() {
            let head = self.read_head(lease.connection()).await.map_err(failed())?;
            self.check(since, head)?;
            self.check_triggers(lease.connection()).await?;
        }
        lease.give_back();
        let more = rows.len() >= max.max(1);
        Ok(ChangeBatch { changes, through: Position(through.to_string()), more })
    }

    async fn wait(&mut self, timeout: Duration) -> Result<()> {
        self.watch.wait(timeout).await
    }

    async fn acknowledge(&mut self, through: &Position) -> Result<()> {
        let through = self.parse(through)?;
        let due = self.trimmed.is_none_or(|(last, at)| {
            through - last >= TRIM_CHANGES || (through > last && at.elapsed() >= TRIM_INTERVAL)
        });
        if due {
            self.write_acknowledged(through).await?;
            self.trimmed = Some((through, Instant::now()));
        }
        Ok(())
    }
}
