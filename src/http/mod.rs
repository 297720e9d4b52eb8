//! The HTTP server (layer 8): health, readiness, the pairs and their switches, what the plugins do, and what waits for people. On any address but loopback a bearer token is required.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::json;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::config::{PairConfig, Secret, ServerSettings};
use crate::plugin::Catalogue;
use crate::runtime::supervisor::{Statuses, unready};
use crate::state::{Past, StateStore};

mod failure;
mod pairs;
mod reviews;

/// Tells what the plugins do. The host of the plugins is not this layer's to know.
pub type Plugins = Box<dyn Fn() -> serde_json::Value + Send + Sync>;

/// What the handlers see.
struct Context {
    statuses: Statuses,
    plugins: Plugins,
    state: Arc<dyn StateStore>,
    past: Arc<dyn Past>,
    pairs: Vec<Arc<PairConfig>>,
    catalogue: Arc<dyn Catalogue>,
    /// Whole tables are read one at a time.
    reading: Semaphore,
    /// The service ends: what takes long ends too.
    stopping: CancellationToken,
    token: Option<Secret>,
}

/// What a server serves.
pub struct Served {
    /// The pairs.
    pub pairs: Vec<PairConfig>,
    /// What their workers say.
    pub statuses: Statuses,
    /// What the plugins say.
    pub plugins: Plugins,
    /// The plugins.
    pub catalogue: Arc<dyn Catalogue>,
    /// The durable state.
    pub state: Arc<dyn StateStore>,
    /// What was written.
    pub past: Arc<dyn Past>,
    /// Ends what takes long.
    pub stopping: CancellationToken,
}

/// A server that has its port.
pub struct Server {
    listener: TcpListener,
    router: Router,
}

impl Server {
    /// Takes the port.
    ///
    /// # Errors
    /// Where the address cannot be had.
    pub async fn bind(settings: &ServerSettings, served: Served) -> std::io::Result<Self> {
        let listener = TcpListener::bind(&settings.listen).await?;
        let Served { pairs, statuses, plugins, catalogue, state, past, stopping } = served;
        let (pairs, reading) = (pairs.into_iter().map(Arc::new).collect(), Semaphore::new(1));
        let token = settings.token.clone();
        let context = Arc::new(Context { statuses, plugins, state, past, pairs, catalogue, reading, stopping, token });
        let router = Router::new()
            .route("/healthz", get(healthz))
            .route("/readyz", get(readyz))
            .route("/api/v1/pairs", get(pairs::list))
            .route("/api/v1/pairs/{name}", get(pairs::show))
            .route("/api/v1/pairs/{name}/pause", post(pairs::pause))
            .route("/api/v1/pairs/{name}/resume", post(pairs::resume))
            .route("/api/v1/pairs/{name}/resync", post(pairs::resync))
            .route("/api/v1/pairs/{name}/resync/{id}", get(pairs::resynced))
            .route("/api/v1/pairs/{name}/plan", post(pairs::planned))
            .route("/api/v1/pairs/{name}/audit", post(pairs::audited))
            .route("/api/v1/history", get(pairs::history))
            .route("/api/v1/plugins", get(list_plugins))
            .route("/api/v1/reviews", get(reviews::list))
            .route("/api/v1/reviews/{id}", get(reviews::show))
            .route("/api/v1/reviews/{id}/resolve", post(reviews::resolve))
            .route("/api/v1/reviews/{id}/retry", post(reviews::retry))
            .layer(middleware::from_fn_with_state(Arc::clone(&context), authorise))
            .with_state(context);
        Ok(Self { listener, router })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// Where the system does not say.
    pub fn address(&self) -> std::io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown`.
    ///
    /// # Errors
    /// Where the listener fails.
    pub async fn serve(self, shutdown: CancellationToken) -> std::io::Result<()> {
        axum::serve(self.listener, self.router).with_graceful_shutdown(async move { shutdown.cancelled().await }).await
    }
}

async fn authorise(State(context): State<Arc<Context>>, request: Request, next: Next) -> Response {
    let Some(token) = &context.token else { return next.run(request).await };
    let given =
        request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    // Digests are compared, so that the time taken says nothing about the token.
    if given.is_some_and(|given| Sha256::digest(given) == Sha256::digest(token.expose())) {
        return next.run(request).await;
    }
    let body = json!({"error": {"code": "http.unauthorized", "message": "a bearer token is required"}});
    (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")], Json(body)).into_response()
}

/// The process lives.
async fn healthz() -> Json<serde_json::Value> {
    Json(json!({"status": "ok"}))
}

/// Every pair is connected and not stuck; else 503, naming those that are.
async fn readyz(State(context): State<Arc<Context>>) -> Response {
    let stuck = unready(&context.statuses);
    let pairs: Vec<_> = stuck
        .iter()
        .map(|(name, status)| json!({"pair": name.as_ref(), "phase": status.phase.name(), "reason": status.phase.reason()}))
        .collect();
    let (code, word) =
        if pairs.is_empty() { (StatusCode::OK, "ready") } else { (StatusCode::SERVICE_UNAVAILABLE, "not ready") };
    (code, Json(json!({"status": word, "pairs": context.statuses.len(), "not_ready": pairs}))).into_response()
}

/// Every plugin that is in use, with what its functions did since this version was loaded, and the files that are not in use and why.
async fn list_plugins(State(context): State<Arc<Context>>) -> Json<serde_json::Value> {
    Json((context.plugins)())
}
