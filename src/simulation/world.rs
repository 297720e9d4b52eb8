//! Everything that outlives the program: the systems, the state, and what chance does to them.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use super::ledger::Ledger;
use super::planted::Bug;
use super::rng::Rng;
use super::side::key;
use super::table::Table;
use crate::change::{End, Ends};
use crate::error::{ErrorKind, SyncError};
use crate::state::memory::MemoryState;

/// How often what goes wrong, in a thousand.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Faults {
    /// A call fails and did nothing.
    pub(super) outage: usize,
    /// A write is done, and reported as failed.
    pub(super) lost_answer: usize,
    /// Changes are delivered once more.
    pub(super) duplicate: usize,
    /// A plugin cannot be called.
    pub(super) plugin: usize,
    /// The program is killed, at each turn of the scheduler.
    pub(super) crash: usize,
    /// A system goes down or comes back, loses a column, or makes its change log anew.
    pub(super) upheaval: usize,
}

/// The pair's tables, and what is expected of it.
#[derive(Debug, Clone)]
pub(super) struct Traits {
    pub(super) name: Arc<str>,
    pub(super) tables: Ends<usize>,
    pub(super) two_way: bool,
    /// The target's column that holds the source's key; `None`: both sides have the same keys.
    pub(super) correlation: Option<usize>,
    /// Conflicts go to the later change, and to nothing else.
    pub(super) later_wins: bool,
}

pub(super) struct World {
    pub(super) rng: Rng,
    pub(super) now: i64,
    pub(super) tables: Vec<Table>,
    pub(super) pairs: Vec<Traits>,
    pub(super) ledger: Ledger,
    pub(super) state: Arc<MemoryState>,
    pub(super) faults: Faults,
    /// Whether anything goes wrong at all. People then write no null over a value: a null is not unique, and what a killed program wrote
    /// cannot be told from an edit that was taken back (docs/simulation.md).
    pub(super) faulty: bool,
    /// People have stopped.
    pub(super) calm: bool,
    /// Whether systems tell the program's own changes from others'.
    pub(super) marks_origin: bool,
    /// Whether changes carry their records, as PostgreSQL's log has them.
    pub(super) carries: bool,
    /// Version of the plugins.
    pub(super) plugins: u32,
    /// For each pair, the versions that its worker has seen since it was started.
    pub(super) snapshots: Vec<Vec<u32>>,
    pub(super) bug: Option<Bug>,
    /// Moves on with everything that somebody may have to look at.
    pub(super) activity: u64,
    /// For each pair, the activity at which there was nothing to do.
    pub(super) idle: Vec<Option<u64>>,
    /// For each pair, the end whose changes it looked at last.
    pub(super) woken: Vec<End>,
    /// Writes of the program that changed something: table and record.
    pub(super) writes: Vec<(usize, i64)>,
    pub(super) violation: Option<String>,
    /// What happened, where somebody wants to know.
    pub(super) trace: Option<Vec<String>>,
    /// A hash of all that happened.
    pub(super) print: u64,
}

impl World {
    /// A world without anything in it.
    pub(super) fn new(seed: u64) -> Self {
        Self {
            rng: Rng::new(seed),
            now: 1_000_000,
            tables: Vec::new(),
            pairs: Vec::new(),
            ledger: Ledger::default(),
            state: Arc::default(),
            faults: Faults::default(),
            faulty: false,
            calm: false,
            marks_origin: true,
            carries: false,
            plugins: 1,
            snapshots: Vec::new(),
            bug: None,
            activity: 0,
            idle: Vec::new(),
            woken: Vec::new(),
            writes: Vec::new(),
            violation: None,
            trace: None,
            print: 0xcbf2_9ce4_8422_2325,
        }
    }

    /// Says what happened.
    pub(super) fn tell(&mut self, what: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            let text = format!("{:>4} {}", self.now, what());
            trace.push(text);
        }
    }

    /// Mixes a number into the fingerprint of the run.
    pub(super) fn stamp(&mut self, number: u64) {
        self.print = (self.print ^ number).wrapping_mul(0x0100_0000_01b3);
    }

    /// The first thing that must never happen.
    pub(super) fn violate(&mut self, what: impl FnOnce() -> String) {
        if self.violation.is_none() {
            let what = what();
            self.tell(|| format!("VIOLATION {what}"));
            self.violation = Some(what);
        }
    }

    /// Remembers that a record is deleted, if the program knows it: that it is the same as one elsewhere, or will at its next start.
    pub(super) fn remove(&mut self, table: usize, id: i64) {
        let known = |pair: &Traits, end: End| {
            *pair.tables.get(end) == table
                && self.state.link(&pair.name, end, &key(id)).is_some_and(|link| link.base.is_some())
        };
        let linked = self.pairs.iter().any(|pair| known(pair, End::Source) || known(pair, End::Target));
        let table = &mut self.tables[table];
        if linked || table.created.contains_key(&id) {
            table.removed.extend(table.rows.get(&id).map(|row| row.things.clone()));
        }
    }

    /// Why a system cannot be used right now.
    pub(super) fn trouble(&mut self, table: usize) -> Result<(), SyncError> {
        let rate = self.faults.outage;
        let (down, drifted, name) = (self.tables[table].down, self.tables[table].drifted, self.tables[table].name);
        if down || self.rng.chance(rate) {
            self.tell(|| format!("{name} cannot be reached"));
            return Err(SyncError::new(ErrorKind::Unavailable, "sim.outage", format!("{name} cannot be reached")));
        }
        if drifted {
            return Err(SyncError::new(ErrorKind::SchemaMismatch, "sim.drift", format!("{name} lacks a column")));
        }
        Ok(())
    }

    /// Whether the answer to what was just done gets lost.
    pub(super) fn lose_answer(&mut self, what: &str) -> Result<(), SyncError> {
        let rate = self.faults.lost_answer;
        if self.rng.chance(rate) {
            self.tell(|| format!("the answer to {what} is lost"));
            return Err(SyncError::new(ErrorKind::Unavailable, "sim.lost_answer", format!("{what}: no answer")));
        }
        Ok(())
    }
}

/// The world as all of its parts hold it.
#[derive(Clone)]
pub(super) struct Shared {
    world: Arc<Mutex<World>>,
    pub(super) state: Arc<MemoryState>,
}

impl Shared {
    pub(super) fn new(world: World) -> Self {
        Self { state: Arc::clone(&world.state), world: Arc::new(Mutex::new(world)) }
    }

    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lets the scheduler go on with somebody else, once.
#[derive(Default)]
pub(super) struct Turn(bool);

impl Future for Turn {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.0 {
            return Poll::Ready(());
        }
        self.0 = true;
        context.waker().wake_by_ref();
        Poll::Pending
    }
}

/// The scheduler may go on with somebody else here, or kill the program.
pub(super) fn turn() -> Turn {
    Turn::default()
}
