//! An open pair follows the changes of both sides in turn, so that one link never has two decisions at once (I4).

use std::time::{Duration, Instant};

use tokio_util::sync::CancellationToken;

use super::open::OpenPair;
use super::worker::Worker;
use crate::change::{Change, ChangeBatch, End, Ends, Op, Position};
use crate::connector::Source;
use crate::error::Result;
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
    /// A copy's next batch, which was read while the one before was written…
    next: Option<Next>,
    /// …and that one, which is committed while the next is written. There is none without a next.
    written: Option<Written>,
    /// Something has happened since it was last looked for records that wait in a circle.
    stirred: bool,
}

/// A batch of a copy that is yet to be written.
struct Next {
    /// `None` where it moved over nothing.
    ready: Option<Ready>,
    through: Position,
    /// Whether more is known to be waiting.
    more: bool,
    /// Whether it is news.
    any: bool,
}

impl Next {
    async fn read(source: &mut dyn Source, pipeline: &Pipeline, after: &Position, max: usize) -> Result<Self> {
        let batch = source.next_batch(after, max).await?;
        let any = is_news(&batch, after);
        let ChangeBatch { changes, through, more } = batch;
        let ready = if changes.is_empty() {
            None
        } else {
            Some(pipeline.prepare(Batch { end: End::Source, changes, through: Some(through.clone()) }).await?)
        };
        Ok(Self { ready, through, more, any })
    }
}

/// Commits a batch; the position behind it, and what it came to.
async fn finish(pipeline: &Pipeline, written: Option<Written>) -> Result<Option<(Position, Counts)>> {
    let Some(written) = written else { return Ok(None) };
    let through = written.through().cloned();
    let counts = pipeline.finish(written).await?;
    Ok(through.map(|through| (through, counts)))
}

/// A poll reads its overlap window again and again: that is no news.
fn is_news(batch: &ChangeBatch, after: &Position) -> bool {
    batch.more || (!batch.changes.is_empty() && batch.through != *after)
}

impl<'a> Following<'a> {
    /// Follows from these positions on.
    pub(super) fn new(pair: OpenPair, worker: &'a Worker, positions: Ends<Option<Position>>) -> Self {
        let (ahead, committed) = (Ends::default(), Instant::now());
        Self { pair, worker, positions, ahead, committed, next: None, written: None, stirred: true }
    }
}

impl Following<'_> {
    /// One batch of each side; whether there was any.
    pub(crate) async fn turn(&mut self) -> Result<bool> {
        let mut any = false;
        if self.pair.pipeline.binding.upsert_only {
            any = self.copy(true).await?;
        } else {
            for end in [End::Source, End::Target] {
                any |= self.link(end).await?;
            }
        }
        let Ends { source, target } = &self.pair.sources;
        self.worker.reporter.notice(source.notice().or_else(|| target.notice()));
        Ok(any)
    }

    /// A batch of an end; whether there was any.
    async fn link(&mut self, end: End) -> Result<bool> {
        let Some(after) = self.positions.get(end).clone() else { return Ok(false) };
        let batch = self.pair.sources.get_mut(end).next_batch(&after, self.worker.config.batch_size).await?;
        let any = is_news(&batch, &after);
        if batch.changes.is_empty() {
            *self.ahead.get_mut(end) |= batch.through != after;
            *self.positions.get_mut(end) = Some(batch.through);
            return Ok(any);
        }
        let through = Some(batch.through.clone());
        let counts = self.pair.pipeline.process(Batch { end, changes: batch.changes, through }).await?;
        self.done(end, batch.through, &counts).await?;
        Ok(any)
    }

    /// A batch of a copy; whether there was any. While it is written, the one before is committed, and the next is read and mapped, if there is
    /// one and `reads_on`: of a copy nothing that is written changes what is read. Writes come one after the other, and so do commits: the
    /// order of each record's changes stays (I4), and a position is durable only after what comes before it.
    async fn copy(&mut self, reads_on: bool) -> Result<bool> {
        let Some(after) = self.positions.source.clone() else { return Ok(false) };
        let (pipeline, max) = (&self.pair.pipeline, self.worker.config.batch_size);
        let source = &mut self.pair.sources.source;
        let Next { ready, through, more, any } = match self.next.take() {
            Some(next) => next,
            None => Next::read(source.as_mut(), pipeline, &after, max).await?,
        };
        let Some(ready) = ready else {
            self.commit_written().await?;
            self.ahead.source |= through != after;
            self.positions.source = Some(through);
            return Ok(any);
        };
        let reading = async {
            match more && reads_on {
                true => Next::read(source.as_mut(), pipeline, &through, max).await.map(Some),
                false => Ok(None),
            }
        };
        let before = self.written.take();
        let (written, next, before) = tokio::join!(pipeline.write_prepared(ready), reading, finish(pipeline, before));
        self.committed(before?).await?;
        self.written = Some(written?);
        self.next = next?;
        if self.next.is_none() {
            self.commit_written().await?;
        }
        Ok(any)
    }

    /// A batch of decisions; whether there was any.
    pub(crate) async fn carry_out(&mut self) -> Result<bool> {
        self.finish().await?;
        self.worker.carry_out(&self.pair.pipeline).await
    }

    /// Finishes what is on its way, so that whatever comes next finds it done.
    pub(super) async fn finish(&mut self) -> Result<()> {
        if self.next.is_some() {
            self.copy(false).await?;
        }
        Ok(())
    }

    async fn commit_written(&mut self) -> Result<()> {
        let before = self.written.take();
        let committed = finish(&self.pair.pipeline, before).await?;
        self.committed(committed).await
    }

    async fn committed(&mut self, batch: Option<(Position, Counts)>) -> Result<()> {
        match batch {
            Some((through, counts)) => self.done(End::Source, through, &counts).await,
            None => Ok(()),
        }
    }

    /// A batch is committed: its source may forget it.
    async fn done(&mut self, end: End, through: Position, counts: &Counts) -> Result<()> {
        self.pair.sources.get_mut(end).acknowledge(&through).await?;
        CrashPoint::Acknowledged.pass();
        self.worker.reporter.batch(counts);
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
