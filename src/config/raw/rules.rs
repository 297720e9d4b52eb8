//! The JSON of keys, filters, conflicts, deletes and validation (layer 2).

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Number, Value};

use super::{Place, Transform};

/// The fields whose equal values mean the same thing.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Key {
    #[serde(rename = "$at")]
    #[schemars(skip)]
    pub(crate) at: Place,
    /// The source's field or fields.
    pub(crate) source: Names,
    /// The target's field or fields, as many.
    pub(crate) target: Names,
}

/// One name or several.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Names {
    /// One.
    One(String),
    /// Several.
    Several(Vec<String>),
}

/// Row filter per side, in the system's own language (SQL: what would stand after `WHERE`).
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Filter {
    #[serde(rename = "$at")]
    #[schemars(skip)]
    _at: Place,
    /// The source's records that take part.
    pub(crate) source: Option<String>,
    /// The target's records that take part.
    pub(crate) target: Option<String>,
    /// What becomes of the other side's record when one leaves the filter.
    pub(crate) on_exit: Option<FilterExit>,
}

/// What becomes of the other side's record when one leaves the filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FilterExit {
    /// It stays as it is (default).
    Keep,
    /// As if the record had been deleted: see `deletes`.
    Delete,
}

/// How conflicts are settled.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum ConflictResolution {
    /// By the strategy's name.
    Strategy(ConflictStrategy),
    /// With more.
    Object(ConflictObject),
}

/// A way to settle conflicts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ConflictStrategy {
    /// The later change wins (default).
    LastWriteWins,
    /// `priority_system` always wins.
    SystemPriority,
    /// `field_rules` say it field by field.
    FieldLevelPriority,
    /// A person decides.
    Manual,
    /// A plugin's `resolver` decides.
    Plugin,
}

/// How conflicts are settled.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ConflictObject {
    #[serde(rename = "$at")]
    #[schemars(skip)]
    pub(crate) at: Place,
    /// The strategy.
    pub(crate) strategy: ConflictStrategy,
    /// The source's field (or the target's it maps to) that says when a record changed; default: the time of the commit.
    pub(crate) timestamp_field: Option<String>,
    /// Name of the system that wins; with `plugin`, where the resolver is not asked.
    pub(crate) priority_system: Option<String>,
    /// Rules per field.
    pub(crate) field_rules: Option<Vec<FieldRule>>,
    /// With `field_level_priority`: what holds for fields without a rule (default `last_write_wins`).
    pub(crate) default: Option<ConflictStrategy>,
    /// The plugin's function, by name or with parameters.
    pub(crate) resolver: Option<Transform>,
    /// With `last_write_wins`: changes of both sides that are no further apart than this are left to `fallback`, because their systems'
    /// clocks may be that far apart (default 0: only equal times are).
    pub(crate) skew_window_ms: Option<u32>,
    /// What decides within `skew_window_ms`, and where a resolver is not asked: a system's name, or `manual`; default: the later change all
    /// the same, at equal times the source's.
    #[schemars(length(min = 1))]
    pub(crate) fallback: Option<String>,
}

/// The rule of one field.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FieldRule {
    #[serde(rename = "$at")]
    #[schemars(skip)]
    pub(crate) at: Place,
    /// The source's or the target's name of the field.
    #[schemars(length(min = 1))]
    pub(crate) field: String,
    /// Name of the system that wins, or `last_updated`.
    pub(crate) priority_system: Option<String>,
    /// A strategy, in place of `priority_system`.
    pub(crate) strategy: Option<ConflictStrategy>,
    /// With the strategy `plugin`: the plugin's function, by name or with parameters.
    pub(crate) resolver: Option<Transform>,
    /// With `last_write_wins`: what decides within `skew_window_ms`, in place of the policy's own `fallback`.
    #[schemars(length(min = 1))]
    pub(crate) fallback: Option<String>,
}

/// What becomes of deletes.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Deletes {
    /// By a word.
    Plain(PlainDeletes),
    /// Marked as deleted instead.
    Soft(SoftDeletes),
}

/// What becomes of deletes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PlainDeletes {
    /// The other side's record is deleted too (default).
    Propagate,
    /// The other side keeps its record.
    Ignore,
}

/// Deleted records are marked.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SoftDeletes {
    #[serde(rename = "$at")]
    #[schemars(skip)]
    _at: Place,
    /// The mark.
    pub(crate) soft_delete: SoftDelete,
}

/// The mark of a deleted record.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SoftDelete {
    #[serde(rename = "$at")]
    #[schemars(skip)]
    _at: Place,
    /// The field that takes the time of the delete.
    #[schemars(length(min = 1))]
    pub(crate) field: String,
}

/// When deletes stop and a person is asked.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum DeleteGuard {
    /// Whether there is a guard at all.
    Plain(bool),
    /// More deletes than this in one window.
    Limits(DeleteLimits),
}

/// More deletes than this in one window: they wait for a person.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DeleteLimits {
    #[serde(rename = "$at")]
    #[schemars(skip)]
    _at: Place,
    /// Share of the collection, 0 to 1 (default 0.2).
    #[schemars(range(min = 0.0, max = 1.0))]
    pub(crate) max_fraction: Option<f64>,
    /// So many deletes never stop (default 10).
    pub(crate) min_count: Option<u64>,
    /// How long deletes are counted together, and how long they stay stopped (default 300).
    #[schemars(range(min = 1, max = 86400))]
    pub(crate) window_seconds: Option<u32>,
}

/// Which records take part so far, and whether anything is written at all.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rollout {
    #[serde(rename = "$at")]
    #[schemars(skip)]
    _at: Place,
    /// `read_only` writes nothing anywhere and tells what would be written (default `live`).
    pub(crate) mode: Option<RolloutMode>,
    /// Share of the records, by a hash of their key: who is in at 10 is in at 20 (default 100).
    #[schemars(range(max = 100))]
    pub(crate) percentage: Option<u8>,
    /// Which records take part, per side, in the system's own language; the others are held back, not left out for good.
    pub(crate) filter: Option<RolloutFilter>,
}

/// How far a sync has been switched on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RolloutMode {
    /// Records are written (default).
    Live,
    /// Nothing is written anywhere.
    ReadOnly,
}

/// Which records take part: a link does where the record of either side is let through.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RolloutFilter {
    #[serde(rename = "$at")]
    #[schemars(skip)]
    _at: Place,
    /// The source's.
    #[schemars(length(min = 1))]
    pub(crate) source: Option<String>,
    /// The target's.
    #[schemars(length(min = 1))]
    pub(crate) target: Option<String>,
}

/// What the values of a field must look like.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ValidationRule {
    #[serde(rename = "$at")]
    #[schemars(skip)]
    pub(crate) at: Place,
    /// The source's or the target's name of the field.
    #[schemars(length(min = 1))]
    pub(crate) field: String,
    /// `email_format`, `regex`, `required`, `length`, `range`, `one_of`, `type`, or a plugin's validator.
    #[schemars(length(min = 1))]
    pub(crate) rule: String,
    /// With `regex`: the pattern.
    pub(crate) pattern: Option<String>,
    /// With `length` and `range`: the least.
    pub(crate) min: Option<Bound>,
    /// With `length` and `range`: the most.
    pub(crate) max: Option<Bound>,
    /// With `one_of`: the values.
    pub(crate) values: Option<Vec<Value>>,
    /// With `type`: the type.
    #[serde(rename = "type")]
    pub(crate) value_type: Option<String>,
    /// With a plugin's validator: its parameters.
    pub(crate) params: Option<Map<String, Value>>,
    /// What becomes of a value that fails.
    pub(crate) on_error: Option<OnValidationError>,
    /// With `standardize_format`: the function that is tried; default: the field's transformation.
    pub(crate) standardizer: Option<String>,
}

/// The least or the most.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Bound {
    /// A number.
    Number(Number),
    /// A number of any precision, a date or a time, as text.
    Text(String),
}

/// What becomes of a value that fails validation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OnValidationError {
    /// The record reaches no target and waits in review (default).
    RejectRecord,
    /// The field's standardizer runs, then the rule again; then as `reject_record`.
    StandardizeFormat,
    /// The field is written as null.
    SetNull,
    /// The field is not written.
    SkipField,
    /// As `reject_record`, said on purpose.
    QueueForManualReview,
    /// Only a warning.
    Warn,
}
