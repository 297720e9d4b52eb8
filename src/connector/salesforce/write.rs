//! Guarded writes (layer 4). Salesforce has no conditional write of several records, so what a guard assumes is read just before: between that
//! and the write lies the one window in which another's edit can be overwritten unseen (docs/guarantees.md).

use std::collections::HashMap;

use super::bulk::ingest::{self, Row};
use super::collection::Collection;
use super::collections::{Result1, Sent, Verb, send_all};
use super::target::BATCH;
use crate::connector::{Mark, Write, WriteOutcome};
use crate::error::Result;
use crate::record::{Key, Record};
use crate::value::Value;

/// Carries writes out, each on its own: the system has no transaction over several that lets the others stand where one is refused.
///
/// # Errors
/// Where a request came to nothing as a whole; others before it may have taken effect.
pub(super) async fn write(
    collection: &Collection,
    writes: &[Write],
    mark: Option<Mark<'_>>,
) -> Result<Vec<WriteOutcome>> {
    let mut outcomes: Vec<Option<WriteOutcome>> = writes.iter().map(|_| None).collect();
    let is_create = |place: &usize| matches!(writes.get(*place), Some(Write::Create { .. }));
    let (creates, others): (Vec<usize>, Vec<usize>) = (0..writes.len()).partition(is_create);
    // What guards assume is read just before, however many there are.
    for places in others.chunks(BATCH) {
        change(collection, writes, places, &mut outcomes).await?;
    }
    // A delete may free a unique value that another record is to have.
    create(collection, writes, &creates, mark, &mut outcomes).await?;
    Ok(outcomes.into_iter().map(|outcome| outcome.unwrap_or(WriteOutcome::Changed)).collect())
}

/// Updates and deletes, under their guards.
async fn change(
    collection: &Collection,
    writes: &[Write],
    places: &[usize],
    outcomes: &mut [Option<WriteOutcome>],
) -> Result<()> {
    let part: Vec<(usize, &Write)> = places.iter().filter_map(|place| Some((*place, writes.get(*place)?))).collect();
    let before = assumed(collection, &part).await?;
    let mut plan = Plan::default();
    for (place, write) in part {
        if let Some(slot) = outcomes.get_mut(place) {
            *slot = plan.add(place, write, &before);
        }
    }
    for (verb, step) in [(Verb::Delete, &plan.deletes), (Verb::Update, &plan.updates)] {
        let sent: Vec<Sent> = step.iter().map(|(_, sent)| sent.clone()).collect();
        let results = if sent.is_empty() { Vec::new() } else { send_all(collection, verb, &sent).await? };
        let stored = if matches!(verb, Verb::Delete) { HashMap::new() } else { stored(collection, &results).await? };
        for ((place, sent), result) in step.iter().zip(results) {
            if let (Some(slot), Some(write)) = (outcomes.get_mut(*place), writes.get(*place)) {
                *slot = Some(outcome(collection, write, sent.id.as_deref(), result, &stored));
            }
        }
    }
    Ok(())
}

/// Creates: by a job where there are many and each can be told by a name of ours, however often it is tried.
async fn create(
    collection: &Collection,
    writes: &[Write],
    places: &[usize],
    mark: Option<Mark<'_>>,
    outcomes: &mut [Option<WriteOutcome>],
) -> Result<()> {
    let record = |place: &usize| match writes.get(*place) {
        Some(Write::Create { record }) => {
            Some(Row { record, name: token(collection, mark, *place).map(|(_, name)| name) })
        }
        Some(Write::Update { .. } | Write::Delete { .. }) | None => None,
    };
    let rows: Vec<Row<'_>> = places.iter().filter_map(record).collect();
    if collection.token_field.is_none() && mark.is_some() && !rows.is_empty() {
        collection.warn_of_no_names();
    }
    let results: Vec<Result1> = match &collection.token_field {
        _ if rows.is_empty() => return Ok(()),
        Some(field) if mark.is_some() && collection.is_bulk(rows.len()) => {
            let fates = ingest::load(collection, field, &rows, true).await?;
            fates.into_iter().map(|fate| fate.map(Option::unwrap_or_default)).collect()
        }
        field => {
            let sent = |row: &Row<'_>| match (field, &row.name) {
                (Some(field), Some(name)) => Sent::new(None, row.record).with(&field.name, name),
                _ => Sent::new(None, row.record),
            };
            send_all(collection, Verb::Create, &rows.iter().map(sent).collect::<Vec<_>>()).await?
        }
    };
    let stored = stored(collection, &results).await?;
    for (place, result) in places.iter().zip(results) {
        if let (Some(slot), Some(write)) = (outcomes.get_mut(*place), writes.get(*place)) {
            *slot = Some(outcome(collection, write, None, result, &stored));
        }
    }
    Ok(())
}

/// What goes in which request, each with the place of its write.
#[derive(Default)]
struct Plan {
    updates: Vec<(usize, Sent)>,
    deletes: Vec<(usize, Sent)>,
}

impl Plan {
    /// Puts a write where it belongs; its outcome, where that is known without a request.
    fn add(&mut self, place: usize, write: &Write, before: &HashMap<String, Record>) -> Option<WriteOutcome> {
        match write {
            Write::Create { .. } => None,
            Write::Update { key, fields, guard } => {
                let Some(id) = Collection::id_of(key) else { return Some(WriteOutcome::Changed) };
                if !holds(guard.as_ref(), before.get(&id)) {
                    return Some(WriteOutcome::Changed);
                }
                self.updates.push((place, Sent::new(Some(id), fields)));
                None
            }
            Write::Delete { key, guard } => {
                let gone = WriteOutcome::Applied { key: key.clone(), stored: None };
                let Some(id) = Collection::id_of(key) else { return Some(gone) };
                match (guard, before.get(&id)) {
                    (Some(_), None) => return Some(gone),
                    (guard, now) if !holds(guard.as_ref(), now) => return Some(WriteOutcome::Changed),
                    _ => {}
                }
                self.deletes.push((place, Sent::delete(id)));
                None
            }
        }
    }
}

/// Whether a record is as a guard assumes.
fn holds(guard: Option<&Record>, now: Option<&Record>) -> bool {
    let Some(guard) = guard else { return true };
    now.is_some_and(|now| guard.iter().all(|(name, value)| now.get(name) == Some(value)))
}

/// The records that guards are about, as they are now.
async fn assumed(collection: &Collection, writes: &[(usize, &Write)]) -> Result<HashMap<String, Record>> {
    let guarded = |(_, write): &(usize, &Write)| match write {
        Write::Update { key, guard: Some(_), .. } | Write::Delete { key, guard: Some(_) } => Collection::id_of(key),
        Write::Create { .. } | Write::Update { .. } | Write::Delete { .. } => None,
    };
    let ids: Vec<String> = writes.iter().filter_map(guarded).collect();
    if ids.is_empty() { Ok(HashMap::new()) } else { collection.current(&ids).await }
}

/// What the org has stored of those that were written: triggers and flows may have changed more than was sent.
async fn stored(collection: &Collection, results: &[Result1]) -> Result<HashMap<String, Record>> {
    let ids: Vec<String> = results.iter().filter_map(|result| result.as_ref().ok().cloned()).collect();
    if ids.is_empty() { Ok(HashMap::new()) } else { collection.current(&ids).await }
}

fn outcome(
    collection: &Collection,
    write: &Write,
    id: Option<&str>,
    result: Result1,
    stored: &HashMap<String, Record>,
) -> WriteOutcome {
    let deletes = matches!(write, Write::Delete { .. });
    let key = |id: String| Key(vec![Value::Text(id)]);
    match result {
        Ok(id) if deletes => WriteOutcome::Applied { key: key(id), stored: None },
        Ok(id) => match stored.get(&id) {
            Some(record) => WriteOutcome::Applied { key: key(id), stored: Some(record.clone()) },
            // It was deleted since.
            None => WriteOutcome::Changed,
        },
        Err(reason) if deletes && reason.is_gone() => {
            let gone = id.map(|id| key(id.to_owned()));
            gone.map_or(WriteOutcome::Changed, |key| WriteOutcome::Applied { key, stored: None })
        }
        Err(reason) if reason.is_gone() || reason.is_taken() => WriteOutcome::Changed,
        Err(reason) => WriteOutcome::Failed(reason.of_record(&collection.place)),
    }
}

/// The field and the text that name a create for good, where the endpoint has an external id that no mapping fills.
pub(super) fn token(collection: &Collection, mark: Option<Mark<'_>>, place: usize) -> Option<(String, String)> {
    let (field, mark) = (collection.token_field.as_ref()?, mark?);
    Some((field.name.clone(), format!("tidelock:{}:{}:{}", mark.run, mark.number, mark.first + place)))
}
