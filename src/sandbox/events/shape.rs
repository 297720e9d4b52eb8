//! The fields of an object's change events, in their order: what the Avro schema says, and how a set of them is told as bitmaps.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::super::describe::{Field, Object};
use super::avro::avro_type;
use super::{CHANGE_TYPES, event_name};

/// Fields that no change event carries.
const LEFT_OUT: &[&str] = &["Id", "IsDeleted", "SystemModstamp", "MasterRecordId", "LastActivityDate"];

/// A field of the events, behind the header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Slot {
    /// By its place in the object.
    Plain(usize),
    /// A compound field: its parts by their places.
    Compound(Vec<usize>),
}

/// The order of an object's change events.
pub(super) struct Shape<'a> {
    object: &'a Object,
    /// Name and content; the header is before the first.
    pub(super) slots: Vec<(String, Slot)>,
}

impl<'a> Shape<'a> {
    pub(super) fn of(object: &'a Object) -> Self {
        let mut slots = Vec::new();
        for (place, field) in object.fields().iter().enumerate() {
            if field.compound.is_some() || LEFT_OUT.contains(&field.name.as_str()) {
                continue;
            }
            let parts: Vec<usize> = object.parts(&field.name).map(|(place, _)| place).collect();
            let slot = if parts.is_empty() { Slot::Plain(place) } else { Slot::Compound(parts) };
            slots.push((field.name.clone(), slot));
        }
        Self { object, slots }
    }

    pub(super) fn field(&self, place: usize) -> Option<&Field> {
        self.object.fields().get(place)
    }

    /// The schema, and the id that it goes by: a digest of it.
    pub(super) fn schema(&self) -> (String, String) {
        let mut defined = Vec::new();
        let mut fields = vec![json!({"name": "ChangeEventHeader", "type": header()})];
        fields.extend(self.slots.iter().filter_map(|(name, slot)| self.typed(name, slot, &mut defined)));
        let schema = json!({
            "name": event_name(&self.object.name), "namespace": "com.sforce.eventbus",
            "type": "record", "fields": fields,
        })
        .to_string();
        let digest = Sha256::digest(&schema);
        let id = URL_SAFE_NO_PAD.encode(digest.get(..16).unwrap_or_default());
        (schema, id)
    }

    fn typed(&self, name: &str, slot: &Slot, defined: &mut Vec<&'static str>) -> Option<Value> {
        match slot {
            Slot::Plain(place) => {
                let field = self.field(*place)?;
                Some(json!({"name": name, "type": ["null", avro_type(field.kind)], "doc": doc(field), "default": null}))
            }
            Slot::Compound(parts) => {
                let record = if name == "Name" { "PersonName" } else { "Address" };
                let typed = if defined.contains(&record) {
                    json!(record)
                } else {
                    defined.push(record);
                    let part = |place: &usize| {
                        let field = self.field(*place)?;
                        let name = part_name(&field.name, name);
                        Some(
                            json!({"name": name, "type": ["null", avro_type(field.kind)], "doc": doc(field), "default": null}),
                        )
                    };
                    json!({"type": "record", "name": record, "fields": parts.iter().filter_map(part).collect::<Vec<_>>()})
                };
                Some(json!({"name": name, "type": ["null", typed], "default": null}))
            }
        }
    }

    /// Fields by their places, as the header names them: a bitmap of the fields, and one for each compound field with its parts.
    pub(super) fn bitmaps(&self, changed: &[usize]) -> Vec<String> {
        let mut bits = Vec::new();
        let mut nested = Vec::new();
        // The header has the first bit.
        for (index, (_, slot)) in (1..).zip(&self.slots) {
            match slot {
                Slot::Plain(place) if changed.contains(place) => bits.push(index),
                Slot::Plain(_) => {}
                Slot::Compound(parts) => {
                    let within: Vec<usize> =
                        (0..).zip(parts).filter(|(_, place)| changed.contains(place)).map(|(bit, _)| bit).collect();
                    if !within.is_empty() {
                        nested.push(format!("{index}-{}", hex(&within)));
                    }
                }
            }
        }
        let whole = (!bits.is_empty()).then(|| hex(&bits));
        whole.into_iter().chain(nested).collect()
    }
}

/// `BillingStreet` of `BillingAddress` is `Street` there, `LastName` of `Name` stays.
fn part_name<'n>(name: &'n str, compound: &str) -> &'n str {
    name.strip_prefix(compound.trim_end_matches("Address")).filter(|_| compound != "Name").unwrap_or(name)
}

fn doc(field: &Field) -> String {
    format!("Data:{:?}", field.kind)
}

/// The bits as one number, whole bytes, in capitals.
fn hex(bits: &[usize]) -> String {
    let mut bytes = vec![0_u8; bits.iter().max().map_or(1, |last| last / 8 + 1)];
    for bit in bits {
        if let Some(byte) = bytes.get_mut(bit / 8) {
            *byte |= 1 << (bit % 8);
        }
    }
    let digits: String = bytes.iter().rev().map(|byte| format!("{byte:02X}")).collect();
    format!("0x{digits}")
}

fn header() -> Value {
    let texts = json!({"type": "array", "items": "string"});
    json!({
        "type": "record", "name": "ChangeEventHeader", "fields": [
            {"name": "entityName", "type": "string"}, {"name": "recordIds", "type": texts},
            {"name": "changeType", "type": {"type": "enum", "name": "ChangeType", "symbols": CHANGE_TYPES}},
            {"name": "changeOrigin", "type": "string"}, {"name": "transactionKey", "type": "string"},
            {"name": "sequenceNumber", "type": "int"}, {"name": "commitTimestamp", "type": "long"},
            {"name": "commitNumber", "type": "long"}, {"name": "commitUser", "type": "string"},
            {"name": "nulledFields", "type": texts}, {"name": "diffFields", "type": texts},
            {"name": "changedFields", "type": texts},
        ],
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::standard;
    use super::*;

    #[test]
    fn fields_are_told_as_bits_of_the_schema() {
        let schema = standard::schema();
        let object = schema.object("Account").unwrap();
        let shape = Shape::of(object);
        let place = |name: &str| object.field(name).unwrap().0;
        let index = |name: &str| shape.slots.iter().position(|(slot, _)| slot == name).unwrap() + 1;
        let told = shape.bitmaps(&[place("Name"), place("BillingCity"), place("Last_Call__c")]);
        let number = u64::from_str_radix(told[0].trim_start_matches("0x"), 16).unwrap();
        assert_eq!(number, 1 << index("Name") | 1 << index("Last_Call__c"));
        assert_eq!(told[1..], [format!("{}-0x02", index("BillingAddress"))]);
        assert_eq!(hex(&[1, 2, 3]), "0x0E", "as the documentation has it");
        assert!(shape.bitmaps(&[]).is_empty());
    }

    #[test]
    fn the_schema_is_the_same_for_the_same_fields() {
        let schema = standard::schema();
        let (text, id) = Shape::of(schema.object("Contact").unwrap()).schema();
        let parsed: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(parsed["name"], "ContactChangeEvent");
        assert_eq!(parsed["fields"][0]["name"], "ChangeEventHeader");
        assert_eq!(Shape::of(schema.object("Contact").unwrap()).schema().1, id);
        assert_ne!(Shape::of(schema.object("Account").unwrap()).schema().1, id);
        let fields = parsed["fields"].as_array().unwrap();
        let name = fields.iter().find(|field| field["name"] == "Name").unwrap();
        assert_eq!(name["type"][1]["fields"][0]["name"], "LastName");
        assert!(!text.contains("SystemModstamp"));
    }
}
