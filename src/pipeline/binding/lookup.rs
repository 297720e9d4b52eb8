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

/// Binds the lookups of `pair`. `others`: what the catalogues say about the ends of the pairs that it looks up, by their names.
pub fn bind_lookups(
    binding: &mut Binding,
    pair: &PairConfig,
    others: &BTreeMap<Arc<str>, Ends<Schema>>,
) -> Vec<Problem> {
    let Mappings::Listed(listed) = &pair.mappings else { return Vec::new() };
    let mut problems = Vec::new();
    for (mapping, lookup) in listed.iter().filter_map(|mapping| Some((mapping, mapping.lookup.as_ref()?))) {
        let named = |fields: &Ends<super::BoundField>| {
            fields.source.name == mapping.source && fields.target.name == mapping.target
        };
        let bound = binding.mappings.iter_mut().find(|bound| named(&bound.fields));
        let (Some(bound), Some(schemas)) = (bound, others.get(&lookup.pair)) else { continue };
        if bound.correlation {
            let text = format!("\"{}\" is part of the key, which cannot be translated", mapping.source);
            problems
                .push(Problem::error("mapping.key_transformed", &lookup.at, text).suggest("remove \"lookup\" here"));
            continue;
        }
        match bind_one(lookup, schemas, &Ends::from_fn(|end| bound.fields.get(end).kind)) {
            Ok(one) => bound.lookup = Some(one),
            Err(text) => problems.push(Problem::error("mapping.lookup", &lookup.at, text)),
        }
    }
    problems
}

fn bind_one(lookup: &Lookup, schemas: &Ends<Schema>, kinds: &Ends<Kind>) -> Result<BoundLookup, String> {
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
    Ok(BoundLookup {
        pair: Arc::clone(&lookup.pair),
        keys: Ends { source: key(End::Source)?, target: key(End::Target)? },
    })
}

/// Whether the values of a field can be keys of that kind.
fn fits(key: Kind, field: Kind) -> bool {
    let whole = |kind: Kind| matches!(kind, Kind::Int | Kind::Decimal);
    key == field || key == Kind::Text || field == Kind::Text || (whole(key) && whole(field))
}
