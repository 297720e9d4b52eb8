//! Deliberate bugs, planted at the seams: in what the program is told, and in what becomes of what it wants. The real code runs unchanged. Each
//! must be found, else the oracles are blind.

use super::side::{Side, key};
use super::world::World;
use crate::change::End;
use crate::connector::marks::{Kept, fates, kept};
use crate::connector::{Write, WriteOutcome};
use crate::pipeline::binding::Binding;
use crate::record::Record;
use crate::state::intent::Open;
use crate::state::{Commit, LoadProgress};
use crate::value::Value;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Bug {
    /// The position is durable before the batch is applied.
    CheckpointFirst,
    /// The source may forget before the state is committed.
    AcknowledgeFirst,
    /// Half of a commit is durable before the other half.
    PartialCommit,
    /// What was agreed already flows again whenever somebody looks.
    NoEchoSuppression,
    /// The base keeps what was sent, not what the system made of it.
    SentForStored,
    /// Writes carry no assumption.
    NoGuard,
    /// Deletes carry no assumption.
    NoGuardOnDelete,
    /// Reads are served from a copy that lags behind.
    StaleFetch,
    /// A field that a system leaves out is taken for null.
    AbsentAsNull,
    /// A conflict is on record only when the batch is committed.
    ConflictLate,
    /// Conflicts are never on record.
    ConflictDropped,
    /// No record is checked.
    ValidationSkipped,
    /// The link of a deleted record is forgotten before the delete is carried over.
    TombstoneForgotten,
    /// Of two changes at the same time, the one that arrives first wins.
    TieByArrival,
    /// Systems keep nothing of what became of writes.
    NoMark,
    /// What a crash left open is not looked at.
    IntentionIgnored,
    /// What a crash left open is taken for done.
    IntentionTrusted,
    /// What a system has made of a write is not told after a crash.
    StoredUntold,
    /// The plugins change under a batch.
    PluginsMidBatch,
    /// What is in review is not committed.
    ReviewDropped,
    /// A change that became visible late is passed over.
    ChangeSkipped,
    /// A change carries a record that is older than what was seen already.
    OlderImage,
    /// Of the key ranges that are left of a load only the first is kept.
    RangeForgotten,
}

impl Bug {
    pub(super) const ALL: [Self; 23] = [
        Self::CheckpointFirst,
        Self::AcknowledgeFirst,
        Self::PartialCommit,
        Self::NoEchoSuppression,
        Self::SentForStored,
        Self::NoGuard,
        Self::NoGuardOnDelete,
        Self::StaleFetch,
        Self::AbsentAsNull,
        Self::ConflictLate,
        Self::ConflictDropped,
        Self::ValidationSkipped,
        Self::TombstoneForgotten,
        Self::TieByArrival,
        Self::NoMark,
        Self::IntentionIgnored,
        Self::IntentionTrusted,
        Self::StoredUntold,
        Self::PluginsMidBatch,
        Self::ReviewDropped,
        Self::ChangeSkipped,
        Self::OlderImage,
        Self::RangeForgotten,
    ];
}

impl World {
    pub(super) fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// Whether a bug shows this time: so rare that much else goes well.
    pub(super) fn strikes(&mut self, bug: Bug, per_mille: usize) -> bool {
        self.has(bug) && self.rng.chance(per_mille)
    }
}

/// A pair as a faulty program would see it.
pub(super) fn binding(bug: Option<Bug>, mut binding: Binding) -> Binding {
    match bug {
        Some(Bug::ValidationSkipped) => binding.checks.clear(),
        Some(Bug::NoEchoSuppression) => binding.renewed = true,
        _ => {}
    }
    binding
}

/// What a faulty program would write.
pub(super) fn write(bug: Option<Bug>, write: &mut Write) {
    match (bug, write) {
        (Some(Bug::NoGuard), Write::Update { guard, .. })
        | (Some(Bug::NoGuardOnDelete), Write::Delete { guard, .. }) => {
            *guard = None;
        }
        _ => {}
    }
}

/// What a faulty program would take for stored.
pub(super) fn stored(bug: Option<Bug>, stored: &mut Record, sent: &Record) {
    if bug == Some(Bug::SentForStored) {
        for (name, value) in sent.iter() {
            stored.set(name, value.clone());
        }
    }
}

/// What a faulty program would take for read.
pub(super) fn fetched(world: &mut World, record: &mut Record) {
    if world.strikes(Bug::AbsentAsNull, 100) {
        record.set("z", Value::Null);
    }
}

/// What a faulty program would keep of a load.
pub(super) fn load(bug: Option<Bug>, mut progress: LoadProgress) -> LoadProgress {
    if bug == Some(Bug::RangeForgotten) {
        progress.ranges.truncate(1);
    }
    progress
}

/// What a faulty program would find open.
pub(super) fn intentions(bug: Option<Bug>, open: Vec<Open>) -> Vec<Open> {
    if bug == Some(Bug::IntentionIgnored) { Vec::new() } else { open }
}

/// What a faulty program would take for what became of writes.
pub(super) fn marks(bug: Option<Bug>, marks: Vec<Kept>) -> Option<Vec<Kept>> {
    let of_one = || kept(&[Write::Delete { key: key(1), guard: None }], [Some(&applied())]);
    let as_asked = || (0..10).map(|place| (place, of_one())).collect();
    match bug {
        Some(Bug::IntentionTrusted) => Some(as_asked()),
        Some(Bug::StoredUntold) => {
            let done = fates(&marks, 10).unwrap_or_default().into_iter().enumerate();
            Some(done.filter_map(|(place, fate)| fate.map(|_| (place, of_one()))).collect())
        }
        _ => Some(marks),
    }
}

fn applied() -> WriteOutcome {
    WriteOutcome::Applied { key: key(1), stored: None }
}

/// What a faulty program would commit.
pub(super) fn commit(bug: Option<Bug>, commit: &mut Commit) {
    if bug == Some(Bug::ReviewDropped) {
        commit.reviews.clear();
    }
}

/// What a faulty program would take for the times of changes: where both sides changed at once, the side that it looked at first is later.
pub(super) fn times(world: &World, side: &Side, mut times: Vec<Option<i64>>) -> Vec<Option<i64>> {
    if world.has(Bug::TieByArrival) && side.end == End::Target && world.woken[side.pair] == End::Target {
        times.iter_mut().flatten().for_each(|time| *time += 1);
    }
    times
}
