//! How changes are found (layer 2): `performance_settings.change_detection`, `sync_settings.ongoing_sync`, `updated_at`.

use std::time::Duration;

use super::Context;
use super::scope::Scope;
use crate::change::{End, Ends};
use crate::config::raw::{ChangeDetection, OngoingMode, Place, SyncType};
use crate::config::{CaptureMethod, ConflictPolicy, Endpoint, Mappings, Problem, codes};

/// Only Salesforce has change events.
const SALESFORCE: &str = "salesforce";
const DEFAULT_INTERVAL: Duration = Duration::from_secs(30);

pub(super) struct Capture {
    pub(super) method: CaptureMethod,
    pub(super) interval: Duration,
    /// The column that polling goes by.
    pub(super) updated_at: Ends<Option<String>>,
}

pub(super) fn capture(
    context: &mut Context<'_>,
    scope: &Scope<'_>,
    place: Place,
    (source, target): (&Endpoint, &Endpoint),
    (mappings, conflict): (&Mappings, &ConflictPolicy),
    sync_type: SyncType,
) -> Capture {
    let ends = Ends { source, target };
    let followed = match sync_type {
        SyncType::OneWay => vec![End::Source],
        SyncType::Bidirectional => vec![End::Source, End::Target],
    };
    let systems: Vec<&str> = followed.iter().map(|end| ends.get(*end).system_type.as_str()).collect();
    let method = method(context, scope, &systems);
    let updated_at = Ends::from_fn(|end| {
        if is_salesforce(ends.get(end)) {
            return Some("SystemModstamp".to_owned());
        }
        let timestamp = conflict.timestamp_field.as_deref();
        ends.get(end).updated_at.clone().or_else(|| name_at(end, timestamp?, mappings))
    });
    if method == CaptureMethod::Polling {
        for end in followed {
            if updated_at.get(end).is_none() {
                let message = format!(
                    "changes are found by polling, but it is not said which column of the {} moves forward at each write",
                    end.name()
                );
                let suggestion = format!(
                    "add \"updated_at\": \"COLUMN\" to the {}, or a \"timestamp_field\" that is mapped",
                    end.name()
                );
                context.report(
                    Problem::error(codes::MISSING_UPDATED_AT, &context.at_key(place, end.name()), message)
                        .suggest(suggestion),
                );
            }
        }
    }
    Capture { method, interval: interval(scope), updated_at }
}

/// How changes are found in systems of these types.
fn method(context: &mut Context<'_>, scope: &Scope<'_>, followed: &[&str]) -> CaptureMethod {
    let mode = scope.find(|keys| {
        let ongoing = keys.sync_settings.as_ref()?.ongoing_sync.as_ref()?;
        Some((ongoing.at, ongoing.mode?))
    });
    let polls = mode.filter(|(_, (_, mode))| match mode {
        OngoingMode::RealTime => false,
        OngoingMode::Polling | OngoingMode::Scheduled => true,
    });
    let said = scope.find(|keys| {
        let settings = keys.performance_settings.as_ref()?;
        Some((settings.at, settings.change_detection?))
    });
    let Some((_, (place, detection))) = said else {
        return if polls.is_some() { CaptureMethod::Polling } else { CaptureMethod::DatabaseTriggers };
    };
    let name = match detection {
        ChangeDetection::Polling => return CaptureMethod::Polling,
        ChangeDetection::DatabaseTriggers => "database_triggers",
        ChangeDetection::LogicalReplication => "logical_replication",
        ChangeDetection::Binlog => "binlog",
        ChangeDetection::Cdc => "cdc",
    };
    // Each log is that of one kind of system.
    let log = match detection {
        ChangeDetection::LogicalReplication if followed.contains(&"postgres") => {
            Some(CaptureMethod::LogicalReplication)
        }
        ChangeDetection::Binlog if followed.contains(&"mysql") => Some(CaptureMethod::Binlog),
        ChangeDetection::Cdc if followed.contains(&SALESFORCE) => Some(CaptureMethod::Cdc),
        ChangeDetection::LogicalReplication
        | ChangeDetection::Binlog
        | ChangeDetection::DatabaseTriggers
        | ChangeDetection::Polling
        | ChangeDetection::Cdc => None,
    };
    if log.is_none() && detection != ChangeDetection::DatabaseTriggers {
        let at = context.at_key(place, "change_detection");
        context.no_effect(&at, name, "changes are found by database_triggers");
    }
    if let Some((_, (place, _))) = polls {
        let at = context.at_key(place, "mode");
        let message = format!("this mode polls, but \"change_detection\" is \"{name}\"");
        let suggestion = "set \"mode\": \"real_time\", or \"change_detection\": \"polling\"";
        context.report(Problem::error(codes::CONTRADICTION, &at, message).suggest(suggestion));
    }
    log.unwrap_or_default()
}

fn is_salesforce(endpoint: &Endpoint) -> bool {
    endpoint.system_type == SALESFORCE
}

fn interval(scope: &Scope<'_>) -> Duration {
    let said = scope.find(|keys| keys.sync_settings.as_ref()?.ongoing_sync.as_ref()?.polling_interval_seconds);
    said.and_then(|(_, seconds)| Duration::try_from_secs_f64(seconds).ok()).unwrap_or(DEFAULT_INTERVAL)
}

/// What an end calls a field that is named as the source or the target calls it.
fn name_at(end: End, name: &str, mappings: &Mappings) -> Option<String> {
    match mappings {
        Mappings::SameNames { .. } => Some(name.to_owned()),
        Mappings::Listed(listed) => {
            let by_source = listed.iter().find(|mapping| mapping.source == name);
            let mapping = by_source.or_else(|| listed.iter().find(|mapping| mapping.target == name));
            match (end, mapping) {
                (End::Source, Some(mapping)) => Some(mapping.source.clone()),
                (End::Target, Some(mapping)) => Some(mapping.target.clone()),
                (End::Source, None) => Some(name.to_owned()),
                (End::Target, None) => None,
            }
        }
    }
}
