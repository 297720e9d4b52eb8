//! `/api/v1/pairs` and `/api/v1/history`: where the pairs stand, the switches that their workers obey, plans and audits on demand, and what
//! became of a record. The same JSON as the commands of these names.

use std::future::Future;
use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Context;
use super::failure::{Answer, Failure};
use crate::change::End;
use crate::config::PairConfig;
use crate::error::{ErrorKind, SyncError};
use crate::runtime::audit::audit;
use crate::runtime::explain::{Question, explain};
use crate::runtime::open::{OpenError, OpenPair, open_to_look};
use crate::runtime::plan::plan;
use crate::runtime::resync::{Request, outcome};
use crate::runtime::status::PairStatus;
use crate::state::PairSummary;

/// The body of a request that says nothing more. It must say that it is JSON, so that no page of another site can send it from somebody's
/// browser.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Nothing {}

/// Which record's past.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    pair: String,
    key: String,
    side: Option<End>,
    field: Option<String>,
}

type Name = Result<Path<String>, PathRejection>;
type Empty = Result<Json<Nothing>, JsonRejection>;

impl Context {
    fn pair(&self, name: Name) -> Result<Arc<PairConfig>, Failure> {
        let Path(name) = name?;
        let found = self.pairs.iter().find(|pair| *pair.name == *name);
        found
            .cloned()
            .ok_or_else(|| Failure::NotFound(format!("there is no pair \"{name}\": GET /api/v1/pairs lists them")))
    }

    /// A pair of its own, beside the one that the worker has: what is looked at holds up nothing.
    async fn open(&self, config: Arc<PairConfig>) -> Result<OpenPair, Failure> {
        let opened = open_to_look(config, Arc::clone(&self.state), Arc::clone(&self.catalogue)).await;
        opened.map_err(|error| match error {
            OpenError::System(error) => Failure::Sync(error),
            OpenError::Configuration(problems) => {
                let said: Vec<String> =
                    problems.iter().map(|problem| format!("{}: {}", problem.at, problem.message)).collect();
                let text = said.join("; ");
                Failure::Sync(SyncError::new(ErrorKind::SchemaMismatch, "http.does_not_fit", text))
            }
        })
    }

    fn told(&self, pair: &PairConfig, summaries: &[PairSummary]) -> Value {
        let status =
            self.statuses.iter().find(|(name, _)| *name == pair.name).map(|(_, status)| status.borrow().clone());
        let total = summaries.iter().find(|summary| summary.pair == *pair.name);
        told(pair, status.as_ref(), total)
    }
}

/// Where a pair stands: `counts` and `batches` are of this process, `total` of all time.
fn told(pair: &PairConfig, status: Option<&PairStatus>, total: Option<&PairSummary>) -> Value {
    let rollout = &pair.rollout;
    json!({
        "pair": &*pair.name,
        "source": {"name": &*pair.source.name, "type": pair.source.system_type, "collection": pair.source.collection},
        "target": {"name": &*pair.target.name, "type": pair.target.system_type, "collection": pair.target.collection},
        "sync_type": if pair.target_to_source { "bidirectional" } else { "one_way" },
        "rollout": {"mode": if rollout.read_only { "read_only" } else { "live" }, "percentage": rollout.percentage,
                    "filter": rollout.filter},
        "phase": status.map(|status| status.phase.name()),
        "reason": status.and_then(|status| status.phase.reason()),
        "notice": status.and_then(|status| status.notice.clone()),
        "counts": status.map(|status| status.counts),
        "batches": status.map(|status| status.batches),
        "would": status.and_then(|status| status.would.as_deref()),
        "total": total,
    })
}

/// Every pair.
pub(super) async fn list(State(context): State<Arc<Context>>) -> Answer {
    let summaries = context.state.summaries().await?;
    let pairs: Vec<Value> = context.pairs.iter().map(|pair| context.told(pair, &summaries)).collect();
    Ok(Json(json!({"pairs": pairs})).into_response())
}

/// One pair.
pub(super) async fn show(State(context): State<Arc<Context>>, name: Name) -> Answer {
    let pair = context.pair(name)?;
    let summaries = context.state.summaries().await?;
    Ok(Json(context.told(&pair, &summaries)).into_response())
}

/// Pauses a pair: its worker stops within a second or so, after the batch that it is at.
pub(super) async fn pause(context: State<Arc<Context>>, name: Name, body: Empty) -> Answer {
    switch(context, name, body, true).await
}

/// Lets a paused pair go on.
pub(super) async fn resume(context: State<Arc<Context>>, name: Name, body: Empty) -> Answer {
    switch(context, name, body, false).await
}

async fn switch(State(context): State<Arc<Context>>, name: Name, body: Empty, paused: bool) -> Answer {
    let (pair, Json(Nothing {})) = (context.pair(name)?, body?);
    context.state.set_paused(&pair.name, paused).await?;
    Ok(Json(json!({"pair": &*pair.name, "paused": paused})).into_response())
}

/// Asks for a comparison, which the pair's worker carries out.
pub(super) async fn resync(
    State(context): State<Arc<Context>>,
    name: Name,
    request: Result<Json<Request>, JsonRejection>,
) -> Answer {
    let (pair, Json(request)) = (context.pair(name)?, request?);
    let id = request.keep(context.state.as_ref(), &pair.name).await?;
    Ok((StatusCode::ACCEPTED, Json(json!({"pair": &*pair.name, "resync": true, "request": id}))).into_response())
}

/// What came of a comparison that was asked for; null while it waits.
pub(super) async fn resynced(
    State(context): State<Arc<Context>>,
    path: Result<Path<(String, i64)>, PathRejection>,
) -> Answer {
    let Path((name, id)) = path?;
    let pair = context.pair(Ok(Path(name)))?;
    let done = outcome(context.state.as_ref(), &pair.name, Some(id)).await?;
    Ok(Json(json!({"pair": &*pair.name, "request": id, "outcome": done})).into_response())
}

/// What a load would write, as `tidelock plan --json` says it. Answers when it is through; whoever hangs up ends it.
pub(super) async fn planned(State(context): State<Arc<Context>>, name: Name, body: Empty) -> Answer {
    let (pair, Json(Nothing {})) = (context.pair(name)?, body?);
    let _turn = turn(&context)?;
    let planned = async { Ok(Box::pin(plan(context.open(pair).await?, &context.stopping)).await?) };
    unless_stopped(&context, planned).await
}

/// Compares both sides, as `tidelock audit --json` does. Answers when it is through; whoever hangs up ends it.
pub(super) async fn audited(State(context): State<Arc<Context>>, name: Name, body: Empty) -> Answer {
    let (pair, Json(Nothing {})) = (context.pair(name)?, body?);
    let _turn = turn(&context)?;
    let audited = async {
        let OpenPair { pipeline, schemas, .. } = context.open(pair).await?;
        Ok(Box::pin(audit(&pipeline, &schemas, 0)).await?)
    };
    unless_stopped(&context, audited).await
}

/// The answer of what takes long; a service that stops does not wait for it.
async fn unless_stopped<T: Serialize>(context: &Context, answer: impl Future<Output = Result<T, Failure>>) -> Answer {
    tokio::select! {
        () = context.stopping.cancelled() => Err(Failure::Busy("the service stops".to_owned())),
        answer = answer => Ok(Json(answer?).into_response()),
    }
}

/// One plan or audit at a time: each reads whole tables.
fn turn(context: &Context) -> Result<tokio::sync::SemaphorePermit<'_>, Failure> {
    let busy = |_| Failure::Busy("another plan or audit is running: try again when it has ended".to_owned());
    context.reading.try_acquire().map_err(busy)
}

/// What became of a record, as `tidelock explain --json` says it.
pub(super) async fn history(
    State(context): State<Arc<Context>>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Answer {
    let Query(Asked { pair, key, side, field }) = asked?;
    let config = context.pair(Ok(Path(pair.clone())))?;
    let question = Question { pair, key, side, field };
    let answer = explain((context.state.as_ref(), context.past.as_ref()), &question, Some(&config)).await?;
    let unknown = || Failure::NotFound(format!("the state knows no record {} of pair {}", question.key, question.pair));
    answer.map(|answer| Json(answer).into_response()).ok_or_else(unknown)
}
