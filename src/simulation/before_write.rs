//! Oracles that look at each write of the program at the moment at which a system carries it out.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::ledger::{Deleted, Mark, Thing};
use super::planted;
use super::side::{Side, id_of, key};
use super::table::{FIELD_NAMES, FIELDS, Row};
use super::world::World;
use crate::change::End;
use crate::connector::Write;
use crate::record::Record;
use crate::value::Value;

/// I4: one record is not written twice at the same time.
pub(super) fn begin(world: &mut World, side: &Side, writes: &mut [Write]) {
    for write in writes {
        planted::write(world.bug, write);
        if let Write::Update { key, .. } | Write::Delete { key, .. } = write {
            let table = &mut world.tables[side.table];
            if !table.writing.insert((Arc::clone(&side.consumer), id_of(key))) {
                world.violate(|| format!("I4: {key} is written twice at once"));
            }
        }
    }
}

pub(super) fn end(world: &mut World, side: &Side, writes: &[Write]) {
    for write in writes {
        if let Write::Update { key, .. } | Write::Delete { key, .. } = write {
            world.tables[side.table].writing.remove(&(Arc::clone(&side.consumer), id_of(key)));
        }
    }
}

/// Puts fields into a row, once the oracles have looked at them.
pub(super) fn fields(world: &mut World, side: &Side, (id, creates): (i64, bool), row: &mut Row, fields: &Record) {
    // A null says nothing of what it belongs to: the other values come first.
    let (nulls, others): (Vec<_>, Vec<_>) = fields.iter().partition(|(_, value)| value.is_null());
    for (name, value) in others.into_iter().chain(nulls) {
        let table = &world.tables[side.table];
        let place = table.place(name);
        let stored = table.stores.store(value);
        if let Some(field) = table.field(place) {
            is_valid(world, side, (id, field), value);
            let mark = author(world, side, (id, field), row, value);
            if let (Some(earlier), Some(later), false) = (row.marks[field], mark, creates) {
                is_no_loss(world, side, (id, field), row, (earlier, later));
            }
            row.things.extend(mark.filter(|_| !value.is_null()).map(|mark| world.ledger.written[mark].thing));
            row.marks[field] = mark;
        }
        row.values[place] = stored;
    }
    if creates {
        is_no_resurrection(world, side, id, &row.things);
        is_no_double(world, side, id, &row.things);
    }
}

/// I8: what was refused reaches nobody.
fn is_valid(world: &mut World, side: &Side, (id, field): (i64, usize), value: &Value) {
    if let Value::Text(text) = value
        && text.contains(['!', '%', '&'])
    {
        let name = world.tables[side.table].name;
        world.violate(|| format!("I8: {name} {id}.{}: a refused value is written", FIELD_NAMES[field]));
    }
}

/// Whose value the program writes; a value that nobody wrote is a violation. Of several that wrote
/// the same, one that makes the write right.
fn author(world: &mut World, side: &Side, (id, field): (i64, usize), row: &Row, value: &Value) -> Option<Mark> {
    let mut authors = world.ledger.authors(&row.things, field, value);
    if world.pairs[side.pair].correlation.is_none() {
        // The same key may be another thing on the other side.
        authors.extend(world.ledger.authors(&BTreeSet::new(), field, value));
    }
    if authors.is_empty() {
        let name = world.tables[side.table].name;
        world.violate(|| {
            format!("I6: {name} {id}.{}: a value is written that nobody wrote: {value:?}", FIELD_NAMES[field])
        });
        return None;
    }
    let now = row.marks[field];
    let fits = |mark: &Mark| now.is_none_or(|now| world.ledger.knows(*mark, now));
    let is_new = |mark: &Mark| now.is_none_or(|now| !world.ledger.saw(now, *mark));
    authors.iter().copied().find(fits).or_else(|| authors.iter().copied().find(is_new)).or(authors.first().copied())
}

/// I6 and I4: what is overwritten was known to who wrote what replaces it, or the conflict is on record.
fn is_no_loss(world: &mut World, side: &Side, (id, field): (i64, usize), row: &Row, (earlier, later): (Mark, Mark)) {
    if !world.pairs[side.pair].two_way {
        return;
    }
    if world.ledger.knows(later, earlier) {
        is_in_order(world, side, (earlier, later));
        return;
    }
    let went_back = world.ledger.saw(earlier, later);
    if !went_back && (world.ledger.written[earlier].left_out || !is_edit(world, side, (id, field), row)) {
        // What replaces it replaces what it had replaced, too.
        world.ledger.chosen.push((later, earlier));
        return;
    }
    let (table, name) = (world.tables[side.table].name, FIELD_NAMES[field]);
    world.violate(|| {
        let law = if went_back { "I4: goes back" } else { "I6: an unseen edit is overwritten and not on record" };
        format!("{law}: {table} {id}.{name}: w{earlier} by w{later} ({:?})", row.values)
    });
}

/// Whether what stands in a field is an edit: states are compared, so what was put back to the value that is agreed is none; and a null says
/// nothing before anything else was agreed about the field.
fn is_edit(world: &World, side: &Side, (id, field): (i64, usize), row: &Row) -> bool {
    let value = &row.values[row.values.len() - FIELDS + field];
    let pair = &world.pairs[side.pair].name;
    let of = |base: &Record| base.get(FIELD_NAMES[field]).cloned();
    if world.state.agreed(pair, side.end, &key(id)).iter().any(|base| of(base).as_ref() == Some(value)) {
        return false;
    }
    let committed = || world.state.link(pair, side.end, &key(id))?.base.and_then(|base| of(base.get(side.end)));
    !value.is_null() || committed().is_some()
}

/// I7: what was deleted here comes back only where an edit that its deleter did not see won, which is on record.
fn is_no_resurrection(world: &mut World, side: &Side, id: i64, things: &BTreeSet<Thing>) {
    let two_way = world.pairs[side.pair].two_way;
    let deleted = world.tables[side.table].removed.iter().any(|one| !things.is_empty() && things.is_subset(one));
    if two_way && deleted && !world.ledger.has_deletion_conflict(things) {
        let name = world.tables[side.table].name;
        world.violate(|| format!("I7: {name} {id}: a deleted record is back, and no conflict is on record"));
    }
}

/// I11: no create is done twice. (Two spokes that both edited what the hub deleted may both bring it back, which is on record.)
fn is_no_double(world: &mut World, side: &Side, id: i64, things: &BTreeSet<Thing>) {
    let rows = &world.tables[side.table].rows;
    if !world.tables[side.table].generates || world.ledger.has_deletion_conflict(things) {
        return;
    }
    let twin =
        rows.iter().find(|(other, row)| **other != id && !row.things.is_disjoint(things)).map(|(other, _)| *other);
    if let Some(other) = twin {
        let name = world.tables[side.table].name;
        world.violate(|| format!("I11: {name} {id}: created, although it is there as {other}"));
    }
}

/// I6: whoever deleted it knew all that stands in it, or the conflict is on record.
pub(super) fn delete(world: &mut World, side: &Side, id: i64) {
    world.remove(side.table, id);
    let Some(row) = world.tables[side.table].rows.get(&id) else { return };
    let knew = |seen: &[Option<Mark>; FIELDS]| {
        let mut fields = row.marks.iter().zip(seen).enumerate();
        fields.all(|(field, (mark, seen))| {
            let Some(mark) = mark else { return true };
            let is_edit = || !world.ledger.written[*mark].null && is_edit(world, side, (id, field), row);
            seen.is_some_and(|seen| world.ledger.knows(seen, *mark)) || !is_edit()
        })
    };
    let of = |one: &&Deleted| one.shared_id.map_or(!one.things.is_disjoint(&row.things), |shared| shared == id);
    let deleted: Vec<&[Option<Mark>; FIELDS]> = world.ledger.deleted.iter().filter(of).map(|one| &one.seen).collect();
    let two_way = world.pairs[side.pair].two_way;
    let on_record = world.ledger.has_deletion_conflict(&row.things);
    let law = match deleted.as_slice() {
        [] => Some("I6: a record is deleted that nobody deleted"),
        seen if two_way && !on_record && !seen.iter().any(|seen| knew(seen)) => {
            Some("I6: an unseen edit is deleted and not on record")
        }
        _ => None,
    };
    if let Some(law) = law {
        let text = format!("{law}: {} {id} {:?}", world.tables[side.table].name, row.values);
        world.violate(|| text);
    }
}

/// The order of last-write-wins is total: the later change by the systems' clocks, at equal times the source's. The loser's record is as it was
/// decided, because the guard held; the winner's can only be later than it was.
fn is_in_order(world: &mut World, side: &Side, (earlier, later): (Mark, Mark)) {
    let traits = &world.pairs[side.pair];
    // A value that was put back says nothing of when.
    let told = traits.later_wins && [earlier, later].iter().all(|mark| world.ledger.is_unique(*mark));
    let Some(ids) = world.ledger.last_write_wins(side.pair, (earlier, later)).filter(|_| told) else {
        return;
    };
    let time = |end: End| world.tables[*traits.tables.get(end)].changed_at(*ids.get(end), &side.consumer);
    let (won, lost) = (time(side.end.other()), time(side.end));
    if lost > won || (lost == won && lost.is_some() && side.end == End::Source) {
        world.violate(|| format!("total order: w{later} of {won:?} won over w{earlier} of {lost:?} in {:?}", side.end));
    }
}
