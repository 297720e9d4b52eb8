//! Endpoints: `source` and `target`, and what a hub makes of its systems (layer 2).

use std::time::Duration;

use super::Context;
use super::credentials::{self, Reach};
use crate::config::raw::{self, Place};
use crate::config::{Endpoint, Problem, codes, suggestion};

/// The endpoint of a sync; an empty one where there is none.
pub(super) fn endpoint(
    context: &mut Context<'_>,
    sync: Place,
    default_name: &str,
    raw: Option<&raw::Endpoint>,
) -> Endpoint {
    let Some(raw) = raw else { return nowhere(context, sync, default_name) };
    check_type(context, raw.at, &raw.system_type);
    check_saas(context, (raw.at, &raw.system_type), raw.external_id.as_ref(), raw.bulk_threshold);
    let reach = Reach {
        at: raw.at,
        system_type: &raw.system_type,
        path: raw.path.as_deref(),
        url: raw.url.as_deref(),
        credentials: raw.credentials.as_ref(),
    };
    Endpoint {
        at: context.at(raw.at),
        system_type: raw.system_type.clone(),
        name: raw.name.as_deref().unwrap_or(default_name).into(),
        collection: collection(context, raw),
        filter: None,
        updated_at: raw.updated_at.clone(),
        key: Vec::new(),
        external_id: raw.external_id.clone(),
        bulk_threshold: raw.bulk_threshold.map(u64::from),
        timeout: timeout(raw.timeout_seconds),
        credentials: credentials::credentials(context, &reach),
    }
}

/// The endpoint that a hub's system is for one of its collections.
pub(super) fn of_system(context: &mut Context<'_>, name: &str, system: &raw::System, collection: &str) -> Endpoint {
    check_type(context, system.at, &system.system_type);
    check_saas(context, (system.at, &system.system_type), system.external_id.as_ref(), system.bulk_threshold);
    let reach = Reach {
        at: system.at,
        system_type: &system.system_type,
        path: system.path.as_deref(),
        url: system.url.as_deref(),
        credentials: system.credentials.as_ref(),
    };
    Endpoint {
        at: context.at(system.at),
        system_type: system.system_type.clone(),
        name: name.into(),
        collection: collection.to_owned(),
        filter: None,
        updated_at: None,
        key: Vec::new(),
        external_id: system.external_id.clone(),
        bulk_threshold: system.bulk_threshold.map(u64::from),
        timeout: timeout(system.timeout_seconds),
        credentials: credentials::credentials(context, &reach),
    }
}

/// What only a SaaS knows.
fn check_saas(
    context: &mut Context<'_>,
    (place, system_type): (Place, &str),
    external_id: Option<&String>,
    bulk_threshold: Option<u32>,
) {
    if system_type == "salesforce" {
        return;
    }
    let without = [
        ("external_id", external_id.is_some(), "records are upserted by the key"),
        ("bulk_threshold", bulk_threshold.is_some(), "the system has one way to read and write records"),
    ];
    for (key, _, reason) in without.into_iter().filter(|(_, given, _)| *given) {
        let at = context.at_key(place, key);
        context.no_effect(&at, key, reason);
    }
}

/// Long enough for a table to be counted, or sorted before its first record comes.
const DEFAULT_TIMEOUT_SECONDS: u32 = 900;

fn timeout(seconds: Option<u32>) -> Option<Duration> {
    let seconds = seconds.unwrap_or(DEFAULT_TIMEOUT_SECONDS);
    (seconds > 0).then(|| Duration::from_secs(seconds.into()))
}

/// Stands in for an endpoint that is missing or wrong, so that the rest of the sync can be checked.
pub(super) fn nowhere(context: &Context<'_>, at: Place, name: &str) -> Endpoint {
    Endpoint {
        at: context.at(at),
        system_type: String::new(),
        name: name.into(),
        collection: String::new(),
        filter: None,
        updated_at: None,
        key: Vec::new(),
        external_id: None,
        bulk_threshold: None,
        timeout: None,
        credentials: crate::config::Credentials::default(),
    }
}

fn check_type(context: &mut Context<'_>, place: Place, system_type: &str) {
    let registry = context.registry;
    if registry.system_types.contains(&system_type) {
        return;
    }
    let at = context.at_key(place, "type");
    if registry.planned_system_types.contains(&system_type) {
        let message =
            format!("systems of type \"{system_type}\" are not available yet: `run` refuses this sync in this version");
        context.report(Problem::warning(codes::NOT_AVAILABLE, &at, message));
        return;
    }
    let known: Vec<&str> = registry.system_types.iter().chain(registry.planned_system_types).copied().collect();
    let mut problem =
        Problem::error(codes::UNKNOWN_SYSTEM_TYPE, &at, format!("there is no type of system \"{system_type}\""));
    problem.suggestion = suggestion(system_type, &known);
    context.report(problem);
}

/// `table` or `object`.
fn collection(context: &mut Context<'_>, raw: &raw::Endpoint) -> String {
    match (&raw.table, &raw.object) {
        (Some(table), Some(object)) if table != object => {
            let at = context.at_key(raw.at, "object");
            context.contradiction(&at, "table", "object");
            table.clone()
        }
        (Some(name), _) | (None, Some(name)) => name.clone(),
        (None, None) => {
            if !context.is_broken(raw.at, "object") {
                let suggestion = "add \"table\": \"…\" (or \"object\" for a SaaS)";
                context.missing(raw.at, "table", "it is not said which table or object is meant", suggestion);
            }
            String::new()
        }
    }
}
