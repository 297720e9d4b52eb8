//! `field_mappings` (layer 2).

use serde_json::{Map, Value};

use super::scope::Scope;
use super::{Context, field_selection, lookups};
use crate::config::document::Step;
use crate::config::raw::{self, Place, SyncType};
use crate::config::{FieldMapping, KeyMapping, Location, Mappings, OnError, Problem, TransformCall, codes};

pub(super) fn fields(
    context: &mut Context<'_>,
    scope: &Scope<'_>,
    key: Option<&KeyMapping>,
    sync_type: SyncType,
) -> Mappings {
    let listed = scope
        .find(|keys| keys.field_mappings.as_ref())
        .map(|(_, raw)| raw.iter().map(|raw| mapping(context, raw, sync_type)).collect::<Vec<FieldMapping>>());
    let mappings = field_selection::select(context, scope, listed, key, sync_type);
    if let Mappings::Listed(listed) = &mappings {
        check_duplicates(context, listed);
    }
    mappings
}

/// A field that is copied as it is, both ways as far as the sync goes.
pub(super) fn same_name(name: &str, at: Location, sync_type: SyncType) -> FieldMapping {
    FieldMapping {
        at,
        source: name.to_owned(),
        target: name.to_owned(),
        forward: Vec::new(),
        reverse: Some(Vec::new()),
        source_to_target: true,
        target_to_source: sync_type == SyncType::Bidirectional,
        on_error: OnError::default(),
        default: None,
        value_map: Vec::new(),
        lookup: None,
    }
}

/// Whether a field of the source is kept in step.
pub(super) fn has_source(mappings: &Mappings, name: &str) -> bool {
    match mappings {
        Mappings::Listed(listed) => listed.iter().any(|mapping| mapping.source == name),
        Mappings::SameNames { exclude } => !exclude.iter().any(|field| field == name),
    }
}

/// The target's names of a field that is named as the source or the target calls it; the source's name comes first.
pub(super) fn target_names(mappings: &Mappings, name: &str) -> Vec<String> {
    match mappings {
        Mappings::SameNames { .. } => {
            if has_source(mappings, name) {
                vec![name.to_owned()]
            } else {
                Vec::new()
            }
        }
        Mappings::Listed(listed) => {
            let by_source: Vec<String> =
                listed.iter().filter(|mapping| mapping.source == name).map(|mapping| mapping.target.clone()).collect();
            if !by_source.is_empty() {
                return by_source;
            }
            listed
                .iter()
                .filter(|mapping| mapping.target == name)
                .map(|mapping| mapping.target.clone())
                .take(1)
                .collect()
        }
    }
}

fn mapping(context: &mut Context<'_>, raw: &raw::FieldMapping, sync_type: SyncType) -> FieldMapping {
    let (source_to_target, target_to_source) = direction(context, raw, sync_type);
    let forward = raw.transformation.as_ref().map(|calls| transforms(context, raw.at, "transformation", calls));
    let reverse =
        raw.reverse_transformation.as_ref().map(|calls| transforms(context, raw.at, "reverse_transformation", calls));
    if reverse.is_some() && !target_to_source {
        let at = context.at_key(raw.at, "reverse_transformation");
        let message = "\"reverse_transformation\" has no effect: nothing flows back through this field";
        context.report(Problem::warning(codes::NO_EFFECT, &at, message));
    }
    let forward = forward.unwrap_or_default();
    let reverse = reverse.or_else(|| forward.is_empty().then(Vec::new));
    FieldMapping {
        at: context.at(raw.at),
        source: raw.source.clone(),
        target: raw.target.clone(),
        forward,
        reverse,
        source_to_target,
        target_to_source,
        on_error: on_error(raw.on_error),
        default: raw.default.clone(),
        value_map: raw.value_map.clone().unwrap_or_default().into_iter().collect(),
        lookup: lookups::lookup(context, raw),
    }
}

fn on_error(raw: Option<raw::OnMappingError>) -> OnError {
    match raw {
        None | Some(raw::OnMappingError::RejectRecord) => OnError::RejectRecord,
        Some(raw::OnMappingError::KeepOriginal) => OnError::KeepOriginal,
        Some(raw::OnMappingError::SetNull) => OnError::SetNull,
        Some(raw::OnMappingError::QueueForManualReview) => OnError::QueueForManualReview,
    }
}

/// Source to target, target to source. In a one-way sync everything flows to the target.
fn direction(context: &mut Context<'_>, raw: &raw::FieldMapping, sync_type: SyncType) -> (bool, bool) {
    match (sync_type, raw.direction) {
        (SyncType::Bidirectional, None | Some(raw::Direction::Both)) => (true, true),
        (SyncType::Bidirectional, Some(raw::Direction::SourceToTarget)) => (true, false),
        (SyncType::Bidirectional, Some(raw::Direction::TargetToSource)) => (false, true),
        (SyncType::OneWay, None | Some(raw::Direction::Both | raw::Direction::SourceToTarget)) => (true, false),
        (SyncType::OneWay, Some(raw::Direction::TargetToSource)) => {
            let message = "this field is to flow from the target to the source, but the sync is one_way";
            let suggestion = "set \"sync_type\": \"bidirectional\", or remove the direction";
            let at = context.at_key(raw.at, "direction");
            context.report(Problem::error(codes::CONTRADICTION, &at, message).suggest(suggestion));
            (true, false)
        }
    }
}

/// The functions of a transformation; `none` is no function.
fn transforms(context: &Context<'_>, place: Place, key: &str, raw: &raw::Transformation) -> Vec<TransformCall> {
    match raw {
        raw::Transformation::One(one) => transform(one, context.at_key(place, key)).into_iter().collect(),
        raw::Transformation::Several(several) => {
            let calls = several.iter().enumerate();
            calls
                .filter_map(|(index, one)| transform(one, context.at_path(place, &[Step::Key(key), Step::Item(index)])))
                .collect()
        }
    }
}

pub(super) fn transform(raw: &raw::Transform, at: Location) -> Option<TransformCall> {
    let (name, params) = match raw {
        raw::Transform::Name(name) => (name, None),
        raw::Transform::Call(call) => (&call.name, call.params.as_ref()),
    };
    (name != "none").then(|| TransformCall { at, name: name.clone(), params: params_text(params) })
}

/// Parameters as JSON text: what crosses to a plugin.
pub(super) fn params_text(params: Option<&Map<String, Value>>) -> String {
    params.map_or_else(|| "{}".to_owned(), |params| Value::Object(params.clone()).to_string())
}

/// No field is written by two mappings in the same direction.
fn check_duplicates(context: &mut Context<'_>, listed: &[FieldMapping]) {
    for (index, mapping) in listed.iter().enumerate() {
        let before = || listed.iter().take(index);
        let to_target =
            mapping.source_to_target && before().any(|other| other.source_to_target && other.target == mapping.target);
        let to_source =
            mapping.target_to_source && before().any(|other| other.target_to_source && other.source == mapping.source);
        let (end, name, other_way) = match (to_target, to_source) {
            (true, _) => ("target", &mapping.target, "target_to_source"),
            (false, true) => ("source", &mapping.source, "source_to_target"),
            (false, false) => continue,
        };
        let message = format!("another mapping writes the {end}'s field \"{name}\" already");
        let suggestion = if mapping.source_to_target && mapping.target_to_source {
            format!("remove one of them, or add \"direction\": \"{other_way}\" to one")
        } else {
            "remove one of them".to_owned()
        };
        context.report(Problem::error(codes::DUPLICATE_MAPPING, &mapping.at, message).suggest(suggestion));
    }
}
