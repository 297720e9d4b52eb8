//! One link on its way through the linked pipeline: what is known of it, and how outcomes change that (row 6, no I/O).

use super::apply::key_of;
use super::binding::{Binding, BoundField};
use super::reconcile::{Answer, Decision, Images, Intent};
use super::transform::{Mapped, Rejection};
use super::{Done, reconcile};
use crate::change::{End, Ends};
use crate::connector::{Write, WriteOutcome};
use crate::record::{Key, Record};
use crate::state::{Link, Resolver, Ruling, Writing};
use crate::telemetry::clock;
use crate::value::Value;

mod contested;
mod intended;
mod review;
mod untie;

use contested::Settled;
pub(super) use review::{MOVED_ON, refusal};

/// What is known of one side's image.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Now {
    /// Nothing new: it is taken to be the base, and the write will carry that assumption.
    Assumed,
    /// As it was read or stored just now; `None` where there is no record.
    Known(Option<Record>),
}

/// Where an item stands after a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// To be decided.
    Open,
    /// Somebody wrote in between: read both sides and decide again.
    Recheck,
    /// Settled or in review.
    Closed,
}

/// One link on its way.
#[derive(Debug)]
pub(super) struct Item {
    /// The end whose change woke it.
    pub origin: End,
    /// When that change was made, where its stream says so.
    pub changed_at: Option<i64>,
    /// Both keys, as far as known.
    pub keys: Ends<Option<Key>>,
    /// What was agreed, advanced by what was written since.
    pub base: Option<Ends<Record>>,
    /// Both images.
    pub now: Ends<Now>,
    /// Both images in the other side's terms, where asked for.
    pub mapped: Ends<Option<Mapped>>,
    /// When each side changed, where that was asked.
    pub times: Ends<Option<i64>>,
    /// Where it stands.
    pub step: Step,
    /// The source has just generated its key, which the target does not know yet.
    pub fresh: bool,
    /// Rounds gone through.
    pub rounds: u32,
    /// When the record that woke it was deleted, where the stream says so.
    pub deleted_at: Option<i64>,
    /// What the state store has.
    stored: Option<Link>,
    answers: Vec<(usize, Answer)>,
    resolvers: Vec<(usize, Resolver)>,
    decision: Decision,
    /// What the decision settles, once it is carried out.
    settled: Vec<Settled>,
    /// What was settled: the loser is overwritten.
    conflicts: Vec<Settled>,
    /// Warnings about each side's image in the other side's terms.
    warnings: Ends<u64>,
    /// Fields of each side, by their mappings, whose values a rule keeps from the other side: nothing is agreed about them.
    left_out: Ends<Vec<usize>>,
    /// Warnings about what was written.
    warned: u64,
    wrote: bool,
    /// What a person wants, and the number of that decision.
    ruling: Option<(i64, Ruling)>,
    /// Whose record counts wherever they differ: somebody asked for that.
    preferred: Option<End>,
    /// Conflicts on record whose write did not happen.
    void: Vec<i64>,
    /// It waits in a circle, and goes first without what it waits for.
    untied: bool,
    /// What it still waits for then.
    waits: Option<(End, Box<Rejection>)>,
}

impl Item {
    /// An item woken by a record of `origin`.
    pub(super) fn new(origin: End, key: Key, link: Option<Link>, image: Option<Record>) -> Self {
        let live = link.as_ref().filter(|link| link.base.is_some());
        let mut keys = Ends::from_fn(|end| live.map(|link| link.keys.get(end).clone()));
        *keys.get_mut(origin) = Some(key);
        let base = live.and_then(|link| link.base.clone());
        let gone = live.and_then(|link| link.gone);
        let assumed = |end| base.is_some() && gone != Some(end);
        let mut now = Ends::from_fn(|end| if assumed(end) { Now::Assumed } else { Now::Known(None) });
        *now.get_mut(origin) = Now::Known(image);
        Self {
            origin,
            changed_at: None,
            keys,
            base,
            now,
            mapped: Ends::default(),
            times: Ends::default(),
            step: Step::Open,
            fresh: false,
            rounds: 0,
            deleted_at: None,
            stored: link,
            answers: Vec::new(),
            resolvers: Vec::new(),
            decision: Decision::default(),
            settled: Vec::new(),
            conflicts: Vec::new(),
            warnings: Ends::default(),
            left_out: Ends::default(),
            warned: 0,
            wrote: false,
            ruling: None,
            preferred: None,
            void: Vec::new(),
            untied: false,
            waits: None,
        }
    }

    /// The image of a side: as read, or as assumed.
    pub(super) fn image(&self, end: End) -> Option<&Record> {
        match self.now.get(end) {
            Now::Known(image) => image.as_ref(),
            Now::Assumed => self.base.as_ref().map(|base| base.get(end)),
        }
    }

    /// Whether the image of a side is assumed to be a base that an earlier configuration made, which lacks some of today's fields.
    pub(super) fn is_outdated(&self, binding: &Binding, end: End) -> bool {
        let wanted = binding.layouts.get(end);
        let Some(base) = self.base.as_ref().map(|base| base.get(end)).filter(|base| base.layout() != wanted) else {
            return false;
        };
        *self.now.get(end) == Now::Assumed && wanted.iter().any(|name| base.get(name).is_none())
    }

    /// Whether both keys are known.
    pub(super) fn linked(&self) -> bool {
        self.keys.source.is_some() && self.keys.target.is_some()
    }

    /// The link of both keys and of what counts as agreed now.
    pub(super) fn link(&self) -> Option<Link> {
        let keys = Ends { source: self.keys.source.clone()?, target: self.keys.target.clone()? };
        Some(Link { keys, base: self.base.clone(), gone: None })
    }

    /// Which images have to be put in the other side's terms.
    pub(super) fn needs(&self, binding: &Binding) -> Ends<bool> {
        let images = Ends::from_fn(|end| self.image(end));
        let mut needs = reconcile::needs(binding, images, self.base.as_ref());
        needs.source |= self.fresh && images.source.is_some();
        if self.ruling.is_some() {
            needs = Ends::from_fn(|end| images.get(end).is_some());
        }
        Ends::from_fn(|end| *needs.get(end) && self.mapped.get(end).is_none())
    }

    /// Takes a side's image in the other side's terms, and how many warnings there are about it.
    pub(super) fn take_mapped(&mut self, binding: &Binding, end: End, (mut cells, warnings): (Mapped, u64)) {
        if self.untied {
            self.leave_out_parents(binding, end, &mut cells);
        }
        let left_out = binding.mappings.iter().zip(&cells).enumerate().filter_map(|(place, (mapping, cell))| {
            (mapping.functions.get(end).is_some() && matches!(cell, Ok(None))).then_some(place)
        });
        *self.left_out.get_mut(end) = left_out.collect();
        *self.mapped.get_mut(end) = Some(cells);
        *self.warnings.get_mut(end) = warnings;
    }

    /// Warnings about a value of a resolver's own, which takes the place of what came from `from`.
    pub(super) fn warn(&mut self, from: End, warnings: u64) {
        *self.warnings.get_mut(from) = warnings;
    }

    /// Decides; whether the outcome hangs on times that are not given.
    pub(super) fn decide(&mut self, binding: &Binding, times: Ends<Option<i64>>) -> bool {
        let images = Images {
            now: Ends::from_fn(|end| self.image(end)),
            base: self.base.as_ref(),
            mapped: Ends::from_fn(|end| self.mapped.get(end).as_ref()),
            times,
            answers: &self.answers,
            gone: self.stored.as_ref().and_then(|link| link.gone),
            at: self.deleted_at.unwrap_or_else(clock::now_micros),
            ruled: self.ruling.as_ref().and_then(|(_, ruling)| ruling.take).or(self.preferred),
        };
        let decision = reconcile::reconcile(binding, &images);
        self.void.extend(self.settled.iter().filter_map(|settled| settled.id));
        self.settled = decision.contests.iter().map(|contest| self.settled(binding, *contest)).collect();
        self.decision = decision;
        self.decision.depends_on_times()
    }

    /// The fields that wait for this resolver.
    pub(super) fn open(&self, resolver: usize) -> Vec<usize> {
        let open = self.decision.open.iter().filter(|(_, of)| *of == resolver);
        open.map(|(place, _)| *place).collect()
    }

    /// What the source alone has changed of fields that are mapped, in the target's terms: place of the mapping, and value.
    pub(super) fn flowing<'a>(&'a self, binding: &'a Binding) -> impl Iterator<Item = (usize, &'a Value)> {
        let changed = |end: End, of: &BoundField| {
            let base = self.base.as_ref().map(|base| base.get(end));
            self.image(end).is_some_and(|now| base.is_none_or(|base| reconcile::changed(now, base, of)))
        };
        let cells = self.mapped.source.iter().flatten();
        binding.mappings.iter().zip(cells).enumerate().filter_map(move |(place, (mapping, cell))| {
            let fields = &mapping.fields;
            let alone = changed(End::Source, &fields.source) && !changed(End::Target, &fields.target);
            alone.then_some((place, cell.as_ref().ok()?.as_ref()?))
        })
    }

    /// What a resolver said.
    pub(super) fn answer(&mut self, resolver: (usize, Resolver), answers: Vec<(usize, Answer)>) {
        self.resolvers.retain(|(place, _)| *place != resolver.0);
        self.resolvers.push(resolver);
        self.answers.extend(answers);
    }

    /// Takes the write of an end out of the decision.
    pub(super) fn take_write(&mut self, end: End) -> Option<Intent> {
        if self.step == Step::Open { self.decision.writes.get_mut(end).take() } else { None }
    }

    /// What the outcome of a write at `end` changes.
    pub(super) fn fold(&mut self, end: End, write: &Write, outcome: WriteOutcome, done: &mut Done) {
        match outcome {
            WriteOutcome::Changed => {
                self.step = Step::Recheck;
                // What is in the way of a create may be what it was to make: it is looked for anew, and not by a key that is gone.
                if let Write::Create { .. } = write {
                    *self.keys.get_mut(end) = None;
                    self.origin = end.other();
                }
            }
            WriteOutcome::Failed(error) => self.fail(end.other(), &error, done),
            WriteOutcome::Applied { key, stored } => {
                done.wrote(end, 1);
                self.wrote = true;
                self.warned = self.warned.max(*self.warnings.get(end.other()));
                let lost = self.settled.extract_if(.., |settled| settled.contest.winner != end.into());
                self.conflicts.extend(lost);
                *self.keys.get_mut(end) = Some(key);
                self.put_down(end, write, done);
                *self.now.get_mut(end) = Now::Known(stored);
                *self.mapped.get_mut(end) = None;
                if let Write::Create { .. } = write {
                    self.agree(end);
                }
            }
        }
    }

    /// Puts a write that was carried out into the batch's history.
    fn put_down(&self, end: End, write: &Write, done: &mut Done) {
        let (op, fields) = Self::form(write);
        done.commit.history.push(Writing {
            op,
            end,
            keys: Ends::from_fn(|end| self.keys.get(end).as_ref()),
            changed_at: self.changed_at,
            fields: fields.as_ref().map(|(layout, set)| (*layout, set.as_slice())),
        });
    }

    /// A record that was created from the other side's is agreed as it is; a key that the source has generated must still reach the
    /// target.
    pub(super) fn agree(&mut self, created: End) {
        if let (Some(source), Some(target)) = (self.image(End::Source).cloned(), self.image(End::Target).cloned()) {
            self.base = Some(Ends { source, target });
            self.fresh = created == End::Source;
        }
    }

    /// Closes a settled item: its link, its conflicts, its counters.
    pub(super) fn close(&mut self, binding: &Binding, done: &mut Done) {
        self.finish(None, done);
        let waits = self.still_waits();
        if !self.wrote {
            done.commit.counts.skipped += 1;
        }
        for end in [End::Source, End::Target] {
            if let Some(key) = self.keys.get(end).clone() {
                done.commit.cleared.push((end, key));
            }
        }
        // What is cleared is what was filed before.
        waits.into_iter().for_each(|finding| done.file(finding));
        if self.is_stored() {
            return;
        }
        let (Some(source), Some(target)) = (self.keys.source.take(), self.keys.target.take()) else { return };
        let base = match (self.take_image(End::Source), self.take_image(End::Target)) {
            (Some(source), Some(target)) => Some(self.agreed(binding, Ends { source, target })),
            (None, None) => None,
            (source_image, target_image) => {
                // An ignored delete: the link stays as it was. One that left a mark is remembered with what is left.
                let gone = if source_image.is_none() { End::Source } else { End::Target };
                let left = source_image.or(target_image);
                if let Some(link) = self.marked(binding, Ends { source, target }, gone, left) {
                    done.commit.links.push(link);
                }
                return;
            }
        };
        done.commit.links.push(Link { keys: Ends { source, target }, base, gone: None });
    }

    /// The link of a record whose counterpart of `gone` was deleted, where it is marked; `None` where that is stored already.
    fn marked(&self, binding: &Binding, keys: Ends<Key>, gone: End, left: Option<Record>) -> Option<Link> {
        let mut base = self.base.clone()?;
        let left = left.filter(|left| binding.is_marked(gone.other(), left))?;
        *base.get_mut(gone.other()) = left;
        let link = Link { keys, base: Some(base), gone: Some(gone) };
        (self.stored.as_ref() != Some(&link)).then_some(link)
    }

    /// The new base. A value that a rule keeps from the other side is an edit still: what comes from there must not replace it
    /// unseen (I6).
    fn agreed(&self, binding: &Binding, mut images: Ends<Record>) -> Ends<Record> {
        let before = self.stored.as_ref().and_then(|link| link.base.as_ref());
        for end in [End::Source, End::Target] {
            let left_out = self.left_out.get(end).iter().filter_map(|place| binding.mappings.get(*place));
            for of in left_out.map(|mapping| mapping.fields.get(end)) {
                let agreed = before.and_then(|base| reconcile::field(base.get(end), of)).cloned();
                let image = images.get_mut(end);
                if reconcile::field(image, of).is_some() {
                    image.set(&of.name, agreed.unwrap_or(Value::Null));
                }
            }
        }
        images
    }

    /// Whether the state store has the link as it is now.
    fn is_stored(&self) -> bool {
        let Some(Link { keys, base, gone: None }) = &self.stored else { return false };
        let base = base.as_ref();
        [End::Source, End::Target].into_iter().all(|end| {
            self.keys.get(end).as_ref() == Some(keys.get(end)) && self.image(end) == base.map(|base| base.get(end))
        })
    }

    /// The image of a closed item's side.
    fn take_image(&mut self, end: End) -> Option<Record> {
        match std::mem::replace(self.now.get_mut(end), Now::Assumed) {
            Now::Known(image) => image,
            Now::Assumed => self.base.as_ref().map(|base| base.get(end).clone()),
        }
    }

    /// Takes images that were read again.
    pub(super) fn reread(&mut self, binding: &Binding, end: End, image: Option<Record>) {
        if let Some(key) = image.as_ref().and_then(|image| key_of(binding, end, image)) {
            *self.keys.get_mut(end) = Some(key);
        }
        *self.now.get_mut(end) = Now::Known(image);
        *self.mapped.get_mut(end) = None;
        // They were about other values.
        self.answers.clear();
        self.left_out.get_mut(end).clear();
    }
}
