//! One run: a seeded scheduler lets the program's workers, people, clocks and faults take turns; then all calms down, and the oracles look.

use std::collections::BTreeSet;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use tokio_util::sync::CancellationToken;

use super::ledger::Thing;
use super::planted::{self, Bug};
use super::plugins::Simulated;
use super::scenario::Scenario;
use super::side::{Carried, Side, id_of};
use super::store::Store;
use super::topology::{Prepared, Shape, prepared};
use super::world::{Faults, Shared, turn};
use super::{at_rest, people};
use crate::change::{End, Ends};
use crate::connector::{Source, Target};
use crate::error::{Disposition, ErrorKind, Result};
use crate::pipeline::{Pipeline, Rollout, Watch};
use crate::plugin::Catalogue;
use crate::record::Layout;
use crate::runtime::open::OpenPair;
use crate::runtime::status::Reporter;
use crate::runtime::worker::Worker;
use crate::state::StateStore;
use crate::state::memory::Recorded;
use crate::telemetry::clock;

/// Turns after which what has not come to rest never will.
const TURNS_MAX: usize = 6_000;

/// What to run.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Order {
    pub(super) seed: u64,
    pub(super) bug: Option<Bug>,
    /// Keep what happened.
    pub(super) trace: bool,
    /// Kill all workers at this turn, beside what chance does.
    pub(super) kill_at: Option<usize>,
}

/// What came of it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    pub(super) violation: Option<String>,
    pub(super) trace: Vec<String>,
    /// A hash of all that happened.
    pub(super) print: u64,
    pub(super) turns: usize,
    pub(super) conflicts: usize,
}

/// Runs a seed, on this thread and nothing else.
pub(super) fn run(order: Order) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let outcome = runtime.block_on(Run::new(order).whole());
    clock::TEST_MICROS.set(None);
    outcome
}

type Incarnation = Pin<Box<dyn Future<Output = Result<()>>>>;

struct Run {
    order: Order,
    scenario: Scenario,
    shared: Shared,
    prepared: Vec<Prepared>,
    /// The workers; one that needs a person has none until it is started anew.
    workers: Vec<Option<Incarnation>>,
    turns: usize,
}

/// How the program names itself to the systems.
fn consumer(pair: &str) -> Arc<str> {
    Arc::from(format!("memory:{pair}"))
}

/// A worker from its start to its first failure: the production code, with simulated ports. It is never told to stop.
async fn incarnation(shared: Shared, pair: usize, prepared: Prepared, writers: usize) -> Result<()> {
    let bug = shared.world().bug;
    let Prepared { config, binding, schemas, traits } = prepared;
    let state: Arc<dyn StateStore> = Arc::new(Store { shared: shared.clone(), pair });
    let catalogue: Arc<dyn Catalogue> = Arc::new(Simulated { shared: shared.clone(), pair });
    let consumer = consumer(&config.name);
    let watch = Arc::<Watch>::default();
    let carried = Ends::<Arc<Mutex<Carried>>>::default();
    let side = |end: End| Side {
        shared: shared.clone(),
        pair,
        end,
        table: *traits.tables.get(end),
        consumer: Arc::clone(&consumer),
        layout: Layout::clone(binding.layouts.get(end)),
        carried: Arc::clone(carried.get(end)),
    };
    let targets = Ends::from_fn(|end| -> Arc<dyn Target> { Arc::new(side(end)) });
    let sources = Ends::from_fn(|end| -> Box<dyn Source> { Box::new(side(end)) });
    let pipeline = Pipeline {
        binding: Arc::new(planted::binding(bug, binding.clone())),
        targets,
        state: Arc::clone(&state),
        catalogue: Arc::clone(&catalogue),
        consumer: consumer.to_string(),
        watch: Arc::clone(&watch),
        rollout: Rollout::default(),
        writers: Arc::new(tokio::sync::Semaphore::new(writers)),
    };
    let open = OpenPair {
        config: Arc::clone(&config),
        pipeline,
        sources,
        schemas,
        warnings: Vec::new(),
        creates: Vec::new(),
        indexes: Vec::new(),
    };
    let (reporter, _status) = Reporter::new();
    let worker = Worker { config, state, catalogue, reporter, watch };
    let shutdown = CancellationToken::new();
    let started = worker.start(open, &shutdown).await;
    if started.as_ref().is_err_and(|error| error.code == "source.stream_lost") {
        // Never "from now on" unasked: somebody asks.
        shared.state.request_resync(&worker.config.name).await?;
    }
    let mut following = started?;
    loop {
        let seen = shared.world().activity;
        if worker.state.progress(&worker.config.name).await?.decisions {
            following.carry_out().await?;
        }
        if !following.turn().await? && !following.take_up_waiting().await? {
            let often = if shared.world().calm { 1000 } else { 300 };
            if shared.world().rng.chance(often) {
                following.commit_positions().await?;
            }
            shared.world().idle[pair] = Some(seen);
            turn().await;
        }
    }
}

impl Run {
    fn new(order: Order) -> Self {
        let (scenario, world) = Scenario::new(order);
        let prepared = prepared(scenario.shape, scenario.policy);
        let shared = Shared::new(world);
        let workers = prepared.iter().map(|_| None).collect();
        {
            let mut world = shared.world();
            world.pairs = prepared.iter().map(|one| one.traits.clone()).collect();
            world.idle = vec![None; prepared.len()];
            world.snapshots = vec![Vec::new(); prepared.len()];
            world.woken = vec![End::Source; prepared.len()];
            if order.trace {
                world.trace = Some(vec![format!("{scenario:?}")]);
            }
        }
        Self { order, scenario, shared, prepared, workers, turns: 0 }
    }

    async fn whole(mut self) -> Outcome {
        self.busy().await;
        self.calm();
        self.settle("it calmed down").await;
        at_rest::check(&self.shared).await;
        self.again().await;
        self.workers.clear();
        let mut world = self.shared.world();
        Outcome {
            violation: world.violation.take(),
            trace: world.trace.take().unwrap_or_default(),
            print: world.print,
            turns: self.turns,
            conflicts: self.shared.state.conflicts().len(),
        }
    }

    fn violated(&self) -> bool {
        self.shared.world().violation.is_some()
    }

    /// People work and things go wrong.
    async fn busy(&mut self) {
        let mut edits = self.scenario.edits;
        while edits > 0 && !self.violated() && self.turns < TURNS_MAX {
            let (dice, crash, upheaval) = {
                let mut world = self.shared.world();
                let Faults { crash, upheaval, .. } = world.faults;
                (world.rng.below(1000), world.rng.chance(crash), world.rng.chance(upheaval))
            };
            if crash {
                self.kill();
            }
            if upheaval {
                self.upheave();
            }
            if dice < self.scenario.edit_rate {
                edits -= 1;
                people::edit(&mut self.shared.world(), self.scenario.shape, self.scenario.poison);
            } else if dice < self.scenario.edit_rate + 10 {
                let pair = self.any_pair();
                people::decide(&self.shared, pair).await;
            } else {
                let pair = self.any_pair();
                self.step(pair).await;
            }
            self.tick();
        }
    }

    fn any_pair(&self) -> usize {
        self.shared.world().rng.below(self.workers.len())
    }

    fn tick(&mut self) {
        self.turns += 1;
        let mut world = self.shared.world();
        let rate = self.scenario.tick_rate;
        if world.rng.chance(rate) {
            world.now += 10;
        }
        clock::TEST_MICROS.set(Some(world.now));
    }

    /// The program is killed: what it had in its memory is gone.
    fn kill(&mut self) {
        self.shared.world().tell(|| "the program is killed".to_owned());
        for pair in 0..self.workers.len() {
            self.stop(pair);
        }
    }

    fn stop(&mut self, pair: usize) {
        self.workers[pair] = None;
        let mut world = self.shared.world();
        let consumer = consumer(&world.pairs[pair].name);
        world.snapshots[pair].clear();
        world.tables.iter_mut().for_each(|table| table.writing.retain(|(by, _)| *by != consumer));
        world.idle[pair] = None;
    }

    /// Something larger happens to a system, or the plugins change.
    fn upheave(&mut self) {
        let (dice, table) = {
            let mut world = self.shared.world();
            let tables = world.tables.len();
            (world.rng.below(10), world.rng.below(tables))
        };
        let name = self.shared.world().tables[table].name;
        let what = match dice {
            0..4 => "goes down, or comes back",
            4..6 => "loses a column, or gets it back",
            6..9 => "stays; the plugins change",
            _ => "has its change log made anew",
        };
        self.shared.world().tell(|| format!("{name} {what}"));
        if dice == 9 {
            self.kill();
        }
        let mut world = self.shared.world();
        world.activity += 1;
        match dice {
            0..4 => world.tables[table].down ^= true,
            4..6 => world.tables[table].drifted ^= true,
            6..9 => world.plugins += 1,
            // A pair without links cannot know what was deleted while nobody looked.
            _ if self.scenario.shape == Shape::Copy => {}
            _ => {
                let table = &mut world.tables[table];
                table.incarnation += 1;
                table.log.clear();
                table.acknowledged.clear();
            }
        }
    }

    /// Lets a worker go on for one step.
    async fn step(&mut self, pair: usize) {
        // A worker that has failed waits a while.
        if self.workers[pair].is_none() && !self.shared.world().calm && self.shared.world().rng.chance(800) {
            return;
        }
        if self.order.kill_at == Some(self.turns) {
            self.kill();
        }
        let worker = self.workers[pair].get_or_insert_with(|| {
            let (shared, prepared) = (self.shared.clone(), self.prepared[pair].clone());
            Box::pin(incarnation(shared, pair, prepared, self.scenario.writers))
        });
        let polled = poll_fn(|context| Poll::Ready(worker.as_mut().poll(context))).await;
        if let Poll::Ready(ended) = polled {
            self.ended(pair, ended);
        }
        // Scans and writes run on tasks of their own; and no task may run for ever.
        tokio::task::yield_now().await;
    }

    fn ended(&mut self, pair: usize, ended: Result<()>) {
        self.stop(pair);
        let Err(error) = ended else { return };
        let mut world = self.shared.world();
        world.activity += 1;
        world.tell(|| format!("worker {pair} ends: {error}"));
        let may_be = match error.disposition() {
            Disposition::Retry | Disposition::Recheck => true,
            Disposition::Pause => error.kind == ErrorKind::SchemaMismatch,
            Disposition::Review => false,
        };
        if !may_be {
            world.violate(|| format!("I3: a worker stops for {error}"));
        }
    }

    /// People stop, and nothing goes wrong any more.
    fn calm(&mut self) {
        let mut world = self.shared.world();
        world.tell(|| "it calms down".to_owned());
        world.faults = Faults::default();
        world.calm = true;
        for table in &mut world.tables {
            table.down = false;
            table.drifted = false;
        }
        world.activity += 1;
    }

    /// Until no worker has anything to do.
    async fn settle(&mut self, what: &str) {
        let limit = self.turns + TURNS_MAX;
        while !self.violated() && !self.is_quiet() {
            if self.turns > limit {
                self.shared.world().violate(|| format!("I5: it never comes to rest after {what}"));
            }
            let pair = self.turns % self.workers.len();
            self.step(pair).await;
            self.tick();
        }
    }

    fn is_quiet(&self) -> bool {
        let world = self.shared.world();
        world.idle.iter().all(|idle| *idle == Some(world.activity))
    }

    /// I5, I11: a new start that is told of old changes again, and one that compares everything, write nothing and find no conflict.
    async fn again(&mut self) {
        for compares in [false, true] {
            let held_up = at_rest::held_up(&self.shared);
            self.shared.world().writes.clear();
            let known: BTreeSet<i64> = self.shared.state.conflicts().into_iter().map(|(id, _)| id).collect();
            self.kill();
            {
                let mut world = self.shared.world();
                world.activity += 1;
                world.faults.duplicate = 1000;
                if compares {
                    world.tables.iter_mut().for_each(|table| {
                        table.incarnation += 1;
                        table.log.clear();
                        table.acknowledged.clear();
                    });
                }
            }
            self.settle("a new start").await;
            self.check_rest(&held_up, &known);
            at_rest::check(&self.shared).await;
        }
    }

    /// What was written, and which conflicts were found, by those who had nothing to do.
    fn check_rest(&self, held_up: &BTreeSet<Thing>, known: &BTreeSet<i64>) {
        let mut world = self.shared.world();
        let is_held_up = |(table, id): &&(usize, i64)| {
            let table = &world.tables[*table];
            let row = table.rows.get(id).or_else(|| table.before.get(id).and_then(Option::as_ref));
            row.is_some_and(|row| !row.things.is_disjoint(held_up))
        };
        let writes: Vec<_> = world.writes.iter().filter(|one| !is_held_up(one)).copied().collect();
        let source = |one: &Recorded| {
            let pair = world.pairs.iter().find(|pair| *pair.name == *one.pair);
            pair.map(|pair| (pair.tables.source, id_of(&one.conflict.keys.source)))
        };
        let found = self.shared.state.conflicts().into_iter().filter(|(id, _)| !known.contains(id));
        let found: Vec<_> = found.filter_map(|(_, one)| source(&one)).filter(|one| !is_held_up(&one)).collect();
        if !writes.is_empty() || !found.is_empty() {
            world.violate(|| format!("I5: writes at rest {writes:?}, conflicts at rest {found:?}"));
        }
    }
}
