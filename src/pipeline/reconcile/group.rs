//! Computed fields (pure): the record transforms of a group are decided as one field. What they read has changed or not, and what they
//! make flows as a whole.

use super::{Contest, Decision, Images, Policy, Subject, add, changed, field};
use crate::change::{End, Ends};
use crate::config::{Nulls, Rule};
use crate::pipeline::binding::{Binding, BoundField, Computed, Group};
use crate::pipeline::transform::{Cell, Mapped};
use crate::record::Record;
use crate::value::Value;

/// The record transforms that read `end`.
pub(super) fn of(binding: &Binding, end: End) -> impl Iterator<Item = &Computed> {
    binding.computed.iter().filter(move |computed| computed.from == end)
}

/// What the record transforms make of a record that the other side does not have.
pub(super) fn create<'a>(
    binding: &Binding,
    at: End,
    images: &Images<'a>,
    fields: &mut Vec<(usize, &'a Value)>,
    decision: &mut Decision,
) {
    let Some(cells) = *images.mapped.get(at.other()) else { return };
    for (of, cell) in of(binding, at.other()).flat_map(|computed| outputs(computed, cells)) {
        match cell {
            Ok(Some(value)) => fields.push((of.position, value)),
            Ok(None) => {}
            Err(rejection) => {
                decision.rejection = decision.rejection.take().or_else(|| Some((at.other(), rejection.clone())));
            }
        }
    }
}

/// Decides every group of two records that both exist.
pub(super) fn decide<'a>(
    binding: &Binding,
    source: &'a Record,
    target: &'a Record,
    images: &Images<'a>,
    decision: &mut Decision,
    updates: &mut Ends<Vec<(usize, &'a Value)>>,
) {
    for (place, group) in binding.groups.iter().enumerate() {
        let one = OneGroup { binding, group, place, now: Ends { source, target }, images };
        let Some((end, rule)) = one.winner(decision) else { continue };
        let flows: Vec<(&BoundField, &Cell)> =
            one.made(end).filter(|(of, cell)| one.flows(end.other(), of, cell)).collect();
        if let (Some(rule), false) = (rule, flows.is_empty()) {
            decision.contests.push(Contest { subject: Subject::Group(place), winner: end.into(), rule });
        }
        for (of, cell) in flows {
            add(decision, updates, end.other(), (Some(cell), of));
        }
    }
}

/// Whether `record` has all that the group makes of the other side's record, whose cells these are. A group that makes nothing of it
/// says nothing.
pub fn group_agrees(binding: &Binding, group: &Group, from: End, cells: &Mapped, record: &Record) -> bool {
    let mut made = members(binding, group, from).flat_map(|computed| outputs(computed, cells)).peekable();
    made.peek().is_some() && made.all(|(of, cell)| holds(record, of, cell))
}

fn members<'a>(binding: &'a Binding, group: &'a Group, end: End) -> impl Iterator<Item = &'a Computed> {
    group.members.get(end).iter().filter_map(|place| binding.computed.get(*place))
}

/// The fields that are made, with their cells.
fn outputs<'a, 'b>(computed: &'b Computed, cells: &'a Mapped) -> impl Iterator<Item = (&'b BoundField, &'a Cell)> {
    computed.outputs.iter().zip(cells.iter().skip(computed.first))
}

/// Whether a record has what is made, or nothing is made.
fn holds(record: &Record, of: &BoundField, cell: &Cell) -> bool {
    match cell {
        Ok(Some(value)) => field(record, of) == Some(value),
        Ok(None) => true,
        Err(_) => false,
    }
}

struct OneGroup<'a, 'b> {
    binding: &'b Binding,
    group: &'b Group,
    place: usize,
    now: Ends<&'a Record>,
    images: &'b Images<'a>,
}

impl<'a, 'b> OneGroup<'a, 'b> {
    /// The end whose record rules, and the rule that said so where both have changed; `None` where nothing flows.
    fn winner(&self, decision: &mut Decision) -> Option<(End, Option<Rule>)> {
        match (self.changed(End::Source), self.changed(End::Target)) {
            (false, false) if self.binding.renewed => {
                let makes = |end: &End| members(self.binding, self.group, *end).next().is_some();
                [End::Source, End::Target].into_iter().find(makes).map(|end| (end, None))
            }
            (false, false) => None,
            (true, false) => Some((End::Source, None)),
            (false, true) => Some((End::Target, None)),
            (true, true) => self.contested(decision),
        }
    }

    fn contested(&self, decision: &mut Decision) -> Option<(End, Option<Rule>)> {
        let agrees = |from: End| {
            // Nothing at all is not the same as what is there.
            let makes = self.made(from).any(|(_, cell)| !matches!(cell, Ok(None)));
            let cells = *self.images.mapped.get(from);
            makes
                && cells.is_some_and(|cells| {
                    group_agrees(self.binding, self.group, from, cells, self.now.get(from.other()))
                })
        };
        if agrees(End::Source) || agrees(End::Target) {
            return None;
        }
        if self.images.base.is_none() {
            // First contact: nulls say nothing, the other side's values fill them.
            match (self.says_nothing(End::Source), self.says_nothing(End::Target)) {
                (true, false) => return Some((End::Target, None)),
                (false, true) => return Some((End::Source, None)),
                (true, true) | (false, false) => {}
            }
        }
        let policy = Policy::of(self.binding, self.images);
        let (end, rule) = decision.settle(Subject::Group(self.place), self.group.rule, &policy)?;
        Some((end, Some(rule)))
    }

    /// Something that is read was edited; where everything is read, only an edit that changes what is made counts.
    fn changed(&self, end: End) -> bool {
        let now = self.now.get(end);
        members(self.binding, self.group, end).any(|computed| {
            let Some(base) = self.images.base else { return true };
            let edited = computed.inputs.iter().any(|of| changed(now, base.get(end), of));
            let news = || {
                let cells = *self.images.mapped.get(end);
                cells.is_none_or(|cells| {
                    outputs(computed, cells).any(|(of, cell)| !holds(base.get(end.other()), of, cell))
                })
            };
            edited && (!computed.reads_all || news())
        })
    }

    fn says_nothing(&self, end: End) -> bool {
        let null = |of: &BoundField| field(self.now.get(end), of).is_none_or(Value::is_null);
        members(self.binding, self.group, end).flat_map(|computed| &computed.inputs).all(null)
    }

    /// What the record of `end` makes of the other side's.
    fn made(&self, end: End) -> impl Iterator<Item = (&'b BoundField, &'a Cell)> {
        let cells = self.images.mapped.get(end).iter();
        cells
            .flat_map(move |cells| members(self.binding, self.group, end).flat_map(|computed| outputs(computed, cells)))
    }

    /// Whether what is made is news at `end`.
    fn flows(&self, end: End, of: &BoundField, cell: &Cell) -> bool {
        let silent = self.binding.nulls == Nulls::Ignore && matches!(cell, Ok(Some(Value::Null)));
        !silent && !holds(self.now.get(end), of, cell)
    }
}
