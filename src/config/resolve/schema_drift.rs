//! `schema_drift` (layer 2).

use std::time::Duration;

use super::scope::Scope;
use crate::config::{DriftPolicy, SchemaDrift, raw};

pub(super) fn schema_drift(scope: &Scope<'_>) -> SchemaDrift {
    let default = SchemaDrift::default();
    match scope.find(|keys| keys.schema_drift.as_ref()) {
        None => default,
        Some((_, raw::SchemaDrift::All(all))) => {
            let all = policy(*all);
            SchemaDrift { added: all, dropped: all, retyped: all, ..default }
        }
        Some((_, raw::SchemaDrift::Each(each))) => SchemaDrift {
            added: each.added.map_or(default.added, policy),
            dropped: each.dropped.map_or(default.dropped, policy),
            retyped: each.retyped.map_or(default.retyped, policy),
            check_every: each.check_seconds.map_or(default.check_every, |seconds| Duration::from_secs(seconds.into())),
        },
    }
}

fn policy(raw: raw::DriftPolicy) -> DriftPolicy {
    match raw {
        raw::DriftPolicy::Apply => DriftPolicy::Apply,
        raw::DriftPolicy::Hold => DriftPolicy::Hold,
        raw::DriftPolicy::Ignore => DriftPolicy::Ignore,
        raw::DriftPolicy::Alert => DriftPolicy::Alert,
    }
}
