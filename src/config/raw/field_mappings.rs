//! The JSON of field mappings and field selection (layer 2).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::Place;

/// One field on each side.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct FieldMapping {
    #[serde(rename = "$at")]
    #[schemars(skip)]
    pub(crate) at: Place,
    /// The source's field.
    #[schemars(length(min = 1))]
    pub(crate) source: String,
    /// The target's field.
    #[schemars(length(min = 1))]
    pub(crate) target: String,
    /// Applied source → target: a function, a function with parameters, or several in order; `none` changes nothing.
    pub(crate) transformation: Option<Transformation>,
    /// Applied target → source; default: `transformation` where its functions are idempotent.
    pub(crate) reverse_transformation: Option<Transformation>,
    /// Which way the field flows; default: as the sync does.
    pub(crate) direction: Option<Direction>,
    /// What a failed transformation does.
    pub(crate) on_error: Option<OnMappingError>,
    /// Stands in for null, source → target.
    pub(crate) default: Option<Value>,
    /// The source's value (as text) → the target's value; values that are not listed stay as they are.
    pub(crate) value_map: Option<BTreeMap<String, Value>>,
    /// Translates a key through the links of the pair of this name.
    #[schemars(length(min = 1))]
    pub(crate) lookup: Option<String>,
}

/// One function or several.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Transformation {
    /// Several, in order.
    Several(Vec<Transform>),
    /// One.
    One(Transform),
}

/// A function.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Transform {
    /// By its name: `format_phone`, or `PLUGIN/format_phone` where two plugins have it.
    Name(String),
    /// With parameters.
    Call(TransformCall),
}

/// A function with parameters.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TransformCall {
    #[serde(rename = "$at")]
    #[schemars(skip)]
    _at: Place,
    /// Name of the function.
    pub(crate) name: String,
    /// Its parameters.
    pub(crate) params: Option<Map<String, Value>>,
}

/// Equal where they say the same, wherever they stand.
impl PartialEq for TransformCall {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name && self.params == other.params
    }
}

/// Which way a field flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Direction {
    /// Only source → target.
    SourceToTarget,
    /// Only target → source.
    TargetToSource,
    /// Both ways.
    Both,
}

/// What a failed transformation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OnMappingError {
    /// The record is not written and waits in review (default).
    RejectRecord,
    /// The field is written as it came.
    KeepOriginal,
    /// The field is written as null.
    SetNull,
    /// As `reject_record`, said on purpose.
    QueueForManualReview,
}

/// How values are mapped in general.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct MappingOptions {
    #[serde(rename = "$at")]
    #[schemars(skip)]
    pub(crate) at: Place,
    /// What a null does.
    pub(crate) handle_nulls: Option<HandleNulls>,
    /// How times are written where the other side stores text.
    pub(crate) timestamp_format: Option<TimestampFormat>,
}

/// What a null does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum HandleNulls {
    /// Null is a value and is written (default).
    Preserve,
    /// A null of one side does not overwrite the other's value.
    Ignore,
}

/// How times are written where the other side stores text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum TimestampFormat {
    /// `2026-01-31T12:00:00Z` (default).
    Iso8601,
    /// Seconds since 1970-01-01 UTC.
    UnixSeconds,
    /// Milliseconds since 1970-01-01 UTC.
    UnixMilliseconds,
}

/// How fields are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FieldSelection {
    /// `field_mappings`, or every field of the same name (default).
    All,
    /// Only `include_fields`, without `exclude_fields`.
    Explicit,
}
