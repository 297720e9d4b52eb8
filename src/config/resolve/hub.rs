//! Hub and spoke (layer 2): each object of each connected system becomes a pair with the hub.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::pair::{self, Draft};
use super::scope::Scope;
use super::{Context, endpoint, lookups};
use crate::config::document::Step;
use crate::config::raw::{ConnectedSystem, File, ObjectMapping, Place, System};
use crate::config::{Endpoint, Location, PairConfig, Problem, codes, suggestion};

/// Whether a file says anything about a hub.
pub(super) fn is_hub(file: &File) -> bool {
    file.systems.is_some() || file.sync_hub.is_some() || file.connected_systems.is_some()
}

pub(super) fn read(context: &mut Context<'_>, file: &File, pairs: &mut Vec<PairConfig>) {
    let none = BTreeMap::new();
    let systems = file.systems.as_ref().unwrap_or(&none);
    let missing = [
        ("systems", file.systems.is_some(), "add \"systems\": {\"NAME\": {\"type\": …}}"),
        ("sync_hub", file.sync_hub.is_some(), "add \"sync_hub\": \"NAME\""),
        ("connected_systems", file.connected_systems.is_some(), "add \"connected_systems\": [{\"system\": …}]"),
    ];
    for (key, _, suggestion) in missing.iter().filter(|(_, said, _)| !said) {
        context.missing(file.at, key, &format!("a hub configuration needs \"{key}\""), suggestion);
    }
    let hub = Hub { file, systems, name: file.sync_hub.as_deref() };
    if let Some(name) = hub.name {
        hub.check_system(context, name, context.at_key(file.at, "sync_hub"));
    }
    for connected in file.connected_systems.iter().flatten() {
        hub.connect(context, connected, pairs);
    }
}

struct Hub<'a> {
    file: &'a File,
    systems: &'a BTreeMap<String, System>,
    name: Option<&'a str>,
}

impl Hub<'_> {
    fn check_system(&self, context: &mut Context<'_>, name: &str, at: Location) {
        // Without `systems` the one problem is that they are missing.
        if self.file.systems.is_none() || self.systems.contains_key(name) {
            return;
        }
        let broken = self.broken_system(context, name);
        if broken {
            return;
        }
        let known: Vec<&str> = self.systems.keys().map(String::as_str).collect();
        let mut problem = Problem::error(codes::UNKNOWN_SYSTEM, &at, format!("\"systems\" has no \"{name}\""));
        problem.suggestion = suggestion(name, &known);
        context.report(problem);
    }

    fn broken_system(&self, context: &Context<'_>, name: &str) -> bool {
        let place = context.documents.below(self.file.at, &[Step::Key("systems")]);
        place.is_some_and(|systems| context.is_broken(systems, name))
    }

    fn connect(&self, context: &mut Context<'_>, connected: &ConnectedSystem, pairs: &mut Vec<PairConfig>) {
        let at = context.at_key(connected.at, "system");
        if self.name == Some(connected.system.as_str()) {
            let message = format!("\"{}\" is the hub and cannot be connected to itself", connected.system);
            context.report(Problem::error(codes::CONTRADICTION, &at, message));
            return;
        }
        self.check_system(context, &connected.system, at);
        check_listed(context, connected);
        let none = BTreeMap::new();
        let mappings = connected.mappings.as_ref().unwrap_or(&none);
        let objects: Vec<&String> = match &connected.objects {
            Some(objects) => objects.iter().collect(),
            None => mappings.keys().collect(),
        };
        if objects.is_empty() && !context.is_broken(connected.at, "mappings") {
            let message = format!("no object of \"{}\" is named", connected.system);
            context.missing(connected.at, "objects", &message, "add \"objects\": [\"NAME\"]");
        }
        let first = pairs.len();
        let mut named = Vec::with_capacity(objects.len());
        for (index, object) in objects.into_iter().enumerate() {
            let place = context.documents.below(connected.at, &[Step::Key("objects"), Step::Item(index)]);
            let pair = self.pair(context, connected, object, (place, mappings.get(object)));
            named.push((object.clone(), Arc::clone(&pair.name)));
            pairs.push(pair);
        }
        lookups::name_pairs(pairs.get_mut(first..).unwrap_or_default(), &named);
    }

    fn pair(
        &self,
        context: &mut Context<'_>,
        connected: &ConnectedSystem,
        object: &str,
        (place, mapping): (Option<Place>, Option<&ObjectMapping>),
    ) -> PairConfig {
        let place = mapping.map(|mapping| mapping.at).or(place).unwrap_or(connected.at);
        let mut levels = vec![(connected.at, &connected.keys), (self.file.at, &self.file.keys)];
        match mapping {
            Some(mapping) => levels.insert(0, (mapping.at, &mapping.keys)),
            None => warn_unmapped(context, connected, object, place),
        }
        let scope = Scope::new(levels);
        let said = mapping.and_then(|mapping| mapping.connection_name.clone());
        let name_at = if said.is_some() { context.at_key(place, "connection_name") } else { context.at(place) };
        let collection = mapping.and_then(|mapping| mapping.hub.as_deref()).unwrap_or(object);
        Draft {
            name: said.unwrap_or_else(|| format!("{}.{object}", connected.system)),
            name_at,
            place,
            scope,
            source: self.end(context, place, &connected.system, object),
            target: self.end(context, place, self.name.unwrap_or("hub"), collection),
        }
        .finish(context)
    }

    fn end(&self, context: &mut Context<'_>, place: Place, name: &str, collection: &str) -> Endpoint {
        match self.systems.get(name) {
            Some(system) => endpoint::of_system(context, name, system, collection),
            None => endpoint::nowhere(context, place, name),
        }
    }
}

impl Draft<'_> {
    fn finish(self, context: &mut Context<'_>) -> PairConfig {
        pair::pair(context, self)
    }
}

/// Mappings are of listed objects only, and no object is listed twice.
fn check_listed(context: &mut Context<'_>, connected: &ConnectedSystem) {
    let Some(objects) = &connected.objects else { return };
    for (name, mapping) in connected.mappings.iter().flatten() {
        if !objects.contains(name) {
            let known: Vec<&str> = objects.iter().map(String::as_str).collect();
            let message = format!("\"objects\" does not name \"{name}\", so this mapping has no effect");
            let mut problem = Problem::error(codes::UNKNOWN_OBJECT, &context.at(mapping.at), message);
            problem.suggestion = suggestion(name, &known);
            context.report(problem);
        }
    }
}

fn warn_unmapped(context: &mut Context<'_>, connected: &ConnectedSystem, object: &str, place: Place) {
    if connected.keys.field_mappings.is_some() {
        return;
    }
    let message = format!(
        "\"{object}\" has no mapping: it is kept in step with the hub's \"{object}\", by fields of the same name"
    );
    let suggestion = format!("add \"mappings\": {{\"{object}\": {{\"hub\": …, \"field_mappings\": […]}}}}");
    context.report(Problem::warning(codes::UNMAPPED_OBJECT, &context.at(place), message).suggest(suggestion));
}
