//! Stage 5, the heart (pure): (base, source now, target now, policy) → writes and conflicts. Symmetric: it does not matter which side
//! woke it, and when both images equal the base there is nothing to do (echo, I5).

use std::time::Duration;

use super::binding::{Binding, BoundField, BoundMapping};
use super::conflict::{self, Times};
use super::transform::{Cell, Mapped, Rejection};
use crate::change::{End, Ends};
use crate::config::{Deletes, Nulls, Rule};
use crate::record::Record;
use crate::state::Winner;
use crate::value::Value;

mod group;

pub use group::group_agrees;

/// What is known of one link when it is decided.
#[derive(Debug, Clone, Copy)]
pub struct Images<'a> {
    /// The current image of each side; `None` where there is no record.
    pub now: Ends<Option<&'a Record>>,
    /// The last agreed image of each side; `None` where nothing was agreed.
    pub base: Option<&'a Ends<Record>>,
    /// Each side's current image in the other side's terms, as far as [`needs`] asked for it.
    pub mapped: Ends<Option<&'a Mapped>>,
    /// When each side changed.
    pub times: Times,
    /// What resolvers and people said about fields.
    pub answers: &'a [(usize, Answer)],
    /// The end whose record was deleted, while the other's was only marked.
    pub gone: Option<End>,
    /// When the record that woke the link was deleted, if it was: microseconds since 1970-01-01 UTC.
    pub at: i64,
    /// The end whose record counts where both disagree, and where the other's was refused: a person says so.
    pub ruled: Option<End>,
}

/// How a resolver or a person settles one field.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Whose value it is.
    pub winner: Winner,
    /// What each end is to have; `None`: it keeps what it has.
    pub cells: Ends<Option<Cell>>,
    /// A person says so: it counts whether the field is contested or not.
    pub person: bool,
}

/// What was contested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subject {
    /// The record: update against delete.
    Record,
    /// The field of this mapping.
    Field(usize),
    /// What this group of record transforms makes.
    Group(usize),
}

/// What to do at one end.
#[derive(Debug, Clone, PartialEq)]
pub enum Intent {
    /// Insert a record with these fields.
    Create(Record),
    /// Set these fields.
    Update(Record),
    /// Delete the record.
    Delete,
}

/// A disagreement that the policy settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Contest {
    /// What it is about.
    pub subject: Subject,
    /// Who won.
    pub winner: Winner,
    /// The rule that said so.
    pub rule: Rule,
}

/// The outcome for one link.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Decision {
    /// What to do at each end.
    pub writes: Ends<Option<Intent>>,
    /// What was contested and costs a side its edit.
    pub contests: Vec<Contest>,
    /// The end whose record is deleted, or marked as deleted.
    pub deletes: Option<End>,
    /// The later change was asked for.
    pub by_time: bool,
    /// Fields that hang on a resolver, which has not settled them: nothing is written. Place of the mapping, and of the resolver.
    pub open: Vec<(usize, usize)>,
    /// What waits for a person: nothing is written.
    pub manual: Vec<Subject>,
    /// The record of this end was refused: nothing is written, it waits in review (I8).
    pub rejection: Option<(End, Box<Rejection>)>,
}

impl Decision {
    /// Whether the outcome hangs on when the sides changed.
    pub fn depends_on_times(&self) -> bool {
        !self.open.is_empty() || self.by_time
    }

    /// Who wins and by which rule; it is a contest only if that writes something. `None`: it waits for a person.
    fn settle(&mut self, subject: Subject, rule: Rule, policy: &Policy) -> Option<(End, Rule)> {
        if let Some(end) = policy.ruled {
            return Some((end, Rule::Manual));
        }
        self.by_time |= matches!(rule, Rule::LastWriteWins(_) | Rule::Plugin(_));
        let winner = conflict::winner(rule, &policy.times, policy.skew);
        if winner.is_none() {
            self.manual.push(subject);
        }
        winner.map(|end| (end, rule))
    }

    /// Whether it waits for a resolver or a person.
    fn is_settled(&self) -> bool {
        self.open.is_empty() && self.manual.is_empty()
    }
}

/// What contests of one link go by.
#[derive(Debug, Clone, Copy)]
struct Policy {
    times: Times,
    skew: Duration,
    ruled: Option<End>,
}

impl Policy {
    fn of(binding: &Binding, images: &Images<'_>) -> Self {
        Self { times: images.times, skew: binding.skew_window, ruled: images.ruled }
    }
}

/// Which sides' images must be put in the other's terms before [`reconcile`].
pub fn needs(binding: &Binding, now: Ends<Option<&Record>>, base: Option<&Ends<Record>>) -> Ends<bool> {
    let (Some(base), Some(source), Some(target)) = (base, now.source, now.target) else {
        return Ends { source: now.source.is_some(), target: now.target.is_some() };
    };
    let mut needs = Ends { source: binding.renewed, target: binding.renewed };
    for mapping in &binding.mappings {
        let first = agreed(base, mapping).is_none();
        let source_changed = first || changed(source, &base.source, &mapping.fields.source);
        let target_changed = first || changed(target, &base.target, &mapping.fields.target);
        // A target that does not know the source's key yet is told, whatever has come in between.
        let untold = || field(target, &mapping.fields.target).is_none_or(Value::is_null);
        needs.source |= source_changed || (mapping.correlation && (target_changed || untold()));
        needs.target |= target_changed;
    }
    for computed in &binding.computed {
        let (now, base) = if computed.from == End::Source { (source, &base.source) } else { (target, &base.target) };
        *needs.get_mut(computed.from) |= computed.inputs.iter().any(|of| changed(now, base, of));
    }
    needs
}

/// Decides one link.
pub fn reconcile(binding: &Binding, images: &Images<'_>) -> Decision {
    match (images.now.source, images.now.target, images.base) {
        (None, None, _) => Decision::default(),
        (Some(_), None, None) => created(binding, End::Target, images),
        (None, Some(_), None) => created(binding, End::Source, images),
        (Some(survivor), None, Some(base)) => deleted(binding, End::Target, survivor, &base.source, images),
        (None, Some(survivor), Some(base)) => deleted(binding, End::Source, survivor, &base.target, images),
        (Some(source), Some(target), _) => merged(binding, source, target, images),
    }
}

/// The value of a field; absent where the record does not carry it.
pub fn field<'a>(record: &'a Record, field: &BoundField) -> Option<&'a Value> {
    match record.layout().get(field.position) {
        Some(name) if **name == *field.name => record.values().get(field.position).and_then(Option::as_ref),
        // A base of an earlier configuration has its fields in other places.
        _ => record.get(&field.name),
    }
}

/// Whether a record carries another value than the base.
pub fn changed(now: &Record, base: &Record, of: &BoundField) -> bool {
    field(now, of).is_some_and(|value| field(base, of) != Some(value))
}

/// What was agreed about a mapping's fields; `None` where a base lacks one of them, as that of an earlier configuration does.
fn agreed<'a>(base: &'a Ends<Record>, mapping: &BoundMapping) -> Option<Ends<&'a Value>> {
    let source = field(&base.source, &mapping.fields.source)?;
    let target = field(&base.target, &mapping.fields.target)?;
    Some(Ends { source, target })
}

/// The record exists on the other side only, and nothing was agreed about it.
fn created(binding: &Binding, at: End, images: &Images<'_>) -> Decision {
    // What is marked as deleted is not born again.
    let marked = |record: &Record| binding.is_marked(at.other(), record);
    if !binding.flows.get(at.other()) || images.now.get(at.other()).is_some_and(marked) {
        return Decision::default();
    }
    let mut decision = Decision::default();
    let mut fields = Vec::new();
    for (mapping, cell) in binding.mappings.iter().zip(images.mapped.get(at.other()).iter().copied().flatten()) {
        match cell {
            Err(rejection) => decision.rejection = decision.rejection.or_else(|| Some((at.other(), rejection.clone()))),
            // A key that is null, or may not be given, is left to the system that generates it.
            Ok(Some(value)) if mapping.correlation && (value.is_null() || (mapping.generated && at == End::Source)) => {
            }
            Ok(Some(value)) => fields.push((mapping.fields.get(at).position, value)),
            Ok(None) => {}
        }
    }
    group::create(binding, at, images, &mut fields, &mut decision);
    if decision.rejection.is_none() {
        *decision.writes.get_mut(at) = Some(Intent::Create(binding.record(at, fields)));
        let own = edited(binding, at.other(), images.answers);
        *decision.writes.get_mut(at.other()) =
            (!own.is_empty()).then(|| Intent::Update(binding.record(at.other(), own)));
    }
    decision
}

/// Values of a person's own, as `end` is to have them.
fn edited<'a>(binding: &Binding, end: End, answers: &'a [(usize, Answer)]) -> Vec<(usize, &'a Value)> {
    let value = |(place, answer): &'a (usize, Answer)| {
        let of = binding.mappings.get(*place)?.fields.get(end);
        Some((of.position, answer.cells.get(end).as_ref()?.as_ref().ok()?.as_ref()?))
    };
    answers.iter().filter(|(_, answer)| answer.person).filter_map(value).collect()
}

/// The record of `gone` was deleted; the other side's survives.
fn deleted(binding: &Binding, gone: End, survivor: &Record, base: &Record, images: &Images<'_>) -> Decision {
    let survives = gone.other();
    if !binding.flows.get(gone) {
        return created(binding, gone, images);
    }
    let mark = binding.marks.get(survives).as_ref();
    let unmarked = images.gone == Some(gone) && mark.is_some() && !binding.is_marked(survives, survivor);
    if unmarked {
        // Somebody has taken the mark away.
        return created(binding, gone, images);
    }
    let kept = binding.deletes == Deletes::SoftDelete && (mark.is_none() || binding.is_marked(survives, survivor));
    let wanted = images.ruled == Some(survives);
    if !wanted && (kept || images.gone == Some(gone) || binding.deletes == Deletes::Ignore) {
        return Decision::default();
    }
    // A field that was never agreed about says nothing of an edit.
    let edited = |of: &BoundField| field(base, of).is_some() && changed(survivor, base, of);
    let touched =
        |mapping: &BoundMapping| mapping.functions.get(survives).is_some() && edited(mapping.fields.get(survives));
    let mut decision = Decision::default();
    let computed_touched = || group::of(binding, survives).any(|one| one.inputs.iter().any(edited));
    if *binding.flows.get(survives) && (binding.mappings.iter().any(touched) || computed_touched()) {
        let rule = binding.default_rule;
        let policy = Policy::of(binding, images);
        let Some((winner, rule)) = decision.settle(Subject::Record, rule, &policy) else { return decision };
        decision.contests.push(Contest { subject: Subject::Record, winner: winner.into(), rule });
        if winner == survives {
            let Decision { contests, by_time, .. } = decision;
            return Decision { contests, by_time, ..created(binding, gone, images) };
        }
    }
    if wanted {
        return created(binding, gone, images);
    }
    let marked = mark.and_then(|mark| Some((mark.0.position, mark.set(images.at)?)));
    let marked = marked.map(|(place, value)| Intent::Update(binding.record(survives, [(place, &value)])));
    *decision.writes.get_mut(survives) = Some(marked.unwrap_or(Intent::Delete));
    decision.deletes = Some(survives);
    decision
}

/// What each end is to have; `None`: nothing is written there.
type Flow<'a> = Ends<Option<&'a Cell>>;

fn merged(binding: &Binding, source: &Record, target: &Record, images: &Images<'_>) -> Decision {
    let mut decision = Decision::default();
    let mut updates: Ends<Vec<(usize, &Value)>> = Ends::default();
    for (index, mapping) in binding.mappings.iter().enumerate() {
        let one = Field::of(binding, index, mapping, source, target, images);
        let flow = one.decide(&mut decision);
        for end in [End::Target, End::Source] {
            add(&mut decision, &mut updates, end, (*flow.get(end), mapping.fields.get(end)));
        }
    }
    group::decide(binding, source, target, images, &mut decision, &mut updates);
    // The deleted record is there again.
    let risen = images.gone.map(End::other).and_then(|end| Some((end, binding.marks.get(end).as_ref()?)));
    let unmarked = risen.as_ref().map(|(_, mark)| mark.unset());
    let marked = |end: End| binding.is_marked(end, if end == End::Source { source } else { target });
    if let (Some((end, mark)), Some(value)) = (risen, unmarked.as_ref())
        && marked(end)
    {
        updates.get_mut(end).push((mark.0.position, value));
    }
    if decision.rejection.is_none() && decision.is_settled() {
        decision.writes = Ends::from_fn(|end| {
            let fields = std::mem::take(updates.get_mut(end));
            (!fields.is_empty()).then(|| Intent::Update(binding.record(end, fields)))
        });
    }
    decision
}

/// Adds what flows into one field of `end`.
fn add<'a>(
    decision: &mut Decision,
    updates: &mut Ends<Vec<(usize, &'a Value)>>,
    end: End,
    (cell, of): (Option<&'a Cell>, &BoundField),
) {
    match cell {
        None | Some(Ok(None)) => {}
        Some(Ok(Some(value))) => updates.get_mut(end).push((of.position, value)),
        Some(Err(rejection)) => {
            decision.rejection = decision.rejection.take().or_else(|| Some((end.other(), rejection.clone())));
        }
    }
}

/// One field of two records that both exist.
struct Field<'a> {
    index: usize,
    mapping: &'a BoundMapping,
    rule: Rule,
    nulls: Nulls,
    renewed: bool,
    now: Ends<Option<&'a Value>>,
    /// `None`: nothing was agreed about this field.
    base: Option<Ends<&'a Value>>,
    /// Each side's value in the other side's terms.
    proposed: Ends<Option<&'a Cell>>,
    policy: Policy,
    answer: Option<&'a Answer>,
}

impl<'a> Field<'a> {
    fn of(
        binding: &Binding,
        index: usize,
        mapping: &'a BoundMapping,
        source: &'a Record,
        target: &'a Record,
        images: &Images<'a>,
    ) -> Self {
        Self {
            index,
            mapping,
            rule: binding.rules.get(index).copied().unwrap_or(binding.default_rule),
            nulls: binding.nulls,
            renewed: binding.renewed,
            now: Ends { source: field(source, &mapping.fields.source), target: field(target, &mapping.fields.target) },
            base: images.base.and_then(|base| agreed(base, mapping)),
            proposed: Ends::from_fn(|end| images.mapped.get(end).and_then(|cells| cells.get(index))),
            policy: Policy::of(binding, images),
            answer: images.answers.iter().find(|(place, _)| *place == index).map(|(_, answer)| answer),
        }
    }

    fn decide(&self, decision: &mut Decision) -> Flow<'a> {
        if self.mapping.correlation {
            // The source's key is what the target's field refers to: it is never overwritten from there.
            return if self.is_overruled(End::Source) { Flow::default() } else { self.toward(End::Target) };
        }
        let flows = Ends::from_fn(|end| self.mapping.functions.get(end).is_some() && self.changed(end));
        if let Some(answer) = self.answer.filter(|answer| answer.person) {
            let flow = self.answered(answer);
            let contested = flows.source && flows.target && !self.agrees(End::Target) && !self.agrees(End::Source);
            return if contested { self.contest(decision, (answer.winner, Rule::Manual), flow) } else { flow };
        }
        match (flows.source, flows.target) {
            (true, false) if self.is_overruled(End::Source) => self.toward(End::Source),
            (false, true) if self.is_overruled(End::Target) => self.toward(End::Target),
            (false, false) if self.renewed && self.mapping.functions.source.is_some() => self.toward(End::Target),
            (false, false) if self.renewed => self.toward(End::Source),
            (false, false) => Flow::default(),
            (true, false) => self.toward(End::Target),
            (false, true) => self.toward(End::Source),
            (true, true) => self.contested(decision),
        }
    }

    /// What comes from `end` was refused, and a person takes the other side's.
    fn is_overruled(&self, end: End) -> bool {
        self.policy.ruled == Some(end.other()) && matches!(self.proposed.get(end), Some(Err(_)))
    }

    fn changed(&self, end: End) -> bool {
        let now = *self.now.get(end);
        now.is_some() && now != self.base.map(|base| *base.get(end))
    }

    /// Whether the value proposed for `end` is there already.
    fn agrees(&self, end: End) -> bool {
        match self.proposed.get(end.other()) {
            Some(Ok(Some(value))) => *self.now.get(end) == Some(value),
            Some(Ok(None) | Err(_)) | None => false,
        }
    }

    fn toward(&self, end: End) -> Flow<'a> {
        let cell = match self.proposed.get(end.other()) {
            Some(Ok(Some(Value::Null))) if self.nulls == Nulls::Ignore => None,
            Some(cell) if !self.agrees(end) => Some(*cell),
            Some(_) | None => None,
        };
        let mut flow = Flow::default();
        *flow.get_mut(end) = cell;
        flow
    }

    fn contested(&self, decision: &mut Decision) -> Flow<'a> {
        if self.agrees(End::Target) || self.agrees(End::Source) {
            return Flow::default();
        }
        if self.base.is_none() {
            // First contact: a null says nothing, the other side's value fills it.
            match (self.now.source.is_none_or(Value::is_null), self.now.target.is_none_or(Value::is_null)) {
                (true, false) => return self.toward(End::Source),
                (false, true) => return self.toward(End::Target),
                (true, true) | (false, false) => {}
            }
        }
        match (self.rule, self.answer, self.policy.ruled) {
            (Rule::Plugin(resolver), None, None) => {
                decision.open.push((self.index, resolver));
                Flow::default()
            }
            (Rule::Plugin(_), Some(answer), None) => {
                self.contest(decision, (answer.winner, self.rule), self.answered(answer))
            }
            (rule, ..) => match decision.settle(Subject::Field(self.index), rule, &self.policy) {
                Some((winner, rule)) => self.contest(decision, (winner.into(), rule), self.toward(winner.other())),
                None => Flow::default(),
            },
        }
    }

    /// Where the winner's value is not to be written, both sides keep what they have.
    fn contest(&self, decision: &mut Decision, (winner, rule): (Winner, Rule), flow: Flow<'a>) -> Flow<'a> {
        if [flow.source, flow.target].into_iter().flatten().any(|cell| !matches!(cell, Ok(None))) {
            decision.contests.push(Contest { subject: Subject::Field(self.index), winner, rule });
        }
        flow
    }

    /// A side whose value wins is written to the other as ever; another value goes to both, as far as they differ from it.
    fn answered(&self, answer: &'a Answer) -> Flow<'a> {
        match answer.winner {
            Winner::Source => self.toward(End::Target),
            Winner::Target => self.toward(End::Source),
            Winner::Base | Winner::Merged => Ends::from_fn(|end| {
                let has = |cell: &&Cell| matches!(cell, Ok(Some(value)) if *self.now.get(end) == Some(value));
                answer.cells.get(end).as_ref().filter(|cell| !has(cell))
            }),
        }
    }
}

#[cfg(test)]
pub(super) mod tests;
