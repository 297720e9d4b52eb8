//! Stage 4: what a record must look like before it is written (I8). Rules look at the record in the terms of the side that it would be
//! written to. No I/O but the `Plugins` trait.

use std::sync::Arc;

use super::binding::{Binding, BoundCheck, BoundRule, comparable};
use super::transform::{self, Cell, Mapped, Rejection, Stage, Translations};
use crate::change::End;
use crate::config::OnInvalid;
use crate::error::Result;
use crate::plugin::{FunctionRef, Plugins, ValueError};
use crate::record::Record;
use crate::value::{Kind, Value};

/// Records in the other side's terms, checked.
#[derive(Debug, Default)]
pub struct Checked {
    /// As many as records, in their order. A value that failed is replaced as its rule says; one that refuses the record is as it was.
    pub mapped: Vec<Mapped>,
    /// The first rule that refuses each record; empty where there are no rules.
    pub refused: Vec<Option<Rejection>>,
    /// Violations of each record that only warn; empty where there are no rules.
    pub warnings: Vec<u64>,
}

impl Checked {
    /// The records with their warnings. Every cell of a refused record carries the refusal, so that no field of it is written anywhere.
    pub fn into_cells(mut self) -> impl Iterator<Item = (Mapped, u64)> {
        for (cells, refused) in self.mapped.iter_mut().zip(self.refused) {
            if let Some(rejection) = refused.map(Box::new) {
                cells.iter_mut().for_each(|cell| *cell = Err(rejection.clone()));
            }
        }
        self.mapped.into_iter().zip(self.warnings.into_iter().chain(std::iter::repeat(0)))
    }
}

/// Maps records that come from `from` and checks them.
///
/// # Errors
/// Where a function cannot be called at all: the pair waits until it can.
pub async fn check_records(
    binding: &Binding,
    from: End,
    records: &[&Record],
    plugins: &Arc<dyn Plugins>,
    translations: &Translations,
) -> Result<Checked> {
    let mapped = transform::map_records(binding, from, records, plugins, translations).await?;
    check_mapped(binding, from, mapped, plugins).await
}

/// Checks records that come from `from` and are in the other side's terms already.
///
/// # Errors
/// As [`check_records`].
pub async fn check_mapped(
    binding: &Binding,
    from: End,
    mapped: Vec<Mapped>,
    plugins: &Arc<dyn Plugins>,
) -> Result<Checked> {
    if binding.checks.is_empty() || mapped.is_empty() {
        return Ok(Checked { mapped, ..Checked::default() });
    }
    let (refused, warnings) = (vec![None; mapped.len()], vec![0; mapped.len()]);
    let mut checked = Checked { mapped, refused, warnings };
    let stage = Stage::new(binding, from, plugins);
    for rule in &binding.checks {
        if let Some(place) = *rule.places.get(from) {
            Checker { stage: &stage, rule, place }.run(&mut checked).await?;
        }
    }
    Ok(checked)
}

/// One rule over one batch.
struct Checker<'a> {
    stage: &'a Stage<'a>,
    rule: &'a BoundRule,
    place: usize,
}

/// A violation: row, place of the cell at fault (`None`: the record), and what is said about it.
type Fault = (usize, Option<usize>, Rejection);

impl Checker<'_> {
    async fn run(&self, checked: &mut Checked) -> Result<()> {
        let all: Vec<usize> = (0..checked.mapped.len()).collect();
        let mut faults = self.faults(&checked.mapped, &all).await?;
        if self.rule.on_error == OnInvalid::StandardizeFormat && !faults.is_empty() {
            faults = self.standardize(&mut checked.mapped, faults).await?;
        }
        let mut count = 0_u64;
        for (row, cell, rejection) in faults {
            match (self.rule.on_error, cell) {
                (OnInvalid::Warn, _) => {
                    count += 1;
                    checked.warnings.get_mut(row).into_iter().for_each(|warnings| *warnings += 1);
                }
                (OnInvalid::SetNull, Some(place)) => self.replace(checked, (row, place), Some(Value::Null)),
                (OnInvalid::SkipField, Some(place)) => self.replace(checked, (row, place), None),
                (
                    OnInvalid::RejectRecord
                    | OnInvalid::QueueForManualReview
                    | OnInvalid::StandardizeFormat
                    | OnInvalid::SetNull
                    | OnInvalid::SkipField,
                    _,
                ) => {
                    if let Some(refused) = checked.refused.get_mut(row) {
                        refused.get_or_insert(rejection);
                    }
                }
            }
        }
        if count > 0 {
            let (pair, field, rule) = (&self.stage.binding.pair, &self.rule.field, self.rule.code());
            tracing::warn!(%pair, field, rule, count, "values break a rule and are written all the same");
        }
        Ok(())
    }

    fn replace(&self, checked: &mut Checked, (row, place): (usize, usize), value: Option<Value>) {
        if let Some(cell) = checked.mapped.get_mut(row).and_then(|cells| cells.get_mut(place)) {
            *cell = Ok(value);
        }
    }

    /// What the rule has against these rows. Cells that a transform refused are not its business.
    async fn faults(&self, mapped: &[Mapped], rows: &[usize]) -> Result<Vec<Fault>> {
        if let BoundCheck::Plugin(function) = &self.rule.check {
            return self.ask(function, mapped, rows).await;
        }
        let broken = |row: &usize| {
            let value = mapped.get(*row)?.get(self.place)?.as_ref().ok()?.as_ref();
            let text = violation(self.rule, self.stage.from, value)?;
            let rejection = Rejection {
                code: self.rule.code().to_owned(),
                message: format!("\"{}\" {text}", self.rule.field),
                field: Some(self.rule.field.clone()),
                digest: None,
                skipped: false,
                waits_for: None,
            };
            Some((*row, Some(self.place), rejection))
        };
        Ok(rows.iter().filter_map(broken).collect())
    }

    async fn ask(&self, function: &FunctionRef, mapped: &[Mapped], rows: &[usize]) -> Result<Vec<Fault>> {
        let binding = self.stage.binding;
        let records: Vec<Record> = rows
            .iter()
            .filter_map(|row| mapped.get(*row))
            .map(|cells| written(binding, self.stage.from, cells))
            .collect();
        let answers = self.stage.plugins.validate(function, &self.stage.context, records).await;
        let answers = answers.map_err(|error| transform::unusable(function, &error))?;
        let plugins = self.stage.plugins.as_ref();
        let mut faults = Vec::new();
        for (row, answer) in rows.iter().zip(answers) {
            match answer {
                Ok(violations) => faults.extend(violations.into_iter().map(|violation| {
                    let field = violation.field.as_deref();
                    let place = field.map(|name| place(binding, self.stage.from, name).unwrap_or(self.place));
                    let error = ValueError { code: violation.code, message: violation.message };
                    (*row, place, Rejection::by(plugins, function, field, error))
                })),
                // A validator that fails has not said that the record is fine.
                Err(error) => faults.push((*row, None, Rejection::by(plugins, function, None, error))),
            }
        }
        Ok(faults)
    }

    /// Runs the standardizer over the values at fault and checks them again; what is left is refused.
    async fn standardize(&self, mapped: &mut [Mapped], faults: Vec<Fault>) -> Result<Vec<Fault>> {
        let functions = self.rule.standardizer.get(self.stage.from);
        let (own, mut left): (Vec<Fault>, Vec<Fault>) =
            faults.into_iter().partition(|(_, place, _)| *place == Some(self.place) && !functions.is_empty());
        let cell = |row: &usize, mapped: &[Mapped]| mapped.get(*row).and_then(|cells| cells.get(self.place)).cloned();
        let rows: Vec<usize> = own.iter().map(|(row, ..)| *row).collect();
        let mut cells: Vec<Cell> = rows.iter().map(|row| cell(row, mapped).unwrap_or(Ok(None))).collect();
        for function in functions {
            self.stage.call(function, &self.rule.field, &mut cells).await?;
        }
        let mut tried = Vec::new();
        for ((row, place, rejection), standardized) in own.into_iter().zip(cells) {
            let kind = self.rule.kinds.get(self.stage.from).unwrap_or(Kind::Text);
            let value = standardized.ok().flatten().and_then(|value| value.convert(kind).ok());
            match (value, mapped.get_mut(row).and_then(|cells| cells.get_mut(self.place))) {
                (Some(value), Some(cell)) => {
                    *cell = Ok(Some(value));
                    tried.push(row);
                }
                _ => left.push((row, place, rejection)),
            }
        }
        left.extend(self.faults(mapped, &tried).await?);
        Ok(left)
    }
}

/// The record as it would be written, its fields named as the target calls them.
fn written(binding: &Binding, from: End, cells: &Mapped) -> Record {
    let named = names(binding, from).filter_map(|(place, name)| {
        let value = cells.get(place)?.as_ref().ok()?.clone()?;
        Some((name, value))
    });
    Record::of(named)
}

/// Cells of a record that comes from `from`: place, and the target's name, or the source's where a record transform makes it.
fn names(binding: &Binding, from: End) -> impl Iterator<Item = (usize, &str)> {
    let mappings = binding.mappings.iter().map(|mapping| mapping.fields.target.name.as_str()).enumerate();
    let made = binding.computed.iter().filter(move |computed| computed.from == from).flat_map(|computed| {
        let outputs = computed.outputs.iter().enumerate();
        outputs.map(|(offset, output)| (computed.first + offset, output.name.as_str()))
    });
    mappings.chain(made)
}

fn place(binding: &Binding, from: End, name: &str) -> Option<usize> {
    names(binding, from).find(|(_, known)| *known == name).map(|(place, _)| place)
}

/// What a rule has against a value, for people; the value is not in it. Only `required` minds null.
fn violation(rule: &BoundRule, from: End, value: Option<&Value>) -> Option<String> {
    let Some(value) = value.filter(|value| !value.is_null()) else {
        return matches!(rule.check, BoundCheck::Required).then(|| "must have a value".to_owned());
    };
    match &rule.check {
        BoundCheck::Required | BoundCheck::Plugin(_) => None,
        BoundCheck::Regex(pattern) => {
            let matches = value.to_text().is_some_and(|text| pattern.is_match(&text));
            (!matches).then(|| "does not match its pattern".to_owned())
        }
        BoundCheck::Length { min, max } => {
            let length = value.to_text().map_or(0, |text| text.chars().count() as u64);
            let fits = min.is_none_or(|min| length >= min) && max.is_none_or(|max| length <= max);
            (!fits).then(|| {
                format!(
                    "has {length} characters, which is {}",
                    if min.is_some_and(|min| length < min) { "too few" } else { "too many" }
                )
            })
        }
        BoundCheck::Range { min, max } => in_range(value, min.as_ref(), max.as_ref()),
        BoundCheck::OneOf(values) => {
            (!values.get(from).contains(value)).then(|| "is none of the values that it may have".to_owned())
        }
        BoundCheck::Type(kinds) => {
            let is = kinds.contains(&value.kind());
            let reads = || {
                let loose = matches!(value, Value::Text(_) | Value::Decimal(_));
                loose && kinds.first().is_some_and(|kind| value.clone().convert(*kind).is_ok())
            };
            (!is && !reads()).then(|| "is not of its type".to_owned())
        }
    }
}

/// Compared in the value's own kind, so that no whole or decimal number goes through a floating one.
fn in_range(value: &Value, min: Option<&Value>, max: Option<&Value>) -> Option<String> {
    let not_comparable = || Some("has no order that its limits could be compared in".to_owned());
    let Some(kind) = comparable(value.kind()) else { return not_comparable() };
    let Ok(number) = value.clone().convert(kind) else { return not_comparable() };
    let below = min.and_then(|min| min.clone().convert(kind).ok()).is_some_and(|min| number < min);
    let above = max.and_then(|max| max.clone().convert(kind).ok()).is_some_and(|max| number > max);
    match (below, above) {
        (true, _) => Some("is less than its least value".to_owned()),
        (_, true) => Some("is more than its greatest value".to_owned()),
        (false, false) => None,
    }
}

#[cfg(test)]
mod tests;
