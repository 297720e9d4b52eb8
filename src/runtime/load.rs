//! The initial load: both sides are brought together before their changes are followed. It may be repeated at any time and writes only
//! what differs.

use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::change::{Change, End, Ends, Op};
use crate::connector::{Scan, ScanOrder};
use crate::error::{Result, SyncError};
use crate::pipeline::binding::goes_by as goes_by_text;
use crate::pipeline::rollout::HELD;
use crate::pipeline::{Batch, Pipeline, apply};
use crate::record::{Key, Record};
use crate::runtime::open::OpenPair;
use crate::runtime::status::Reporter;
use crate::runtime::worker::interrupted;
use crate::state::{Commit, Counts, Review, ReviewFilter};
use crate::telemetry::CrashPoint;

/// Records in one batch of upserts: large enough for bulk writes, small enough that memory stays flat.
const UPSERT_BATCH_MIN: usize = 5_000;

/// Batches on their way beside those that are written, where their records cannot meet: one is mapped while others are committed.
const LANES_BESIDE: usize = 2;

/// Of the larger batches that some systems take, one is mapped while another is on its way.
const BULK_LANES: usize = 2;

/// Loads a pair: the source's records, the target's, then links whose record has gone since. `mapping` is the digest of what it goes by.
pub(super) async fn run(
    pipeline: &Pipeline,
    mapping: String,
    batch_size: usize,
    reporter: &Reporter,
    shutdown: &CancellationToken,
) -> Result<()> {
    let max = if pipeline.binding.upsert_only { batch_size.max(UPSERT_BATCH_MIN) } else { batch_size };
    let had_links = !pipeline.state.links_after(&pipeline.binding.pair, End::Source, None, 1).await?.is_empty();
    for end in [End::Source, End::Target] {
        if *pipeline.binding.flows.get(end) {
            scan(pipeline, end, of_a_batch(pipeline, end, max).await?, reporter, shutdown).await?;
        }
    }
    if had_links {
        sweep(pipeline, max, reporter).await?;
    }
    release(pipeline, max, reporter).await?;
    CrashPoint::LoadScanned.pass();
    let commit = Commit { loaded: Some(mapping), ..Commit::default() };
    pipeline.state.commit(&pipeline.binding.pair, &commit).await?;
    CrashPoint::LoadEnded.pass();
    Ok(())
}

/// How much of a side is carried over at a time.
#[derive(Clone, Copy)]
struct Pace {
    /// Records of a batch.
    max: usize,
    /// Batches on their way at the same time, where they cannot meet.
    lanes: usize,
}

/// Larger batches where the other side has a cheaper way to take many, and there are many.
async fn of_a_batch(pipeline: &Pipeline, end: End, max: usize) -> Result<Pace> {
    let usual = Pace { max, lanes: pipeline.writers.available_permits() + LANES_BESIDE };
    let Some(bulk) = pipeline.targets.get(end.other()).capabilities().bulk else { return Ok(usual) };
    let count = pipeline.targets.get(end).count().await?;
    Ok(if count < bulk.from || max >= bulk.batch { usual } else { Pace { max: bulk.batch, lanes: BULK_LANES } })
}

/// What a load of a pair goes by, to be told from what the one before went by.
pub(super) fn goes_by(pair: &OpenPair) -> String {
    let config = &pair.config;
    let filters = Ends { source: config.source.filter.clone(), target: config.target.filter.clone() };
    goes_by_text(pair.pipeline.binding.digest(&filters), &config.rollout)
}

/// Deletes of a copy that the rollout held back: those that it lets through by now are carried out. All are read before the first is,
/// because those that it still holds back are filed anew.
async fn release(pipeline: &Pipeline, max: usize, reporter: &Reporter) -> Result<()> {
    let filter = ReviewFilter { code: Some(HELD.to_owned()), ..ReviewFilter::pair(&pipeline.binding.pair) };
    let held = pipeline.state.reviews(&filter, usize::MAX).await?;
    let change = |review: Review| Change { key: review.finding.key, op: Op::Delete, at: None, image: None };
    let changes: Vec<Change> = held.into_iter().map(change).collect();
    for part in changes.chunks(max.max(1)) {
        let batch = Batch { end: End::Source, changes: part.to_vec(), through: None };
        reporter.batch(&pipeline.process(batch).await?);
    }
    Ok(())
}

/// Every record of one side: the next batches are read while some are on their way.
async fn scan(
    pipeline: &Pipeline,
    end: End,
    pace: Pace,
    reporter: &Reporter,
    shutdown: &CancellationToken,
) -> Result<()> {
    let apart = pipeline.binding.upsert_only || pipeline.binding.apart;
    let lanes = if apart { pace.lanes } else { 1 };
    let mut batches = read_ahead(pipeline.targets.get(end).scan(ScanOrder::Key).await?, pace.max);
    // Each on a task of its own: while one is mapped, which takes a core, others are written.
    let mut running = JoinSet::new();
    let (mut more, mut failed) = (true, None);
    // What has begun is finished, also where another batch has failed (I11).
    while more || !running.is_empty() {
        let stop = tokio::select! {
            // So that a simulation is what its seed makes of it.
            biased;
            read = batches.recv(), if more && running.len() < lanes => match next(pipeline, end, read, shutdown) {
                Ok(changes) if changes.is_empty() => { more = false; None }
                Ok(changes) => {
                    let pipeline = pipeline.clone();
                    running.spawn(async move { pipeline.process(Batch { end, changes, through: None }).await });
                    None
                }
                Err(error) => Some(error),
            },
            Some(counts) = running.join_next(), if !running.is_empty() => done(counts, reporter).err(),
        };
        if let Some(error) = stop {
            more = false;
            failed.get_or_insert(error);
        }
    }
    failed.map_or(Ok(()), Err)
}

fn done(counts: std::result::Result<Result<Counts>, JoinError>, reporter: &Reporter) -> Result<()> {
    let counts = counts.map_err(|error| SyncError::internal(format!("a batch ended early: {error}")))?;
    counts.map(|counts| reporter.batch(&counts))
}

/// Reads a scan on a task of its own, which ends with the scan, an error, or the receiver. The end is an empty batch.
fn read_ahead(mut scan: Box<dyn Scan>, max: usize) -> mpsc::Receiver<Result<Vec<Record>>> {
    let (sender, batches) = mpsc::channel(1);
    tokio::spawn(async move {
        loop {
            let records = scan.next(max).await;
            let last = records.as_ref().map_or(true, Vec::is_empty);
            if sender.send(records).await.is_err() || last {
                return;
            }
        }
    });
    batches
}

/// What was read, as changes; none at the end.
fn next(
    pipeline: &Pipeline,
    end: End,
    read: Option<Result<Vec<Record>>>,
    shutdown: &CancellationToken,
) -> Result<Vec<Change>> {
    let records = read.unwrap_or_else(|| Err(SyncError::internal("a scan stopped without an end")))?;
    if !records.is_empty() && shutdown.is_cancelled() {
        return Err(interrupted(&pipeline.binding.pair));
    }
    changes(pipeline, end, records)
}

fn changes(pipeline: &Pipeline, end: End, records: Vec<Record>) -> Result<Vec<Change>> {
    let change = |record: Record| {
        let key = apply::key_of(&pipeline.binding, end, &record);
        let key = key.ok_or_else(|| SyncError::internal("a scanned record has no key"))?;
        Ok(Change { key, op: Op::Upsert, at: None, image: Some(record) })
    };
    records.into_iter().map(change).collect()
}

/// Links of an earlier load whose records were deleted while nobody looked. All are found before the first is carried out, so that the
/// delete guard knows how many there are.
async fn sweep(pipeline: &Pipeline, max: usize, reporter: &Reporter) -> Result<()> {
    for end in [End::Source, End::Target] {
        if !pipeline.binding.flows.get(end) {
            continue;
        }
        let gone = gone(pipeline, end, max).await?;
        pipeline.announce_deletes(end.other(), gone.len() as u64).await?;
        for keys in gone.chunks(max.max(1)) {
            let change = |key: &Key| Change { key: key.clone(), op: Op::Delete, at: None, image: None };
            let changes = keys.iter().map(change).collect();
            reporter.batch(&pipeline.process(Batch { end, changes, through: None }).await?);
        }
    }
    Ok(())
}

/// Keys of the links whose record of `end` is gone; not of those whose delete was carried out.
async fn gone(pipeline: &Pipeline, end: End, max: usize) -> Result<Vec<Key>> {
    let (mut gone, mut after) = (Vec::new(), None);
    loop {
        let links = pipeline.state.links_after(&pipeline.binding.pair, end, after.as_ref(), max).await?;
        let Some(last) = links.last() else { return Ok(gone) };
        after = Some(last.keys.get(end).clone());
        let keys: Vec<Key> =
            links.iter().filter(|link| link.gone != Some(end)).map(|link| link.keys.get(end).clone()).collect();
        let images = pipeline.targets.get(end).fetch(&keys).await?;
        let missing = keys.into_iter().zip(images).filter(|(_, image)| image.is_none()).map(|(key, _)| key);
        let missing: Vec<Key> = missing.collect();
        let outside = pipeline.outside(end, &missing).await?;
        gone.extend(missing.into_iter().zip(outside).filter(|(_, outside)| !outside).map(|(key, _)| key));
    }
}
