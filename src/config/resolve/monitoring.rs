//! `monitoring` (layer 2). The log level belongs to the whole service: see `service`.

use super::Context;
use super::scope::Scope;
use crate::config::planned::{Alerting, Metric, Monitoring};
use crate::config::raw::{self, LogLevel};

pub(super) fn monitoring(context: &mut Context<'_>, scope: &Scope<'_>) -> Monitoring {
    scope.find(|keys| keys.monitoring.as_ref()).map(|(_, raw)| read(context, raw)).unwrap_or_default()
}

/// What `monitoring` says but for the log level, and a warning for each of it.
pub(super) fn read(context: &mut Context<'_>, raw: &raw::Monitoring) -> Monitoring {
    let without_effect = [
        ("metrics", raw.metrics.is_some(), "every metric is collected"),
        ("metric_collection", raw.metric_collection.is_some(), "every metric is collected"),
        ("alerting", raw.alerting.is_some(), "nobody is told; the figures are in the metrics"),
        ("dashboard_enabled", raw.dashboard_enabled.is_some(), "the HTTP server decides what it serves"),
    ];
    for (key, _, instead) in without_effect.iter().filter(|(_, said, _)| *said) {
        let at = context.at_key(raw.at, key);
        context.no_effect(&at, key, instead);
    }
    let retention_days = raw.logging.as_ref().and_then(|logging| logging.retention_days);
    let alerting = raw.alerting.as_ref().map(|alerting| Alerting {
        latency_threshold_ms: alerting.latency_threshold_ms,
        error_rate_threshold: alerting.error_rate_threshold,
        consecutive_failures_threshold: alerting.consecutive_failures_threshold,
    });
    Monitoring {
        metrics: metrics(context, raw),
        alerting: alerting.unwrap_or_default(),
        retention_days,
        dashboard_enabled: raw.dashboard_enabled,
    }
}

fn metrics(context: &mut Context<'_>, raw: &raw::Monitoring) -> Vec<Metric> {
    let list = |raw: &Vec<raw::Metric>| -> Vec<Metric> { raw.iter().copied().map(metric).collect() };
    let (first, second) = (raw.metrics.as_ref().map(list), raw.metric_collection.as_ref().map(list));
    if let (Some(first), Some(second)) = (&first, &second) {
        let same =
            first.iter().all(|metric| second.contains(metric)) && second.iter().all(|metric| first.contains(metric));
        if !same {
            let at = context.at_key(raw.at, "metric_collection");
            context.contradiction(&at, "metrics", "metric_collection");
        }
    }
    first.or(second).unwrap_or_default()
}

fn metric(raw: raw::Metric) -> Metric {
    match raw {
        raw::Metric::Latency | raw::Metric::SyncLatency => Metric::Latency,
        raw::Metric::ErrorRate => Metric::ErrorRate,
        raw::Metric::Throughput => Metric::Throughput,
    }
}

/// The log level in either spelling.
pub(super) fn log_level(context: &mut Context<'_>, raw: &raw::Monitoring) -> Option<LogLevel> {
    let within = raw.logging.as_ref().and_then(|logging| logging.level);
    if within.is_some() && raw.log_level.is_some() && within != raw.log_level {
        let at = context.at_key(raw.at, "log_level");
        context.contradiction(&at, "logging.level", "log_level");
    }
    within.or(raw.log_level)
}
