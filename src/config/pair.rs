//! A pair and its parts (layer 2): the typed configuration of one sync.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::planned::Planned;
use super::{Location, Secret, ValidationRule};
use crate::change::{End, Ends};

/// Records in one batch of bulk writes: large enough for them, small enough that memory stays flat.
pub const BULK_BATCH: usize = 5_000;

/// Two collections that are kept in step.
#[derive(Debug, Clone)]
pub struct PairConfig {
    /// Unique in the service.
    pub name: Arc<str>,
    /// Where the sync stands in its file.
    pub at: Location,
    /// The source.
    pub source: Endpoint,
    /// The target.
    pub target: Endpoint,
    /// Changes of the source reach the target.
    pub source_to_target: bool,
    /// Changes of the target reach the source.
    pub target_to_source: bool,
    /// Correlation; `None` = the source's primary key and the fields it maps to.
    pub key: Option<KeyMapping>,
    /// Fields (source's names) by which records are matched that have neither link nor correlation.
    pub match_on: Vec<String>,
    /// The fields.
    pub mappings: Mappings,
    /// Functions that make fields of one side from several of the other.
    pub record_transforms: Vec<RecordTransform>,
    /// What a record must look like before it is written.
    pub validation_rules: Vec<ValidationRule>,
    /// How conflicts are settled.
    pub conflict: ConflictPolicy,
    /// How changes are found.
    pub capture: CaptureMethod,
    /// Polling interval, and the longest time until a look without a notification.
    pub polling_interval: Duration,
    /// What becomes of deletes.
    pub deletes: Deletes,
    /// The field that [`Deletes::SoftDelete`] sets, by its name on either side.
    pub soft_delete: Option<String>,
    /// How many deletes are too many to carry out unasked; `None`: none are.
    pub delete_guard: Option<DeleteGuard>,
    /// What becomes of the other side's record when one leaves its side's filter.
    pub filter_exit: FilterExit,
    /// Which records take part so far.
    pub rollout: Rollout,
    /// When a record goes back and forth too often; `None`: never.
    pub loop_prevention: Option<LoopPrevention>,
    /// The target's collection is made where it is not there.
    pub create_target: bool,
    /// What is done when columns change while the pair is in use.
    pub schema_drift: SchemaDrift,
    /// Missing indexes are reported.
    pub index_recommendation: bool,
    /// Records per batch.
    pub batch_size: usize,
    /// Changes per batch of a copy: `batch_size` where that is said, else what bulk writes want.
    pub copy_batch_size: usize,
    /// Batches that an initial load writes at the same time; at least 1.
    pub parallelism: usize,
    /// Retries.
    pub retry: Retry,
    /// `mapping_options.handle_nulls`.
    pub nulls: Nulls,
    /// Lookups of other pairs go through this one's links, so it keeps them in any case.
    pub looked_up: bool,
    /// What is said but has no effect yet.
    pub planned: Planned,
}

/// The fields whose equal values mean the same thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyMapping {
    /// Source's fields.
    pub source: Vec<String>,
    /// Target's fields, same length.
    pub target: Vec<String>,
}

/// One end.
#[derive(Debug, Clone)]
pub struct Endpoint {
    /// Where it stands in its file.
    pub at: Location,
    /// `postgres`, `sqlite`, …: a name of `connector::registry`.
    pub system_type: String,
    /// Name used in priority rules; default `source` or `target`.
    pub name: Arc<str>,
    /// Table or object.
    pub collection: String,
    /// Row filter in the system's own language.
    pub filter: Option<String>,
    /// The column that moves forward at each write: polling goes by it.
    pub updated_at: Option<String>,
    /// The fields of `key` at this end: what a view, which has no key of its own, goes by.
    pub key: Vec<String>,
    /// The field by which a SaaS upserts, or that names what was created.
    pub external_id: Option<String>,
    /// From how many records on a SaaS is read and loaded through its interface for many; 0: never. `None`: the connector's default.
    pub bulk_threshold: Option<u64>,
    /// How long it may be silent before it is given up; `None`: for ever.
    pub timeout: Option<Duration>,
    /// How to reach it.
    pub credentials: Credentials,
}

/// How to reach a system. Which of these a system needs is its connector's business (`options.rs`).
#[derive(Debug, Clone, Default)]
pub struct Credentials {
    /// Connection URL.
    pub url: Option<Secret>,
    /// File of an embedded database, resolved against the configuration's folder.
    pub path: Option<PathBuf>,
    /// Host.
    pub host: Option<String>,
    /// Port.
    pub port: Option<u16>,
    /// Database.
    pub database: Option<String>,
    /// Schema.
    pub schema: Option<String>,
    /// User.
    pub user: Option<String>,
    /// Password.
    pub password: Option<Secret>,
    /// SaaS and other settings, by key (`auth_type`, `instance_url`, …).
    pub other: BTreeMap<String, Secret>,
}

/// Which fields are kept in step.
#[derive(Debug, Clone)]
pub enum Mappings {
    /// These.
    Listed(Vec<FieldMapping>),
    /// Every field of the same name on both sides, but for `exclude`.
    SameNames {
        /// Fields left out.
        exclude: Vec<String>,
    },
}

/// One field on each side.
#[derive(Debug, Clone)]
pub struct FieldMapping {
    /// Where it stands in its file.
    pub at: Location,
    /// Source's field.
    pub source: String,
    /// Target's field.
    pub target: String,
    /// Functions applied source → target, in order; empty = as it is.
    pub forward: Vec<TransformCall>,
    /// Functions applied target → source; `None` = not said: idempotent forward functions run again, else it is an error.
    pub reverse: Option<Vec<TransformCall>>,
    /// Source's changes reach the target.
    pub source_to_target: bool,
    /// Target's changes reach the source.
    pub target_to_source: bool,
    /// What a failed transform does.
    pub on_error: OnError,
    /// Value that stands in for null or absent, source → target.
    pub default: Option<serde_json::Value>,
    /// Text of a source value → value, source → target; the inverse, where it is one, target → source.
    pub value_map: Vec<(String, serde_json::Value)>,
    /// The values are keys of another pair's records.
    pub lookup: Option<Lookup>,
}

/// Keys of another pair's records, which that pair's links translate.
#[derive(Debug, Clone)]
pub struct Lookup {
    /// Where it stands in its file.
    pub at: Location,
    /// Name of the other pair.
    pub pair: Arc<str>,
    /// For each end of this pair: the end of the other one in the same system, and what it is; `None` before all pairs are known.
    pub ends: Option<Ends<(End, Box<Endpoint>)>>,
}

/// A function by name, with its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransformCall {
    /// Where it stands in its file.
    pub at: Location,
    /// `format_phone`, or `plugin/format_phone`.
    pub name: String,
    /// JSON object.
    pub params: String,
}

/// A function that makes fields of one side from several of the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordTransform {
    /// The function.
    pub call: TransformCall,
    /// The side that it reads.
    pub from: End,
    /// The other side's fields that it makes; `None` = what it returns for a record of nulls.
    pub outputs: Option<Vec<String>>,
}

/// What a failed transform does to its record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnError {
    /// The record reaches no target and waits in review.
    #[default]
    RejectRecord,
    /// The field is written as it came.
    KeepOriginal,
    /// The field is written as null.
    SetNull,
    /// As `RejectRecord`, on purpose.
    QueueForManualReview,
}

/// What stands in for null.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Nulls {
    /// Null is a value and is written.
    #[default]
    Preserve,
    /// A null of one side does not overwrite the other's value.
    Ignore,
}

/// How changes are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CaptureMethod {
    /// Change table filled by triggers.
    #[default]
    DatabaseTriggers,
    /// An updated-at column.
    Polling,
    /// PostgreSQL's log; in systems of other kinds their change table.
    LogicalReplication,
    /// The log of MySQL and MariaDB; in systems of other kinds their change table.
    Binlog,
    /// Salesforce's change events; in systems of other kinds their change table.
    Cdc,
}

/// What becomes of deletes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Deletes {
    /// The other side's record is deleted too.
    #[default]
    Propagate,
    /// The other side keeps its record.
    Ignore,
    /// The other side keeps its record, and marks it.
    SoftDelete,
}

/// More deletes towards one side than this in one window are not carried out until a person says so.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DeleteGuard {
    /// Share of that side's records, 0 to 1.
    pub max_fraction: f64,
    /// So many may be deleted however small the collection is.
    pub min_count: u64,
    /// How long deletes are counted, and how long they stay stopped.
    pub window: Duration,
}

impl Default for DeleteGuard {
    fn default() -> Self {
        Self { max_fraction: 0.2, min_count: 10, window: Duration::from_secs(300) }
    }
}

/// What becomes of the other side's record when one leaves the filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum FilterExit {
    /// It stays as it is; when its counterpart comes back, they are kept in step again.
    #[default]
    Keep,
    /// As if the record had been deleted.
    Delete,
}

/// Which records take part so far; the others are held back until it widens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rollout {
    /// Nothing is written anywhere: what would be is told.
    pub read_only: bool,
    /// Share of the records, by a hash of their key: 0 to 100.
    pub percentage: u8,
    /// Row filters in the systems' own languages: a link takes part where the record of either side passes its side's.
    pub filter: Ends<Option<String>>,
}

impl Default for Rollout {
    fn default() -> Self {
        Self { read_only: false, percentage: 100, filter: Ends::default() }
    }
}

/// What is done about columns that change while the pair is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SchemaDrift {
    /// A column is new.
    pub added: DriftPolicy,
    /// A column that the pair uses is gone, or has another name.
    pub dropped: DriftPolicy,
    /// A column that the pair uses, or the key, is of another type.
    pub retyped: DriftPolicy,
    /// How often the catalogues are looked at.
    pub check_every: Duration,
}

impl Default for SchemaDrift {
    /// What may have cost data already stops the pair; a new column costs none.
    fn default() -> Self {
        Self {
            added: DriftPolicy::Alert,
            dropped: DriftPolicy::Hold,
            retyped: DriftPolicy::Hold,
            check_every: Duration::from_secs(30),
        }
    }
}

/// What is done about a change of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DriftPolicy {
    /// It is taken up, where that loses nothing.
    Apply,
    /// The pair stops until a person lets it go on.
    Hold,
    /// The pair goes on as before, where it can.
    Ignore,
    /// As `Ignore`, with a warning.
    Alert,
}

/// When a record goes back and forth between values that were written before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoopPrevention {
    /// Window of the count.
    pub window: Duration,
    /// Returns to an earlier value in the window that are let through.
    pub max_update_count: u32,
}

impl Default for LoopPrevention {
    /// People may change their minds a few times a minute: what is not said in the configuration is more patient than what is.
    fn default() -> Self {
        Self { window: Duration::from_secs(60), max_update_count: 10 }
    }
}

/// How a pair settles conflicts.
#[derive(Debug, Clone)]
pub struct ConflictPolicy {
    /// For fields without a rule of their own, and for update against delete.
    pub default: Rule,
    /// By the target's name of the field.
    pub fields: BTreeMap<String, Rule>,
    /// For what a resolver is not asked about: update against delete, and computed fields.
    pub fallback: Rule,
    /// The plugins' functions that [`Rule::Plugin`] names by their place.
    pub resolvers: Vec<TransformCall>,
    /// Source's field (or the target's it maps to) that says when a record changed; else commit time.
    pub timestamp_field: Option<String>,
    /// Changes of both sides that are no further apart than this cannot be told apart by their clocks.
    pub skew_window: Duration,
}

/// One rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// The later change wins; where the times lie within [`ConflictPolicy::skew_window`], what stands here decides.
    LastWriteWins(Close),
    /// That end wins.
    Prefer(End),
    /// The resolver of that place in [`ConflictPolicy::resolvers`] decides.
    Plugin(usize),
    /// A person decides; the record waits in review.
    Manual,
}

impl Rule {
    /// The later change wins; at equal times the source's.
    pub const LATER: Self = Self::LastWriteWins(Close::Later);
}

/// What decides between changes that are too close to each other to be told apart by clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Close {
    /// The later all the same; where the times are equal, the source.
    #[default]
    Later,
    /// That end wins.
    Prefer(End),
    /// A person.
    Manual,
}

/// Retries of what may pass by itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Retry {
    /// Tries in all before the pair pauses; 0 = for ever.
    pub max_attempts: u32,
    /// Each delay is this many times the one before.
    pub backoff_factor: f64,
    /// First delay.
    pub initial_delay: Duration,
    /// No delay is longer.
    pub max_delay: Duration,
}
