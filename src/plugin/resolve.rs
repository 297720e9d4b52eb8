//! Conflict resolvers: records that changed on both sides, settled field by field.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use serde_json::value::RawValue;

use super::batch::{Shape, check_names, slots};
use super::bindings::{BatchResolution, Conflicts, ContestedField, Form, Role, Side};
use super::column::{Slots, bad, bitmap, check_output, check_size, encode};
use super::instance::{CallFailure, Entry, Instance, lacks};
use super::limits::{Fault, MESSAGE_CHARS_MAX, printable, value_bytes};
use super::run::{Rows, Work, run};
use super::target::Target;
use super::{CallContext, Choice, Contested, PluginError, Resolution, ValueError, json};
use crate::change::{End, Ends};
use crate::config::PluginLimits;
use crate::record::Record;
use crate::value::{Kind, Value};

/// Conflicts to settle.
#[derive(Default)]
pub(super) struct Conflict {
    contested: Vec<Contested>,
    keys: Shape,
    /// Of base, source and target alike: a field has one kind in all three.
    sides: Shape,
    /// Every field that is contested in any record.
    fields: Vec<String>,
    sizes: Vec<usize>,
}

/// Base, source and target of a conflict.
fn records(contested: &Contested) -> impl Iterator<Item = &Record> {
    contested.base.iter().chain([&contested.values.source, &contested.values.target])
}

impl Conflict {
    /// Conflicts of which the guest wants these fields; keys and contested fields always go with them.
    pub(super) fn new(contested: Vec<Contested>, wanted: &[String]) -> Self {
        let mut fields = Vec::new();
        let mut known = HashSet::new();
        for name in contested.iter().flat_map(|conflict| &conflict.fields) {
            if known.insert(name.as_str()) {
                fields.push(name.clone());
            }
        }
        let wanted: HashSet<&str> = wanted.iter().map(String::as_str).collect();
        let is_wanted = |name: &str| wanted.is_empty() || wanted.contains(name) || known.contains(name);
        let sides = Shape::of(contested.iter().flat_map(records), is_wanted);
        let keys = Shape::of(contested.iter().map(|conflict| &conflict.key), |_| true);
        let key_sizes = keys.sizes(contested.iter().map(|conflict| &conflict.key));
        let size = |conflict: &Contested| sides.sizes(records(conflict)).into_iter().sum::<usize>();
        let sizes = contested.iter().zip(key_sizes).map(|(conflict, key)| key + size(conflict)).collect();
        Self { keys, sides, fields, sizes, contested }
    }

    /// No conflicts: what a simple function is tried with.
    pub(super) fn none() -> Self {
        Self::default()
    }
}

impl Work for Conflict {
    type Output = Resolution;

    fn rows(&self) -> usize {
        self.contested.len()
    }

    fn row_bytes(&self, row: usize) -> usize {
        self.sizes.get(row).copied().unwrap_or(0)
    }

    fn call(
        &self,
        instance: &mut Instance,
        entry: &Entry<'_>,
        range: Range<usize>,
    ) -> Result<Rows<Resolution>, CallFailure> {
        let rows = self.contested.get(range.clone()).unwrap_or_default();
        match instance.bound().resolve {
            None => Err(lacks(Role::ConflictResolver)),
            Some(Form::Columnar(opener, resolve)) => {
                let handle = instance.handle(opener, entry.function, entry.params)?;
                let sizes = self.sizes.get(range).unwrap_or_default();
                let input = (self.encode(rows, entry.context), sizes.iter().sum());
                let resolution = instance.enter(resolve, entry, input, |input| entry.columnar(handle, input))?;
                self.decode(&resolution, rows, sizes, &instance.limits()).map_err(CallFailure::Fault)
            }
            Some(Form::Simple(resolve)) => {
                let texts: Vec<String> = rows.iter().map(json::write_conflict).collect();
                let sizes: Vec<usize> = texts.iter().map(String::len).collect();
                let answers =
                    instance.enter(resolve, entry, (texts, sizes.iter().sum()), |texts| entry.simple(texts))?;
                simple_rows(&answers, rows, &sizes, &instance.limits()).map_err(CallFailure::Fault)
            }
        }
    }
}

impl Conflict {
    fn encode(&self, rows: &[Contested], context: &CallContext) -> Conflicts {
        let keys: Vec<Option<&Record>> = rows.iter().map(|conflict| Some(&conflict.key)).collect();
        let base: Vec<Option<&Record>> = rows.iter().map(|conflict| conflict.base.as_ref()).collect();
        let side = |end: End, system: &Arc<str>| {
            let moment = |conflict: &Contested| conflict.modified.get(end).map_or(Value::Null, Value::Instant);
            let modified: Vec<Value> = rows.iter().map(moment).collect();
            let values: Vec<Option<&Record>> = rows.iter().map(|conflict| Some(conflict.values.get(end))).collect();
            Side {
                system: Arc::clone(system),
                modified: encode(Kind::Instant, modified.iter()),
                values: self.sides.encode(&values),
            }
        };
        let contested = |field: &String| {
            let rows = bitmap(rows.iter().map(|conflict| conflict.fields.contains(field)));
            rows.iter().any(|byte| *byte != 0).then(|| ContestedField { field: field.clone(), rows })
        };
        Conflicts {
            rows: u32::try_from(rows.len()).unwrap_or(u32::MAX),
            keys: self.keys.encode(&keys),
            base: self.sides.encode(&base),
            source: side(End::Source, &context.input_system),
            target: side(End::Target, &context.output_system),
            contested: self.fields.iter().filter_map(contested).collect(),
        }
    }

    fn decode(
        &self,
        given: &BatchResolution,
        rows: &[Contested],
        sizes: &[usize],
        limits: &PluginLimits,
    ) -> Result<Rows<Resolution>, Fault> {
        let answer = Answer::check(given, self, rows.len(), sizes.iter().sum())?;
        let rows = rows.iter().zip(sizes).enumerate();
        Ok(rows
            .map(|(row, (conflict, size))| {
                answer.resolution(row, conflict, (value_bytes(limits, *size), limits.message_chars))
            })
            .collect())
    }
}

/// A resolution of a guest, checked: its parts fit its rows.
struct Answer<'a> {
    disposition: &'a [u8],
    choices: HashMap<&'a str, (&'a [u8], Option<Slots<'a>>)>,
    reasons: Option<Slots<'a>>,
}

impl<'a> Answer<'a> {
    fn check(given: &'a BatchResolution, conflict: &Conflict, rows: usize, bytes: usize) -> Result<Self, Fault> {
        if !given.disposition.is_empty() && given.disposition.len() != rows {
            return Err(bad(format!("{} dispositions for {rows} rows", given.disposition.len())));
        }
        check_names(given.fields.iter().map(|choice| choice.field.as_str()))?;
        let customs = given.fields.iter().filter_map(|choice| choice.custom.as_ref());
        check_output(customs.chain(&given.reasons).map(|column| column.data.len()).sum(), bytes)?;
        let mut choices = HashMap::new();
        for choice in given.fields.iter().filter(|choice| conflict.fields.contains(&choice.field)) {
            if choice.choice.len() != rows {
                let field = printable(&choice.field, MESSAGE_CHARS_MAX);
                return Err(bad(format!("field `{field}`: {} choices for {rows} rows", choice.choice.len())));
            }
            let expected = conflict.sides.kind(&choice.field);
            let custom = choice.custom.as_ref().map(|column| slots(&choice.field, column, rows, expected));
            choices.insert(choice.field.as_str(), (choice.choice.as_slice(), custom.transpose()?));
        }
        let reasons = given.reasons.as_ref().map(|column| slots("reasons", column, rows, Some(Kind::Text)));
        Ok(Self { disposition: &given.disposition, choices, reasons: reasons.transpose()? })
    }

    fn resolution(
        &self,
        row: usize,
        conflict: &Contested,
        (bytes_max, chars_max): (usize, usize),
    ) -> Result<Resolution, ValueError> {
        let reason = self.reason(row, bytes_max, chars_max)?;
        match self.disposition.get(row).copied().unwrap_or(0) {
            0 => {}
            1 => return Ok(Resolution::Review { reason }),
            other => return Err(bad(format!("disposition {other}")).into_value_error()),
        }
        let mut fields = Vec::with_capacity(conflict.fields.len());
        for name in &conflict.fields {
            if let Some((choices, custom)) = self.choices.get(name.as_str()) {
                let code = choices.get(row).copied().unwrap_or_default();
                fields.push((name.clone(), choose(code, custom.as_ref(), row, bytes_max)?));
            }
        }
        check_carried(conflict, &fields)?;
        Ok(Resolution::Settled { fields, reason })
    }

    fn reason(&self, row: usize, bytes_max: usize, chars_max: usize) -> Result<String, ValueError> {
        Ok(match self.reasons.as_ref().map(|reasons| reasons.value(row, bytes_max)).transpose()? {
            Some(Value::Text(text)) => printable(&text, chars_max),
            Some(_) | None => String::new(),
        })
    }
}

fn choose(code: u8, custom: Option<&Slots<'_>>, row: usize, bytes_max: usize) -> Result<Choice, ValueError> {
    match (code, custom) {
        (0, _) => Ok(Choice::Base),
        (1, _) => Ok(Choice::Source),
        (2, _) => Ok(Choice::Target),
        (3, Some(custom)) => Ok(Choice::Custom(custom.value(row, bytes_max)?)),
        (3, None) => Err(bad("choice 3 without a custom column").into_value_error()),
        _ => Err(bad(format!("choice {code}")).into_value_error()),
    }
}

/// A side, or base, that does not carry the field cannot be chosen: absent is never written.
fn check_carried(conflict: &Contested, fields: &[(String, Choice)]) -> Result<(), ValueError> {
    for (name, choice) in fields {
        let (what, record) = match choice {
            Choice::Base => ("the base", conflict.base.as_ref()),
            Choice::Source => ("the source", Some(&conflict.values.source)),
            Choice::Target => ("the target", Some(&conflict.values.target)),
            Choice::Custom(_) => continue,
        };
        if record.and_then(|record| record.get(name)).is_none() {
            let name = printable(name, MESSAGE_CHARS_MAX);
            return Err(bad(format!("`{name}` is to be what {what} has, which does not have it")).into_value_error());
        }
    }
    Ok(())
}

fn simple_rows(
    answers: &[String],
    rows: &[Contested],
    sizes: &[usize],
    limits: &PluginLimits,
) -> Result<Rows<Resolution>, Fault> {
    if answers.len() != rows.len() {
        return Err(bad(format!("{} results for {} conflicts", answers.len(), rows.len())));
    }
    let given = answers.iter().zip(rows).zip(sizes);
    Ok(given
        .map(|((answer, conflict), size)| simple_resolution(answer, conflict, value_bytes(limits, *size)))
        .collect())
}

fn simple_resolution(answer: &str, conflict: &Contested, bytes_max: usize) -> Result<Resolution, ValueError> {
    check_size(answer.len(), bytes_max)?;
    let values: Option<HashMap<String, &RawValue>> = serde_json::from_str(answer)
        .map_err(|_| bad("an answer that is neither a JSON object nor null").into_value_error())?;
    let Some(values) = values else { return Ok(Resolution::Review { reason: String::new() }) };
    let mut fields = Vec::with_capacity(conflict.fields.len());
    for name in &conflict.fields {
        if let Some(raw) = values.get(name) {
            fields.push((name.clone(), simple_choice(name, raw.get(), conflict)?));
        }
    }
    Ok(Resolution::Settled { fields, reason: String::new() })
}

/// The value in the field's kind; a side's own value is that side's.
fn simple_choice(name: &str, raw: &str, conflict: &Contested) -> Result<Choice, ValueError> {
    let Ends { source, target } = &conflict.values;
    let base = conflict.base.as_ref().and_then(|base| base.get(name));
    let known = [(source.get(name), Choice::Source), (target.get(name), Choice::Target), (base, Choice::Base)];
    let values = || known.iter().filter_map(|(value, _)| *value);
    let kinds: Vec<Kind> = values().map(Value::kind).filter(|kind| *kind != Kind::Null).collect();
    let wrong = || bad(format!("`{}`: a value of another kind than the field", printable(name, MESSAGE_CHARS_MAX)));
    let value = json::read(raw, &kinds).map_err(|_| wrong().into_value_error())?;
    if !value.is_null() && !kinds.is_empty() && !kinds.contains(&value.kind()) {
        return Err(wrong().into_value_error());
    }
    let chosen = known.into_iter().find(|(known, _)| *known == Some(&value)).map(|(_, choice)| choice);
    Ok(chosen.unwrap_or(Choice::Custom(value)))
}

/// Settles conflicts.
///
/// # Errors
/// As [`super::Plugins::resolve`].
pub(super) async fn resolve(
    target: &Target,
    context: &CallContext,
    input: Vec<Contested>,
) -> Result<Rows<Resolution>, PluginError> {
    target.check(Role::ConflictResolver)?;
    let wanted = target.fields().await?;
    run(target, context, Conflict::new(input, &wanted)).await
}

#[cfg(test)]
mod tests;
