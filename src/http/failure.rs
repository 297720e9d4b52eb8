//! What a handler cannot do, as an answer: `{"error": {"code", "message"}}`.

use axum::Json;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::error::{ErrorKind, SyncError};

/// What a handler cannot do.
pub(super) enum Failure {
    /// There is no such thing.
    NotFound(String),
    /// The request is wrong.
    BadRequest(String),
    /// Another request is at it.
    Busy(String),
    /// The state store, a system or the configuration.
    Sync(SyncError),
}

/// What a handler answers.
pub(super) type Answer = Result<Response, Failure>;

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (status, code, message) = match self {
            Self::NotFound(message) => (StatusCode::NOT_FOUND, "http.not_found", message),
            Self::BadRequest(message) => (StatusCode::BAD_REQUEST, "http.bad_request", message),
            Self::Busy(message) => (StatusCode::TOO_MANY_REQUESTS, "http.busy", message),
            Self::Sync(error) if error.kind == ErrorKind::InvalidRecord => {
                (StatusCode::BAD_REQUEST, error.code, error.message)
            }
            Self::Sync(error) => (StatusCode::SERVICE_UNAVAILABLE, error.code, error.message),
        };
        (status, Json(json!({"error": {"code": code, "message": message}}))).into_response()
    }
}

impl From<SyncError> for Failure {
    fn from(error: SyncError) -> Self {
        Self::Sync(error)
    }
}

impl From<QueryRejection> for Failure {
    fn from(rejection: QueryRejection) -> Self {
        Self::BadRequest(rejection.body_text())
    }
}

impl From<PathRejection> for Failure {
    fn from(rejection: PathRejection) -> Self {
        Self::BadRequest(rejection.body_text())
    }
}

impl From<JsonRejection> for Failure {
    fn from(rejection: JsonRejection) -> Self {
        Self::BadRequest(rejection.body_text())
    }
}
