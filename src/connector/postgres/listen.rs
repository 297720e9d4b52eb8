//! Notifications of one change table (layer 4): a task that owns the listening connection and remembers that something came.
//!
//! What comes while nobody waits is kept as one permit, so a change between a read and a wait is never missed.

use std::sync::Arc;
use std::time::Duration;

use sqlx::postgres::{PgListener, PgPool};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use super::errors::Sql;
use super::options::Server;
use super::tracking::CHANNEL;

/// Delay before a lost connection is opened again.
const RECONNECT_DELAY: Duration = Duration::from_secs(1);
/// A connection that was silent for longer is tried: a network that drops it says nothing.
const SILENCE_MAX: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(10);

/// A running listener; dropping it ends it.
pub(super) struct Listener {
    something: Arc<Notify>,
    task: JoinHandle<()>,
}

impl Listener {
    /// Listens from now on for notifications with this payload.
    pub(super) async fn start(server: &Server, payload: String) -> Sql<Self> {
        let pool = server.single();
        let listener = listen(&pool).await?;
        let something = Arc::new(Notify::new());
        let task = tokio::spawn(run(pool, listener, payload, Arc::clone(&something)));
        Ok(Self { something, task })
    }

    /// Returns when something came, now or since the last call.
    pub(super) async fn wait(&self) {
        self.something.notified().await;
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn listen(pool: &PgPool) -> Sql<PgListener> {
    let mut listener = PgListener::connect_with(pool).await?;
    listener.listen(CHANNEL).await?;
    Ok(listener)
}

async fn run(pool: PgPool, first: PgListener, payload: String, something: Arc<Notify>) {
    let mut current = Some(first);
    loop {
        if let Some(listener) = &mut current {
            let error = receive(listener, &payload, &something).await;
            tracing::warn!(%error, "lost the connection that listens for changes");
        }
        // Dropped before the next one is made: the pool has one connection.
        drop(current.take());
        tokio::time::sleep(RECONNECT_DELAY).await;
        match listen(&pool).await {
            Ok(listener) => current = Some(listener),
            Err(error) => tracing::debug!(%error, "cannot listen for changes yet"),
        }
        // What came in between is lost: have the reader look.
        something.notify_one();
    }
}

/// Receives until the connection is lost.
async fn receive(listener: &mut PgListener, payload: &str, something: &Notify) -> sqlx::Error {
    loop {
        match tokio::time::timeout(SILENCE_MAX, listener.try_recv()).await {
            Ok(Ok(Some(notification))) if notification.payload() == payload => something.notify_one(),
            Ok(Ok(Some(_))) => {}
            // Lost and opened again.
            Ok(Ok(None)) => something.notify_one(),
            Ok(Err(error)) => return error,
            Err(_) => match tokio::time::timeout(PING_TIMEOUT, sqlx::query("SELECT 1").execute(&mut *listener)).await {
                Ok(Ok(_)) => {}
                Ok(Err(error)) => return error,
                Err(_) => return sqlx::Error::PoolTimedOut,
            },
        }
    }
}
