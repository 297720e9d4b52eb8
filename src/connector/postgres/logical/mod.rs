//! Captures changes from the server's log, by logical replication (layer 4): the port's `Source` (`source`) over `stream`, which `wire`
//! connects and `decode` reads. `objects` makes the publication and the slot, `position` says where the reader stands.
//!
//! The log has a transaction before anybody can see it. A change only says "look at this key", so it is handed out when whoever looks will
//! find it. Where nobody has to look, because the change carries its record (`OpenOptions::images`), it is handed out at once; whoever looks afterwards
//! waits until it is visible.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use sqlx::postgres::PgPool;
use sqlx::{Connection, PgConnection};
use tokio::sync::{Mutex, OnceCell, watch};

use super::collection::Collection;
use super::errors::{Place, Sql};
use super::options::Server;
use super::position::Snapshot;
use super::table::{PgColumn, Table};
use crate::connector::logged::VISIBLE_POLL;
use crate::error::{ErrorKind, Result, SyncError};
use crate::record::Key;

use decode::Decoder;
use stream::{Progress, Running};
use wire::{Wire, WireError};

mod decode;
mod objects;
mod position;
mod source;
mod stream;
mod wire;

pub(super) use crate::connector::tls::Trust;
pub(super) use decode::Fields;
pub(super) use objects::{MARK, is_followed, mark, said};
pub(super) use source::StreamSource;
pub(super) use wire::Address;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Until then a transaction that stands in the log must be visible: it needs no more than its own process.
const SEEN_TIMEOUT: Duration = Duration::from_secs(10);
/// Until then the server must have sent what it has written.
const READ_TIMEOUT: Duration = Duration::from_secs(60);

/// A table's stream, which source and target share.
pub(super) struct Stream {
    place: Place,
    server: Server,
    pool: PgPool,
    key: Vec<PgColumn>,
    /// What changes carry of their records, where they do.
    fields: Option<Fields>,
    name: String,
    /// A source that was prepared: it alone may take the slot from whoever reads it.
    prepared: AtomicBool,
    /// Whether there was a slot when somebody first wrote: the target of a pair that goes one way has none.
    followed: OnceCell<bool>,
    running: Mutex<Option<Arc<Running>>>,
    /// Somebody has looked at records, or written some, since the source last asked for the end of the log.
    looked: AtomicBool,
    /// Transactions whose changes were handed out with their records, and which may not be visible yet.
    unseen: std::sync::Mutex<HashSet<u32>>,
}

impl Stream {
    /// The stream of a table; connects when it is first used.
    pub(super) fn new(
        server: &Server,
        place: &Place,
        table: &Table,
        (key, consumer): (&[PgColumn], &str),
        fields: Option<Fields>,
    ) -> Self {
        Self {
            name: objects::name(&server.place.server, table, consumer),
            place: place.clone(),
            pool: server.single(),
            server: server.clone(),
            key: key.to_vec(),
            fields,
            prepared: AtomicBool::new(false),
            followed: OnceCell::new(),
            running: Mutex::default(),
            looked: AtomicBool::new(false),
            unseen: std::sync::Mutex::default(),
        }
    }

    /// Does what sees records, or changes them. It sees no less than was handed out; and whoever has seen a record is handed no older one
    /// afterwards: what may be is looked up (`StreamSource::set_carried_from`).
    pub(super) async fn looking<T>(&self, doing: impl Future<Output = Result<T>>) -> Result<T> {
        self.see_carried().await?;
        let done = doing.await;
        self.looked.store(true, Ordering::Relaxed);
        done
    }

    fn unseen(&self) -> std::sync::MutexGuard<'_, HashSet<u32>> {
        // Nothing is left half-done under the lock.
        self.unseen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until everything is visible that was handed out before it may have been.
    async fn see_carried(&self) -> Result<()> {
        let began = Instant::now();
        while !self.unseen().is_empty() {
            let mut connection = self.connection().await?;
            let seen = snapshot(&mut connection).await;
            drop(connection);
            let seen = seen.map_err(|error| self.place.failed("asking for what is visible", error))?;
            self.unseen().retain(|xid| !seen.as_ref().is_some_and(|seen| position::shows(seen, *xid)));
            if self.unseen().is_empty() {
                break;
            }
            if began.elapsed() >= SEEN_TIMEOUT {
                let message = format!("a transaction that stands in the log is not visible after {SEEN_TIMEOUT:?}");
                return Err(self.place.error(ErrorKind::Unavailable, "postgres.unavailable", message));
            }
            tokio::time::sleep(VISIBLE_POLL).await;
        }
        Ok(())
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
        let decoder = Decoder::new(self.key.clone(), self.fields.clone());
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

/// What is visible now.
async fn snapshot(connection: &mut PgConnection) -> Sql<Option<Snapshot>> {
    let seen: String = sqlx::query_scalar("SELECT pg_current_snapshot()::text").fetch_one(connection).await?;
    Ok(Snapshot::parse(&seen))
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

/// Drops the slot of a consumer that finds changes in another way now: it would hold the server's log for ever.
pub(super) async fn leave(connection: &mut PgConnection, collection: &Collection) -> Sql<()> {
    let name = objects::name(&collection.server.place.server, &collection.table, &collection.options.consumer);
    if objects::slot(connection, &name).await?.is_some() {
        objects::drop_both(connection, &name).await?;
    }
    Ok(())
}
