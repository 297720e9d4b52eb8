//! The JSON of error handling, monitoring, loop prevention, and of the service itself (layer 2).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{Names, Place};

/// Retries, notifications, fallback.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ErrorHandling {
    #[serde(rename = "$at")]
    #[schemars(skip)]
    pub(crate) at: Place,
    /// How often and how soon what may pass by itself is tried again.
    pub(crate) retry_strategy: Option<RetryStrategy>,
    /// Who is told.
    pub(crate) notification: Option<Notification>,
    /// As `notification`.
    pub(crate) notifications: Option<Notification>,
    /// What becomes of records that cannot be applied.
    #[serde(rename = "fallback")]
    pub(crate) _fallback: Option<Fallback>,
}

/// How often and how soon what may pass by itself is tried again.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RetryStrategy {
    #[serde(rename = "$at")]
    #[schemars(skip)]
    pub(crate) at: Place,
    /// Tries in all before the pair pauses; 0: for ever (default 5).
    pub(crate) max_attempts: Option<u32>,
    /// Each delay is this many times the one before (default 2).
    #[schemars(range(min = 1.0, max = 100.0))]
    pub(crate) backoff_factor: Option<f64>,
    /// First delay (default 1).
    #[schemars(range(min = 0.0, max = 86400.0))]
    pub(crate) initial_delay_seconds: Option<f64>,
    /// No delay is longer (default 300).
    #[schemars(range(min = 0.0, max = 86400.0))]
    pub(crate) max_delay_seconds: Option<f64>,
}

/// Who is told, and of what.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Notification {
    #[serde(rename = "$at")]
    #[schemars(skip)]
    _at: Place,
    /// Ways to tell.
    pub(crate) channels: Option<Vec<Channel>>,
    /// What is worth telling.
    pub(crate) threshold: Option<Threshold>,
    /// Addresses.
    pub(crate) email: Option<Names>,
    /// Slack channel.
    pub(crate) slack: Option<String>,
    /// Address that gets a JSON message.
    pub(crate) webhook: Option<String>,
}

/// A way to tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Channel {
    /// Slack.
    Slack,
    /// E-mail.
    Email,
    /// A JSON message to an address.
    Webhook,
}

/// What is worth telling.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Threshold {
    /// Everything.
    Info,
    /// What may need a look.
    Warning,
    /// What failed.
    Error,
    /// What stopped a pair.
    Critical,
}

/// What becomes of records that cannot be applied.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Fallback {
    #[serde(rename = "$at")]
    #[schemars(skip)]
    _at: Place,
    /// What is done with the record.
    #[serde(rename = "action")]
    pub(crate) _action: Option<FallbackAction>,
}

/// What is done with a record that cannot be applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum FallbackAction {
    /// It waits in review (default).
    QueueForManualReview,
}

/// When a record that is updated again and again is stopped.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LoopPrevention {
    #[serde(rename = "$at")]
    #[schemars(skip)]
    _at: Place,
    /// Whether records that go back and forth are stopped (default true); echoes never are written in any case.
    pub(crate) enabled: Option<bool>,
    /// Window of the count (default 60).
    #[schemars(range(min = 1, max = 86400))]
    pub(crate) detection_window_seconds: Option<u32>,
    /// More returns of a field to a value that was written before, within the window, are a loop (2 where the key is given, else 10).
    #[schemars(range(min = 1))]
    pub(crate) max_update_count: Option<u32>,
}

/// Metrics, alerts, logs.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Monitoring {
    #[serde(rename = "$at")]
    #[schemars(skip)]
    pub(crate) at: Place,
    /// What is measured.
    pub(crate) metrics: Option<Vec<Metric>>,
    /// As `metrics`.
    pub(crate) metric_collection: Option<Vec<Metric>>,
    /// When somebody is told.
    pub(crate) alerting: Option<Alerting>,
    /// The log.
    pub(crate) logging: Option<Logging>,
    /// As `logging.level`.
    pub(crate) log_level: Option<LogLevel>,
    /// Whether there is a dashboard.
    pub(crate) dashboard_enabled: Option<bool>,
}

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Metric {
    /// From the change to its effect.
    Latency,
    /// As `latency`.
    SyncLatency,
    /// Share of records that failed.
    ErrorRate,
    /// Records per second.
    Throughput,
}

/// When somebody is told.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Alerting {
    #[serde(rename = "$at")]
    #[schemars(skip)]
    _at: Place,
    /// Changes take longer than this.
    pub(crate) latency_threshold_ms: Option<u64>,
    /// A larger share of the records fails.
    #[schemars(range(min = 0.0, max = 1.0))]
    pub(crate) error_rate_threshold: Option<f64>,
    /// This many failures without a success.
    #[schemars(range(min = 1))]
    pub(crate) consecutive_failures_threshold: Option<u32>,
}

/// The log.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Logging {
    #[serde(rename = "$at")]
    #[schemars(skip)]
    #[expect(dead_code, reason = "every object of a configuration knows its place; no problem is told about this one")]
    pub(crate) at: Place,
    /// What is logged (default `info`).
    pub(crate) level: Option<LogLevel>,
    /// For how many days the state keeps what was written and which conflicts were settled (default 30).
    pub(crate) retention_days: Option<u32>,
}

/// What is logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogLevel {
    /// Failures only.
    Error,
    /// And what may need a look.
    Warn,
    /// And what happens (default).
    Info,
    /// And why.
    Debug,
    /// And every step.
    Trace,
}

/// Where links, bases, positions and reviews are kept.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct State {
    #[serde(rename = "$at")]
    #[schemars(skip)]
    pub(crate) at: Place,
    /// `sqlite://PATH`, relative to this file's folder (default `sqlite://tidelock.db`).
    pub(crate) url: Option<String>,
}

/// Plugin folder and what a plugin may use up.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plugins {
    #[serde(rename = "$at")]
    #[schemars(skip)]
    pub(crate) at: Place,
    /// Folder of `NAME.wasm` files, relative to this file's folder (default `plugins`).
    pub(crate) dir: Option<String>,
    /// Limits per call.
    pub(crate) limits: Option<Limits>,
    /// Plugin (stem of its file) → WASI packages or interfaces that it may import: `wasi:clocks`, `wasi:random`, `wasi:io`, `wasi:cli`,
    /// `wasi:filesystem`. The clock stands still during a call, chance repeats itself, and there are no files, arguments or variables.
    pub(crate) grants: Option<BTreeMap<String, Vec<String>>>,
    /// When a new version is taken back by itself.
    pub(crate) rollback: Option<Rollback>,
}

/// When a new version of a plugin is taken back by itself.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rollback {
    #[serde(rename = "$at")]
    #[schemars(skip)]
    pub(crate) at: Place,
    /// `false`: never (default true).
    pub(crate) enabled: Option<bool>,
    /// Values of each function that are watched after a replacement (default 1000).
    #[schemars(range(min = 1))]
    pub(crate) window_values: Option<u64>,
    /// Share of failing values above that of the version before (default 0.2).
    #[schemars(range(min = 0, max = 1))]
    pub(crate) error_rate: Option<f64>,
}

/// What a plugin may use up.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limits {
    #[serde(rename = "$at")]
    #[schemars(skip)]
    pub(crate) at: Place,
    /// Wall-clock time of a call with one row (default 200).
    #[schemars(range(min = 1, max = 3_600_000))]
    pub(crate) call_ms: Option<u64>,
    /// Added per row, in microseconds (default 20).
    #[schemars(range(max = 1_000_000))]
    pub(crate) row_us: Option<u64>,
    /// No call runs longer than this (default 5000).
    #[schemars(range(min = 1, max = 3_600_000))]
    pub(crate) max_call_ms: Option<u64>,
    /// Memory of an instance (default 64 MiB).
    #[schemars(range(min = 65536))]
    pub(crate) memory_bytes: Option<usize>,
    /// Elements of each table of an instance (default 65536).
    #[schemars(range(min = 1, max = 1_000_000))]
    pub(crate) table_elements: Option<usize>,
    /// Stack of a call (default 512 KiB).
    #[schemars(range(min = 65536, max = 1_048_576))]
    pub(crate) stack_bytes: Option<usize>,
    /// Rows of a call (default 1024).
    #[schemars(range(min = 1, max = 65536))]
    pub(crate) call_rows: Option<usize>,
    /// What is copied out of one call (default 32 MiB; for small inputs it is less).
    #[schemars(range(min = 65536))]
    pub(crate) output_bytes: Option<usize>,
    /// One value of the output (default 64 KiB; 4 times its input where that is more).
    #[schemars(range(min = 1))]
    pub(crate) value_bytes: Option<usize>,
    /// Violations of one record (default 100).
    #[schemars(range(min = 1, max = 10_000))]
    pub(crate) row_violations: Option<usize>,
    /// Characters of a message that a plugin gives (default 500).
    #[schemars(range(min = 1, max = 500))]
    pub(crate) message_chars: Option<usize>,
    /// Log lines of a call (default 20).
    pub(crate) log_lines: Option<u32>,
    /// Bytes of a call's log (default 8 KiB).
    pub(crate) log_bytes: Option<usize>,
    /// Size of a plugin file (default 40 MiB).
    #[schemars(range(min = 1))]
    pub(crate) file_bytes: Option<u64>,
    /// CPU time of compiling one (default 60).
    #[schemars(range(min = 1, max = 3600))]
    pub(crate) compile_seconds: Option<u64>,
    /// Memory of compiling one (default 4 GiB).
    #[schemars(range(min = 1))]
    pub(crate) compile_memory_bytes: Option<u64>,
}

/// The HTTP server.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Server {
    #[serde(rename = "$at")]
    #[schemars(skip)]
    pub(crate) at: Place,
    /// Address (default `127.0.0.1:7070`).
    pub(crate) listen: Option<String>,
    /// Bearer token; required on any address that is not loopback.
    pub(crate) token: Option<String>,
}
