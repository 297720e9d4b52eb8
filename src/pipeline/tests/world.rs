//! Two tables and a state store in memory, with a pair between them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::functions::Functions;
use crate::change::{Change, End, Ends, Op};
use crate::connector::{Capabilities, Mark, Scan, ScanOrder, Target, Upserted, Write, WriteOutcome};
use crate::error::{ErrorKind, Result, SyncError};
use crate::pipeline::binding::Binding;
use crate::pipeline::{Batch, Pipeline, Rollout};
use crate::plugin::{Catalogue, Plugins};
use crate::record::{Key, Layout, Record};
use crate::state::memory::MemoryState;
use crate::state::{Conflict, Counts, Decision, Finding, Review, ReviewFilter, Ruling, StateStore, Verdict, Winner};
use crate::value::Value;

fn key(id: i64) -> Key {
    Key(vec![Value::Int(id)])
}

/// An edit of somebody else: id, field, value.
type Edit = (i64, &'static str, Value);

/// A table whose key is its first field.
struct Table {
    layout: Layout,
    rows: Mutex<BTreeMap<Key, Record>>,
    changed: Mutex<BTreeMap<Key, i64>>,
    /// What happens right before the next writes.
    meanwhile: Mutex<Vec<Edit>>,
    /// A value that no record may have.
    refused: Mutex<Option<Value>>,
    /// Keys of records that the filter leaves out.
    left: Mutex<Vec<Key>>,
}

impl Table {
    fn rows(&self) -> std::sync::MutexGuard<'_, BTreeMap<Key, Record>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn edit(&self, (id, field, value): Edit) {
        let mut rows = self.rows();
        let row = rows.entry(key(id)).or_insert_with(|| new(&self.layout));
        row.set("id", Value::Int(id));
        row.set(field, value);
    }

    fn holds(row: Option<&Record>, guard: Option<&Record>) -> bool {
        let equal = |row: &Record, guard: &Record| guard.iter().all(|(name, value)| row.get(name) == Some(value));
        row.is_some_and(|row| guard.is_none_or(|guard| equal(row, guard)))
    }

    fn carry_out(&self, write: &Write) -> Result<WriteOutcome> {
        let refused = self.refused.lock().unwrap().clone();
        let mut rows = self.rows();
        let row = |key: &Key, fields: &Record| {
            let mut row = rows.get(key).cloned().unwrap_or_else(|| new(&self.layout));
            fields.iter().for_each(|(name, value)| row.set(name, value.clone()));
            row
        };
        let (key, new) = match write {
            Write::Create { record, .. } => {
                let key = record.key(&["id"]).unwrap();
                if rows.contains_key(&key) {
                    return Ok(WriteOutcome::Changed);
                }
                let new = row(&key, record);
                (key, new)
            }
            Write::Update { key, fields, guard } => {
                if !Self::holds(rows.get(key), guard.as_ref()) {
                    return Ok(WriteOutcome::Changed);
                }
                (key.clone(), row(key, fields))
            }
            Write::Delete { key, guard } => {
                if rows.contains_key(key) && !Self::holds(rows.get(key), guard.as_ref()) {
                    return Ok(WriteOutcome::Changed);
                }
                rows.remove(key);
                return Ok(WriteOutcome::Applied { key: key.clone(), stored: None });
            }
        };
        if new.iter().any(|(_, value)| Some(value) == refused.as_ref()) {
            return Err(SyncError::new(
                ErrorKind::InvalidRecord,
                "record.unique_conflict",
                "a value that is not taken",
            ));
        }
        rows.insert(key.clone(), new.clone());
        Ok(WriteOutcome::Applied { key, stored: Some(new) })
    }
}

/// A record whose fields are all null.
fn new(layout: &Layout) -> Record {
    Record::of(layout.iter().map(|name| (name, Value::Null)))
}

#[async_trait]
impl Target for Table {
    fn capabilities(&self) -> Capabilities {
        Capabilities { deletes: true, change_times: true, batch: 100, bulk: None }
    }

    async fn scan(&self, _: ScanOrder) -> Result<Box<dyn Scan>> {
        Err(SyncError::internal("nothing here scans"))
    }

    async fn fetch(&self, keys: &[Key]) -> Result<Vec<Option<Record>>> {
        Ok(keys.iter().map(|key| self.rows().get(key).cloned()).collect())
    }

    async fn exists(&self, keys: &[Key]) -> Result<Vec<bool>> {
        let left = self.left.lock().unwrap();
        Ok(keys.iter().map(|key| self.rows().contains_key(key) || left.contains(key)).collect())
    }

    async fn count(&self) -> Result<u64> {
        Ok(self.rows().len() as u64)
    }

    async fn find(&self, fields: &[String], values: &[Key]) -> Result<Vec<Vec<Record>>> {
        let rows = self.rows();
        let found =
            |values: &Key| rows.values().filter(|row| row.key(fields).as_ref() == Some(values)).cloned().collect();
        Ok(values.iter().map(found).collect())
    }

    async fn write_marked(&self, writes: &[Write], _: Option<Mark<'_>>) -> Result<Vec<WriteOutcome>> {
        let meanwhile = std::mem::take(&mut *self.meanwhile.lock().unwrap());
        meanwhile.into_iter().for_each(|edit| self.edit(edit));
        let before = self.rows().clone();
        let done: Result<Vec<WriteOutcome>> = writes.iter().map(|write| self.carry_out(write)).collect();
        if done.is_err() {
            *self.rows() = before;
        }
        done
    }

    async fn upsert(&self, _: &[Record]) -> Result<Upserted> {
        Err(SyncError::internal("nothing here upserts"))
    }

    async fn delete_by_correlation(&self, _: &[Key]) -> Result<u64> {
        Err(SyncError::internal("nothing here deletes by correlation"))
    }

    async fn change_times(&self, keys: &[Key]) -> Result<Vec<Option<i64>>> {
        let changed = self.changed.lock().unwrap();
        Ok(keys.iter().map(|key| changed.get(key).copied()).collect())
    }
}

/// The pair's name.
const PAIR: &str = "pair";

struct Fixed(Arc<Functions>);

impl Catalogue for Fixed {
    fn snapshot(&self) -> Arc<dyn Plugins> {
        Arc::<Functions>::clone(&self.0)
    }
}

/// A pair with both its systems.
pub(super) struct World {
    tables: Ends<Arc<Table>>,
    state: Arc<MemoryState>,
    pipeline: Pipeline,
    clock: Mutex<i64>,
    /// What its plugins were asked.
    pub(super) functions: Arc<Functions>,
}

impl World {
    pub(super) fn new(binding: Binding) -> Self {
        let table = |end: End| Table {
            layout: Layout::clone(binding.layouts.get(end)),
            rows: Mutex::default(),
            changed: Mutex::default(),
            meanwhile: Mutex::default(),
            refused: Mutex::default(),
            left: Mutex::default(),
        };
        let tables = Ends::from_fn(|end| Arc::new(table(end)));
        let (state, functions) = (Arc::new(MemoryState::default()), Arc::new(Functions::default()));
        let pipeline = Pipeline {
            binding: Arc::new(binding),
            targets: Ends::from_fn(|end| -> Arc<dyn Target> { Arc::<Table>::clone(tables.get(end)) }),
            state: Arc::<MemoryState>::clone(&state),
            catalogue: Arc::new(Fixed(Arc::clone(&functions))),
            consumer: "memory:pair".to_owned(),
            watch: Arc::default(),
            rollout: Rollout::default(),
            writers: Arc::new(tokio::sync::Semaphore::new(1)),
        };
        Self { tables, state, pipeline, clock: Mutex::new(0), functions }
    }

    /// Sets fields of a record of `end`, later than every edit before.
    pub(super) fn edit(&self, end: End, id: i64, fields: &[(&'static str, &str)]) {
        for (field, value) in fields {
            self.tables.get(end).edit((id, field, Value::Text((*value).to_owned())));
        }
        let mut clock = self.clock.lock().unwrap();
        *clock += 1;
        self.tables.get(end).changed.lock().unwrap().insert(key(id), *clock);
    }

    /// Somebody edits `end` right before the next write there.
    pub(super) fn meanwhile(&self, end: End, id: i64, field: &'static str, value: &str) {
        self.tables.get(end).meanwhile.lock().unwrap().push((id, field, Value::Text(value.to_owned())));
    }

    /// From now on `end` refuses records with this value.
    pub(super) fn refuse(&self, end: End, value: &str) {
        *self.tables.get(end).refused.lock().unwrap() = Some(Value::Text(value.to_owned()));
    }

    /// Sets a field to null.
    pub(super) fn clear(&self, end: End, id: i64, field: &'static str) {
        self.tables.get(end).edit((id, field, Value::Null));
    }

    /// Takes a record out of the filter's sight.
    pub(super) fn leave(&self, end: End, id: i64) -> Record {
        let table = self.tables.get(end);
        table.left.lock().unwrap().push(key(id));
        table.rows().remove(&key(id)).unwrap()
    }

    /// Puts a record (back) into the table.
    pub(super) fn come_back(&self, end: End, id: i64, record: Record) {
        let table = self.tables.get(end);
        table.left.lock().unwrap().retain(|left| *left != key(id));
        table.rows().insert(key(id), record);
    }

    /// A record as it is.
    pub(super) fn image(&self, end: End, id: i64) -> Record {
        self.tables.get(end).rows()[&key(id)].clone()
    }

    /// Processes a change that carries this image.
    pub(super) async fn process_image(&self, end: End, id: i64, image: Record) -> Counts {
        let change = Change { key: key(id), op: Op::Upsert, at: None, image: Some(image) };
        self.pipeline.process(Batch { end, changes: vec![change], through: None }).await.unwrap()
    }

    pub(super) async fn announce_deletes(&self, end: End, count: u64) {
        self.pipeline.announce_deletes(end, count).await.unwrap();
    }

    pub(super) fn delete(&self, end: End, id: i64) {
        self.edit(end, id, &[]);
        self.tables.get(end).rows().remove(&key(id));
    }

    /// Processes these records of `end` as changed.
    pub(super) async fn process(&self, end: End, ids: &[i64]) -> Counts {
        let change = |id: &i64| Change { key: key(*id), op: Op::Upsert, at: None, image: None };
        let batch = Batch { end, changes: ids.iter().map(change).collect(), through: None };
        self.pipeline.process(batch).await.unwrap()
    }

    /// Processes these records of both ends, `first`'s before the other's.
    pub(super) async fn both(&self, first: End, ids: &[i64]) -> Counts {
        let mut counts = self.process(first, ids).await;
        counts.add(&self.process(first.other(), ids).await);
        counts
    }

    /// Nothing is written, and no conflict is found, whoever asks.
    pub(super) async fn at_rest(&self, ids: &[i64]) {
        let before = Ends::from_fn(|end| self.tables.get(end).rows().clone());
        let counts = self.both(End::Source, ids).await;
        assert_eq!((counts.written_source, counts.written_target, counts.conflicts), (0, 0, 0), "{counts:?}");
        assert_eq!(before, Ends::from_fn(|end| self.tables.get(end).rows().clone()));
    }

    /// A field of a record; empty for null, and where there is no record.
    pub(super) fn value(&self, end: End, id: i64, field: &str) -> String {
        let rows = self.tables.get(end).rows();
        rows.get(&key(id)).and_then(|row| row.get(field)).and_then(Value::to_text).unwrap_or_default()
    }

    /// A field of both sides.
    pub(super) fn values(&self, id: i64, field: &str) -> [String; 2] {
        [End::Source, End::Target].map(|end| self.value(end, id, field))
    }

    pub(super) fn exists(&self, id: i64) -> [bool; 2] {
        [End::Source, End::Target].map(|end| self.tables.get(end).rows().contains_key(&key(id)))
    }

    /// End, key and code of the open reviews.
    pub(super) fn reviews(&self) -> Vec<(End, i64, String)> {
        let id = |key: &Key| if let [Value::Int(id)] = key.0.as_slice() { *id } else { 0 };
        self.findings().iter().map(|one| (one.end, id(&one.key), one.code.clone())).collect()
    }

    /// Messages of the open reviews.
    pub(super) fn messages(&self) -> Vec<String> {
        self.findings().into_iter().map(|one| one.message).collect()
    }

    /// Field, winner and resolver of the conflicts on record.
    pub(super) fn conflicts(&self) -> Vec<(String, Winner, Option<String>)> {
        self.on_record()
            .iter()
            .map(|one| {
                let resolver = one.resolver.as_ref().map(|resolver| resolver.name.clone());
                (one.field.clone().unwrap_or_default(), one.winner, resolver)
            })
            .collect()
    }

    /// Both sides' values of the conflicts on record.
    pub(super) fn contested(&self) -> Vec<[String; 2]> {
        let text = |value: &Option<Value>| value.as_ref().and_then(Value::to_text).unwrap_or_default();
        self.on_record().iter().map(|one| [text(&one.values.source), text(&one.values.target)]).collect()
    }

    /// The conflicts that were settled; none is left open between batches.
    fn on_record(&self) -> Vec<Conflict> {
        let conflicts = self.state.conflicts();
        assert!(conflicts.iter().all(|(_, recorded)| recorded.settled), "a conflict is left open");
        conflicts.into_iter().map(|(_, recorded)| recorded.conflict).collect()
    }

    /// Decides about the only review as a person would who has just looked at it; what became of that.
    pub(super) async fn decide(&self, take: Option<End>, set: serde_json::Value) -> (Verdict, String) {
        let finding = self.findings().remove(0);
        let version = finding.version();
        self.decide_about(finding, version, take, set).await
    }

    /// As [`World::decide`], about this finding and these images.
    pub(super) async fn decide_about(
        &self,
        finding: Finding,
        version: String,
        take: Option<End>,
        set: serde_json::Value,
    ) -> (Verdict, String) {
        let ruling = Ruling { take, set: set.as_object().cloned().unwrap_or_default() };
        let is = |one: &Review| one.finding.end == finding.end && one.finding.key == finding.key;
        let open = self.state.reviews(&ReviewFilter::default(), usize::MAX).await.unwrap();
        let mut review = open.into_iter().find(is).unwrap();
        (review.finding, review.version) = (finding, version.clone());
        let mut decision = Decision { id: 0, review: review.id, version, ruling, actor: "test".into(), at: 0 };
        decision.id = self.state.decide(std::slice::from_ref(&decision)).await.unwrap()[0].unwrap();
        let id = decision.id;
        self.pipeline.carry_out(vec![(decision, review)]).await.unwrap();
        self.state.verdicts(&[id]).await.unwrap().remove(0).unwrap()
    }

    /// What is in review.
    pub(super) fn findings(&self) -> Vec<Finding> {
        self.state.findings(PAIR)
    }
}
