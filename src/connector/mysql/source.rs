//! Captures changes from the change table that the triggers fill (layer 4).

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use sqlx::mysql::MySqlPool;
use sqlx::{AssertSqlSafe, MySqlConnection, Row};

use super::collection::Collection;
use super::errors::{Class, Sql, class};
use super::gates::Probe;
use super::position::{self, LogPosition};
use super::table::literal;
use super::tracking::{self, AT, Names};
use super::{binlog, marks, target};
use crate::change::{Change, ChangeBatch, Op, Position};
use crate::connector::change_log::list;
use crate::connector::{Capabilities, Source};
use crate::error::{ErrorKind, Result, SyncError};
use crate::record::Key;

/// Rows are trimmed, and the acknowledged position is kept, at most this often…
const TRIM_INTERVAL: Duration = Duration::from_secs(10);
/// …or after this many changes.
const TRIM_CHANGES: usize = 50_000;
/// MySQL announces nothing: the end of the change table's index is looked at this often at first…
const LOOK_MIN: Duration = Duration::from_millis(5);
/// …and half as often after each look in vain, down to this.
const LOOK_MAX: Duration = Duration::from_millis(100);

/// The reader of a change table.
pub(super) struct LogSource {
    collection: Arc<Collection>,
    pool: MySqlPool,
    names: Names,
    /// What is being found out about missing numbers.
    probe: Option<Probe>,
    /// The position handed out last: what is new is what it has not seen.
    issued: Option<LogPosition>,
    last_trim: Option<Instant>,
    delivered: usize,
}

/// A row of the change table.
struct Entry {
    seq: i64,
    op: String,
    /// Written by this consumer.
    own: bool,
    at: Option<i64>,
    key: Key,
}

impl LogSource {
    /// A source with a connection of its own.
    pub(super) fn new(collection: Arc<Collection>) -> Self {
        let names = Names::of(&collection.table);
        let pool = collection.server.reader();
        Self { collection, pool, names, probe: None, issued: None, last_trim: None, delivered: 0 }
    }

    fn failed(&self, doing: &str, error: sqlx::Error) -> SyncError {
        if class(&error) == Class::Schema {
            return self.lost("the change table is missing or of another form");
        }
        self.collection.place.failed(doing, error)
    }

    fn lost(&self, why: &str) -> SyncError {
        let message = format!("{why}: changes may have been missed; load the pair again (tidelock resync)");
        self.collection.place.error(ErrorKind::SchemaMismatch, "source.tracking_lost", message)
    }

    fn position(&self, position: &Position) -> Result<LogPosition> {
        let read = position::read::<LogPosition>(position);
        read.ok_or_else(|| self.lost("the stored position is none of this change table"))
    }

    /// What the position has not seen, in the order of numbers.
    async fn page(&self, connection: &mut MySqlConnection, position: &LogPosition, max: usize) -> Sql<Vec<Entry>> {
        let columns = tracking::key_columns(&self.collection);
        let sql = format!(
            "SELECT c.seq, c.op, c.origin <=> {}, {AT}, {} FROM {} c WHERE {} ORDER BY c.seq LIMIT {max}",
            literal(&self.collection.origin),
            list(columns.iter().map(|column| column.read("c"))),
            self.names.changes,
            position.unseen(),
        );
        let rows = sqlx::query(AssertSqlSafe(sql)).persistent(false).fetch_all(connection).await?;
        rows.iter()
            .map(|row| {
                Ok(Entry {
                    seq: row.try_get_unchecked(0)?,
                    op: row.try_get_unchecked(1)?,
                    own: row.try_get_unchecked::<i64, _>(2)? != 0,
                    at: row.try_get_unchecked(3)?,
                    key: tracking::key(row, 4, &columns)?,
                })
            })
            .collect()
    }

    /// Reads on from `position`, and finds out about what is missing. Whether there is more.
    async fn read(&mut self, position: &mut LogPosition, max: usize) -> Sql<(Vec<Entry>, bool)> {
        let mut connection = self.pool.acquire().await?;
        let mut entries: Vec<Entry> = Vec::new();
        let mut looked = false;
        loop {
            // What is over by now is seen by the page that is read after it.
            let over = self.probe.as_ref().is_some_and(Probe::is_over);
            let page = self.page(&mut connection, position, max).await?;
            let full = page.len() >= max;
            page.iter().for_each(|entry| position.deliver(entry.seq));
            entries.extend(page);
            if full {
                return Ok((entries, true));
            }
            if over && let Some(probe) = self.probe.take() {
                position.close(&probe.missing);
            }
            if looked || position.open.is_empty() {
                return Ok((entries, false));
            }
            looked = true;
            let probe = self.probe.get_or_insert_with(|| Probe::new(position.open.clone()));
            probe.look(&mut connection, &self.collection.table).await?;
            if !probe.is_over() {
                return Ok((entries, false));
            }
        }
    }

    /// Whether the stream of this position is the one that is there.
    async fn check(&self, position: &LogPosition) -> Result<()> {
        let registration = async {
            let mut connection = self.pool.acquire().await?;
            tracking::registration(&mut connection, &self.collection, &self.names).await
        };
        match registration.await.map_err(|error| self.failed("reading changes", error))? {
            None => Err(self.lost("this consumer is not registered any more")),
            Some(found) if found.newest < position.seq => {
                Err(self.lost("the stored position is ahead of the server, which was restored from a backup"))
            }
            Some(_) => Ok(()),
        }
    }

    /// Whether there is anything that the position handed out last has not seen.
    async fn is_news(&self) -> Sql<bool> {
        let Some(issued) = &self.issued else { return Ok(true) };
        let sql = format!("SELECT EXISTS (SELECT 1 FROM {} WHERE {})", self.names.changes, issued.unseen());
        let found: i64 = sqlx::query_scalar(AssertSqlSafe(sql)).persistent(false).fetch_one(&self.pool).await?;
        Ok(found != 0)
    }
}

#[async_trait]
impl Source for LogSource {
    fn capabilities(&self) -> Capabilities {
        target::capabilities(&self.collection)
    }

    fn tracking(&self) -> Vec<String> {
        self.names.all(&self.collection.table)
    }

    async fn prepare(&mut self) -> Result<String> {
        let failed = |error| self.collection.place.failed("preparing change tracking", error);
        marks::ensure(&self.collection).await?;
        let mut connection = self.pool.acquire().await.map_err(failed)?;
        binlog::leave(&mut connection, &self.collection).await?;
        tracking::prepare(&mut connection, &self.collection).await
    }

    async fn remove(&mut self) -> Result<()> {
        let failed = |error| self.collection.place.failed("removing change tracking", error);
        let mut connection = self.pool.acquire().await.map_err(failed)?;
        binlog::leave(&mut connection, &self.collection).await?;
        tracking::remove(&mut connection, &self.collection).await
    }

    async fn head(&mut self) -> Result<Position> {
        let asked = async {
            let mut connection = self.pool.acquire().await?;
            tracking::head(&mut connection, &self.names).await
        };
        let head = asked.await.map_err(|error| self.failed("asking for the current position", error))?;
        let written = position::write(&head);
        self.issued = Some(head);
        Ok(written)
    }

    async fn next_batch(&mut self, after: &Position, max: usize) -> Result<ChangeBatch> {
        let before = self.position(after)?;
        self.check(&before).await?;
        let mut position = before.clone();
        let (entries, more) =
            self.read(&mut position, max.max(1)).await.map_err(|error| self.failed("reading changes", error))?;
        if entries.iter().any(|entry| entry.op == "L") {
            return Err(self.lost("a key column of the table was renamed or changed its type"));
        }
        self.delivered += entries.len();
        // An idle stream stays where it is, so that nothing has to be committed.
        let through = if position == before { after.clone() } else { position::write(&position) };
        self.issued = Some(position);
        let changes = entries.into_iter().filter(|entry| !entry.own).map(|entry| Change {
            op: if entry.op == "D" { Op::Delete } else { Op::Upsert },
            key: entry.key,
            at: entry.at,
            image: None,
        });
        Ok(ChangeBatch { changes: changes.collect(), through, more })
    }

    async fn wait(&mut self, timeout: Duration) -> Result<()> {
        let (begin, mut pause) = (Instant::now(), LOOK_MIN);
        loop {
            let news = self.is_news().await.map_err(|error| self.failed("waiting for changes", error))?;
            let left = timeout.saturating_sub(begin.elapsed());
            if news || left.is_zero() {
                return Ok(());
            }
            tokio::time::sleep(pause.min(left)).await;
            pause = (pause * 2).min(LOOK_MAX);
        }
    }

    async fn acknowledge(&mut self, through: &Position) -> Result<()> {
        let due = self.delivered >= TRIM_CHANGES || self.last_trim.is_none_or(|last| last.elapsed() >= TRIM_INTERVAL);
        if self.delivered == 0 || !due {
            return Ok(());
        }
        let position = self.position(through)?;
        let trimming = async {
            let mut connection = self.pool.acquire().await?;
            tracking::trim(&mut connection, &self.collection, &self.names, &position).await
        };
        trimming.await.map_err(|error| self.failed("trimming the change table", error))?;
        self.delivered = 0;
        self.last_trim = Some(Instant::now());
        Ok(())
    }
}
