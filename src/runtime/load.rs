//! The initial load: both sides are brought together before their changes are followed. It may be repeated at any time and writes only
//! what differs.

use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::change::{Change, End, Ends, Op};
use crate::config::BULK_BATCH;
use crate::error::{Result, SyncError};
use crate::pipeline::binding::goes_by as goes_by_text;
use crate::pipeline::rollout::HELD;
use crate::pipeline::{Batch, Pipeline, apply};
use crate::record::{Key, KeyRange, Record};
use crate::runtime::open::OpenPair;
use crate::runtime::status::Reporter;
use crate::runtime::worker::interrupted;
use crate::state::{Commit, Counts, LoadProgress, Review, ReviewFilter};
use crate::telemetry::CrashPoint;

mod ranges;

use ranges::{Place, Ranges, Read};

/// Batches on their way beside those that are written, where their records cannot meet: one is mapped while others are committed.
const LANES_BESIDE: usize = 2;

/// Of the larger batches that some systems take, one is mapped while another is on its way.
const BULK_LANES: usize = 2;

/// Batches after which it is kept how far a scan has come.
const KEPT_EVERY: usize = 16;

/// Loads a pair: the source's records, the target's, then links whose record has gone since. `mapping` is the digest of what it goes by;
/// a load that went by the same and was `stopped` goes on where it was.
pub(super) async fn run(
    pipeline: &Pipeline,
    (mapping, stopped): (String, Option<LoadProgress>),
    batch_size: usize,
    reporter: &Reporter,
    shutdown: &CancellationToken,
) -> Result<()> {
    let max = if pipeline.binding.upsert_only { batch_size.max(BULK_BATCH) } else { batch_size };
    let mut progress = match stopped.filter(|stopped| stopped.mapping == mapping) {
        Some(stopped) => stopped,
        None => begin(pipeline, mapping).await?,
    };
    while let Some(end) = progress.side {
        if *pipeline.binding.flows.get(end) {
            scan(pipeline, (end, &mut progress), pace(pipeline, end, max).await?, reporter, shutdown).await?;
        }
        (progress.side, progress.ranges) = ((end == End::Source).then_some(End::Target), Vec::new());
        pipeline.state.keep_load(&pipeline.binding.pair, &progress).await?;
    }
    if progress.had_links {
        sweep(pipeline, max, reporter).await?;
    }
    release(pipeline, max, reporter).await?;
    CrashPoint::LoadScanned.pass();
    let commit = Commit { loaded: Some(progress.mapping), ..Commit::default() };
    pipeline.state.commit(&pipeline.binding.pair, &commit).await?;
    CrashPoint::LoadEnded.pass();
    Ok(())
}

/// A load that begins at the first record.
async fn begin(pipeline: &Pipeline, mapping: String) -> Result<LoadProgress> {
    let pair = &pipeline.binding.pair;
    let had_links = !pipeline.state.links_after(pair, End::Source, None, 1).await?.is_empty();
    let progress = LoadProgress { mapping, had_links, side: Some(End::Source), ranges: Vec::new() };
    pipeline.state.keep_load(pair, &progress).await?;
    Ok(progress)
}

/// How much of a side is carried over at a time.
#[derive(Clone, Copy)]
struct Pace {
    /// Records of a batch.
    max: usize,
    /// Batches on their way at the same time, where they cannot meet.
    lanes: usize,
    /// Key ranges that are read at the same time.
    ranges: usize,
}

/// Larger batches where the other side has a cheaper way to take many, and there are many; that one is slower than any reading.
async fn pace(pipeline: &Pipeline, end: End, max: usize) -> Result<Pace> {
    let writers = pipeline.writers.available_permits();
    let apart = pipeline.binding.upsert_only || pipeline.binding.apart;
    let usual = if apart {
        let ranges = if is_one_range_each(pipeline, end) { writers } else { 1 };
        Pace { max, lanes: writers + LANES_BESIDE, ranges }
    } else {
        Pace { max, lanes: 1, ranges: 1 }
    };
    let Some(bulk) = pipeline.targets.get(end.other()).capabilities().bulk else { return Ok(usual) };
    let count = pipeline.targets.get(end).count().await?;
    let larger = Pace { max: bulk.batch, lanes: if apart { BULK_LANES } else { 1 }, ranges: 1 };
    Ok(if count < bulk.from || max >= bulk.batch { usual } else { larger })
}

/// Whether a link's record is in the same range whenever that is read: two ranges are two moments, and a value that is no key may have been
/// handed on from a record of one to a record of the other between them (I4).
fn is_one_range_each(pipeline: &Pipeline, end: End) -> bool {
    apply::key_names(&pipeline.binding, end).eq(pipeline.binding.correlation.get(end))
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

/// Every record of one side that is left: the next batches are read while some are on their way.
async fn scan(
    pipeline: &Pipeline,
    (end, progress): (End, &mut LoadProgress),
    pace: Pace,
    reporter: &Reporter,
    shutdown: &CancellationToken,
) -> Result<()> {
    let target = pipeline.targets.get(end);
    if progress.ranges.is_empty() {
        let cuts = if pace.ranges > 1 { target.split(pace.ranges).await? } else { Vec::new() };
        progress.ranges = KeyRange::cut_at(cuts);
    }
    let mut ranges = Ranges::read(target.as_ref(), progress.ranges.clone(), pace.max).await?;
    // Scans of several ranges hold more that was read ahead, so one batch fewer is on its way: memory stays what it is.
    let lanes = if progress.ranges.len() > 1 { pace.lanes.saturating_sub(1).max(1) } else { pace.lanes };
    // Each on a task of its own: while one is mapped, which takes a core, others are written.
    let mut running = JoinSet::new();
    let (mut more, mut failed) = (true, None);
    // What has begun is finished, also where another batch has failed (I11).
    while more || !running.is_empty() {
        let stop = tokio::select! {
            // So that a simulation is what its seed makes of it.
            biased;
            read = ranges.batches.recv(), if more && running.len() < lanes => match next(pipeline, end, read, shutdown) {
                Ok((range, changes)) if changes.is_empty() => { more = ranges.ended(range); None }
                Ok((range, changes)) => {
                    let (pipeline, place) = (pipeline.clone(), ranges.begin(range, &changes));
                    let batch = Batch { end, changes, through: None };
                    running.spawn(async move { (place, pipeline.process(batch).await) });
                    None
                }
                Err(error) => Some(error),
            },
            Some(ended) = running.join_next(), if !running.is_empty() => done(ended, &mut ranges, reporter).err(),
        };
        let kept = keep(pipeline, &mut ranges, progress, KEPT_EVERY).await;
        if let Some(error) = stop.or(kept.err()) {
            more = false;
            failed.get_or_insert(error);
        }
    }
    let Some(error) = failed else { return Ok(()) };
    // The next one goes on from here; where this cannot be kept, from a little before.
    let _kept = keep(pipeline, &mut ranges, progress, 1).await;
    Err(error)
}

/// Keeps how far a side has come, once so many batches more are done.
async fn keep(pipeline: &Pipeline, ranges: &mut Ranges, progress: &mut LoadProgress, every: usize) -> Result<()> {
    let Some(left) = ranges.left(every) else { return Ok(()) };
    progress.ranges = left;
    pipeline.state.keep_load(&pipeline.binding.pair, progress).await
}

/// What a batch came to, and its place.
type Ended = std::result::Result<(Place, Result<Counts>), JoinError>;

fn done(ended: Ended, ranges: &mut Ranges, reporter: &Reporter) -> Result<()> {
    let (place, counts) = ended.map_err(|error| SyncError::internal(format!("a batch ended early: {error}")))?;
    reporter.batch(&counts?);
    ranges.done(place);
    Ok(())
}

/// What was read, as changes; none at the end of its range.
fn next(
    pipeline: &Pipeline,
    end: End,
    read: Option<Read>,
    shutdown: &CancellationToken,
) -> Result<(usize, Vec<Change>)> {
    let (range, records) = read.ok_or_else(|| SyncError::internal("a scan stopped without an end"))?;
    let records = records?;
    if !records.is_empty() && shutdown.is_cancelled() {
        return Err(interrupted(&pipeline.binding.pair));
    }
    Ok((range, changes(pipeline, end, records)?))
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
