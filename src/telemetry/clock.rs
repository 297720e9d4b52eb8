//! The only reader of the wall clock. Our own clock never decides a conflict; it dates logs, calls and audit rows.

use std::time::{SystemTime, UNIX_EPOCH};

#[cfg(test)]
thread_local! {
    /// Stands in for the wall clock on this thread, where a test sets it.
    pub(crate) static TEST_MICROS: std::cell::Cell<Option<i64>> = const { std::cell::Cell::new(None) };
}

/// Microseconds since 1970-01-01 UTC.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub fn now_micros() -> i64 {
    #[cfg(test)]
    if let Some(micros) = TEST_MICROS.get() {
        return micros;
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}
