//! How long to wait before the next try: exponential, with jitter so that pairs that failed together do not return together.

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

    /// Counts a failure: how long to wait, or `None` where the tries are used up.
    pub fn failed(&mut self) -> Option<Duration> {
        self.failures += 1;
        if self.settings.max_attempts > 0 && self.failures >= self.settings.max_attempts {
            return None;
        }
        let exponent = i32::try_from(self.failures - 1).unwrap_or(i32::MAX);
        let seconds = self.settings.initial_delay.as_secs_f64() * self.settings.backoff_factor.powi(exponent);
        let ceiling = self.settings.max_delay.as_secs_f64();
        let delay = if seconds.is_finite() { seconds.min(ceiling) } else { ceiling };
        // Between half and all of it.
        let jitter = f64::from(u32::try_from(RandomState::new().hash_one(self.failures) >> 32).unwrap_or(0))
            / f64::from(u32::MAX);
        Some(Duration::from_secs_f64(delay * (0.5 + jitter / 2.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_up_to_the_ceiling_and_end() {
        let settings = Retry {
            max_attempts: 40,
            backoff_factor: 2.0,
            initial_delay: Duration::from_secs(1),
            max_delay: Duration::from_secs(60),
        };
        let mut backoff = Backoff::new(settings);
        let delays: Vec<Duration> = std::iter::from_fn(|| backoff.failed()).collect();
        assert_eq!(delays.len(), 39);
        assert!(delays[0] <= Duration::from_secs(1) && delays[0] >= Duration::from_millis(500));
        assert!(delays.iter().all(|delay| *delay <= Duration::from_secs(60)));
        assert!(delays[38] >= Duration::from_secs(30));
    }
}
