//! The JSON of `schema_drift` (layer 2).

use schemars::JsonSchema;
use serde::Deserialize;

use super::Place;

/// What is done when columns change while the sync is in use: one word for all, or one for each kind of change.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum SchemaDrift {
    /// The same for every kind of change.
    All(DriftPolicy),
    /// By the kind of change.
    Each(DriftPolicies),
}

/// What is done, by the kind of change.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DriftPolicies {
    #[serde(rename = "$at")]
    #[schemars(skip)]
    _at: Place,
    /// A column is new (default `alert`).
    pub(crate) added: Option<DriftPolicy>,
    /// A column that the sync uses is gone, or has another name (default `hold`).
    pub(crate) dropped: Option<DriftPolicy>,
    /// A column that the sync uses, or the key, is of another type (default `hold`).
    pub(crate) retyped: Option<DriftPolicy>,
    /// Seconds between two looks at the catalogues (default 30).
    #[schemars(range(min = 1, max = 60))]
    pub(crate) check_seconds: Option<u32>,
}

/// What is done about a change of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum DriftPolicy {
    /// It is taken up, where that loses nothing.
    Apply,
    /// The pair stops until a person lets it go on.
    Hold,
    /// The pair goes on as before, where it can.
    Ignore,
    /// As `ignore`, with a warning.
    Alert,
}
