//! Guarded writes (layer 4). Salesforce has no conditional write of several records, so what a guard assumes is read just before: between that
//! and the write lies the one window in which another's edit can be overwritten unseen (docs/guarantees.md).

use std::collections::HashMap;

use super::collection::Collection;
use super::collections::{Sent, Verb, send_all};
use super::errors::Reason;
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
    let before = assumed(collection, writes).await?;
    let mut outcomes: Vec<Option<WriteOutcome>> = Vec::with_capacity(writes.len());
    let mut plan = Plan::default();
    for (place, write) in writes.iter().enumerate() {
        let outcome = plan.add(place, write, &before, |place| token(collection, mark, place));
        outcomes.push(outcome);
    }
    // A delete may free a unique value that another record is to have.
    for (verb, step) in [(Verb::Delete, &plan.deletes), (Verb::Update, &plan.updates), (Verb::Create, &plan.creates)] {
        let sent: Vec<Sent> = step.iter().map(|(_, sent)| sent.clone()).collect();
        let results = if sent.is_empty() { Vec::new() } else { send_all(collection, verb, &sent).await? };
        let stored = if matches!(verb, Verb::Delete) { HashMap::new() } else { stored(collection, &results).await? };
        for ((place, sent), result) in step.iter().zip(results) {
            let write = writes.get(*place);
            if let (Some(slot), Some(write)) = (outcomes.get_mut(*place), write) {
                *slot = Some(outcome(collection, write, sent, result, &stored));
            }
        }
    }
    Ok(outcomes.into_iter().map(|outcome| outcome.unwrap_or(WriteOutcome::Changed)).collect())
}

/// What goes in which request, each with the place of its write.
#[derive(Default)]
struct Plan {
    creates: Vec<(usize, Sent)>,
    updates: Vec<(usize, Sent)>,
    deletes: Vec<(usize, Sent)>,
}

impl Plan {
    /// Puts a write where it belongs; its outcome, where that is known without a request.
    fn add(
        &mut self,
        place: usize,
        write: &Write,
        before: &HashMap<String, Record>,
        token: impl Fn(usize) -> Option<(String, String)>,
    ) -> Option<WriteOutcome> {
        match write {
            Write::Create { record } => {
                let sent = Sent::new(None, record);
                let sent = match token(place) {
                    Some((field, token)) => sent.with(&field, &token),
                    None => sent,
                };
                self.creates.push((place, sent));
                None
            }
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
async fn assumed(collection: &Collection, writes: &[Write]) -> Result<HashMap<String, Record>> {
    let guarded = |write: &Write| match write {
        Write::Update { key, guard: Some(_), .. } | Write::Delete { key, guard: Some(_) } => Collection::id_of(key),
        Write::Create { .. } | Write::Update { .. } | Write::Delete { .. } => None,
    };
    let ids: Vec<String> = writes.iter().filter_map(guarded).collect();
    if ids.is_empty() { Ok(HashMap::new()) } else { collection.current(&ids).await }
}

/// What the org has stored of those that were written: triggers and flows may have changed more than was sent.
async fn stored(
    collection: &Collection,
    results: &[std::result::Result<String, Reason>],
) -> Result<HashMap<String, Record>> {
    let ids: Vec<String> = results.iter().filter_map(|result| result.as_ref().ok().cloned()).collect();
    if ids.is_empty() { Ok(HashMap::new()) } else { collection.current(&ids).await }
}

fn outcome(
    collection: &Collection,
    write: &Write,
    sent: &Sent,
    result: std::result::Result<String, Reason>,
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
            let gone = sent.id.clone().map(key);
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
