//! One pair from all that is said about it (layer 2).

use std::time::Duration;

use super::capture::Capture;
use super::scope::Scope;
use super::{
    Context, capture, conflict_resolution, error_handling, field_mappings, monitoring, names, record_transforms,
    schema_drift, sync_type, validation_rules,
};
use crate::change::Ends;
use crate::config::planned::{Planned, TimestampFormat};
use crate::config::raw::{self, Place, SyncType};
use crate::config::{
    BULK_BATCH, DeleteGuard, Deletes, Endpoint, FilterExit, KeyMapping, Location, LoopPrevention, Nulls, PairConfig,
    Problem, Rollout, codes,
};

const DEFAULT_BATCH_SIZE: usize = 1000;

/// A pair before its keys are read.
pub(super) struct Draft<'a> {
    pub(super) name: String,
    pub(super) name_at: Location,
    pub(super) place: Place,
    pub(super) scope: Scope<'a>,
    pub(super) source: Endpoint,
    pub(super) target: Endpoint,
}

pub(super) fn pair(context: &mut Context<'_>, draft: Draft<'_>) -> PairConfig {
    let Draft { name, name_at, place, scope, mut source, mut target } = draft;
    names::check(context, &name, &name_at);
    check_system_names(context, &source, &target);
    let mut planned = Planned::default();
    let sync_type = sync_type::sync_type(context, &scope);
    let key = key(context, &scope);
    if let Some(key) = &key {
        source.key.clone_from(&key.source);
        target.key.clone_from(&key.target);
    }
    let mappings = field_mappings::fields(context, &scope, key.as_ref(), sync_type);
    let systems = Ends { source: &*source.name, target: &*target.name };
    let conflict = conflict_resolution::policy(context, &scope, &mappings, systems);
    if sync_type == SyncType::OneWay {
        conflict_resolution::warn_one_way(context, &scope);
    }
    (source.filter, target.filter) = filters(&scope);
    let Capture { method, interval, updated_at } =
        capture::capture(context, &scope, place, (&source, &target), (&mappings, &conflict), sync_type);
    (source.updated_at, target.updated_at) = (updated_at.source, updated_at.target);
    let record_transforms = record_transforms::transforms(context, &scope, &mappings, sync_type);
    let validation_rules = validation_rules::rules(context, &scope, (&mappings, &record_transforms));
    planned.monitoring = monitoring::monitoring(context, &scope);
    let (retry, notifications) = error_handling::error_handling(context, &scope);
    planned.notifications = notifications;
    let (deletes, soft_delete) = deletes(&scope);
    let nulls = mapping_options(context, &scope, &mut planned);
    PairConfig {
        name: name.into(),
        at: context.at(place),
        source_to_target: true,
        target_to_source: sync_type == SyncType::Bidirectional,
        key,
        match_on: match_on(context, &scope, &mappings),
        mappings,
        record_transforms,
        validation_rules,
        conflict,
        capture: method,
        polling_interval: interval,
        deletes,
        soft_delete,
        delete_guard: delete_guard(&scope),
        filter_exit: filter_exit(&scope),
        rollout: rollout(&scope),
        loop_prevention: loop_prevention(&scope),
        create_target: scope.find(|keys| keys.create_target).is_some_and(|(_, make)| make),
        schema_drift: schema_drift::schema_drift(&scope),
        index_recommendation: scope
            .find(|keys| keys.performance_settings.as_ref()?.index_recommendation)
            .is_none_or(|(_, wanted)| wanted),
        batch_size: batch_size(&scope, DEFAULT_BATCH_SIZE),
        copy_batch_size: batch_size(&scope, BULK_BATCH),
        parallelism: parallelism(&scope),
        retry,
        nulls,
        looked_up: false,
        planned,
        source,
        target,
    }
}

/// Priority rules name systems, so both need names of their own.
fn check_system_names(context: &mut Context<'_>, source: &Endpoint, target: &Endpoint) {
    if source.name == target.name {
        let message = format!("source and target have the same name \"{}\"", source.name);
        context.report(Problem::error(codes::BAD_NAME, &target.at, message).suggest("give one another \"name\""));
    }
}

fn key(context: &mut Context<'_>, scope: &Scope<'_>) -> Option<KeyMapping> {
    let (_, raw) = scope.find(|keys| keys.key.as_ref())?;
    let list = |names: &raw::Names| match names {
        raw::Names::One(name) => vec![name.clone()],
        raw::Names::Several(names) => names.clone(),
    };
    let key = KeyMapping { source: list(&raw.source), target: list(&raw.target) };
    if key.source.len() != key.target.len() || key.source.is_empty() {
        let message = format!(
            "a key has as many source fields as target fields, but here are {} and {}",
            key.source.len(),
            key.target.len()
        );
        context.report(Problem::error(codes::INVALID_VALUE, &context.at(raw.at), message));
    }
    for (end, names) in [("source", &key.source), ("target", &key.target)] {
        if let Some((_, name)) =
            names.iter().enumerate().find(|(index, name)| names.iter().take(*index).any(|n| n == *name))
        {
            let message = format!("the key names the field \"{name}\" twice");
            context.report(Problem::error(codes::INVALID_VALUE, &context.at_key(raw.at, end), message));
        }
    }
    Some(key)
}

fn match_on(context: &mut Context<'_>, scope: &Scope<'_>, mappings: &crate::config::Mappings) -> Vec<String> {
    let Some((place, names)) = scope.find(|keys| keys.match_on.as_ref()) else { return Vec::new() };
    for name in names {
        if !field_mappings::has_source(mappings, name) {
            let message = format!("\"match_on\" names \"{name}\", but no mapping has it as its source field");
            let at = context.at_key(place, "match_on");
            context.report(Problem::error(codes::UNMAPPED_FIELD, &at, message).suggest("map it, or leave it out"));
        }
    }
    names.clone()
}

fn filters(scope: &Scope<'_>) -> (Option<String>, Option<String>) {
    match scope.find(|keys| keys.filter.as_ref()) {
        Some((_, filter)) => (filter.source.clone(), filter.target.clone()),
        None => (None, None),
    }
}

fn filter_exit(scope: &Scope<'_>) -> FilterExit {
    match scope.find(|keys| keys.filter.as_ref()?.on_exit) {
        Some((_, raw::FilterExit::Delete)) => FilterExit::Delete,
        Some((_, raw::FilterExit::Keep)) | None => FilterExit::Keep,
    }
}

fn rollout(scope: &Scope<'_>) -> Rollout {
    let Some((_, said)) = scope.find(|keys| keys.rollout.as_ref()) else { return Rollout::default() };
    let filter = said.filter.as_ref();
    Rollout {
        read_only: said.mode == Some(raw::RolloutMode::ReadOnly),
        percentage: said.percentage.unwrap_or(100),
        filter: Ends {
            source: filter.and_then(|filter| filter.source.clone()),
            target: filter.and_then(|filter| filter.target.clone()),
        },
    }
}

fn batch_size(scope: &Scope<'_>, default: usize) -> usize {
    let said = scope.find(|keys| keys.performance_settings.as_ref()?.batch_size);
    said.map_or(default, |(_, size)| usize::try_from(size).unwrap_or(usize::MAX))
}

fn parallelism(scope: &Scope<'_>) -> usize {
    let said = scope.find(|keys| keys.performance_settings.as_ref()?.parallelism);
    said.map_or(1, |(_, batches)| usize::try_from(batches).unwrap_or(1).max(1))
}

fn deletes(scope: &Scope<'_>) -> (Deletes, Option<String>) {
    match scope.find(|keys| keys.deletes.as_ref()) {
        None | Some((_, raw::Deletes::Plain(raw::PlainDeletes::Propagate))) => (Deletes::Propagate, None),
        Some((_, raw::Deletes::Plain(raw::PlainDeletes::Ignore))) => (Deletes::Ignore, None),
        Some((_, raw::Deletes::Soft(soft))) => (Deletes::SoftDelete, Some(soft.soft_delete.field.clone())),
    }
}

fn delete_guard(scope: &Scope<'_>) -> Option<DeleteGuard> {
    let default = DeleteGuard::default();
    match scope.find(|keys| keys.delete_guard.as_ref()) {
        Some((_, raw::DeleteGuard::Plain(false))) => None,
        None | Some((_, raw::DeleteGuard::Plain(true))) => Some(default),
        Some((_, raw::DeleteGuard::Limits(said))) => Some(DeleteGuard {
            max_fraction: said.max_fraction.unwrap_or(default.max_fraction),
            min_count: said.min_count.unwrap_or(default.min_count),
            window: said.window_seconds.map_or(default.window, |seconds| Duration::from_secs(seconds.into())),
        }),
    }
}

/// Returns let through where `loop_prevention` is given without `max_update_count`, as in the article.
const MAX_UPDATE_COUNT: u32 = 2;

fn loop_prevention(scope: &Scope<'_>) -> Option<LoopPrevention> {
    let default = LoopPrevention::default();
    let Some((_, raw)) = scope.find(|keys| keys.loop_prevention.as_ref()) else { return Some(default) };
    let window = raw.detection_window_seconds.map(|seconds| Duration::from_secs(seconds.into()));
    raw.enabled.unwrap_or(true).then(|| LoopPrevention {
        window: window.unwrap_or(default.window),
        max_update_count: raw.max_update_count.unwrap_or(MAX_UPDATE_COUNT),
    })
}

fn mapping_options(context: &mut Context<'_>, scope: &Scope<'_>, planned: &mut Planned) -> Nulls {
    let Some((_, raw)) = scope.find(|keys| keys.mapping_options.as_ref()) else { return Nulls::default() };
    if let Some(format) = raw.timestamp_format {
        let at = context.at_key(raw.at, "timestamp_format");
        context.no_effect(&at, "timestamp_format", "times are written as ISO 8601 where a column holds text");
        planned.timestamp_format = match format {
            raw::TimestampFormat::Iso8601 => TimestampFormat::Iso8601,
            raw::TimestampFormat::UnixSeconds => TimestampFormat::UnixSeconds,
            raw::TimestampFormat::UnixMilliseconds => TimestampFormat::UnixMilliseconds,
        };
    }
    match raw.handle_nulls {
        Some(raw::HandleNulls::Preserve) | None => Nulls::Preserve,
        Some(raw::HandleNulls::Ignore) => Nulls::Ignore,
    }
}
