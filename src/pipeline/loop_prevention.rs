//! `loop_prevention` (pure, with what it remembers): a record that goes back and forth between values is stopped. Echoes are no matter of
//! this: a change that both sides have already is never written.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::change::End;
use crate::config::LoopPrevention;
use crate::record::{Key, Record, encode_values};
use crate::value::Value;

/// At most so many records are remembered: under a load, most are written once and never again.
const RECORDS_KEPT: usize = 10_000;

/// Written values of one record that are remembered.
const VALUES_KEPT: usize = 256;

/// What was written to each record, lately. Forgotten with the process.
#[derive(Debug, Default)]
pub struct LoopWatch {
    hasher: RandomState,
    records: Mutex<HashMap<(End, Key), VecDeque<Written>>>,
    /// How many rows were overwritten that are not known.
    overwritten: AtomicU64,
}

/// A value of a field that was written; not the value itself.
#[derive(Debug, Clone, Copy)]
struct Written {
    at: i64,
    field: u64,
    value: u64,
}

impl LoopWatch {
    /// Remembers what was written to a record of `end`.
    pub fn wrote(&self, settings: &LoopPrevention, of: (End, &Key), fields: &Record, now: i64) {
        let digest = |(name, value): (&_, &Value)| {
            let value = self.hasher.hash_one(encode_values(&[Some(value.clone())]));
            Written { at: now, field: self.hasher.hash_one(name), value }
        };
        self.remember(settings, of, fields.iter().map(digest), now);
    }

    /// Remembers that a record of `end`, which was something else before, was made this whole row: writing the same row again is a return,
    /// too.
    pub fn overwrote(&self, settings: &LoopPrevention, of: (End, &Key), row: &Record, now: i64) {
        let value = self.hasher.hash_one(encode_values(row.values()));
        // What was there before is not known, and is like nothing else.
        let before = self.overwritten.fetch_add(1, Ordering::Relaxed);
        self.remember(settings, of, [before, value].map(|value| Written { at: now, field: 0, value }).into_iter(), now);
    }

    fn remember(
        &self,
        settings: &LoopPrevention,
        (end, key): (End, &Key),
        fields: impl Iterator<Item = Written>,
        now: i64,
    ) {
        let mut records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        let since = since(settings, now);
        if records.len() >= RECORDS_KEPT {
            make_room(&mut records, since);
        }
        let written = records.entry((end, key.clone())).or_default();
        written.extend(fields);
        while written.len() > VALUES_KEPT || written.front().is_some_and(|first| first.at <= since) {
            written.pop_front();
        }
    }

    /// Whether nothing was written lately that could come back.
    pub fn is_empty(&self) -> bool {
        self.records.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// How often, within the window, a field of this record was set back to a value that had been written before; the most of any field.
    pub fn returns(&self, settings: &LoopPrevention, (end, key): (End, &Key), now: i64) -> u32 {
        let records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
        // Only what was written often enough can have come back too often.
        let Some(written) = records.get(&(end, key.clone())) else { return 0 };
        let since = since(settings, now);
        let mut fields: HashMap<u64, (Vec<u64>, u32)> = HashMap::new();
        for one in written.iter().filter(|one| one.at > since) {
            let (values, returns) = fields.entry(one.field).or_default();
            if values.last() != Some(&one.value) {
                *returns += u32::from(values.contains(&one.value));
                values.push(one.value);
            }
        }
        fields.into_values().map(|(_, returns)| returns).max().unwrap_or_default()
    }

    /// A person has looked at this record: it begins anew.
    pub fn forget(&self, end: End, key: &Key) {
        self.records.lock().unwrap_or_else(PoisonError::into_inner).remove(&(end, key.clone()));
    }
}

/// Keeps the records that were written more than once lately: only they can be going back and forth. Half of the room is free afterwards, so
/// that a write costs the same however many records there are.
fn make_room(records: &mut HashMap<(End, Key), VecDeque<Written>>, since: i64) {
    records.retain(|_, written| match (written.front(), written.back()) {
        (Some(first), Some(last)) => last.at > since && first.at != last.at,
        _ => false,
    });
    if records.len() > RECORDS_KEPT / 2 {
        records.clear();
    }
}

fn since(settings: &LoopPrevention, now: i64) -> i64 {
    now.saturating_sub(i64::try_from(settings.window.as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const SETTINGS: LoopPrevention = LoopPrevention { window: Duration::from_secs(1), max_update_count: 2 };

    fn returns(values: &[&str], step: i64) -> u32 {
        let watch = LoopWatch::default();
        let key = Key(vec![Value::Int(1)]);
        let mut now = 0;
        for value in values {
            let fields = Record::of([("a", Value::Text((*value).to_owned())), ("at", Value::Int(now))]);
            watch.wrote(&SETTINGS, (End::Target, &key), &fields, now);
            now += step;
        }
        assert_eq!(watch.returns(&SETTINGS, (End::Source, &key), now), 0, "the other side has its own");
        watch.returns(&SETTINGS, (End::Target, &key), now)
    }

    #[test]
    fn only_returns_to_an_earlier_value_count() {
        assert_eq!(returns(&["a", "b", "c", "d", "e"], 1), 0);
        assert_eq!(returns(&["a", "a", "a"], 1), 0);
        assert_eq!(returns(&["a", "b", "a"], 1), 1);
        assert_eq!(returns(&["a", "b", "a", "b", "a"], 1), 3);
    }

    #[test]
    fn a_row_that_is_copied_again_over_something_else_returns() {
        let (watch, key) = (LoopWatch::default(), Key(vec![Value::Int(1)]));
        let returns = |values: [i64; 4]| {
            for value in values {
                watch.overwrote(&SETTINGS, (End::Target, &key), &Record::of([("a", Value::Int(value))]), 5);
            }
            watch.returns(&SETTINGS, (End::Target, &key), 5)
        };
        assert_eq!(returns([1, 2, 3, 4]), 0);
        assert_eq!(returns([5, 5, 5, 5]), 3);
    }

    #[test]
    fn what_lies_outside_the_window_is_forgotten() {
        assert_eq!(returns(&["a", "b", "a", "b", "a"], 400_000), 0);
    }

    #[test]
    fn under_a_load_what_comes_back_is_remembered_and_the_rest_makes_room() {
        let watch = LoopWatch::default();
        let write = |id: usize, value: i64, now: i64| {
            let key = Key(vec![Value::Int(i64::try_from(id).unwrap())]);
            watch.wrote(&SETTINGS, (End::Target, &key), &Record::of([("a", Value::Int(value))]), now);
            watch.returns(&SETTINGS, (End::Target, &key), now)
        };
        for (now, value) in [(0, 1), (1, 2), (2, 1)] {
            write(0, value, now);
        }
        for id in 1..=3 * RECORDS_KEPT {
            assert_eq!(write(id, 1, 3), 0);
            assert!(watch.records.lock().unwrap().len() <= RECORDS_KEPT);
        }
        assert_eq!(write(0, 2, 4), 2, "it was written more than once");
    }

    #[test]
    fn a_person_begins_anew() {
        let (watch, key) = (LoopWatch::default(), Key(vec![Value::Int(1)]));
        for value in [1, 2, 1, 2] {
            watch.wrote(&SETTINGS, (End::Source, &key), &Record::of([("a", Value::Int(value))]), 5);
        }
        assert_eq!(watch.returns(&SETTINGS, (End::Source, &key), 5), 2);
        watch.forget(End::Source, &key);
        assert_eq!(watch.returns(&SETTINGS, (End::Source, &key), 5), 0);
    }
}
