//! Bulk API 2.0 (layer 4): jobs that read or load many records as one CSV file. The org works at them in its own time; they are asked about until
//! they are done, read, and deleted. `query` reads an object, `ingest` loads one out of `rows`, and `earlier` waits for jobs that a lost
//! connection or a crash has left at work.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::collection::Collection;
use super::ids;
use super::org::{Answer, Ask, Content};
use crate::error::{Disposition, ErrorKind, Result, SyncError};

pub(super) mod earlier;
pub(super) mod ingest;
pub(super) mod query;
mod rows;

/// How long until a job is asked about for the first time; each time it is twice as long …
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// … up to this.
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// How long a job that was aborted may take to end.
const ABORT_TIME: Duration = Duration::from_secs(60);
/// How often what starts a job is tried.
const TRIES: u32 = 4;
const DOING: &str = "loading by a job";

/// How far a job has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) enum State {
    /// Nothing was said about its file yet.
    Open,
    JobComplete,
    Failed,
    Aborted,
    /// `UploadComplete`, `InProgress`.
    #[serde(other)]
    AtWork,
}

/// What the org says about a job.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Told {
    id: String,
    pub(super) state: State,
    #[serde(default)]
    object: String,
    #[serde(default)]
    created_by_id: String,
    external_id_field_name: Option<String>,
    #[serde(default)]
    number_records_processed: u64,
    #[serde(default)]
    number_records_failed: u64,
}

/// Ids of the jobs that this process is at work at.
#[derive(Debug, Clone, Default)]
pub(super) struct Jobs(Arc<Mutex<HashSet<String>>>);

impl Jobs {
    fn holds(&self, id: &str) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains(id)
    }
}

/// A job of ours. However its owner ends, it is no longer ours then: who comes next may have to wait for it.
pub(super) struct Job<'a> {
    collection: &'a Collection,
    id: String,
    /// Below `/services/data/vXX.X`.
    path: String,
}

impl Drop for Job<'_> {
    fn drop(&mut self) {
        self.collection.org.jobs.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

impl<'a> Job<'a> {
    /// Makes a job of this kind (`query` or `ingest`). One whose answer is lost stays there and does nothing that is kept: it is made again.
    async fn make(collection: &'a Collection, kind: &str, wanted: Value) -> Result<Self> {
        let path = format!("jobs/{kind}");
        let ask =
            Ask { doing: DOING, method: Method::POST, path: &path, body: Some(Content::json(wanted.to_string())) };
        let told = told(collection, &collection.org.read(&collection.place, ask).await?)?;
        let id = ids::long(&told.id).ok_or_else(|| collection.unreadable("the id of a job"))?;
        collection.org.jobs.0.lock().unwrap_or_else(PoisonError::into_inner).insert(id.clone());
        let path = format!("jobs/{kind}/{id}");
        Ok(Self { collection, id, path })
    }

    async fn told(&self) -> Result<Told> {
        let ask = Ask::get(DOING, &self.path);
        told(self.collection, &self.collection.org.read(&self.collection.place, ask).await?)
    }

    async fn set(&self, state: &str) -> Result<()> {
        let body = Some(Content::json(json!({"state": state}).to_string()));
        let ask = Ask { doing: DOING, method: Method::PATCH, path: &self.path, body };
        self.collection.org.send(&self.collection.place, ask).await.map(drop)
    }

    /// Lets the org begin. Where the answer is lost, the job itself says whether it has begun.
    async fn start(&self) -> Result<()> {
        for tries in 1..=TRIES {
            let Err(error) = self.set("UploadComplete").await else { return Ok(()) };
            if self.told().await?.state != State::Open {
                return Ok(());
            }
            if tries == TRIES || error.kind != ErrorKind::Unavailable {
                return Err(error);
            }
        }
        Ok(())
    }

    /// Waits for its end. One that takes too long is aborted: what it has done by then stays, and it does no more.
    async fn ended(&self) -> Result<Told> {
        let (mut until, mut aborted) = (Instant::now() + self.collection.job_time, false);
        let mut pause = FIRST_PAUSE;
        loop {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
            let told = self.told().await?;
            match told.state {
                State::JobComplete | State::Failed | State::Aborted => return Ok(told),
                State::Open | State::AtWork if Instant::now() < until => {}
                State::Open | State::AtWork if aborted => {
                    let text = format!("{DOING}: job {} was aborted and does not end", self.id);
                    return Err(self.collection.place.error(ErrorKind::Unavailable, "salesforce.job", text));
                }
                State::Open | State::AtWork => {
                    tracing::warn!(place = %self.collection.place, job = self.id, "a job takes too long and is aborted");
                    self.abort().await;
                    (until, aborted, pause) = (Instant::now() + ABORT_TIME, true, FIRST_PAUSE);
                }
            }
        }
    }

    /// Asks for its end; what came of that is seen in its state.
    async fn abort(&self) {
        if let Err(error) = self.set("Aborted").await {
            tracing::debug!(%error, job = self.id, "a job could not be aborted");
        }
    }

    /// Takes it away with its results, which would be kept for a week. It may stay where that fails.
    async fn delete(&self) {
        let ask = Ask { doing: DOING, method: Method::DELETE, path: &self.path, body: None };
        if let Err(error) = self.collection.org.send(&self.collection.place, ask).await {
            tracing::debug!(%error, job = self.id, "a job could not be deleted");
        }
    }

    /// Its results of this name.
    async fn results(&self, name: &str) -> Result<Answer> {
        let path = format!("{}/{name}", self.path);
        self.collection.org.read(&self.collection.place, Ask::get(DOING, &path)).await
    }
}

fn told(collection: &Collection, answer: &Answer) -> Result<Told> {
    serde_json::from_slice(&answer.body).map_err(|error| collection.place.garbled(DOING, error))
}

/// Whether a job is refused in a way that asking again does not change: its work is done without one, then.
fn is_refusal(error: &SyncError) -> bool {
    match error.disposition() {
        Disposition::Retry | Disposition::Recheck => false,
        Disposition::Review | Disposition::Pause => error.kind != ErrorKind::Unauthenticated,
    }
}

/// Says that the other way is taken, and why.
fn without(collection: &Collection, reason: &dyn std::fmt::Display) {
    let text = "a job of the Bulk API came to nothing, so that records go the usual way, which costs more requests";
    tracing::warn!(place = %collection.place, %reason, text);
}
