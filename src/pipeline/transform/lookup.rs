//! Keys of other pairs: what their links make of them. They were read before; a key that no link has waits for one.

use std::collections::HashMap;
use std::sync::Arc;

use super::Rejection;
use crate::change::End;
use crate::pipeline::binding::BoundLookup;
use crate::record::Key;
use crate::state::Parent;
use crate::value::Value;

/// The keys that a batch refers to and what they are on the other side, by the places of the mappings.
#[derive(Debug, Default)]
pub struct Translations(HashMap<usize, HashMap<Value, Value>>);

impl Translations {
    /// A key and what it is on the other side.
    pub fn insert(&mut self, place: usize, key: Value, translated: Value) {
        self.0.entry(place).or_default().insert(key, translated);
    }

    /// A field's value that comes from `end`. Null refers to nothing.
    pub(super) fn translate(
        &self,
        (place, lookup): (usize, &BoundLookup),
        (end, field): (End, &str),
        value: Value,
    ) -> Result<Value, Rejection> {
        if value.is_null() {
            return Ok(value);
        }
        let refuse = |code: &str, message: String, waits_for| Rejection {
            code: code.to_owned(),
            message,
            field: Some(field.to_owned()),
            digest: None,
            skipped: false,
            waits_for,
        };
        let key = lookup.key(end, value).map_err(|error| {
            let text = format!("\"{field}\" cannot be a key of \"{}\": {error}", lookup.pair);
            refuse("value.does_not_fit", text, None)
        })?;
        if let Some(translated) = self.0.get(&place).and_then(|known| known.get(&key)) {
            return Ok(translated.clone());
        }
        let parent = Parent { pair: Arc::clone(&lookup.pair), end: lookup.keys.get(end).0, key: Key(vec![key]) };
        let text = format!("\"{field}\" waits for record {} of the pair \"{}\"", parent.key, lookup.pair);
        Err(refuse("lookup.no_parent", text, Some(Box::new(parent))))
    }
}
