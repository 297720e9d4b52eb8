//! Comparisons of some records that people ask for: by keys, by a filter, or all of one side; by the policy, or with one side as the winner.
//! The pair's worker carries them out between two batches, so they meet edits of both sides as any change does.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};
use tokio_util::sync::CancellationToken;

use super::following::Following;
use super::open::{OpenError, scope};
use super::repair::{Repaired, look_again};
use super::worker::interrupted;
use crate::change::End;
use crate::connector::{ScanOrder, Schema};
use crate::error::{Disposition, ErrorKind, Result, SyncError};
use crate::pipeline::apply::key_of;
use crate::record::{Key, KeyRange};
use crate::state::StateStore;
use crate::value::Value;

/// What is asked for. Neither `keys` nor `filter`: every record of `side`, or, without `side` and `from`, a load of the whole pair.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    /// Primary keys of `side`; one of several fields is a JSON array.
    #[serde(default)]
    pub keys: Vec<String>,
    /// Which records of `side`, in its system's own language.
    pub filter: Option<String>,
    /// Whose records are named; by default `from`, else the source.
    pub side: Option<End>,
    /// Whose record wins wherever both differ; by default the policy decides.
    pub from: Option<End>,
}

impl Request {
    /// Whether the whole pair is meant, deletes included.
    pub fn is_whole(&self) -> bool {
        *self == Self::default()
    }

    /// Keeps the request, which the pair's worker carries out; its number, if it is not about the whole pair.
    ///
    /// # Errors
    /// Where the state store cannot be used, or two things are asked for at once.
    pub async fn keep(&self, state: &dyn StateStore, pair: &str) -> Result<Option<i64>> {
        if self.is_whole() {
            state.request_resync(pair).await?;
            return Ok(None);
        }
        if self.filter.is_some() && !self.keys.is_empty() {
            return Err(refused("it names keys and a filter: ask for one of them".to_owned()));
        }
        let text = serde_json::to_string(self).map_err(|error| SyncError::internal(error.to_string()))?;
        state.ask_resync(pair, &text).await.map(Some)
    }

    fn side(&self) -> End {
        self.side.or(self.from).unwrap_or(End::Source)
    }
}

/// What came of a request: JSON with the counts, or with an `error`; `None` while it waits.
///
/// # Errors
/// Where the state store cannot be used.
pub async fn outcome(state: &dyn StateStore, pair: &str, request: Option<i64>) -> Result<Option<Json>> {
    let Some(id) = request else {
        let progress = state.progress(pair).await?;
        return Ok((progress.loaded && !progress.resync).then(|| json!({})));
    };
    let text = state.resync_outcome(id).await?;
    text.map(|text| serde_json::from_str(&text)).transpose().map_err(|error| SyncError::internal(error.to_string()))
}

fn refused(text: String) -> SyncError {
    SyncError::new(ErrorKind::InvalidRecord, "resync.refused", text)
}

/// A key as a person writes it.
fn key(schema: &Schema, end: End, text: &str) -> Result<Key> {
    let parts = match serde_json::from_str(text) {
        Ok(Json::Array(parts)) => {
            parts.iter().map(|part| part.as_str().map_or_else(|| part.to_string(), str::to_owned)).collect()
        }
        Ok(_) | Err(_) => vec![text.to_owned()],
    };
    let fields = schema.key.join(", ");
    if parts.len() != schema.key.len() {
        return Err(refused(format!(
            "a key of the {} is made of {fields}: several are written as a JSON array",
            end.name()
        )));
    }
    let part =
        |(name, part): (&String, String)| schema.column(name).and_then(|of| Value::Text(part).convert(of.kind).ok());
    let key: Option<Vec<Value>> = schema.key.iter().zip(parts).map(part).collect();
    key.map(Key).ok_or_else(|| refused(format!("a key does not fit the {}'s {fields}", end.name())))
}

impl Following<'_> {
    /// Carries out one request; whether there was any.
    pub(super) async fn take_up_resyncs(&mut self, shutdown: &CancellationToken) -> Result<bool> {
        let worker = self.worker;
        let Some(asked) = worker.state.asked_resync(&worker.config.name).await? else { return Ok(false) };
        self.finish().await?;
        let request: Result<Request> =
            serde_json::from_str(&asked.request).map_err(|error| refused(format!("it cannot be read: {error}")));
        let done = match request {
            Ok(request) => self.resync(&request, shutdown).await,
            Err(error) => Err(error),
        };
        let outcome = match done {
            Ok(Repaired { looked_at, counts }) => json!({
                "looked_at": looked_at, "written_source": counts.written_source, "written_target": counts.written_target,
                "conflicts": counts.conflicts, "rejected": counts.rejected, "held": counts.held,
            }),
            // It would be refused for ever.
            Err(error) if error.disposition() == Disposition::Review => {
                json!({"error": {"code": error.code, "message": error.message}})
            }
            Err(error) => return Err(error),
        };
        tracing::info!(pair = %worker.config.name, request = asked.id, %outcome, "a resync that was asked for has ended");
        worker.state.answer_resync(asked.id, &outcome.to_string()).await?;
        Ok(true)
    }

    async fn resync(&mut self, request: &Request, shutdown: &CancellationToken) -> Result<Repaired> {
        let (side, flows) = (request.side(), self.pair.pipeline.binding.flows);
        if let Some(from) = request.from.filter(|from| !flows.get(*from)) {
            return Err(refused(format!("nothing flows from the {} of this pair", from.name())));
        }
        if self.pair.pipeline.binding.upsert_only && side == End::Target {
            return Err(refused("a copy keeps no links: name records of the source".to_owned()));
        }
        let mut done = Repaired::default();
        if !request.keys.is_empty() {
            let schema = self.pair.schemas.get(side);
            let keys = request.keys.iter().map(|text| key(schema, side, text)).collect::<Result<Vec<Key>>>()?;
            for part in keys.chunks(self.worker.config.batch_size.max(1)) {
                self.compare(request.from, (side, part.to_vec()), &mut done, shutdown).await?;
            }
            return Ok(done);
        }
        let (config, schemas, pipeline) = (&self.pair.config, &self.pair.schemas, &self.pair.pipeline);
        let target = match &request.filter {
            None => Arc::clone(pipeline.targets.get(side)),
            Some(filter) => scope(config, schemas, pipeline, (side, filter)).await.map_err(|error| match error {
                OpenError::System(error) if error.disposition() == Disposition::Retry => error,
                OpenError::System(error) => refused(error.message),
                OpenError::Configuration(_) => refused("the filter does not fit the system".to_owned()),
            })?,
        };
        let mut scan = target.scan(ScanOrder::Key(KeyRange::ALL)).await?;
        loop {
            let records = scan.next(self.worker.config.batch_size).await?;
            if records.is_empty() {
                return Ok(done);
            }
            let keys = records.iter().filter_map(|record| key_of(&self.pair.pipeline.binding, side, record));
            self.compare(request.from, (side, keys.collect()), &mut done, shutdown).await?;
        }
    }

    /// Compares some records; the changes of both sides flow on in between.
    async fn compare(
        &mut self,
        from: Option<End>,
        (side, keys): (End, Vec<Key>),
        done: &mut Repaired,
        shutdown: &CancellationToken,
    ) -> Result<()> {
        if shutdown.is_cancelled() {
            return Err(interrupted(&self.worker.config.name));
        }
        let pipeline = &self.pair.pipeline;
        let (read, counts) = match from.filter(|_| !pipeline.binding.upsert_only) {
            Some(winner) => (keys.len() as u64, pipeline.settle_for(winner, side, keys).await?),
            None => {
                let records: Vec<(End, Key)> = keys.into_iter().map(|key| (side, key)).collect();
                let batch_size = self.worker.config.batch_size;
                let Repaired { looked_at, counts } =
                    look_again(pipeline, (batch_size, None), &records, &|_, _| false).await?;
                (looked_at, counts)
            }
        };
        done.looked_at += read;
        done.counts.add(&counts);
        self.worker.reporter.batch(&counts);
        self.turn().await.map(drop)
    }
}
