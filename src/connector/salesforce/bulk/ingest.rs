//! Loads records by jobs (layer 4), each an upsert by an external id: however often the org or we try a record, it is there once.
//!
//! A job says of each row what became of it. What it did not get to — it failed or was aborted half-way, or somebody held the record for a
//! moment — is sent by collections, by the same external id.

use reqwest::Method;
use serde_json::json;

use super::super::catalogue::Field;
use super::super::collection::Collection;
use super::super::collections::{Sent, Verb, send_all};
use super::super::errors::Reason;
use super::super::org::{Ask, Content};
use super::rows::{self, File};
use super::{DOING, Job, State, TRIES, Told, is_refusal, without};
use crate::error::{ErrorKind, Result};

pub(in super::super) use rows::Row;

/// What became of a row: its id, where it was asked for, or why not.
pub(in super::super) type Fate = std::result::Result<Option<String>, Reason>;

/// Loads all rows, and says what became of each, in order.
///
/// # Errors
/// Where nobody knows what became of some: a job may still be at work at them (see [`super::earlier`]).
pub(in super::super) async fn load(
    collection: &Collection,
    by: &Field,
    rows: &[Row<'_>],
    wants_ids: bool,
) -> Result<Vec<Fate>> {
    // A few are not worth a job.
    let is_bulk = collection.is_bulk(rows.len());
    let files = if is_bulk { rows::files(&collection.object, by, rows, rows::FILE_MAX) } else { Vec::new() };
    let mut load = Load { collection, by, wants_ids, fates: vec![None; rows.len()] };
    for file in files {
        if !load.work(file).await? {
            break;
        }
    }
    let mut fates = load.fates;
    let open: Vec<usize> =
        fates.iter().enumerate().filter(|(_, fate)| fate.is_none()).map(|(place, _)| place).collect();
    let sent: Vec<Sent> = open.iter().filter_map(|place| rows.get(*place)).map(|row| sent(by, row)).collect();
    let results =
        if sent.is_empty() { Vec::new() } else { send_all(collection, Verb::Upsert(&by.name), &sent).await? };
    for (place, result) in open.into_iter().zip(results) {
        if let Some(slot) = fates.get_mut(place) {
            *slot = Some(result.map(Some));
        }
    }
    fates.into_iter().collect::<Option<Vec<_>>>().ok_or_else(|| collection.unreadable("the results"))
}

fn sent(by: &Field, row: &Row<'_>) -> Sent {
    let sent = Sent::new(None, row.record);
    match &row.name {
        Some(name) => sent.with(&by.name, name),
        None => sent,
    }
}

/// Rows on their way, and what is known of each.
struct Load<'a> {
    collection: &'a Collection,
    by: &'a Field,
    wants_ids: bool,
    fates: Vec<Option<Fate>>,
}

impl Load<'_> {
    /// One job; `false` where none can be had.
    async fn work(&mut self, mut file: File) -> Result<bool> {
        let collection = self.collection;
        let content = Content::csv(std::mem::take(&mut file.bytes));
        let job = match uploaded(collection, self.by, content).await {
            Ok(job) => job,
            Err(error) if is_refusal(&error) => {
                without(collection, &error);
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        job.start().await?;
        let ended = job.ended().await?;
        if ended.state != State::JobComplete {
            without(collection, &format_args!("{:?}", ended.state));
        }
        self.take(&file, &job, &ended).await?;
        job.delete().await;
        Ok(ended.state == State::JobComplete)
    }

    /// Takes down what became of the rows of a job that has ended.
    async fn take(&mut self, file: &File, job: &Job<'_>, ended: &Told) -> Result<()> {
        let garbled = || self.collection.unreadable("the results of a job");
        let sent = u64::try_from(file.places.len()).unwrap_or(u64::MAX);
        let all_told = ended.state == State::JobComplete && ended.number_records_processed == sent;
        let done = all_told && ended.number_records_failed == 0;
        let mut fates: Vec<(usize, Fate)> = Vec::with_capacity(file.places.len());
        if done && !self.wants_ids {
            fates.extend(file.places.values().map(|place| (*place, Ok(None))));
        } else {
            let answer = job.results("successfulResults").await?;
            let ids = rows::succeeded(&answer.body, self.by, file).ok_or_else(garbled)?;
            fates.extend(ids.into_iter().map(|(place, id)| (place, Ok(Some(id)))));
        }
        if !done {
            let answer = job.results("failedResults").await?;
            let reasons = rows::failed(&answer.body, self.by, file).ok_or_else(garbled)?;
            if let Some((_, reason)) = reasons.iter().find(|(_, reason)| reason.is_of_rights(true)) {
                return Err(self.collection.rights_lost(reason));
            }
            let refused = reasons.into_iter().filter(|(_, reason)| !reason.is_locked());
            fates.extend(refused.map(|(place, reason)| (place, Err(reason))));
        }
        for (place, fate) in fates {
            if let Some(slot) = self.fates.get_mut(place) {
                *slot = Some(fate);
            }
        }
        Ok(())
    }
}

/// A job that has its file. One whose upload got no answer is given up: it takes one file, and does nothing before it is started.
async fn uploaded<'a>(collection: &'a Collection, by: &Field, file: Content) -> Result<Job<'a>> {
    let wanted = json!({
        "object": collection.object.name, "operation": "upsert", "externalIdFieldName": by.name, "contentType": "CSV", "lineEnding": "LF",
    });
    let mut tries = 1;
    loop {
        let job = Job::make(collection, "ingest", wanted.clone()).await?;
        let path = format!("{}/batches", job.path);
        let ask = Ask { doing: DOING, method: Method::PUT, path: &path, body: Some(file.clone()) };
        match collection.org.send(&collection.place, ask).await {
            Ok(_) => return Ok(job),
            Err(error) if tries < TRIES && error.kind == ErrorKind::Unavailable => job.abort().await,
            Err(error) => {
                job.abort().await;
                return Err(error);
            }
        }
        tries += 1;
    }
}
