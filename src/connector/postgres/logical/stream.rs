//! The running stream of a table (layer 4): a task reads it ahead, for the source and for whoever asks when a record was changed.
//!
//! What waits is bounded: when it is full, the task stops reading but goes on answering the server, and the server keeps the rest in its log.
//! A large transaction is handed on while it is read: it was committed before the server sends the first of it.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::decode::{Decoder, Message, RELATION, Unfollowed};
use super::objects::MARK;
use super::wire::{Event, Wire, WireError};
use crate::connector::logged::{Times, What};
use crate::record::{Key, Record};

/// Changes that may wait to be taken.
const WAITING_MAX: usize = 20_000;
/// Bytes of the rows among them, as the server sends them.
const WAITING_BYTES_MAX: usize = 16 << 20;
/// A transaction with more changes than this is handed on before it is read to its end, and is not known for our own…
const WHOLE_MAX: usize = 5_000;
/// …or with more bytes.
const WHOLE_BYTES_MAX: usize = 4 << 20;
/// While we do not read, what was confirmed is repeated this often, so that the server knows that we are there.
const STATUS_INTERVAL: Duration = Duration::from_secs(10);
/// A server that has been silent for half of this is asked for an answer, after all of it the connection is lost.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// The server asks for an answer each 15 s. Where it asks so often and so fast one after the other, it is being stopped, and waits until we
/// have acknowledged everything or leave.
const PRESSED_MAX: u32 = 5;
const PRESSED_WITHIN: Duration = Duration::from_secs(1);

/// A change in the stream's order.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// Where the commit stands, and the number of the change in its transaction.
    pub(super) place: (u64, u64),
    /// The transaction, without its epoch.
    pub(super) xid: u32,
    /// When it was committed.
    pub(super) at: i64,
    /// What happened.
    pub(super) what: What,
    /// The record as the log has it, where that is wanted and came as a whole.
    pub(super) image: Option<Arc<Record>>,
    /// What it took on the way: bytes.
    bytes: usize,
    /// The end of the commit, at the last change of its transaction.
    pub(super) end: Option<u64>,
}

/// What task and readers share.
#[derive(Default)]
pub(super) struct Shared {
    buffer: Mutex<Buffer>,
    /// Wakes the task: there is room, something is confirmed, or somebody waits for the end.
    nudge: Notify,
}

#[derive(Default)]
struct Buffer {
    waiting: VecDeque<Entry>,
    /// Bytes of their images.
    bytes: usize,
    times: Times<u64>,
    /// How far the reader was acknowledged.
    confirmed: u64,
    /// Somebody needs the times up to here, whether there is room or not.
    wanted: u64,
    /// Changes were read for their times and not kept: the stream has to be read once more.
    overflowed: bool,
}

impl Buffer {
    fn drop_passed(&mut self, passed: impl Fn(&Entry) -> bool) {
        while self.waiting.front().is_some_and(&passed) {
            if let Some(entry) = self.waiting.pop_front() {
                self.bytes -= entry.bytes;
            }
        }
    }

    /// Whether as many wait as may.
    fn is_full(&self) -> bool {
        self.waiting.len() >= WAITING_MAX || self.bytes >= WAITING_BYTES_MAX
    }
}

/// How far the task has come.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress {
    /// Grows with everything that comes to wait.
    pub(super) arrived: u64,
    /// Everything committed before this has been read.
    pub(super) read: u64,
    /// Why the task has ended.
    pub(super) failed: Option<Arc<WireError>>,
}

impl Shared {
    fn buffer(&self) -> MutexGuard<'_, Buffer> {
        // Nothing is left half-done under the lock.
        self.buffer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first changes that wait, at most `max`, those left out that `passed` holds.
    pub(super) fn first(&self, max: usize, passed: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        let mut buffer = self.buffer();
        buffer.drop_passed(&passed);
        buffer.waiting.iter().filter(|entry| !passed(entry)).take(max).cloned().collect()
    }

    /// Whether so many changes wait, those left out that `passed` holds; or as many as may wait at all.
    pub(super) fn has(&self, count: usize, passed: impl Fn(&Entry) -> bool) -> bool {
        let mut buffer = self.buffer();
        buffer.drop_passed(&passed);
        let waiting = buffer.waiting.len();
        // Asked with each transaction that comes: most often there are too few.
        let enough = || buffer.waiting.iter().filter(|entry| !passed(entry)).take(count).count() == count;
        let full = buffer.is_full() || (waiting >= count && enough());
        drop(buffer);
        self.nudge.notify_one();
        full
    }

    /// Takes what waits up to this place; whether more is waiting.
    pub(super) fn take(&self, through: (u64, u64)) -> bool {
        let mut buffer = self.buffer();
        buffer.drop_passed(|entry| entry.place <= through);
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

    /// Everything committed before this will not be asked for again.
    pub(super) fn confirm(&self, through: u64) {
        let mut buffer = self.buffer();
        buffer.confirmed = buffer.confirmed.max(through);
        buffer.times.forget(through);
        drop(buffer);
        self.nudge.notify_one();
    }

    /// When each record last changed, as far as it was read and is not confirmed.
    pub(super) fn times(&self, keys: &[Key]) -> Vec<Option<i64>> {
        self.buffer().times.of(keys)
    }

    /// Has the task read up to here, even if nobody takes what it reads.
    pub(super) fn want(&self, through: u64) {
        let mut buffer = self.buffer();
        buffer.wanted = buffer.wanted.max(through);
        drop(buffer);
        self.nudge.notify_one();
    }
}

/// A task that reads a stream. Dropping it ends it.
pub(super) struct Running {
    /// What it shares.
    pub(super) shared: Arc<Shared>,
    /// How far it has come.
    pub(super) progress: watch::Receiver<Progress>,
    /// Where it began: everything committed before was acknowledged.
    pub(super) began: u64,
    task: JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Running {
    /// Reads a started stream of the slot `name`, which is confirmed up to `confirmed`.
    pub(super) fn start(wire: Wire, decoder: Decoder, name: &str, confirmed: u64) -> Self {
        let shared = Arc::new(Shared::default());
        shared.buffer().confirmed = confirmed;
        let (sender, progress) = watch::channel(Progress { read: confirmed, ..Progress::default() });
        let reader = Reader {
            decoder,
            own: format!("{name}:"),
            silence: wire.timeout().map_or(SILENCE_MAX, |timeout| timeout.min(SILENCE_MAX)),
            shared: Arc::clone(&shared),
            progress: sender,
            open: Transaction::default(),
            pressed: None,
        };
        Self { shared, progress, began: confirmed, task: tokio::spawn(reader.run(wire)) }
    }
}

/// The transaction that is being read.
#[derive(Default)]
struct Transaction {
    lsn: u64,
    xid: u32,
    at: i64,
    /// Changes so far, and rows.
    count: u64,
    rows: u64,
    /// Bytes of the images among the entries.
    bytes: usize,
    /// How many rows it says that we wrote, where it is ours.
    ours: Option<u64>,
    entries: Vec<Entry>,
    /// Messages that have the records of some of the entries, which are not read yet.
    unread: Vec<(usize, Vec<u8>)>,
    /// Some of it was handed on.
    begun: bool,
    /// Between begin and commit.
    running: bool,
}

struct Reader {
    decoder: Decoder,
    own: String,
    /// How long the server may be silent.
    silence: Duration,
    shared: Arc<Shared>,
    progress: watch::Sender<Progress>,
    open: Transaction,
    /// How often the server has asked for an answer without a break, and when it last did.
    pressed: Option<(u32, Instant)>,
}

impl Reader {
    async fn run(mut self, mut wire: Wire) {
        let Err(error) = self.read(&mut wire).await;
        self.progress.send_modify(|progress| progress.failed = Some(Arc::new(error)));
    }

    async fn read(&mut self, wire: &mut Wire) -> Result<std::convert::Infallible, WireError> {
        let (mut heard, mut told, mut confirmed) = (Instant::now(), Instant::now(), None);
        // Whether an answer is waited for.
        let mut asked = false;
        loop {
            let (full, through) = self.standing();
            if confirmed != Some(through) {
                wire.confirm(through, asked).await?;
                (told, confirmed) = (Instant::now(), Some(through));
            }
            if full {
                (heard, asked) = (Instant::now(), false);
            }
            let deadline = match (full, asked) {
                (true, _) => told + STATUS_INTERVAL,
                (false, false) => heard + self.silence / 2,
                (false, true) => heard + self.silence,
            };
            tokio::select! {
                event = wire.next(), if !full => {
                    (heard, asked) = (Instant::now(), false);
                    if self.event(event?)? {
                        confirmed = None;
                    }
                }
                () = self.shared.nudge.notified() => {}
                () = tokio::time::sleep_until(deadline) => {
                    if asked {
                        return Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into());
                    }
                    (asked, confirmed) = (!full, None);
                }
            }
        }
    }

    /// Takes an event; whether the server wants an answer.
    fn event(&mut self, event: Event) -> Result<bool, WireError> {
        let (end, answer) = match event {
            Event::Data(data) => {
                self.pressed = None;
                self.message(&data);
                return Ok(false);
            }
            Event::Alive { end, answer } => (end, answer),
        };
        if !self.open.running {
            self.reached(end);
        }
        if answer {
            let (times, last) = self.pressed.unwrap_or((0, Instant::now()));
            let times = if last.elapsed() < PRESSED_WITHIN { times + 1 } else { 0 };
            if times > PRESSED_MAX {
                return Err(std::io::Error::other("the server is being stopped").into());
            }
            self.pressed = Some((times, Instant::now()));
        }
        Ok(answer)
    }

    /// Whether there is no room to read on, and what is confirmed.
    fn standing(&self) -> (bool, u64) {
        let mut buffer = self.shared.buffer();
        let mut full = buffer.is_full() && !buffer.overflowed;
        if full && buffer.wanted > self.progress.borrow().read {
            (buffer.overflowed, full) = (true, false);
        }
        (full, buffer.confirmed)
    }

    fn reached(&self, end: u64) {
        self.progress.send_if_modified(|progress| {
            let further = end > progress.read;
            progress.read = progress.read.max(end);
            further
        });
    }

    fn message(&mut self, data: &[u8]) {
        if data.first() == Some(&RELATION) {
            self.read_records();
        }
        match self.decoder.read(data) {
            Ok(Message::Begin { lsn, at, xid }) => {
                self.open = Transaction { lsn, xid, at, running: true, ..Transaction::default() };
            }
            Ok(Message::Row { old, new }) => {
                self.open.rows += 1;
                if let Some(gone) = old.filter(|old| new.as_ref() != Some(old)) {
                    self.change(What::Delete(gone), None);
                }
                if let Some(key) = new {
                    self.change(What::Upsert(key), Some(data).filter(|data| self.decoder.wants(data)));
                }
            }
            Ok(Message::Truncated) => self.change(What::Truncated, None),
            Ok(Message::Said { prefix, content }) if prefix == MARK => {
                if let Some(rows) = content.strip_prefix(&self.own).and_then(|rows| rows.parse().ok()) {
                    self.open.ours = Some(rows);
                }
            }
            Ok(Message::Commit { end }) => self.commit(end),
            Ok(Message::Said { .. } | Message::Other) => {}
            Err(why) => {
                let why = match why {
                    Unfollowed::Unreadable => "the server sent a change of a form that is not known",
                    Unfollowed::Renamed => "a key column of the table was renamed or dropped",
                    Unfollowed::Keyless => "a row was logged without its key (see REPLICA IDENTITY)",
                };
                self.change(What::Lost(why), None);
            }
        }
    }

    /// A change; `data` is the message that has its record.
    fn change(&mut self, what: What, data: Option<&[u8]>) {
        let open = &mut self.open;
        let bytes = data.map_or(0, <[u8]>::len);
        open.unread.extend(data.map(|data| (open.entries.len(), data.to_vec())));
        let (place, xid, at) = ((open.lsn, open.count), open.xid, open.at);
        open.entries.push(Entry { place, xid, at, what, image: None, bytes, end: None });
        open.count += 1;
        open.bytes += bytes;
        if open.entries.len() >= WHOLE_MAX || open.bytes >= WHOLE_BYTES_MAX {
            open.begun = true;
            self.hand_on();
        }
    }

    fn commit(&mut self, end: u64) {
        let open = &mut self.open;
        open.running = false;
        if open.begun || open.ours != Some(open.rows) {
            if let Some(last) = open.entries.last_mut() {
                last.end = Some(end);
            }
            self.hand_on();
        }
        self.open.entries.clear();
        self.open.unread.clear();
        self.reached(end);
    }

    /// Reads the records of the changes so far: not before it is known that they are not ours, nor after what their rows are made of is told anew.
    fn read_records(&mut self) {
        for (place, data) in std::mem::take(&mut self.open.unread) {
            if let Some(entry) = self.open.entries.get_mut(place) {
                entry.image = self.decoder.image(&data).map(Arc::new);
            }
        }
    }

    fn hand_on(&mut self) {
        self.read_records();
        let entries = std::mem::take(&mut self.open.entries);
        self.open.bytes = 0;
        if entries.is_empty() {
            return;
        }
        let mut buffer = self.shared.buffer();
        for entry in entries {
            buffer.times.note(&entry.what, entry.place.0, entry.at);
            if !buffer.overflowed {
                buffer.bytes += entry.bytes;
                buffer.waiting.push_back(entry);
            }
        }
        drop(buffer);
        self.progress.send_modify(|progress| progress.arrived += 1);
    }
}
