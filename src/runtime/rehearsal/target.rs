//! A system that is read, and whose writes are only thought through.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use async_trait::async_trait;

use super::super::open::OpenPair;
use super::{Diff, Ledger, Sample};
use crate::change::End;
use crate::connector::marks::Kept;
use crate::connector::{Capabilities, Mark, Scan, ScanOrder, Target, Upserted, Write, WriteOutcome};
use crate::error::{ErrorKind, Result};
use crate::pipeline::apply::key_names;
use crate::record::{Key, Layout, Record};
use crate::value::{Kind, Value};

/// A system behind glass.
pub(super) struct Rehearsed {
    inner: Arc<dyn Target>,
    end: End,
    layout: Layout,
    /// The primary key: names and kinds.
    key: Vec<(String, Kind)>,
    correlation: Vec<String>,
    /// The stream is tracked by now.
    tracked: bool,
    /// Stands in for keys that the system would generate: counts down from -1.
    generated: AtomicI64,
    ledger: Arc<Ledger>,
}

impl Rehearsed {
    pub(super) fn new((end, tracked): (End, bool), pair: &OpenPair, ledger: Arc<Ledger>) -> Self {
        let binding = &pair.pipeline.binding;
        let layout = binding.layouts.get(end);
        let schema = pair.schemas.get(end);
        let kind = |name: &str| schema.column(name).map_or(Kind::Text, |column| column.kind);
        Self {
            inner: Arc::clone(pair.pipeline.targets.get(end)),
            end,
            key: key_names(binding, end).map(|name| (name.to_owned(), kind(name))).collect(),
            layout: Layout::clone(layout),
            correlation: binding.correlation.get(end).clone(),
            tracked,
            generated: AtomicI64::new(-1),
            ledger,
        }
    }

    fn key_of(&self, record: &Record) -> Option<Key> {
        record.key(&self.key.iter().map(|(name, _)| name).collect::<Vec<_>>())
    }

    /// The record as the system would store it: what is not given takes a stand-in where it is part of the key, else null.
    fn stored(&self, given: &Record) -> Record {
        let generated = |kind: Kind| {
            let number = Value::Int(self.generated.fetch_sub(1, Ordering::Relaxed));
            number.convert(kind).unwrap_or(Value::Text("(generated)".to_owned()))
        };
        let value = |name: &str| {
            let given = given.get(name).filter(|value| !value.is_null()).cloned();
            let kind = self.key.iter().find(|(key, _)| key == name).map(|(_, kind)| *kind);
            given.or_else(|| kind.map(generated)).unwrap_or(Value::Null)
        };
        Record::new(Layout::clone(&self.layout), self.layout.iter().map(|name| Some(value(name))).collect())
    }

    fn put_down(&self, op: &'static str, key: Option<&Key>, now: Option<&Record>, fields: Option<&Record>) {
        let json = |value: Option<&Value>| value.map(Value::to_json);
        let diffs = fields.into_iter().flat_map(Record::iter);
        let diffs = diffs.map(|(name, to)| (name, now.and_then(|now| now.get(name)), to));
        let changed = diffs.filter(|(_, from, to)| *from != Some(*to));
        let fields: BTreeMap<String, Diff> =
            changed.map(|(name, from, to)| (name.to_owned(), Diff { from: json(from), to: json(Some(to)) })).collect();
        self.ledger.wrote(Sample { side: self.end, op, key: key.map(ToString::to_string), fields });
    }

    fn create(&self, record: &Record, there: bool) -> WriteOutcome {
        if there {
            return WriteOutcome::Changed;
        }
        let stored = self.stored(record);
        self.put_down("create", record.key(&self.correlation).as_ref(), None, Some(record));
        WriteOutcome::Applied { key: self.key_of(&stored).unwrap_or(Key(Vec::new())), stored: Some(stored) }
    }

    fn update(&self, key: &Key, fields: &Record, guard: Option<&Record>, now: Option<Record>) -> WriteOutcome {
        let Some(now) = now.filter(|now| holds(now, guard)) else { return WriteOutcome::Changed };
        self.put_down("update", Some(key), Some(&now), Some(fields));
        let mut stored = now;
        fields.iter().for_each(|(name, value)| stored.set(name, value.clone()));
        let key = self.key_of(&stored).unwrap_or_else(|| key.clone());
        WriteOutcome::Applied { key, stored: Some(stored) }
    }

    fn delete(&self, key: &Key, guard: Option<&Record>, now: Option<&Record>) -> WriteOutcome {
        if now.is_some_and(|now| !holds(now, guard)) {
            return WriteOutcome::Changed;
        }
        if now.is_some() {
            self.put_down("delete", Some(key), now, None);
        }
        WriteOutcome::Applied { key: key.clone(), stored: None }
    }
}

fn holds(now: &Record, guard: Option<&Record>) -> bool {
    guard.is_none_or(|guard| guard.iter().all(|(name, value)| now.get(name) == Some(value)))
}

/// The key by which a write looks at what is there.
fn looked_at(of: &Rehearsed, write: &Write) -> Option<Key> {
    match write {
        Write::Create { record, .. } => of.key_of(record),
        Write::Update { key, .. } | Write::Delete { key, .. } => Some(key.clone()),
    }
}

#[async_trait]
impl Target for Rehearsed {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn scan(&self, order: ScanOrder) -> Result<Box<dyn Scan>> {
        let inner = self.inner.scan(order).await?;
        let key = self.key.iter().map(|(name, _)| name.clone()).collect();
        Ok(Box::new(Undecided { inner, end: self.end, key, ledger: Arc::clone(&self.ledger) }))
    }

    async fn split(&self, parts: usize) -> Result<Vec<Key>> {
        self.inner.split(parts).await
    }

    fn alias(&self, field: &str, value: &Value) -> Option<Value> {
        self.inner.alias(field, value)
    }

    async fn fetch(&self, keys: &[Key]) -> Result<Vec<Option<Record>>> {
        self.inner.fetch(keys).await
    }

    async fn exists(&self, keys: &[Key]) -> Result<Vec<bool>> {
        self.inner.exists(keys).await
    }

    async fn count(&self) -> Result<u64> {
        self.inner.count().await
    }

    async fn find(&self, fields: &[String], values: &[Key]) -> Result<Vec<Vec<Record>>> {
        self.inner.find(fields, values).await
    }

    async fn write_marked(&self, writes: &[Write], _: Option<Mark<'_>>) -> Result<Vec<WriteOutcome>> {
        let keys: Vec<Option<Key>> = writes.iter().map(|write| looked_at(self, write)).collect();
        let asked: Vec<Key> = keys.iter().flatten().cloned().collect();
        let mut images = if asked.is_empty() { Vec::new() } else { self.inner.fetch(&asked).await? }.into_iter();
        let mut outcomes = Vec::with_capacity(writes.len());
        for (write, key) in writes.iter().zip(keys) {
            let now = if key.is_some() { images.next().flatten() } else { None };
            outcomes.push(match write {
                Write::Create { record, .. } => self.create(record, now.is_some()),
                Write::Update { key, fields, guard } => self.update(key, fields, guard.as_ref(), now),
                Write::Delete { key, guard } => self.delete(key, guard.as_ref(), now.as_ref()),
            });
        }
        Ok(outcomes)
    }

    async fn upsert(&self, records: &[Record]) -> Result<Upserted> {
        let keys: Vec<Key> =
            records.iter().map(|record| record.key(&self.correlation).unwrap_or(Key(Vec::new()))).collect();
        let found = self.inner.find(&self.correlation, &keys).await?;
        let mut done = Upserted::default();
        for ((record, key), there) in records.iter().zip(&keys).zip(found) {
            match there.first() {
                Some(now) if holds(now, Some(record)) => done.unchanged += 1,
                now => {
                    done.written += 1;
                    let op = if now.is_some() { "update" } else { "create" };
                    self.put_down(op, Some(key), now, Some(record));
                }
            }
        }
        Ok(done)
    }

    async fn delete_by_correlation(&self, values: &[Key]) -> Result<u64> {
        let mut deleted = 0;
        for (key, there) in values.iter().zip(self.inner.find(&self.correlation, values).await?) {
            for now in &there {
                deleted += 1;
                self.put_down("delete", Some(key), Some(now), None);
            }
        }
        Ok(deleted)
    }

    async fn change_times(&self, keys: &[Key]) -> Result<Vec<Option<i64>>> {
        match self.inner.change_times(keys).await {
            // Some systems say so of a change table that a run would make first.
            Err(error) if error.kind == ErrorKind::PermissionDenied && !self.tracked => Ok(vec![None; keys.len()]),
            times => times,
        }
    }

    async fn marks(&self, run: &str, number: i64) -> Result<Option<Vec<Kept>>> {
        self.inner.marks(run, number).await
    }
}

/// A scan without the records that something was decided about as the other side was looked at.
struct Undecided {
    inner: Box<dyn Scan>,
    end: End,
    key: Vec<String>,
    ledger: Arc<Ledger>,
}

#[async_trait]
impl Scan for Undecided {
    async fn next(&mut self, max: usize) -> Result<Vec<Record>> {
        loop {
            let records = self.inner.next(max).await?;
            if records.is_empty() {
                return Ok(records);
            }
            let decided =
                |record: &Record| record.key(&self.key).is_some_and(|key| self.ledger.is_decided(self.end, &key));
            let open: Vec<Record> = records.into_iter().filter(|record| !decided(record)).collect();
            if !open.is_empty() {
                return Ok(open);
            }
        }
    }

    fn resumable(&self) -> bool {
        self.inner.resumable()
    }
}
