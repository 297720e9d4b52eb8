//! The records, found by id and by the values of key fields, with transactions that can be taken back.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use serde_json::{Map, Value, json};

use super::describe::{ID, IS_DELETED, Kind, Object};
use super::ids;

/// The values of a record, one for each field of its object; those of compound fields stay null and are made when read.
pub(super) type Row = Vec<Value>;

/// The value at a place; null where there is none.
pub(super) fn at(row: &Row, place: usize) -> &Value {
    row.get(place).unwrap_or(&Value::Null)
}

/// Puts a value at a place.
pub(super) fn put(row: &mut Row, place: usize, value: Value) {
    if let Some(slot) = row.get_mut(place) {
        *slot = value;
    }
}

/// Whether it lies in the recycle bin.
pub(super) fn is_deleted(row: &Row) -> bool {
    at(row, IS_DELETED) == &Value::Bool(true)
}

#[derive(Debug, Default)]
struct Table {
    rows: BTreeMap<String, Row>,
    /// By place of a key field and value in lower case; records in the recycle bin are not in it.
    keys: HashMap<(usize, String), BTreeSet<String>>,
}

/// A record that was deleted, for `deleted`.
#[derive(Debug, Clone)]
pub(super) struct Deletion {
    pub(super) object: String,
    pub(super) id: String,
    pub(super) ms: i64,
}

/// A record that was written, for change events.
#[derive(Debug, Clone)]
pub(super) struct Touch {
    pub(super) object: String,
    pub(super) id: String,
    pub(super) before: Option<Row>,
    pub(super) after: Option<Row>,
}

/// What a transaction has changed: the row as it was.
#[derive(Debug, Default)]
struct Undo {
    rows: Vec<(String, String, Option<Row>)>,
    deletions: usize,
    touched: usize,
}

/// All records.
#[derive(Debug, Default)]
pub(super) struct Store {
    tables: BTreeMap<String, Table>,
    deletions: Vec<Deletion>,
    /// What was written since it was last taken.
    touched: Vec<Touch>,
    numbers: BTreeMap<String, u64>,
    open: Vec<Undo>,
}

impl Store {
    /// An id that no record has had.
    pub(super) fn new_id(&mut self, object: &Object) -> String {
        let number = self.numbers.entry(object.name.clone()).or_insert(0);
        *number += 1;
        ids::generate(&object.prefix, *number)
    }

    /// Begins a transaction, inside of another one if there is one.
    pub(super) fn begin(&mut self) {
        self.open.push(Undo { rows: Vec::new(), deletions: self.deletions.len(), touched: self.touched.len() });
    }

    /// Keeps what the innermost transaction did.
    pub(super) fn commit(&mut self) {
        let Some(done) = self.open.pop() else { return };
        if let Some(outer) = self.open.last_mut() {
            outer.rows.extend(done.rows);
        }
    }

    /// Takes back what the innermost transaction did.
    pub(super) fn roll_back(&mut self, objects: &super::describe::Schema) {
        let Some(undone) = self.open.pop() else { return };
        self.deletions.truncate(undone.deletions);
        self.touched.truncate(undone.touched);
        for (name, id, row) in undone.rows.into_iter().rev() {
            if let Some(object) = objects.object(&name) {
                self.replace(object, &id, row);
            }
        }
    }

    /// Sets a record, or takes it out.
    pub(super) fn set(&mut self, object: &Object, id: &str, row: Option<Row>) {
        let before = self.replace(object, id, row.clone());
        let (name, id) = (object.name.clone(), id.to_owned());
        self.touched.push(Touch { object: name, id: id.clone(), before: before.clone(), after: row });
        if let Some(open) = self.open.last_mut() {
            open.rows.push((object.name.clone(), id, before));
        }
    }

    /// What was written since this was last asked, in its order; what was taken back is not in it.
    pub(super) fn take_touched(&mut self) -> Vec<Touch> {
        std::mem::take(&mut self.touched)
    }

    fn replace(&mut self, object: &Object, id: &str, row: Option<Row>) -> Option<Row> {
        let table = self.tables.entry(object.name.clone()).or_default();
        let before = match &row {
            Some(row) => table.rows.insert(id.to_owned(), row.clone()),
            None => table.rows.remove(id),
        };
        for (place, _) in object.fields().iter().enumerate().filter(|(_, field)| field.is_key()) {
            for key in before.iter().filter_map(|row| key_of(row, place)) {
                if let Some(holders) = table.keys.get_mut(&(place, key)) {
                    holders.remove(id);
                }
            }
            for key in row.iter().filter_map(|row| key_of(row, place)) {
                table.keys.entry((place, key)).or_default().insert(id.to_owned());
            }
        }
        before
    }

    pub(super) fn row(&self, object: &Object, id: &str) -> Option<&Row> {
        self.tables.get(&object.name)?.rows.get(id)
    }

    /// All records of an object by id, those in the recycle bin among them.
    pub(super) fn rows(&self, object: &Object) -> impl Iterator<Item = (&String, &Row)> {
        self.tables.get(&object.name).into_iter().flat_map(|table| &table.rows)
    }

    /// Who holds this value of a key field.
    pub(super) fn holders(&self, object: &Object, place: usize, key: &str) -> Vec<String> {
        let table = self.tables.get(&object.name);
        let holders = table.and_then(|table| table.keys.get(&(place, key.to_lowercase())));
        holders.into_iter().flatten().cloned().collect()
    }

    /// Notes a delete.
    pub(super) fn note_deletion(&mut self, object: &Object, id: &str, ms: i64) {
        self.deletions.push(Deletion { object: object.name.clone(), id: id.to_owned(), ms });
    }

    /// What was deleted and is so still, oldest first.
    pub(super) fn deletions<'a>(&'a self, object: &'a Object) -> impl Iterator<Item = &'a Deletion> {
        self.deletions
            .iter()
            .filter(|deletion| deletion.object == object.name && self.row(object, &deletion.id).is_none_or(is_deleted))
    }

    /// Forgets deletes before a time, and takes their records out of the recycle bin for good.
    pub(super) fn purge(&mut self, before_ms: i64) {
        if self.deletions.iter().all(|deletion| deletion.ms >= before_ms) {
            return;
        }
        let (old, kept) = std::mem::take(&mut self.deletions).into_iter().partition(|deletion| deletion.ms < before_ms);
        self.deletions = kept;
        let old: Vec<Deletion> = old;
        for Deletion { object, id, .. } in old {
            let again = self.deletions.iter().any(|deletion| deletion.id == id);
            if let Some(table) = self.tables.get_mut(&object)
                && !again
                && table.rows.get(&id).is_some_and(is_deleted)
            {
                table.rows.remove(&id);
            }
        }
    }
}

fn key_of(row: &Row, place: usize) -> Option<String> {
    if is_deleted(row) {
        return None;
    }
    match at(row, place) {
        Value::String(text) => Some(text.to_lowercase()),
        Value::Number(number) => Some(number.to_string()),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

/// A field as it is read: an address is made of its parts.
pub(super) fn read(object: &Object, row: &Row, place: usize) -> Value {
    let Some(field) = object.fields().get(place).filter(|field| field.kind == Kind::Address) else {
        return at(row, place).clone();
    };
    let prefix = field.name.strip_suffix("Address").unwrap_or(&field.name);
    let mut address = Map::new();
    for (place, part) in object.parts(&field.name) {
        let name = part.name.strip_prefix(prefix).unwrap_or(&part.name);
        let mut letters = name.chars();
        let first = letters.next().map(|letter| letter.to_ascii_lowercase());
        address.insert(first.into_iter().chain(letters).collect(), at(row, place).clone());
    }
    if address.values().all(Value::is_null) {
        return Value::Null;
    }
    address.insert("geocodeAccuracy".to_owned(), Value::Null);
    Value::Object(address)
}

/// The `attributes` of a record.
pub(super) fn attributes(object: &Object, row: &Row, version: &str) -> Value {
    let id = at(row, ID).as_str().unwrap_or_default();
    json!({"type": object.name, "url": format!("/services/data/{version}/sobjects/{}/{id}", object.name)})
}
