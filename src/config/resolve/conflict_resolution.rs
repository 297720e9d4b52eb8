//! `conflict_resolution` (layer 2).

use std::collections::BTreeMap;
use std::time::Duration;

use super::Context;
use super::field_mappings::{target_names, transform};
use super::scope::Scope;
use crate::change::{End, Ends};
use crate::config::raw::{self, ConflictObject, ConflictStrategy, FieldRule, Place, SyncKeys};
use crate::config::{Close, ConflictPolicy, Location, Mappings, Problem, Rule, TransformCall, codes, suggestion};

/// What stands in a `fallback` for a person.
const MANUAL: &str = "manual";

/// What stands in a field rule's `priority_system` for "the later change".
const LAST_UPDATED: &str = "last_updated";

pub(super) fn policy(
    context: &mut Context<'_>,
    scope: &Scope<'_>,
    mappings: &Mappings,
    systems: Ends<&str>,
) -> ConflictPolicy {
    let mut policy = ConflictPolicy {
        default: Rule::LATER,
        fields: BTreeMap::new(),
        fallback: Rule::LATER,
        resolvers: Vec::new(),
        timestamp_field: None,
        skew_window: Duration::ZERO,
    };
    let Some((place, (at, said))) = scope.find(|keys| nearest(keys)) else { return policy };
    if let Some((_, keys)) = scope.find(|keys| nearest(keys).map(|_| keys)) {
        check_spellings(context, keys);
    }
    let at = context.at_key(at.unwrap_or(place), "conflict_resolution");
    let mut resolver = Resolver { context, mappings, systems, close: Close::default(), calls: Vec::new() };
    match said {
        raw::ConflictResolution::Strategy(strategy) => {
            policy.default = resolver.plain(*strategy, &at);
            policy.fallback = policy.default;
        }
        raw::ConflictResolution::Object(object) => resolver.object(object, &mut policy),
    }
    policy.resolvers = resolver.calls;
    policy
}

/// The nearer of both spellings with the object in which it stands, if that is not the sync's own. Where one is only the name
/// of the strategy that the other spells out, the longer one counts.
fn nearest(keys: &SyncKeys) -> Option<(Option<Place>, &raw::ConflictResolution)> {
    let top = keys.conflict_resolution.as_ref();
    let settings = keys.sync_settings.as_ref();
    let within = settings.and_then(|settings| Some((Some(settings.at), settings.conflict_resolution.as_ref()?)));
    match (top, within) {
        (Some(raw::ConflictResolution::Strategy(_)), Some((place, object @ raw::ConflictResolution::Object(_)))) => {
            Some((place, object))
        }
        (Some(top), _) => Some((None, top)),
        (None, within) => within,
    }
}

/// A one-way sync overwrites: there are no conflicts to settle.
pub(super) fn warn_one_way(context: &mut Context<'_>, scope: &Scope<'_>) {
    let Some((place, keys)) = scope.own() else { return };
    let Some((within, _)) = nearest(keys) else { return };
    let message = "\"conflict_resolution\" has no effect: the sync is one_way, so the source always wins";
    let at = context.at_key(within.unwrap_or(place), "conflict_resolution");
    let suggestion = "set \"sync_type\": \"bidirectional\", or remove it";
    context.report(Problem::warning(codes::NO_EFFECT, &at, message).suggest(suggestion));
}

fn check_spellings(context: &mut Context<'_>, keys: &SyncKeys) {
    let settings = keys.sync_settings.as_ref();
    let within = settings.and_then(|settings| Some((settings.at, settings.conflict_resolution.as_ref()?)));
    let (Some(top), Some((place, within))) = (&keys.conflict_resolution, within) else { return };
    if !agree(top, within) {
        let at = context.at_key(place, "conflict_resolution");
        context.contradiction(&at, "conflict_resolution", "sync_settings.conflict_resolution");
    }
}

fn agree(first: &raw::ConflictResolution, second: &raw::ConflictResolution) -> bool {
    use raw::ConflictResolution::{Object, Strategy};
    match (first, second) {
        (Strategy(first), Strategy(second)) => first == second,
        (Strategy(strategy), Object(object)) | (Object(object), Strategy(strategy)) => object.strategy == *strategy,
        (Object(first), Object(second)) => first.says_the_same_as(second),
    }
}

impl ConflictObject {
    fn says_the_same_as(&self, other: &Self) -> bool {
        let rules = |object: &Self| -> Vec<_> {
            let rules = object.field_rules.iter().flatten();
            rules
                .map(|rule| {
                    let names = (rule.field.clone(), rule.priority_system.clone(), rule.fallback.clone());
                    (names, rule.strategy, rule.resolver.clone())
                })
                .collect()
        };
        self.strategy == other.strategy
            && self.timestamp_field == other.timestamp_field
            && self.priority_system == other.priority_system
            && self.default == other.default
            && self.resolver == other.resolver
            && self.skew_window_ms == other.skew_window_ms
            && self.fallback == other.fallback
            && rules(self) == rules(other)
    }
}

struct Resolver<'r, 'c> {
    context: &'r mut Context<'c>,
    mappings: &'r Mappings,
    systems: Ends<&'r str>,
    /// What decides between close changes where a rule does not say it itself.
    close: Close,
    /// The resolvers that were named so far, each once.
    calls: Vec<TransformCall>,
}

impl Resolver<'_, '_> {
    /// A strategy without anything beside it.
    fn plain(&mut self, strategy: ConflictStrategy, at: &Location) -> Rule {
        let needs = match strategy {
            ConflictStrategy::LastWriteWins => return Rule::LATER,
            ConflictStrategy::Manual => return Rule::Manual,
            ConflictStrategy::SystemPriority => "\"priority_system\"",
            ConflictStrategy::FieldLevelPriority => "\"field_rules\"",
            ConflictStrategy::Plugin => "\"resolver\"",
        };
        let message = format!("this strategy needs {needs}");
        let suggestion = format!("write {{\"strategy\": …, {needs}: …}}");
        self.context.report(Problem::error(codes::MISSING_KEY, at, message).suggest(suggestion));
        Rule::LATER
    }

    fn object(&mut self, object: &ConflictObject, policy: &mut ConflictPolicy) {
        policy.timestamp_field.clone_from(&object.timestamp_field);
        self.check_timestamp_field(object);
        policy.skew_window = Duration::from_millis(object.skew_window_ms.unwrap_or_default().into());
        if let Some(name) = &object.fallback {
            self.close = self.close(name, object.at);
        }
        let by_field = object.strategy == ConflictStrategy::FieldLevelPriority;
        let default = if by_field { object.default } else { Some(object.strategy) };
        policy.default = match default {
            Some(strategy) => self.default_rule(strategy, object),
            None => self.priority(object),
        };
        policy.fallback = match policy.default {
            Rule::Plugin(_) => self.priority(object),
            rule @ (Rule::LastWriteWins(_) | Rule::Prefer(_) | Rule::Manual) => rule,
        };
        if by_field && object.field_rules.is_none() && !self.context.is_broken(object.at, "field_rules") {
            let message = "the strategy \"field_level_priority\" needs \"field_rules\"";
            let suggestion = "add \"field_rules\": [{\"field\": …, \"priority_system\": …}]";
            self.context.missing(object.at, "field_rules", message, suggestion);
        }
        for rule in object.field_rules.iter().flatten() {
            self.field_rule(rule, policy);
        }
    }

    fn default_rule(&mut self, strategy: ConflictStrategy, object: &ConflictObject) -> Rule {
        match strategy {
            ConflictStrategy::LastWriteWins => Rule::LastWriteWins(self.close),
            ConflictStrategy::SystemPriority => match &object.priority_system {
                Some(name) => self.system(name, object.at, false),
                None => {
                    let message = "the strategy \"system_priority\" needs \"priority_system\"";
                    let suggestion = format!("add \"priority_system\": {}", self.either_system());
                    self.context.missing(object.at, "priority_system", message, &suggestion);
                    Rule::LATER
                }
            },
            ConflictStrategy::FieldLevelPriority => {
                let at = self.context.at_key(object.at, "default");
                let message = "the default of \"field_level_priority\" cannot be \"field_level_priority\" itself";
                self.context.report(Problem::error(codes::INVALID_VALUE, &at, message));
                Rule::LATER
            }
            ConflictStrategy::Manual => Rule::Manual,
            ConflictStrategy::Plugin => self.resolver(object.at, object.resolver.as_ref()),
        }
    }

    fn field_rule(&mut self, raw: &FieldRule, policy: &mut ConflictPolicy) {
        let names = target_names(self.mappings, &raw.field);
        if names.is_empty() {
            let message = format!("the rule of \"{}\" has no effect: no mapping has such a field", raw.field);
            let at = self.context.at_key(raw.at, "field");
            self.context.report(Problem::warning(codes::UNMAPPED_FIELD, &at, message));
        }
        let rule = self.rule_of(raw);
        for name in names {
            if policy.fields.insert(name, rule).is_some() {
                let message = format!("\"{}\" has a rule already", raw.field);
                let at = self.context.at_key(raw.at, "field");
                self.context.report(Problem::error(codes::CONTRADICTION, &at, message).suggest("remove one of them"));
            }
        }
    }

    fn rule_of(&mut self, raw: &FieldRule) -> Rule {
        let close = match &raw.fallback {
            Some(name) => self.close(name, raw.at),
            None => self.close,
        };
        match (raw.strategy, &raw.priority_system) {
            (None | Some(ConflictStrategy::SystemPriority), Some(name)) => match self.system(name, raw.at, true) {
                Rule::LastWriteWins(_) => Rule::LastWriteWins(close),
                rule @ (Rule::Prefer(_) | Rule::Plugin(_) | Rule::Manual) => rule,
            },
            (Some(ConflictStrategy::LastWriteWins), _) => Rule::LastWriteWins(close),
            (Some(ConflictStrategy::Manual), _) => Rule::Manual,
            (Some(ConflictStrategy::Plugin), _) => self.resolver(raw.at, raw.resolver.as_ref()),
            (None | Some(ConflictStrategy::SystemPriority | ConflictStrategy::FieldLevelPriority), _) => {
                let message = format!("the rule of \"{}\" does not say who wins", raw.field);
                let suggestion = format!("add \"priority_system\": {}, or \"{LAST_UPDATED}\"", self.either_system());
                self.context.missing(raw.at, "priority_system", &message, &suggestion);
                Rule::LATER
            }
        }
    }

    /// What decides between changes that are close to each other.
    fn close(&mut self, name: &str, place: Place) -> Close {
        if name == MANUAL {
            return Close::Manual;
        }
        match self.named(name, (place, "fallback"), &[MANUAL]) {
            Some(end) => Close::Prefer(end),
            None => Close::default(),
        }
    }

    /// Who wins by the name of a system.
    fn system(&mut self, name: &str, place: Place, in_field_rule: bool) -> Rule {
        let words: &[&str] = if in_field_rule { &[LAST_UPDATED] } else { &[] };
        if words.contains(&name) {
            return Rule::LastWriteWins(self.close);
        }
        self.named(name, (place, "priority_system"), words).map_or(Rule::LATER, Rule::Prefer)
    }

    /// The end of that name; what else could stand there is for the suggestion.
    fn named(&mut self, name: &str, (place, key): (Place, &str), words: &[&'static str]) -> Option<End> {
        if name == self.systems.source {
            return Some(End::Source);
        }
        if name == self.systems.target {
            return Some(End::Target);
        }
        let known: Vec<&str> =
            [self.systems.source, self.systems.target].into_iter().chain(words.iter().copied()).collect();
        let at = self.context.at_key(place, key);
        let message = format!("there is no system \"{name}\" in this sync");
        let mut problem = Problem::error(codes::UNKNOWN_SYSTEM, &at, message);
        problem.suggestion =
            suggestion(name, &known).map(|text| format!("{text} (\"name\" at source and target sets their names)"));
        self.context.report(problem);
        None
    }

    fn either_system(&self) -> String {
        format!("\"{}\" or \"{}\"", self.systems.source, self.systems.target)
    }

    /// Who wins where a field or a resolver has no say.
    fn priority(&mut self, object: &ConflictObject) -> Rule {
        match (&object.priority_system, self.close) {
            (Some(name), _) => self.system(name, object.at, false),
            (None, Close::Manual) if object.strategy == ConflictStrategy::Plugin => Rule::Manual,
            (None, close) => Rule::LastWriteWins(close),
        }
    }

    fn resolver(&mut self, place: Place, said: Option<&raw::Transform>) -> Rule {
        let at = self.context.at_key(place, "resolver");
        let Some(call) = said.and_then(|said| transform(said, at)) else {
            let message = "the strategy \"plugin\" needs \"resolver\"";
            self.context.missing(place, "resolver", message, "add \"resolver\": \"FUNCTION\"");
            return Rule::LATER;
        };
        let known = self.calls.iter().position(|other| other.name == call.name && other.params == call.params);
        Rule::Plugin(known.unwrap_or_else(|| {
            self.calls.push(call);
            self.calls.len() - 1
        }))
    }

    fn check_timestamp_field(&mut self, object: &ConflictObject) {
        let Some(field) = &object.timestamp_field else { return };
        if target_names(self.mappings, field).is_empty() {
            let at = self.context.at_key(object.at, "timestamp_field");
            let message = format!("\"{field}\" is not a mapped field, so only one side can have it");
            let suggestion = "map it; where it is missing, the time of the commit counts";
            self.context.report(Problem::warning(codes::UNMAPPED_FIELD, &at, message).suggest(suggestion));
        }
    }
}
