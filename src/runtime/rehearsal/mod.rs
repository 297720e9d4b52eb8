//! A pair that goes its whole way and writes nothing: systems and state are only read, and what would have been written is counted.
//!
//! The same code decides as in production; only what it writes to is another. What was decided about a record is not decided again as the
//! other side is looked at, so memory grows with the records that differ, not with the tables; the creates of a first load are not kept.

use std::collections::{BTreeMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;
use serde_json::Value as Json;

use super::open::OpenPair;
use crate::change::{End, Ends};
use crate::record::Key;
use crate::state::{Conflict, Counts, Finding, ReviewKind, StateStore};

mod state;
mod target;

/// Samples that are kept of each kind.
const SAMPLES_MAX: usize = 20;

/// What would be written to one side.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Writes {
    /// Records created.
    pub creates: u64,
    /// Records changed.
    pub updates: u64,
    /// Records deleted.
    pub deletes: u64,
}

impl Writes {
    /// All of them.
    pub fn all(&self) -> u64 {
        self.creates + self.updates + self.deletes
    }
}

/// One write that would be made. Values are shown: this is for people who may see both systems.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sample {
    /// Where.
    pub side: End,
    /// `create`, `update` or `delete`.
    pub op: &'static str,
    /// The record's key there; of a create its correlation value.
    pub key: Option<String>,
    /// Field → `from` and `to`; empty for a delete.
    pub fields: BTreeMap<String, Diff>,
}

/// A field of a sample.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// What it is.
    pub from: Option<Json>,
    /// What it would be.
    pub to: Option<Json>,
}

/// A conflict that would be settled.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Predicted {
    /// Keys of both sides.
    pub source_key: String,
    /// The target's.
    pub target_key: String,
    /// What meets what.
    pub kind: &'static str,
    /// Target's name of the field; null where the record is deleted on one side.
    pub field: Option<String>,
    /// Whose value would win.
    pub winner: &'static str,
    /// By which rule.
    pub rule: String,
}

/// A record that would be put in review.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Held {
    /// The side whose record it is.
    pub side: End,
    /// Its key there.
    pub key: String,
    /// What holds it up.
    pub kind: ReviewKind,
    /// Stable code.
    pub code: String,
    /// The field at fault, where there is one.
    pub field: Option<String>,
}

/// What a rehearsal came to.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Found {
    /// What would be written to the source.
    pub source: Writes,
    /// What would be written to the target.
    pub target: Writes,
    /// What the batches counted.
    #[serde(skip)]
    pub counts: Counts,
    /// Records that would be put in review, or wait for others, by kind.
    pub reviews: BTreeMap<ReviewKind, u64>,
    /// Some of the writes.
    pub samples: Vec<Sample>,
    /// Some of the conflicts.
    pub conflict_samples: Vec<Predicted>,
    /// Some of the reviews.
    pub review_samples: Vec<Held>,
}

impl Found {
    /// Whether anything would be written or put in review.
    pub fn is_empty(&self) -> bool {
        self.source.all() + self.target.all() + self.reviews.values().sum::<u64>() == 0
    }

    fn writes(&mut self, end: End) -> &mut Writes {
        match end {
            End::Source => &mut self.source,
            End::Target => &mut self.target,
        }
    }
}

/// Where a rehearsal puts down what it finds.
#[derive(Debug, Default)]
pub struct Ledger {
    found: Mutex<Found>,
    /// Records that something was decided about, by hashes of their ends and keys.
    decided: Mutex<HashSet<u64>>,
    hasher: RandomState,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Ledger {
    /// What was found so far.
    pub fn found(&self) -> Found {
        locked(&self.found).clone()
    }

    fn wrote(&self, sample: Sample) {
        let mut found = locked(&self.found);
        let writes = found.writes(sample.side);
        match sample.op {
            "create" => writes.creates += 1,
            "update" => writes.updates += 1,
            _ => writes.deletes += 1,
        }
        if found.samples.len() < SAMPLES_MAX {
            found.samples.push(sample);
        }
    }

    fn contested(&self, conflicts: &[Conflict]) {
        let mut found = locked(&self.found);
        let room = SAMPLES_MAX.saturating_sub(found.conflict_samples.len());
        found.conflict_samples.extend(conflicts.iter().take(room).map(|conflict| Predicted {
            source_key: conflict.keys.source.to_string(),
            target_key: conflict.keys.target.to_string(),
            kind: conflict.kind.name(),
            field: conflict.field.clone(),
            winner: conflict.winner.name(),
            rule: conflict.rule.clone(),
        }));
    }

    fn counted(&self, counts: &Counts) {
        locked(&self.found).counts.add(counts);
    }

    fn held(&self, finding: &Finding) {
        let mut found = locked(&self.found);
        *found.reviews.entry(finding.kind).or_default() += 1;
        if found.review_samples.len() < SAMPLES_MAX {
            found.review_samples.push(Held {
                side: finding.end,
                key: finding.key.to_string(),
                kind: finding.kind,
                code: finding.code.clone(),
                field: finding.field.clone(),
            });
        }
    }

    fn decide(&self, end: End, key: &[u8]) {
        locked(&self.decided).insert(self.hasher.hash_one((end, key)));
    }

    /// Whether something was decided about that record.
    pub fn is_decided(&self, end: End, key: &Key) -> bool {
        let decided = locked(&self.decided);
        !decided.is_empty() && decided.contains(&self.hasher.hash_one((end, key.encode().as_slice())))
    }
}

/// The same pair, writing nothing any more. `tracked`: the sides whose changes are followed by now.
pub fn rehearse(mut pair: OpenPair, tracked: Ends<bool>) -> (OpenPair, Arc<Ledger>) {
    let ledger = Arc::new(Ledger::default());
    let inner: Arc<dyn StateStore> = Arc::clone(&pair.pipeline.state);
    pair.pipeline.state = Arc::new(state::Rehearsed::new(inner, Arc::clone(&ledger)));
    let target =
        |end: End, pair: &OpenPair| target::Rehearsed::new((end, *tracked.get(end)), pair, Arc::clone(&ledger));
    let targets = Ends::from_fn(|end| target(end, &pair));
    pair.pipeline.targets = Ends { source: Arc::new(targets.source), target: Arc::new(targets.target) };
    (pair, ledger)
}
