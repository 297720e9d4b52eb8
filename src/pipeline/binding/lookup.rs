//! `lookup`: fields whose values are keys of another pair's records.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Binding;
use crate::change::{End, Ends};
use crate::config::{Lookup, Mappings, PairConfig, Problem};
use crate::connector::Schema;
use crate::value::{Kind, Value};

/// The links that translate the keys in a field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundLookup {
    /// Name of the pair that has them.
    pub pair: Arc<str>,
    /// For each end of this pair: the end of the other one that is in the same system, and the kind of its key.
    pub keys: Ends<(End, Kind)>,
    /// Whether the field of each end may stay null until the parent is there, where a circle leaves no other way.
    pub optional: Ends<bool>,
}

impl BoundLookup {
    /// A value of `end` as a key of the other pair.
    ///
    /// # Errors
    /// Where it cannot be one.
    pub fn key(&self, end: End, value: Value) -> Result<Value, crate::value::ConvertError> {
        value.convert(self.keys.get(end).1)
    }
}

impl Binding {
    /// Whether any field refers to records of another pair.
    pub fn looks_up(&self) -> bool {
        self.mappings.iter().any(|mapping| mapping.lookup.is_some())
    }
}

/// Binds the lookups of `pair`. `own`: what the catalogues say about its own ends; `others`: what the catalogues say about the ends of the pairs that it looks up, by their names.
pub fn bind_lookups(
    binding: &mut Binding,
    pair: &PairConfig,
    own: &Ends<Schema>,
    others: &BTreeMap<Arc<str>, Ends<Schema>>,
) -> Vec<Problem> {
    let Mappings::Listed(listed) = &pair.mappings else { return Vec::new() };
    let mut problems = Vec::new();
    for (mapping, lookup) in listed.iter().filter_map(|mapping| Some((mapping, mapping.lookup.as_ref()?))) {
        let named = |fields: &Ends<super::BoundField>| {
            fields.source.name == mapping.source && fields.target.name == mapping.target
        };
        let place = binding.mappings.iter().position(|bound| named(&bound.fields));
        let ruled = binding
            .checks
            .iter()
            .any(|rule| place.is_some() && [rule.places.source, rule.places.target].contains(&place));
        let bound = place.and_then(|place| binding.mappings.get_mut(place));
        let (Some(bound), Some(schemas)) = (bound, others.get(&lookup.pair)) else { continue };
        if bound.correlation {
            let text = format!("\"{}\" is part of the key, which cannot be translated", mapping.source);
            problems
                .push(Problem::error("mapping.key_transformed", &lookup.at, text).suggest("remove \"lookup\" here"));
            continue;
        }
        let nullable =
            |end: End| !ruled && own.get(end).column(&bound.fields.get(end).name).is_some_and(|column| column.nullable);
        match keys(lookup, schemas, &Ends::from_fn(|end| bound.fields.get(end).kind)) {
            Ok(keys) => {
                let (pair, optional) = (Arc::clone(&lookup.pair), Ends::from_fn(nullable));
                bound.lookup = Some(BoundLookup { pair, keys, optional });
            }
            Err(text) => problems.push(Problem::error("mapping.lookup", &lookup.at, text)),
        }
    }
    problems
}

fn keys(lookup: &Lookup, schemas: &Ends<Schema>, kinds: &Ends<Kind>) -> Result<Ends<(End, Kind)>, String> {
    let key = |end: End| {
        let Some((other, _)) = lookup.ends.as_ref().map(|ends| ends.get(end)) else { return Err(String::new()) };
        let schema = schemas.get(*other);
        let [name] = schema.key.as_slice() else {
            return Err(format!(
                "\"{}\" has a key of {} fields on this pair's {} side: only a key of one field can be looked up",
                lookup.pair,
                schema.key.len(),
                end.name()
            ));
        };
        let kind = schema.column(name).map_or(Kind::Text, |column| column.kind);
        if fits(kind, *kinds.get(end)) {
            return Ok((*other, kind));
        }
        Err(format!(
            "the {} field is of kind {:?}, but the keys of \"{}\" are of kind {kind:?} there",
            end.name(),
            kinds.get(end),
            lookup.pair
        ))
    };
    Ok(Ends { source: key(End::Source)?, target: key(End::Target)? })
}

/// Whether the values of a field can be keys of that kind.
fn fits(key: Kind, field: Kind) -> bool {
    let whole = |kind: Kind| matches!(kind, Kind::Int | Kind::Decimal);
    key == field || key == Kind::Text || field == Kind::Text || (whole(key) && whole(field))
}
