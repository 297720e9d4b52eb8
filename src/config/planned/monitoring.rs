//! `monitoring` (layer 2).

/// Metrics, alerts, dashboard, log retention.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Monitoring {
    /// What is measured; empty: everything.
    pub metrics: Vec<Metric>,
    /// When somebody is told.
    pub alerting: Alerting,
    /// `logging.retention_days`.
    pub retention_days: Option<u32>,
    /// Whether there is a dashboard, where that is said.
    pub dashboard_enabled: Option<bool>,
}

/// Something that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Metric {
    /// From the change to its effect (`latency` or `sync_latency`).
    Latency,
    /// Share of records that failed.
    ErrorRate,
    /// Records per second.
    Throughput,
}

/// When somebody is told.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Alerting {
    /// Changes take longer than this.
    pub latency_threshold_ms: Option<u64>,
    /// A larger share of the records fails.
    pub error_rate_threshold: Option<f64>,
    /// This many failures without a success.
    pub consecutive_failures_threshold: Option<u32>,
}
