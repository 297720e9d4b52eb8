//! The ports of a simulated table: what the program uses as its connectors. Every call is two turns of the scheduler, so that others go on, and
//! the program may be killed, before it and between what it does and its answer.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::before_write;
use super::planted::{self, Bug};
use super::scan::Rows;
use super::table::{FIELDS, Row, Table};
use super::world::{Shared, World, turn};
use crate::change::{Change, ChangeBatch, End, Op, Position};
use crate::connector::marks::{Kept, kept};
use crate::connector::{Capabilities, Mark, Scan, ScanOrder, Source, Target, Upserted, Write, WriteOutcome};
use crate::error::{ErrorKind, Result, SyncError};
use crate::record::{Key, Layout, Record};
use crate::state::{Commit, Ends, StateStore};
use crate::value::Value;

/// From where on changes carry their records: whoever has looked at the table, or written to it, may know newer ones of those that come before.
#[derive(Debug)]
pub(super) struct Carried {
    looked: bool,
    from: usize,
    /// Behind the batch that was handed out last.
    issued: usize,
}

impl Default for Carried {
    fn default() -> Self {
        Self { looked: true, from: 0, issued: 0 }
    }
}

/// One end of a pair as it was opened.
#[derive(Clone)]
pub(super) struct Side {
    pub(super) shared: Shared,
    pub(super) pair: usize,
    pub(super) end: End,
    pub(super) table: usize,
    pub(super) consumer: Arc<str>,
    pub(super) layout: Layout,
    pub(super) carried: Arc<Mutex<Carried>>,
}

const CAPABILITIES: Capabilities = Capabilities { deletes: true, change_times: true, batch: 8, bulk: None };

pub(super) fn key(id: i64) -> Key {
    Key(vec![Value::Int(id)])
}

pub(super) fn id_of(key: &Key) -> i64 {
    match key.0.as_slice() {
        [Value::Int(id)] => *id,
        _ => 0,
    }
}

impl Side {
    pub(super) fn record(&self, table: &Table, row: &Row) -> Record {
        let value = |name: &str| Some(row.values[table.place(name)].clone());
        Record::new(Layout::clone(&self.layout), self.layout.iter().map(|name| value(name)).collect())
    }

    async fn durable(&self) -> Option<usize> {
        let name = Arc::clone(&self.shared.world().pairs[self.pair].name);
        let progress = self.shared.state.progress(&name).await.ok()?;
        let (_, sequence) = read_position(progress.positions.get(self.end).as_ref()?)?;
        Some(sequence)
    }

    /// I1.
    fn forget(&self, world: &mut World, through: usize, durable: Option<usize>) {
        if durable.is_none_or(|durable| durable < through) {
            world.violate(|| format!("I1: acknowledged through {through}, durable is {durable:?}"));
        }
        let acknowledged = world.tables[self.table].acknowledged.entry(Arc::clone(&self.consumer)).or_default();
        *acknowledged = through.max(*acknowledged);
    }

    /// The program sees records, or changes them.
    fn looks(&self) {
        let bug = self.shared.world().has(Bug::OlderImage);
        self.carried.lock().unwrap_or_else(PoisonError::into_inner).looked |= !bug;
    }

    /// From where on a batch of changes carries its records.
    fn carries_from(&self, world: &World, after: usize, through: usize) -> usize {
        let mut carried = self.carried.lock().unwrap_or_else(PoisonError::into_inner);
        if std::mem::take(&mut carried.looked) || carried.issued != after {
            carried.from = world.tables[self.table].log.len();
        }
        carried.issued = through;
        if world.carries { carried.from.max(after) } else { usize::MAX }
    }

    /// What a batch of changes holds, in an order that keeps each key's.
    fn changes(&self, world: &mut World, after: usize, through: usize) -> Vec<Change> {
        let carries_from = self.carries_from(world, after, through);
        let mut places: Vec<usize> = (after..through).collect();
        let duplicates = world.faults.duplicate;
        if through > 0 && world.rng.chance(duplicates) {
            let again = world.rng.below(through);
            places.insert(0, again);
        }
        for place in 1..places.len() {
            let log = &world.tables[self.table].log;
            if log[places[place - 1]].id != log[places[place]].id && world.rng.chance(300) {
                places.swap(place - 1, place);
            }
        }
        if !places.is_empty() && world.strikes(Bug::ChangeSkipped, 100) {
            places.remove(0);
        }
        let marks_origin = world.marks_origin;
        let table = &world.tables[self.table];
        let entries = places.into_iter().map(|place| (place, &table.log[place]));
        let foreign = entries.filter(|(_, entry)| !marks_origin || entry.origin.as_ref() != Some(&self.consumer));
        foreign
            .map(|(place, entry)| {
                let op = if entry.row.is_none() { Op::Delete } else { Op::Upsert };
                let row = entry.row.as_ref().filter(|_| place >= carries_from);
                Change { key: key(entry.id), op, at: Some(entry.at), image: row.map(|row| self.record(table, row)) }
            })
            .collect()
    }

    /// Applies one write; the oracles look at it first.
    fn carry_out(&self, world: &mut World, write: &Write, number: Option<i64>) -> WriteOutcome {
        let table = &world.tables[self.table];
        let (id, mut row, fields) = match write {
            Write::Create { record } => {
                let given = record.get("id").and_then(|id| if let Value::Int(id) = id { Some(*id) } else { None });
                if given.is_some_and(|id| table.rows.contains_key(&id)) || self.collides(table, None, record) {
                    return WriteOutcome::Changed;
                }
                let id = given.unwrap_or_else(|| world.tables[self.table].fresh_id());
                (id, world.tables[self.table].blank(id), record)
            }
            Write::Update { key, fields, guard } => {
                let id = id_of(key);
                match table.rows.get(&id) {
                    Some(row) if holds(table, row, guard.as_ref()) => (id, row.clone(), fields),
                    _ => return WriteOutcome::Changed,
                }
            }
            Write::Delete { key, guard } => {
                let id = id_of(key);
                let applied = WriteOutcome::Applied { key: key.clone(), stored: None };
                let Some(row) = table.rows.get(&id) else { return applied };
                if !holds(table, row, guard.as_ref()) {
                    return WriteOutcome::Changed;
                }
                before_write::delete(world, self, id);
                self.put(world, id, None);
                return applied;
            }
        };
        let creates = matches!(write, Write::Create { .. });
        before_write::fields(world, self, (id, creates), &mut row, fields);
        self.put(world, id, Some(row.clone()));
        if let (true, Some(number)) = (creates, number) {
            world.tables[self.table].created.insert(id, number);
        }
        let mut stored = self.record(&world.tables[self.table], &row);
        planted::stored(world.bug, &mut stored, fields);
        WriteOutcome::Applied { key: key(id), stored: Some(stored) }
    }

    /// Whether another record has one of the unique values.
    fn collides(&self, table: &Table, own: Option<i64>, record: &Record) -> bool {
        let last = table.columns.len() - FIELDS;
        (1..last).any(|place| {
            let value = record.get(table.columns[place]).filter(|value| !value.is_null());
            let taken =
                |value: &Value| table.rows.iter().any(|(id, row)| Some(*id) != own && row.values[place] == *value);
            value.is_some_and(taken)
        })
    }

    /// Keeps what became of writes.
    fn keep(&self, world: &mut World, mark: Mark<'_>, outcomes: Vec<u8>) {
        if !world.has(Bug::NoMark) {
            let marks = &mut world.tables[self.table].marks;
            marks.retain(|(consumer, number, _), _| *consumer != self.consumer || *number >= mark.since);
            marks.insert((Arc::clone(&self.consumer), mark.number, mark.first), outcomes);
        }
    }

    fn put(&self, world: &mut World, id: i64, row: Option<Row>) {
        let now = world.now;
        let name = world.tables[self.table].name;
        world.tell(|| format!("{} writes {name} {id}: {:?}", self.consumer, row.as_ref().map(|row| &row.values)));
        if world.tables[self.table].rows.get(&id) != row.as_ref() {
            world.writes.push((self.table, id));
        }
        world.stamp(u64::try_from(id).unwrap_or_default() + 1);
        world.activity += 1;
        world.tables[self.table].put(id, row, now, Some(Arc::clone(&self.consumer)));
    }
}

fn holds(table: &Table, row: &Row, guard: Option<&Record>) -> bool {
    guard.is_none_or(|guard| guard.iter().all(|(name, value)| row.values[table.place(name)] == *value))
}

fn position(incarnation: u32, sequence: usize) -> Position {
    Position(format!("{incarnation}:{sequence}"))
}

pub(super) fn read_position(position: &Position) -> Option<(u32, usize)> {
    let (incarnation, sequence) = position.0.split_once(':')?;
    Some((incarnation.parse().ok()?, sequence.parse().ok()?))
}

#[async_trait]
impl Source for Side {
    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }

    async fn prepare(&mut self) -> Result<String> {
        turn().await;
        let mut world = self.shared.world();
        world.trouble(self.table)?;
        let table = &mut world.tables[self.table];
        table.acknowledged.entry(Arc::clone(&self.consumer)).or_default();
        Ok(table.incarnation.to_string())
    }

    async fn remove(&mut self) -> Result<()> {
        Ok(())
    }

    async fn head(&mut self) -> Result<Position> {
        turn().await;
        let mut world = self.shared.world();
        world.trouble(self.table)?;
        let table = &world.tables[self.table];
        Ok(position(table.incarnation, table.log.len()))
    }

    async fn next_batch(&mut self, after: &Position, max: usize) -> Result<ChangeBatch> {
        turn().await;
        let durable = self.durable().await;
        let (batch, name) = {
            let mut world = self.shared.world();
            world.trouble(self.table)?;
            let (incarnation, after) = read_position(after).unwrap_or_default();
            let table = &world.tables[self.table];
            if incarnation != table.incarnation {
                let text = format!("the change log of {} was made anew", table.name);
                return Err(SyncError::new(ErrorKind::SchemaMismatch, "sim.tracking_lost", text));
            }
            let (head, forgotten) = (table.log.len(), table.acknowledged.get(&self.consumer).copied().unwrap_or(0));
            if after < forgotten {
                world.violate(|| format!("I1: asks for changes after {after}, forgotten are those up to {forgotten}"));
            }
            let count = 1 + world.rng.below(max);
            let through = (after + count).min(head).max(after);
            let changes = self.changes(&mut world, after, through);
            if world.has(Bug::AcknowledgeFirst) && !changes.is_empty() {
                self.forget(&mut world, through, durable);
            }
            for change in changes.iter().filter(|change| change.op == Op::Delete) {
                if world.has(Bug::TombstoneForgotten) {
                    self.shared.state.forget(&world.pairs[self.pair].name, self.end, &change.key);
                }
            }
            world.woken[self.pair] = self.end;
            let batch = ChangeBatch { changes, through: position(incarnation, through), more: through < head };
            (batch, Arc::clone(&world.pairs[self.pair].name))
        };
        if self.shared.world().has(Bug::CheckpointFirst) && !batch.changes.is_empty() {
            let mut positions = Ends::default();
            *positions.get_mut(self.end) = Some(batch.through.clone());
            self.shared.state.commit(&name, &Commit { positions, ..Commit::default() }).await?;
        }
        turn().await;
        Ok(batch)
    }

    async fn wait(&mut self, _: std::time::Duration) -> Result<()> {
        turn().await;
        Ok(())
    }

    async fn acknowledge(&mut self, through: &Position) -> Result<()> {
        turn().await;
        let durable = self.durable().await;
        let mut world = self.shared.world();
        world.trouble(self.table)?;
        let (incarnation, through) = read_position(through).unwrap_or_default();
        if incarnation == world.tables[self.table].incarnation {
            self.forget(&mut world, through, durable);
        }
        Ok(())
    }
}

#[async_trait]
impl Target for Side {
    fn capabilities(&self) -> Capabilities {
        CAPABILITIES
    }

    async fn scan(&self, order: ScanOrder) -> Result<Box<dyn Scan>> {
        turn().await;
        self.shared.world().trouble(self.table)?;
        self.looks();
        Ok(Box::new(Rows::new(self.clone(), order)?))
    }

    async fn split(&self, parts: usize) -> Result<Vec<Key>> {
        turn().await;
        let mut world = self.shared.world();
        world.trouble(self.table)?;
        Ok(super::scan::cuts(&mut world, self.table, parts))
    }

    async fn fetch(&self, keys: &[Key]) -> Result<Vec<Option<Record>>> {
        turn().await;
        let images = {
            let mut world = self.shared.world();
            world.trouble(self.table)?;
            let mut images = Vec::new();
            for id in keys.iter().map(id_of) {
                let stale = world.strikes(Bug::StaleFetch, 200);
                let table = &world.tables[self.table];
                let now = table.rows.get(&id);
                let row = if stale { table.before.get(&id).map_or(now, Option::as_ref) } else { now };
                let mut image = row.map(|row| self.record(table, row));
                image.iter_mut().for_each(|image| planted::fetched(&mut world, image));
                images.push(image);
            }
            images
        };
        self.looks();
        turn().await;
        Ok(images)
    }

    async fn exists(&self, keys: &[Key]) -> Result<Vec<bool>> {
        turn().await;
        let mut world = self.shared.world();
        world.trouble(self.table)?;
        let rows = &world.tables[self.table].rows;
        Ok(keys.iter().map(|key| rows.contains_key(&id_of(key))).collect())
    }

    async fn count(&self) -> Result<u64> {
        turn().await;
        let mut world = self.shared.world();
        world.trouble(self.table)?;
        Ok(u64::try_from(world.tables[self.table].rows.len()).unwrap_or(u64::MAX))
    }

    async fn find(&self, fields: &[String], values: &[Key]) -> Result<Vec<Vec<Record>>> {
        turn().await;
        let found = {
            let mut world = self.shared.world();
            world.trouble(self.table)?;
            let table = &world.tables[self.table];
            let place = table.place(&fields[0]);
            let of = |value: &Key| {
                let rows = table.rows.values().filter(|row| Some(&row.values[place]) == value.0.first());
                rows.map(|row| self.record(table, row)).collect()
            };
            values.iter().map(of).collect()
        };
        self.looks();
        turn().await;
        Ok(found)
    }

    async fn write_marked(&self, writes: &[Write], mark: Option<Mark<'_>>) -> Result<Vec<WriteOutcome>> {
        let mut writes = writes.to_vec();
        before_write::begin(&mut self.shared.world(), self, &mut writes);
        turn().await;
        let outcomes = {
            let mut world = self.shared.world();
            before_write::end(&mut world, self, &writes);
            world.trouble(self.table)?;
            let refused = |write: &Write| match write {
                Write::Create { record: fields } | Write::Update { fields, .. } => {
                    fields.iter().any(|(_, value)| matches!(value, Value::Text(text) if text.contains('^')))
                }
                Write::Delete { .. } => false,
            };
            let taken = |write: &Write| match write {
                Write::Update { key, fields, .. } => self.collides(&world.tables[self.table], Some(id_of(key)), fields),
                Write::Create { .. } | Write::Delete { .. } => false,
            };
            if writes.iter().any(|write| refused(write) || taken(write)) {
                let text = "a value that this system does not take";
                return Err(SyncError::new(ErrorKind::InvalidRecord, "sim.refused", text));
            }
            let number = mark.map(|mark| mark.number);
            let outcomes: Vec<WriteOutcome> =
                writes.iter().map(|write| self.carry_out(&mut world, write, number)).collect();
            if let Some(mark) = mark {
                self.keep(&mut world, mark, kept(&writes, outcomes.iter().map(Some)));
            }
            world.lose_answer("a write")?;
            outcomes
        };
        self.looks();
        turn().await;
        Ok(outcomes)
    }

    async fn upsert(&self, records: &[Record]) -> Result<Upserted> {
        turn().await;
        let upserted = {
            let mut world = self.shared.world();
            world.trouble(self.table)?;
            let is_refused = |value: &Value| matches!(value, Value::Text(text) if text.contains('^'));
            if records.iter().any(|record| record.iter().any(|(_, value)| is_refused(value))) {
                return Err(SyncError::new(ErrorKind::InvalidRecord, "sim.refused", "a value that is not taken"));
            }
            let mut upserted = Upserted::default();
            for record in records {
                let Some(Value::Int(id)) = record.get("id").cloned() else { continue };
                let table = &world.tables[self.table];
                let old = table.rows.get(&id).cloned();
                let mut row = old.clone().unwrap_or_else(|| table.blank(id));
                before_write::fields(&mut world, self, (id, old.is_none()), &mut row, record);
                if old.is_some_and(|old| old.values == row.values) {
                    upserted.unchanged += 1;
                } else {
                    upserted.written += 1;
                    self.put(&mut world, id, Some(row));
                }
            }
            world.lose_answer("an upsert")?;
            upserted
        };
        self.looks();
        turn().await;
        Ok(upserted)
    }

    async fn delete_by_correlation(&self, values: &[Key]) -> Result<u64> {
        turn().await;
        let mut world = self.shared.world();
        world.trouble(self.table)?;
        let mut deleted = 0;
        for id in values.iter().map(id_of) {
            if world.tables[self.table].rows.contains_key(&id) {
                before_write::delete(&mut world, self, id);
                self.put(&mut world, id, None);
                deleted += 1;
            }
        }
        world.lose_answer("a delete")?;
        Ok(deleted)
    }

    async fn change_times(&self, keys: &[Key]) -> Result<Vec<Option<i64>>> {
        turn().await;
        let times = {
            let mut world = self.shared.world();
            world.trouble(self.table)?;
            let time = |key: &Key| world.tables[self.table].changed_at(id_of(key), &self.consumer);
            let times: Vec<Option<i64>> = keys.iter().map(time).collect();
            planted::times(&world, self, times)
        };
        turn().await;
        Ok(times)
    }

    async fn marks(&self, _: &str, number: i64) -> Result<Option<Vec<Kept>>> {
        turn().await;
        let mut world = self.shared.world();
        world.trouble(self.table)?;
        let marks = world.tables[self.table].marks.iter();
        let ours = marks.filter(|((consumer, of, _), _)| *consumer == self.consumer && *of == number);
        let ours = ours.map(|((.., first), outcomes)| (*first, outcomes.clone())).collect();
        Ok(planted::marks(world.bug, ours))
    }
}
