//! `delete_guard` (pure, with what it remembers): more deletes than usual within a window wait for a person.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use crate::change::{End, Ends};
use crate::config::DeleteGuard;

/// The deletes of each side, lately. Forgotten with the process.
#[derive(Debug, Default)]
pub struct DeleteWatch(Mutex<Ends<Window>>);

#[derive(Debug, Default)]
struct Window {
    /// When, and how many.
    deletes: VecDeque<(i64, u64)>,
    /// Records of the side before these deletes.
    records: Option<u64>,
    /// Deletes are stopped until then.
    stopped_until: Option<i64>,
}

impl Window {
    /// Forgets what lies outside; returns how many deletes are left.
    fn recent(&mut self, guard: &DeleteGuard, now: i64) -> u64 {
        let since = now.saturating_sub(micros(guard));
        while self.deletes.front().is_some_and(|(at, _)| *at <= since) {
            self.deletes.pop_front();
        }
        if self.stopped_until.is_some_and(|until| until <= now) {
            *self = Self::default();
        } else if self.deletes.is_empty() {
            self.records = None;
        }
        self.deletes.iter().map(|(_, count)| count).sum()
    }
}

fn micros(guard: &DeleteGuard) -> i64 {
    i64::try_from(guard.window.as_micros()).unwrap_or(i64::MAX)
}

impl DeleteWatch {
    /// Whether it takes the number of records to say if `count` more deletes of `end` are let through.
    pub fn asks_for_records(&self, guard: &DeleteGuard, end: End, count: u64, now: i64) -> bool {
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let window = windows.get_mut(end);
        let recent = window.recent(guard, now);
        window.records.is_none() && window.stopped_until.is_none() && recent.saturating_add(count) > guard.min_count
    }

    /// Whether `count` more deletes of `end` are let through; if so they are `carried` out and count from now on, else all deletes of the
    /// window are stopped. `records` is how many there are now, where that was asked for.
    pub fn admits(&self, guard: &DeleteGuard, end: End, count: u64, (records, now): (Option<u64>, i64)) -> bool {
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let window = windows.get_mut(end);
        let recent = window.recent(guard, now);
        if window.stopped_until.is_some() {
            return false;
        }
        if let Some(records) = records {
            window.records = Some(records.saturating_add(recent));
        }
        let most =
            window.records.map_or(guard.min_count, |records| share(records, guard.max_fraction)).max(guard.min_count);
        if recent.saturating_add(count) > most {
            window.stopped_until = Some(now.saturating_add(micros(guard)));
            return false;
        }
        window.deletes.push_back((now, count));
        true
    }

    /// Stops all deletes of `end` if so many more would be too many; counts nothing.
    pub fn announce(&self, guard: &DeleteGuard, end: End, count: u64, (records, now): (u64, i64)) {
        let mut windows = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let window = windows.get_mut(end);
        let recent = window.recent(guard, now);
        let most = share(records.saturating_add(recent), guard.max_fraction).max(guard.min_count);
        if recent.saturating_add(count) > most {
            window.stopped_until.get_or_insert(now.saturating_add(micros(guard)));
        }
    }
}

/// A fraction of a number, rounded down.
#[expect(
    clippy::cast_precision_loss,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a limit need not be exact; `as` saturates"
)]
fn share(records: u64, fraction: f64) -> u64 {
    (records as f64 * fraction) as u64
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn guard() -> DeleteGuard {
        DeleteGuard { max_fraction: 0.2, min_count: 10, window: Duration::from_secs(1) }
    }

    fn ask(watch: &DeleteWatch, count: u64, records: u64, now: i64) -> bool {
        let records = watch.asks_for_records(&guard(), End::Target, count, now).then_some(records);
        watch.admits(&guard(), End::Target, count, (records, now))
    }

    #[test]
    fn few_deletes_pass_and_nothing_is_counted_for_them() {
        let watch = DeleteWatch::default();
        assert!(!watch.asks_for_records(&guard(), End::Target, 10, 0));
        assert!(ask(&watch, 10, 10, 0));
        assert!(ask(&DeleteWatch::default(), 10, 0, 0), "however small the collection is");
    }

    #[test]
    fn the_share_is_of_what_there_was_before() {
        let watch = DeleteWatch::default();
        assert!(ask(&watch, 100, 1_000, 0));
        assert!(ask(&watch, 100, 900, 1));
        assert!(!ask(&watch, 1, 800, 2));
        assert!(!ask(&watch, 1, 800, 3), "once stopped, the rest of the window is stopped too");
        assert!(watch.admits(&guard(), End::Source, 1, (None, 3)), "the other side is not");
        assert!(ask(&watch, 1, 800, 1_000_003), "the window has passed");
    }

    #[test]
    fn deletes_are_forgotten_as_the_window_moves() {
        let watch = DeleteWatch::default();
        assert!(ask(&watch, 150, 1_000, 0));
        assert!(ask(&watch, 150, 850, 1_000_001));
        assert!(!ask(&watch, 50, 700, 1_000_002));
    }
}
