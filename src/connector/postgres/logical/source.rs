//! The reader of a table's stream (layer 4): the port's [`Source`].

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use sqlx::Row;
use tokio::sync::watch;

use super::super::collection::{Collection, columns_of, matching, query, unnest};
use super::super::errors::Sql;
use super::super::position::{self as written, Snapshot};
use super::super::target;
use super::position::{Begun, Passed, StreamPosition, shows};
use super::stream::{Entry, Progress, Running};
use super::{Stream, objects, snapshot};
use crate::change::{Change, ChangeBatch, Op, Position};
use crate::connector::logged::{self, IDLE_LOOK, Times, VISIBLE_POLL, VISIBLE_TIMEOUT, What};
use crate::connector::{Capabilities, Source};
use crate::error::{ErrorKind, Result, SyncError};
use crate::record::{Key, Record};

/// A place of the log that nothing stands behind.
const UNKNOWN: u64 = u64::MAX;

/// Transactions that are kept in mind until somebody looks.
const UNSEEN_MAX: usize = 10_000;

/// Records by their keys.
type Records = HashMap<Key, Record>;

/// The reader of a table's stream.
pub(in super::super) struct StreamSource {
    collection: Arc<Collection>,
    stream: Arc<Stream>,
    /// The position handed out last by the stream that runs.
    issued: Option<Position>,
    progress: Option<watch::Receiver<Progress>>,
    /// What had come when it was last looked.
    arrived: u64,
    /// A record is carried by changes that were committed behind this place of the log only. Whoever looks at a record may see what is
    /// committed later, and must not be handed the older one afterwards.
    carried_from: u64,
    /// The same for records that only this source has looked at, of the batch before and of those before that.
    looked_up: Vec<Key>,
    seen: Times<u64>,
    /// Commits wait for standbys. Until then nobody sees them, and nothing is carried that might be lost with the server.
    standbys: bool,
    /// Whoever waits is told of what comes. Whoever does not wait takes an empty answer for the end: so it is made sure that it is.
    waits: bool,
    looked: Instant,
}

impl StreamSource {
    /// A source of the collection's stream.
    pub(in super::super) fn new(collection: Arc<Collection>) -> Result<Self> {
        let missing = || SyncError::internal("a collection was opened without its stream");
        let stream = Arc::clone(collection.stream.as_ref().ok_or_else(missing)?);
        Ok(Self {
            collection,
            stream,
            issued: None,
            progress: None,
            arrived: 0,
            carried_from: UNKNOWN,
            looked_up: Vec::new(),
            seen: Times::default(),
            standbys: true,
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
            (self.progress, self.issued, self.waits, self.carried_from) = (None, None, false, UNKNOWN);
            *running = self.stream.start(least).await?.map(Arc::new);
        }
        let running = running.clone().ok_or_else(|| self.stream.lost("the replication slot is gone"))?;
        self.stream.reaches_back(running.began, least)?;
        // What comes from now on ends the next wait.
        self.arrived = self.progress.get_or_insert_with(|| running.progress.clone()).borrow().arrived;
        Ok(running)
    }

    /// Asks for the end of the log where somebody may have seen what stands before it. What stands before `position` does not come any more.
    async fn set_carried_from(&mut self, position: u64) -> Result<()> {
        self.seen.forget(position);
        if self.stream.fields.is_none() {
            return Ok(());
        }
        // Nothing is carried until there is an answer.
        if self.stream.looked.swap(false, Ordering::Relaxed) {
            self.carried_from = UNKNOWN;
        }
        if self.carried_from == UNKNOWN || !self.looked_up.is_empty() {
            let end = self.ask().await?;
            if self.carried_from == UNKNOWN {
                self.carried_from = end;
            }
            // When is of no concern, only where.
            self.looked_up.drain(..).for_each(|key| self.seen.note(&What::Upsert(key), end, 0));
        }
        Ok(())
    }

    /// The end of the log; asks for standbys, too.
    async fn ask(&mut self) -> Result<u64> {
        let mut connection = self.stream.connection().await?;
        let sql =
            "SELECT (pg_current_wal_insert_lsn() - '0/0')::bigint, current_setting('synchronous_standby_names') <> ''";
        let asked: Sql<(i64, bool)> = sqlx::query_as(sql).fetch_one(&mut *connection).await;
        let (end, standbys) =
            asked.map_err(|error| self.stream.place.failed("asking for the end of the log and for standbys", error))?;
        self.standbys = standbys;
        Ok(u64::try_from(end).unwrap_or(u64::MAX))
    }

    /// Whether nobody has to look at the record.
    fn carries(&self, entry: &Entry) -> bool {
        let seen = |key| self.seen.last(key).is_some_and(|(end, _)| entry.place.0 < end);
        let is_newer = match &entry.what {
            What::Upsert(key) => entry.place.0 >= self.carried_from && !seen(key),
            What::Delete(_) | What::Truncated | What::Lost(_) => false,
        };
        is_newer && entry.image.is_some() && !self.standbys
    }

    /// The first changes after a position that are visible or need not be, at most `max`, with the records of those that carry none; and whether
    /// one waits that is not visible.
    async fn visible(&self, running: &Running, passed: &Passed, max: usize) -> Result<(Vec<Entry>, Records, bool)> {
        let mut entries = running.shared.first(max, |entry| passed.holds(entry.place, entry.xid));
        // What came before one that is no change is delivered first. What comes behind it nobody looks at: the table may be another one.
        let ends = entries.iter().position(|entry| matches!(entry.what, What::Truncated | What::Lost(_)));
        entries.truncate(ends.map_or(entries.len(), |ends| ends.max(1)));
        let began = Instant::now();
        let mut waits = false;
        while !entries.iter().all(|entry| self.carries(entry)) {
            let seen = self.see(&entries).await;
            let (seen, records) =
                seen.map_err(|error| self.stream.place.failed("asking for what is visible", error))?;
            let shown = |entry: &Entry| seen.as_ref().is_some_and(|seen| shows(seen, entry.xid));
            match entries.iter().position(|entry| !self.carries(entry) && !shown(entry)) {
                None => return Ok((entries, records, waits)),
                Some(hidden) if hidden > 0 || began.elapsed() >= VISIBLE_TIMEOUT => {
                    entries.truncate(hidden);
                    return Ok((entries, records, true));
                }
                Some(_) => {}
            }
            // The others are looked at once the first is there.
            entries.truncate(1);
            waits = true;
            if began.elapsed() >= VISIBLE_POLL {
                tokio::time::sleep(VISIBLE_POLL).await;
            }
        }
        Ok((entries, Records::default(), waits))
    }

    /// What is visible now, and of that the records that somebody would have to look at: whoever is told of them need not ask once more.
    async fn see(&self, entries: &[Entry]) -> Sql<(Option<Snapshot>, Records)> {
        let wanted = entries.iter().filter_map(|entry| match &entry.what {
            What::Upsert(key) if !self.carries(entry) => Some(key),
            What::Upsert(_) | What::Delete(_) | What::Truncated | What::Lost(_) => None,
        });
        let keys: Vec<&Key> = wanted.collect::<HashSet<_>>().into_iter().collect();
        let mut connection = self.stream.pool.acquire().await?;
        if keys.is_empty() {
            return Ok((snapshot(&mut connection).await?, Records::default()));
        }
        let (collection, width) = (&self.collection, self.collection.key.len());
        let found = format!(
            "SELECT u.ord, {} FROM {} JOIN {} AS t ON {}",
            collection.texts("t"),
            unnest(width, 1),
            collection.rows(),
            matching(&collection.key)
        );
        let sql = format!(
            "SELECT s.seen, r.* FROM (SELECT pg_current_snapshot()::text AS seen) AS s LEFT JOIN ({found}) AS r ON true"
        );
        let rows = query(sql, columns_of(keys.iter().copied(), width)).fetch_all(&mut *connection).await?;
        let (mut seen, mut records) = (None, Records::with_capacity(rows.len()));
        for row in &rows {
            let ord: Option<i64> = row.try_get(1)?;
            if let Some(key) = ord.and_then(|ord| keys.get(usize::try_from(ord - 1).ok()?)) {
                records.insert((*key).clone(), collection.record(row, 2)?);
            }
        }
        if let Some(row) = rows.first() {
            seen = Snapshot::parse(row.try_get(0)?);
        }
        Ok((seen, records))
    }

    /// Whether the publication is still what was made: a table that was taken out of it is silent.
    async fn look(&mut self) -> Result<()> {
        if self.looked.elapsed() < IDLE_LOOK {
            return Ok(());
        }
        self.looked = Instant::now();
        let mut connection = self.stream.connection().await?;
        let intact = objects::is_intact(&mut connection, &self.collection, &self.stream.name).await;
        drop(connection);
        match intact.map_err(|error| self.stream.place.failed("asking for the publication", error))? {
            true => self.ask().await.map(drop),
            false => Err(self.stream.lost("the publication or the slot was altered, or the table was made anew")),
        }
    }

    /// The position behind these entries, and the place of the last; an error where the first is no change.
    fn deliverable(&self, entries: &[Entry], position: &StreamPosition) -> Result<(StreamPosition, (u64, u64))> {
        match entries.first().map(|entry| &entry.what) {
            Some(What::Truncated) => {
                let message = "the table was truncated; load the pair again (tidelock resync)";
                return Err(self.stream.place.error(ErrorKind::SchemaMismatch, "source.truncated", message));
            }
            Some(What::Lost(why)) => return Err(self.stream.lost(why)),
            Some(What::Upsert(_) | What::Delete(_)) | None => {}
        }
        let (through, last) = match entries.last() {
            Some(Entry { place, end: Some(end), .. }) => (position.moved(*end, 0), *place),
            Some(Entry { place, end: None, .. }) => (position.moved(place.0, place.1 + 1), *place),
            None => (position.clone(), (0, 0)),
        };
        Ok((through, last))
    }

    /// Changes for the pipeline, the last of each key with its record.
    fn changes(&mut self, entries: Vec<Entry>, mut records: Records) -> Vec<Change> {
        let mut changes = Vec::with_capacity(entries.len());
        let stream = Arc::clone(&self.stream);
        let (mut unseen, mut last) = (stream.unseen(), None);
        for entry in entries.into_iter().rev() {
            let carries = self.carries(&entry);
            if carries {
                if last.replace(entry.xid) != Some(entry.xid) {
                    unseen.insert(entry.xid);
                }
            } else if stream.fields.is_some() {
                self.looked_up.extend(entry.what.key().cloned());
            }
            let (op, key, seen) = match entry.what {
                What::Upsert(key) => {
                    let seen = records.remove(&key);
                    (Op::Upsert, key, seen)
                }
                What::Delete(key) => (Op::Delete, key, None),
                What::Truncated | What::Lost(_) => continue,
            };
            let image = if carries { entry.image.map(Arc::unwrap_or_clone) } else { seen };
            changes.push(Change { op, key, at: Some(entry.at), image });
        }
        changes.reverse();
        changes
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
        if self.stream.unseen().len() >= UNSEEN_MAX {
            self.stream.see_carried().await?;
        }
        let max = max.max(1);
        let (mut caught_up, mut asked) = (false, false);
        let (changes, through, more) = loop {
            let running = self.running(after, position.lsn).await?;
            // Asked for before what waits: all that was committed before it waits, or was taken.
            let read = running.progress.borrow().read;
            self.set_carried_from(position.lsn).await?;
            let (entries, records, hidden) = self.visible(&running, &passed, max).await?;
            let complete = caught_up || hidden || self.waits || entries.len() >= max;
            if !complete && (entries.is_empty() || !asked) {
                let enough = |_: &Progress| running.shared.has(max, |entry| passed.holds(entry.place, entry.xid));
                caught_up = self.stream.catch_up(running.progress.clone(), |_| (), enough).await?;
                asked = true;
                continue;
            }
            if !entries.is_empty() {
                let (through, last) = self.deliverable(&entries, &position)?;
                // Taken first: what they carry is theirs then, and need not be copied.
                let more = running.shared.take(last);
                break (self.changes(entries, records), through, more);
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
        let before = self.arrived;
        logged::wait(self.progress.as_mut(), timeout, |now| now.arrived != before || now.failed.is_some()).await;
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
