//! The short way of one-way pairs whose target key follows from the record: upsert by key, no links, as fast as a copy (row 6).

use std::collections::HashMap;
use std::sync::Arc;

use super::apply::key_of;
use super::binding::{Binding, Mark};
use super::guards::GUARDED;
use super::item::refusal;
use super::ruling::{SetValue, overlay};
use super::transform::{self, Mapped};
use super::{Done, Pipeline, apply, validation};
use crate::change::{Change, End, Ends};
use crate::config::Deletes;
use crate::connector::{Write, WriteOutcome};
use crate::error::{Result, SyncError};
use crate::plugin::Plugins;
use crate::record::{Key, Layout, Record, layout};
use crate::state::{Finding, ReviewKind, WriteOp, Writing};
use crate::telemetry::{CrashPoint, clock};
use crate::value::Value;

impl Pipeline {
    /// Copies changes of the source to the target. Those of a load (not `live`) are each the first of their record.
    /// `set` has people's own values, by the keys of their records.
    pub(super) async fn copy(
        &self,
        changes: (Vec<Change>, bool),
        set: &HashMap<Key, Vec<SetValue>>,
        plugins: &Arc<dyn Plugins>,
    ) -> Result<Done> {
        let copies = self.map_copies(changes, set, plugins).await?;
        self.write_copies(copies, set, plugins).await
    }

    /// What changes of the source come to. Writes nothing.
    pub(super) async fn map_copies(
        &self,
        (changes, live): (Vec<Change>, bool),
        set: &HashMap<Key, Vec<SetValue>>,
        plugins: &Arc<dyn Plugins>,
    ) -> Result<Copies> {
        let mut done = Done::default();
        done.commit.counts.read = changes.len() as u64;
        let (mut images, mut gone) = (Vec::with_capacity(changes.len()), Vec::new());
        let mut read = self.images(End::Source, changes).await?;
        self.stay(End::Source, &mut read, &mut done).await?;
        self.hold_back_copies(&mut read, |key| set.contains_key(key), &mut done).await?;
        for (key, image) in read {
            match image {
                Some(image) => images.push((key, image)),
                None => gone.push(key),
            }
        }
        let records: Vec<&Record> = images.iter().map(|(_, record)| record).collect();
        let mut mapped = self.map_records(End::Source, &records, plugins).await?;
        if !set.is_empty() {
            for (cells, (key, _)) in mapped.iter_mut().zip(&images) {
                set.get(key).into_iter().for_each(|set| overlay(cells, set));
            }
        }
        let checked = validation::check_mapped(&self.binding, End::Source, mapped, plugins).await?;
        let columns = columns(&self.binding);
        // What the source has is not deleted.
        let mark = self.binding.marks.target.as_ref();
        let unmarked = mark.map(Mark::unset);
        let names = columns.iter().map(|(_, name)| name).chain(mark.map(|mark| &mark.0.name));
        let names = layout(names);
        let (mut copies, mut rows) = (Vec::with_capacity(images.len()), Vec::with_capacity(images.len()));
        for ((key, image), (cells, warnings)) in images.into_iter().zip(checked.into_cells()) {
            match row(&names, &columns, cells, unmarked.clone()) {
                Err(rejection) => done.reject(End::Source, key, image, *rejection),
                Ok(record) => match record.key(&self.binding.correlation.target) {
                    None => {
                        let text = "a field of its key is null after mapping";
                        done.file(ambiguous(key, image, "match.no_key", text));
                    }
                    Some(target) => {
                        copies.push(Copied { key, image, target, warnings });
                        rows.push(record);
                    }
                },
            }
        }
        let (copies, rows) = without_repeats(copies, rows, &mut done);
        Ok(Copies { done, copies, rows, gone, live })
    }

    /// Writes what is to reach the target, and deletes what is gone.
    pub(super) async fn write_copies(
        &self,
        Copies { mut done, mut copies, mut rows, gone, live }: Copies,
        set: &HashMap<Key, Vec<SetValue>>,
        plugins: &Arc<dyn Plugins>,
    ) -> Result<Done> {
        self.stop_copied_loops((&mut copies, &mut rows), set, &mut done);
        let deletes = !gone.is_empty();
        let mut refused = self.upsert((rows, live), copies, &mut done).await?;
        self.delete(gone, set, plugins, &mut done).await?;
        if deletes && !refused.is_empty() {
            // What was in the way may be gone: a key that was spelt anew, a unique value that changed hands.
            let (rows, copies) = refused.into_iter().map(|(row, copied, _)| (row, copied)).unzip();
            refused = self.upsert((rows, live), copies, &mut done).await?;
        }
        for (_, Copied { key, image, warnings, .. }, error) in refused {
            done.commit.counts.warnings += warnings;
            let kind = refusal(error.code);
            done.file(Finding::new(End::Source, key, kind, error.code, error.message).with_image(image));
        }
        Ok(done)
    }

    /// Writes the rows; gives back those that the target refuses, and why.
    async fn upsert(
        &self,
        (rows, live): (Vec<Record>, bool),
        copies: Vec<Copied>,
        done: &mut Done,
    ) -> Result<Vec<(Record, Copied, SyncError)>> {
        if rows.is_empty() {
            return Ok(Vec::new());
        }
        let writing = self.writers.acquire().await;
        let (upserted, failed) = apply::upsert_all(self.targets.target.as_ref(), &rows).await?;
        drop(writing);
        CrashPoint::WrittenTarget.pass();
        done.wrote(End::Target, upserted.written);
        done.unsettled |= upserted.written > 0;
        done.commit.counts.skipped += upserted.unchanged;
        let (mut failed, mut refused) = (failed.into_iter().peekable(), Vec::new());
        for (place, (row, copied)) in rows.into_iter().zip(copies).enumerate() {
            if let Some((_, error)) = failed.next_if(|(failed, _)| *failed == place) {
                refused.push((row, copied, error));
                continue;
            }
            let Copied { key, target, warnings, .. } = copied;
            done.commit.counts.warnings += warnings;
            if upserted.written > 0 {
                put_down(WriteOp::Upsert, &key, Some(&target), done);
                // Of which rows it was, only this is known.
                if live && upserted.unchanged == 0 {
                    self.note_copy(&key, &row);
                }
            }
            done.commit.cleared.push((End::Source, key));
        }
        Ok(refused)
    }

    async fn delete(
        &self,
        gone: Vec<Key>,
        set: &HashMap<Key, Vec<SetValue>>,
        plugins: &Arc<dyn Plugins>,
        done: &mut Done,
    ) -> Result<()> {
        // What a person has decided is not held up.
        let (asked, gone): (Vec<Key>, Vec<Key>) = gone.into_iter().partition(|key| set.contains_key(key));
        let doomed = !gone.is_empty() && self.binding.deletes != Deletes::Ignore;
        if doomed && !self.admits(End::Target, gone.len() as u64).await? {
            let others = self.targets_of(&gone, plugins).await?;
            for (key, other) in gone.into_iter().zip(others) {
                let text = self.guarded(End::Target);
                done.file(Finding { other, ..Finding::new(End::Source, key, ReviewKind::DeleteGuard, GUARDED, text) });
            }
            return self.carry_out_deletes(asked, plugins, done).await;
        }
        self.carry_out_deletes(asked.into_iter().chain(gone).collect(), plugins, done).await
    }

    async fn carry_out_deletes(&self, gone: Vec<Key>, plugins: &Arc<dyn Plugins>, done: &mut Done) -> Result<()> {
        if gone.is_empty() || self.binding.deletes == Deletes::Ignore {
            done.commit.counts.skipped += gone.len() as u64;
            done.commit.cleared.extend(gone.into_iter().map(|key| (End::Source, key)));
            return Ok(());
        }
        let values = self.targets_of(&gone, plugins).await?;
        let asked: Vec<Key> = values.iter().flatten().cloned().collect();
        let mark = self.binding.marks.target.as_ref();
        let deleted = match mark {
            Some(mark) => self.mark_deleted(mark, &asked).await?,
            None if self.binding.deletes == Deletes::SoftDelete => 0,
            None => self.targets.target.delete_by_correlation(&asked).await?,
        };
        CrashPoint::WrittenTarget.pass();
        if deleted > 0 {
            // A record that is marked stays.
            let op = if mark.is_some() { WriteOp::Upsert } else { WriteOp::Delete };
            gone.iter().zip(&values).for_each(|(key, target)| put_down(op, key, target.as_ref(), done));
        }
        done.wrote(End::Target, deleted);
        done.commit.counts.skipped += (gone.len() as u64).saturating_sub(deleted);
        done.commit.cleared.extend(gone.into_iter().map(|key| (End::Source, key)));
        Ok(())
    }
}

impl Pipeline {
    /// Where the target has these records of the source: the values that their keys map to.
    async fn targets_of(&self, keys: &[Key], plugins: &Arc<dyn Plugins>) -> Result<Vec<Option<Key>>> {
        // Only the key is left of these records; the correlation maps from nothing else.
        let of_key = |key: &Key| {
            let fields = self.binding.keys.source.iter().copied().zip(&key.0);
            self.binding.record(End::Source, fields)
        };
        let keyed: Vec<Record> = keys.iter().map(of_key).collect();
        let mapped = self.map_records(End::Source, &keyed.iter().collect::<Vec<_>>(), plugins).await?;
        let columns = columns(&self.binding);
        let correlated = |cells: Mapped| -> Option<Key> {
            self.binding
                .correlation
                .target
                .iter()
                .map(|name| {
                    let place = columns.iter().find(|(_, column)| column == name)?.0;
                    cells.get(place)?.as_ref().ok()?.clone().filter(|value| !value.is_null())
                })
                .collect::<Option<Vec<Value>>>()
                .map(Key)
        };
        Ok(mapped.into_iter().map(correlated).collect())
    }

    /// Marks the records of these correlation values as deleted, those that are not yet; returns how many.
    async fn mark_deleted(&self, mark: &Mark, values: &[Key]) -> Result<u64> {
        let target = self.targets.target.as_ref();
        let found = target.find(&self.binding.correlation.target, values).await?;
        let value = mark.set(clock::now_micros()).unwrap_or(Value::Null);
        let marked = |record: Record| {
            let key = key_of(&self.binding, End::Target, &record)?;
            let fields = self.binding.record(End::Target, [(mark.0.position, &value)]);
            (!self.binding.is_marked(End::Target, &record)).then_some(Write::Update { key, fields, guard: None })
        };
        let writes: Vec<Write> = found.into_iter().flatten().filter_map(marked).collect();
        let mut count = 0;
        for outcome in apply::write_all(target, &writes, None).await? {
            match outcome {
                WriteOutcome::Applied { .. } => count += 1,
                // It is gone by now.
                WriteOutcome::Changed => {}
                WriteOutcome::Failed(error) => return Err(error),
            }
        }
        Ok(count)
    }
}

/// Puts down what was sent: the target says how many records of a batch it wrote, not which.
fn put_down(op: WriteOp, source: &Key, target: Option<&Key>, done: &mut Done) {
    let keys = Ends { source: Some(source), target };
    done.commit.history.push(Writing { op, end: End::Target, keys, changed_at: None, fields: None });
}

/// What reaches the target of a one-way pair: place of the cell and target's name.
fn columns(binding: &Binding) -> Vec<(usize, String)> {
    let flows = binding.mappings.iter().enumerate().filter(|(_, mapping)| mapping.functions.source.is_some());
    let made = binding.computed.iter().flat_map(|computed| {
        let outputs = computed.outputs.iter().enumerate();
        outputs.map(|(offset, output)| (computed.first + offset, output.name.clone()))
    });
    flows.map(|(place, mapping)| (place, mapping.fields.target.name.clone())).chain(made).collect()
}

/// The cells come in the order of their columns.
fn row(
    names: &Layout,
    columns: &[(usize, String)],
    cells: Mapped,
    unmarked: Option<Value>,
) -> std::result::Result<Record, Box<transform::Rejection>> {
    let mut places = columns.iter().map(|(place, _)| *place).peekable();
    let wanted = cells.into_iter().enumerate().filter(|(place, _)| places.next_if_eq(place).is_some());
    let mut values = wanted.map(|(_, cell)| cell).collect::<std::result::Result<Vec<_>, _>>()?;
    values.extend(unmarked.map(Some));
    Ok(Record::new(Layout::clone(names), values))
}

/// What a batch of a copy is to do.
pub(super) struct Copies {
    done: Done,
    /// The records, and what they are at the target, in the same order.
    copies: Vec<Copied>,
    rows: Vec<Record>,
    /// Keys of records that are gone.
    gone: Vec<Key>,
    live: bool,
}

/// A record of the source on its way to the target.
pub(super) struct Copied {
    pub(super) key: Key,
    pub(super) image: Record,
    /// The target's key.
    pub(super) target: Key,
    /// Rules that only warn.
    warnings: u64,
}

fn ambiguous(key: Key, image: Record, code: &str, message: &str) -> Finding {
    Finding::new(End::Source, key, ReviewKind::Ambiguous, code, message).with_image(image)
}

/// Of records with the same target key the first goes on, the others go to review.
fn without_repeats(copies: Vec<Copied>, rows: Vec<Record>, done: &mut Done) -> (Vec<Copied>, Vec<Record>) {
    // The usual order of a scan: no two can be equal.
    if copies.is_sorted_by(|one, next| one.target < next.target) {
        return (copies, rows);
    }
    let mut seen: HashMap<Key, Key> = HashMap::with_capacity(copies.len());
    let mut first = |(copy, _): &(Copied, Record)| match seen.get(&copy.target) {
        Some(_) => false,
        None => seen.insert(copy.target.clone(), copy.key.clone()).is_none(),
    };
    let (kept, repeats): (Vec<_>, Vec<_>) = copies.into_iter().zip(rows).partition(&mut first);
    for (Copied { key, image, target, .. }, _) in repeats {
        let other = seen.get(&target).map(Key::to_string).unwrap_or_default();
        let text = format!("maps to the same target key as source record {other}");
        done.file(ambiguous(key, image, "match.ambiguous", &text));
    }
    kept.into_iter().unzip()
}
