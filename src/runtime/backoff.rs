//! How long to wait before the next try: exponential with full jitter (anything from nothing to the delay, all alike), so that pairs that
//! failed together do not return together.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

use crate::config::Retry;

/// Counts failures in a row.
#[derive(Debug)]
pub struct Backoff {
    settings: Retry,
    failures: u32,
}

impl Backoff {
    /// No failures yet.
    pub fn new(settings: Retry) -> Self {
        Self { settings, failures: 0 }
    }

    /// Things went well.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// Counts a failure: how long to wait, or `None` where the tries are used up. What the system itself asks for (`retry_after`) is the
    /// least.
    pub fn failed(&mut self, retry_after: Option<Duration>) -> Option<Duration> {
        self.failures = self.failures.saturating_add(1);
        if self.settings.max_attempts > 0 && self.failures >= self.settings.max_attempts {
            return None;
        }
        let exponent = i32::try_from(self.failures - 1).unwrap_or(i32::MAX);
        let seconds = self.settings.initial_delay.as_secs_f64() * self.settings.backoff_factor.powi(exponent);
        let ceiling = self.settings.max_delay.as_secs_f64();
        let delay = if seconds.is_finite() { seconds.min(ceiling) } else { ceiling };
        let jitter = f64::from(u32::try_from(RandomState::new().hash_one(self.failures) >> 32).unwrap_or(0))
            / f64::from(u32::MAX);
        Some(Duration::from_secs_f64(delay * jitter).max(retry_after.unwrap_or_default()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(max_attempts: u32) -> Retry {
        Retry {
            max_attempts,
            backoff_factor: 2.0,
            initial_delay: Duration::from_secs(1),
            max_delay: Duration::from_secs(60),
        }
    }

    #[test]
    fn delays_grow_up_to_the_ceiling_and_end() {
        let mut backoff = Backoff::new(settings(40));
        let delays: Vec<Duration> = std::iter::from_fn(|| backoff.failed(None)).collect();
        assert_eq!(delays.len(), 39);
        for (place, delay) in delays.iter().enumerate() {
            let ceiling = Duration::from_secs(1 << place.min(6)).min(Duration::from_secs(60));
            assert!(*delay <= ceiling, "{place}: {delay:?}");
        }
        backoff.reset();
        assert!(backoff.failed(None).unwrap() <= Duration::from_secs(1));
    }

    /// Full jitter: the first half and the last are as likely, and so are all tenths.
    #[test]
    fn delays_are_spread_over_all_of_the_range() {
        let mut tenths = [0_u32; 10];
        for _ in 0..2_000 {
            let delay = Backoff::new(settings(2)).failed(None).unwrap();
            tenths[usize::try_from(delay.as_millis() / 100).unwrap().min(9)] += 1;
        }
        assert!(tenths.iter().all(|count| (100..320).contains(count)), "{tenths:?}");
    }

    #[test]
    fn what_the_system_asks_for_is_the_least_and_costs_a_try() {
        let mut backoff = Backoff::new(settings(3));
        let asked = Duration::from_secs(90);
        assert_eq!(backoff.failed(Some(asked)), Some(asked));
        assert!(backoff.failed(Some(Duration::ZERO)).unwrap() <= Duration::from_secs(2));
        assert_eq!(backoff.failed(Some(asked)), None);
    }

    #[test]
    fn tries_without_end_never_end() {
        let mut backoff = Backoff::new(settings(0));
        assert!((0..1_000).all(|_| backoff.failed(None).is_some_and(|delay| delay <= Duration::from_secs(60))));
    }
}
