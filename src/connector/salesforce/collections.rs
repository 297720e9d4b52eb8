//! sObject Collections (layer 4): up to 200 records in a request, a result for each in their order. A record that somebody else holds for a
//! moment is sent again, alone with others like it.

use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;
use serde_json::json;
use serde_json::value::RawValue;

use super::collection::Collection;
use super::errors::Reason;
use super::org::{Ask, Content};
use super::{ids, soql, values};
use crate::error::{ErrorKind, Result};
use crate::record::Record;

/// Records of one request.
const WRITE_MAX: usize = 200;
/// How often a record that is locked is sent.
const LOCK_TRIES: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// What became of one record.
pub(super) type Result1 = std::result::Result<String, Reason>;

/// What is done to each.
#[derive(Debug, Clone, Copy)]
pub(super) enum Verb<'a> {
    Create,
    Update,
    /// By an external id.
    Upsert(&'a str),
    Delete,
}

/// One record to send.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    /// The id of what is there already.
    pub(super) id: Option<String>,
    /// The fields, as JSON; none for a delete.
    fields: Vec<(String, Box<RawValue>)>,
}

impl Sent {
    /// A record of these fields; what is absent is not sent.
    pub(super) fn new(id: Option<String>, record: &Record) -> Self {
        let fields = record.iter().filter(|(name, _)| *name != "Id");
        Self { id, fields: fields.map(|(name, value)| (name.to_owned(), values::write(value))).collect() }
    }

    /// A record to delete.
    pub(super) fn delete(id: String) -> Self {
        Self { id: Some(id), fields: Vec::new() }
    }

    /// Adds a text.
    pub(super) fn with(mut self, name: &str, text: &str) -> Self {
        self.fields.push((name.to_owned(), values::write(&crate::value::Value::Text(text.to_owned()))));
        self
    }

    fn json(&self, object: &str) -> Result<String, serde_json::Error> {
        let mut parts = vec![format!("\"attributes\":{}", json!({"type": object}))];
        if let Some(id) = &self.id {
            parts.push(format!("\"Id\":{}", serde_json::to_string(id)?));
        }
        for (name, value) in &self.fields {
            parts.push(format!("{}:{}", serde_json::to_string(name)?, value.get()));
        }
        Ok(format!("{{{}}}", parts.join(",")))
    }
}

#[derive(Deserialize)]
struct Outcome {
    id: Option<String>,
    success: bool,
    #[serde(default)]
    errors: Vec<Reason>,
}

/// Sends all, and says what became of each, in order: its id, or why not.
///
/// # Errors
/// Where a request came to nothing as a whole: what was sent before it has taken effect.
pub(super) async fn send_all(collection: &Collection, verb: Verb<'_>, records: &[Sent]) -> Result<Vec<Result1>> {
    let mut results: Vec<Option<Result1>> = vec![None; records.len()];
    let mut open: Vec<usize> = (0..records.len()).collect();
    let mut pause = FIRST_PAUSE;
    for tries in 1..=LOCK_TRIES {
        let mut locked = Vec::new();
        for places in open.chunks(WRITE_MAX) {
            let part: Vec<&Sent> = places.iter().filter_map(|place| records.get(*place)).collect();
            for (place, result) in places.iter().zip(request(collection, verb, &part).await?) {
                if matches!(&result, Err(reason) if reason.is_locked()) {
                    locked.push(*place);
                } else if let Some(slot) = results.get_mut(*place) {
                    *slot = Some(result);
                }
            }
        }
        open = locked;
        if open.is_empty() || tries == LOCK_TRIES {
            break;
        }
        tokio::time::sleep(pause).await;
        pause *= 2;
    }
    results.into_iter().collect::<Option<Vec<_>>>().ok_or_else(|| {
        let text = format!("writing: {} records are held by other transactions (UNABLE_TO_LOCK_ROW)", open.len());
        collection.place.error(ErrorKind::Unavailable, "salesforce.locked", text)
    })
}

async fn request(collection: &Collection, verb: Verb<'_>, records: &[&Sent]) -> Result<Vec<Result1>> {
    let (doing, object) = ("writing records", &collection.object.name);
    let body = || {
        let records: Result<Vec<String>, _> = records.iter().map(|record| record.json(object)).collect();
        records.map(|records| format!("{{\"allOrNone\":false,\"records\":[{}]}}", records.join(",")))
    };
    let (method, path) = match verb {
        Verb::Create => (Method::POST, "composite/sobjects".to_owned()),
        Verb::Update => (Method::PATCH, "composite/sobjects".to_owned()),
        Verb::Upsert(field) => (Method::PATCH, format!("composite/sobjects/{object}/{field}")),
        Verb::Delete => {
            let ids: Vec<&str> = records.iter().filter_map(|record| record.id.as_deref()).collect();
            (Method::DELETE, format!("composite/sobjects?ids={}&allOrNone=false", soql::encoded(&ids.join(","))))
        }
    };
    let garbled = |error| collection.place.garbled(doing, error);
    let body = if matches!(verb, Verb::Delete) { None } else { Some(Content::json(body().map_err(garbled)?)) };
    let answer = collection.org.send(&collection.place, Ask { doing, method, path: &path, body }).await?;
    let outcomes: Vec<Outcome> = serde_json::from_slice(&answer.body).map_err(garbled)?;
    if outcomes.len() != records.len() {
        return Err(collection.unreadable("the results"));
    }
    let creates = matches!(verb, Verb::Create | Verb::Upsert(_));
    let results: Vec<Result1> =
        outcomes.into_iter().map(|outcome| result(collection, outcome)).collect::<Result<_>>()?;
    match results.iter().find_map(|result| result.as_ref().err().filter(|reason| reason.is_of_rights(creates))) {
        Some(reason) => Err(collection.rights_lost(reason)),
        None => Ok(results),
    }
}

fn result(collection: &Collection, outcome: Outcome) -> Result<Result1> {
    let id = outcome.id.as_deref().and_then(ids::long);
    match (outcome.success, id, outcome.errors.into_iter().next()) {
        (true, Some(id), _) => Ok(Ok(id)),
        (false, _, Some(reason)) => Ok(Err(reason)),
        (true, None, _) | (false, _, None) => Err(collection.unreadable("a result")),
    }
}
