//! Captures changes from the server's binary log (layer 4): the port's [`Source`] over `stream`, which `wire` connects, and which reads `events`
//! through a follower (`follow`, with `packed`, `layout`, `decode` and `ddl`); `begin` starts it. `objects` checks the server and registers the reader, `position` says where
//! the reader stands; see docs/decisions/0010.
//!
//! The log has a transaction before anybody can see it. A change only says "look at this key", so it is handed out when whoever looks will
//! find it.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use sqlx::MySqlConnection;
use sqlx::mysql::MySqlPool;
use tokio::sync::{Mutex, OnceCell, watch};

use super::collection::Collection;
use super::errors::Sql;
use super::position as written;
use super::target;
use crate::change::{Change, ChangeBatch, Op, Position};
use crate::connector::logged::{self, IDLE_LOOK, VISIBLE_POLL, VISIBLE_TIMEOUT, What};
use crate::connector::{Capabilities, Source};
use crate::error::{ErrorKind, Result, SyncError};
use crate::record::Key;

use begin::{failed, lost};
use objects::Make;
use position::LogPosition;
use stream::{Entry, Progress, Running};

mod begin;
mod bytes;
mod ddl;
mod decode;
mod events;
mod follow;
mod gtid;
mod layout;
mod objects;
mod packed;
mod position;
mod stream;
mod wire;

pub(super) use objects::is_used;
pub(super) use wire::Address;

/// How far the reader was acknowledged is put down at most this often.
const ACKNOWLEDGE_INTERVAL: Duration = Duration::from_secs(10);
const DOING: &str = "reading the binary log";

/// A table's stream, which source and target share.
pub(super) struct Stream {
    pool: MySqlPool,
    /// Which replica we are: the server ends an earlier connection of the same.
    server_id: u32,
    /// A source that was prepared: it alone is known to be registered.
    prepared: AtomicBool,
    /// Whether there was a registration when somebody first wrote: the target of a pair that goes one way has none.
    followed: OnceCell<bool>,
    /// Whose server it is, once that is known.
    make: OnceCell<Make>,
    running: Mutex<Option<Arc<Running>>>,
}

impl Stream {
    /// The stream of a table; connects when it is first used.
    pub(super) fn new(pool: MySqlPool, address: &Address) -> Self {
        // Beyond what people number their servers with.
        let random = || {
            0x4000_0000 | u32::try_from(RandomState::new().hash_one(&address.user) & 0x3fff_ffff).unwrap_or_default()
        };
        Self {
            pool,
            server_id: address.server_id.unwrap_or_else(random),
            prepared: AtomicBool::new(false),
            followed: OnceCell::new(),
            make: OnceCell::new(),
            running: Mutex::default(),
        }
    }
}

/// Says at the end of one of our transactions how many rows it has written, where somebody reads the log who has to know.
pub(super) async fn mark(connection: &mut MySqlConnection, collection: &Collection, rows: u64) -> Sql<()> {
    let Some(stream) = collection.stream.as_ref().filter(|_| rows > 0) else { return Ok(()) };
    if !stream.prepared.load(Ordering::Relaxed) {
        let asked = &mut *connection;
        let look = move || async move { objects::registration(asked, collection).await.map(|found| found.is_some()) };
        if !*stream.followed.get_or_try_init(look).await? {
            return Ok(());
        }
    }
    objects::said(connection, collection, rows).await
}

/// What keeps the log from being read, as an error; what should be otherwise. Asks for the log once, and changes nothing.
pub(super) async fn advice(collection: &Arc<Collection>) -> Result<Vec<String>> {
    let mut connection = collection.asking().await?;
    let advice = objects::check(&mut connection, collection).await?;
    drop(connection);
    collection.start(None).await?;
    Ok(advice)
}

/// The registration of a reader that finds changes in another way now is taken away.
pub(super) async fn leave(connection: &mut MySqlConnection, collection: &Collection) -> Result<()> {
    let left = objects::leave(connection, collection).await;
    left.map_err(|error| collection.place.failed("removing the reader of the binary log", error))
}

/// When records were last changed by others, as far as that is not acknowledged; see `Target::change_times`.
pub(super) async fn times(collection: &Arc<Collection>, keys: &[Key]) -> Result<Vec<Option<i64>>> {
    let unknown = vec![None; keys.len()];
    let mut running = collection.stream()?.running.lock().await;
    if running.is_none() {
        let mut connection = collection.asking().await?;
        let found = objects::registration(&mut connection, collection).await;
        let found = found.map_err(|error| collection.place.failed("asking for change times", error))?;
        drop(connection);
        let position = found.and_then(|found| written::read::<LogPosition>(&Position(found.position)));
        let Some(position) = position.filter(|_| !keys.is_empty()) else { return Ok(unknown) };
        *running = Some(Arc::new(collection.start(Some(&position)).await?));
    }
    let Some((shared, progress)) =
        running.as_ref().map(|running| (Arc::clone(&running.shared), running.progress.clone()))
    else {
        return Ok(unknown);
    };
    drop(running);
    collection.catch_up(&shared, progress.clone(), None::<fn() -> bool>).await?;
    let error = progress.borrow().failed.clone();
    error.map_or_else(|| Ok(shared.times(keys)), |error| Err(failed(&collection.place, Make::MySql, &error)))
}

/// The reader of a table's log.
pub(super) struct StreamSource {
    collection: Arc<Collection>,
    /// The position handed out last by the stream that runs.
    issued: Option<Position>,
    progress: Option<watch::Receiver<Progress>>,
    /// What had come when it was last looked.
    arrived: u64,
    /// What was visible when it was last asked.
    visible: (u64, u64),
    /// Whoever waits is told of what comes. Whoever does not wait takes an empty answer for the end: so it is made sure that it is.
    waits: bool,
    /// When an idle reader last moved on.
    moved: Instant,
    /// When it was last looked whether the log goes on, and how far had been read then.
    looked: Instant,
    stood: Option<(u64, u64)>,
    /// Changes were handed out that were not put down yet.
    delivered: bool,
    /// When that was last done, and the file that the position was in which was put down.
    acknowledged: Option<Instant>,
    known: Option<u64>,
}

impl StreamSource {
    /// A source of the collection's log.
    pub(super) fn new(collection: Arc<Collection>) -> Self {
        Self {
            collection,
            issued: None,
            progress: None,
            arrived: 0,
            visible: (0, 0),
            waits: false,
            moved: Instant::now(),
            looked: Instant::now(),
            stood: None,
            delivered: false,
            acknowledged: None,
            known: None,
        }
    }

    /// The stream, at a place where it goes on after `after`.
    async fn running(&mut self, after: &Position, position: &LogPosition) -> Result<Arc<Running>> {
        let mut running = self.collection.stream()?.running.lock().await;
        let elsewhere = self.issued.as_ref().is_some_and(|issued| issued != after);
        if elsewhere || running.as_ref().is_some_and(|running| running.shared.is_spent() || running.is_behind(position))
        {
            *running = None;
        }
        if let Some(error) = running.as_ref().and_then(|running| running.progress.borrow().failed.clone()) {
            (*running, self.progress, self.issued) = (None, None, None);
            return Err(failed(&self.collection.place, Make::MySql, &error));
        }
        if running.is_none() {
            // What came before it began, nobody was told of.
            (self.progress, self.issued, self.waits, self.visible) = (None, None, false, (0, 0));
            *running = Some(Arc::new(self.collection.start(Some(position)).await?));
        }
        let running = running.clone().ok_or_else(|| SyncError::internal("a stream is gone that was just begun"))?;
        // What comes from now on ends the next wait.
        self.arrived = self.progress.get_or_insert_with(|| running.progress.clone()).borrow().arrived;
        Ok(running)
    }

    /// Has the log asked for again, which tells whether it still is the one that was read.
    async fn leave(&mut self) -> Result<()> {
        *self.collection.stream()?.running.lock().await = None;
        (self.progress, self.issued) = (None, None);
        Ok(())
    }

    /// Whether an idle reader is where the log ends. After `RESET MASTER` the server goes on with a file of the same name, and sends nothing of it.
    async fn look(&mut self) -> Result<()> {
        let Some(progress) = self.progress.as_ref().filter(|_| self.waits && self.looked.elapsed() >= IDLE_LOOK) else {
            return Ok(());
        };
        self.looked = Instant::now();
        let read = progress.borrow().read.spot.order();
        let mut connection = self.collection.asking().await?;
        let end = self.collection.end(&mut connection).await?;
        drop(connection);
        if end != read && self.stood == Some(read) {
            self.leave().await?;
        }
        self.stood = Some(read);
        Ok(())
    }

    /// The first changes after a position that are visible, at most `max`; and whether one waits that is not.
    async fn visible(&mut self, running: &Running, passed: &LogPosition, max: usize) -> Result<(Vec<Entry>, bool)> {
        let mut entries = running.shared.first(max, passed);
        let began = Instant::now();
        let mut asked = false;
        loop {
            // What is visible ends between two groups: a group that begins before it is visible as a whole.
            let hidden = entries.iter().position(|entry| entry.place.group.order() >= self.visible);
            match hidden {
                None => return Ok((entries, false)),
                Some(hidden) if hidden > 0 || began.elapsed() >= VISIBLE_TIMEOUT => {
                    entries.truncate(hidden);
                    return Ok((entries, true));
                }
                Some(_) if asked => tokio::time::sleep(VISIBLE_POLL).await,
                Some(_) => {}
            }
            asked = true;
            let mut connection = self.collection.asking().await?;
            self.visible = self.collection.visible_now(&mut connection).await?;
        }
    }

    /// Changes for the pipeline, the position behind them, and the last entry; an error where the first is no change.
    fn changes(&self, entries: Vec<Entry>) -> Result<Option<(Vec<Change>, Entry)>> {
        let (mut changes, mut last) = (Vec::with_capacity(entries.len()), None);
        for entry in entries {
            let (op, key) = match &entry.what {
                What::Upsert(key) => (Op::Upsert, key.clone()),
                What::Delete(key) => (Op::Delete, key.clone()),
                // What came before it is delivered first.
                What::Truncated | What::Lost(_) if !changes.is_empty() => break,
                What::Truncated => {
                    let message = "the table was truncated; load the pair again (tidelock resync)";
                    return Err(self.collection.place.error(ErrorKind::SchemaMismatch, "source.truncated", message));
                }
                What::Lost(why) => return Err(lost(&self.collection.place, why)),
            };
            changes.push(Change { op, key, at: Some(entry.at), image: None });
            last = Some(entry);
        }
        Ok(last.map(|last| (changes, last)))
    }

    /// Keeps on the server how far the reader was acknowledged: for those who ask for times before it goes on. At rest nothing is written, but when
    /// a file was read to its end.
    async fn put_down(&mut self, position: &LogPosition) -> Result<()> {
        let file = position.begin().file.number();
        let waited = self.acknowledged.is_none_or(|last| last.elapsed() >= ACKNOWLEDGE_INTERVAL);
        let due = self.known.is_some_and(|known| known != file) || (self.delivered && waited);
        if !due || self.collection.options.looks {
            return Ok(());
        }
        let mut connection = self.collection.asking().await?;
        let put = objects::acknowledge(&mut connection, &self.collection, &written::write(position).0, false).await;
        put.map_err(|error| self.collection.place.failed("putting down what was acknowledged", error))?;
        (self.acknowledged, self.known, self.delivered) = (Some(Instant::now()), Some(file), false);
        Ok(())
    }

    fn position(&self, position: &Position) -> Result<LogPosition> {
        let read = written::read::<LogPosition>(position);
        read.ok_or_else(|| lost(&self.collection.place, "the stored position is none of a binary log"))
    }
}

#[async_trait]
impl Source for StreamSource {
    fn capabilities(&self) -> Capabilities {
        target::capabilities(&self.collection)
    }

    fn tracking(&self) -> Vec<String> {
        vec![format!("table {}", self.collection.table.beside(objects::READERS))]
    }

    async fn prepare(&mut self) -> Result<String> {
        let stream = self.collection.stream()?;
        *stream.running.lock().await = None;
        super::marks::ensure(&self.collection).await?;
        let incarnation = objects::prepare(&mut *self.collection.asking().await?, &self.collection).await?;
        stream.prepared.store(true, Ordering::Relaxed);
        Ok(incarnation)
    }

    async fn remove(&mut self) -> Result<()> {
        *self.collection.stream()?.running.lock().await = None;
        objects::remove(&mut *self.collection.asking().await?, &self.collection).await
    }

    async fn head(&mut self) -> Result<Position> {
        let running = Arc::new(self.collection.start(None).await?);
        let head = written::write(&running.began);
        (self.progress, self.issued, self.waits) = (None, None, false);
        let mut connection = self.collection.asking().await?;
        let put = objects::acknowledge(&mut connection, &self.collection, &head.0, true).await;
        let first = put.map_err(|error| self.collection.place.failed("asking for the current position", error))?;
        let found = objects::registration(&mut connection, &self.collection).await;
        let found = found.map_err(|error| self.collection.place.failed("asking for the current position", error))?;
        let found = found.and_then(|found| written::read::<LogPosition>(&Position(found.position)));
        self.known = found.map(|position| position.begin().file.number());
        // Whoever was here before goes on where he stood, and asks for times from there.
        *self.collection.stream()?.running.lock().await = first.then_some(running);
        Ok(head)
    }

    async fn next_batch(&mut self, after: &Position, max: usize) -> Result<ChangeBatch> {
        let mut position = self.position(after)?;
        let max = max.max(1);
        self.look().await?;
        let (mut caught_up, mut asked, mut anew) = (false, false, false);
        let (changes, through, more) = loop {
            let running = self.running(after, &position).await?;
            position = running.here(&position);
            // Asked for before what waits: all that was committed before it waits, or was taken.
            let read = running.progress.borrow().read.clone();
            let (entries, hidden) = self.visible(&running, &position, max).await?;
            let complete = caught_up || hidden || self.waits || entries.len() >= max;
            if !complete && (entries.is_empty() || !asked) {
                let enough = || running.shared.has(max, &position);
                let caught = self.collection.catch_up(&running.shared, running.progress.clone(), Some(enough)).await?;
                (caught_up, asked) = (caught.up, true);
                if caught.astray && !std::mem::replace(&mut anew, true) {
                    self.leave().await?;
                    (caught_up, asked) = (false, false);
                }
                continue;
            }
            if let Some((changes, last)) = self.changes(entries)? {
                self.delivered = true;
                break (changes, last.next, running.shared.take(&last.place));
            }
            // An idle stream moves with the log, so that the server may forget what others wrote; but not at each word of theirs.
            let further = !hidden && read.spot.order() > position.spot.order();
            let due = !self.waits || self.moved.elapsed() >= IDLE_LOOK || read.spot.file != position.spot.file;
            if !further || !due {
                break (Vec::new(), position, false);
            }
            self.moved = Instant::now();
            self.put_down(&read).await?;
            break (Vec::new(), read, false);
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
        let position = self.position(through)?;
        if let Some(running) = self.collection.stream()?.running.lock().await.as_ref() {
            running.shared.confirm(position.begin());
        }
        self.put_down(&position).await
    }
}
