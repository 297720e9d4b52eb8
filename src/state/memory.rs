//! The state store in memory, for tests: what SQLite's tables hold, with the same rules (I2). Nothing here yields, so a commit is whole or not
//! there at all.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;

use super::intent::Open;
use super::{
    Begun, Commit, Conflict, Counts, Decision, End, Ends, Finding, Intention, Link, LoadProgress, Outcome, PairSummary,
    Progress, Resyncs, Review, ReviewFilter, ReviewKind, StateStore, Verdict,
};
use crate::error::Result;
use crate::record::{Key, Record};
use crate::telemetry::clock;

/// The durable state of a service.
#[derive(Default)]
pub(crate) struct MemoryState(Mutex<Tables>);

#[derive(Default)]
struct Tables {
    pairs: BTreeMap<String, Pair>,
    reviews: Vec<Review>,
    conflicts: BTreeMap<i64, Recorded>,
    /// With their pairs, in order.
    intentions: Vec<(String, Open)>,
    decisions: Vec<Decided>,
    /// The last number given to a review, a conflict, an intention or a decision.
    number: i64,
}

impl Tables {
    /// Records of a pair whose parents are linked.
    fn arrived(&self, pair: &str) -> Vec<(End, Key)> {
        let has_parent = |review: &&Review| {
            let parent = review.finding.waits_for.as_ref().filter(|_| review.pair == pair);
            let link = parent.and_then(|parent| self.pairs.get(&*parent.pair)?.link(parent.end, &parent.key));
            link.is_some_and(|link| link.base.is_some())
        };
        let arrived = self.reviews.iter().filter(has_parent);
        arrived.map(|review| (review.finding.end, review.finding.key.clone())).collect()
    }

    /// What was decided about a review and not carried out counts no more.
    fn overtake(&mut self, review: i64, why: &str) {
        let waits = |one: &&mut Decided| one.decision.review == review && one.outcome.is_none();
        self.decisions.iter_mut().filter(waits).for_each(|one| one.outcome = Some((Verdict::Stale, why.to_owned())));
    }

    fn next(&mut self) -> i64 {
        self.number += 1;
        self.number
    }
}

#[derive(Default)]
struct Pair {
    progress: Progress,
    counts: Counts,
    last_commit: Option<i64>,
    /// By the source's key.
    links: BTreeMap<Key, Link>,
    /// Source's keys by the target's.
    by_target: BTreeMap<Key, Key>,
}

impl Pair {
    fn link(&self, end: End, key: &Key) -> Option<&Link> {
        match end {
            End::Source => self.links.get(key),
            End::Target => self.links.get(self.by_target.get(key)?),
        }
    }

    /// Removes whatever link has either key.
    fn replace(&mut self, link: &Link) {
        if let Some(old) = self.links.remove(&link.keys.source) {
            self.by_target.remove(&old.keys.target);
        }
        if let Some(source) = self.by_target.remove(&link.keys.target) {
            self.links.remove(&source);
        }
        self.by_target.insert(link.keys.target.clone(), link.keys.source.clone());
        self.links.insert(link.keys.source.clone(), link.clone());
    }
}

/// A conflict on record.
#[derive(Debug, Clone)]
pub(crate) struct Recorded {
    /// The pair's name.
    pub(crate) pair: String,
    /// What was found.
    pub(crate) conflict: Conflict,
    /// Whether its loser has been overwritten.
    pub(crate) settled: bool,
}

struct Decided {
    pair: String,
    decision: Decision,
    outcome: Option<Outcome>,
}

impl MemoryState {
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The conflicts on record, by their numbers.
    pub(crate) fn conflicts(&self) -> Vec<(i64, Recorded)> {
        self.tables().conflicts.iter().map(|(id, recorded)| (*id, recorded.clone())).collect()
    }

    /// All links of a pair, tombstones included.
    pub(crate) fn all_links(&self, pair: &str) -> Vec<Link> {
        self.tables().pairs.get(pair).map(|pair| pair.links.values().cloned().collect()).unwrap_or_default()
    }

    /// The link of a record, be it live or a tombstone.
    pub(crate) fn link(&self, pair: &str, end: End, key: &Key) -> Option<Link> {
        self.tables().pairs.get(pair)?.link(end, key).cloned()
    }

    /// What is agreed about a record of `end`: as committed, and as it will be once writes are done that are on record.
    pub(crate) fn agreed(&self, pair: &str, end: End, key: &Key) -> Vec<Record> {
        let tables = self.tables();
        let link = tables.pairs.get(pair).and_then(|pair| pair.link(end, key)?.base.as_ref());
        let open = tables.intentions.iter().filter(|(of, _)| of == pair).flat_map(|(_, open)| &open.intention.writes);
        let intended = open.filter(|write| write.keys.get(end).as_ref() == Some(key));
        let bases = link.into_iter().chain(intended.filter_map(|write| write.base.as_ref()));
        bases.map(|base| base.get(end).clone()).collect()
    }

    /// What is in review, in the order in which it was found.
    pub(crate) fn findings(&self, pair: &str) -> Vec<Finding> {
        let tables = self.tables();
        tables.reviews.iter().filter(|review| review.pair == pair).map(|review| review.finding.clone()).collect()
    }

    /// Forgets a link, which the program never does.
    pub(crate) fn forget(&self, pair: &str, end: End, key: &Key) {
        if let Some(pair) = self.tables().pairs.get_mut(pair)
            && let Some(link) = pair.link(end, key).cloned()
        {
            pair.links.remove(&link.keys.source);
            pair.by_target.remove(&link.keys.target);
        }
    }
}

/// Puts a conflict on record.
fn record(tables: &mut Tables, pair: &str, conflict: &Conflict) -> i64 {
    let of = |one: &Conflict| Conflict { at: 0, resolver: None, kind: conflict.kind, ..one.clone() };
    let same =
        |recorded: &Recorded| !recorded.settled && recorded.pair == pair && of(&recorded.conflict) == of(conflict);
    let known = tables.conflicts.iter().find(|(_, recorded)| same(recorded)).map(|(id, _)| *id);
    let id = known.unwrap_or_else(|| tables.next());
    let recorded = Recorded { pair: pair.to_owned(), conflict: conflict.clone(), settled: false };
    tables.conflicts.entry(id).or_insert(recorded);
    id
}

fn settle_conflicts(tables: &mut Tables, name: &str, commit: &Commit) {
    for id in &commit.void {
        if tables.conflicts.get(id).is_some_and(|recorded| !recorded.settled) {
            tables.conflicts.remove(id);
        }
    }
    for id in &commit.settled {
        if let Some(recorded) = tables.conflicts.get_mut(id) {
            recorded.settled = true;
        }
    }
    for (_, key) in commit.cleared.iter().filter(|(end, _)| *end == End::Source) {
        let of_link = |one: &&mut Recorded| one.pair == name && one.conflict.keys.source == *key;
        tables.conflicts.values_mut().filter(of_link).for_each(|recorded| recorded.settled = true);
    }
}

fn settle_reviews(tables: &mut Tables, name: &str, commit: &Commit) {
    for (id, verdict, message) in &commit.decided {
        if let Some(decided) = tables.decisions.iter_mut().find(|decided| decided.decision.id == *id) {
            decided.outcome = Some((*verdict, message.clone()));
        }
    }
    for (end, key) in &commit.cleared {
        let is = |one: &Review| one.pair == name && one.finding.end == *end && one.finding.key == *key;
        let Some(place) = tables.reviews.iter().position(is) else { continue };
        let id = tables.reviews.remove(place).id;
        tables.overtake(id, "");
    }
    for finding in &commit.reviews {
        file(tables, name, finding);
    }
}

/// Files a finding; one about the same record is renewed, and counts the change that led to it.
fn file(tables: &mut Tables, name: &str, finding: &Finding) {
    if let Some(other) = &finding.other {
        let is = |one: &Review| one.pair == name && one.finding.end == finding.end.other() && one.finding.key == *other;
        if let Some(place) = tables.reviews.iter().position(is) {
            let id = tables.reviews.remove(place).id;
            tables.overtake(id, "another review of its counterpart took its place");
        }
    }
    let (now, version) = (clock::now_micros(), finding.version());
    let is = |one: &&mut Review| one.pair == name && one.finding.end == finding.end && one.finding.key == finding.key;
    if let Some(known) = tables.reviews.iter_mut().find(is) {
        known.later += u64::from(known.version != version);
        known.finding = finding.clone();
        known.version = version;
        known.seen = now;
        return;
    }
    let id = tables.next();
    let pair = name.to_owned();
    tables.reviews.push(Review { id, pair, finding: finding.clone(), version, at: now, seen: now, later: 0 });
}

#[async_trait]
impl Resyncs for MemoryState {}

#[async_trait]
impl StateStore for MemoryState {
    fn id(&self) -> &'static str {
        "memory"
    }

    async fn progress(&self, pair: &str) -> Result<Progress> {
        let tables = self.tables();
        let mut progress = tables.pairs.get(pair).map(|pair| pair.progress.clone()).unwrap_or_default();
        progress.decisions = tables.decisions.iter().any(|one| one.pair == pair && one.outcome.is_none());
        let waits = |one: &Review| one.pair == pair && one.finding.kind == ReviewKind::Waiting;
        progress.waiting = tables.reviews.iter().any(waits);
        progress.arrived = !tables.arrived(pair).is_empty();
        Ok(progress)
    }

    async fn begin_load(&self, pair: &str, progress: &Progress) -> Result<()> {
        let mut tables = self.tables();
        let known = &mut tables.pairs.entry(pair.to_owned()).or_default().progress;
        known.loaded = false;
        known.resync = false;
        known.incarnations = progress.incarnations.clone();
        known.positions = progress.positions.clone();
        known.load = None;
        Ok(())
    }

    async fn keep_load(&self, pair: &str, progress: &LoadProgress) -> Result<()> {
        self.tables().pairs.entry(pair.to_owned()).or_default().progress.load = Some(progress.clone());
        Ok(())
    }

    async fn request_resync(&self, pair: &str) -> Result<()> {
        self.tables().pairs.entry(pair.to_owned()).or_default().progress.resync = true;
        Ok(())
    }

    async fn set_paused(&self, pair: &str, paused: bool) -> Result<()> {
        self.tables().pairs.entry(pair.to_owned()).or_default().progress.paused = paused;
        Ok(())
    }

    async fn links(&self, pair: &str, end: End, keys: &[Key]) -> Result<Vec<Option<Link>>> {
        let tables = self.tables();
        let pair = tables.pairs.get(pair);
        Ok(keys.iter().map(|key| pair.and_then(|pair| pair.link(end, key)).cloned()).collect())
    }

    async fn links_after(&self, pair: &str, end: End, after: Option<&Key>, max: usize) -> Result<Vec<Link>> {
        let mut links: Vec<Link> = self.all_links(pair).into_iter().filter(|link| link.base.is_some()).collect();
        links.sort_by_key(|link| link.keys.get(end).encode());
        let after = after.map(Key::encode).unwrap_or_default();
        Ok(links.into_iter().filter(|link| link.keys.get(end).encode() > after).take(max).collect())
    }

    async fn intend(&self, pair: &str, intention: Intention<Conflict>) -> Result<Begun> {
        let mut tables = self.tables();
        let mut numbers = Vec::with_capacity(intention.writes.len());
        for write in &intention.writes {
            numbers.push(write.conflicts.iter().map(|conflict| record(&mut tables, pair, conflict)).collect());
        }
        let number = tables.next();
        let (run, name) = ("memory".to_owned(), pair.to_owned());
        let open = Open { run: run.clone(), number, intention: intention.numbered(&numbers) };
        tables.intentions.push((name, open));
        let of_pair = tables.intentions.iter().filter(|(of, _)| *of == pair);
        let since = of_pair.map(|(_, open)| open.number).min().unwrap_or(number);
        Ok(Begun { run, number, since, conflicts: numbers })
    }

    async fn intentions(&self, pair: &str) -> Result<Vec<Open>> {
        let tables = self.tables();
        Ok(tables.intentions.iter().filter(|(of, _)| *of == pair).map(|(_, open)| open.clone()).collect())
    }

    async fn commit(&self, pair: &str, commit: &Commit) -> Result<()> {
        let mut tables = self.tables();
        let known = tables.pairs.entry(pair.to_owned()).or_default();
        commit.links.iter().for_each(|link| known.replace(link));
        known.counts.add(&commit.counts);
        known.last_commit = Some(clock::now_micros());
        known.progress.loaded |= commit.loaded.is_some();
        if commit.loaded.is_some() {
            known.progress.mapping.clone_from(&commit.loaded);
        }
        for end in [End::Source, End::Target] {
            if let Some(position) = commit.positions.get(end) {
                *known.progress.positions.get_mut(end) = Some(position.clone());
            }
        }
        tables.intentions.retain(|(_, open)| !commit.intentions.contains(&open.number));
        settle_conflicts(&mut tables, pair, commit);
        settle_reviews(&mut tables, pair, commit);
        Ok(())
    }

    async fn reviews(&self, filter: &ReviewFilter, max: usize) -> Result<Vec<Review>> {
        let tables = self.tables();
        let is = |review: &&Review| {
            let finding = &review.finding;
            filter.pair.as_ref().is_none_or(|pair| *pair == review.pair)
                && filter.kind.is_none_or(|kind| kind == finding.kind)
                && filter.code.as_ref().is_none_or(|code| *code == finding.code)
                && (filter.field.is_none() || filter.field == finding.field)
                && filter.after.is_none_or(|after| review.id > after)
        };
        Ok(tables.reviews.iter().filter(is).take(max).cloned().collect())
    }

    async fn review(&self, id: i64) -> Result<Option<Review>> {
        Ok(self.tables().reviews.iter().find(|review| review.id == id).cloned())
    }

    async fn review_counts(&self, filter: &ReviewFilter) -> Result<BTreeMap<ReviewKind, u64>> {
        let mut counts = BTreeMap::new();
        for review in self.reviews(filter, usize::MAX).await? {
            *counts.entry(review.finding.kind).or_default() += 1;
        }
        Ok(counts)
    }

    async fn decide(&self, decisions: &[Decision]) -> Result<Vec<Option<i64>>> {
        let mut tables = self.tables();
        let mut ids = Vec::with_capacity(decisions.len());
        for decision in decisions {
            tables.overtake(decision.review, "a later decision took its place");
            let review = tables.reviews.iter().find(|review| review.id == decision.review);
            let pair = review.map(|review| review.pair.clone());
            ids.push(pair.map(|pair| {
                let decision = Decision { id: tables.next(), ..decision.clone() };
                let id = decision.id;
                tables.decisions.push(Decided { pair, decision, outcome: None });
                id
            }));
        }
        Ok(ids)
    }

    async fn decisions(&self, pair: &str, max: usize) -> Result<Vec<(Decision, Review)>> {
        let tables = self.tables();
        let waiting = tables.decisions.iter().filter(|one| one.pair == pair && one.outcome.is_none());
        let with_review = waiting.filter_map(|one| {
            let review = tables.reviews.iter().find(|review| review.id == one.decision.review)?;
            Some((one.decision.clone(), review.clone()))
        });
        let mut decisions: Vec<(Decision, Review)> = with_review.collect();
        decisions.sort_by_key(|(_, review)| (review.finding.end.name(), review.finding.key.encode()));
        decisions.truncate(max);
        Ok(decisions)
    }

    async fn verdicts(&self, decisions: &[i64]) -> Result<Vec<Option<Outcome>>> {
        let tables = self.tables();
        let of = |id: &i64| tables.decisions.iter().find(|one| one.decision.id == *id)?.outcome.clone();
        Ok(decisions.iter().map(of).collect())
    }

    async fn decided(&self, review: i64) -> Result<Vec<(Decision, Option<Outcome>)>> {
        let tables = self.tables();
        let about = tables.decisions.iter().filter(|one| one.decision.review == review);
        Ok(about.map(|one| (one.decision.clone(), one.outcome.clone())).collect())
    }

    /// No pair of a simulation looks another up.
    async fn circles(&self, _: &str, _: usize) -> Result<Vec<(End, Key)>> {
        Ok(Vec::new())
    }

    async fn in_review(&self, pair: &str, end: End, keys: &[Key]) -> Result<Vec<bool>> {
        let tables = self.tables();
        let has = |key: &Key| {
            let of = |one: &Finding| {
                if one.end == end { one.key == *key } else { one.other.as_ref() == Some(key) }
            };
            tables.reviews.iter().any(|one| one.pair == pair && of(&one.finding))
        };
        Ok(keys.iter().map(has).collect())
    }

    async fn arrived(&self, pair: &str, max: usize) -> Result<Vec<(End, Key)>> {
        Ok(self.tables().arrived(pair).into_iter().take(max).collect())
    }

    async fn summaries(&self) -> Result<Vec<PairSummary>> {
        let tables = self.tables();
        let count = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let reviews = |name: &String, waiting: bool| {
            let is = |one: &&Review| one.pair == *name && (one.finding.kind == ReviewKind::Waiting) == waiting;
            count(tables.reviews.iter().filter(is).count())
        };
        let by_kind = |name: &String| {
            let mut counts = BTreeMap::new();
            for review in tables.reviews.iter().filter(|review| review.pair == *name) {
                *counts.entry(review.finding.kind).or_default() += 1;
            }
            counts
        };
        let summary = |(name, pair): (&String, &Pair)| PairSummary {
            pair: name.clone(),
            loaded: pair.progress.loaded,
            paused: pair.progress.paused,
            links: count(pair.links.values().filter(|link| link.base.is_some()).count()),
            reviews: reviews(name, false),
            waiting: reviews(name, true),
            reviews_by_kind: by_kind(name),
            counts: pair.counts,
            last_commit: pair.last_commit,
        };
        Ok(tables.pairs.iter().map(summary).collect())
    }
}

/// Both keys of a link are what it is found by.
#[tokio::test]
async fn a_link_replaces_whatever_has_either_of_its_keys() {
    let state = MemoryState::default();
    let key = |number: i64| Key(vec![crate::value::Value::Int(number)]);
    for (source, target) in [(1, 1), (2, 2), (1, 2)] {
        let link = Link { keys: Ends { source: key(source), target: key(target) }, base: None, gone: None };
        state.commit("pair", &Commit { links: vec![link], ..Commit::default() }).await.unwrap();
    }
    let links = state.all_links("pair");
    assert_eq!(
        links.iter().map(|link| link.keys.clone()).collect::<Vec<_>>(),
        [Ends { source: key(1), target: key(2) }]
    );
    assert_eq!(state.links("pair", End::Target, &[key(1), key(2)]).await.unwrap(), [None, Some(links[0].clone())]);
}
