//! What a decision about a link contests, with the values that it is about: on record before the loser is overwritten (I6).

use super::Item;
use crate::change::{End, Ends};
use crate::config::Rule;
use crate::pipeline::binding::{Binding, BoundField};
use crate::pipeline::conflict;
use crate::pipeline::reconcile::{self, Contest, Subject};
use crate::pipeline::transform::{Cell, Mapped};
use crate::record::Record;
use crate::state::{Conflict, ConflictKind};
use crate::telemetry::clock;
use crate::value::Value;

/// A settled conflict before its keys are both known.
#[derive(Debug)]
pub(super) struct Settled {
    pub(super) field: Option<String>,
    base: Option<Value>,
    values: Ends<Option<Value>>,
    pub(super) contest: Contest,
    /// Its number, once it is on record.
    pub(super) id: Option<i64>,
}

impl Item {
    /// A contest with the values that it was about, as they are before anything is overwritten.
    pub(super) fn settled(&self, binding: &Binding, contest: Contest) -> Settled {
        let mapping = match contest.subject {
            Subject::Field(index) => binding.mappings.get(index).map(|mapping| (index, mapping)),
            Subject::Group(place) => return self.settled_group(binding, place, contest),
            Subject::Record => None,
        };
        let Some((index, mapping)) = mapping else {
            return Settled { field: None, base: None, values: Ends::default(), contest, id: None };
        };
        let of = &mapping.fields.target;
        let target = |record: &Record| reconcile::field(record, of).cloned();
        Settled {
            field: Some(of.name.clone()),
            base: self.base.as_ref().and_then(|base| target(&base.target)),
            values: Ends {
                source: self.mapped.source.as_ref().and_then(|cells| cells.get(index)?.as_ref().ok()?.clone()),
                target: self.image(End::Target).and_then(target),
            },
            contest,
            id: None,
        }
    }

    /// A contest about computed fields: their names on the target's side; what they were is in the base and in both images.
    fn settled_group(&self, binding: &Binding, place: usize, contest: Contest) -> Settled {
        let group = binding.groups.get(place);
        let members = |end: End| group.into_iter().flat_map(move |group| group.members.get(end)).copied();
        let computed = |place: usize| binding.computed.get(place);
        let mut fields: Vec<&BoundField> =
            members(End::Source).filter_map(computed).flat_map(|computed| &computed.outputs).collect();
        if fields.is_empty() {
            fields = members(End::Target).filter_map(computed).flat_map(|computed| &computed.inputs).collect();
        }
        let names: Vec<&str> = fields.iter().map(|of| of.name.as_str()).collect();
        let texts = |record: &Record| {
            let text = |of: &&BoundField| reconcile::field(record, of).and_then(Value::to_text).unwrap_or_default();
            Value::Text(fields.iter().map(text).collect::<Vec<_>>().join(", "))
        };
        let made = |cells: &Mapped| {
            let all = members(End::Source).filter_map(computed);
            let cells = all.flat_map(|one| cells.iter().skip(one.first).take(one.outputs.len()));
            let text = |cell: &Cell| cell.as_ref().ok()?.as_ref()?.to_text();
            Value::Text(cells.map(|cell| text(cell).unwrap_or_default()).collect::<Vec<_>>().join(", "))
        };
        Settled {
            field: Some(names.join(", ")),
            base: self.base.as_ref().map(|base| texts(&base.target)),
            values: Ends { source: self.mapped.source.as_ref().map(made), target: self.image(End::Target).map(texts) },
            contest,
            id: None,
        }
    }

    /// The conflicts whose loser a write at `end` overwrites, that are not on record yet.
    pub(super) fn to_record(&self, end: End) -> Vec<Conflict> {
        let (Some(source), Some(target)) = (&self.keys.source, &self.keys.target) else { return Vec::new() };
        let at = clock::now_micros();
        let conflict = |settled: &Settled| {
            let Settled { field, base, values, contest, .. } = settled;
            let of =
                |place: usize| self.resolvers.iter().find(|(known, _)| *known == place).map(|(_, said)| said.clone());
            Conflict {
                keys: Ends { source: source.clone(), target: target.clone() },
                kind: match (contest.subject, &self.base) {
                    (Subject::Record, _) => ConflictKind::UpdateDelete,
                    (_, None) => ConflictKind::InsertInsert,
                    (_, Some(_)) => ConflictKind::UpdateUpdate,
                },
                field: field.clone(),
                base: base.clone(),
                values: values.clone(),
                winner: contest.winner,
                rule: conflict::rule_name(contest.rule).to_owned(),
                resolver: if let Rule::Plugin(place) = contest.rule { of(place) } else { None },
                at,
            }
        };
        let lost = |settled: &Settled| settled.id.is_none() && settled.contest.winner != end.into();
        self.settled.iter().filter(|settled| lost(settled)).map(conflict).collect()
    }

    /// The conflicts of [`Item::to_record`] are on record.
    pub(in crate::pipeline) fn recorded(&mut self, end: End, ids: &[i64]) {
        let lost = |settled: &&mut Settled| settled.id.is_none() && settled.contest.winner != end.into();
        for (settled, id) in self.settled.iter_mut().filter(lost).zip(ids) {
            settled.id = Some(*id);
            // The same conflict as one before a recheck, which is not void after all.
            self.void.retain(|void| void != id);
        }
    }
}
