//! `/api/v1/reviews`: what waits for a person, and what the person decides. The same JSON as `tidelock review --json`.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::json;

use super::Context;
use super::failure::{Answer, Failure};
use crate::runtime::reviews::{self, Wish};
use crate::state::{ReviewFilter, ReviewKind, Ruling};

/// Reviews of one answer, at most.
const LIMIT_MAX: usize = 1_000;

/// Which reviews.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    pair: Option<String>,
    kind: Option<ReviewKind>,
    code: Option<String>,
    field: Option<String>,
    after: Option<i64>,
    limit: Option<usize>,
}

/// A page of reviews, how many there are of each kind, and where the next page begins.
pub(super) async fn list(State(context): State<Arc<Context>>, asked: Result<Query<Asked>, QueryRejection>) -> Answer {
    let Query(Asked { pair, kind, code, field, after, limit }) = asked?;
    let limit = limit.unwrap_or(100).min(LIMIT_MAX);
    let mut filter = ReviewFilter { pair, kind, code, field, after };
    let page = context.state.reviews(&filter, limit).await?;
    let next = if page.len() == limit { page.last().map(|review| review.id) } else { None };
    filter.after = None;
    let counts = reviews::counts(&context.state.review_counts(&filter).await?);
    let page: Vec<_> = page.iter().map(reviews::summary).collect();
    Ok(Json(json!({"reviews": page, "counts": counts, "next": next})).into_response())
}

/// One review whole.
pub(super) async fn show(State(context): State<Arc<Context>>, id: Result<Path<i64>, PathRejection>) -> Answer {
    let Path(id) = id?;
    let review = context.state.review(id).await?.ok_or_else(|| unknown(id))?;
    Ok(Json(reviews::details(&review, &context.state.decided(id).await?)).into_response())
}

/// Keeps a decision, which the pair's worker carries out.
pub(super) async fn resolve(
    state: State<Arc<Context>>,
    id: Result<Path<i64>, PathRejection>,
    wish: Result<Json<Wish>, JsonRejection>,
) -> Answer {
    let Json(wish) = wish?;
    if wish.take.is_none() && wish.set.is_empty() {
        let text =
            "say \"take\" (\"source\" or \"target\") or \"set\" (values by the target's names); …/retry tries again";
        return Err(Failure::BadRequest(text.to_owned()));
    }
    decide(state, id, wish).await
}

/// Asks for another try.
pub(super) async fn retry(
    state: State<Arc<Context>>,
    id: Result<Path<i64>, PathRejection>,
    wish: Result<Json<Wish>, JsonRejection>,
) -> Answer {
    let Json(wish) = wish?;
    if wish.take.is_some() || !wish.set.is_empty() {
        return Err(Failure::BadRequest("another try takes neither \"take\" nor \"set\"".to_owned()));
    }
    decide(state, id, wish).await
}

/// The request must say that it is JSON, so that no page of another site can send it from somebody's browser.
async fn decide(State(context): State<Arc<Context>>, id: Result<Path<i64>, PathRejection>, wish: Wish) -> Answer {
    let Path(id) = id?;
    let review = context.state.review(id).await?.ok_or_else(|| unknown(id))?;
    let Wish { take, set, version, actor } = wish;
    let ruling = Ruling { take, set };
    let actor = actor.unwrap_or_else(|| "http".to_owned());
    let reviews = std::slice::from_ref(&review);
    let kept = reviews::decide(context.state.as_ref(), reviews, (&ruling, version.as_deref()), &actor).await?;
    let decision = kept.into_iter().next().flatten().ok_or_else(|| unknown(id))?;
    let version = version.unwrap_or(review.version);
    let body = json!({"review": id, "pair": review.pair, "version": version, "decision": decision, "verdict": null});
    Ok((StatusCode::ACCEPTED, Json(body)).into_response())
}

fn unknown(id: i64) -> Failure {
    Failure::NotFound(format!("there is no open review {id}"))
}
