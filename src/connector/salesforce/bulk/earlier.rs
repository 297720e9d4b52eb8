//! Jobs that nobody waits for any more (layer 4): the connection was lost, or the process died, and the org goes on. Before anything is said about
//! what they wrote, and before anything newer is written, their end is awaited.
//!
//! They are told by object, user, and the external id that they upsert by: nobody else's load goes by a field of tidelock's.

use serde::Deserialize;
use tokio::time::Instant;

use super::super::catalogue::Field;
use super::super::collection::Collection;
use super::super::ids;
use super::super::org::Ask;
use super::{FIRST_PAUSE, Job, PAUSE_MAX, State, Told, is_refusal};
use crate::error::{ErrorKind, Result};

const DOING: &str = "looking for jobs of earlier runs";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct List {
    records: Vec<Told>,
    #[serde(default)]
    done: bool,
    next_records_url: Option<String>,
}

/// Returns once no earlier job of ours is at work any more.
///
/// # Errors
/// `Unavailable` where one takes too long.
pub(in super::super) async fn settle(collection: &Collection, by: &Field) -> Result<()> {
    let open = match open(collection, by).await {
        // Who may not see jobs has none.
        Err(error) if is_refusal(&error) => return Ok(()),
        open => open?,
    };
    for job in open {
        tracing::info!(place = %collection.place, job = job.id, "waiting for a job of an earlier run");
        job.abort_unless_started().await?;
        let until = Instant::now() + collection.job_time;
        let mut pause = FIRST_PAUSE;
        while matches!(job.told().await?.state, State::Open | State::AtWork) {
            if Instant::now() >= until {
                let text =
                    format!("job {} of an earlier run is still at work: nothing is written before its end", job.id);
                return Err(collection.place.error(ErrorKind::Unavailable, "salesforce.job", text));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
        job.delete().await;
    }
    Ok(())
}

impl Job<'_> {
    /// A file that was not started never will be: who could have done so is gone. But what is on its way may still arrive.
    async fn abort_unless_started(&self) -> Result<()> {
        if self.told().await?.state == State::Open {
            self.abort().await;
        }
        Ok(())
    }
}

async fn open<'a>(collection: &'a Collection, by: &Field) -> Result<Vec<Job<'a>>> {
    let (_, user) = collection.org.identity().await?;
    let user = ids::long(&user);
    let is_candidate = |told: &Told| {
        matches!(told.state, State::Open | State::AtWork)
            && told.object.eq_ignore_ascii_case(&collection.object.name)
            && ids::long(&told.created_by_id) == user
            && !collection.org.jobs.holds(&told.id)
    };
    let (mut jobs, mut path) = (Vec::new(), "jobs/ingest?jobType=V2Ingest".to_owned());
    loop {
        let answer = collection.org.read(&collection.place, Ask::get(DOING, &path)).await?;
        let list: List =
            serde_json::from_slice(&answer.body).map_err(|error| collection.place.garbled(DOING, error))?;
        for told in list.records.into_iter().filter(is_candidate) {
            let Some(id) = ids::long(&told.id) else { continue };
            // Dropped at once where it is none of ours, and never registered: it is nobody's here.
            let job = Job { collection, path: format!("jobs/ingest/{id}"), id };
            // The list does not say what they upsert by.
            match job.told().await {
                Ok(told) if told.external_id_field_name.as_deref() == Some(by.name.as_str()) => jobs.push(job),
                // Another's, or gone by now.
                Ok(_) => {}
                Err(error) if is_refusal(&error) => {}
                Err(error) => return Err(error),
            }
        }
        match list.next_records_url {
            Some(next) if !list.done && next.starts_with("/services/data/") => path = next,
            Some(_) | None => return Ok(jobs),
        }
    }
}
