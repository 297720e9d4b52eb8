//! Notices commits of any program (layer 4): `PRAGMA data_version` of a connection that never writes
//! (<https://www.sqlite.org/pragma.html#pragma_data_version>).

use std::sync::Arc;
use std::time::Duration;

use sqlx::SqliteConnection;
use tokio::time::{Instant, sleep};

use super::Opened;
use crate::error::Result;

/// How often a change is looked for. A look reads one page header from memory.
const INTERVAL: Duration = Duration::from_millis(20);

/// A connection that notices commits.
#[derive(Debug)]
pub(super) struct Watch {
    opened: Arc<Opened>,
    connection: Option<SqliteConnection>,
    /// The version before the last read of changes; versions of another connection mean nothing.
    seen: Option<i64>,
}

impl Watch {
    /// Watches the file of an opened collection.
    pub(super) fn new(opened: Arc<Opened>) -> Self {
        Self { opened, connection: None, seen: None }
    }

    /// To be called before changes are read: what is committed from here on ends the next `wait`.
    pub(super) async fn mark(&mut self) -> Result<()> {
        self.seen = Some(self.version().await?);
        Ok(())
    }

    /// Returns when something was committed since the last `mark`, or after `timeout`.
    pub(super) async fn wait(&mut self, timeout: Duration) -> Result<()> {
        let end = Instant::now() + timeout;
        loop {
            let version = self.version().await?;
            if self.seen != Some(version) {
                return Ok(());
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            sleep(INTERVAL.min(left)).await;
        }
    }

    async fn version(&mut self) -> Result<i64> {
        self.opened.database.check_identity()?;
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => {
                self.seen = None;
                self.opened.database.connect().await?
            }
        };
        // Kept only after it answered: one that was cancelled half-way is opened anew.
        let version = sqlx::query_scalar("PRAGMA data_version").fetch_one(&mut connection).await;
        let version = version.map_err(self.opened.place().failed("looking for changes"))?;
        self.connection = Some(connection);
        Ok(version)
    }
}
