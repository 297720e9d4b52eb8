//! The way of a batch: read, call the stages in order, write, commit (layer 6). The one place below the runtime that does I/O; what is
//! decided is decided by the pure stages.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::change::{Change, End, Ends, Position};
use crate::connector::Target;
use crate::error::{Result, SyncError};
use crate::plugin::{Catalogue, Plugins};
use crate::record::{Key, Record};
use crate::state::{Commit, Counts, Finding, Link, ReviewKind, StateStore};
use crate::telemetry::CrashPoint;

pub mod apply;
pub mod binding;
pub mod coalesce;
pub mod conflict;
pub mod delete_guard;
pub mod loop_prevention;
pub mod reconcile;
pub mod rollout;
pub mod transform;
pub mod validation;

mod guards;
mod item;
mod keyed;
mod linked;
mod lookup;
mod match_on;
mod matching;
mod recover;
mod resolve;
mod ruling;

#[cfg(test)]
mod tests;

use binding::Binding;
pub use guards::Watch;
pub use rollout::Rollout;
use transform::Rejection;

/// Everything that processing a batch of one pair needs. A clone is the same pair, for a task of its own.
#[derive(Clone)]
pub struct Pipeline {
    /// The pair, checked.
    pub binding: Arc<Binding>,
    /// Both sides.
    pub targets: Ends<Arc<dyn Target>>,
    /// The durable state.
    pub state: Arc<dyn StateStore>,
    /// The plugins.
    pub catalogue: Arc<dyn Catalogue>,
    /// The pair's name towards the systems.
    pub consumer: String,
    /// What was done lately.
    pub watch: Arc<Watch>,
    /// Which records take part so far.
    pub rollout: Rollout,
    /// A place for each batch of upserts that may be written at the same time.
    pub writers: Arc<Semaphore>,
}

/// A batch of changes of one end.
#[derive(Debug, Clone)]
pub struct Batch {
    /// Where they come from.
    pub end: End,
    /// The changes.
    pub changes: Vec<Change>,
    /// The position behind them; `None` while loading.
    pub through: Option<Position>,
}

/// A batch that is yet to be written.
pub struct Ready {
    end: End,
    through: Option<Position>,
    plugins: Arc<dyn Plugins>,
    changes: Mapped,
}

/// A batch that is written, and yet to be committed.
pub struct Written(Done);

impl Written {
    /// The end whose changes it brought, and the position behind them.
    pub fn through(&self) -> Option<(End, &Position)> {
        let commit = &self.0.commit;
        commit.end.and_then(|end| Some((end, commit.positions.get(end).as_ref()?)))
    }

    /// Every record whose link or review it changes.
    fn touched(&self) -> HashSet<(End, &Key)> {
        let Commit { links, cleared, reviews, .. } = &self.0.commit;
        let of_links =
            links.iter().flat_map(|Link { keys, .. }| [(End::Source, &keys.source), (End::Target, &keys.target)]);
        let of_reviews = reviews.iter().flat_map(|finding| {
            let other = finding.other.as_ref().map(|key| (finding.end.other(), key));
            other.into_iter().chain([(finding.end, &finding.key)])
        });
        of_links.chain(of_reviews).chain(cleared.iter().map(|(end, key)| (*end, key))).collect()
    }
}

impl Ready {
    /// Whether what is known of its records may be another by what was written since.
    pub fn is_touched_by(&self, written: &Written) -> bool {
        match &self.changes {
            Mapped::Copies(_) => false,
            Mapped::Links(gathered) => {
                let touched = written.touched();
                gathered.keys(self.end).any(|key| touched.contains(&key))
            }
        }
    }
}

/// Changes as far as they could be taken without a write.
enum Mapped {
    /// What reaches the target of a copy.
    Copies(Box<keyed::Copies>),
    /// Links with what is known of both sides.
    Links(Box<linked::Gathered>),
}

impl Pipeline {
    /// Brings a batch to the other side and commits what came of it, positions included, in one transaction (I2). Only then may the
    /// source be acknowledged (I1).
    ///
    /// # Errors
    /// Where a system, the state store or a plugin cannot be used: nothing is committed, and the same batch may be processed again.
    pub async fn process(&self, batch: Batch) -> Result<Counts> {
        let ready = self.prepare(batch).await?;
        let written = self.write_prepared(ready).await?;
        self.finish(&written).await
    }

    /// The first part of [`Pipeline::process`], which writes nothing: of a copy, whatever comes before the write; of links, what is known of
    /// them. It may be done while the batch before is written.
    ///
    /// # Errors
    /// As `process`.
    pub async fn prepare(&self, batch: Batch) -> Result<Ready> {
        // One batch sees one plugin set (I9).
        let plugins = self.catalogue.snapshot();
        let Batch { end, changes, through } = batch;
        let changes = coalesce::coalesce(changes);
        let changes = if self.binding.upsert_only {
            let copies = self.map_copies((changes, through.is_some()), &HashMap::new(), &plugins).await?;
            Mapped::Copies(Box::new(copies))
        } else {
            Mapped::Links(Box::new(self.gather_all(end, changes, &plugins).await?))
        };
        Ok(Ready { end, through, plugins, changes })
    }

    /// The same once more, where what was prepared may not hold any more ([`Ready::is_touched_by`]).
    ///
    /// # Errors
    /// As `process`.
    pub async fn prepare_again(&self, ready: Ready) -> Result<Ready> {
        let Ready { end, through, plugins, changes } = ready;
        match changes {
            Mapped::Copies(_) => Ok(Ready { end, through, plugins, changes }),
            Mapped::Links(gathered) => self.prepare(Batch { end, changes: gathered.again(), through }).await,
        }
    }

    /// Whether a batch may be written while the one before, which has none of its records, is finished. Who looks for a partner, or for the
    /// record that another one refers to, has to find what that one has linked.
    pub fn may_overlap(&self, ready: &Ready) -> bool {
        match &ready.changes {
            Mapped::Copies(_) => true,
            Mapped::Links(gathered) => gathered.is_plain() && !self.binding.looks_up(),
        }
    }

    /// The second part: writes what was prepared. It may be done while the batch before is finished, if [`Pipeline::may_overlap`] says so; that
    /// one has its turn at the state store first.
    ///
    /// # Errors
    /// As `process`.
    pub async fn write_prepared(&self, Ready { end, through, plugins, changes }: Ready) -> Result<Written> {
        let mut done = match changes {
            Mapped::Copies(copies) => self.write_copies(*copies, &HashMap::new(), &plugins).await?,
            Mapped::Links(gathered) => self.link(*gathered, &plugins).await?,
        };
        *done.commit.positions.get_mut(end) = through;
        done.commit.end = Some(end);
        done.commit.plugins = self.plugin_set(plugins.as_ref());
        Ok(Written(done))
    }

    /// The last part: commits what was written, once it is durable.
    ///
    /// # Errors
    /// As `process`.
    pub async fn finish(&self, Written(done): &Written) -> Result<Counts> {
        self.commit(done).await?;
        Ok(done.commit.counts)
    }

    /// Commits what a batch came to.
    async fn commit(&self, done: &Done) -> Result<()> {
        if done.unsettled {
            self.targets.target.settle().await?;
        }
        self.state.commit(&self.binding.pair, &done.commit).await?;
        CrashPoint::BatchCommitted.pass();
        Ok(())
    }

    /// The current image of each changed record: as the change carries it, else read now; `None` where the record is gone.
    async fn images(&self, end: End, changes: Vec<Change>) -> Result<Vec<(Key, Option<Record>)>> {
        let missing: Vec<Key> =
            changes.iter().filter(|change| change.image.is_none()).map(|change| change.key.clone()).collect();
        let fetched = if missing.is_empty() { Vec::new() } else { self.targets.get(end).fetch(&missing).await? };
        let mut fetched = fetched.into_iter();
        let mut image = |change: Change| match change.image {
            Some(image) => Ok((change.key, Some(image))),
            None => {
                let fetched = fetched.next().ok_or_else(|| SyncError::internal("fewer images than keys"))?;
                Ok((change.key, fetched))
            }
        };
        changes.into_iter().map(&mut image).collect()
    }

    /// Takes out the records of `end` that have left its filter: their counterparts stay as they are.
    async fn stay(&self, end: End, images: &mut Vec<(Key, Option<Record>)>, done: &mut Done) -> Result<()> {
        let gone: Vec<Key> = images.iter().filter(|(_, image)| image.is_none()).map(|(key, _)| key.clone()).collect();
        let mut outside = self.outside(end, &gone).await?.into_iter();
        images.retain(|(key, image)| {
            let stays = image.is_none() && outside.next().unwrap_or_default();
            if stays {
                done.skip(end, key.clone());
            }
            !stays
        });
        Ok(())
    }

    /// Digests of the plugins whose functions the pair calls.
    fn plugin_set(&self, plugins: &dyn Plugins) -> BTreeMap<String, String> {
        let functions = self.binding.functions();
        let infos = functions.iter().filter_map(|function| plugins.info(&function.name).ok());
        infos.map(|info| (info.plugin, info.digest)).collect()
    }
}

/// What a batch came to.
#[derive(Debug, Default)]
struct Done {
    commit: Commit,
    /// Something was upserted that may not be durable yet.
    unsettled: bool,
}

impl Done {
    fn reject(&mut self, end: End, key: Key, image: Record, rejection: Rejection) {
        let kind = rejection.kind();
        let Rejection { code, message, field, digest, skipped, waits_for } = rejection;
        if skipped {
            self.skip(end, key);
            return;
        }
        let finding = Finding::new(end, key, kind, code, message);
        let waits_for = waits_for.map(|parent| *parent);
        self.file(Finding { field, digest, waits_for, ..finding }.with_image(image));
    }

    /// The rollout does not let them through: what was said of them before is said again when it does.
    fn hold_back(&mut self, record: impl IntoIterator<Item = (End, Key)>) {
        self.commit.counts.held += 1;
        self.commit.cleared.extend(record);
    }

    fn skip(&mut self, end: End, key: Key) {
        self.commit.counts.skipped += 1;
        self.commit.cleared.push((end, key));
    }

    /// Puts a record in review.
    fn file(&mut self, finding: Finding) {
        // What waits for another record is not refused.
        self.commit.counts.rejected += u64::from(finding.kind != ReviewKind::Waiting);
        self.commit.reviews.push(finding);
    }

    fn wrote(&mut self, end: End, records: u64) {
        match end {
            End::Source => self.commit.counts.written_source += records,
            End::Target => self.commit.counts.written_target += records,
        }
    }
}
