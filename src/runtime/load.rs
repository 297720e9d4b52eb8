//! The initial load: both sides are brought together before their changes are followed. It may be repeated at any time and writes only
//! what differs.

use tokio_util::sync::CancellationToken;

use crate::change::{Change, End, Op};
use crate::connector::ScanOrder;
use crate::error::{Result, SyncError};
use crate::pipeline::{Batch, Pipeline, apply};
use crate::record::Record;
use crate::runtime::status::Reporter;
use crate::runtime::worker::interrupted;
use crate::state::Commit;

/// Records in one batch of a load: large enough for bulk writes, small enough that memory stays flat.
const LOAD_BATCH_MIN: usize = 5_000;

/// Loads a pair: the source's records, the target's, then links whose record has gone since.
pub(super) async fn run(
    pipeline: &Pipeline,
    batch_size: usize,
    reporter: &Reporter,
    shutdown: &CancellationToken,
) -> Result<()> {
    let max = if pipeline.binding.upsert_only { batch_size.max(LOAD_BATCH_MIN) } else { batch_size };
    let had_links = !pipeline.state.links_after(&pipeline.binding.pair, End::Source, None, 1).await?.is_empty();
    for end in [End::Source, End::Target] {
        if *pipeline.binding.flows.get(end) {
            scan(pipeline, end, max, reporter, shutdown).await?;
        }
    }
    if had_links {
        sweep(pipeline, max, reporter).await?;
    }
    let commit = Commit { loaded: true, ..Commit::default() };
    pipeline.state.commit(&pipeline.binding.pair, &commit).await
}

/// Every record of one side, the next batch being read while one is written.
async fn scan(
    pipeline: &Pipeline,
    end: End,
    max: usize,
    reporter: &Reporter,
    shutdown: &CancellationToken,
) -> Result<()> {
    let mut scan = pipeline.targets.get(end).scan(ScanOrder::Key).await?;
    let mut records = scan.next(max).await?;
    while !records.is_empty() {
        if shutdown.is_cancelled() {
            return Err(interrupted(&pipeline.binding.pair));
        }
        let changes = changes(pipeline, end, records)?;
        let batch = Batch { end, changes, through: None };
        let (counts, next) = tokio::join!(pipeline.process(batch), scan.next(max));
        reporter.batch(&counts?);
        records = next?;
    }
    Ok(())
}

fn changes(pipeline: &Pipeline, end: End, records: Vec<Record>) -> Result<Vec<Change>> {
    let change = |record: Record| {
        let key = apply::key_of(&pipeline.binding, end, &record);
        let key = key.ok_or_else(|| SyncError::internal("a scanned record has no key"))?;
        Ok(Change { key, op: Op::Upsert, at: None, image: Some(record) })
    };
    records.into_iter().map(change).collect()
}

/// Links of an earlier load whose records were deleted while nobody looked.
async fn sweep(pipeline: &Pipeline, max: usize, reporter: &Reporter) -> Result<()> {
    for end in [End::Source, End::Target] {
        if !pipeline.binding.flows.get(end) {
            continue;
        }
        let mut after = None;
        loop {
            let links = pipeline.state.links_after(&pipeline.binding.pair, end, after.as_ref(), max).await?;
            let Some(last) = links.last() else { break };
            after = Some(last.keys.get(end).clone());
            let keys: Vec<_> = links.iter().map(|link| link.keys.get(end).clone()).collect();
            let images = pipeline.targets.get(end).fetch(&keys).await?;
            let gone = keys.into_iter().zip(images).filter(|(_, image)| image.is_none());
            let changes: Vec<Change> =
                gone.map(|(key, _)| Change { key, op: Op::Delete, at: None, image: None }).collect();
            if !changes.is_empty() {
                reporter.batch(&pipeline.process(Batch { end, changes, through: None }).await?);
            }
        }
    }
    Ok(())
}
