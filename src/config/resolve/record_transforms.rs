//! `record_transforms` (layer 2).

use super::Context;
use super::field_mappings::params_text;
use super::scope::Scope;
use crate::change::End;
use crate::config::raw::{self, From, SyncType};
use crate::config::{Mappings, Problem, RecordTransform, TransformCall, codes};

pub(super) fn transforms(
    context: &mut Context<'_>,
    scope: &Scope<'_>,
    mappings: &Mappings,
    sync_type: SyncType,
) -> Vec<RecordTransform> {
    let Some((_, raw)) = scope.find(|keys| keys.record_transforms.as_ref()) else { return Vec::new() };
    let mut transforms: Vec<RecordTransform> = Vec::with_capacity(raw.len());
    for raw in raw {
        let one = transform(context, raw, sync_type);
        check_outputs(context, raw, &one, (mappings, &transforms));
        transforms.push(one);
    }
    transforms
}

fn transform(context: &mut Context<'_>, raw: &raw::RecordTransform, sync_type: SyncType) -> RecordTransform {
    let from = if raw.direction == Some(From::TargetToSource) { End::Target } else { End::Source };
    if from == End::Target && sync_type == SyncType::OneWay {
        let at = context.at_key(raw.at, "direction");
        let message = "nothing flows from the target to the source in a one_way sync";
        let suggestion = "set \"sync_type\": \"bidirectional\", or remove it";
        context.report(Problem::error(codes::CONTRADICTION, &at, message).suggest(suggestion));
    }
    let call =
        TransformCall { at: context.at(raw.at), name: raw.function.clone(), params: params_text(raw.params.as_ref()) };
    RecordTransform { call, from, outputs: raw.outputs.clone() }
}

/// A field has one writer in each direction.
fn check_outputs(
    context: &mut Context<'_>,
    raw: &raw::RecordTransform,
    one: &RecordTransform,
    (mappings, before): (&Mappings, &[RecordTransform]),
) {
    let Some(outputs) = &one.outputs else { return };
    let at = context.at_key(raw.at, "outputs");
    if outputs.is_empty() {
        let message = "a record transform without outputs does nothing";
        context.report(Problem::error(codes::INVALID_VALUE, &at, message).suggest("name the fields that it makes"));
    }
    let mapped = |name: &String| match mappings {
        Mappings::SameNames { .. } => false,
        Mappings::Listed(listed) => listed.iter().any(|mapping| match one.from {
            End::Source => mapping.source_to_target && &mapping.target == name,
            End::Target => mapping.target_to_source && &mapping.source == name,
        }),
    };
    for (index, name) in outputs.iter().enumerate() {
        let earlier = before.iter().filter(|other| other.from == one.from).filter_map(|other| other.outputs.as_ref());
        let twice =
            outputs.iter().take(index).any(|other| other == name) || earlier.flatten().any(|other| other == name);
        if twice || mapped(name) {
            let message = format!("the {}'s field \"{name}\" is written already", one.from.other().name());
            context.report(
                Problem::error(codes::DUPLICATE_MAPPING, &at, message)
                    .suggest("a field is written by one mapping or one record transform"),
            );
        }
    }
}
