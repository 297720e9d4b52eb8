//! The initial load: both sides are brought together before their changes are followed. It may be repeated at any time and writes only
//! what differs.

use std::collections::VecDeque;

use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::change::{Change, End, Ends, Op};
use crate::config::BULK_BATCH;
use crate::connector::{Scan, ScanOrder};
use crate::error::{Result, SyncError};
use crate::pipeline::binding::goes_by as goes_by_text;
use crate::pipeline::rollout::HELD;
use crate::pipeline::{Batch, Pipeline, apply};
use crate::record::{Key, Record};
use crate::runtime::open::OpenPair;
use crate::runtime::status::Reporter;
use crate::runtime::worker::interrupted;
use crate::state::{Commit, Counts, LoadProgress, Review, ReviewFilter};
use crate::telemetry::CrashPoint;

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
        (progress.side, progress.after) = ((end == End::Source).then_some(End::Target), None);
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
    let progress = LoadProgress { mapping, had_links, side: Some(End::Source), after: None };
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
}

/// Larger batches where the other side has a cheaper way to take many, and there are many.
async fn pace(pipeline: &Pipeline, end: End, max: usize) -> Result<Pace> {
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

/// Every record of one side from where it had come to: the next batches are read while some are on their way.
async fn scan(
    pipeline: &Pipeline,
    (end, progress): (End, &mut LoadProgress),
    pace: Pace,
    reporter: &Reporter,
    shutdown: &CancellationToken,
) -> Result<()> {
    let apart = pipeline.binding.upsert_only || pipeline.binding.apart;
    let lanes = if apart { pace.lanes } else { 1 };
    let order = progress.after.clone().map_or(ScanOrder::Key, ScanOrder::After);
    let scan = pipeline.targets.get(end).scan(order).await?;
    let mut reached = Reached { resumable: scan.resumable(), ..Reached::default() };
    let mut batches = read_ahead(scan, pace.max);
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
                    let (pipeline, number) = (pipeline.clone(), reached.begin(&changes));
                    let batch = Batch { end, changes, through: None };
                    running.spawn(async move { (number, pipeline.process(batch).await) });
                    None
                }
                Err(error) => Some(error),
            },
            Some(ended) = running.join_next(), if !running.is_empty() => done(ended, &mut reached, reporter).err(),
        };
        let kept = keep(pipeline, &mut reached, progress, KEPT_EVERY).await;
        if let Some(error) = stop.or(kept.err()) {
            more = false;
            failed.get_or_insert(error);
        }
    }
    let Some(error) = failed else { return Ok(()) };
    // The next one goes on from here; where this cannot be kept, from a little before.
    let _kept = keep(pipeline, &mut reached, progress, 1).await;
    Err(error)
}

/// Keeps how far a scan has come, once so many batches more are done.
async fn keep(pipeline: &Pipeline, reached: &mut Reached, progress: &mut LoadProgress, every: usize) -> Result<()> {
    if !reached.resumable || reached.since < every {
        return Ok(());
    }
    reached.since = 0;
    progress.after.clone_from(&reached.after);
    pipeline.state.keep_load(&pipeline.binding.pair, progress).await
}

/// How far the batches of a scan are done.
#[derive(Default)]
struct Reached {
    /// Whether a scan can begin behind one of its records.
    resumable: bool,
    /// Batches before which all are done.
    before: usize,
    /// The last key of each batch from there on, and whether it is done.
    batches: VecDeque<(Key, bool)>,
    /// The last record before which all are, and how many batches ago that was kept.
    after: Option<Key>,
    since: usize,
}

impl Reached {
    /// The number of a batch that begins.
    fn begin(&mut self, changes: &[Change]) -> usize {
        let last = changes.last().map(|change| change.key.clone()).unwrap_or(Key(Vec::new()));
        self.batches.push_back((last, false));
        self.before + self.batches.len() - 1
    }

    fn done(&mut self, number: usize) {
        if let Some((_, done)) = number.checked_sub(self.before).and_then(|place| self.batches.get_mut(place)) {
            *done = true;
        }
        while let Some((key, _)) = self.batches.pop_front_if(|(_, done)| *done) {
            self.after = Some(key);
            self.before += 1;
            self.since += 1;
        }
    }
}

/// What a batch came to, and its number.
type Ended = std::result::Result<(usize, Result<Counts>), JoinError>;

fn done(ended: Ended, reached: &mut Reached, reporter: &Reporter) -> Result<()> {
    let (number, counts) = ended.map_err(|error| SyncError::internal(format!("a batch ended early: {error}")))?;
    reporter.batch(&counts?);
    reached.done(number);
    Ok(())
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
