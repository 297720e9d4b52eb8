//! A state store that is read, and whose commits are only counted.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;

use super::Ledger;
use crate::change::{End, Ends};
use crate::error::{Result, SyncError};
use crate::record::{Key, Layout};
use crate::state::history::about;
use crate::state::intent::Open;
use crate::state::{
    Begun, Commit, Conflict, Decision, Intended, Intention, Link, Outcome, PairSummary, Progress, Resyncs, Review,
    ReviewFilter, ReviewKind, StateStore, WriteOp,
};

/// A state store behind glass.
pub(super) struct Rehearsed {
    inner: Arc<dyn StateStore>,
    ledger: Arc<Ledger>,
}

impl Rehearsed {
    pub(super) fn new(inner: Arc<dyn StateStore>, ledger: Arc<Ledger>) -> Self {
        Self { inner, ledger }
    }
}

#[async_trait]
impl Resyncs for Rehearsed {}

#[async_trait]
impl StateStore for Rehearsed {
    fn id(&self) -> &str {
        self.inner.id()
    }

    async fn progress(&self, pair: &str) -> Result<Progress> {
        self.inner.progress(pair).await
    }

    async fn begin_load(&self, _pair: &str, _progress: &Progress) -> Result<()> {
        Ok(())
    }

    async fn set_paused(&self, _pair: &str, _paused: bool) -> Result<()> {
        Ok(())
    }

    async fn request_resync(&self, _pair: &str) -> Result<()> {
        Ok(())
    }

    async fn links(&self, pair: &str, end: End, keys: &[Key]) -> Result<Vec<Option<Link>>> {
        self.inner.links(pair, end, keys).await
    }

    async fn links_after(&self, pair: &str, end: End, after: Option<&Key>, max: usize) -> Result<Vec<Link>> {
        let mut after = after.cloned();
        loop {
            let links = self.inner.links_after(pair, end, after.as_ref(), max).await?;
            let Some(last) = links.last() else { return Ok(links) };
            after = Some(last.keys.get(end).clone());
            let decided = |link: &Link| {
                [End::Source, End::Target].into_iter().any(|end| self.ledger.is_decided(end, link.keys.get(end)))
            };
            let open: Vec<Link> = links.into_iter().filter(|link| !decided(link)).collect();
            if !open.is_empty() {
                return Ok(open);
            }
        }
    }

    async fn intend(&self, _pair: &str, intention: Intention<Conflict>) -> Result<Begun> {
        let numbers = |write: &Intended<Conflict>| {
            self.ledger.contested(&write.conflicts);
            vec![0; write.conflicts.len()]
        };
        Ok(Begun { conflicts: intention.writes.iter().map(numbers).collect(), ..Begun::default() })
    }

    /// What a crash left open is not this one's to settle: it is decided as if it had not been done.
    async fn intentions(&self, _pair: &str) -> Result<Vec<Open>> {
        Ok(Vec::new())
    }

    async fn commit(&self, pair: &str, commit: &Commit) -> Result<()> {
        self.ledger.counted(&commit.counts);
        let layouts: &Ends<Option<Layout>> = &commit.history.layouts;
        let written = about(commit.history.bytes(), layouts, |_| true);
        let written = written.map_err(|error| SyncError::internal(error.to_string()))?;
        let linked = if written.iter().any(|write| write.op == WriteOp::Create) {
            !self.inner.links_after(pair, End::Source, None, 1).await?.is_empty()
        } else {
            true
        };
        // What is created in a first load has no counterpart that could be met again.
        let met_again = written.iter().filter(|write| match write.op {
            WriteOp::Create => linked,
            WriteOp::Update | WriteOp::Delete => true,
            WriteOp::Upsert => false,
        });
        for write in met_again {
            for end in [End::Source, End::Target] {
                write.keys.get(end).iter().for_each(|key| self.ledger.decide(end, key));
            }
        }
        for finding in &commit.reviews {
            self.ledger.held(finding);
            self.ledger.decide(finding.end, &finding.key.encode());
            finding.other.iter().for_each(|other| self.ledger.decide(finding.end.other(), &other.encode()));
        }
        Ok(())
    }

    async fn reviews(&self, filter: &ReviewFilter, max: usize) -> Result<Vec<Review>> {
        self.inner.reviews(filter, max).await
    }

    async fn review(&self, id: i64) -> Result<Option<Review>> {
        self.inner.review(id).await
    }

    async fn review_counts(&self, filter: &ReviewFilter) -> Result<BTreeMap<ReviewKind, u64>> {
        self.inner.review_counts(filter).await
    }

    async fn decide(&self, decisions: &[Decision]) -> Result<Vec<Option<i64>>> {
        Ok(vec![None; decisions.len()])
    }

    async fn decisions(&self, _pair: &str, _max: usize) -> Result<Vec<(Decision, Review)>> {
        Ok(Vec::new())
    }

    async fn verdicts(&self, decisions: &[i64]) -> Result<Vec<Option<Outcome>>> {
        self.inner.verdicts(decisions).await
    }

    async fn arrived(&self, pair: &str, max: usize) -> Result<Vec<(End, Key)>> {
        self.inner.arrived(pair, max).await
    }

    async fn circles(&self, pair: &str, max: usize) -> Result<Vec<(End, Key)>> {
        self.inner.circles(pair, max).await
    }

    async fn decided(&self, review: i64) -> Result<Vec<(Decision, Option<Outcome>)>> {
        self.inner.decided(review).await
    }

    async fn in_review(&self, pair: &str, end: End, keys: &[Key]) -> Result<Vec<bool>> {
        self.inner.in_review(pair, end, keys).await
    }

    async fn summaries(&self) -> Result<Vec<PairSummary>> {
        self.inner.summaries().await
    }
}
