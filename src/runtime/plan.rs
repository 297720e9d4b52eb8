//! What a full comparison would write to each side, and what it would leave to people. Nothing is written anywhere.

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::load;
use super::open::OpenPair;
use super::rehearsal::{Found, rehearse};
use super::status::Reporter;
use crate::change::End;
use crate::error::Result;
use crate::pipeline::binding::is_renewed;

/// What would be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Plan {
    /// Name of the pair.
    pub pair: String,
    /// Records that were looked at.
    pub read: u64,
    /// Fields (or deletes) in conflict that would be settled.
    pub conflicts: u64,
    /// Records that would be refused or left to people.
    pub rejected: u64,
    /// Records that the rollout holds back.
    pub held: u64,
    /// Whether tidelock would make what it needs to see changes, in each system.
    pub makes_tracking: Sides,
    /// What was found.
    #[serde(flatten)]
    pub found: Found,
}

/// Something said of each side.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Sides {
    /// Of the source.
    pub source: bool,
    /// Of the target.
    pub target: bool,
}

impl Plan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }
}

/// Goes through a pair as a load would, writing nothing.
///
/// # Errors
/// Where a side, the state or a plugin cannot be used.
pub async fn plan(pair: OpenPair, shutdown: &CancellationToken) -> Result<Plan> {
    let name = pair.pipeline.binding.pair.to_string();
    let config = std::sync::Arc::clone(&pair.config);
    let progress = pair.pipeline.state.progress(&name).await?;
    let made = |end: End| progress.incarnations.get(end).is_some();
    let (mut pair, ledger) = rehearse(pair);
    let mapping = load::goes_by(&pair);
    pair.pipeline.binding.renewed = is_renewed(progress.mapping.as_deref(), &mapping);
    let (reporter, _) = Reporter::new();
    load::run(&pair.pipeline, mapping, config.batch_size, &reporter, shutdown).await?;
    let found = ledger.found();
    let flows = pair.pipeline.binding.flows;
    Ok(Plan {
        pair: name,
        read: found.counts.read,
        conflicts: found.counts.conflicts,
        rejected: found.counts.rejected,
        held: found.counts.held,
        makes_tracking: Sides {
            source: flows.source && !made(End::Source),
            target: flows.target && !made(End::Target),
        },
        found,
    })
}
