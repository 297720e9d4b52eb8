//! The running log of a table (layer 4): a task reads it ahead, for the source and for whoever asks when a record was changed.
//!
//! What waits is bounded: when it is full, the task stops reading, and the server keeps the rest in its log. A large transaction is handed on
//! while it is read: it is in the log as a whole before the server sends the first of it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::follow::Follower;
use super::position::{LogPosition, Place, Spot};
use super::wire::{Wire, WireError};
use crate::connector::logged::{Times, What};
use crate::record::Key;

/// Changes that may wait to be taken.
const WAITING_MAX: usize = 20_000;
/// A server that has been silent for this long is lost.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// Where nothing happens, the server says that it is there so many times in that while.
const HEARTBEATS: u32 = 4;

/// How long a server may be silent, and how often it is to say that it is there; `timeout`: how long any system may be.
pub(super) fn silence(timeout: Option<Duration>) -> (Duration, Duration) {
    let silence = timeout.map_or(SILENCE_MAX, |timeout| timeout.min(SILENCE_MAX));
    (silence, silence / HEARTBEATS)
}

/// A change in the order of the log.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Where its group begins, and the number of the change in it.
    pub(super) place: Place,
    /// When its statement began: microseconds, of which the log has whole seconds.
    pub(super) at: i64,
    /// What happened.
    pub(super) what: What,
    /// Where to go on behind it.
    pub(super) next: LogPosition,
}

/// What task and readers share.
#[derive(Default)]
pub(super) struct Shared {
    buffer: Mutex<Buffer>,
    /// Wakes the task: there is room, or somebody waits for the end.
    nudge: Notify,
    /// How many wait to see how far it has come: others are told of changes only.
    watched: AtomicUsize,
}

#[derive(Default)]
struct Buffer {
    waiting: VecDeque<Entry>,
    times: Times<(u64, u64)>,
    /// Somebody needs the times up to here, whether there is room or not.
    wanted: (u64, u64),
    /// Changes were read for their times and not kept: the log has to be read once more.
    overflowed: bool,
}

impl Buffer {
    fn drop_passed(&mut self, passed: &LogPosition) {
        while self.waiting.front().is_some_and(|entry| passed.has(&entry.place)) {
            self.waiting.pop_front();
        }
    }
}

/// How far the task has come.
#[derive(Debug, Clone)]
pub(super) struct Progress {
    /// Grows with everything that comes to wait.
    pub(super) arrived: u64,
    /// Every group that ends before this has been read.
    pub(super) read: LogPosition,
    /// Why the task has ended.
    pub(super) failed: Option<WireError>,
}

impl Shared {
    fn buffer(&self) -> MutexGuard<'_, Buffer> {
        // Nothing is left half-done under the lock.
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first changes behind a position, at most `max`.
    pub(super) fn first(&self, max: usize, passed: &LogPosition) -> Vec<Entry> {
        let mut buffer = self.buffer();
        buffer.drop_passed(passed);
        buffer.waiting.iter().take(max).cloned().collect()
    }

    /// Whether so many changes wait behind a position; or as many as may wait at all.
    pub(super) fn has(&self, count: usize, passed: &LogPosition) -> bool {
        let mut buffer = self.buffer();
        buffer.drop_passed(passed);
        let waiting = buffer.waiting.len();
        drop(buffer);
        self.nudge.notify_one();
        waiting >= WAITING_MAX.min(count)
    }

    /// Takes what waits up to this place; whether more is waiting.
    pub(super) fn take(&self, through: &Place) -> bool {
        let mut buffer = self.buffer();
        while buffer.waiting.front().is_some_and(|entry| entry.place <= *through) {
            buffer.waiting.pop_front();
        }
        let more = !buffer.waiting.is_empty() || buffer.overflowed;
        drop(buffer);
        self.nudge.notify_one();
        more
    }

    /// Whether changes were not kept, and none wait that come before them.
    pub(super) fn is_spent(&self) -> bool {
        let buffer = self.buffer();
        buffer.overflowed && buffer.waiting.is_empty()
    }

    /// Nothing before this will be asked for again.
    pub(super) fn confirm(&self, through: &Spot) {
        self.buffer().times.forget(through.order());
    }

    /// When each record last changed, as far as it was read and is not confirmed.
    pub(super) fn times(&self, keys: &[Key]) -> Vec<Option<i64>> {
        self.buffer().times.of(keys)
    }

    /// Has the task read up to here, even if nobody takes what it reads.
    pub(super) fn want(&self, through: (u64, u64)) {
        let mut buffer = self.buffer();
        buffer.wanted = buffer.wanted.max(through);
        drop(buffer);
        self.nudge.notify_one();
    }

    /// Whether there is no room to read on, `read` being what was read.
    fn is_full(&self, read: (u64, u64)) -> bool {
        let mut buffer = self.buffer();
        let full = buffer.waiting.len() >= WAITING_MAX && !buffer.overflowed;
        if full && buffer.wanted > read {
            buffer.overflowed = true;
            return false;
        }
        full
    }

    fn hand_on(&self, entries: Vec<Entry>) {
        let mut buffer = self.buffer();
        for entry in entries {
            buffer.times.note(&entry.what, entry.place.group.order(), entry.at);
            if !buffer.overflowed {
                buffer.waiting.push_back(entry);
            }
        }
    }
}

/// Somebody who waits to see how far a task has come.
pub(super) struct Watching<'a>(&'a Shared);

impl<'a> Watching<'a> {
    /// From now on until this is dropped.
    pub(super) fn new(shared: &'a Shared) -> Self {
        shared.watched.fetch_add(1, Ordering::Relaxed);
        Self(shared)
    }
}

impl Drop for Watching<'_> {
    fn drop(&mut self) {
        self.0.watched.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A task that reads a log. Dropping it ends it.
pub(super) struct Running {
    /// What it shares.
    pub(super) shared: Arc<Shared>,
    /// How far it has come.
    pub(super) progress: watch::Receiver<Progress>,
    /// Where it began.
    pub(super) began: LogPosition,
    /// The position in the log of another server that this stands for.
    pub(super) instead_of: Option<LogPosition>,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Running {
    /// A position of this log, or the one that stands for that of another.
    pub(super) fn here(&self, position: &LogPosition) -> LogPosition {
        let is_began = self.instead_of.as_ref() == Some(position);
        if is_began { self.began.clone() } else { position.clone() }
    }

    /// Whether the log has to be read from elsewhere to go on behind a position.
    pub(super) fn is_behind(&self, position: &LogPosition) -> bool {
        let position = self.here(position);
        let server = |position: &LogPosition| position.begin().file.made.0;
        server(&position) != server(&self.began) || self.began.spot.order() > position.begin().order()
    }

    /// Reads a log that was asked for and has told how its file begins: where that is, and what it stands for.
    pub(super) fn start(
        wire: Wire,
        follower: Follower,
        (began, instead_of): (LogPosition, Option<LogPosition>),
        silence: Duration,
    ) -> Self {
        let shared = Arc::new(Shared::default());
        let (sender, progress) = watch::channel(Progress { arrived: 0, read: began.clone(), failed: None });
        let reader = Reader { follower, silence, shared: Arc::clone(&shared), progress: sender };
        Self { shared, progress, began, instead_of, task: tokio::spawn(reader.run(wire)) }
    }
}

struct Reader {
    follower: Follower,
    /// How long the server may be silent.
    silence: Duration,
    shared: Arc<Shared>,
    progress: watch::Sender<Progress>,
}

impl Reader {
    async fn run(mut self, mut wire: Wire) {
        let Err(error) = self.read(&mut wire).await;
        self.progress.send_modify(|progress| progress.failed = Some(error));
    }

    async fn read(&mut self, wire: &mut Wire) -> Result<std::convert::Infallible, WireError> {
        let mut heard = Instant::now();
        // What was read while the place was looked for.
        self.hand_on();
        loop {
            let full = self.shared.is_full(self.follower.reached_order());
            if full {
                heard = Instant::now();
            } else if self.follower.is_unpacking() {
                self.follower.unpack().await?;
                self.hand_on();
                tokio::task::yield_now().await;
                continue;
            }
            tokio::select! {
                event = wire.event(), if !full => {
                    heard = Instant::now();
                    self.follower.event(&event?).await?;
                    self.hand_on();
                }
                () = self.shared.nudge.notified() => {}
                () = tokio::time::sleep_until(heard + self.silence), if !full => {
                    return Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into());
                }
            }
        }
    }

    /// Hands on what was read, and tells how far that is.
    fn hand_on(&mut self) {
        let entries = self.follower.take();
        let arrived = u64::from(!entries.is_empty());
        if arrived > 0 {
            self.shared.hand_on(entries);
        }
        let order = self.follower.reached_order();
        let watched = self.shared.watched.load(Ordering::Relaxed) > 0;
        self.progress.send_if_modified(|progress| {
            if order > progress.read.spot.order() {
                progress.read = self.follower.reached();
            }
            progress.arrived += arrived;
            watched || arrived > 0
        });
    }
}
