//! Stops calling a function that keeps failing, so that it does not cost forever.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::limits::{BREAKER_COOL_DOWN, BREAKER_ROWS, BREAKER_WINDOW, BURNT_FREE, REST_PER_BURNT};

/// Counts of one function within the window.
#[derive(Debug, Default)]
struct Counts {
    since: Option<Instant>,
    guilty: u64,
    good: u64,
    burnt: Duration,
    rest_until: Option<Instant>,
    open_until: Option<Instant>,
}

/// One function's breaker. It opens where a function fails on [`BREAKER_ROWS`] rows and on more than it succeeds on; a few poison
/// records in a sound stream never open it. What failed runs burn is bounded apart from that: a function that burnt more than
/// [`BURNT_FREE`] rests after each of them.
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

    /// Whether its failed runs have burnt so much that it may only run aside of the others.
    pub(super) fn is_costly(&self, now: Instant) -> bool {
        self.counts(now).burnt >= BURNT_FREE
    }

    /// How long the function has to rest before it runs again.
    pub(super) fn rest_for(&self, now: Instant) -> Duration {
        let until = self.counts(now).rest_until;
        until.map(|until| until.saturating_duration_since(now)).unwrap_or_default()
    }

    /// Rows that the function handled.
    pub(super) fn good(&self, now: Instant, rows: usize) {
        self.counts(now).good += u64::try_from(rows).unwrap_or(u64::MAX);
    }

    /// A failed run and the processor time that it burnt; `guilty` where it was narrowed down to one row. Whether the breaker is
    /// open now.
    pub(super) fn failed(&self, now: Instant, burnt: Duration, guilty: bool) -> bool {
        let mut counts = self.counts(now);
        counts.burnt += burnt;
        counts.guilty += u64::from(guilty);
        if counts.burnt >= BURNT_FREE {
            let from = counts.rest_until.map_or(now, |until| until.max(now));
            counts.rest_until = Some(from + REST_PER_BURNT * burnt);
        }
        let mostly_fails = counts.guilty >= BREAKER_ROWS && counts.guilty > counts.good;
        if counts.open_until.is_none() && mostly_fails {
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
    fn a_function_that_burns_time_is_costly_and_rests_until_the_window_has_passed() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        breaker.failed(now, BURNT_FREE / 2, true);
        assert!(!breaker.is_costly(now) && breaker.rest_for(now).is_zero());
        breaker.failed(now, BURNT_FREE / 2, true);
        assert!(breaker.is_costly(now));
        let rest = REST_PER_BURNT * (BURNT_FREE / 2);
        assert_eq!(breaker.rest_for(now), rest);
        // Two pairs at a time do not rest at a time.
        breaker.failed(now + MS, MS, true);
        assert_eq!(breaker.rest_for(now), rest + REST_PER_BURNT * MS);
        assert!(breaker.rest_for(now + 2 * rest).is_zero());
        let later = now + BREAKER_WINDOW + MS;
        assert!(!breaker.is_costly(later) && breaker.rest_for(later).is_zero());
    }

    #[test]
    fn sound_runs_never_rest() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        breaker.failed(now, BURNT_FREE, true);
        let rest = breaker.rest_for(now);
        breaker.good(now, 1_000);
        assert_eq!(breaker.rest_for(now), rest);
        assert!(breaker.rest_for(now + rest).is_zero());
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
    fn the_window_forgets() {
        let (breaker, now) = (Breaker::default(), Instant::now());
        for second in 0..100 {
            assert!(!breaker.failed(now + Duration::from_secs(10 * second), MS, true));
        }
        assert_eq!(breaker.open_for(now + Duration::from_secs(1_000)), None);
    }
}
