//! Field transforms: one column through one function, grouped by kind.

use std::ops::Range;

use super::bindings::{Form, Role, SimpleAnswer};
use super::column::{bad, check_size, decode, encode, kind_code, kind_name, value_size};
use super::describe::Function;
use super::host::LoadedFunction;
use super::instance::{CallFailure, Entry, Instance, lacks};
use super::limits::{Fault, guest_error, value_bytes};
use super::run::{Rows, Work, complete, run, unknown};
use super::target::Target;
use super::{CallContext, PluginError, ValueError};
use crate::config::PluginLimits;
use crate::value::{Kind, Value};

/// Values of one kind, and nulls.
pub(super) struct Values {
    /// Kind of the values that are not null.
    pub(super) kind: Kind,
    /// Kind that the function declared to return.
    pub(super) output: Kind,
    pub(super) values: Vec<Value>,
}

impl Values {
    /// Values of a kind that the function takes.
    pub(super) fn new(function: &Function, kind: Kind, values: Vec<Value>) -> Self {
        Self { kind, output: function.output.unwrap_or(kind), values }
    }

    /// No values: what a simple function is tried with.
    pub(super) fn none(function: &Function) -> Self {
        Self::new(function, function.kind_of_nulls(), Vec::new())
    }
}

impl Work for Values {
    type Output = Value;

    fn rows(&self) -> usize {
        self.values.len()
    }

    fn row_bytes(&self, row: usize) -> usize {
        self.values.get(row).map_or(0, value_size)
    }

    fn call(
        &self,
        instance: &mut Instance,
        entry: &Entry<'_>,
        range: Range<usize>,
    ) -> Result<Rows<Value>, CallFailure> {
        let values = self.values.get(range.clone()).unwrap_or_default();
        let bytes = self.bytes(range);
        match instance.bound().transform {
            None => Err(lacks(Role::FieldTransform)),
            Some(Form::Columnar(opener, apply)) => {
                let handle = instance.handle(opener, entry.function, entry.params)?;
                let column = encode(self.kind, values.iter());
                let outcome = instance.enter(apply, entry, (column, bytes), |column| entry.columnar(handle, column))?;
                decode(&outcome.output, &outcome.errors, self.output, values, &instance.limits())
                    .map_err(CallFailure::Fault)
            }
            Some(Form::Simple(apply)) => {
                let texts: Vec<Option<String>> = values.iter().map(Value::to_text).collect();
                let kind = kind_code(self.kind);
                let answers = instance.enter(apply, entry, (texts, bytes), |texts| {
                    let (context, function, params, texts) = entry.simple(texts);
                    (context, function, params, kind, texts)
                })?;
                self.simple_rows(answers, values, &instance.limits()).map_err(CallFailure::Fault)
            }
        }
    }
}

impl Values {
    fn simple_rows(
        &self,
        answers: Vec<SimpleAnswer>,
        given: &[Value],
        limits: &PluginLimits,
    ) -> Result<Rows<Value>, Fault> {
        if answers.len() != given.len() {
            return Err(bad(format!("{} results for {} values", answers.len(), given.len())));
        }
        let row = |(answer, given): (SimpleAnswer, &Value)| match answer {
            Err(failure) => Err(guest_error(&failure.code, &failure.message)),
            Ok(None) => Ok(Value::Null),
            Ok(Some(text)) => {
                check_size(text.len(), value_bytes(limits, value_size(given)))?;
                Value::from_text(self.output, &text).map_err(|error| bad(error.to_string()).into_value_error())
            }
        };
        Ok(answers.into_iter().zip(given).map(row).collect())
    }
}

/// Transforms a column.
///
/// # Errors
/// As [`super::Plugins::transform`].
pub(super) async fn transform(
    target: &Target,
    context: &CallContext,
    input: Vec<Value>,
) -> Result<Rows<Value>, PluginError> {
    target.check(Role::FieldTransform)?;
    let function = target.function()?;
    // The usual case, one kind with nulls beside it, needs no sorting.
    if let Some(kind) = only_kind(&function.function, &input) {
        return run(target, context, Values::new(&function.function, kind, input)).await;
    }
    let mut results = unknown(input.len());
    let groups = groups(function, input, &mut results);
    for mut group in groups {
        let rows = std::mem::take(&mut group.rows);
        let done = group.run(target, context).await?;
        for (row, result) in rows.into_iter().zip(done) {
            if let Some(slot) = results.get_mut(row) {
                *slot = Some(result);
            }
        }
    }
    Ok(complete(results))
}

/// The kind of all values but the nulls, where it is one that the function takes as it is.
fn only_kind(function: &Function, values: &[Value]) -> Option<Kind> {
    let kind = values.iter().find(|value| !value.is_null())?.kind();
    let same = values.iter().all(|value| value.is_null() || value.kind() == kind);
    (same && function.accepted_kind(kind) == Some(kind)).then_some(kind)
}

/// The values of one kind, and the rows they come from.
struct Group {
    kind: Kind,
    rows: Vec<usize>,
    values: Vec<Value>,
}

impl Group {
    async fn run(self, target: &Target, context: &CallContext) -> Result<Rows<Value>, PluginError> {
        let values = Values::new(&target.function()?.function, self.kind, self.values);
        run(target, context, values).await
    }
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
            output: None,
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
            fields: super::super::host::WantedFields::default(),
        }
    }

    #[test]
    fn values_of_one_kind_that_the_function_takes_need_no_sorting() {
        let (ints, mixed) = ([Value::Null, Value::Int(1), Value::Int(2)], [Value::Int(1), Value::Text("a".into())]);
        let only = |inputs: &[Kind], values: &[Value]| only_kind(&function(inputs).function, values);
        assert_eq!(only(&[Kind::Int, Kind::Text], &ints), Some(Kind::Int));
        assert_eq!(only(&[Kind::Text], &ints), None);
        assert_eq!((only(&[], &mixed), only(&[], &[Value::Null])), (None, None));
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
}
