//! Binds a pair's configuration to both sides' catalogues and the plugins (pure): every name is checked once, before anything runs.
//! What comes out knows positions and kinds, so that no stage looks a name up again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

mod ask;
mod computed;
mod create_target;
mod deletes;
mod digest;
mod functions;
mod lookup;
mod loss;
mod match_on;
mod read_only;
mod rules;

pub use ask::{Answered, ask};
pub use computed::{Computed, Group};
pub use create_target::blueprint;
pub use deletes::Mark;
pub use digest::{goes_by, is_renewed};
pub use functions::check_params;
pub use lookup::{BoundLookup, bind_lookups};
pub use rules::{BoundCheck, BoundRule, comparable};

use crate::change::{End, Ends};
use crate::config::{
    DeleteGuard, Deletes, FieldMapping, FilterExit, LoopPrevention, Mappings, Nulls, OnError, PairConfig, Problem,
    Rule, suggestion,
};
use crate::connector::{Column, Schema};
use crate::plugin::{FunctionRef, Plugins};
use crate::record::{Key, Layout, Record, layout};
use crate::value::{Kind, Value};

/// One field of one side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundField {
    /// Name in the catalogue.
    pub name: String,
    /// Place in the side's layout.
    pub position: usize,
    /// What values are converted to before they are written.
    pub kind: Kind,
}

/// One mapping, checked.
#[derive(Debug, Clone)]
pub struct BoundMapping {
    /// The field of each side.
    pub fields: Ends<BoundField>,
    /// What is applied to a value that comes from this end; `None` where nothing flows from it.
    pub functions: Ends<Option<Vec<FunctionRef>>>,
    /// What a failed transform does.
    pub on_error: OnError,
    /// Stands in for null, source → target.
    pub default: Option<Value>,
    /// Source's text → target's value.
    pub value_map: Vec<(String, Value)>,
    /// Part of the correlation: the source's value rules.
    pub correlation: bool,
    /// The source's system alone makes the source's field: a created record does not carry it.
    pub generated: bool,
    /// The values are keys of another pair's records.
    pub lookup: Option<BoundLookup>,
}

/// A pair whose names are all known to be right.
#[derive(Debug, Clone)]
pub struct Binding {
    /// Name of the pair.
    pub pair: Arc<str>,
    /// Names of the systems.
    pub systems: Ends<Arc<str>>,
    /// The fields.
    pub mappings: Vec<BoundMapping>,
    /// What is read of each side.
    pub layouts: Ends<Layout>,
    /// Places of the primary key in the layout.
    pub keys: Ends<Vec<usize>>,
    /// Names of the correlation fields.
    pub correlation: Ends<Vec<String>>,
    /// The mappings by whose fields records are matched that have neither link nor correlation; empty: none are.
    pub match_on: Vec<usize>,
    /// Place of the field that says when a record changed.
    pub timestamp: Ends<Option<usize>>,
    /// Whether changes of this end flow.
    pub flows: Ends<bool>,
    /// The target's key follows from the record and nothing flows back: upsert by key, no links.
    pub upsert_only: bool,
    /// Other pairs look its links up.
    pub looked_up: bool,
    /// Records of one side never match the same record of the other, so that several may be decided at the same time (I4).
    pub apart: bool,
    /// Rule per mapping.
    pub rules: Vec<Rule>,
    /// For update against delete, and for computed fields that a resolver would settle.
    pub default_rule: Rule,
    /// Changes that are no further apart than this are too close for clocks to tell which is later.
    pub skew_window: Duration,
    /// What [`Rule::Plugin`] names by its place.
    pub resolvers: Vec<FunctionRef>,
    /// The record transforms.
    pub computed: Vec<Computed>,
    /// Record transforms that belong together.
    pub groups: Vec<Group>,
    /// The validation rules.
    pub checks: Vec<BoundRule>,
    /// What becomes of deletes.
    pub deletes: Deletes,
    /// With [`Deletes::SoftDelete`]: what marks the deleted records of each side.
    pub marks: Ends<Option<Mark>>,
    /// When deletes stop.
    pub delete_guard: Option<DeleteGuard>,
    /// When a record goes back and forth too often.
    pub loop_prevention: Option<LoopPrevention>,
    /// Sides with a filter whose records stay as they are when their counterparts leave it.
    pub filtered: Ends<bool>,
    /// What stands in for null.
    pub nulls: Nulls,
    /// The links were agreed under another mapping: what this one makes of records that nobody has edited flows once more.
    pub renewed: bool,
}

impl Binding {
    /// Every function that the pair calls, once.
    pub fn functions(&self) -> Vec<FunctionRef> {
        let mappings = self.mappings.iter().flat_map(|mapping| [&mapping.functions.source, &mapping.functions.target]);
        let mut functions: Vec<FunctionRef> = Vec::new();
        let called = mappings
            .flatten()
            .flatten()
            .chain(self.computed.iter().map(|computed| &computed.function))
            .chain(self.checks.iter().flat_map(BoundRule::functions))
            .chain(&self.resolvers);
        for function in called {
            if !functions.contains(function) {
                functions.push(function.clone());
            }
        }
        functions
    }

    /// Whether a record of `end` is marked as deleted.
    pub fn is_marked(&self, end: End, record: &Record) -> bool {
        let mark = self.marks.get(end).as_ref();
        mark.is_some_and(|mark| mark.is_set(record.values().get(mark.0.position).and_then(Option::as_ref)))
    }

    /// What counts as agreed about a record of that key where nothing is: null in every other field, so that whatever a side has is an edit.
    pub fn nothing_agreed(&self, end: End, key: Option<&Key>) -> Record {
        let nulls = (0..self.layouts.get(end).len()).map(|place| (place, &Value::Null));
        let key = key.into_iter().flat_map(|key| &key.0);
        self.record(end, nulls.chain(self.keys.get(end).iter().copied().zip(key)))
    }

    /// A record of `end` that carries these fields, given by their places, and no others. A later value of a place replaces an
    /// earlier one.
    pub fn record<'a>(&self, end: End, fields: impl IntoIterator<Item = (usize, &'a Value)>) -> Record {
        let layout = Layout::clone(self.layouts.get(end));
        let mut values = vec![None; layout.len()];
        for (place, value) in fields {
            if let Some(slot) = values.get_mut(place) {
                *slot = Some(value.clone());
            }
        }
        Record::new(layout, values)
    }
}

/// Checks every name of `pair` against `schemas`, `plugins` and what these answered to [`ask`].
///
/// # Errors
/// All problems at once, each with its place in the configuration. Warnings come with the binding.
pub fn bind(
    pair: &PairConfig,
    schemas: &Ends<Schema>,
    plugins: &dyn Plugins,
    answered: &[Answered],
) -> Result<(Binding, Vec<Problem>), Vec<Problem>> {
    let mut binder = Binder { pair, schemas, plugins, problems: Vec::new(), layouts: Ends::default() };
    let binding = binder.bind(answered);
    let (errors, warnings): (Vec<_>, Vec<_>) = binder.problems.into_iter().partition(Problem::is_error);
    if errors.is_empty() { Ok((binding, warnings)) } else { Err(errors) }
}

/// Checks the functions of `pair` alone, without its systems.
pub fn check_functions(pair: &PairConfig, plugins: &dyn Plugins) -> Vec<Problem> {
    let schemas = Ends::from_fn(|_| Schema { columns: Vec::new(), key: Vec::new(), unique: Vec::new(), view: false });
    let mut binder = Binder { pair, schemas: &schemas, plugins, problems: Vec::new(), layouts: Ends::default() };
    for mapping in binder.listed() {
        binder.functions(&mapping.forward, &mapping);
        if mapping.target_to_source && pair.target_to_source {
            binder.backward(&mapping);
        }
    }
    binder.check_roles();
    binder.problems.dedup();
    binder.problems
}

struct Binder<'a> {
    pair: &'a PairConfig,
    schemas: &'a Ends<Schema>,
    plugins: &'a dyn Plugins,
    problems: Vec<Problem>,
    layouts: Ends<Vec<String>>,
}

impl Binder<'_> {
    fn bind(&mut self, answered: &[Answered]) -> Binding {
        let pair = self.pair;
        let mut listed = self.listed();
        let correlation = self.correlation(&mut listed);
        let keys = Ends::from_fn(|end| self.schemas.get(end).key.clone());
        let keys = Ends::from_fn(|end| keys.get(end).iter().map(|name| self.place(end, name)).collect());
        let mappings: Vec<BoundMapping> =
            listed.iter().filter_map(|mapping| self.mapping(mapping, correlates(&correlation, mapping))).collect();
        let flows = Ends { source: pair.source_to_target, target: pair.target_to_source };
        let (computed, groups) = self.computed(&mappings, answered);
        self.check_required(&mappings, &computed, &flows);
        let checks = self.checks(&mappings, &computed);
        let resolvers = self.resolvers();
        let match_on = self.match_on(&mappings);
        let upsert_only = !pair.target_to_source
            && !pair.looked_up
            && match_on.is_empty()
            && correlation.source == self.schemas.source.key
            && self.schemas.target.is_unique(&correlation.target);
        let apart = match_on.is_empty()
            && [End::Source, End::Target].into_iter().all(|end| self.is_exact(end, correlation.get(end)));
        let rules = mappings.iter().map(|mapping| self.rule(mapping)).collect();
        let timestamp = self.timestamp(&listed);
        let marks = self.marks(&mappings, flows);
        Binding {
            pair: Arc::clone(&pair.name),
            systems: Ends { source: Arc::clone(&pair.source.name), target: Arc::clone(&pair.target.name) },
            mappings,
            layouts: Ends::from_fn(|end| layout(self.layouts.get(end))),
            keys,
            correlation,
            match_on,
            timestamp,
            flows,
            upsert_only,
            looked_up: pair.looked_up,
            apart,
            rules,
            default_rule: pair.conflict.fallback,
            skew_window: pair.conflict.skew_window,
            resolvers,
            computed,
            groups,
            checks,
            deletes: pair.deletes,
            marks,
            delete_guard: pair.delete_guard,
            loop_prevention: pair.loop_prevention,
            filtered: Ends {
                source: pair.source.filter.is_some() && pair.filter_exit == FilterExit::Keep,
                target: pair.target.filter.is_some() && pair.filter_exit == FilterExit::Keep,
            },
            nulls: pair.nulls,
            renewed: false,
        }
    }

    /// Whether no two records have these fields equal, by an equality that is the same in every system. (That of text is not.)
    fn is_exact(&self, end: End, fields: &[String]) -> bool {
        let schema = self.schemas.get(end);
        let exact =
            |name: &String| schema.column(name).is_some_and(|column| matches!(column.kind, Kind::Int | Kind::Uuid));
        schema.is_unique(fields) && fields.iter().all(exact)
    }

    /// The mappings as written, or one for each name that both sides have.
    fn listed(&mut self) -> Vec<FieldMapping> {
        match &self.pair.mappings {
            Mappings::Listed(mappings) => mappings.clone(),
            Mappings::SameNames { exclude } => self
                .schemas
                .source
                .columns
                .iter()
                .filter(|column| self.schemas.target.column(&column.name).is_some() && !exclude.contains(&column.name))
                .map(|column| plain_mapping(self.pair, &column.name, &column.name))
                .collect(),
        }
    }

    /// The correlation fields; a correlation that no mapping carries gets one.
    fn correlation(&mut self, listed: &mut Vec<FieldMapping>) -> Ends<Vec<String>> {
        let source_key = &self.schemas.source.key;
        let key = match &self.pair.key {
            Some(key) => Ends { source: key.source.clone(), target: key.target.clone() },
            None => {
                let target = source_key.iter().filter_map(|name| {
                    let mapped = listed.iter().find(|mapping| &mapping.source == name).map(|mapping| mapping.target.clone());
                    if mapped.is_none() {
                        self.problems.push(
                            Problem::error(
                                "mapping.no_key",
                                &self.pair.at,
                                format!("the source's primary key field \"{name}\" is not mapped, so records of both sides cannot be matched"),
                            )
                            .suggest(format!("map \"{name}\", or say \"key\": {{\"source\": \"{name}\", \"target\": \"…\"}}")),
                        );
                    }
                    mapped
                });
                let target = target.collect();
                Ends { source: source_key.clone(), target }
            }
        };
        for (source, target) in key.source.iter().zip(&key.target) {
            if !listed.iter().any(|mapping| &mapping.source == source && &mapping.target == target) {
                listed.push(plain_mapping(self.pair, source, target));
            }
        }
        key
    }

    /// The place of a field in the side's layout, which grows as fields are asked for.
    fn place(&mut self, end: End, name: &str) -> usize {
        let names = self.layouts.get_mut(end);
        names.iter().position(|known| known == name).unwrap_or_else(|| {
            names.push(name.to_owned());
            names.len() - 1
        })
    }

    fn mapping(&mut self, mapping: &FieldMapping, correlation: bool) -> Option<BoundMapping> {
        let source = self.column(End::Source, &mapping.source, mapping);
        let target = self.column(End::Target, &mapping.target, mapping);
        let (source, target) = (source?, target?);
        let forward = (mapping.source_to_target && self.pair.source_to_target)
            .then(|| self.functions(mapping.forward.as_slice(), mapping));
        let backward = (mapping.target_to_source && self.pair.target_to_source).then(|| self.backward(mapping));
        if correlation && !mapping.forward.is_empty() {
            let text = format!(
                "\"{}\" is part of the key, which must be equal on both sides and cannot be transformed",
                mapping.source
            );
            self.problems.push(
                Problem::error("mapping.key_transformed", &mapping.at, text).suggest("remove \"transformation\" here"),
            );
        }
        let (forward, backward) = self.writable_ways((&source, &target), (forward, backward), mapping, correlation);
        self.losses((&source, &target), (&forward, &backward), mapping);
        let source_writable = source.writable;
        let fields = Ends {
            source: BoundField {
                position: self.place(End::Source, &source.name),
                kind: source.kind,
                name: source.name,
            },
            target: BoundField {
                position: self.place(End::Target, &target.name),
                kind: target.kind,
                name: target.name,
            },
        };
        let kind = fields.target.kind;
        let generated = correlation && !source_writable;
        let default = mapping.default.as_ref().and_then(|json| self.literal(json, kind, mapping));
        let value_map = mapping
            .value_map
            .iter()
            .filter_map(|(text, json)| Some((text.clone(), self.literal(json, kind, mapping)?)))
            .collect();
        let functions = Ends { source: forward, target: backward };
        Some(BoundMapping {
            fields,
            functions,
            on_error: mapping.on_error,
            default,
            value_map,
            correlation,
            generated,
            lookup: None,
        })
    }

    fn column(&mut self, end: End, name: &str, mapping: &FieldMapping) -> Option<Column> {
        let schema = self.schemas.get(end);
        if let Some(column) = schema.column(name) {
            return Some(column.clone());
        }
        let endpoint = if end == End::Source { &self.pair.source } else { &self.pair.target };
        let names: Vec<&str> = schema.columns.iter().map(|column| column.name.as_str()).collect();
        let problem = Problem::error(
            "mapping.unknown_field",
            &mapping.at,
            format!("the {} \"{}\" has no column \"{name}\"", end.name(), endpoint.collection),
        );
        self.problems.push(suggested(problem, name, &names));
        None
    }

    fn literal(&mut self, json: &serde_json::Value, kind: Kind, mapping: &FieldMapping) -> Option<Value> {
        Value::from_json(kind, json)
            .map_err(|error| {
                let text = format!("a literal for \"{}\" does not fit its column: {error}", mapping.target);
                self.problems.push(Problem::error("mapping.bad_literal", &mapping.at, text));
            })
            .ok()
    }

    /// A column that must not be null, has no default and is not mapped would refuse every created record.
    fn check_required(&mut self, mappings: &[BoundMapping], computed: &[Computed], flows: &Ends<bool>) {
        for end in [End::Source, End::Target] {
            if !flows.get(end.other()) {
                continue;
            }
            for column in &self.schemas.get(end).columns {
                let filled = column.nullable || column.has_default || !column.writable;
                let mapped = mappings.iter().any(|mapping| mapping.fields.get(end).name == column.name);
                let made = computed
                    .iter()
                    .any(|one| one.from == end.other() && one.outputs.iter().any(|of| of.name == column.name));
                if !filled && !mapped && !made {
                    let text = format!(
                        "the {}'s column \"{}\" must not be null, but nothing is mapped to it: creating records will fail",
                        end.name(),
                        column.name
                    );
                    self.problems.push(Problem::warning("mapping.required_field", &self.pair.at, text));
                }
            }
        }
    }

    fn rule(&self, mapping: &BoundMapping) -> Rule {
        let rules: &BTreeMap<String, Rule> = &self.pair.conflict.fields;
        *rules
            .get(&mapping.fields.target.name)
            .or_else(|| rules.get(&mapping.fields.source.name))
            .unwrap_or(&self.pair.conflict.default)
    }

    /// Where each side keeps the time of a record's last change: the field of that name, or the one it is mapped to.
    fn timestamp(&mut self, listed: &[FieldMapping]) -> Ends<Option<usize>> {
        let Some(field) = &self.pair.conflict.timestamp_field else { return Ends::default() };
        let mapped = listed.iter().find(|mapping| &mapping.source == field || &mapping.target == field);
        let names = Ends {
            source: mapped.map_or(field, |mapping| &mapping.source).clone(),
            target: mapped.map_or(field, |mapping| &mapping.target).clone(),
        };
        let found = Ends::from_fn(|end| {
            let name = names.get(end);
            self.schemas.get(end).column(name).is_some().then(|| self.place(end, name))
        });
        if found.source.is_none() && found.target.is_none() {
            let text = format!("timestamp_field \"{field}\" is a column of neither side");
            self.problems.push(Problem::error("mapping.unknown_field", &self.pair.at, text));
        }
        found
    }
}

/// Adds the name that was probably meant, or the names that there are.
pub fn suggested(problem: Problem, name: &str, known: &[&str]) -> Problem {
    match suggestion(name, known) {
        Some(text) => problem.suggest(text),
        None => problem,
    }
}

/// Whether the mapping is one of the correlation's.
fn correlates(correlation: &Ends<Vec<String>>, mapping: &FieldMapping) -> bool {
    correlation
        .source
        .iter()
        .zip(&correlation.target)
        .any(|(source, target)| *source == mapping.source && *target == mapping.target)
}

/// A field as it is, both ways where the sync goes both ways.
fn plain_mapping(pair: &PairConfig, source: &str, target: &str) -> FieldMapping {
    FieldMapping {
        at: pair.at.clone(),
        source: source.to_owned(),
        target: target.to_owned(),
        forward: Vec::new(),
        reverse: Some(Vec::new()),
        source_to_target: pair.source_to_target,
        target_to_source: pair.target_to_source,
        on_error: OnError::default(),
        default: None,
        value_map: Vec::new(),
        lookup: None,
    }
}
