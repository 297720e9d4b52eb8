//! Oracles that look at everything once people have stopped, the faults are over, and the program has nothing more to do.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::ledger::Thing;
use super::side::{id_of, read_position};
use super::table::{FIELDS, Row};
use super::world::{Shared, Traits, World};
use crate::change::{End, Ends};
use crate::state::{Link, Progress, StateStore};
use crate::value::Value;

/// What the systems, which trim and change case, mean by a value: the model is ours, not the program's.
fn meant(value: &Value) -> Option<String> {
    if let Value::Text(text) = value { Some(text.trim().to_lowercase()) } else { None }
}

fn fields(row: &Row) -> Vec<Option<String>> {
    row.values[row.values.len() - FIELDS..].iter().map(meant).collect()
}

type Waiting = BTreeSet<(End, i64)>;

/// Looks at every pair.
pub(super) async fn check(shared: &Shared) {
    let pairs = shared.world().pairs.clone();
    for traits in &pairs {
        let links = shared.state.all_links(&traits.name);
        let waiting = waiting(shared, traits);
        let progress = shared.state.progress(&traits.name).await;
        let mut world = shared.world();
        converged(&mut world, traits, &waiting);
        linked(&mut world, traits, &waiting, &links);
        if let Ok(progress) = progress {
            caught_up(&mut world, traits, &progress);
        }
    }
}

/// Things that a review holds up somewhere.
pub(super) fn held_up(shared: &Shared) -> BTreeSet<Thing> {
    let pairs = shared.world().pairs.clone();
    let mut things = BTreeSet::new();
    for traits in &pairs {
        let waiting = waiting(shared, traits);
        let world = shared.world();
        let row = |(end, id): &(End, i64)| {
            let table = &world.tables[*traits.tables.get(*end)];
            table.rows.get(id).or_else(|| table.before.get(id)?.as_ref())
        };
        let rows = waiting.iter().filter_map(row);
        things.extend(rows.flat_map(|row| row.things.clone()));
    }
    things
}

/// What is in review, and its counterparts.
fn waiting(shared: &Shared, traits: &Traits) -> Waiting {
    let mut waiting = BTreeSet::new();
    for finding in shared.state.findings(&traits.name) {
        waiting.insert((finding.end, id_of(&finding.key)));
        waiting.extend(finding.other.as_ref().map(|other| (finding.end.other(), id_of(other))));
    }
    extend(&shared.world(), traits, &mut waiting);
    waiting
}

/// What waits on one side holds up its counterpart too.
fn extend(world: &World, traits: &Traits, waiting: &mut Waiting) {
    let [sources, targets] = [traits.tables.source, traits.tables.target].map(|table| &world.tables[table].rows);
    for source in sources.keys() {
        for (target, _) in targets.iter().filter(|(target, row)| is_match(traits, *source, (**target, row))) {
            let both = [(End::Source, *source), (End::Target, *target)];
            if both.iter().any(|one| waiting.contains(one)) {
                waiting.extend(both);
            }
        }
    }
}

fn is_match(traits: &Traits, source: i64, (target, row): (i64, &Row)) -> bool {
    match traits.correlation {
        None => source == target,
        Some(place) => row.values[place] == Value::Int(source),
    }
}

/// I5: both sides are equal, or a review says why not.
fn converged(world: &mut World, traits: &Traits, waiting: &Waiting) {
    let [sources, targets] = [traits.tables.source, traits.tables.target].map(|table| &world.tables[table].rows);
    let waits = |source: Option<i64>, target: Option<i64>| {
        source.is_some_and(|id| waiting.contains(&(End::Source, id)))
            || target.is_some_and(|id| waiting.contains(&(End::Target, id)))
    };
    let mut wrong = Vec::new();
    let mut matched = BTreeSet::new();
    for (id, row) in sources {
        let found: Vec<(&i64, &Row)> =
            targets.iter().filter(|(target, row)| is_match(traits, *id, (**target, row))).collect();
        matched.extend(found.iter().map(|(target, _)| **target));
        match found.as_slice() {
            [(target, other)] => {
                if fields(row) != fields(other) && !waits(Some(*id), Some(**target)) {
                    wrong.push(format!("source {id} {:?} is not target {target} {:?}", row.values, other.values));
                }
            }
            [] if waits(Some(*id), None) => {}
            found => wrong.push(format!("source {id} {:?} is there {} times", row.values, found.len())),
        }
    }
    for (id, row) in targets.iter().filter(|(id, _)| !matched.contains(id)) {
        if !waits(None, Some(*id)) {
            wrong.push(format!("target {id} {:?} is in no source", row.values));
        }
    }
    if let Some(first) = wrong.first() {
        world.violate(|| format!("I5: {}: {first}", traits.name));
    }
}

/// I2: the links say what both sides have.
fn linked(world: &mut World, traits: &Traits, waiting: &Waiting, links: &[Link]) {
    if !traits.two_way {
        return;
    }
    let ids = |link: &Link| Ends::from_fn(|end| id_of(link.keys.get(end)));
    let live: Vec<&Link> = links.iter().filter(|link| link.base.is_some()).collect();
    let mut wrong = None;
    for link in &live {
        let ids = ids(link);
        if [End::Source, End::Target].iter().any(|end| waiting.contains(&(*end, *ids.get(*end)))) {
            continue;
        }
        for end in [End::Source, End::Target] {
            let table = &world.tables[*traits.tables.get(end)];
            let base = link.base.as_ref().map(|base| base.get(end));
            let row = table.rows.get(ids.get(end));
            let agrees = |row: &Row| {
                base.is_some_and(|base| base.iter().all(|(name, value)| row.values[table.place(name)] == *value))
            };
            if !row.is_some_and(agrees) {
                wrong = Some(format!(
                    "the link {ids:?} says {base:?} of {}, which has {:?}",
                    end.name(),
                    row.map(|row| &row.values)
                ));
            }
        }
    }
    for id in world.tables[traits.tables.source].rows.keys() {
        if !waiting.contains(&(End::Source, *id)) && !live.iter().any(|link| ids(link).source == *id) {
            wrong = Some(format!("source {id} has no link; {waiting:?} wait"));
        }
    }
    if let Some(wrong) = wrong {
        world.violate(|| format!("I2: {}: {wrong}", traits.name));
    }
}

/// I3: nothing is left behind the positions, which are durable.
fn caught_up(world: &mut World, traits: &Traits, progress: &Progress) {
    let ends: &[End] = if traits.two_way { &[End::Source, End::Target] } else { &[End::Source] };
    for end in ends {
        let table = &world.tables[*traits.tables.get(*end)];
        let (head, name) = (table.log.len(), Arc::clone(&traits.name));
        let position = progress.positions.get(*end).as_ref().and_then(read_position).map(|(_, sequence)| sequence);
        if position != Some(head) {
            world.violate(|| format!("I3: {name} stands at {position:?} of {head} changes of its {}", end.name()));
        }
    }
}
