//! What the pipeline asks of the state store (layer 3): links with a base per side, positions, reviews, conflicts.
//!
//! Everything of one batch is one [`Commit`], one transaction (I2).

use std::collections::BTreeMap;

use async_trait::async_trait;

use crate::change::Position;
use crate::error::{Result, SyncError};
use crate::record::{Key, KeyRange, Record};

pub mod history;
pub mod intent;
pub mod review;
pub mod sqlite;

#[cfg(test)]
pub(crate) mod memory;

pub use crate::change::{End, Ends};
pub use history::{History, Past, RecordedConflict, WriteOp, Writing, Written, WrittenBatch};
pub use intent::{Begun, Intended, Intention};
pub use review::{Decision, Finding, Outcome, Parent, Review, ReviewFilter, ReviewKind, Ruling, Verdict};

/// Two keys that are the same thing, and what both sides last agreed on.
#[derive(Debug, Clone, PartialEq)]
pub struct Link {
    /// Each side's own primary key.
    pub keys: Ends<Key>,
    /// The last agreed image of each side (mapped fields); `None` for a tombstone (I7).
    pub base: Option<Ends<Record>>,
    /// The end whose record was deleted, while the other's was only marked as deleted.
    pub gone: Option<End>,
}

/// A field on which both sides disagreed, and how that was settled.
#[derive(Debug, Clone, PartialEq)]
pub struct Conflict {
    /// Keys of both sides.
    pub keys: Ends<Key>,
    /// What met what.
    pub kind: ConflictKind,
    /// Target's name of the field; `None` for update against delete.
    pub field: Option<String>,
    /// Value agreed before, in the target's terms.
    pub base: Option<crate::value::Value>,
    /// Both sides' values, in the target's terms.
    pub values: Ends<Option<crate::value::Value>>,
    /// Whose value it is now.
    pub winner: Winner,
    /// The rule that settled it (`last_write_wins`, …).
    pub rule: String,
    /// The resolver that was asked, where the rule is `plugin`.
    pub resolver: Option<Resolver>,
    /// When it was settled: microseconds since 1970-01-01 UTC.
    pub at: i64,
}

/// What met what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConflictKind {
    /// Both sides changed a field.
    UpdateUpdate,
    /// One side changed what the other deleted.
    UpdateDelete,
    /// Both sides had the record before anything was agreed.
    InsertInsert,
}

impl ConflictKind {
    /// `update_update`, `update_delete` or `insert_insert`.
    pub fn name(self) -> &'static str {
        match self {
            Self::UpdateUpdate => "update_update",
            Self::UpdateDelete => "update_delete",
            Self::InsertInsert => "insert_insert",
        }
    }
}

/// A plugin's function that settled a conflict.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolver {
    /// Its name.
    pub name: String,
    /// Digest of its plugin.
    pub digest: Option<String>,
    /// What it said why; may be empty.
    pub reason: String,
}

/// Whose value a contested field has in the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Winner {
    /// The source's.
    Source,
    /// The target's.
    Target,
    /// What was agreed before.
    Base,
    /// A new one, made of both.
    Merged,
}

impl Winner {
    /// `source`, `target`, `base` or `merged`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Source => End::Source.name(),
            Self::Target => End::Target.name(),
            Self::Base => "base",
            Self::Merged => "merged",
        }
    }
}

impl From<End> for Winner {
    fn from(end: End) -> Self {
        match end {
            End::Source => Self::Source,
            End::Target => Self::Target,
        }
    }
}

/// Everything that one batch changes.
#[derive(Debug, Clone, Default)]
pub struct Commit {
    /// Links to insert or replace (found by either key).
    pub links: Vec<Link>,
    /// Intentions that are closed with it: what became of them is in here.
    pub intentions: Vec<i64>,
    /// Conflicts on record ([`StateStore::intend`]) whose loser has been overwritten.
    pub settled: Vec<i64>,
    /// Conflicts on record whose write did not happen: they are taken out again.
    pub void: Vec<i64>,
    /// New or renewed reviews: one per link, so that it takes the place of one about the counterpart.
    pub reviews: Vec<Finding>,
    /// Reviews that no longer hold.
    pub cleared: Vec<(End, Key)>,
    /// What became of decisions, by their numbers, and why.
    pub decided: Vec<(i64, Verdict, String)>,
    /// What was written.
    pub history: History,
    /// New positions.
    pub positions: Ends<Option<Position>>,
    /// Set when a load is through: the digest of the mapping that it went by.
    pub loaded: Option<String>,
    /// Counters to add, for `status`.
    pub counts: Counts,
    /// The end whose changes it processed; `None`: nothing but state.
    pub end: Option<End>,
    /// Digests of the plugins whose functions the pair uses, by their names: what shaped the batch's writes (I9).
    pub plugins: BTreeMap<String, String>,
}

/// What a pair did: the columns of `run --once --json` and `status`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counts {
    /// Records read.
    pub read: u64,
    /// Records written to the source.
    pub written_source: u64,
    /// Records written to the target.
    pub written_target: u64,
    /// Records that needed no write.
    pub skipped: u64,
    /// Fields (or deletes) in conflict that were settled.
    pub conflicts: u64,
    /// Records that were put in review: refused by a transform, a rule or a system, or left to a person.
    pub rejected: u64,
    /// Values that broke a rule which only warns.
    pub warnings: u64,
    /// Records that the rollout held back.
    pub held: u64,
}

impl Counts {
    /// Adds `other` to this.
    pub fn add(&mut self, other: &Self) {
        self.read += other.read;
        self.written_source += other.written_source;
        self.written_target += other.written_target;
        self.skipped += other.skipped;
        self.conflicts += other.conflicts;
        self.rejected += other.rejected;
        self.warnings += other.warnings;
        self.held += other.held;
    }
}

/// Where a pair stands.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Progress {
    /// Whether the initial load is through.
    pub loaded: bool,
    /// Whether a person has paused it.
    pub paused: bool,
    /// Whether both sides are to be compared in full: a person asked for it.
    pub resync: bool,
    /// Digest of the mapping that the last whole load went by.
    pub mapping: Option<String>,
    /// Incarnation of each side's stream, as it was when the positions were made.
    pub incarnations: Ends<Option<String>>,
    /// Durable positions.
    pub positions: Ends<Option<Position>>,
    /// How far a load has come that was stopped.
    pub load: Option<LoadProgress>,
    /// Whether decisions of people wait to be carried out.
    pub decisions: bool,
    /// Whether records wait for others.
    pub waiting: bool,
    /// Whether some of these others are linked by now.
    pub arrived: bool,
}

/// How far a load has come: what lies before is carried over and committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoadProgress {
    /// Digest of the mapping that it goes by.
    pub mapping: String,
    /// Whether there were links when it began, whose records may have gone since.
    pub had_links: bool,
    /// The side that is scanned; `None` where both are through.
    pub side: Option<End>,
    /// What is left of that side; empty where it was not begun.
    pub ranges: Vec<KeyRange>,
}

/// What `status` shows of a pair.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct PairSummary {
    /// Name of the pair.
    pub pair: String,
    /// Whether the initial load is through.
    pub loaded: bool,
    /// Whether a person has paused it.
    pub paused: bool,
    /// Live links.
    pub links: u64,
    /// Open reviews, those aside that wait for another record.
    pub reviews: u64,
    /// Records that wait for another record.
    pub waiting: u64,
    /// Open reviews of each kind that there are any of.
    pub reviews_by_kind: BTreeMap<ReviewKind, u64>,
    /// Totals since the pair was first run.
    #[serde(flatten)]
    pub counts: Counts,
    /// When the last batch was committed: microseconds since 1970-01-01 UTC.
    pub last_commit: Option<i64>,
}

/// A comparison of some records that a person has asked for, as the state store keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AskedResync {
    /// Its number.
    pub id: i64,
    /// What is asked: the runtime's own JSON.
    pub request: String,
}

/// Comparisons of some records that people have asked for: kept until a worker has carried them out. What came of them is forgotten a day
/// later. A store that only looks keeps none.
#[async_trait]
pub trait Resyncs: Send + Sync {
    /// Keeps a request; returns its number.
    async fn ask_resync(&self, _pair: &str, _request: &str) -> Result<i64> {
        Err(SyncError::internal("this state store keeps no requests"))
    }

    /// The first request of a pair that waits.
    async fn asked_resync(&self, _pair: &str) -> Result<Option<AskedResync>> {
        Ok(None)
    }

    /// Says what came of it, as JSON.
    async fn answer_resync(&self, _id: i64, _outcome: &str) -> Result<()> {
        Ok(())
    }

    /// What came of it; `None` while it waits.
    async fn resync_outcome(&self, _id: i64) -> Result<Option<String>> {
        Ok(None)
    }
}

/// The durable state of the service. Pairs are addressed by name.
#[async_trait]
pub trait StateStore: Resyncs {
    /// Name of this store, made once at random: part of every consumer's name.
    fn id(&self) -> &str;

    /// Where the pair stands; a pair that is not known yet stands at the default.
    async fn progress(&self, pair: &str) -> Result<Progress>;

    /// Begins a load from the first record: sets incarnations and start positions, and answers a request for one; keeps links and the
    /// mapping of the last load.
    async fn begin_load(&self, pair: &str, progress: &Progress) -> Result<()>;

    /// Keeps how far the load that was begun has come. A store that keeps nothing has it begin at the first record.
    async fn keep_load(&self, _pair: &str, _progress: &LoadProgress) -> Result<()> {
        Ok(())
    }

    /// Pauses a pair, or lets it go on.
    async fn set_paused(&self, pair: &str, paused: bool) -> Result<()>;

    /// What the pair's tables looked like when it was last in use, as its worker wrote it down; letting a pair go on
    /// ([`StateStore::set_paused`]) forgets it. A store that keeps none sees no change between two runs.
    async fn shape(&self, _pair: &str) -> Result<Option<String>> {
        Ok(None)
    }

    /// Keeps what the pair's tables look like.
    async fn keep_shape(&self, _pair: &str, _shape: &str) -> Result<()> {
        Ok(())
    }

    /// Asks for a full comparison of both sides, which the pair's worker begins with [`StateStore::begin_load`].
    async fn request_resync(&self, pair: &str) -> Result<()>;

    /// Links by the keys of one end: same order and length as `keys`. Tombstones are returned too.
    async fn links(&self, pair: &str, end: End, keys: &[Key]) -> Result<Vec<Option<Link>>>;

    /// Live links whose key of `end` is after `after` in key-byte order, at most `max`.
    async fn links_after(&self, pair: &str, end: End, after: Option<&Key>, max: usize) -> Result<Vec<Link>>;

    /// Puts writes on record, durably, before the first of them is done, and with them the conflicts whose losers they overwrite (I6). A
    /// conflict that a crash left open and that is the same in every value is not doubled.
    async fn intend(&self, pair: &str, intention: Intention<Conflict>) -> Result<Begun>;

    /// Intentions that no commit has closed, in the order of their numbers.
    async fn intentions(&self, pair: &str) -> Result<Vec<intent::Open>>;

    /// Commits a batch (I2). Conflicts of its links that a crash left open count as settled with it: their writes were replayed, or found
    /// done.
    async fn commit(&self, pair: &str, commit: &Commit) -> Result<()>;

    /// Open reviews, oldest first, at most `max`.
    async fn reviews(&self, filter: &ReviewFilter, max: usize) -> Result<Vec<Review>>;

    /// The open review of that number.
    async fn review(&self, id: i64) -> Result<Option<Review>>;

    /// How many open reviews of a filter there are of each kind.
    async fn review_counts(&self, filter: &ReviewFilter) -> Result<BTreeMap<ReviewKind, u64>>;

    /// Keeps decisions until they are carried out; returns their numbers, in order: `None` where there is no such review any more. One
    /// takes the place of an earlier one about the same review that still waits.
    async fn decide(&self, decisions: &[Decision]) -> Result<Vec<Option<i64>>>;

    /// Decisions of a pair that wait, with their reviews, in the order of the records' keys, at most `max`.
    async fn decisions(&self, pair: &str, max: usize) -> Result<Vec<(Decision, Review)>>;

    /// What became of decisions, by their numbers, in order: `None` where they wait.
    async fn verdicts(&self, decisions: &[i64]) -> Result<Vec<Option<Outcome>>>;

    /// Records of the pair that wait for a parent which is linked by now, the first to wait first, at most `max`.
    async fn arrived(&self, pair: &str, max: usize) -> Result<Vec<(End, Key)>>;

    /// Records of the pair that wait in a circle, each for the next, of 16 at most: none of them can come first. At most `max`.
    async fn circles(&self, pair: &str, max: usize) -> Result<Vec<(End, Key)>>;

    /// Every decision about a review, open or not, first to last, and what became of it.
    async fn decided(&self, review: i64) -> Result<Vec<(Decision, Option<Outcome>)>>;

    /// Whether each key of `end` has an open review, of its own or of its counterpart.
    async fn in_review(&self, pair: &str, end: End, keys: &[Key]) -> Result<Vec<bool>>;

    /// What `status` shows.
    async fn summaries(&self) -> Result<Vec<PairSummary>>;
}
