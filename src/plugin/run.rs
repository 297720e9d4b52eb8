//! Runs a function of any role over its inputs: cut into calls, and bisected where a call fails, so that only the guilty rows
//! fail (I10).

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::bindings::CallError;
use super::burnt::Burnt;
use super::instance::{CallFailure, Entry, Instance};
use super::limits::{CALL_BYTES_MAX, Fault, alone_deadline, call_deadline, guest_error, printable, split_deadline};
use super::target::Target;
use super::{CallContext, PluginError, ValueError};

/// Results in the order of the input.
pub(super) type Rows<T> = Vec<Result<T, ValueError>>;

/// The inputs of one function, and how a range of them is one call.
pub(super) trait Work: Send + Sync + 'static {
    /// What becomes of one row.
    type Output: Send + 'static;

    /// How many rows there are.
    fn rows(&self) -> usize;

    /// Bytes of a row, about.
    fn row_bytes(&self, row: usize) -> usize;

    /// Calls the guest with a range of the rows; as many results, in their order.
    fn call(
        &self,
        instance: &mut Instance,
        entry: &Entry<'_>,
        range: Range<usize>,
    ) -> Result<Rows<Self::Output>, CallFailure>;

    /// Bytes of a range.
    fn bytes(&self, range: Range<usize>) -> usize {
        range.map(|row| self.row_bytes(row)).sum()
    }
}

/// Work for one function, shared by all runs over it.
struct Job<W> {
    target: Target,
    context: CallContext,
    work: W,
}

/// What is not known yet of each row.
type Done<T> = Vec<Option<Result<T, ValueError>>>;

/// How a range is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attempt {
    /// For the first time.
    First,
    /// As a part of a range that failed: to find the guilty rows, so within a shorter time.
    Part,
    /// One row, in an instance that nothing else has touched: if this fails, the row is guilty.
    Alone,
}

/// Why a run gave no rows.
enum RunError {
    Fault { fault: Fault, reused: bool, burnt: Duration },
    Refused(CallError),
    Unusable { error: PluginError, burnt: Duration },
}

/// Runs the function over all rows.
///
/// # Errors
/// As [`super::Plugins::transform`].
pub(super) async fn run<W: Work>(
    target: &Target,
    context: &CallContext,
    work: W,
) -> Result<Rows<W::Output>, PluginError> {
    let job = Arc::new(Job { target: target.clone(), context: context.clone(), work });
    let mut done = Vec::new();
    let mut todo: Vec<(Range<usize>, Attempt)> =
        calls(&job.work, job.target.host.limits.call_rows).into_iter().map(|range| (range, Attempt::First)).collect();
    todo.reverse();
    while let Some((range, attempt)) = todo.pop() {
        let host = Arc::clone(&job.target.host);
        let (run, span) = (Arc::clone(&job), range.clone());
        let work = move || run.run(span, attempt);
        // What has failed before must not take the processor from other pairs.
        let breaker = &job.target.function()?.breaker;
        let aside = attempt != Attempt::First || breaker.is_costly(Instant::now());
        if aside {
            tokio::time::sleep(breaker.rest_for(Instant::now())).await;
        }
        let outcome = if aside { host.run_aside(work).await? } else { host.run(work).await? };
        // The usual case: one call took every row, and nothing needs to be put together.
        let outcome = match outcome {
            Ok(rows) if range.len() == job.work.rows() => {
                job.target.function()?.breaker.good(Instant::now(), rows.len());
                return Ok(rows);
            }
            outcome => outcome,
        };
        if done.is_empty() {
            done = unknown(job.work.rows());
        }
        settle(&job.target, (range, attempt), outcome, &mut done, &mut todo)?;
    }
    Ok(complete(done))
}

/// Bounds the messages of rows that failed. The others are not touched: most rows are sound.
fn cut_messages<T>(rows: &mut Rows<T>, chars_max: usize) {
    for error in rows.iter_mut().filter_map(|row| row.as_mut().err()) {
        error.message = printable(&error.message, chars_max);
    }
}

/// Nothing is known of any row.
pub(super) fn unknown<T>(rows: usize) -> Done<T> {
    let mut done = Vec::new();
    done.resize_with(rows, || None);
    done
}

/// Every row has a result by now; were one missing, it would be an error and not a value.
pub(super) fn complete<T>(done: Done<T>) -> Rows<T> {
    let missing = || Err(guest_error("bad-output", "no result"));
    done.into_iter().map(|result| result.unwrap_or_else(missing)).collect()
}

/// Ranges that are each one call: bounded rows and bytes.
fn calls(work: &impl Work, rows_max: usize) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let (mut start, mut bytes) = (0, 0_usize);
    for row in 0..work.rows() {
        let size = work.row_bytes(row);
        if row > start && (row - start >= rows_max || bytes.saturating_add(size) > CALL_BYTES_MAX) {
            ranges.push(start..row);
            (start, bytes) = (row, 0);
        }
        bytes = bytes.saturating_add(size);
    }
    if start < work.rows() {
        ranges.push(start..work.rows());
    }
    ranges
}

/// Takes the outcome of one run: results into `done`, what has to be run again into `todo`.
fn settle<T>(
    target: &Target,
    (range, attempt): (Range<usize>, Attempt),
    outcome: Result<Rows<T>, RunError>,
    done: &mut Done<T>,
    todo: &mut Vec<(Range<usize>, Attempt)>,
) -> Result<(), PluginError> {
    let breaker = &target.function()?.breaker;
    let now = Instant::now();
    let mut fill = |rows: Rows<T>| {
        for (row, result) in range.clone().zip(rows) {
            if let Some(slot) = done.get_mut(row) {
                *slot = Some(result);
            }
        }
    };
    let opened = match outcome {
        Ok(rows) => {
            breaker.good(now, rows.len());
            fill(rows);
            false
        }
        Err(RunError::Refused(error)) if error.retryable => {
            let safe = guest_error(&error.code, &error.message);
            let message =
                format!("`{}` asks to be tried later: {} ({})", target.function()?.name, safe.message, safe.code);
            return Err(PluginError::new("plugin.retryable", message));
        }
        Err(RunError::Refused(error)) => {
            let failure = guest_error(&error.code, &error.message);
            fill(range.clone().map(|_| Err(failure.clone())).collect());
            false
        }
        Err(RunError::Unusable { error, burnt }) => {
            breaker.failed(now, burnt, true);
            return Err(error);
        }
        Err(RunError::Fault { fault, reused, burnt }) => {
            let proven = range.len() == 1 && !reused;
            let opened = breaker.failed(now, burnt, proven);
            if proven {
                tracing::debug!(plugin = &*target.plugin.stem, code = ?fault.kind, "a plugin failed on one value");
                fill(vec![Err(fault.into_value_error())]);
            } else if range.len() == 1 {
                todo.push((range, Attempt::Alone));
            } else {
                let middle = range.start + range.len() / 2;
                for part in [middle..range.end, range.start..middle] {
                    let attempt = if part.len() == 1 { Attempt::Alone } else { Attempt::Part };
                    todo.push((part, attempt));
                }
            }
            opened
        }
    };
    if opened {
        let left = breaker.open_for(now).unwrap_or_default();
        tracing::warn!(
            plugin = &*target.plugin.stem,
            ?attempt,
            "a plugin function fails too often: its breaker is open"
        );
        return Err(target.breaker_open(left));
    }
    Ok(())
}

impl<W: Work> Job<W> {
    /// One call, on a thread that may block.
    fn run(&self, range: Range<usize>, attempt: Attempt) -> Result<Rows<W::Output>, RunError> {
        let Target { host, plugin, params, .. } = &self.target;
        let started = Burnt::start();
        let unusable = |error| RunError::Unusable { error, burnt: started.so_far() };
        let function = self.target.function().map_err(unusable)?;
        let waiting = if attempt == Attempt::Alone { None } else { host.pool.take(&plugin.digest, &self.context.pair) };
        let reused = waiting.is_some();
        let mut instance = match waiting {
            Some(instance) => instance,
            None => host.instantiate(&plugin.image).map_err(|failure| unusable(self.target.unusable(failure)))?,
        };
        let deadline = match attempt {
            Attempt::First => call_deadline(&host.limits, range.len()),
            Attempt::Alone => alone_deadline(&host.limits),
            Attempt::Part => split_deadline(&host.limits, range.len()),
        };
        let entry = Entry { function: &function.name, params, context: &self.context, deadline };
        let mut result = self.work.call(&mut instance, &entry, range);
        let sound = matches!(result, Ok(_) | Err(CallFailure::Refused(_)));
        if sound && instance.is_reusable() && !plugin.is_retired() {
            host.pool.put(&plugin.digest, &self.context.pair, instance);
        } else {
            // Giving its memory back is part of what it burns.
            drop(instance);
        }
        if let Ok(rows) = &mut result {
            cut_messages(rows, host.limits.message_chars);
        }
        result.map_err(|failure| match failure {
            CallFailure::Fault(fault) => RunError::Fault { fault, reused, burnt: started.so_far() },
            CallFailure::Refused(error) => RunError::Refused(error),
            failure @ (CallFailure::Unusable(_) | CallFailure::NotOpened(_) | CallFailure::NoRoom) => {
                unusable(self.target.unusable(failure))
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rows of these sizes.
    struct Sizes(Vec<usize>);

    impl Work for Sizes {
        type Output = ();

        fn rows(&self) -> usize {
            self.0.len()
        }

        fn row_bytes(&self, row: usize) -> usize {
            self.0[row]
        }

        fn call(&self, _: &mut Instance, _: &Entry<'_>, _: Range<usize>) -> Result<Rows<()>, CallFailure> {
            Err(CallFailure::NoRoom)
        }
    }

    #[test]
    fn calls_are_bounded_by_rows_and_bytes() {
        assert!(calls(&Sizes(Vec::new()), 10).is_empty());
        assert_eq!(calls(&Sizes(vec![1; 11]), 10), [0..10, 10..11]);
        assert_eq!(calls(&Sizes(vec![CALL_BYTES_MAX, 1, CALL_BYTES_MAX]), 10), [0..1, 1..2, 2..3]);
    }
}
