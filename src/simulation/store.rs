//! The simulated state store: the one in memory, where every call is a turn of the scheduler, may fail, and is watched.

use std::collections::{BTreeMap, BTreeSet};

use async_trait::async_trait;

use super::ledger::OnRecord;
use super::planted::{self, Bug};
use super::side::id_of;
use super::table::FIELD_NAMES;
use super::world::{Shared, turn};
use crate::change::End;
use crate::error::{ErrorKind, Result, SyncError};
use crate::record::Key;
use crate::state::intent::Open;
use crate::state::{
    Begun, Commit, Conflict, Decision, Ends, Intention, Link, LoadProgress, Outcome, PairSummary, Progress, Resyncs,
    Review, ReviewFilter, ReviewKind, StateStore, Winner,
};

/// The state store as one pair's worker has it.
pub(super) struct Store {
    pub(super) shared: Shared,
    pub(super) pair: usize,
}

impl Store {
    /// A turn, and perhaps an outage.
    async fn call(&self) -> Result<()> {
        turn().await;
        let mut world = self.shared.world();
        let rate = world.faults.outage / 4;
        if world.rng.chance(rate) {
            world.tell(|| "the state store fails".to_owned());
            return Err(SyncError::new(ErrorKind::Unavailable, "sim.state", "the state store fails"));
        }
        Ok(())
    }

    /// What is durable of conflicts from now on.
    fn record(&self, conflicts: &[Conflict], ids: &[i64]) {
        let mut world = self.shared.world();
        for (conflict, id) in conflicts.iter().zip(ids) {
            let ids = Ends::from_fn(|end| id_of(conflict.keys.get(end)));
            let tables = world.pairs[self.pair].tables;
            let of = |end: End| {
                let (table, id) = (&world.tables[*tables.get(end)], ids.get(end));
                let row = table.rows.get(id).or_else(|| table.before.get(id).and_then(Option::as_ref));
                row.map(|row| row.things.clone())
            };
            let things: BTreeSet<usize> = of(End::Source).into_iter().chain(of(End::Target)).flatten().collect();
            let field = conflict.field.as_deref().and_then(|name| FIELD_NAMES.iter().position(|one| *one == name));
            let Ends { source, target } = conflict.values.clone();
            let (winner, loser) = match conflict.winner {
                Winner::Source => (source, target),
                Winner::Target => (target, source),
                Winner::Base | Winner::Merged => (None, None),
            };
            let by_time = conflict.rule == "last_write_wins";
            world.tell(|| format!("on record {id}: {things:?} {:?} {winner:?} over {loser:?}", conflict.field));
            world.ledger.on_record.retain(|one| one.id != *id);
            world.ledger.on_record.push(OnRecord {
                id: *id,
                pair: self.pair,
                ids,
                by_time,
                things,
                field,
                winner,
                loser,
            });
        }
    }

    /// I9: a batch names a plugin set that its worker has seen.
    fn check_plugins(&self, commit: &Commit) {
        let mut world = self.shared.world();
        for digest in commit.plugins.values() {
            let seen = world.snapshots[self.pair].iter().any(|version| format!("v{version}") == *digest);
            if !seen {
                world.violate(|| format!("I9: a batch names the plugins {digest}, which it has not seen"));
            }
        }
    }
}

#[async_trait]
impl Resyncs for Store {}

#[async_trait]
impl StateStore for Store {
    fn id(&self) -> &str {
        self.shared.state.id()
    }

    async fn progress(&self, pair: &str) -> Result<Progress> {
        self.call().await?;
        self.shared.state.progress(pair).await
    }

    async fn begin_load(&self, pair: &str, progress: &Progress) -> Result<()> {
        self.call().await?;
        self.shared.state.begin_load(pair, progress).await
    }

    async fn keep_load(&self, pair: &str, progress: &LoadProgress) -> Result<()> {
        self.call().await?;
        let kept = planted::load(self.shared.world().bug, progress.clone());
        self.shared.state.keep_load(pair, &kept).await
    }

    async fn request_resync(&self, pair: &str) -> Result<()> {
        self.shared.state.request_resync(pair).await
    }

    async fn set_paused(&self, pair: &str, paused: bool) -> Result<()> {
        self.shared.state.set_paused(pair, paused).await
    }

    async fn links(&self, pair: &str, end: End, keys: &[Key]) -> Result<Vec<Option<Link>>> {
        self.call().await?;
        self.shared.state.links(pair, end, keys).await
    }

    async fn links_after(&self, pair: &str, end: End, after: Option<&Key>, max: usize) -> Result<Vec<Link>> {
        self.call().await?;
        self.shared.state.links_after(pair, end, after, max).await
    }

    async fn intend(&self, pair: &str, intention: Intention<Conflict>) -> Result<Begun> {
        self.call().await?;
        let bug = self.shared.world().bug;
        let conflicts: Vec<Vec<Conflict>> = intention.writes.iter().map(|write| write.conflicts.clone()).collect();
        let begun = self.shared.state.intend(pair, intention).await?;
        if !matches!(bug, Some(Bug::ConflictLate | Bug::ConflictDropped)) {
            self.record(&conflicts.concat(), &begun.conflicts.concat());
        }
        turn().await;
        Ok(begun)
    }

    async fn intentions(&self, pair: &str) -> Result<Vec<Open>> {
        self.call().await?;
        let open = self.shared.state.intentions(pair).await?;
        let mut world = self.shared.world();
        // Whoever made it had seen them.
        let seen = open.iter().flat_map(|open| open.intention.plugins.values());
        let seen: Vec<u32> = seen.filter_map(|digest| digest.strip_prefix('v')?.parse().ok()).collect();
        world.snapshots[self.pair].extend(seen);
        world.tell(|| format!("{pair} finds {} intentions open", open.len()));
        Ok(planted::intentions(world.bug, open))
    }

    async fn commit(&self, pair: &str, commit: &Commit) -> Result<()> {
        self.call().await?;
        self.check_plugins(commit);
        let bug = self.shared.world().bug;
        if bug == Some(Bug::PartialCommit) {
            let (positions, intentions) = (commit.positions.clone(), commit.intentions.clone());
            let first = Commit { positions, intentions, ..Commit::default() };
            self.shared.state.commit(pair, &first).await?;
            turn().await;
        }
        let mut commit = commit.clone();
        planted::commit(bug, &mut commit);
        self.shared.state.commit(pair, &commit).await?;
        if bug == Some(Bug::ConflictLate) {
            let settled = self.shared.state.conflicts().into_iter().filter(|(id, _)| commit.settled.contains(id));
            let (ids, conflicts): (Vec<i64>, Vec<Conflict>) = settled.map(|(id, one)| (id, one.conflict)).unzip();
            self.record(&conflicts, &ids);
        }
        {
            let mut world = self.shared.world();
            world.tell(|| format!("{pair} commits {:?} {:?}", commit.positions, commit.counts));
            for link in &commit.links {
                world.tell(|| format!("  links {link:?}"));
            }
            world.stamp(commit.counts.read + 1_000);
            let durable: BTreeSet<i64> = self.shared.state.conflicts().into_iter().map(|(id, _)| id).collect();
            world.ledger.on_record.retain(|one| durable.contains(&one.id));
            for table in &mut world.tables {
                table.created.retain(|_, intention| !commit.intentions.contains(intention));
            }
            world.lose_answer("a commit")?;
        }
        turn().await;
        Ok(())
    }

    async fn reviews(&self, filter: &ReviewFilter, max: usize) -> Result<Vec<Review>> {
        self.shared.state.reviews(filter, max).await
    }

    async fn review(&self, id: i64) -> Result<Option<Review>> {
        self.shared.state.review(id).await
    }

    async fn decide(&self, decisions: &[Decision]) -> Result<Vec<Option<i64>>> {
        self.shared.state.decide(decisions).await
    }

    async fn decisions(&self, pair: &str, max: usize) -> Result<Vec<(Decision, Review)>> {
        self.call().await?;
        self.shared.state.decisions(pair, max).await
    }

    async fn review_counts(&self, filter: &ReviewFilter) -> Result<BTreeMap<ReviewKind, u64>> {
        self.shared.state.review_counts(filter).await
    }

    async fn verdicts(&self, decisions: &[i64]) -> Result<Vec<Option<Outcome>>> {
        self.shared.state.verdicts(decisions).await
    }

    async fn decided(&self, review: i64) -> Result<Vec<(Decision, Option<Outcome>)>> {
        self.shared.state.decided(review).await
    }

    async fn circles(&self, pair: &str, max: usize) -> Result<Vec<(End, Key)>> {
        self.shared.state.circles(pair, max).await
    }

    async fn in_review(&self, pair: &str, end: End, keys: &[Key]) -> Result<Vec<bool>> {
        self.call().await?;
        self.shared.state.in_review(pair, end, keys).await
    }

    async fn arrived(&self, pair: &str, max: usize) -> Result<Vec<(End, Key)>> {
        self.call().await?;
        self.shared.state.arrived(pair, max).await
    }

    async fn summaries(&self) -> Result<Vec<PairSummary>> {
        self.shared.state.summaries().await
    }
}
