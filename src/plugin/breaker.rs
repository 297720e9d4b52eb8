//! Stops calling a function that keeps failing, so that it does not cost forever.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::limits::{BREAKER_COOL_DOWN, BREAKER_LOST, BREAKER_ROWS, BREAKER_WINDOW, COSTLY_LOST};

/// Counts of one function within the window.
#[derive(Debug, Default)]
struct Counts {
    since: Option<Instant>,
    guilty: u64,
    good: u64,
    lost: Duration,
    open_until: Option<Instant>,
}

/// One function's breaker. It opens where a function fails on [`BREAKER_ROWS`] rows and on more than it succeeds on, or where its
/// failed runs cost [`BREAKER_LOST`]; a few poison records in a sound stream never open it.
#[derive(Debug, Default)]
pub(super) struct Breaker(Mutex<Counts>);

impl Breaker {
    /// How long the function must not be called, if so.
    pub(super) fn open_for(&self, now: Instant) -> Option<Duration> {
        let mut counts = self.counts(now);
        let left = counts.open_until?.checked_duration_since(now).filter(|left| !left.is_zero());
        if left.is_none() {
            *counts = Counts::default();
        }
        left
    }

    /// Whether its failed runs have cost so much that it may only run aside of the others.
    pub(super) fn is_costly(&self, now: Instant) -> bool {
        self.counts(now).lost >= COSTLY_LOST
    }

    /// Rows that the function handled.
    pub(super) fn good(&self, now: Instant, rows: usize) {
        self.counts(now).good += u64::try_from(rows).unwrap_or(u64::MAX);
    }

    /// A failed run; `guilty` where it was narrowed down to one row. Whether the breaker is open now.
    pub(super) fn failed(&self, now: Instant, lost: Duration, guilty: bool) -> bool {
        let mut counts = self.counts(now);
        counts.lost += lost;
        counts.guilty += u64::from(guilty);
        let mostly_fails = counts.guilty >= BREAKER_ROWS && counts.guilty > counts.good;
        if counts.open_until.is_none() && (mostly_fails || counts.lost >= BREAKER_LOST) {
            counts.open_until = Some(now + BREAKER_COOL_DOWN);
        }
        counts.open_until.is_some()
    }

    fn counts(&self, now: Instant) -> std::sync::MutexGuard<'_, Counts> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let since = *counts.since.get_or_insert(now);
        if counts.open_until.is_none() && now.saturating_duration_since(since) > BREAKER_WINDOW {
            *counts = Counts { since: Some(now), ..Counts::default() };
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_function_that_loses_time_is_costly_until_the_window_has_passed() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        assert!(!breaker.failed(now, COSTLY_LOST / 2, true) && !breaker.is_costly(now));
        assert!(!breaker.failed(now, COSTLY_LOST / 2, true) && breaker.is_costly(now));
        assert!(!breaker.is_costly(now + BREAKER_WINDOW + MS));
    }

    #[test]
    fn it_opens_after_so_many_rows_and_closes_after_the_cool_down() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        for _ in 1..BREAKER_ROWS {
            assert!(!breaker.failed(now, MS, true));
        }
        assert!(breaker.failed(now, MS, true));
        assert_eq!(breaker.open_for(now), Some(BREAKER_COOL_DOWN));
        assert_eq!(breaker.open_for(now + BREAKER_COOL_DOWN), None);
        assert!(!breaker.failed(now + BREAKER_COOL_DOWN, MS, true));
    }

    #[test]
    fn poison_records_in_a_sound_stream_do_not_open_it() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        breaker.good(now, 1_000);
        assert!((0..500).all(|_| !breaker.failed(now, MS, true)));
        assert_eq!(breaker.open_for(now), None);
    }

    #[test]
    fn the_window_forgets_and_lost_time_counts() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        for second in 0..100 {
            assert!(!breaker.failed(now + Duration::from_secs(10 * second), MS, true));
        }
        assert!(breaker.failed(now + Duration::from_secs(1_000), BREAKER_LOST, false));
    }
}
