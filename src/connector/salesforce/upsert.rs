//! Copies (layer 4): upserts and deletes by the correlation. What is there is read first, so that equal records are not written and a repetition
//! after a lost answer makes no duplicate.

use super::bulk::ingest::{self, Row};
use super::catalogue::Field;
use super::collection::Collection;
use super::collections::{Sent, Verb, send_all};
use super::errors::Reason;
use super::lookup::find;
use super::values;
use crate::connector::Upserted;
use crate::error::{ErrorKind, Result};
use crate::record::{Key, Record};

/// Inserts or updates by the correlation's fields: by a job where there are many and an external id tells them apart.
///
/// # Errors
/// Where a request came to nothing as a whole; others before it may have taken effect.
pub(super) async fn upsert(collection: &Collection, records: &[Record]) -> Result<Upserted> {
    let keys: Option<Vec<Key>> = records.iter().map(|record| record.key(&collection.correlation)).collect();
    let Some(keys) = keys else {
        let text = "a record has no value in a field that it is upserted by";
        return Err(collection.place.error(ErrorKind::InvalidRecord, "salesforce.refused", text));
    };
    let by = collection.copied_by();
    if let Some(by) = by {
        // What an earlier run has under way is older than what is written now.
        collection.settle_earlier(by).await?;
    }
    let many = by.filter(|_| collection.is_bulk(records.len()));
    let found = match many {
        Some(by) if collection.is_blank_of(by, &keys).await? => vec![Vec::new(); records.len()],
        Some(_) | None => find(collection, &collection.correlation, &keys, true).await?,
    };
    let mut done = Upserted::default();
    let (mut updates, mut creates) = (Vec::new(), Vec::new());
    for (place, (record, found)) in records.iter().zip(found).enumerate() {
        match found.first() {
            Some(there) if is_equal(collection, record, there) => done.unchanged += 1,
            Some(there) => updates.push((place, record, there.key(&["Id"]).as_ref().and_then(Collection::id_of))),
            None => creates.push((place, record, None)),
        }
    }
    if let Some(by) = many.filter(|by| by.is_unique()) {
        creates.append(&mut updates);
        return load(collection, by, &creates, done).await;
    }
    let create = by.map_or(Verb::Create, |field| Verb::Upsert(&field.name));
    for (verb, part) in [(Verb::Update, updates), (create, creates)] {
        let sent: Vec<Sent> = part.iter().map(|(_, record, id)| Sent::new(id.clone(), record)).collect();
        let results = if sent.is_empty() { Vec::new() } else { send_all(collection, verb, &sent).await? };
        for ((place, ..), result) in part.iter().zip(results) {
            done = count(collection, done, *place, result.err());
        }
    }
    Ok(done)
}

/// A record to write, its place, and its id where it is there.
type Part<'a> = (usize, &'a Record, Option<String>);

async fn load(collection: &Collection, by: &Field, part: &[Part<'_>], mut done: Upserted) -> Result<Upserted> {
    let rows: Vec<Row<'_>> = part.iter().map(|(_, record, _)| Row { record, name: None }).collect();
    for ((place, ..), fate) in part.iter().zip(ingest::load(collection, by, &rows, false).await?) {
        done = count(collection, done, *place, fate.err());
    }
    Ok(done)
}

fn count(collection: &Collection, mut done: Upserted, place: usize, refused: Option<Reason>) -> Upserted {
    match refused {
        None => done.written += 1,
        Some(reason) => {
            let before = done.refused.partition_point(|(other, _)| *other < place);
            done.refused.insert(before, (place, reason.of_record(&collection.place)));
        }
    }
    done
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
    if let Some(by) = collection.copied_by() {
        collection.settle_earlier(by).await?;
    }
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
