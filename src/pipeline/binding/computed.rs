//! Record transforms, bound: what they read and make, and which of them belong together.

use super::{Answered, Binder, BoundField, BoundMapping, suggested};
use crate::change::{End, Ends};
use crate::config::{Location, Problem, Rule};
use crate::plugin::FunctionRef;

/// A record transform, checked.
#[derive(Debug, Clone)]
pub struct Computed {
    /// The side that it reads.
    pub from: End,
    /// What it calls.
    pub function: FunctionRef,
    /// What it reads.
    pub inputs: Vec<BoundField>,
    /// It reads every field: a change counts only if it changes what is made.
    pub reads_all: bool,
    /// What it makes of the other side.
    pub outputs: Vec<BoundField>,
    /// Place of the first output among the cells of a record that comes from `from`: behind those of the mappings.
    pub first: usize,
}

/// Record transforms that read what others of them make. They are decided as one field: what they make flows as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Places in `Binding::computed`, by the side that they read.
    pub members: Ends<Vec<usize>>,
    /// Who wins where both sides have changed.
    pub rule: Rule,
}

impl Binder<'_> {
    pub(super) fn computed(&mut self, mappings: &[BoundMapping], answered: &[Answered]) -> (Vec<Computed>, Vec<Group>) {
        let mut computed: Vec<Computed> = Vec::new();
        for (one, answer) in self.pair.record_transforms.iter().zip(answered) {
            let Some(function) = self.function(&one.call, "record-transform", &one.call.at) else { continue };
            let at = &one.call.at;
            let all = || self.schemas.get(one.from).columns.iter().map(|column| column.name.clone()).collect();
            let read: Vec<String> = if answer.inputs.is_empty() { all() } else { answer.inputs.clone() };
            let inputs = read.iter().filter_map(|name| self.input(one.from, name, at)).collect();
            let outputs: Vec<BoundField> =
                answer.outputs.iter().filter_map(|name| self.output(one.from.other(), name, at)).collect();
            for of in &outputs {
                let earlier = computed.iter().filter(|other| other.from == one.from).flat_map(|other| &other.outputs);
                let mapped = |mapping: &BoundMapping| {
                    mapping.functions.get(one.from).is_some() && mapping.fields.get(one.from.other()).name == of.name
                };
                if earlier.into_iter().any(|other| other.name == of.name) || mappings.iter().any(mapped) {
                    let text = format!("the {}'s field \"{}\" is written already", one.from.other().name(), of.name);
                    self.problems.push(
                        Problem::error("config.duplicate_mapping", at, text)
                            .suggest("a field is written by one mapping or one record transform"),
                    );
                }
            }
            let before = computed.iter().filter(|other| other.from == one.from).map(|other| other.outputs.len());
            let first = mappings.len() + before.sum::<usize>();
            let reads_all = answer.inputs.is_empty();
            computed.push(Computed { from: one.from, function, inputs, reads_all, outputs, first });
        }
        let groups = self.groups(&computed);
        (computed, groups)
    }

    fn input(&mut self, end: End, name: &str, at: &Location) -> Option<BoundField> {
        let Some(column) = self.schemas.get(end).column(name) else {
            self.unknown(end, name, at);
            return None;
        };
        let kind = column.kind;
        Some(BoundField { name: name.to_owned(), position: self.place(end, name), kind })
    }

    fn output(&mut self, end: End, name: &str, at: &Location) -> Option<BoundField> {
        let field = self.input(end, name, at)?;
        let schema = self.schemas.get(end);
        if schema.column(name).is_some_and(|column| !column.writable) {
            let text = format!("column \"{name}\" is computed by its system and cannot be written");
            self.problems.push(Problem::error("mapping.read_only_field", at, text));
        }
        if schema.key.iter().any(|key| key == name) {
            let text = format!("\"{name}\" is part of the {}'s key and cannot be computed", end.name());
            self.problems.push(Problem::error("mapping.key_transformed", at, text));
        }
        Some(field)
    }

    fn unknown(&mut self, end: End, name: &str, at: &Location) {
        let schema = self.schemas.get(end);
        let names: Vec<&str> = schema.columns.iter().map(|column| column.name.as_str()).collect();
        let text = format!("the {} has no column \"{name}\", which this record transform needs", end.name());
        self.problems.push(suggested(Problem::error("mapping.unknown_field", at, text), name, &names));
    }

    /// Transforms that read what others make, directly or by way of further ones.
    fn groups(&self, computed: &[Computed]) -> Vec<Group> {
        let mut of: Vec<usize> = (0..computed.len()).collect();
        for (place, one) in computed.iter().enumerate() {
            for (other_place, other) in computed.iter().enumerate().take(place) {
                if related(one, other) {
                    let group = |place: usize| of.get(place).copied();
                    let (Some(joined), Some(kept)) = (group(place), group(other_place)) else { continue };
                    of.iter_mut().filter(|group| **group == joined).for_each(|group| *group = kept);
                }
            }
        }
        let mut ids = of.clone();
        ids.sort_unstable();
        ids.dedup();
        ids.into_iter()
            .map(|id| {
                let within = |end: End| {
                    let places = of.iter().enumerate().filter(|(_, group)| **group == id).map(|(place, _)| place);
                    places.filter(|place| computed.get(*place).is_some_and(|one| one.from == end)).collect()
                };
                let members = Ends::from_fn(within);
                let rule = self.group_rule(computed, &members);
                Group { members, rule }
            })
            .collect()
    }

    /// The rule of the first of its fields that has one; a resolver settles single fields only.
    fn group_rule(&self, computed: &[Computed], members: &Ends<Vec<usize>>) -> Rule {
        let all = members.source.iter().chain(&members.target).filter_map(|place| computed.get(*place));
        let fields = all.flat_map(|one| one.outputs.iter().chain(one.inputs.iter().filter(|_| !one.reads_all)));
        let said = fields.filter_map(|of| self.pair.conflict.fields.get(&of.name)).next();
        match said.unwrap_or(&self.pair.conflict.default) {
            Rule::Plugin(_) => self.pair.conflict.fallback,
            rule @ (Rule::LastWriteWins(_) | Rule::Prefer(_) | Rule::Manual) => *rule,
        }
    }
}

fn related(one: &Computed, other: &Computed) -> bool {
    let reads = |reader: &Computed, maker: &Computed| {
        reader.from == maker.from.other()
            && reader.inputs.iter().any(|input| maker.outputs.iter().any(|output| output.name == input.name))
    };
    reads(one, other) || reads(other, one)
}
