//! `sync_type` and the two flags that say the same (layer 2).

use super::Context;
use super::scope::Scope;
use crate::config::document::Step;
use crate::config::raw::{Place, SyncKeys, SyncType};
use crate::config::{Problem, codes};

/// Which way changes flow.
pub(super) fn sync_type(context: &mut Context<'_>, scope: &Scope<'_>) -> SyncType {
    let said = scope.find(either);
    let sync_type = said.map_or(SyncType::OneWay, |(_, sync_type)| sync_type);
    if let Some((place, keys)) = scope.find(|keys| either(keys).map(|_| keys)) {
        check_spellings(context, place, keys);
    }
    let two_way = sync_type == SyncType::Bidirectional;
    check_flag(context, scope.find(|keys| keys.source_to_target), "source_to_target", true, sync_type);
    check_flag(context, scope.find(|keys| keys.target_to_source), "target_to_source", two_way, sync_type);
    sync_type
}

fn either(keys: &SyncKeys) -> Option<SyncType> {
    keys.sync_type.or(keys.sync_settings.as_ref().and_then(|settings| settings.sync_type))
}

fn check_spellings(context: &mut Context<'_>, place: Place, keys: &SyncKeys) {
    let within = keys.sync_settings.as_ref().and_then(|settings| settings.sync_type);
    if keys.sync_type.is_some() && within.is_some() && keys.sync_type != within {
        let at = context.at_path(place, &[Step::Key("sync_settings"), Step::Key("sync_type")]);
        context.contradiction(&at, "sync_type", "sync_settings.sync_type");
    }
}

fn check_flag(context: &mut Context<'_>, said: Option<(Place, bool)>, key: &str, expected: bool, sync_type: SyncType) {
    let Some((place, value)) = said.filter(|(_, value)| *value != expected) else { return };
    let (name, suggestion) = match sync_type {
        SyncType::OneWay if value => ("one_way", "set \"sync_type\": \"bidirectional\", or remove the flag"),
        SyncType::OneWay => ("one_way", "exchange source and target"),
        SyncType::Bidirectional => ("bidirectional", "set \"sync_type\": \"one_way\", or remove the flag"),
    };
    let message = format!("\"{key}\": {value} contradicts the sync type \"{name}\"");
    let at = context.at_key(place, key);
    context.report(Problem::error(codes::CONTRADICTION, &at, message).suggest(suggestion));
}
