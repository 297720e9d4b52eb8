//! What a function of a loaded version has done so far: for people, and for judging a version that took another one's place.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;

/// Counts only ever grow; they are read one by one, so together they are right to within the calls that run meanwhile.
#[derive(Debug, Default)]
pub(super) struct Counts {
    calls: AtomicU64,
    values: AtomicU64,
    errors: AtomicU64,
    nanos: AtomicU64,
}

/// What a function did since its version was loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct FunctionCounts {
    /// Batches that it was called for.
    pub calls: u64,
    /// Values or records in them.
    pub values: u64,
    /// How many of them failed.
    pub errors: u64,
    /// Wall-clock time per value, waiting for a free worker included; `None` before the first value.
    pub ns_per_value: Option<u64>,
}

impl Counts {
    /// A call for so many values, so many of which failed.
    pub(super) fn add(&self, values: usize, errors: usize, took: Duration) {
        let add = |counter: &AtomicU64, more: u64| {
            counter.fetch_add(more, Ordering::Relaxed);
        };
        add(&self.calls, 1);
        add(&self.values, u64::try_from(values).unwrap_or(u64::MAX));
        add(&self.errors, u64::try_from(errors).unwrap_or(u64::MAX));
        add(&self.nanos, u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(super) fn values(&self) -> u64 {
        self.values.load(Ordering::Relaxed)
    }

    /// The share of values that failed; `None` before so many.
    pub(super) fn error_rate(&self, values_min: u64) -> Option<f64> {
        let values = self.values();
        (values > 0 && values >= values_min).then(|| as_f64(self.errors.load(Ordering::Relaxed)) / as_f64(values))
    }

    pub(super) fn read(&self) -> FunctionCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let values = read(&self.values);
        FunctionCounts {
            calls: read(&self.calls),
            values,
            errors: read(&self.errors),
            ns_per_value: read(&self.nanos).checked_div(values),
        }
    }
}

/// Exact up to 2^32, more than any window holds.
fn as_f64(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_known_once_there_are_enough_values() {
        let counts = Counts::default();
        assert_eq!((counts.error_rate(0), counts.read().ns_per_value), (None, None));
        counts.add(40, 10, Duration::from_nanos(400));
        assert_eq!((counts.error_rate(50), counts.error_rate(40)), (None, Some(0.25)));
        counts.add(10, 0, Duration::from_nanos(600));
        let read = FunctionCounts { calls: 2, values: 50, errors: 10, ns_per_value: Some(20) };
        assert_eq!((counts.error_rate(50), counts.read()), (Some(0.2), read));
    }
}
