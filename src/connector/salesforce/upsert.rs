//! Copies (layer 4): upserts and deletes by the correlation. What is there is read first, so that equal records are not written and a repetition
//! after a lost answer makes no duplicate.

use super::collection::Collection;
use super::collections::{Sent, Verb, send_all};
use super::lookup::find;
use super::values;
use crate::connector::Upserted;
use crate::error::{ErrorKind, Result};
use crate::record::{Key, Record};

/// Inserts or updates by the correlation's fields.
///
/// # Errors
/// `InvalidRecord` where one is refused: the others are written.
pub(super) async fn upsert(collection: &Collection, records: &[Record]) -> Result<Upserted> {
    let keys: Option<Vec<Key>> = records.iter().map(|record| record.key(&collection.correlation)).collect();
    let Some(keys) = keys else {
        let text = "a record has no value in a field that it is upserted by";
        return Err(collection.place.error(ErrorKind::InvalidRecord, "salesforce.refused", text));
    };
    let found = find(collection, &collection.correlation, &keys, true).await?;
    let mut done = Upserted::default();
    let (mut updates, mut creates) = (Vec::new(), Vec::new());
    for (record, found) in records.iter().zip(found) {
        match found.first() {
            Some(there) if is_equal(collection, record, there) => done.unchanged += 1,
            Some(there) => {
                let id = there.key(&["Id"]).as_ref().and_then(Collection::id_of);
                updates.push(Sent::new(id, record));
            }
            None => creates.push(Sent::new(None, record)),
        }
    }
    let by = match collection.correlation.as_slice() {
        [one] => collection.object.field(one).filter(|field| field.is_external_id()),
        _ => None,
    };
    let create = by.map_or(Verb::Create, |field| Verb::Upsert(&field.name));
    let mut refused = None;
    for (verb, sent) in [(Verb::Update, updates), (create, creates)] {
        for result in if sent.is_empty() { Vec::new() } else { send_all(collection, verb, &sent).await? } {
            match result {
                Ok(_) => done.written += 1,
                Err(reason) => refused = refused.or(Some(reason)),
            }
        }
    }
    match refused {
        Some(reason) => Err(reason.of_record(&collection.place)),
        None => Ok(done),
    }
}

/// Whether a record holds already what is to be written.
fn is_equal(collection: &Collection, record: &Record, there: &Record) -> bool {
    record.iter().all(|(name, value)| {
        let field = collection.object.field(name);
        field.is_some_and(|field| there.get(name).is_some_and(|stored| values::became(field, value, stored)))
    })
}

/// Deletes by correlation values; how many there were.
///
/// # Errors
/// `InvalidRecord` where one is refused.
pub(super) async fn delete(collection: &Collection, keys: &[Key]) -> Result<u64> {
    let found = find(collection, &collection.correlation, keys, true).await?;
    let ids = found.iter().flatten().filter_map(|record| Collection::id_of(&record.key(&["Id"])?));
    let sent: Vec<Sent> = ids.map(Sent::delete).collect();
    let mut deleted = 0;
    for result in if sent.is_empty() { Vec::new() } else { send_all(collection, Verb::Delete, &sent).await? } {
        match result {
            Ok(_) => deleted += 1,
            Err(reason) if reason.is_gone() => {}
            Err(reason) => return Err(reason.of_record(&collection.place)),
        }
    }
    Ok(deleted)
}
