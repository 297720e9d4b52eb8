//! Change data capture: what a transaction did to the records → change events on the [`bus`], whoever did it.
//!
//! A field that an event does not change is null in it, so the header names those that it changes. Equal changes of several records in one
//! transaction are one event. What is no field of an event: `Id`, `IsDeleted`, `SystemModstamp` and fields that no record of the sandbox fills.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::describe::{IS_DELETED, Kind, LAST_MODIFIED_BY, LAST_MODIFIED_DATE, Object};
use super::exchange::Request;
use super::faults::{Fault, Faults};
use super::store::{Row, Touch, at, is_deleted};

mod avro;
pub(super) mod bus;
mod shape;

use avro::Encoder;
use bus::Event;
use shape::{Shape, Slot};

/// In the order of the schema's enum.
const CHANGE_TYPES: &[&str] = &[
    "CREATE",
    "UPDATE",
    "DELETE",
    "UNDELETE",
    "GAP_CREATE",
    "GAP_UPDATE",
    "GAP_DELETE",
    "GAP_UNDELETE",
    "GAP_OVERFLOW",
    "SNAPSHOT",
];
/// What stands for the records of an overflow.
const NO_RECORD: &str = "000000000000000AAA";
/// A transaction that changes more than this is told as an overflow: each field that is changed counts.
const CHANGES_MAX: usize = 100_000;
/// A text of as many characters that replaces another as long is sent as the difference to it.
const DIFFED: usize = 1000;

/// The channel of an object's events.
pub(super) fn channel(object: &str) -> String {
    format!("/data/{}", event_name(object))
}

/// `Account` → `AccountChangeEvent`, `Thing__c` → `Thing__ChangeEvent`.
fn event_name(object: &str) -> String {
    let stem = if object.ends_with("__c") { object.trim_end_matches('c') } else { object };
    format!("{stem}ChangeEvent")
}

/// The schema of an object's events, and its id.
pub(super) fn schema(object: &Object) -> (String, String) {
    Shape::of(object).schema()
}

/// A transaction that was committed.
pub(super) struct Transaction<'a> {
    pub(super) number: u64,
    pub(super) ms: i64,
    /// Who committed it, by id.
    pub(super) user: &'a str,
    /// `com/salesforce/api/rest/60.0;client=…`; empty where it was no API.
    pub(super) origin: &'a str,
}

/// What an event tells, before it is written.
struct Telling {
    change_type: &'static str,
    ids: Vec<String>,
    /// The record as the event carries it; none where it carries no values.
    row: Option<Row>,
    /// Places of the fields that an update changed; of those that it made null; of those sent as a difference.
    changed: Vec<usize>,
    nulled: Vec<usize>,
    diffed: Vec<usize>,
}

/// The events of one object of a transaction that touched these records.
pub(super) fn of_transaction(
    object: &Object,
    touched: &[Touch],
    of: &Transaction<'_>,
    first: usize,
    faults: &mut Faults,
) -> Vec<Event> {
    let shape = Shape::of(object);
    let mut tellings: Vec<Telling> = Vec::new();
    let own = touched.iter().filter(|touch| touch.object == object.name);
    for telling in own.filter_map(|touch| telling(&shape, touch)) {
        match tellings.last_mut() {
            Some(last) if last.takes_in(&telling) => last.ids.extend(telling.ids),
            _ => tellings.push(telling),
        }
    }
    let changes: usize = tellings.iter().map(|telling| telling.ids.len() * telling.changed.len().max(1)).sum();
    let mut events = Vec::new();
    let mut overflows = changes > CHANGES_MAX;
    for telling in &mut tellings {
        let header = telling.header(&shape, object, of, first + events.len());
        let struck = faults.strike(&Request::new(
            "PUBLISH",
            &channel(&object.name),
            axum::http::HeaderMap::new(),
            header.to_string().into_bytes(),
        ));
        overflows |= struck.has(Fault::OverflowEvent);
        if struck.has(Fault::GapEvent) {
            telling.become_gap();
        }
        if !overflows {
            events.push(telling.event(&shape, object, of, first + events.len()));
        }
    }
    if overflows {
        let overflow = Telling::empty("GAP_OVERFLOW", vec![NO_RECORD.to_owned()]);
        events.push(overflow.event(&shape, object, of, first + events.len()));
    }
    events
}

/// What is told of one record; `None` where nothing that is told has happened.
fn telling(shape: &Shape<'_>, touch: &Touch) -> Option<Telling> {
    let Touch { id, before, after, .. } = touch;
    let before = before.as_ref().filter(|row| !is_deleted(row));
    let bin = touch.before.is_some() && before.is_none();
    let (change_type, row) = match (before, after.as_ref().filter(|row| !is_deleted(row))) {
        (None, None) => return None,
        (None, Some(after)) => (if bin { "UNDELETE" } else { "CREATE" }, after),
        (Some(_), None) => return Some(Telling::empty("DELETE", vec![id.clone()])),
        (Some(before), Some(after)) => return Some(update(shape, id, before, after)),
    };
    Some(Telling { row: Some(row.clone()), ..Telling::empty(change_type, vec![id.clone()]) })
}

fn update(shape: &Shape<'_>, id: &str, before: &Row, after: &Row) -> Telling {
    let mut telling = Telling::empty("UPDATE", vec![id.to_owned()]);
    let mut row: Row = vec![Value::Null; after.len()];
    for place in (0..after.len()).filter(|place| *place != IS_DELETED) {
        let (old, new) = (at(before, place), at(after, place));
        // The stamp of a change is told with each.
        if old == new && place != LAST_MODIFIED_DATE {
            continue;
        }
        telling.changed.push(place);
        if new.is_null() {
            telling.nulled.push(place);
        }
        let diff = shape.field(place).filter(|field| field.kind == Kind::Textarea).and_then(|_| difference(old, new));
        if diff.is_some() {
            telling.diffed.push(place);
        }
        if let Some(slot) = row.get_mut(place) {
            *slot = diff.unwrap_or_else(|| new.clone());
        }
    }
    Telling { row: Some(row), ..telling }
}

/// A long text that replaces another, as the difference between them in the unified form: one hunk.
fn difference(old: &Value, new: &Value) -> Option<Value> {
    let (old, new) = (old.as_str()?, new.as_str()?);
    if old.chars().count() < DIFFED || new.chars().count() < DIFFED {
        return None;
    }
    let lines = |text: &str, sign: char| text.lines().map(|line| format!("{sign}{line}\n")).collect::<String>();
    let (from, to) = (old.lines().count(), new.lines().count());
    Some(json!(format!("--- a\n+++ b\n@@ -1,{from} +1,{to} @@\n{}{}", lines(old, '-'), lines(new, '+'))))
}

impl Telling {
    fn empty(change_type: &'static str, ids: Vec<String>) -> Self {
        Self { change_type, ids, row: None, changed: Vec::new(), nulled: Vec::new(), diffed: Vec::new() }
    }

    /// Whether another record's change is told in the same event.
    fn takes_in(&self, other: &Self) -> bool {
        let same =
            ["UPDATE", "DELETE", "UNDELETE"].contains(&self.change_type) && self.change_type == other.change_type;
        let twice = other.ids.iter().any(|id| self.ids.contains(id));
        same && !twice && self.row == other.row && self.changed == other.changed
    }

    /// Something kept the values out.
    fn become_gap(&mut self) {
        let gap = CHANGE_TYPES.iter().find(|name| name.strip_prefix("GAP_") == Some(self.change_type));
        *self = Self::empty(gap.copied().unwrap_or("GAP_UPDATE"), std::mem::take(&mut self.ids));
    }

    fn header(&self, shape: &Shape<'_>, object: &Object, of: &Transaction<'_>, number: usize) -> Value {
        json!({
            "entityName": object.name, "recordIds": self.ids, "changeType": self.change_type, "changeOrigin": of.origin,
            "transactionKey": format!("{:08x}-0000-4000-8000-{:012x}", of.number, of.ms), "sequenceNumber": number,
            "commitTimestamp": of.ms, "commitNumber": 11_000_000_000_u64 + of.number, "commitUser": of.user,
            "nulledFields": shape.bitmaps(&self.nulled), "diffFields": shape.bitmaps(&self.diffed),
            "changedFields": shape.bitmaps(&self.changed),
        })
    }

    fn event(&self, shape: &Shape<'_>, object: &Object, of: &Transaction<'_>, number: usize) -> Event {
        let header = self.header(shape, object, of, number);
        let mut encoder = Encoder::default();
        write_header(&mut encoder, &header, self.change_type);
        for (_, slot) in &shape.slots {
            self.write(&mut encoder, shape, slot);
        }
        Event {
            object: object.name.clone(),
            id: format!("{:08x}-0000-4000-9000-{number:012x}", of.number),
            schema_id: shape.schema().1,
            payload: encoder.0,
            told: header.to_string(),
        }
    }

    fn write(&self, encoder: &mut Encoder, shape: &Shape<'_>, slot: &Slot) {
        let value = |place: usize| self.row.as_ref().map_or(&Value::Null, |row| at(row, place));
        // Who changed it last is told only where that has changed.
        let told = |place: usize| place != LAST_MODIFIED_BY || self.changed.is_empty() || self.changed.contains(&place);
        match slot {
            Slot::Plain(place) => {
                if let Some(field) = shape.field(*place) {
                    encoder.optional(field, if told(*place) { value(*place) } else { &Value::Null });
                }
            }
            Slot::Compound(parts) => {
                let touched = parts.iter().any(|place| !value(*place).is_null() || self.changed.contains(place));
                encoder.long(i64::from(touched));
                for field in parts.iter().filter(|_| touched).filter_map(|place| Some((shape.field(*place)?, *place))) {
                    encoder.optional(field.0, value(field.1));
                }
            }
        }
    }
}

fn write_header(encoder: &mut Encoder, header: &Value, change_type: &str) {
    let text = |name: &str| header.get(name).and_then(Value::as_str).unwrap_or_default();
    let number = |name: &str| header.get(name).and_then(Value::as_i64).unwrap_or(0);
    let texts = |name: &str| -> Vec<String> {
        let items = header.get(name).and_then(Value::as_array).into_iter().flatten();
        items.filter_map(|item| item.as_str().map(str::to_owned)).collect()
    };
    encoder.text(text("entityName"));
    encoder.texts(&texts("recordIds"));
    let place = CHANGE_TYPES.iter().position(|name| *name == change_type);
    encoder.long(place.and_then(|place| i64::try_from(place).ok()).unwrap_or(0));
    encoder.text(text("changeOrigin"));
    encoder.text(text("transactionKey"));
    for name in ["sequenceNumber", "commitTimestamp", "commitNumber"] {
        encoder.long(number(name));
    }
    encoder.text(text("commitUser"));
    for name in ["nulledFields", "diffFields", "changedFields"] {
        encoder.texts(&texts(name));
    }
}

/// The objects among these, in the order of their first change.
pub(super) fn objects(touched: &[Touch]) -> Vec<String> {
    let mut seen = BTreeSet::new();
    touched.iter().filter(|touch| seen.insert(&touch.object)).map(|touch| touch.object.clone()).collect()
}

#[cfg(test)]
mod tests;
