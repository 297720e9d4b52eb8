//! A change event (layer 4): what its header says. The values that it carries are not used (docs/decisions/0009): records are read anew by their
//! ids, so that a stale, partial or rounded value is never taken for the record.

use std::collections::HashSet;

use super::super::ids;
use super::avro::{Garbled, Schema, Type, Value};
use crate::change::{Change, Op};
use crate::record::Key;
use crate::value::Value as FieldValue;

const HEADER: &str = "ChangeEventHeader";

/// What an event says.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Said {
    /// These records have changed.
    Records(Vec<String>, Op),
    /// Records have changed that nobody names: too many at once, or all of them in a way that no event can show.
    Anything,
}

/// An event.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct ChangeEvent {
    pub(super) said: Said,
    /// When it was committed: microseconds since 1970 by the org's clock.
    pub(super) at: i64,
    /// The fields that an update changed; `None` where that is not told.
    changed: Option<HashSet<String>>,
}

impl ChangeEvent {
    /// Reads the payload of an event.
    pub(super) fn read(schema: &Schema, payload: &[u8]) -> Result<Self, Wrong> {
        let record = schema.read_to(payload, HEADER)?;
        let header = record.get(HEADER).ok_or(Wrong::Field(HEADER))?;
        let texts = |name: &'static str| header.get(name).and_then(Value::texts).ok_or(Wrong::Field(name));
        let change_type = header.get("changeType").and_then(Value::text).ok_or(Wrong::Field("changeType"))?;
        let at = header.get("commitTimestamp").and_then(Value::long).ok_or(Wrong::Field("commitTimestamp"))?;
        let ids: Option<Vec<String>> = texts("recordIds")?.into_iter().map(ids::long).collect();
        let op =
            if change_type.ends_with("DELETE") && !change_type.ends_with("UNDELETE") { Op::Delete } else { Op::Upsert };
        let said = match ids {
            Some(ids) if change_type != "GAP_OVERFLOW" => Said::Records(ids, op),
            // Such as `001*`.
            Some(_) | None => Said::Anything,
        };
        let changed = if change_type == "UPDATE" { Some(named(schema, &texts("changedFields")?)?) } else { None };
        Ok(Self { said, at: at.saturating_mul(1000), changed })
    }

    /// Whether it may have changed one of these fields, as far as it can tell. A field that no event carries may change with any.
    pub(super) fn concerns(&self, schema: &Schema, fields: &[&str]) -> bool {
        let Some(changed) = &self.changed else { return true };
        let is_carried = |name: &&str| {
            let field = schema.fields.iter().find(|field| field.name == **name);
            field.is_some_and(|field| !matches!(schema.inner(&field.of), Type::Record(_)))
        };
        fields.iter().any(|name| *name != "Id" && (changed.contains(*name) || !is_carried(name)))
    }

    /// A change for each record that it names.
    pub(super) fn changes(self) -> Vec<Change> {
        let Said::Records(ids, op) = self.said else { return Vec::new() };
        let change = |id| Change { key: Key(vec![FieldValue::Text(id)]), op, at: Some(self.at), image: None };
        ids.into_iter().map(change).collect()
    }
}

/// Why an event cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Wrong {
    #[error(transparent)]
    Avro(#[from] Garbled),
    #[error("the header has no {0}, or not as it is documented")]
    Field(&'static str),
}

/// The fields that bitmaps name: `0x…` those of the event, `PLACE-0x…` those within the compound field at that place. Bits are counted from the
/// lowest.
fn named(schema: &Schema, bitmaps: &[&str]) -> Result<HashSet<String>, Wrong> {
    const WRONG: Wrong = Wrong::Field("changedFields");
    let mut names = HashSet::new();
    for bitmap in bitmaps {
        let Some(digits) = bitmap.strip_prefix("0x") else {
            let (place, _) = bitmap.split_once('-').ok_or(WRONG)?;
            let place: usize = place.parse().map_err(|_| WRONG)?;
            names.insert(schema.fields.get(place).ok_or(WRONG)?.name.clone());
            continue;
        };
        for (nibble, digit) in digits.chars().rev().enumerate() {
            let bits = digit.to_digit(16).ok_or(WRONG)?;
            for bit in (0..4).filter(|bit| bits & (1 << bit) != 0) {
                names.insert(schema.fields.get(nibble * 4 + bit).ok_or(WRONG)?.name.clone());
            }
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: &str = r#"{"type": "record", "name": "AccountChangeEvent", "fields": [
        {"name": "ChangeEventHeader", "type": {"type": "record", "name": "ChangeEventHeader", "fields": [
            {"name": "recordIds", "type": {"type": "array", "items": "string"}},
            {"name": "changeType", "type": {"type": "enum", "name": "T", "symbols": ["CREATE", "UPDATE", "DELETE", "UNDELETE", "GAP_UPDATE",
                "GAP_DELETE", "GAP_OVERFLOW"]}},
            {"name": "commitTimestamp", "type": "long"},
            {"name": "changedFields", "type": {"type": "array", "items": "string"}}]}},
        {"name": "Name", "type": ["null", "string"]}, {"name": "Phone", "type": ["null", "string"]},
        {"name": "LastModifiedDate", "type": ["null", "long"]},
        {"name": "BillingAddress", "type": ["null", {"type": "record", "name": "Address", "fields": [{"name": "City", "type": "string"}]}]}]}"#;

    fn text(text: &str) -> Vec<u8> {
        [&[u8::try_from(text.len() * 2).unwrap()], text.as_bytes()].concat()
    }

    fn texts(items: &[&str]) -> Vec<u8> {
        let list: Vec<u8> = items.iter().flat_map(|item| text(item)).collect();
        let count = if items.is_empty() { Vec::new() } else { vec![u8::try_from(items.len() * 2).unwrap()] };
        [count, list, vec![0]].concat()
    }

    fn read(ids: &[&str], change_type: u8, changed: &[&str]) -> Result<ChangeEvent, Wrong> {
        let schema = Schema::parse(SCHEMA).unwrap();
        ChangeEvent::read(&schema, &[texts(ids), vec![change_type * 2, 4], texts(changed)].concat())
    }

    #[test]
    fn an_event_names_its_records_and_what_became_of_them() {
        let ids = ["001D000000IRt53", "001R0000002GeJ1IAK"];
        let long = vec!["001D000000IRt53IAD".to_owned(), "001R0000002GeJ1IAK".to_owned()];
        for (change_type, op) in
            [(0, Op::Upsert), (1, Op::Upsert), (2, Op::Delete), (3, Op::Upsert), (4, Op::Upsert), (5, Op::Delete)]
        {
            let event = read(&ids, change_type, &[]).unwrap();
            assert_eq!((event.said, event.at), (Said::Records(long.clone(), op), 2000), "{change_type}");
        }
        assert_eq!(read(&["000000000000000AAA"], 6, &[]).unwrap().said, Said::Anything);
        assert_eq!(read(&["001*"], 4, &[]).unwrap().said, Said::Anything);
    }

    #[test]
    fn only_what_was_changed_concerns() {
        let schema = Schema::parse(SCHEMA).unwrap();
        let concerns = |changed: &[&str], fields: &[&str]| {
            read(&["001D000000IRt53"], 1, changed).unwrap().concerns(&schema, fields)
        };
        // Bits from the lowest: name, phone, stamp.
        assert!(concerns(&["0x0E"], &["Id", "Phone"]));
        assert!(!concerns(&["0x0A"], &["Id", "Phone"]), "name and stamp only");
        assert!(concerns(&["0x0A"], &["Id", "Phone", "Formula__c"]), "a field that no event carries");
        assert!(concerns(&["0x08"], &["LastModifiedDate"]));
        assert!(
            concerns(&["0x08", "4-0x01"], &["BillingCity"]),
            "parts of compound fields are not in the event by their own names"
        );
        assert!(read(&["001D000000IRt53"], 4, &[]).unwrap().concerns(&schema, &["Phone"]), "a gap tells nothing");
    }

    #[test]
    fn what_is_not_as_documented_is_an_error() {
        for changed in [["0xG"], ["0xFF"], ["9-0x1"], ["x"], ["é-"]] {
            assert_eq!(read(&[], 1, &changed), Err(Wrong::Field("changedFields")), "{changed:?}");
        }
        let schema = Schema::parse(SCHEMA).unwrap();
        assert!(ChangeEvent::read(&schema, b"\x02").is_err());
    }
}
