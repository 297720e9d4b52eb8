//! Reads a whole object by one job (layer 4), as a scan does: in parts, behind one another by the locators of its results, which the org keeps for
//! days. A part that breaks off is asked for again. No order is asked for: that would keep the org from cutting the query into parts.

use serde_json::json;
use tokio::sync::mpsc::Sender;

use super::super::collection::Collection;
use super::super::org::{Answer, header};
use super::super::{soql, values};
use super::{Job, State, is_refusal, without};
use crate::connector::chunked_scan::{Chunk, send, send_full};
use crate::error::{ErrorKind, Result};
use crate::record::{Layout, Record};
use crate::value::Value;

/// Records of one part.
const PART: usize = 20_000;

/// Sends all records to the reader; `false` where none was sent, because no job can be had.
///
/// # Errors
/// Where results cannot be read to their end: some may have been sent.
pub(in super::super) async fn read(collection: &Collection, sender: &Sender<Chunk>) -> Result<bool> {
    let filter = collection.filter.as_ref().map(|filter| format!(" WHERE {filter}")).unwrap_or_default();
    let query = format!("{}{filter}", collection.select(&["Id"]));
    let job = match Job::make(collection, "query", json!({"operation": "query", "query": query})).await {
        Ok(job) => job,
        Err(error) if is_refusal(&error) => {
            without(collection, &error);
            return Ok(false);
        }
        Err(error) => return Err(error),
    };
    let ended = job.ended().await?;
    let read = if ended.state == State::JobComplete {
        parts(collection, &job, sender).await.map(|()| true)
    } else {
        // Its own words may repeat a value of the filter.
        without(collection, &format_args!("{:?}", ended.state));
        Ok(false)
    };
    job.delete().await;
    read
}

async fn parts(collection: &Collection, job: &Job<'_>, sender: &Sender<Chunk>) -> Result<()> {
    let mut waiting = Vec::new();
    let mut behind = String::new();
    loop {
        let answer = job.results(&format!("results?maxRecords={PART}{behind}")).await?;
        if part(collection, &answer, &mut waiting, sender).await?.is_none() {
            return Ok(());
        }
        match locator(&answer) {
            Some(locator) => behind = format!("&locator={}", soql::encoded(locator)),
            None => break,
        }
    }
    let _told = send(sender, Ok(waiting)).await;
    Ok(())
}

/// Where the results go on. At their end the header says so in a word.
fn locator(answer: &Answer) -> Option<&str> {
    header(&answer.headers, "sforce-locator").filter(|locator| !locator.is_empty() && *locator != "null")
}

/// Hands one part over; `None` where nobody reads any more.
async fn part(
    collection: &Collection,
    answer: &Answer,
    waiting: &mut Vec<Record>,
    sender: &Sender<Chunk>,
) -> Result<Option<()>> {
    let mut reader = csv::Reader::from_reader(answer.body.as_slice());
    let places = places(collection, &mut reader)?;
    let mut count: u64 = 0;
    for line in reader.records() {
        let line = line.map_err(|_| collection.unreadable("a line of results"))?;
        waiting.push(record(collection, &places, &line)?);
        count += 1;
        if send_full(sender, waiting).await.is_none() {
            return Ok(None);
        }
    }
    // A part that is shorter than it says was cut on its way.
    let told = header(&answer.headers, "sforce-numberofrecords").and_then(|told| told.parse::<u64>().ok());
    if told.is_some_and(|told| told != count) {
        let text = format!("scanning: a part of a job's results holds {count} records, and not as many as it says");
        return Err(collection.place.error(ErrorKind::Unavailable, "salesforce.job", text));
    }
    Ok(Some(()))
}

/// Where each field of a record stands in a line.
fn places(collection: &Collection, reader: &mut csv::Reader<&[u8]>) -> Result<Vec<usize>> {
    let headings = reader.headers().map_err(|_| collection.unreadable("the headings of results"))?;
    let place = |name: &str| headings.iter().position(|heading| heading.eq_ignore_ascii_case(name));
    let places =
        collection.fields.iter().map(|field| place(&field.name).ok_or_else(|| collection.unreadable(&field.name)));
    places.collect()
}

fn record(collection: &Collection, places: &[usize], line: &csv::StringRecord) -> Result<Record> {
    let value = |(field, place): (&super::super::catalogue::Field, &usize)| -> Result<Option<Value>> {
        let value = line.get(*place).and_then(|cell| values::read_cell(field, cell));
        value.map(Some).ok_or_else(|| collection.unreadable(&field.name))
    };
    let values = collection.fields.iter().zip(places).map(value).collect::<Result<Vec<_>>>()?;
    Ok(Record::new(Layout::clone(&collection.layout), values))
}
