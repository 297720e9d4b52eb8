//! `create_target` (pure): what the target's collection has to be, as far as source, mapping and functions tell.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Answered, suggested};
use crate::change::{End, Ends};
use crate::config::{Deletes, FieldMapping, Mappings, OnInvalid, PairConfig, Problem};
use crate::connector::{Blueprint, Column, NewColumn, Schema};
use crate::plugin::Plugins;
use crate::value::Kind;

/// Names of a key that the target generates for itself.
const GENERATED: [&str; 2] = ["id", "tidelock_id"];

/// Derives the target's collection. `others` are the catalogues of the pairs that this one looks up, as far as they are there.
///
/// # Errors
/// All that cannot be derived, each with its place in the configuration.
pub fn blueprint(
    pair: &PairConfig,
    source: &Schema,
    plugins: &dyn Plugins,
    answered: &[Answered],
    others: &BTreeMap<Arc<str>, Ends<Schema>>,
) -> Result<Blueprint, Vec<Problem>> {
    let mut deriving = Deriving { pair, source, plugins, others, problems: Vec::new() };
    let blueprint = deriving.blueprint(answered);
    if deriving.problems.is_empty() { Ok(blueprint) } else { Err(deriving.problems) }
}

struct Deriving<'a> {
    pair: &'a PairConfig,
    source: &'a Schema,
    plugins: &'a dyn Plugins,
    others: &'a BTreeMap<Arc<str>, Ends<Schema>>,
    problems: Vec<Problem>,
}

impl Deriving<'_> {
    fn blueprint(&mut self, answered: &[Answered]) -> Blueprint {
        let key = self.correlation();
        let own_key = self.has_own_key(&key);
        let own_kind = self.own_kind(&key, own_key);
        let mut columns: Vec<NewColumn> = Vec::new();
        for (source, target) in key.source.iter().zip(&key.target) {
            if let Some(column) = self.source_column(source, &self.pair.at.clone()) {
                let not_null = !own_key;
                columns.push(NewColumn { not_null, ..self.as_it_is(&column, target) });
            }
        }
        for mapping in self.listed() {
            if columns.iter().all(|column| column.name != mapping.target) {
                columns.extend(self.mapped(&mapping, own_kind));
            }
        }
        self.computed(answered, &columns);
        columns.extend(self.mark().filter(|mark| columns.iter().all(|column| column.name != mark.name)));
        let taken = |name: &&str| columns.iter().any(|column| column.name.eq_ignore_ascii_case(name));
        let generated = GENERATED.iter().find(|name| !taken(name)).filter(|_| own_key);
        let (mut unique, mut indexes) = (Vec::new(), Vec::new());
        if own_key {
            unique.push(key.target.clone());
        }
        if let Some((fields, once)) = self.match_on().filter(|(fields, _)| *fields != key.target) {
            if once { &mut unique } else { &mut indexes }.push(fields);
        }
        Blueprint { generated_key: generated.map(|name| (*name).to_owned()), columns, key: key.target, unique, indexes }
    }

    /// The mappings as written, or one for each column of the source.
    fn listed(&self) -> Vec<FieldMapping> {
        match &self.pair.mappings {
            Mappings::Listed(mappings) => mappings.clone(),
            Mappings::SameNames { exclude } => {
                let names = self.source.columns.iter().map(|column| &column.name);
                let plain = |name: &String| super::plain_mapping(self.pair, name, name);
                names.filter(|name| !exclude.contains(name)).map(plain).collect()
            }
        }
    }

    fn correlation(&mut self) -> Ends<Vec<String>> {
        if let Some(key) = &self.pair.key {
            return Ends { source: key.source.clone(), target: key.target.clone() };
        }
        let listed = self.listed();
        let mut target = Vec::new();
        for name in &self.source.key {
            match listed.iter().find(|mapping| &mapping.source == name) {
                Some(mapping) => target.push(mapping.target.clone()),
                None => {
                    let text = format!(
                        "the source's primary key field \"{name}\" is not mapped, so the target would have no key"
                    );
                    let hint = format!("map \"{name}\", or say \"key\": {{\"source\": \"{name}\", \"target\": \"…\"}}");
                    self.problems.push(Problem::error("mapping.no_key", &self.pair.at, text).suggest(hint));
                }
            }
        }
        Ends { source: self.source.key.clone(), target }
    }

    /// Whether records of the target need a key that is not the source's: they may be there before the source has given them one, or
    /// there are records whose value is null.
    fn has_own_key(&self, key: &Ends<Vec<String>>) -> bool {
        let columns = || key.source.iter().filter_map(|name| self.source.column(name));
        let given_later =
            self.pair.target_to_source && key.source != key.target && columns().all(|column| column.has_default);
        given_later || columns().any(|column| column.nullable)
    }

    /// The kind of the target's own keys, where they are one field.
    fn own_kind(&self, key: &Ends<Vec<String>>, own_key: bool) -> Option<Kind> {
        match (own_key, key.source.as_slice()) {
            (true, _) => Some(Kind::Int),
            (false, [name]) => self.source.column(name).map(|column| column.kind),
            (false, _) => None,
        }
    }

    fn source_column(&mut self, name: &str, at: &crate::config::Location) -> Option<Column> {
        if let Some(column) = self.source.column(name) {
            return Some(column.clone());
        }
        let names: Vec<&str> = self.source.columns.iter().map(|column| column.name.as_str()).collect();
        let text = format!("the source \"{}\" has no column \"{name}\"", self.pair.source.collection);
        self.problems.push(suggested(Problem::error("mapping.unknown_field", at, text), name, &names));
        None
    }

    fn as_it_is(&self, column: &Column, name: &str) -> NewColumn {
        let like = Some((self.pair.source.system_type.clone(), column.native_type.clone()));
        NewColumn { name: name.to_owned(), kind: column.kind, like, not_null: false }
    }

    fn mapped(&mut self, mapping: &FieldMapping, own_kind: Option<Kind>) -> Option<NewColumn> {
        let column = self.source_column(&mapping.source, &mapping.at)?;
        let plain = self.as_it_is(&column, &mapping.target);
        if let Some(lookup) = &mapping.lookup {
            let own = (lookup.pair == self.pair.name).then_some(own_kind).flatten();
            let kind = own.or_else(|| {
                let schema = &self.others.get(&lookup.pair)?.target;
                schema.key.first().and_then(|name| schema.column(name)).map(|column| column.kind)
            });
            if kind.is_none() {
                let text = format!(
                    "the type of \"{}\" is that of the keys of pair \"{}\", whose table is not there yet",
                    mapping.target, lookup.pair
                );
                self.problems.push(underivable(mapping.at.clone(), text, "`tidelock run` makes that one first"));
            }
            return Some(NewColumn { kind: kind?, like: None, ..plain });
        }
        let changed = !mapping.forward.is_empty() || !mapping.value_map.is_empty();
        if !changed {
            return Some(NewColumn { not_null: self.never_null(mapping, &column), ..plain });
        }
        let mut kind = column.kind;
        for call in &mapping.forward {
            // A function that is not there is reported when the pair is bound.
            kind = self.plugins.info(&call.name).ok().and_then(|info| info.output).unwrap_or(kind);
        }
        let literals = mapping.value_map.iter().map(|(_, json)| json).filter(|json| !json.is_null());
        for json in literals {
            kind = common(kind, json);
        }
        Some(NewColumn { kind, like: None, ..plain })
    }

    /// Whether a value of this mapping is null in no case.
    fn never_null(&self, mapping: &FieldMapping, column: &Column) -> bool {
        let names = [mapping.source.as_str(), mapping.target.as_str()];
        let emptied = self.pair.validation_rules.iter().any(|rule| {
            names.contains(&rule.field.as_str()) && matches!(rule.on_error, OnInvalid::SetNull | OnInvalid::SkipField)
        });
        // What the source fills in by itself may be left open by the target.
        let left_open = self.pair.target_to_source && column.has_default;
        !column.nullable && mapping.source_to_target && !emptied && !left_open
    }

    /// Nothing tells the types of what a record transform makes.
    fn computed(&mut self, answered: &[Answered], columns: &[NewColumn]) {
        for (transform, answer) in self.pair.record_transforms.iter().zip(answered) {
            let made = answer.outputs.iter().filter(|_| transform.from == End::Source);
            for name in made.filter(|name| columns.iter().all(|column| &column.name != *name)) {
                let text =
                    format!("the type of \"{name}\", which \"{}\" makes, is known from nothing", transform.call.name);
                let hint = "make the table yourself: `create_target` leaves one that is there as it is";
                self.problems.push(underivable(transform.call.at.clone(), text, hint));
            }
        }
    }

    /// What marks deleted records.
    fn mark(&self) -> Option<NewColumn> {
        let name = self.pair.soft_delete.as_ref().filter(|_| self.pair.deletes == Deletes::SoftDelete)?;
        let kind = self.source.column(name).map_or(Kind::Instant, |column| column.kind);
        Some(NewColumn { name: name.clone(), kind, like: None, not_null: false })
    }

    /// The target's fields of `match_on`, and whether no two records have them equal.
    fn match_on(&self) -> Option<(Vec<String>, bool)> {
        let listed = self.listed();
        let mapping = |name: &String| listed.iter().find(|mapping| &mapping.source == name);
        let mappings: Vec<&FieldMapping> = self.pair.match_on.iter().filter_map(mapping).collect();
        let changed = mappings.iter().any(|mapping| !mapping.forward.is_empty() || !mapping.value_map.is_empty());
        let once = !changed && self.source.is_unique(&self.pair.match_on);
        let fields: Vec<String> = mappings.iter().map(|mapping| mapping.target.clone()).collect();
        (!fields.is_empty()).then_some((fields, once))
    }
}

fn underivable(at: crate::config::Location, text: String, hint: &str) -> Problem {
    Problem::error("mapping.create_target", &at, text).suggest(hint)
}

/// A kind that holds both.
fn common(kind: Kind, json: &serde_json::Value) -> Kind {
    let fits = crate::value::Value::from_json(kind, json).is_ok();
    if fits { kind } else { Kind::Text }
}
