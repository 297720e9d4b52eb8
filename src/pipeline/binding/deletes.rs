//! `deletes`: the field that marks a record as deleted.

use super::{Binder, BoundField, BoundMapping};
use crate::change::{End, Ends};
use crate::config::Problem;
use crate::value::{Kind, Value};

const MICROS_PER_DAY: i64 = 86_400_000_000;

/// A field that marks a record as deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark(pub BoundField);

impl Mark {
    /// What says that a record was deleted, then: microseconds since 1970-01-01 UTC. `None` where the kind holds no time.
    pub fn set(&self, at: i64) -> Option<Value> {
        match self.0.kind {
            Kind::Boolean => Some(Value::Boolean(true)),
            // By the clock of UTC: the system's own zone is not known here.
            Kind::Local => Some(Value::Local(at)),
            Kind::Instant => Some(Value::Instant(at)),
            Kind::Text => Value::Instant(at).to_text().map(Value::Text),
            Kind::Date => i32::try_from(at.div_euclid(MICROS_PER_DAY)).ok().map(Value::Date),
            Kind::Null
            | Kind::Int
            | Kind::Float
            | Kind::Decimal
            | Kind::Bytes
            | Kind::Time
            | Kind::Json
            | Kind::Uuid => None,
        }
    }

    /// What says that it was not.
    pub fn unset(&self) -> Value {
        if self.0.kind == Kind::Boolean { Value::Boolean(false) } else { Value::Null }
    }

    /// Whether a value says so.
    pub fn is_set(&self, value: Option<&Value>) -> bool {
        value.is_some_and(|value| !value.is_null() && *value != Value::Boolean(false))
    }
}

impl Binder<'_> {
    /// The mark of each side whose records can be marked.
    pub(super) fn marks(&mut self, mappings: &[BoundMapping], flows: Ends<bool>) -> Ends<Option<Mark>> {
        let Some(name) = self.pair.soft_delete.clone() else { return Ends::default() };
        // Deletes of one side mark the other.
        let marked = [End::Target, End::Source].into_iter().filter(|end| *flows.get(end.other()));
        let mut marks = Ends::default();
        for end in marked {
            *marks.get_mut(end) = self.mark(end, &name, mappings);
        }
        let text = |end: End| format!("the {} has no column \"{name}\" to mark its deleted records in", end.name());
        match (&marks.source, &marks.target) {
            (None, None) => {
                let problem = Problem::error("mapping.soft_delete", &self.pair.at, text(End::Target));
                self.problems.push(problem.suggest("add such a column, or choose another \"deletes\""));
            }
            (None, Some(_)) if flows.target => {
                let text = format!("{}: its records stay as they are when the target's are deleted", text(End::Source));
                self.problems.push(Problem::warning("mapping.soft_delete", &self.pair.at, text));
            }
            (Some(_), None) => {
                let text = format!("{}: its records stay as they are when the source's are deleted", text(End::Target));
                self.problems.push(Problem::warning("mapping.soft_delete", &self.pair.at, text));
            }
            (_, Some(_)) => {}
        }
        marks
    }

    fn mark(&mut self, end: End, name: &str, mappings: &[BoundMapping]) -> Option<Mark> {
        let column = self.schemas.get(end).column(name)?.clone();
        let mark = Mark(BoundField { name: column.name.clone(), position: self.place(end, name), kind: column.kind });
        let mapped = mappings.iter().any(|mapping| mapping.fields.get(end).name == column.name);
        let wrong = if mapped {
            Some("is mapped, so it cannot mark deleted records too")
        } else if !column.writable || (!column.nullable && column.kind != Kind::Boolean) {
            Some("cannot mark deleted records: it must be writable, and take null")
        } else if mark.set(0).is_none() {
            Some("cannot mark deleted records: it must hold a time, a date, text or a boolean")
        } else {
            None
        };
        if let Some(wrong) = wrong {
            let text = format!("\"{name}\" of the {} {wrong} (its type is {})", end.name(), column.native_type);
            self.problems.push(Problem::error("mapping.soft_delete", &self.pair.at, text));
        }
        Some(mark)
    }
}
