//! `field_selection`, `include_fields`, `exclude_fields` (layer 2): the source's fields that are kept in step.

use super::Context;
use super::field_mappings::same_name;
use super::scope::Scope;
use crate::config::document::Step;
use crate::config::raw::{FieldSelection, Place, SyncType};
use crate::config::{FieldMapping, KeyMapping, Mappings, Problem, codes};

struct Selection<'a> {
    include: Option<(Place, &'a Vec<String>)>,
    exclude: Option<(Place, &'a Vec<String>)>,
    key: Option<&'a KeyMapping>,
}

impl Selection<'_> {
    fn excludes(&self, name: &str) -> bool {
        self.exclude.is_some_and(|(_, names)| names.iter().any(|field| field == name))
    }

    /// Key fields are always kept.
    fn keeps(&self, name: &str) -> bool {
        let is_key = self.key.is_some_and(|key| key.source.iter().any(|field| field == name));
        let included = self.include.is_none_or(|(_, names)| names.iter().any(|field| field == name));
        is_key || included && !self.excludes(name)
    }
}

/// The mappings that are left, and those that are added.
pub(super) fn select(
    context: &mut Context<'_>,
    scope: &Scope<'_>,
    listed: Option<Vec<FieldMapping>>,
    key: Option<&KeyMapping>,
    sync_type: SyncType,
) -> Mappings {
    let include = scope.find(|keys| keys.include_fields.as_ref());
    let exclude = scope.find(|keys| keys.exclude_fields.as_ref());
    let selection = Selection { include, exclude, key };
    check_explicit(context, scope, &selection, listed.is_some());
    check_overlap(context, &selection);
    match (listed, include) {
        (None, None) => {
            let left_out = exclude.map(|(_, names)| names.as_slice()).unwrap_or_default();
            Mappings::SameNames { exclude: left_out.iter().filter(|name| !selection.keeps(name)).cloned().collect() }
        }
        (None, Some(_)) => Mappings::Listed(included(context, &selection, &[], sync_type)),
        (Some(listed), _) => {
            let mut kept = drop_unselected(context, &selection, listed);
            kept.extend(included(context, &selection, &kept, sync_type));
            Mappings::Listed(kept)
        }
    }
}

/// `explicit` needs a list.
fn check_explicit(context: &mut Context<'_>, scope: &Scope<'_>, selection: &Selection<'_>, has_mappings: bool) {
    let said = scope.find(|keys| keys.field_selection);
    let Some((place, FieldSelection::Explicit)) = said else { return };
    if selection.include.is_none() && !has_mappings && !context.is_broken(place, "include_fields") {
        let message =
            "the fields are to be selected explicitly, but neither \"include_fields\" nor \"field_mappings\" is there";
        let at = context.at_key(place, "field_selection");
        context.report(Problem::error(codes::MISSING_KEY, &at, message).suggest("add \"include_fields\": […]"));
    }
}

fn check_overlap(context: &mut Context<'_>, selection: &Selection<'_>) {
    let Some((place, include)) = selection.include else { return };
    for (index, name) in include.iter().enumerate() {
        let at = context.at_path(place, &[Step::Key("include_fields"), Step::Item(index)]);
        if selection.excludes(name) {
            let message = format!("\"{name}\" is both included and excluded");
            context.report(Problem::error(codes::CONTRADICTION, &at, message).suggest("remove it from one list"));
        }
        if include.iter().take(index).any(|other| other == name) {
            context.report(Problem::error(codes::DUPLICATE_MAPPING, &at, format!("\"{name}\" is included twice")));
        }
    }
}

/// A mapping by the same name for each included field that has none.
fn included(
    context: &Context<'_>,
    selection: &Selection<'_>,
    mapped: &[FieldMapping],
    sync_type: SyncType,
) -> Vec<FieldMapping> {
    let Some((place, include)) = selection.include else { return Vec::new() };
    let mut added: Vec<FieldMapping> = Vec::new();
    for (index, name) in include.iter().enumerate() {
        let is_mapped = mapped.iter().chain(&added).any(|mapping| &mapping.source == name);
        // A key field without a mapping maps to the key of the other side.
        let is_key = selection.key.is_some_and(|key| key.source.contains(name));
        if selection.keeps(name) && !is_mapped && !is_key {
            let at = context.at_path(place, &[Step::Key("include_fields"), Step::Item(index)]);
            added.push(same_name(name, at, sync_type));
        }
    }
    added
}

fn drop_unselected(
    context: &mut Context<'_>,
    selection: &Selection<'_>,
    listed: Vec<FieldMapping>,
) -> Vec<FieldMapping> {
    let mut kept = Vec::with_capacity(listed.len());
    for mapping in listed {
        if selection.keeps(&mapping.source) {
            kept.push(mapping);
            continue;
        }
        let why = if selection.excludes(&mapping.source) {
            "\"exclude_fields\" names it"
        } else {
            "it is not in \"include_fields\""
        };
        let message = format!("the mapping of \"{}\" is left out: {why}", mapping.source);
        context.report(Problem::warning(codes::DROPPED_MAPPING, &mapping.at, message));
    }
    kept
}
