//! What is agreed once a write is done, said before it is: durable first, so that a crash in between is told from an edit of somebody else.

use super::Item;
use crate::change::{End, Ends};
use crate::connector::Write;
use crate::pipeline::apply::{key_names, key_of};
use crate::pipeline::binding::{Binding, BoundField, BoundMapping};
use crate::pipeline::reconcile;
use crate::record::{Layout, Record};
use crate::state::{Conflict, Intended, Winner, WriteOp};
use crate::value::Value;

impl Item {
    /// A write at `end` with what will be agreed once it is done, as far as the system stores what it is asked to, and with the conflicts
    /// whose loser it overwrites.
    pub(in crate::pipeline) fn intended(&self, binding: &Binding, end: End, write: &Write) -> Intended<Conflict> {
        let mut keys = Ends::from_fn(|end| self.keys.get(end).clone());
        let mut gone = self.stored.as_ref().and_then(|link| link.gone);
        let (op, fields) = Self::form(write);
        let base = match write {
            Write::Create { record, .. } => {
                *keys.get_mut(end) = key_of(binding, end, record);
                gone = None;
                let other = self.image(end.other());
                other.map(|other| Ends::from_fn(|side| if side == end { record.clone() } else { other.clone() }))
            }
            Write::Update { fields, .. } => {
                let mut stored =
                    self.image(end).cloned().unwrap_or_else(|| binding.nothing_agreed(end, keys.get(end).as_ref()));
                fields.iter().for_each(|(name, value)| stored.set(name, value.clone()));
                let key = stored.key(&key_names(binding, end).collect::<Vec<_>>());
                *keys.get_mut(end) = key.or_else(|| keys.get(end).clone());
                if self.deletes(end) {
                    gone = Some(end.other());
                    let mut base = self.base.clone().unwrap_or_else(|| self.nothing_agreed(binding));
                    *base.get_mut(end) = stored;
                    Some(base)
                } else {
                    // What was marked as deleted is so no more.
                    gone = gone.filter(|gone| *gone == end);
                    Some(self.advanced(binding, end, fields, &stored))
                }
            }
            Write::Delete { .. } => None,
        };
        let fields = fields.map(|(layout, set)| (Layout::clone(layout), set));
        Intended { op, keys, base, gone, changed_at: self.changed_at, fields, conflicts: self.to_record(end) }
    }

    /// What a write does, and of an update which fields it sets.
    pub(super) fn form(write: &Write) -> (WriteOp, Option<(&Layout, Vec<bool>)>) {
        match write {
            Write::Create { .. } => (WriteOp::Create, None),
            Write::Update { fields, .. } => {
                (WriteOp::Update, Some((fields.layout(), fields.values().iter().map(Option::is_some).collect())))
            }
            Write::Delete { .. } => (WriteOp::Delete, None),
        }
    }

    fn nothing_agreed(&self, binding: &Binding) -> Ends<Record> {
        Ends::from_fn(|end| binding.nothing_agreed(end, self.keys.get(end).as_ref()))
    }

    /// What is agreed once `fields` have reached `end`, which then has `stored`: they, and what they were made of at the other end, even
    /// if the other end's write has to be decided again. A value of a resolver's own has to reach both ends first.
    pub(super) fn advanced(&self, binding: &Binding, end: End, fields: &Record, stored: &Record) -> Ends<Record> {
        let from = end.other();
        let pending = |place: usize| {
            let own = |winner| matches!(winner, Winner::Base | Winner::Merged);
            self.answers.iter().any(|(of, answer)| *of == place && own(answer.winner))
        };
        let written = |of: &BoundField| fields.get(&of.name).is_some();
        let mapped =
            binding.mappings.iter().enumerate().filter(|(place, one)| written(one.fields.get(end)) && !pending(*place));
        let mapped = mapped.flat_map(|(_, one)| [(end, one.fields.get(end)), (from, one.fields.get(from))]);
        let made = binding.computed.iter().filter(|one| one.from == from && one.outputs.iter().any(written));
        let made = made.flat_map(|one| {
            let outputs = one.outputs.iter().filter(|of| written(of)).map(|of| (end, of));
            outputs.chain(one.inputs.iter().map(|of| (from, of)))
        });
        let value = |side: End, of: &BoundField| -> Option<&Value> {
            let image = if side == end { Some(stored) } else { self.image(side) };
            image.and_then(|image| reconcile::field(image, of))
        };
        let mut base = self.base.clone().unwrap_or_else(|| self.nothing_agreed(binding));
        for (side, of) in mapped.chain(made) {
            if let Some(value) = value(side, of) {
                base.get_mut(side).set(&of.name, value.clone());
            }
        }
        base
    }

    /// What its system made of fields beside those that were `sent` with a value is still to be carried to the other side: the time of the last change, or what
    /// a trigger did in the same transaction. Only once: a side whose fields change with each write must not keep the other busy for ever.
    pub(in crate::pipeline) fn hand_on(&mut self, binding: &Binding, end: End, before: Option<&Record>, sent: &Record) {
        let (Some(stored), Some(base), true) = (self.image(end).cloned(), self.base.as_mut(), self.rounds <= 1) else {
            return;
        };
        // A null that was sent and has become a value is the system's, too; any other value is what it made of ours.
        let own = |of: &&BoundField| {
            let kept = reconcile::field(&stored, of).is_some_and(|kept| !kept.is_null());
            sent.get(&of.name).is_none_or(|sent| sent.is_null() && kept)
        };
        for of in binding.leaving(end).filter(own) {
            let was = before.map_or(Some(&Value::Null), |before| reconcile::field(before, of));
            if let (Some(was), true) = (was, reconcile::field(&stored, of) != was) {
                base.get_mut(end).set(&of.name, was.clone());
                self.fresh = true;
            }
        }
    }

    /// What has reached `end` is agreed.
    pub(in crate::pipeline) fn advance(&mut self, binding: &Binding, end: End, fields: &Record) {
        let written = |of: &BoundField| fields.get(&of.name).is_some();
        self.left_out
            .get_mut(end)
            .retain(|place| !binding.mappings.get(*place).is_some_and(|one| written(one.fields.get(end))));
        // A target that does not know the source's key yet is told in another round, now that the source's record may pass.
        let target = self.image(End::Target);
        let untold = |one: &BoundMapping| {
            let known = |target| reconcile::field(target, &one.fields.target).is_some_and(|value| !value.is_null());
            one.correlation && target.is_some_and(|target| !known(target))
        };
        self.fresh |= end == End::Source && binding.mappings.iter().any(untold);
        if let Some(stored) = self.image(end) {
            self.base = Some(self.advanced(binding, end, fields, stored));
        }
    }
}
