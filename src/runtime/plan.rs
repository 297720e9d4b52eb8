//! What a full comparison would write to each side, and what it would leave to people. Nothing is written anywhere.

use std::sync::Arc;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::load;
use super::open::OpenPair;
use super::rehearsal::{Found, rehearse};
use super::status::Reporter;
use crate::change::{Change, End, Ends, Op, Position};
use crate::error::{ErrorKind, Result};
use crate::pipeline::Batch;
use crate::pipeline::binding::is_renewed;
use crate::record::Key;

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
    pub makes_tracking: Ends<bool>,
    /// The names of what that is, where it is not there yet.
    pub tracking: Ends<Vec<String>>,
    /// Whether all deletes are known: those of a copy are known from its change stream alone, which may not be readable to who plans.
    pub deletes_known: bool,
    /// The statements that would make the target's collection first, where it is not there.
    pub create_target: Vec<String>,
    /// Statements that would make indexes which the pair's look-ups lack; a run makes none.
    pub index_recommendation: Vec<String>,
    /// What was found.
    #[serde(flatten)]
    pub found: Found,
}

impl Plan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty() && self.create_target.is_empty()
    }
}

/// Goes through a pair as a load would, writing nothing.
///
/// # Errors
/// Where a side, the state or a plugin cannot be used.
pub async fn plan(pair: OpenPair, shutdown: &CancellationToken) -> Result<Plan> {
    let name = pair.pipeline.binding.pair.to_string();
    let config = Arc::clone(&pair.config);
    let progress = pair.pipeline.state.progress(&name).await?;
    let made = |end: End| progress.incarnations.get(end).is_some();
    let makes = |end: End| *pair.pipeline.binding.flows.get(end) && !made(end);
    let makes_tracking = Ends::from_fn(makes);
    let tracking = Ends::from_fn(|end| if makes(end) { pair.sources.get(end).tracking() } else { Vec::new() });
    let (mut pair, ledger) = rehearse(pair, Ends::from_fn(made));
    let mapping = load::goes_by(&pair);
    Arc::make_mut(&mut pair.pipeline.binding).renewed = is_renewed(progress.mapping.as_deref(), &mapping);
    let (reporter, _) = Reporter::new();
    load::run(&pair.pipeline, (mapping, None), config.batch_size, &reporter, shutdown).await?;
    let deletes_known = if pair.pipeline.binding.upsert_only && progress.loaded && !progress.resync {
        deletes(&mut pair, progress.positions.source).await?
    } else {
        true
    };
    let found = ledger.found();
    Ok(Plan {
        pair: name,
        read: found.counts.read,
        conflicts: found.counts.conflicts,
        rejected: found.counts.rejected,
        held: found.counts.held,
        makes_tracking,
        tracking,
        deletes_known,
        create_target: std::mem::take(&mut pair.creates),
        index_recommendation: std::mem::take(&mut pair.indexes),
        found,
    })
}

/// Goes through the deletes of a copy's source that are still to come; whether they may be read.
async fn deletes(pair: &mut OpenPair, position: Option<Position>) -> Result<bool> {
    let Some(mut after) = position else { return Ok(true) };
    loop {
        let batch = match pair.sources.source.next_batch(&after, pair.config.batch_size).await {
            Ok(batch) => batch,
            Err(error) if error.kind == ErrorKind::PermissionDenied => return Ok(false),
            Err(error) => return Err(error),
        };
        let keys: Vec<Key> =
            batch.changes.into_iter().filter(|change| change.op == Op::Delete).map(|change| change.key).collect();
        let images = if keys.is_empty() { Vec::new() } else { pair.pipeline.targets.source.fetch(&keys).await? };
        // What is there again was looked at as the source was.
        let gone = keys.into_iter().zip(images).filter(|(_, image)| image.is_none());
        let changes: Vec<Change> = gone.map(|(key, _)| Change { key, op: Op::Delete, at: None, image: None }).collect();
        if !changes.is_empty() {
            pair.pipeline.process(Batch { end: End::Source, changes, through: None }).await?;
        }
        if !batch.more {
            return Ok(true);
        }
        after = batch.through;
    }
}
