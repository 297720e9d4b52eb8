//! What stands between a decision and its write: the delete guard, the loop breaker, and filters that a record has left (row 6).

use std::collections::HashMap;

use super::delete_guard::DeleteWatch;
use super::item::{Item, Step};
use super::keyed::Copied;
use super::loop_prevention::LoopWatch;
use super::ruling::SetValue;
use super::{Done, Pipeline};
use crate::change::End;
use crate::config::LoopPrevention;
use crate::error::Result;
use crate::record::{Key, Record};
use crate::state::{Finding, ReviewKind};
use crate::telemetry::clock;

/// What was done lately, to be held against what is to be done.
#[derive(Debug, Default)]
pub struct Watch {
    deletes: DeleteWatch,
    pub(super) loops: LoopWatch,
}

/// The code of a record that goes back and forth.
const LOOP: &str = "record.loop";
/// The code of a delete that waits.
pub(super) const GUARDED: &str = "record.guarded";

impl Pipeline {
    /// Whether `count` more deletes of `end` may be carried out.
    pub(super) async fn admits(&self, end: End, count: u64) -> Result<bool> {
        let Some(guard) = &self.binding.delete_guard else { return Ok(true) };
        let now = clock::now_micros();
        let deletes = &self.watch.deletes;
        let asked = deletes.asks_for_records(guard, end, count, now);
        let records = if asked { Some(self.targets.get(end).count().await?) } else { None };
        let admitted = deletes.admits(guard, end, count, (records, now));
        if !admitted {
            let (pair, system) = (&self.binding.pair, self.binding.systems.get(end));
            tracing::error!(%pair, %system, count, code = GUARDED, "more deletes than the delete guard lets through: they wait in review");
        }
        Ok(admitted)
    }

    /// Says that `count` deletes of `end` are to come in several batches: all of them wait if they are too many.
    ///
    /// # Errors
    /// Where the records cannot be counted.
    pub async fn announce_deletes(&self, end: End, count: u64) -> Result<()> {
        let Some(guard) = &self.binding.delete_guard else { return Ok(()) };
        let records = self.targets.get(end).count().await?;
        self.watch.deletes.announce(guard, end, count, (records, clock::now_micros()));
        Ok(())
    }

    /// Why a delete waits.
    pub(super) fn guarded(&self, end: End) -> String {
        format!("its record in {} is not deleted: too many are, see \"delete_guard\"", self.binding.systems.get(end))
    }

    /// Puts deletes aside that are too many.
    pub(super) async fn guard_deletes(&self, items: &mut [Item], done: &mut Done) -> Result<()> {
        for end in [End::Target, End::Source] {
            let doomed = |item: &Item| item.step == Step::Open && item.deletes(end) && !item.is_ruled();
            let count = items.iter().filter(|item| doomed(item)).count() as u64;
            if count == 0 || self.admits(end, count).await? {
                continue;
            }
            for item in items.iter_mut().filter(|item| doomed(item)) {
                item.hold(end.other(), ReviewKind::DeleteGuard, (GUARDED, self.guarded(end)), done);
            }
        }
        Ok(())
    }

    /// Puts records aside that go back and forth.
    pub(super) fn stop_loops(&self, items: &mut [Item], done: &mut Done) {
        let Some(settings) = &self.binding.loop_prevention else { return };
        let now = clock::now_micros();
        for item in items.iter_mut().filter(|item| item.step == Step::Open) {
            for end in [End::Target, End::Source] {
                let Some(key) = item.keys.get(end).clone().filter(|_| item.updates(end)) else { continue };
                if item.is_decided() {
                    self.watch.loops.forget(end, &key);
                    continue;
                }
                if let Some(text) = self.loops(settings, (end, &key), now) {
                    item.hold(end.other(), ReviewKind::Loop, (LOOP, text), done);
                    break;
                }
            }
        }
    }

    /// Puts records aside whose copies go back and forth, because another sync or a trigger undoes them. What a person has decided
    /// begins anew.
    pub(super) fn stop_copied_loops(
        &self,
        (copies, rows): (&mut Vec<Copied>, &mut Vec<Record>),
        set: &HashMap<Key, Vec<SetValue>>,
        done: &mut Done,
    ) {
        let Some(settings) = &self.binding.loop_prevention else { return };
        if self.watch.loops.is_empty() {
            return;
        }
        let now = clock::now_micros();
        for key in set.keys() {
            self.watch.loops.forget(End::Target, key);
        }
        let stopped: Vec<Option<String>> =
            copies.iter().map(|copied| self.loops(settings, (End::Target, &copied.key), now)).collect();
        if stopped.iter().all(Option::is_none) {
            return;
        }
        let all = std::mem::take(copies).into_iter().zip(std::mem::take(rows)).zip(stopped);
        for ((copied, row), stopped) in all {
            match stopped {
                Some(text) => {
                    let Copied { key, image, target, .. } = copied;
                    let finding = Finding::new(End::Source, key, ReviewKind::Loop, LOOP, text).with_image(image);
                    done.file(Finding { other: Some(target), ..finding });
                }
                None => {
                    copies.push(copied);
                    rows.push(row);
                }
            }
        }
    }

    /// Why a record of `end` must not be written again, where it has gone back and forth too often.
    fn loops(&self, settings: &LoopPrevention, (end, key): (End, &Key), now: i64) -> Option<String> {
        let returns = self.watch.loops.returns(settings, (end, key), now);
        (returns > settings.max_update_count).then(|| {
            format!(
                "goes back and forth: in {} s it was set back {returns} times to a value that it had in {} before",
                settings.window.as_secs(),
                self.binding.systems.get(end)
            )
        })
    }

    /// Remembers what was written.
    pub(super) fn note_write(&self, end: End, key: &Key, fields: &Record) {
        if let Some(settings) = &self.binding.loop_prevention {
            self.watch.loops.wrote(settings, (end, key), fields, clock::now_micros());
        }
    }

    /// Remembers what was copied over something else, by the source's key.
    pub(super) fn note_copy(&self, key: &Key, row: &Record) {
        if let Some(settings) = &self.binding.loop_prevention {
            self.watch.loops.overwrote(settings, (End::Target, key), row, clock::now_micros());
        }
    }

    /// Which of these records of `end`, that were not found, are there all the same, only left out by the filter: they stay as they are.
    ///
    /// # Errors
    /// Where the side cannot be read.
    pub async fn outside(&self, end: End, keys: &[Key]) -> Result<Vec<bool>> {
        if keys.is_empty() || !self.binding.filtered.get(end) {
            return Ok(vec![false; keys.len()]);
        }
        self.targets.get(end).exists(keys).await
    }
}
