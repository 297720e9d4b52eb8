//! Record transforms: several fields in, several out.

use std::ops::Range;

use super::batch::{Records, Returned};
use super::bindings::{BatchOutcome, Form, Role};
use super::column::{bad, failures_by_row};
use super::instance::{CallFailure, Entry, Instance, lacks};
use super::limits::{Fault, value_bytes};
use super::run::{Rows, Work, run};
use super::target::Target;
use super::{CallContext, PluginError, Reshaped, ValueError};
use crate::config::PluginLimits;
use crate::record::Record;

/// Records to reshape.
pub(super) struct Reshape(Records);

impl Reshape {
    /// Records of which the guest wants these fields.
    pub(super) fn new(records: Vec<Record>, wanted: &[String]) -> Self {
        Self(Records::new(records, wanted))
    }
}

impl Work for Reshape {
    type Output = Reshaped;

    fn rows(&self) -> usize {
        self.0.records.len()
    }

    fn row_bytes(&self, row: usize) -> usize {
        self.0.size(row)
    }

    fn call(
        &self,
        instance: &mut Instance,
        entry: &Entry<'_>,
        range: Range<usize>,
    ) -> Result<Rows<Reshaped>, CallFailure> {
        let Some(Form::Columnar(opener, apply)) = instance.bound().reshape else {
            return Err(lacks(Role::RecordTransform));
        };
        let handle = instance.handle(opener, entry.function, entry.params)?;
        let input = (self.0.encode(range.clone()), self.bytes(range.clone()));
        let outcome = instance.enter(apply, entry, input, |batch| entry.columnar(handle, batch))?;
        self.decode(&outcome, range, &instance.limits()).map_err(CallFailure::Fault)
    }
}

impl Reshape {
    fn decode(
        &self,
        outcome: &BatchOutcome,
        range: Range<usize>,
        limits: &PluginLimits,
    ) -> Result<Rows<Reshaped>, Fault> {
        let rows = range.len();
        let returned = Returned::check(&outcome.output, rows, self.bytes(range.clone()))?;
        if !outcome.disposition.is_empty() && outcome.disposition.len() != rows {
            return Err(bad(format!("{} dispositions for {rows} rows", outcome.disposition.len())));
        }
        let mut failures = failures_by_row(&outcome.errors, rows)?;
        let row = |(row, given): (usize, usize)| -> Result<Reshaped, ValueError> {
            if let Some(failure) = failures.get_mut(row).and_then(Option::take) {
                return Err(failure);
            }
            match outcome.disposition.get(row).copied().unwrap_or(0) {
                0 => self.keep(&returned, (row, given), limits),
                1 => Ok(Reshaped::Skip),
                2 => Ok(Reshaped::Review),
                other => Err(bad(format!("disposition {other}")).into_value_error()),
            }
        };
        Ok(range.enumerate().map(row).collect())
    }

    fn keep(
        &self,
        returned: &Returned<'_>,
        (row, given): (usize, usize),
        limits: &PluginLimits,
    ) -> Result<Reshaped, ValueError> {
        let record = returned.record(row, value_bytes(limits, self.0.size(given)))?;
        let Some(given) = self.0.records.get(given) else { return Ok(Reshaped::Keep(record)) };
        Ok(Reshaped::Keep(self.0.shape.restore(record, given)))
    }
}

/// Reshapes records.
///
/// # Errors
/// As [`super::Plugins::reshape`].
pub(super) async fn reshape(
    target: &Target,
    context: &CallContext,
    input: Vec<Record>,
) -> Result<Rows<Reshaped>, PluginError> {
    target.check(Role::RecordTransform)?;
    let wanted = target.fields().await?;
    run(target, context, Reshape::new(input, &wanted)).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::bindings::RowError;
    use crate::value::Value;

    fn work() -> Reshape {
        let record = |number: i64| Record::of([("a", Value::Int(number))]);
        Reshape::new(vec![record(1), record(2), record(3), record(4)], &[])
    }

    fn outcome() -> BatchOutcome {
        BatchOutcome { output: work().0.encode(1..4), disposition: Vec::new(), errors: Vec::new() }
    }

    #[test]
    fn rows_are_kept_skipped_or_sent_to_a_person() {
        let error = RowError { row: 0, code: "no".to_owned(), message: String::new() };
        let outcome = BatchOutcome { disposition: vec![9, 1, 2], errors: vec![error], ..outcome() };
        let rows = work().decode(&outcome, 1..4, &PluginLimits::default()).unwrap();
        assert_eq!(rows[0].as_ref().unwrap_err().code, "no");
        assert_eq!(rows[1..], [Ok(Reshaped::Skip), Ok(Reshaped::Review)]);
        let kept = work().decode(&self::outcome(), 1..4, &PluginLimits::default()).unwrap();
        assert_eq!(kept[0], Ok(Reshaped::Keep(Record::of([("a", Value::Int(2))]))));
    }

    #[test]
    fn what_a_guest_says_of_rows_must_fit_them() {
        let row = |row| RowError { row, code: String::new(), message: String::new() };
        for outcome in [
            BatchOutcome { disposition: vec![0; 4], ..outcome() },
            BatchOutcome { errors: vec![row(3)], ..outcome() },
            BatchOutcome { errors: vec![row(0), row(0)], ..outcome() },
        ] {
            assert!(work().decode(&outcome, 1..4, &PluginLimits::default()).is_err());
        }
        let odd = BatchOutcome { disposition: vec![0, 3, 0], ..outcome() };
        let rows = work().decode(&odd, 1..4, &PluginLimits::default()).unwrap();
        assert!(rows[0].is_ok() && rows[1].as_ref().unwrap_err().code == "bad-output" && rows[2].is_ok());
    }
}
