//! Captures changes from the change table that the triggers fill (layer 4).

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use sqlx::postgres::{PgPool, PgRow};
use sqlx::{AssertSqlSafe, Row};

use super::collection::{Collection, read};
use super::errors::{Class, Sql, class};
use super::listen::Listener;
use super::logical;
use super::position::{self, LogPosition, Snapshot, Window};
use super::target;
use super::tracking::{self, Names};
use crate::change::{Change, ChangeBatch, Op, Position};
use crate::connector::change_log::list;
use crate::connector::{Capabilities, Source};
use crate::error::{ErrorKind, Result, SyncError};
use crate::record::Key;

/// Rows are trimmed, and the acknowledged position is kept, at most this often…
const TRIM_INTERVAL: Duration = Duration::from_secs(10);
/// …or after this many changes.
const TRIM_CHANGES: usize = 50_000;
/// Keeps the reader's position and deletes what every registered reader has behind it. The first condition is there for the index.
const TRIM: &str = "WITH mine AS (SELECT $3::text::pg_snapshot AS seen, $4::text::pg_snapshot AS until, $5::text::xid8 AS xid, $6::bigint AS seq), \
     kept AS (UPDATE {consumers} SET (seen, until, xid, seq) = (SELECT * FROM mine) WHERE change_table = $1 AND consumer = $2 RETURNING 1), \
     readers AS (SELECT seen, until, xid, seq FROM {consumers} WHERE change_table = $1 AND consumer <> $2 UNION ALL SELECT * FROM mine) \
     DELETE FROM {changes} c WHERE c.xid <= (SELECT min(greatest(pg_snapshot_xmax(seen), xid)) FROM readers) \
       AND NOT EXISTS (SELECT FROM readers r WHERE NOT (pg_visible_in_snapshot(c.xid, r.seen) \
         OR r.until IS NOT NULL AND pg_visible_in_snapshot(c.xid, r.until) AND (c.xid, c.seq) <= (r.xid, r.seq))) \
       AND EXISTS (SELECT FROM kept)";

/// The reader of a change table.
pub(super) struct LogSource {
    collection: Arc<Collection>,
    pool: PgPool,
    names: Names,
    listener: Option<Listener>,
    last_trim: Option<Instant>,
    delivered: usize,
}

/// A row of the change table.
struct Entry {
    xid: u64,
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
        Self { collection, pool, names, listener: None, last_trim: None, delivered: 0 }
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

    async fn listen(&mut self) -> Result<()> {
        if self.listener.is_none() {
            let started = Listener::start(&self.collection.server, self.names.payload().to_owned()).await;
            self.listener =
                Some(started.map_err(|error| self.collection.place.failed("listening for changes", error))?);
        }
        Ok(())
    }

    /// Reads the next page of a window: the snapshot that closes it, and rows in the order of (xid, seq), of this consumer's own only
    /// the last.
    async fn page(&self, position: &LogPosition, seen: &Snapshot, max: usize) -> Sql<Page> {
        let keys = list(self.collection.key.iter().enumerate().map(|(index, column)| {
            let tracked = crate::connector::change_log::quote(&format!("k{index}"));
            column.text_of(&format!("c.{tracked}"))
        }));
        let after = "(xid, seq) > ($4::text::xid8, $5)";
        let part = |condition: &str| {
            format!(
                "(SELECT * FROM {changes} WHERE {condition} AND {after} AND xid < pg_snapshot_xmax(s.until) \
                   AND pg_visible_in_snapshot(xid, s.until) ORDER BY xid, seq LIMIT $6)",
                changes = self.names.changes
            )
        };
        // What was not visible then: what was running, and what began later. Two index ranges.
        let sql = format!(
            "SELECT c.until::text, c.incarnation, c.rows, c.xid::text, c.seq, c.op::text, c.own, \
               (extract(epoch FROM c.at) * 1000000)::bigint AS at, {keys} \
             FROM (SELECT s.*, b.*, b.origin IS NOT DISTINCT FROM $7 AS own, count(b.seq) OVER () AS rows, \
                 lead(b.seq) OVER (ORDER BY b.xid, b.seq) IS NULL AS last \
               FROM (SELECT coalesce($1::text::pg_snapshot, pg_current_snapshot()) AS until, (SELECT r.incarnation::text FROM {consumers} r \
                 WHERE r.change_table = $8 AND r.consumer = $7) AS incarnation) s \
               LEFT JOIN LATERAL (SELECT * FROM ({running} UNION ALL {later}) u ORDER BY xid, seq LIMIT $6) b ON true) c \
             WHERE c.last OR NOT c.own ORDER BY c.xid, c.seq",
            consumers = self.names.consumers,
            running = part("xid = ANY($2::text[]::xid8[])"),
            later = part("xid >= $3::text::xid8"),
        );
        let window = position.window.as_ref();
        let running: Vec<String> = seen.running.iter().map(u64::to_string).collect();
        let rows = sqlx::query(AssertSqlSafe(sql))
            .bind(window.map(|window| window.until.as_str()))
            .bind(running)
            .bind(seen.xmax.to_string())
            .bind(window.map_or(0, |window| window.xid).to_string())
            .bind(window.map_or(0, |window| window.seq))
            .bind(i64::try_from(max).unwrap_or(i64::MAX))
            .bind(&self.collection.options.consumer)
            .bind(&self.names.stream)
            .fetch_all(&self.pool)
            .await?;
        let mut page =
            Page { until: String::new(), registered: false, read: 0, entries: Vec::with_capacity(rows.len()) };
        for row in &rows {
            page.until = row.try_get(0)?;
            page.registered = row.try_get::<Option<String>, _>(1)?.is_some();
            page.read = usize::try_from(row.try_get::<i64, _>(2)?).unwrap_or(usize::MAX);
            if let Some(entry) = self.entry(row)? {
                page.entries.push(entry);
            }
        }
        Ok(page)
    }

    fn entry(&self, row: &PgRow) -> Sql<Option<Entry>> {
        let Some(xid) = row.try_get::<Option<String>, _>(3)? else { return Ok(None) };
        Ok(Some(Entry {
            xid: xid.parse().map_err(|error| sqlx::Error::Decode(Box::new(error)))?,
            seq: row.try_get(4)?,
            op: row.try_get(5)?,
            own: row.try_get(6)?,
            at: row.try_get(7)?,
            key: Key(read(row, 8, &self.collection.key)?),
        }))
    }

    /// Keeps the position and trims what no registered consumer needs.
    async fn trim(&self, position: &LogPosition) -> Sql<()> {
        let sql = TRIM.replace("{consumers}", &self.names.consumers).replace("{changes}", &self.names.changes);
        // Nothing is lost where this is: it is done again.
        let mut transaction = self.pool.begin_with("BEGIN; SET LOCAL synchronous_commit = off").await?;
        let window = position.window.as_ref();
        let query = sqlx::query(AssertSqlSafe(sql))
            .bind(&self.names.stream)
            .bind(&self.collection.options.consumer)
            .bind(&position.seen)
            .bind(window.map(|window| window.until.as_str()))
            .bind(window.map(|window| window.xid.to_string()))
            .bind(window.map(|window| window.seq));
        query.execute(&mut *transaction).await?;
        transaction.commit().await
    }

    fn position(&self, after: &Position) -> Result<(LogPosition, Snapshot)> {
        let read = position::read::<LogPosition>(after);
        read.and_then(|position| Snapshot::parse(&position.seen).map(|seen| (position, seen)))
            .ok_or_else(|| self.lost("the stored position is none of this change table"))
    }
}

struct Page {
    until: String,
    registered: bool,
    /// Rows of the change table, those left out included.
    read: usize,
    entries: Vec<Entry>,
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
        logical::leave(&mut *self.pool.acquire().await.map_err(failed)?, &self.collection).await.map_err(failed)?;
        let mut transaction = self.pool.begin().await.map_err(failed)?;
        let incarnation = match tracking::prepare(&mut transaction, &self.collection).await {
            Ok(incarnation) => incarnation,
            Err(error) => {
                transaction.rollback().await.map_err(failed)?;
                let mut connection = self.pool.acquire().await.map_err(failed)?;
                return Err(tracking::explain(&mut connection, &self.collection, error).await);
            }
        };
        transaction.commit().await.map_err(failed)?;
        self.listen().await?;
        Ok(incarnation)
    }

    async fn remove(&mut self) -> Result<()> {
        self.listener = None;
        let removing = async {
            logical::leave(&mut *self.pool.acquire().await?, &self.collection).await?;
            let mut transaction = self.pool.begin().await?;
            tracking::remove(&mut transaction, &self.collection).await?;
            transaction.commit().await
        };
        removing.await.map_err(|error| self.collection.place.failed("removing change tracking", error))
    }

    async fn head(&mut self) -> Result<Position> {
        let seen: Sql<String> = sqlx::query_scalar("SELECT pg_current_snapshot()::text").fetch_one(&self.pool).await;
        let seen = seen.map_err(|error| self.collection.place.failed("asking for the current position", error))?;
        Ok(position::write(&LogPosition { seen, window: None }))
    }

    async fn next_batch(&mut self, after: &Position, max: usize) -> Result<ChangeBatch> {
        let (position, seen) = self.position(after)?;
        let max = max.max(1);
        let page = self.page(&position, &seen, max).await.map_err(|error| self.failed("reading changes", error))?;
        if !page.registered {
            return Err(self.lost("this consumer is not registered any more"));
        }
        if Snapshot::parse(&page.until).is_some_and(|until| until.xmax < seen.xmax) {
            return Err(self.lost("the stored position is ahead of the server, which was restored from a backup"));
        }
        if page.entries.iter().any(|entry| entry.op == "T") {
            let message = "the table was truncated; load the pair again (tidelock resync)";
            return Err(self.collection.place.error(ErrorKind::SchemaMismatch, "source.truncated", message));
        }
        if page.entries.iter().any(|entry| entry.op == "L") {
            return Err(self.lost("a key column of the table was renamed or changed its type"));
        }
        let more = page.read >= max;
        let through = match page.entries.last() {
            Some(last) if more => {
                let window = Some(Window { until: page.until, xid: last.xid, seq: last.seq });
                position::write(&LogPosition { seen: position.seen, window })
            }
            // An idle stream stays where it is, so that nothing has to be committed.
            None if position.window.is_none() => after.clone(),
            _ => position::write(&LogPosition { seen: page.until, window: None }),
        };
        self.delivered += page.read;
        let changes = page.entries.into_iter().filter(|entry| !entry.own).map(|entry| Change {
            op: if entry.op == "D" { Op::Delete } else { Op::Upsert },
            key: entry.key,
            at: entry.at,
            image: None,
        });
        Ok(ChangeBatch { changes: changes.collect(), through, more })
    }

    async fn wait(&mut self, timeout: Duration) -> Result<()> {
        self.listen().await?;
        if let Some(listener) = &self.listener {
            // Either way the caller looks.
            tokio::time::timeout(timeout, listener.wait()).await.unwrap_or_default();
        }
        Ok(())
    }

    async fn acknowledge(&mut self, through: &Position) -> Result<()> {
        let due = self.delivered >= TRIM_CHANGES || self.last_trim.is_none_or(|last| last.elapsed() >= TRIM_INTERVAL);
        if self.delivered == 0 || !due {
            return Ok(());
        }
        let (position, _) = self.position(through)?;
        self.trim(&position).await.map_err(|error| self.failed("trimming the change table", error))?;
        self.delivered = 0;
        self.last_trim = Some(Instant::now());
        Ok(())
    }
}
