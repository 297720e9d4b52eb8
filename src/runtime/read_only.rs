//! `rollout.mode` `read_only`: a pair that is looked at, never written, and says what it would write.

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::open::OpenPair;
use super::plan::plan;
use super::status::Phase;
use super::worker::Worker;
use crate::error::{ErrorKind, Result, SyncError};

/// A look reads both sides in full: no more than one part in so many of the time is spent on it.
const SHARE: u32 = 10;

/// Why nothing is done that would write.
pub fn read_only(pair: &str) -> SyncError {
    let text = format!("pair {pair}: \"rollout\" says \"mode\": \"read_only\", so nothing is written");
    SyncError::new(ErrorKind::PermissionDenied, "rollout.read_only", text)
}

impl Worker {
    /// Says what would be written now. Positions and state stay as they are, so that nothing is lost to the day when it is written.
    pub(super) async fn look(&self, pair: OpenPair, shutdown: &CancellationToken) -> Result<()> {
        let plan = plan(pair, shutdown).await?;
        self.reporter.would(plan);
        self.reporter.phase(Phase::ReadOnly);
        Ok(())
    }

    /// The same, and waits until it is worth another look.
    pub(super) async fn look_on(
        &self,
        pair: OpenPair,
        shutdown: &CancellationToken,
        backoff: &mut Backoff,
    ) -> Result<()> {
        let begun = Instant::now();
        self.look(pair, shutdown).await?;
        backoff.reset();
        let rest =
            begun.elapsed().saturating_mul(SHARE).max(self.config.polling_interval).max(Duration::from_millis(10));
        tokio::select! { () = shutdown.cancelled() => {}, () = tokio::time::sleep(rest) => {} }
        Ok(())
    }
}
