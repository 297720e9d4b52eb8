//! One column through one function: grouped by kind, cut into calls, and bisected where a call fails, so that only the guilty rows
//! fail (I10).

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::bindings::{CallError, Role};
use super::column::{kind_name, value_size};
use super::host::{Host, LoadedFunction, LoadedPlugin};
use super::instance::{Call, CallFailure};
use super::limits::{CALL_BYTES_MAX, CALL_ROWS_MAX, Fault, call_deadline, guest_error, load_deadline, split_deadline};
use super::{CallContext, PluginError, ValueError};
use crate::value::{Kind, Value};

/// Results in the order of the input.
pub(super) type Rows = Vec<Result<Value, ValueError>>;

/// A function of a loaded plugin with its parameters.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) host: Arc<Host>,
    pub(super) plugin: Arc<LoadedPlugin>,
    /// Index into the plugin's functions.
    pub(super) function: usize,
    pub(super) params: Arc<str>,
}

/// The values of one kind, shared by all runs over them.
struct Job {
    target: Target,
    context: CallContext,
    kind: Kind,
    values: Vec<Value>,
}

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
    Fault { fault: Fault, reused: bool, lost: Duration },
    Refused(CallError),
    Unusable { error: PluginError, lost: Duration },
}

impl Target {
    pub(super) fn function(&self) -> Result<&LoadedFunction, PluginError> {
        let missing = || PluginError::new("plugin.unknown_function", "the plugin no longer has this function");
        self.plugin.functions.get(self.function).ok_or_else(missing)
    }

    /// # Errors
    /// Where the function is not a field transform.
    pub(super) fn check_role(&self) -> Result<(), PluginError> {
        let function = self.function()?;
        if function.function.role == Role::FieldTransform {
            return Ok(());
        }
        let message = format!("`{}` is a {}, not a field transform", function.name, function.function.role.name());
        Err(PluginError::new("plugin.wrong_role", message))
    }

    /// Opens the function in an instance that is thrown away.
    ///
    /// # Errors
    /// Where the guest refuses the parameters or fails on them.
    pub(super) async fn probe(self) -> Result<(), PluginError> {
        let host = Arc::clone(&self.host);
        host.run(move || self.open()).await?
    }

    fn open(&self) -> Result<(), PluginError> {
        let function = self.function()?;
        let mut instance = self.host.instantiate(&self.plugin.image).map_err(|failure| self.unusable(failure))?;
        let kind = function.function.kind_of_nulls();
        let call = Call {
            function: &function.name,
            params: &self.params,
            context: &CallContext::none(),
            kind,
            output: function.function.output.unwrap_or(kind),
            values: &[],
            deadline: load_deadline(&self.host.limits),
        };
        instance.open(&call).map_err(|failure| self.unusable(failure))
    }

    /// Why the function cannot be called, whatever the values. (A simple function refuses its parameters when it is called.)
    fn unusable(&self, failure: CallFailure) -> PluginError {
        let plugin = &self.plugin.stem;
        match failure {
            CallFailure::Unusable(error) => error,
            CallFailure::NoRoom => PluginError::new("plugin.busy", "every plugin instance is in use; try again later"),
            CallFailure::Fault(fault) => {
                let fault = fault.into_value_error();
                let message = format!("plugin `{plugin}` failed to start: {} [{}]", fault.message, fault.code);
                PluginError::new("plugin.start_failed", message)
            }
            CallFailure::Refused(error) | CallFailure::NotOpened(error) => {
                let function = self.function().map_or("", |function| &*function.name);
                super::instance::refused_params(function, &error)
            }
        }
    }

    fn breaker_open(&self, left: Duration) -> PluginError {
        let function = self.function().map_or("", |function| &*function.name);
        let message = format!(
            "`{}/{function}` failed too often and is not called for {} s; see the log for its errors",
            self.plugin.stem,
            left.as_secs() + 1
        );
        PluginError::new("plugin.breaker_open", message)
    }
}

/// Transforms a column.
///
/// # Errors
/// As [`super::Plugins::transform`].
pub(super) async fn transform(target: Target, context: &CallContext, input: Vec<Value>) -> Result<Rows, PluginError> {
    target.check_role()?;
    if let Some(left) = target.function()?.breaker.open_for(Instant::now()) {
        return Err(target.breaker_open(left));
    }
    let mut results: Vec<Option<Result<Value, ValueError>>> = Vec::new();
    results.resize_with(input.len(), || None);
    let mut groups = groups(target.function()?, input, &mut results);
    // The usual case, one kind with nulls beside it, needs no sorting back.
    if groups.first().is_some_and(|group| group.rows.len() == results.len())
        && let Some(group) = groups.pop()
    {
        return run_group(&target, context, group.kind, group.values).await;
    }
    for group in groups {
        let done = run_group(&target, context, group.kind, group.values).await?;
        for (row, result) in group.rows.into_iter().zip(done) {
            if let Some(slot) = results.get_mut(row) {
                *slot = Some(result);
            }
        }
    }
    Ok(complete(results))
}

/// Every row has a result by now; were one missing, it would be an error and not a value.
fn complete(results: Vec<Option<Result<Value, ValueError>>>) -> Rows {
    let missing = || Err(guest_error("bad-output", "no result"));
    results.into_iter().map(|result| result.unwrap_or_else(missing)).collect()
}

/// The values of one kind, and the rows they come from.
struct Group {
    kind: Kind,
    rows: Vec<usize>,
    values: Vec<Value>,
}

/// Sorts the values by kind, as the function accepts them; what it cannot take fails at once. Nulls go with the first group.
fn groups(
    function: &LoadedFunction,
    input: Vec<Value>,
    results: &mut [Option<Result<Value, ValueError>>],
) -> Vec<Group> {
    let function = &function.function;
    let first = input.iter().find_map(|value| function.accepted_kind(value.kind()).filter(|_| !value.is_null()));
    let mut groups: Vec<Group> = Vec::new();
    for (row, value) in input.into_iter().enumerate() {
        let given = value.kind();
        let kind = if value.is_null() {
            first.unwrap_or_else(|| function.kind_of_nulls())
        } else if let Some(kind) = function.accepted_kind(given) {
            kind
        } else {
            let message = format!("`{}` takes {}, not {}", function.info.name, function.accepted(), kind_name(given));
            if let Some(slot) = results.get_mut(row) {
                *slot = Some(Err(guest_error("wrong-kind", &message)));
            }
            continue;
        };
        let value = if kind == given { value } else { value.to_text().map_or(Value::Null, Value::Text) };
        match groups.iter_mut().find(|group| group.kind == kind) {
            Some(group) => {
                group.rows.push(row);
                group.values.push(value);
            }
            None => groups.push(Group { kind, rows: vec![row], values: vec![value] }),
        }
    }
    groups
}

async fn run_group(
    target: &Target,
    context: &CallContext,
    kind: Kind,
    values: Vec<Value>,
) -> Result<Rows, PluginError> {
    let job = Arc::new(Job { target: target.clone(), context: context.clone(), kind, values });
    let mut done: Vec<Option<Result<Value, ValueError>>> = Vec::new();
    done.resize_with(job.values.len(), || None);
    let mut todo: Vec<(Range<usize>, Attempt)> =
        calls(&job.values).into_iter().map(|range| (range, Attempt::First)).collect();
    todo.reverse();
    while let Some((range, attempt)) = todo.pop() {
        let host = Arc::clone(&job.target.host);
        let (run, span) = (Arc::clone(&job), range.clone());
        let outcome = host.run(move || run.run(span, attempt)).await?;
        settle(&job, (range, attempt), outcome, &mut done, &mut todo)?;
    }
    Ok(complete(done))
}

/// Ranges that are each one call: bounded rows and bytes.
fn calls(values: &[Value]) -> Vec<Range<usize>> {
    let mut ranges = Vec::new();
    let (mut start, mut bytes) = (0, 0_usize);
    for (row, value) in values.iter().enumerate() {
        let size = value_size(value);
        if row > start && (row - start >= CALL_ROWS_MAX || bytes.saturating_add(size) > CALL_BYTES_MAX) {
            ranges.push(start..row);
            (start, bytes) = (row, 0);
        }
        bytes = bytes.saturating_add(size);
    }
    if start < values.len() {
        ranges.push(start..values.len());
    }
    ranges
}

/// Takes the outcome of one run: results into `done`, what has to be run again into `todo`.
fn settle(
    job: &Job,
    (range, attempt): (Range<usize>, Attempt),
    outcome: Result<Rows, RunError>,
    done: &mut [Option<Result<Value, ValueError>>],
    todo: &mut Vec<(Range<usize>, Attempt)>,
) -> Result<(), PluginError> {
    let breaker = &job.target.function()?.breaker;
    let now = Instant::now();
    let mut fill = |rows: Rows| {
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
                format!("`{}` asks to be tried later: {} ({})", job.target.function()?.name, safe.message, safe.code);
            return Err(PluginError::new("plugin.retryable", message));
        }
        Err(RunError::Refused(error)) => {
            let failure = guest_error(&error.code, &error.message);
            fill(range.clone().map(|_| Err(failure.clone())).collect());
            false
        }
        Err(RunError::Unusable { error, lost }) => {
            breaker.failed(now, lost, true);
            return Err(error);
        }
        Err(RunError::Fault { fault, reused, lost }) => {
            let proven = range.len() == 1 && !reused;
            let opened = breaker.failed(now, lost, proven);
            if proven {
                tracing::debug!(plugin = &*job.target.plugin.stem, code = ?fault.kind, "a plugin failed on one value");
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
            plugin = &*job.target.plugin.stem,
            ?attempt,
            "a plugin function fails too often: its breaker is open"
        );
        return Err(job.target.breaker_open(left));
    }
    Ok(())
}

impl Job {
    /// One call, on a thread that may block.
    fn run(&self, range: Range<usize>, attempt: Attempt) -> Result<Rows, RunError> {
        let Target { host, plugin, params, .. } = &self.target;
        let started = Instant::now();
        let unusable = |error| RunError::Unusable { error, lost: started.elapsed() };
        let function = self.target.function().map_err(unusable)?;
        let values = self.values.get(range).unwrap_or_default();
        let waiting = if attempt == Attempt::Alone { None } else { host.pool.take(&plugin.digest, &self.context.pair) };
        let reused = waiting.is_some();
        let mut instance = match waiting {
            Some(instance) => instance,
            None => host.instantiate(&plugin.image).map_err(|failure| unusable(self.target.unusable(failure)))?,
        };
        let deadline = match attempt {
            Attempt::First | Attempt::Alone => call_deadline(&host.limits, values.len()),
            Attempt::Part => split_deadline(&host.limits, values.len()),
        };
        let call = Call {
            function: &function.name,
            params,
            context: &self.context,
            kind: self.kind,
            output: function.function.output.unwrap_or(self.kind),
            values,
            deadline,
        };
        let result = instance.apply(&call);
        let sound = matches!(result, Ok(_) | Err(CallFailure::Refused(_)));
        if sound && instance.is_reusable() && !plugin.is_retired() {
            host.pool.put(&plugin.digest, &self.context.pair, instance);
        }
        result.map_err(|failure| match failure {
            CallFailure::Fault(fault) => RunError::Fault { fault, reused, lost: started.elapsed() },
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

    fn function(inputs: &[Kind]) -> LoadedFunction {
        let info = super::super::FunctionInfo {
            name: "f".to_owned(),
            plugin: "p".to_owned(),
            digest: String::new(),
            doc: String::new(),
            role: Role::FieldTransform.name().to_owned(),
            idempotent: false,
            reverse: None,
        };
        let function = super::super::describe::Function {
            info,
            role: Role::FieldTransform,
            inputs: inputs.to_vec(),
            output: None,
            deterministic: true,
            params: super::super::params::ParamsSchema::new("").unwrap(),
            examples: Vec::new(),
        };
        LoadedFunction {
            name: "f".into(),
            function,
            breaker: super::super::breaker::Breaker::default(),
            counts: super::super::counts::Counts::default(),
        }
    }

    #[test]
    fn values_are_grouped_by_the_kinds_that_the_function_takes() {
        let input = vec![Value::Null, Value::Int(1), Value::Text("a".into()), Value::Date(0), Value::Null];
        let grouped = |inputs: &[Kind]| {
            let mut results = vec![None; input.len()];
            let groups = groups(&function(inputs), input.clone(), &mut results);
            let groups: Vec<(Kind, Vec<usize>)> = groups.into_iter().map(|group| (group.kind, group.rows)).collect();
            let failed: Vec<usize> = (0..input.len()).filter(|row| results[*row].is_some()).collect();
            (groups, failed)
        };
        assert_eq!(grouped(&[Kind::Text]), (vec![(Kind::Text, vec![0, 1, 2, 3, 4])], vec![]));
        let each = vec![(Kind::Int, vec![0, 1, 4]), (Kind::Text, vec![2]), (Kind::Date, vec![3])];
        assert_eq!(grouped(&[]), (each, vec![]));
        assert_eq!(
            grouped(&[Kind::Int, Kind::Date]),
            (vec![(Kind::Int, vec![0, 1, 4]), (Kind::Date, vec![3])], vec![2])
        );
        let mut results = vec![None];
        groups(&function(&[Kind::Int, Kind::Date]), vec![Value::Boolean(true)], &mut results);
        let Some(Err(error)) = &results[0] else { panic!("no error") };
        assert_eq!((error.code.as_str(), error.message.as_str()), ("wrong-kind", "`f` takes s64, date, not boolean"));
    }

    #[test]
    fn calls_are_bounded_by_rows_and_bytes() {
        assert!(calls(&[]).is_empty());
        assert_eq!(calls(&vec![Value::Null; CALL_ROWS_MAX + 1]), [0..CALL_ROWS_MAX, CALL_ROWS_MAX..CALL_ROWS_MAX + 1]);
        let large = Value::Bytes(vec![0; CALL_BYTES_MAX]);
        assert_eq!(calls(&[large.clone(), Value::Null, large]), [0..1, 1..2, 2..3]);
    }
}
