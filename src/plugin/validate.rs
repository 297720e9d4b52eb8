//! Validators: what they have against records.

use std::ops::Range;

use super::batch::Records;
use super::bindings::{Form, Role, RowViolation, SimpleViolation};
use super::column::bad;
use super::instance::{CallFailure, Entry, Instance, lacks};
use super::limits::{FIELD_NAME_BYTES_MAX, Fault, FaultKind, guest_error, printable};
use super::run::{Rows, Work, run};
use super::target::Target;
use super::{CallContext, PluginError, ValueError, Violation, json};
use crate::config::PluginLimits;
use crate::record::Record;

/// Records to check.
pub(super) struct Checks(Records);

impl Checks {
    /// Records of which the guest wants these fields.
    pub(super) fn new(records: Vec<Record>, wanted: &[String]) -> Self {
        Self(Records::new(records, wanted))
    }

    /// No records: what a simple function is tried with.
    pub(super) fn none() -> Self {
        Self(Records::default())
    }
}

impl Work for Checks {
    type Output = Vec<Violation>;

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
    ) -> Result<Rows<Vec<Violation>>, CallFailure> {
        match instance.bound().validate {
            None => Err(lacks(Role::Validator)),
            Some(Form::Columnar(opener, check)) => {
                let handle = instance.handle(opener, entry.function, entry.params)?;
                let input = (self.0.encode(range.clone()), self.bytes(range.clone()));
                let violations = instance.enter(check, entry, input, |batch| entry.columnar(handle, batch))?;
                by_row(violations, range.len(), &instance.limits()).map_err(CallFailure::Fault)
            }
            Some(Form::Simple(check)) => {
                let texts: Vec<String> = self.0.range(range.clone()).iter().map(json::write_record).collect();
                let bytes = texts.iter().map(String::len).sum();
                let answers = instance.enter(check, entry, (texts, bytes), |texts| entry.simple(texts))?;
                simple_rows(answers, range.len(), &instance.limits()).map_err(CallFailure::Fault)
            }
        }
    }
}

/// Sorts violations to their rows. A row with too many is an error of that row.
fn by_row(violations: Vec<RowViolation>, rows: usize, limits: &PluginLimits) -> Result<Rows<Vec<Violation>>, Fault> {
    let mut by_row: Rows<Vec<Violation>> = (0..rows).map(|_| Ok(Vec::new())).collect();
    for RowViolation { row, field, code, message } in violations {
        let slot = usize::try_from(row).ok().and_then(|row| by_row.get_mut(row));
        let slot = slot.ok_or_else(|| bad(format!("a violation of row {row} of {rows}")))?;
        match slot {
            Ok(known) if known.len() < limits.row_violations => known.push(violation(&field, &code, &message, limits)),
            Ok(_) => *slot = Err(too_many(limits)),
            Err(_) => {}
        }
    }
    Ok(by_row)
}

fn simple_rows(
    answers: Vec<Vec<SimpleViolation>>,
    rows: usize,
    limits: &PluginLimits,
) -> Result<Rows<Vec<Violation>>, Fault> {
    if answers.len() != rows {
        return Err(bad(format!("{} results for {rows} records", answers.len())));
    }
    let row = |violations: Vec<SimpleViolation>| {
        if violations.len() > limits.row_violations {
            return Err(too_many(limits));
        }
        Ok(violations.iter().map(|found| violation(&found.field, &found.code, &found.message, limits)).collect())
    };
    Ok(answers.into_iter().map(row).collect())
}

fn too_many(limits: &PluginLimits) -> ValueError {
    let message = format!("more than {} violations of one record", limits.row_violations);
    Fault::new(FaultKind::OutputLimit, message).into_value_error()
}

fn violation(field: &str, code: &str, message: &str, limits: &PluginLimits) -> Violation {
    let ValueError { code, message } = guest_error(code, message);
    let message = printable(&message, limits.message_chars);
    Violation { field: (!field.is_empty()).then(|| printable(field, FIELD_NAME_BYTES_MAX)), code, message }
}

/// Checks records.
///
/// # Errors
/// As [`super::Plugins::validate`].
pub(super) async fn validate(
    target: &Target,
    context: &CallContext,
    input: Vec<Record>,
) -> Result<Rows<Vec<Violation>>, PluginError> {
    target.check(Role::Validator)?;
    let wanted = target.fields().await?;
    run(target, context, Checks::new(input, &wanted)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW_VIOLATIONS_MAX: usize = 3;

    fn limits() -> PluginLimits {
        PluginLimits { row_violations: ROW_VIOLATIONS_MAX, ..PluginLimits::default() }
    }

    fn by_row(violations: Vec<RowViolation>, rows: usize) -> Result<Rows<Vec<Violation>>, Fault> {
        super::by_row(violations, rows, &limits())
    }

    fn simple_rows(answers: Vec<Vec<SimpleViolation>>, rows: usize) -> Result<Rows<Vec<Violation>>, Fault> {
        super::simple_rows(answers, rows, &limits())
    }

    fn of_row(row: u32, field: &str) -> RowViolation {
        RowViolation { row, field: field.to_owned(), code: "Too Long".to_owned(), message: "m\n".to_owned() }
    }

    #[test]
    fn violations_go_to_their_rows() {
        let rows = by_row(vec![of_row(2, ""), of_row(0, "a"), of_row(2, "b")], 3).unwrap();
        let fields = |row: usize| -> Vec<Option<String>> {
            rows[row].as_ref().unwrap().iter().map(|violation| violation.field.clone()).collect()
        };
        assert_eq!(
            (fields(0), fields(1), fields(2)),
            (vec![Some("a".to_owned())], vec![], vec![None, Some("b".to_owned())])
        );
        let first = &rows[0].as_ref().unwrap()[0];
        assert_eq!((first.code.as_str(), first.message.as_str()), ("too-long", "m "));
        assert!(by_row(vec![of_row(3, "")], 3).is_err());
    }

    #[test]
    fn too_many_violations_fail_their_row_alone() {
        let many: Vec<RowViolation> = (0..=ROW_VIOLATIONS_MAX).map(|_| of_row(1, "a")).collect();
        let rows = by_row(many, 2).unwrap();
        assert_eq!(rows[0], Ok(Vec::new()));
        assert_eq!(rows[1].as_ref().unwrap_err().code, "output-limit");
        let simple = |count: usize| -> Vec<SimpleViolation> {
            let one = || SimpleViolation { field: String::new(), code: "x".into(), message: String::new() };
            (0..count).map(|_| one()).collect()
        };
        let rows = simple_rows(vec![simple(ROW_VIOLATIONS_MAX), simple(ROW_VIOLATIONS_MAX + 1)], 2).unwrap();
        assert!(rows[0].is_ok() && rows[1].is_err());
        assert!(simple_rows(vec![simple(0)], 2).is_err());
    }
}
