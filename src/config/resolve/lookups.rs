//! `lookup` (layer 2): the pair through whose links a field's keys are translated.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Context;
use crate::change::{End, Ends};
use crate::config::raw;
use crate::config::{Credentials, Endpoint, Lookup, Mappings, PairConfig, Problem, codes, suggestion};

/// Names that endpoints have where they are given none.
const NAMELESS: [&str; 2] = ["source", "target"];

/// What a mapping says about it.
pub(super) fn lookup(context: &mut Context<'_>, raw: &raw::FieldMapping) -> Option<Lookup> {
    let pair = Arc::from(raw.lookup.as_deref()?);
    let at = context.at_key(raw.at, "lookup");
    if raw.value_map.is_some() {
        let message = "\"lookup\" and \"value_map\" both say what becomes of the value";
        context.report(Problem::error(codes::CONTRADICTION, &at, message).suggest("keep one of them"));
    }
    Some(Lookup { at, pair, ends: None })
}

/// In a hub a lookup may name a mapping of the same system in place of its pair. `objects`: their names with those of their pairs.
pub(super) fn name_pairs(pairs: &mut [PairConfig], objects: &[(String, Arc<str>)]) {
    for lookup in pairs.iter_mut().flat_map(lookups) {
        if let Some((_, pair)) = objects.iter().find(|(object, _)| **object == *lookup.pair) {
            lookup.pair = Arc::clone(pair);
        }
    }
}

/// Finds the pair of every lookup, once all pairs are known. Those that are looked up keep links.
pub(super) fn connect(context: &mut Context<'_>, pairs: &mut [PairConfig]) {
    let ends = |pair: &PairConfig| Ends { source: pair.source.clone(), target: pair.target.clone() };
    let known: BTreeMap<Arc<str>, Ends<Endpoint>> =
        pairs.iter().map(|pair| (Arc::clone(&pair.name), ends(pair))).collect();
    let mut looked_up = BTreeSet::new();
    for pair in pairs.iter_mut() {
        let own = ends(pair);
        for lookup in lookups(pair) {
            let Some(other) = known.get(&lookup.pair) else {
                let message = format!("there is no pair \"{}\"", lookup.pair);
                let names: Vec<&str> = known.keys().map(|name| &**name).collect();
                let mut problem = Problem::error(codes::UNKNOWN_PAIR, &lookup.at, message);
                problem.suggestion = suggestion(&lookup.pair, &names);
                context.report(problem);
                continue;
            };
            lookup.ends = opposite(&own, other);
            if lookup.ends.is_none() {
                let message = format!("the pair \"{}\" is not between the same two systems as this one", lookup.pair);
                let problem = Problem::error(codes::OTHER_SYSTEMS, &lookup.at, message);
                context.report(problem.suggest("name a pair of the same systems, or reach them in the same words"));
            }
            looked_up.insert(Arc::clone(&lookup.pair));
        }
    }
    for pair in pairs {
        pair.looked_up = looked_up.contains(&pair.name);
    }
}

fn lookups(pair: &mut PairConfig) -> impl Iterator<Item = &mut Lookup> {
    let listed = match &mut pair.mappings {
        Mappings::Listed(listed) => listed.as_mut_slice(),
        Mappings::SameNames { .. } => &mut [],
    };
    listed.iter_mut().filter_map(|mapping| mapping.lookup.as_mut())
}

/// The ends of `other` that are in the systems of `own`: the same way round, or the other.
fn opposite(own: &Ends<Endpoint>, other: &Ends<Endpoint>) -> Option<Ends<(End, Box<Endpoint>)>> {
    let fits = |turned: bool| {
        let end = |end: End| if turned { end.other() } else { end };
        let same = |one: End| is_same_system(own.get(one), other.get(end(one)));
        let ends = || Ends::from_fn(|one| (end(one), Box::new(other.get(end(one)).clone())));
        (same(End::Source) && same(End::Target)).then(ends)
    };
    fits(false).or_else(|| fits(true))
}

/// Systems of the same name, or that are reached in the same way.
fn is_same_system(one: &Endpoint, other: &Endpoint) -> bool {
    let place = |endpoint: &Endpoint| {
        let Credentials { url, path, host, port, database, other, .. } = endpoint.credentials.clone();
        (url, path, host, port, database, other)
    };
    let named = one.name == other.name && !NAMELESS.contains(&&*one.name);
    one.system_type == other.system_type && (named || place(one) == place(other))
}
