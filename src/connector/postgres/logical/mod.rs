//! Captures changes from the server's log, by logical replication (layer 4): the port's [`Source`] over `stream`, which `wire`
//! connect and `decode` reads. `objects` makes the publication and the slot, `position` says where the reader stands.
//!
//! The log has a transaction before anybody can see it. A change only says "look at this key", so it is handed out when whoever looks will
//! find it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use sqlx::postgres::PgPool;
use sqlx::{Connection, PgConnection};
use tokio::sync::{Mutex, OnceCell, watch};

use super::collection::Collection;
use super::errors::{Place, Sql};
use super::options::Server;
use super::position::{self as written, Snapshot};
use super::table::{PgColumn, Table};
use super::target;
use crate::change::{Change, ChangeBatch, Op, Position};
use crate::connector::logged::What;
use crate::connector::{Capabilities, Source};
use crate::error::{ErrorKind, Result, SyncError};
use crate::record::Key;

use decode::Decoder;
use position::{Begun, Passed, StreamPosition, shows};
use stream::{Entry, Progress, Running};
use wire::{Wire, WireError};

mod decode;
mod objects;
mod position;
mod stream;
mod wire;

pub(super) use crate::connector::tls::Trust;
pub(super) use objects::mark;
pub(super) use wire::Address;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Until then the server must have sent what it has written.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// How long a transaction that is in the log already is waited for until it is visible, at once.
const VISIBLE_TIMEOUT: Duration = Duration::from_millis(200);
const VISIBLE_POLL: Duration = Duration::from_millis(1);
/// An idle reader looks this often, so that the server may forget what it wrote for others; and whether all is as it was made.
const IDLE_LOOK: Duration = Duration::from_secs(10);

/// A table's stream, which source and target share.
pub(super) struct Stream {
    place: Place,
    server: Server,
    pool: PgPool,
    key: Vec<PgColumn>,
    name: String,
    /// A source that was prepared: it alone may take the slot from whoever reads it.
    prepared: AtomicBool,
    /// Whether there was a slot when somebody first wrote: the target of a pair that goes one way has none.
    followed: OnceCell<bool>,
    running: Mutex<Option<Arc<Running>>>,
}

impl Stream {
    /// The stream of a table; connects when it is first used.
    pub(super) fn new(server: &Server, place: &Place, table: &Table, (key, consumer): (&[PgColumn], &str)) -> Self {
        Self {
            name: objects::name(&server.place.server, table, consumer),
            place: place.clone(),
            pool: server.single(),
            server: server.clone(),
            key: key.to_vec(),
            prepared: AtomicBool::new(false),
            followed: OnceCell::new(),
            running: Mutex::default(),
        }
    }

    /// Name of the slot and the publication.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// Whether anybody reads the stream, who has to know what we write.
    async fn is_followed(&self, connection: &mut PgConnection) -> Sql<bool> {
        if self.prepared.load(Ordering::Relaxed) {
            return Ok(true);
        }
        let look = self
            .followed
            .get_or_try_init(|| async move { objects::slot(connection, &self.name).await.map(|slot| slot.is_some()) });
        look.await.copied()
    }

    fn lost(&self, why: &str) -> SyncError {
        let message = format!("{why}: changes may have been missed; load the pair again (tidelock resync)");
        self.place.error(ErrorKind::SchemaMismatch, "source.tracking_lost", message)
    }

    fn failed(&self, error: &WireError) -> SyncError {
        const DOING: &str = "reading the replication stream";
        match error {
            WireError::Server { state, message } => self.place.said(DOING, state, message),
            WireError::Refused(_) => self.place.error(
                ErrorKind::Unauthenticated,
                "postgres.unauthenticated",
                format_args!("{DOING}: {error}"),
            ),
            WireError::Lost(_) | WireError::Tls(_) | WireError::Unreadable => {
                self.place.error(ErrorKind::Unavailable, "postgres.unavailable", format_args!("{DOING}: {error}"))
            }
        }
    }

    async fn connection(&self) -> Result<sqlx::pool::PoolConnection<sqlx::Postgres>> {
        self.pool.acquire().await.map_err(|error| self.place.failed("asking for the replication slot", error))
    }

    /// An error where a stream that begins at `confirmed` leaves out what comes behind `least`.
    fn reaches_back(&self, confirmed: u64, least: u64) -> Result<()> {
        if confirmed > least {
            return Err(self.lost("the replication slot stands behind the stored position"));
        }
        Ok(())
    }

    /// Begins to read where the slot was confirmed. `None` where there is no slot, or somebody else reads it who must be left alone.
    async fn start(&self, least: u64) -> Result<Option<Running>> {
        let failed = |error| self.place.failed("asking for the replication slot", error);
        let mut connection = self.connection().await?;
        let slot = objects::slot(&mut connection, &self.name).await.map_err(failed)?;
        let Some(slot) = slot.filter(|slot| slot.intact) else { return Ok(None) };
        if slot.reader.is_some() {
            if !self.prepared.load(Ordering::Relaxed) {
                return Ok(None);
            }
            objects::vacate(&mut connection, &self.name).await.map_err(failed)?;
        }
        self.reaches_back(slot.confirmed, least)?;
        let opening = async {
            let mut wire = Wire::open(&self.server.address()).await?;
            wire.start(&self.name, &self.name).await?;
            Ok(wire)
        };
        let timed_out = || WireError::Lost(std::io::Error::from(std::io::ErrorKind::TimedOut));
        let opened = tokio::time::timeout(CONNECT_TIMEOUT, opening).await.unwrap_or_else(|_| Err(timed_out()));
        let wire = opened.map_err(|error| self.failed(&error))?;
        let decoder = Decoder::new(self.key.clone());
        Ok(Some(Running::start(wire, decoder, &self.name, slot.confirmed)))
    }

    /// Waits until everything that is committed now has been read, or until `enough`. What is read waits to be taken, and the reader stops
    /// where that is too much: who takes must not wait for the end.
    async fn catch_up(
        &self,
        mut progress: watch::Receiver<Progress>,
        want: impl FnOnce(u64),
        enough: impl Fn(&Progress) -> bool,
    ) -> Result<bool> {
        let failed = |error| self.place.failed("asking for the end of the log", error);
        let mut connection = self.connection().await?;
        let end = end(&mut connection).await.map_err(failed)?;
        drop(connection);
        want(end);
        let reached = progress.wait_for(|now| now.read >= end || now.failed.is_some() || enough(now));
        match tokio::time::timeout(READ_TIMEOUT, reached).await {
            Ok(Ok(now)) => Ok(now.read >= end),
            Ok(Err(_)) => Err(SyncError::internal("the reader of a replication stream is gone")),
            Err(_) => {
                let message = format!("the server has not sent what it has written within {READ_TIMEOUT:?}");
                Err(self.place.error(ErrorKind::Unavailable, "postgres.unavailable", message))
            }
        }
    }

    /// When records were last changed by others, as far as that is not acknowledged; see `Target::change_times`.
    pub(super) async fn times(&self, keys: &[Key]) -> Result<Vec<Option<i64>>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut running = self.running.lock().await;
        if running.is_none() {
            *running = self.start(u64::MAX).await?.map(Arc::new);
        }
        let Some((shared, progress)) =
            running.as_ref().map(|running| (Arc::clone(&running.shared), running.progress.clone()))
        else {
            return Ok(vec![None; keys.len()]);
        };
        drop(running);
        self.catch_up(progress.clone(), |end| shared.want(end), |_| false).await?;
        let failed = progress.borrow().failed.clone();
        failed.map_or_else(|| Ok(shared.times(keys)), |error| Err(self.failed(&error)))
    }
}

/// A place in the log behind everything that is visible now, which the stream is sure to reach. The end of what is on disk is none: it
/// may lie within a record, whose rest nobody writes for minutes.
async fn end(connection: &mut PgConnection) -> Sql<u64> {
    let ends = "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint, (pg_current_wal_flush_lsn() - '0/0')::bigint";
    let (inserted, flushed): (i64, i64) = sqlx::query_as(ends).fetch_one(&mut *connection).await?;
    let end = if flushed >= inserted {
        inserted
    } else {
        // A commit that is waited for takes all before it to the disk, and comes over the stream itself.
        let mut marker = connection.begin_with("BEGIN; SET LOCAL synchronous_commit = local").await?;
        let emit = "SELECT (pg_logical_emit_message(true, 'tidelock', '') - '0/0')::bigint";
        let end: i64 = sqlx::query_scalar(emit).fetch_one(&mut *marker).await?;
        marker.commit().await?;
        end
    };
    Ok(u64::try_from(end).unwrap_or_default())
}

/// The reader of a table's stream.
pub(super) struct StreamSource {
    collection: Arc<Collection>,
    stream: Arc<Stream>,
    /// The position handed out last by the stream that runs.
    issued: Option<Position>,
    progress: Option<watch::Receiver<Progress>>,
    /// What had come when it was last looked.
    arrived: u64,
    /// What was visible when it was last asked.
    visible: Option<Snapshot>,
    /// Whoever waits is told of what comes. Whoever does not wait takes an empty answer for the end: so it is made sure that it is.
    waits: bool,
    looked: Instant,
}

impl StreamSource {
    /// A source of the collection's stream.
    pub(super) fn new(collection: Arc<Collection>) -> Result<Self> {
        let missing = || SyncError::internal("a collection was opened without its stream");
        let stream = Arc::clone(collection.stream.as_ref().ok_or_else(missing)?);
        Ok(Self {
            collection,
            stream,
            issued: None,
            progress: None,
            arrived: 0,
            visible: None,
            waits: false,
            looked: Instant::now(),
        })
    }

    /// The stream, at a place where it goes on after `after`.
    async fn running(&mut self, after: &Position, least: u64) -> Result<Arc<Running>> {
        let mut running = self.stream.running.lock().await;
        let elsewhere = self.issued.as_ref().is_some_and(|issued| issued != after);
        if elsewhere || running.as_ref().is_some_and(|running| running.shared.is_spent()) {
            *running = None;
        }
        if let Some(error) = running.as_ref().and_then(|running| running.progress.borrow().failed.clone()) {
            (*running, self.progress, self.issued) = (None, None, None);
            return Err(self.stream.failed(&error));
        }
        if running.is_none() {
            // What came before it began, nobody was told of.
            (self.progress, self.issued, self.waits) = (None, None, false);
            *running = self.stream.start(least).await?.map(Arc::new);
        }
        let running = running.clone().ok_or_else(|| self.stream.lost("the replication slot is gone"))?;
        self.stream.reaches_back(running.began, least)?;
        // What comes from now on ends the next wait.
        self.arrived = self.progress.get_or_insert_with(|| running.progress.clone()).borrow().arrived;
        Ok(running)
    }

    /// The first changes after a position that are visible, at most `max`; and whether one waits that is not.
    async fn visible(&mut self, running: &Running, passed: &Passed, max: usize) -> Result<(Vec<Entry>, bool)> {
        let mut entries = running.shared.first(max, |entry| passed.holds(entry.place, entry.xid));
        let began = Instant::now();
        loop {
            let shown = |entry: &Entry| self.visible.as_ref().is_some_and(|seen| shows(seen, entry.xid));
            let hidden = entries.iter().position(|entry| !shown(entry));
            match hidden {
                None => return Ok((entries, false)),
                Some(hidden) if hidden > 0 || began.elapsed() >= VISIBLE_TIMEOUT => {
                    entries.truncate(hidden);
                    return Ok((entries, true));
                }
                Some(_) if self.visible.is_some() && began.elapsed() >= VISIBLE_POLL => {
                    tokio::time::sleep(VISIBLE_POLL).await;
                }
                Some(_) => {}
            }
            let mut connection = self.stream.connection().await?;
            let seen: Sql<String> =
                sqlx::query_scalar("SELECT pg_current_snapshot()::text").fetch_one(&mut *connection).await;
            let seen = seen.map_err(|error| self.stream.place.failed("asking for what is visible", error))?;
            self.visible = Snapshot::parse(&seen);
        }
    }

    /// Whether the publication is still what was made: a table that was taken out of it is silent.
    async fn look(&mut self) -> Result<()> {
        if self.looked.elapsed() < IDLE_LOOK {
            return Ok(());
        }
        self.looked = Instant::now();
        let mut connection = self.stream.connection().await?;
        let intact = objects::is_intact(&mut connection, &self.collection, &self.stream.name).await;
        match intact.map_err(|error| self.stream.place.failed("asking for the publication", error))? {
            true => Ok(()),
            false => Err(self.stream.lost("the publication or the slot was altered, or the table was made anew")),
        }
    }

    /// Changes for the pipeline, the position behind them, and the place of the last; an error where the first is none.
    fn changes(
        &self,
        entries: Vec<Entry>,
        position: &StreamPosition,
    ) -> Result<(Vec<Change>, StreamPosition, (u64, u64))> {
        let (mut through, mut last) = (position.clone(), (0, 0));
        let mut changes = Vec::with_capacity(entries.len());
        for entry in entries {
            let (op, key) = match entry.what {
                What::Upsert(key) => (Op::Upsert, key),
                What::Delete(key) => (Op::Delete, key),
                // What came before it is delivered first.
                What::Truncated | What::Lost(_) if !changes.is_empty() => break,
                What::Truncated => {
                    let message = "the table was truncated; load the pair again (tidelock resync)";
                    return Err(self.stream.place.error(ErrorKind::SchemaMismatch, "source.truncated", message));
                }
                What::Lost(why) => return Err(self.stream.lost(why)),
            };
            last = entry.place;
            through = match entry.end {
                Some(end) => through.moved(end, 0),
                None => through.moved(last.0, last.1 + 1),
            };
            changes.push(Change { op, key, at: Some(entry.at), image: None });
        }
        Ok((changes, through, last))
    }

    fn position(&self, position: &Position) -> Result<(StreamPosition, Passed)> {
        let read = written::read::<StreamPosition>(position);
        read.and_then(|position| position.passed().map(|passed| (position, passed)))
            .ok_or_else(|| self.stream.lost("the stored position is none of a replication stream"))
    }
}

#[async_trait]
impl Source for StreamSource {
    fn capabilities(&self) -> Capabilities {
        target::capabilities(&self.collection)
    }

    async fn prepare(&mut self) -> Result<String> {
        *self.stream.running.lock().await = None;
        let mut connection = self.stream.connection().await?;
        let incarnation = objects::prepare(&mut connection, &self.collection, &self.stream.name).await?;
        self.stream.prepared.store(true, Ordering::Relaxed);
        Ok(incarnation)
    }

    async fn remove(&mut self) -> Result<()> {
        *self.stream.running.lock().await = None;
        let mut connection = self.stream.connection().await?;
        let removed = objects::remove(&mut connection, &self.collection, &self.stream.name).await;
        removed.map_err(|error| self.stream.place.failed("removing the replication slot", error))
    }

    async fn head(&mut self) -> Result<Position> {
        let failed = |error| self.stream.place.failed("asking for the current position", error);
        let mut connection = self.stream.connection().await?;
        let slot = objects::slot(&mut connection, &self.stream.name).await.map_err(failed)?;
        let slot = slot.ok_or_else(|| self.stream.lost("the replication slot is gone"))?;
        let sql = "SELECT pg_current_snapshot()::text, (pg_current_wal_insert_lsn() - '0/0')::bigint";
        let (seen, until): (String, i64) = sqlx::query_as(sql).fetch_one(&mut *connection).await.map_err(failed)?;
        let begun = Begun { seen, until: u64::try_from(until).unwrap_or_default() };
        Ok(written::write(&StreamPosition { lsn: slot.confirmed, index: 0, begun: Some(begun) }))
    }

    async fn next_batch(&mut self, after: &Position, max: usize) -> Result<ChangeBatch> {
        let (position, passed) = self.position(after)?;
        self.look().await?;
        let max = max.max(1);
        let (mut caught_up, mut asked) = (false, false);
        let (changes, through, more) = loop {
            let running = self.running(after, position.lsn).await?;
            // Asked for before what waits: all that was committed before it waits, or was taken.
            let read = running.progress.borrow().read;
            let (entries, hidden) = self.visible(&running, &passed, max).await?;
            let complete = caught_up || hidden || self.waits || entries.len() >= max;
            if !complete && (entries.is_empty() || !asked) {
                let enough = |_: &Progress| running.shared.has(max, |entry| passed.holds(entry.place, entry.xid));
                caught_up = self.stream.catch_up(running.progress.clone(), |_| (), enough).await?;
                asked = true;
                continue;
            }
            if !entries.is_empty() {
                let (changes, through, last) = self.changes(entries, &position)?;
                break (changes, through, running.shared.take(last));
            }
            // An idle stream moves with the log, so that the server may forget what others wrote.
            let further = !hidden && read > position.lsn;
            break (Vec::new(), if further { position.moved(read, 0) } else { position }, false);
        };
        let through = written::write(&through);
        self.issued = Some(through.clone());
        Ok(ChangeBatch { changes, through, more })
    }

    async fn wait(&mut self, timeout: Duration) -> Result<()> {
        self.waits = true;
        let timeout = timeout.min(IDLE_LOOK);
        let Some(progress) = &mut self.progress else {
            tokio::time::sleep(timeout.min(VISIBLE_TIMEOUT)).await;
            return Ok(());
        };
        let before = self.arrived;
        let news = async { progress.wait_for(|now| now.arrived != before || now.failed.is_some()).await.is_ok() };
        // Either way the caller looks.
        tokio::time::timeout(timeout, news).await.unwrap_or_default();
        Ok(())
    }

    async fn acknowledge(&mut self, through: &Position) -> Result<()> {
        let (position, _) = self.position(through)?;
        if let Some(running) = self.stream.running.lock().await.as_ref() {
            running.shared.confirm(position.lsn);
        }
        Ok(())
    }
}

/// Drops the slot of a consumer that finds changes in another way now: it would hold the server's log for ever.
pub(super) async fn leave(connection: &mut PgConnection, collection: &Collection) -> Sql<()> {
    let name = objects::name(&collection.server.place.server, &collection.table, &collection.options.consumer);
    if objects::slot(connection, &name).await?.is_some() {
        objects::drop_both(connection, &name).await?;
    }
    Ok(())
}
