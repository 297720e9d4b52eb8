//! What people do: they insert, change and delete records of every system, and decide about what is in review.

use super::ledger::{Deleted, Written};
use super::side::id_of;
use super::table::{FIELDS, Row};
use super::topology::Shape;
use super::world::{Shared, World};
use crate::change::End;
use crate::record::Key;
use crate::state::{Decision, ReviewFilter, Ruling, StateStore};
use crate::value::Value;

/// Keys that people use where they choose them.
const SHARED_IDS: usize = 4;

/// Somebody changes something.
pub(super) fn edit(world: &mut World, shape: Shape, poison: bool) {
    let table = if shape == Shape::Copy { 0 } else { world.rng.below(world.tables.len()) };
    let ids: Vec<i64> = world.tables[table].rows.keys().copied().collect();
    let dice = world.rng.below(100);
    if ids.is_empty() || dice < 20 {
        insert(world, table, poison);
        return;
    }
    let id = world.rng.pick(&ids);
    if dice < 32 {
        delete(world, table, id);
    } else {
        update(world, table, id, poison);
    }
}

/// Somebody inserts a record; nobody does where all keys are taken.
pub(super) fn insert(world: &mut World, table: usize, poison: bool) {
    let id = if world.tables[table].generates {
        world.tables[table].fresh_id()
    } else {
        let free = (1..=SHARED_IDS).filter_map(|id| i64::try_from(id).ok());
        let free: Vec<i64> = free.filter(|id| !world.tables[table].rows.contains_key(id)).collect();
        if free.is_empty() {
            return;
        }
        world.rng.pick(&free)
    };
    let mut row = world.tables[table].blank(id);
    let thing = world.ledger.thing();
    row.things.insert(thing);
    // Whoever uses a key again knows what had it before.
    if let Some(Some(before)) = world.tables[table].before.get(&id) {
        row.marks = before.marks;
    }
    for field in 0..FIELDS {
        let null = field > 0 && world.rng.chance(200);
        set(world, table, &mut row, (field, thing), null, poison);
    }
    put(world, table, id, Some(row));
}

fn update(world: &mut World, table: usize, id: i64, poison: bool) {
    let mut row = world.tables[table].rows[&id].clone();
    let Some(thing) = row.things.last().copied() else { return };
    let first = world.rng.below(FIELDS);
    let count = 1 + world.rng.below(2);
    for field in [first, (first + 1) % FIELDS].into_iter().take(count) {
        let was_null = row.values[row.values.len() - FIELDS + field].is_null();
        let null = field > 0 && !was_null && world.rng.chance(60);
        if world.rng.chance(100) && put_back(world, table, &mut row, (id, field, thing)) {
            continue;
        }
        set(world, table, &mut row, (field, thing), null, poison);
    }
    put(world, table, id, Some(row));
}

/// Sets a field to the very value that it had before the record was last changed; whether it had another.
fn put_back(world: &mut World, table: usize, row: &mut Row, (id, field, thing): (i64, usize, usize)) -> bool {
    let place = row.values.len() - FIELDS + field;
    let Some(Some(was)) = world.tables[table].before.get(&id) else { return false };
    let (value, mark) = (was.values[place].clone(), was.marks[field]);
    let Some(mark) = mark.filter(|_| value != row.values[place]) else { return false };
    let (text, null) = (world.ledger.written[mark].text, value.is_null());
    let before = row.marks[field];
    row.marks[field] = Some(world.ledger.write(Written { thing, field, before, null, text, left_out: false }));
    row.values[place] = value;
    true
}

fn delete(world: &mut World, table: usize, id: i64) {
    let row = &world.tables[table].rows[&id];
    let shared_id = (!world.tables[table].generates).then_some(id);
    let deleted = Deleted { shared_id, things: row.things.clone(), seen: row.marks };
    world.ledger.deleted.push(deleted);
    world.remove(table, id);
    put(world, table, id, None);
}

/// A new value for a field. Each is unique; some are written oddly, some are what a function, a rule or a system refuses.
fn set(world: &mut World, table: usize, row: &mut Row, (field, thing): (usize, usize), null: bool, poison: bool) {
    let before = row.marks[field];
    let left_out = null && row.values[row.values.len() - FIELDS + field].is_null();
    let text = world.ledger.written.len();
    let mark = world.ledger.write(Written { thing, field, before, null, text, left_out });
    let mut text = if world.rng.chance(150) { format!("W{mark}") } else { format!("w{mark}") };
    if poison && world.rng.chance(60) {
        text.push(match field {
            0 if world.rng.chance(500) => '%',
            0 => '&',
            1 => '!',
            _ => '^',
        });
    }
    if world.rng.chance(200) {
        text = format!(" {text} ");
    }
    let value = if null { Value::Null } else { Value::Text(text) };
    let table = &world.tables[table];
    let place = table.columns.len() - FIELDS + field;
    row.values[place] = table.stores.store(&value);
    row.marks[field] = Some(mark);
}

fn put(world: &mut World, table: usize, id: i64, row: Option<Row>) {
    let now = world.now;
    let name = world.tables[table].name;
    world.tell(|| {
        let shown = row.as_ref().map(|row| (&row.values, &row.things));
        format!("somebody writes {name} {id}: {shown:?}")
    });
    world.stamp(u64::try_from(id).unwrap_or_default() + 100);
    world.activity += 1;
    world.tables[table].put(id, row, now, None);
}

/// Somebody decides about something in review.
pub(super) async fn decide(shared: &Shared, pair: usize) {
    let name = std::sync::Arc::clone(&shared.world().pairs[pair].name);
    let Ok(reviews) = shared.state.reviews(&ReviewFilter::pair(&name), 10).await else { return };
    let decision = {
        let mut world = shared.world();
        if reviews.is_empty() {
            return;
        }
        let place = world.rng.below(reviews.len());
        let review = &reviews[place];
        let take = world.rng.pick(&[Some(End::Source), Some(End::Target), None]);
        world.tell(|| format!("somebody decides about {} {:?}: {take:?}", review.finding.key, review.finding.kind));
        world.activity += 1;
        let tables = world.pairs[pair].tables;
        let (end, finding) = (review.finding.end, &review.finding);
        let marks = |of: End, key: Option<&Key>| Some(world.tables[*tables.get(of)].rows.get(&id_of(key?))?.marks);
        let own = marks(end, Some(&finding.key));
        if let (Some(take), Some(own), Some(other)) = (take, own, marks(end.other(), finding.other.as_ref())) {
            let (later, earlier) = if take == end { (own, other) } else { (other, own) };
            let chosen = later.into_iter().zip(earlier).filter_map(|(later, earlier)| Some((later?, earlier?)));
            world.ledger.chosen.extend(chosen);
        }
        let ruling = Ruling { take, ..Ruling::default() };
        let version = review.version.clone();
        Decision { id: 0, review: review.id, version, ruling, actor: "somebody".to_owned(), at: world.now }
    };
    let decided = shared.state.decide(&[decision]).await;
    assert!(decided.is_ok());
}
