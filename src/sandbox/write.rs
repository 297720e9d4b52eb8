//! Writes of single records, with every rule that they are held to. All other ways to write come down to these.

use std::collections::HashSet;

use serde_json::{Map, Value, json};

use super::clock::Clock;
use super::describe::{
    CREATED_BY, CREATED_DATE, Field, ID, IS_DELETED, Kind, LAST_MODIFIED_BY, LAST_MODIFIED_DATE, Object,
    SYSTEM_MODSTAMP, Schema,
};
use super::exchange::Refusal;
use super::ids;
use super::store::{Row, Store, at, is_deleted, put};
use super::values::accept;

/// The fields of one record as they were sent.
pub(super) type Input = Map<String, Value>;

/// What an upsert did.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Upserted {
    /// The id, and whether it is new.
    One(String, bool),
    /// Nothing: more than one record holds the key.
    Several(Vec<String>),
}

/// What the org does by itself when a field of a record is written, in the same transaction.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Trigger {
    object: String,
    /// The field.
    when: String,
    /// What other fields are set to.
    set: Input,
}

/// Writes as one user, at one time.
pub(super) struct Writer<'a> {
    pub(super) schema: &'a Schema,
    pub(super) store: &'a mut Store,
    pub(super) clock: &'a Clock,
    pub(super) triggers: &'a [Trigger],
    pub(super) user: &'a str,
    /// Seconds by which the transaction began before it is seen.
    pub(super) late_seconds: i64,
    /// Whether the next record is found locked by somebody else.
    pub(super) locked: &'a mut dyn FnMut() -> bool,
}

impl Writer<'_> {
    /// Creates a record and returns its id.
    pub(super) fn create(&mut self, object: &Object, input: &Input) -> Result<String, Refusal> {
        permitted(object, object.rights.create)?;
        if let Some(name) = input.keys().find(|name| name.eq_ignore_ascii_case("Id")) {
            return Err(Refusal::field("INVALID_FIELD_FOR_INSERT_UPDATE", name, "cannot specify Id in an insert call"));
        }
        self.check_lock()?;
        let mut row: Row = object.fields().iter().map(empty).collect();
        if let Some((owner, _)) = object.field("OwnerId") {
            put(&mut row, owner, json!(self.user));
        }
        self.fill(object, &mut row, input, true)?;
        self.fire(object, &mut row, input)?;
        check_required(object, &row)?;
        self.check_unique(object, &row, None)?;
        let id = self.store.new_id(object);
        put(&mut row, ID, json!(id));
        put(&mut row, CREATED_BY, json!(self.user));
        put(&mut row, CREATED_DATE, json!(self.clock.stamp(self.late_seconds)));
        self.keep(object, &id, row);
        Ok(id)
    }

    /// Changes the fields that are named.
    pub(super) fn update(&mut self, object: &Object, id: &str, input: &Input) -> Result<String, Refusal> {
        permitted(object, object.rights.edit)?;
        let (id, mut row) = self.existing(object, id)?;
        self.check_lock()?;
        self.fill(object, &mut row, input, false)?;
        self.fire(object, &mut row, input)?;
        check_required(object, &row)?;
        self.check_unique(object, &row, Some(&id))?;
        self.keep(object, &id, row);
        Ok(id)
    }

    /// Creates or changes the record that holds this value of a key field.
    pub(super) fn upsert(
        &mut self,
        object: &Object,
        field: &str,
        key: &str,
        input: &Input,
    ) -> Result<Upserted, Refusal> {
        permitted(object, true)?;
        let (place, field) = key_field(object, field)?;
        if field.kind == Kind::Id {
            return self.update(object, key, input).map(|id| Upserted::One(id, false));
        }
        if key.trim().is_empty() {
            let message = format!("{} not specified", field.name);
            return Err(Refusal::field("MISSING_ARGUMENT", &field.name, message));
        }
        let mut holders = self.store.holders(object, place, key.trim());
        match (holders.pop(), holders.is_empty()) {
            (Some(id), true) => self.update(object, &id, input).map(|id| Upserted::One(id, false)),
            (Some(last), false) => {
                holders.push(last);
                Ok(Upserted::Several(holders))
            }
            (None, _) => {
                let mut input = input.clone();
                input.insert(field.name.clone(), json!(key));
                self.create(object, &input).map(|id| Upserted::One(id, true))
            }
        }
    }

    /// Puts a record into the recycle bin, and what depends on it; `hard` takes it out for good.
    pub(super) fn delete(&mut self, object: &Object, id: &str, hard: bool) -> Result<String, Refusal> {
        permitted(object, object.rights.delete)?;
        let (id, row) = self.existing(object, id)?;
        self.check_lock()?;
        if object.name == "Account"
            && let Some(contacts) = self.schema.object("Contact")
        {
            for contact in self.dependents(contacts, "AccountId", &id) {
                self.discard(contacts, &contact, hard);
            }
        }
        debug_assert!(!is_deleted(&row), "`existing` refuses these");
        self.discard(object, &id, hard);
        Ok(id)
    }

    fn dependents(&self, object: &Object, reference: &str, id: &str) -> Vec<String> {
        let Some((place, _)) = object.field(reference) else { return Vec::new() };
        let depends = |row: &Row| at(row, place).as_str() == Some(id) && !is_deleted(row);
        self.store.rows(object).filter(|(_, row)| depends(row)).map(|(id, _)| id.clone()).collect()
    }

    fn discard(&mut self, object: &Object, id: &str, hard: bool) {
        let Some(mut row) = self.store.row(object, id).cloned() else { return };
        self.store.note_deletion(object, id, self.clock.now_ms());
        if hard {
            self.store.set(object, id, None);
        } else {
            put(&mut row, IS_DELETED, json!(true));
            self.keep(object, id, row);
        }
    }

    /// Takes a record out of the recycle bin.
    pub(super) fn undelete(&mut self, object: &Object, id: &str) -> Result<String, Refusal> {
        let id = ids::normalize(id).ok_or_else(|| malformed(id))?;
        let row = self.store.row(object, &id).filter(|row| is_deleted(row)).cloned();
        let mut row = row.ok_or_else(|| Refusal::new("UNDELETE_FAILED", "Entity is not in the recycle bin"))?;
        put(&mut row, IS_DELETED, json!(false));
        self.check_unique(object, &row, Some(&id))?;
        self.keep(object, &id, row);
        Ok(id)
    }

    fn existing(&self, object: &Object, id: &str) -> Result<(String, Row), Refusal> {
        let id = ids::normalize(id).filter(|id| id.starts_with(&object.prefix)).ok_or_else(|| malformed(id))?;
        match self.store.row(object, &id) {
            None => Err(Refusal::new("NOT_FOUND", "The requested resource does not exist")),
            Some(row) if is_deleted(row) => Err(Refusal::new("ENTITY_IS_DELETED", "entity is deleted")),
            Some(row) => Ok((id, row.clone())),
        }
    }

    fn check_lock(&mut self) -> Result<(), Refusal> {
        if (self.locked)() {
            return Err(Refusal::new(
                "UNABLE_TO_LOCK_ROW",
                "unable to obtain exclusive access to this record or 1 records",
            ));
        }
        Ok(())
    }

    fn fill(&self, object: &Object, row: &mut Row, input: &Input, creates: bool) -> Result<(), Refusal> {
        for (name, value) in input.iter().filter(|(name, _)| *name != "attributes") {
            if let (Value::Object(key), Some((place, parent, _))) = (value, object.relationship(name)) {
                put(row, place, json!(self.referred(parent, key)?));
                continue;
            }
            let (place, field) = object.field(name).ok_or_else(|| unknown_column(name, &object.name))?;
            if place == ID {
                let message = "The Id field should not be specified in the sobject data.";
                return Err(Refusal::field("INVALID_FIELD", name, message));
            }
            if !(if creates { field.createable } else { field.updateable }) {
                let message = format!(
                    "Unable to create/update fields: {}. Please check the security settings of this field and verify that it is \
                     read/write for your profile or permission set.",
                    field.name
                );
                return Err(Refusal::field("INVALID_FIELD_FOR_INSERT_UPDATE", &field.name, message));
            }
            let value = accept(field, value)?;
            self.check_reference(field, &value)?;
            put(row, place, value);
        }
        Ok(())
    }

    fn fire(&self, object: &Object, row: &mut Row, input: &Input) -> Result<(), Refusal> {
        let written = |name: &str| input.keys().any(|key| key.eq_ignore_ascii_case(name));
        for trigger in self.triggers.iter().filter(|trigger| trigger.object == object.name && written(&trigger.when)) {
            self.fill(object, row, &trigger.set, false)?;
        }
        Ok(())
    }

    /// The id of the record that a reference names by a key field: `{"Account": {"Tidelock_Id__c": "7"}}`.
    fn referred(&self, parent: &str, key: &Input) -> Result<String, Refusal> {
        let named: Vec<(&String, &Value)> = key.iter().filter(|(name, _)| *name != "attributes").collect();
        let (parent, [(name, value)]) = (self.schema.object(parent), named.as_slice()) else {
            return Err(Refusal::new("INVALID_FIELD", "A reference names one external id"));
        };
        let parent = parent.ok_or_else(Refusal::not_found)?;
        let (place, field) = key_field(parent, name)?;
        let text = super::values::to_text(value);
        match self.store.holders(parent, place, text.trim()).as_slice() {
            [id] => Ok(id.clone()),
            holders => {
                let what = if holders.is_empty() { "not found" } else { "found more than once" };
                let message = format!(
                    "Foreign key external ID: {text} {what} for field {} in entity {}",
                    field.name, parent.name
                );
                Err(Refusal::new("INVALID_FIELD", message))
            }
        }
    }

    fn check_reference(&self, field: &Field, value: &Value) -> Result<(), Refusal> {
        let (Some((parent, _)), Some(id)) = (&field.reference, value.as_str()) else { return Ok(()) };
        let Some(parent) = self.schema.object(parent) else { return Ok(()) };
        if !id.starts_with(&parent.prefix) {
            let message = format!("{}: id value of incorrect type: {id}", field.label);
            return Err(Refusal::field("MALFORMED_ID", &field.name, message));
        }
        match self.store.row(parent, id) {
            Some(row) if is_deleted(row) => Err(Refusal::field("ENTITY_IS_DELETED", &field.name, "entity is deleted")),
            Some(_) => Ok(()),
            None => Err(Refusal::field("INVALID_CROSS_REFERENCE_KEY", &field.name, "invalid cross reference id")),
        }
    }

    fn check_unique(&self, object: &Object, row: &Row, own: Option<&str>) -> Result<(), Refusal> {
        for (place, field) in object.fields().iter().enumerate().filter(|(_, field)| field.unique) {
            let Some(key) = at(row, place).as_str() else { continue };
            if let Some(other) =
                self.store.holders(object, place, key).iter().find(|holder| Some(holder.as_str()) != own)
            {
                let message =
                    format!("duplicate value found: {} duplicates value on record with id: {other}", field.name);
                return Err(Refusal::field("DUPLICATE_VALUE", &field.name, message));
            }
        }
        Ok(())
    }

    /// Stamps and stores it.
    fn keep(&mut self, object: &Object, id: &str, mut row: Row) {
        let stamp = json!(self.clock.stamp(self.late_seconds));
        put(&mut row, LAST_MODIFIED_DATE, stamp.clone());
        put(&mut row, SYSTEM_MODSTAMP, stamp);
        put(&mut row, LAST_MODIFIED_BY, json!(self.user));
        if let Some(name) = person_name(object, &row) {
            put(&mut row, name.0, json!(name.1));
        }
        self.store.set(object, id, Some(row));
    }
}

/// A person's name is made of its parts.
fn person_name(object: &Object, row: &Row) -> Option<(usize, String)> {
    let (place, _) = object.field("Name")?;
    let parts: Vec<&str> =
        ["FirstName", "LastName"].into_iter().filter_map(|part| at(row, object.field(part)?.0).as_str()).collect();
    (!parts.is_empty()).then(|| (place, parts.join(" ")))
}

fn empty(field: &Field) -> Value {
    if field.kind == Kind::Boolean { json!(false) } else { Value::Null }
}

fn check_required(object: &Object, row: &Row) -> Result<(), Refusal> {
    let missing: HashSet<&str> = object
        .fields()
        .iter()
        .enumerate()
        .filter(|(place, field)| field.required && at(row, *place).is_null())
        .map(|(_, field)| field.name.as_str())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let fields: Vec<String> = missing.into_iter().map(str::to_owned).collect();
    let message = format!("Required fields are missing: [{}]", fields.join(", "));
    Err(Refusal { code: "REQUIRED_FIELD_MISSING", message, fields })
}

fn permitted(object: &Object, right: bool) -> Result<(), Refusal> {
    if object.writable && right {
        return Ok(());
    }
    Err(Refusal::new(
        "INSUFFICIENT_ACCESS_OR_READONLY",
        format!("entity type {} does not support writes here", object.name),
    ))
}

/// A field that records can be addressed by.
pub(super) fn key_field<'a>(object: &'a Object, name: &str) -> Result<(usize, &'a Field), Refusal> {
    object.field(name).filter(|(_, field)| field.external_id || field.kind == Kind::Id).ok_or_else(|| {
        Refusal::new("NOT_FOUND", format!("Provided external ID field does not exist or is not accessible: {name}"))
    })
}

fn unknown_column(name: &str, object: &str) -> Refusal {
    Refusal::field("INVALID_FIELD", name, format!("No such column '{name}' on sobject of type {object}"))
}

fn malformed(id: &str) -> Refusal {
    Refusal::field("MALFORMED_ID", "Id", format!("malformed id {id}"))
}
