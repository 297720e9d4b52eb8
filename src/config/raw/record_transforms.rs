//! The JSON of record transforms (layer 2).

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};

use super::Place;

/// A function that makes fields of one side from several of the other.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecordTransform {
    #[serde(rename = "$at")]
    #[schemars(skip)]
    pub(crate) at: Place,
    /// Name of the function: `split_name`, or `PLUGIN/split_name` where two plugins have it.
    #[schemars(length(min = 1))]
    pub(crate) function: String,
    /// Its parameters.
    pub(crate) params: Option<Map<String, Value>>,
    /// Which side it reads, and which it makes fields of.
    pub(crate) direction: Option<From>,
    /// The other side's fields that it makes; default: what it returns for a record of nulls.
    pub(crate) outputs: Option<Vec<String>>,
}

/// Which side a record transform reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum From {
    /// It reads the source and makes fields of the target (default).
    SourceToTarget,
    /// It reads the target and makes fields of the source.
    TargetToSource,
}
