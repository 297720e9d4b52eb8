//! An open pair follows the changes of both sides in turn, so that one link never has two decisions at once (I4).

use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::open::OpenPair;
use super::worker::Worker;
use crate::change::{Change, ChangeBatch, End, Ends, Op, Position};
use crate::connector::Source;
use crate::error::{Result, SyncError};
use crate::pipeline::{Batch, Pipeline, Ready, Written};
use crate::record::Key;
use crate::state::Counts;
use crate::telemetry::CrashPoint;

/// A position that moved over nothing but other pairs' and our own changes is made durable this often.
const IDLE_COMMIT: Duration = Duration::from_secs(10);

/// An open pair that follows its changes.
pub(crate) struct Following<'a> {
    pub(crate) pair: OpenPair,
    pub(super) worker: &'a Worker,
    /// Behind everything processed.
    positions: Ends<Option<Position>>,
    /// Whether the position is ahead of the durable one.
    ahead: Ends<bool>,
    committed: Instant,
    /// The next batch of each end, which was read while the one before was written…
    next: Ends<Option<Next>>,
    /// …and the last one written, which is committed while the next is written. There is none without a next.
    written: Option<Written>,
    /// Something has happened since it was last looked for records that wait in a circle.
    stirred: bool,
}

/// A batch that is yet to be written.
struct Next {
    /// `None` where it moved over nothing.
    ready: Option<Ready>,
    through: Position,
    /// Whether more is known to be waiting.
    more: bool,
    /// Whether it is news.
    any: bool,
    /// What was written since has to do with its records.
    stale: bool,
}

impl Next {
    async fn read(
        (end, source): (End, &mut dyn Source),
        pipeline: &Pipeline,
        after: &Position,
        max: usize,
    ) -> Result<Self> {
        let batch = source.next_batch(after, max).await?;
        let any = is_news(&batch, after);
        let ChangeBatch { changes, through, more } = batch;
        let ready = if changes.is_empty() {
            None
        } else {
            Some(pipeline.prepare(Batch { end, changes, through: Some(through.clone()) }).await?)
        };
        Ok(Self { ready, through, more, any, stale: false })
    }

    fn hold_against(&mut self, written: &Written) {
        self.stale = self.stale || self.ready.as_ref().is_some_and(|ready| ready.is_touched_by(written));
    }
}

/// Commits a batch; the end that it came from with the position behind it, and what it came to.
async fn finish(pipeline: &Pipeline, written: Option<&Written>) -> Result<Option<(End, Position, Counts)>> {
    let Some(written) = written else { return Ok(None) };
    let counts = pipeline.finish(written).await?;
    Ok(written.through().map(|(end, through)| (end, through.clone(), counts)))
}

/// What came of a batch, and of the one before.
struct Wrote {
    before: Option<Written>,
    finished: Result<Option<(End, Position, Counts)>>,
    written: Result<Written>,
}

/// Writes a batch while the one before is committed, which has its turn at the state store first.
async fn write(pipeline: Pipeline, before: Option<Written>, ready: Ready) -> Wrote {
    let (finished, written) = tokio::join!(finish(&pipeline, before.as_ref()), pipeline.write_prepared(ready));
    Wrote { before, finished, written }
}

/// A poll reads its overlap window again and again: that is no news.
fn is_news(batch: &ChangeBatch, after: &Position) -> bool {
    batch.more || (!batch.changes.is_empty() && batch.through != *after)
}

impl<'a> Following<'a> {
    /// Follows from these positions on.
    pub(super) fn new(pair: OpenPair, worker: &'a Worker, positions: Ends<Option<Position>>) -> Self {
        let (ahead, committed) = (Ends::default(), Instant::now());
        Self { pair, worker, positions, ahead, committed, next: Ends::default(), written: None, stirred: true }
    }
}

impl Following<'_> {
    /// One batch of each side; whether there was any.
    pub(crate) async fn turn(&mut self) -> Result<bool> {
        let mut any = false;
        for end in [End::Source, End::Target] {
            any |= self.step(end, true).await?;
        }
        let Ends { source, target } = &self.pair.sources;
        self.worker.reporter.notice(source.notice().or_else(|| target.notice()));
        Ok(any)
    }

    /// A batch of an end; whether there was any. While it is written, the one before is committed, and the end's next is read and prepared, if
    /// there is one and `reads_on`. Writes come one after the other, and so do commits: the order of each record's changes stays, no link has
    /// two decisions at once (I4), and a position is durable only after what comes before it. What was prepared of a record that was written to
    /// meanwhile is prepared again.
    async fn step(&mut self, end: End, reads_on: bool) -> Result<bool> {
        let Some(after) = self.positions.get(end).clone() else { return Ok(false) };
        let config = &self.worker.config;
        let max = if self.pair.pipeline.binding.upsert_only { config.copy_batch_size } else { config.batch_size };
        let next = match self.next.get_mut(end).take() {
            Some(next) => next,
            None => {
                let source = self.pair.sources.get_mut(end).as_mut();
                let mut next = Next::read((end, source), &self.pair.pipeline, &after, max).await?;
                self.written.iter().for_each(|written| next.hold_against(written));
                next
            }
        };
        let Next { ready, through, more, any, stale } = next;
        let Some(mut ready) = ready else {
            self.moved(end, through);
            return Ok(any);
        };
        if stale || !self.pair.pipeline.may_overlap(&ready) {
            self.commit_written().await?;
        }
        let pipeline = &self.pair.pipeline;
        if stale {
            ready = pipeline.prepare_again(ready).await?;
        }
        let (pipeline, source) = (pipeline.clone(), self.pair.sources.get_mut(end).as_mut());
        let writing = write(pipeline.clone(), self.written.take(), ready);
        let (wrote, next) = if more && reads_on {
            // On a task of its own: both take a core for a while.
            let mut apart = JoinSet::new();
            apart.spawn(writing);
            let (wrote, next) = tokio::join!(apart.join_next(), Next::read((end, source), &pipeline, &through, max));
            let lost = || SyncError::internal("a batch that was written was lost");
            let wrote = wrote.ok_or_else(lost)?.map_err(|error| SyncError::internal(error.to_string()))?;
            (wrote, next.map(Some))
        } else {
            (writing.await, Ok(None))
        };
        let Wrote { before, finished, written } = wrote;
        self.done(finished?).await?;
        let (written, mut next) = (written?, next?);
        for next in next.iter_mut().chain(self.next.get_mut(end.other())) {
            before.iter().chain([&written]).for_each(|written| next.hold_against(written));
        }
        self.written = Some(written);
        // One without changes says nothing of what came while it was read.
        let moved = next.take_if(|next| next.ready.is_none());
        *self.next.get_mut(end) = next;
        if self.next.get(end).is_none() {
            self.commit_written().await?;
        }
        if let Some(Next { through, .. }) = moved {
            self.moved(end, through);
        }
        Ok(any)
    }

    /// An end's position has moved over nothing.
    fn moved(&mut self, end: End, through: Position) {
        let position = self.positions.get_mut(end);
        *self.ahead.get_mut(end) |= position.as_ref() != Some(&through);
        *position = Some(through);
    }

    /// A batch of decisions; whether there was any.
    pub(crate) async fn carry_out(&mut self) -> Result<bool> {
        self.finish().await?;
        self.worker.carry_out(&self.pair.pipeline).await
    }

    /// Finishes what is on its way, so that whatever comes next finds it done.
    pub(super) async fn finish(&mut self) -> Result<()> {
        for end in [End::Source, End::Target] {
            if self.next.get(end).is_some() {
                self.step(end, false).await?;
            }
        }
        self.commit_written().await
    }

    async fn commit_written(&mut self) -> Result<()> {
        let written = self.written.take();
        let finished = finish(&self.pair.pipeline, written.as_ref()).await?;
        self.done(finished).await
    }

    /// A batch is committed: its source may forget it.
    async fn done(&mut self, finished: Option<(End, Position, Counts)>) -> Result<()> {
        let Some((end, through, counts)) = finished else { return Ok(()) };
        self.pair.sources.get_mut(end).acknowledge(&through).await?;
        CrashPoint::Acknowledged.pass();
        self.worker.reporter.batch(&counts);
        self.stirred = true;
        *self.ahead.get_mut(end) = false;
        *self.positions.get_mut(end) = Some(through);
        Ok(())
    }

    /// Records that waited for others which are linked by now, as if they had just changed; where there are none, those that wait in a
    /// circle. Whether that was of any use.
    pub(crate) async fn take_up_waiting(&mut self) -> Result<bool> {
        let worker = self.worker;
        let arrived = worker.state.arrived(&worker.config.name, worker.config.batch_size).await?;
        if arrived.is_empty() {
            return self.untie().await;
        }
        for (end, keys) in by_end(arrived) {
            let changes = keys.into_iter().map(|key| Change { key, op: Op::Upsert, at: None, image: None }).collect();
            let counts = self.pair.pipeline.process(Batch { end, changes, through: None }).await?;
            worker.reporter.batch(&counts);
        }
        self.stirred = true;
        Ok(true)
    }

    /// Unties circles of records of which each waits for the next.
    async fn untie(&mut self) -> Result<bool> {
        let worker = self.worker;
        let mut wrote = false;
        if std::mem::take(&mut self.stirred) {
            let circles = worker.state.circles(&worker.config.name, worker.config.batch_size).await?;
            for (end, keys) in by_end(circles) {
                let counts = self.pair.pipeline.untie(end, keys).await?;
                worker.reporter.batch(&counts);
                wrote |= counts.written_source + counts.written_target > 0;
            }
        }
        Ok(wrote)
    }

    pub(super) async fn commit_idle_positions(&mut self) -> Result<()> {
        if self.committed.elapsed() < IDLE_COMMIT {
            return Ok(());
        }
        // Another pair's record may have closed a circle.
        self.stirred = true;
        self.commit_positions().await
    }

    /// Makes positions durable that moved over nothing, so that the sources may forget what is behind them.
    pub(crate) async fn commit_positions(&mut self) -> Result<()> {
        self.finish().await?;
        self.committed = Instant::now();
        for end in [End::Source, End::Target] {
            if let (true, Some(through)) = (*self.ahead.get(end), self.positions.get(end).clone()) {
                let batch = Batch { end, changes: Vec::new(), through: Some(through.clone()) };
                self.pair.pipeline.process(batch).await?;
                self.pair.sources.get_mut(end).acknowledge(&through).await?;
                *self.ahead.get_mut(end) = false;
            }
        }
        Ok(())
    }

    pub(super) async fn wait(&mut self, shutdown: &CancellationToken) -> Result<()> {
        let timeout = self.worker.config.polling_interval;
        let flows = self.pair.pipeline.binding.flows;
        let Ends { source, target } = &mut self.pair.sources;
        tokio::select! {
            () = shutdown.cancelled() => Ok(()),
            () = self.worker.asked_for() => Ok(()),
            () = tokio::time::sleep(self.worker.config.schema_drift.check_every) => Ok(()),
            woken = source.wait(timeout), if flows.source => woken,
            woken = target.wait(timeout), if flows.target => woken,
        }
    }
}

/// Keys by the ends that they belong to.
fn by_end(records: Vec<(End, Key)>) -> impl Iterator<Item = (End, Vec<Key>)> {
    let mut keys: Ends<Vec<Key>> = Ends::default();
    for (end, key) in records {
        keys.get_mut(end).push(key);
    }
    [(End::Source, keys.source), (End::Target, keys.target)].into_iter().filter(|(_, keys)| !keys.is_empty())
}
