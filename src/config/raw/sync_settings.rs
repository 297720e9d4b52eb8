//! The JSON of `sync_settings` and `performance_settings` (layer 2).

use schemars::JsonSchema;
use serde::Deserialize;

use super::{ConflictResolution, Place};

/// Which way changes flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SyncType {
    /// Source → target (default).
    OneWay,
    /// Both ways.
    Bidirectional,
}

/// Sync type, first sync, ongoing sync.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SyncSettings {
    #[serde(rename = "$at")]
    #[schemars(skip)]
    pub(crate) at: Place,
    /// As `sync_type` at the top.
    pub(crate) sync_type: Option<SyncType>,
    /// The first sync.
    #[serde(rename = "initial_sync")]
    pub(crate) _initial_sync: Option<InitialSync>,
    /// The sync from then on.
    pub(crate) ongoing_sync: Option<OngoingSync>,
    /// As `conflict_resolution` at the top.
    pub(crate) conflict_resolution: Option<ConflictResolution>,
}

/// The first sync.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct InitialSync {
    #[serde(rename = "$at")]
    #[schemars(skip)]
    _at: Place,
    /// How the first sync goes.
    #[serde(rename = "strategy")]
    pub(crate) _strategy: Option<InitialStrategy>,
}

/// How the first sync goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum InitialStrategy {
    /// Every record of both sides is compared and brought in step (default).
    FullLoad,
}

/// The sync from then on.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct OngoingSync {
    #[serde(rename = "$at")]
    #[schemars(skip)]
    pub(crate) at: Place,
    /// How changes are waited for.
    pub(crate) mode: Option<OngoingMode>,
    /// Seconds between two looks, and the longest time until a look without a notification (default 30).
    #[schemars(range(min = 0.01, max = 86400))]
    pub(crate) polling_interval_seconds: Option<f64>,
}

/// How changes are waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OngoingMode {
    /// As they happen (default).
    RealTime,
    /// By looking at an updated-at column.
    Polling,
    /// As `polling`.
    Scheduled,
}

/// Batches, parallelism, how changes are found.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PerformanceSettings {
    #[serde(rename = "$at")]
    #[schemars(skip)]
    pub(crate) at: Place,
    /// Records per batch (default 1000).
    #[schemars(range(min = 1, max = 100_000))]
    pub(crate) batch_size: Option<u32>,
    /// Batches that an initial load writes at the same time, and key ranges that it reads by (default 1).
    #[schemars(range(min = 1, max = 64))]
    pub(crate) parallelism: Option<u32>,
    /// How changes are found.
    pub(crate) change_detection: Option<ChangeDetection>,
    /// Whether `check --connect` and `plan` report missing indexes on the fields that records are looked up by (default true).
    pub(crate) index_recommendation: Option<bool>,
}

/// How changes are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ChangeDetection {
    /// Triggers fill a change table (default).
    DatabaseTriggers,
    /// An updated-at column is looked at.
    Polling,
    /// Postgres' replication stream.
    LogicalReplication,
    /// The binary log of MySQL or MariaDB.
    Binlog,
    /// Whatever log the system has.
    Cdc,
}
