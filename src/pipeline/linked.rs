//! The way of two-way pairs, and of one-way pairs whose target key does not follow from the record: links with a base per side (row 6).
//!
//! The other side's image is assumed to be the base, and the write carries that assumption. Where it does not hold, both images are
//! read and the link is decided again.

use std::collections::HashMap;
use std::sync::Arc;

use super::item::{Item, Now, Step};
use super::{Done, Pipeline, apply};
use crate::change::{Change, End, Ends, Op};
use crate::connector::{Mark, Write};
use crate::error::{ErrorKind, Result, SyncError};
use crate::plugin::Plugins;
use crate::record::{Key, Record};
use crate::state::{Begun, Intention, Link, ReviewFilter};
use crate::telemetry::CrashPoint;

/// A record that changes under our hands this many times in a row is left to a later batch.
const ROUNDS_MAX: u32 = 8;

/// A create that collides this often with something that cannot be found collides with another unique value.
const CREATE_ROUNDS_MAX: u32 = 3;

/// The links of a batch, with what is known of both sides.
pub(super) struct Gathered {
    items: Vec<Item>,
    done: Done,
    /// What it was made of, without the images.
    changes: Vec<Change>,
}

impl Gathered {
    /// The records of its links, and those of its changes, which are of `end`.
    pub(super) fn keys(&self, end: End) -> impl Iterator<Item = (End, &Key)> {
        let of_items = [End::Source, End::Target]
            .into_iter()
            .flat_map(|end| self.items.iter().filter_map(move |item| Some((end, item.keys.get(end).as_ref()?))));
        // One that has left the filter is no item.
        let left = if self.items.len() < self.changes.len() { self.changes.as_slice() } else { &[] };
        of_items.chain(left.iter().map(move |change| (end, &change.key)))
    }

    /// Its changes, for another look at their records.
    pub(super) fn again(self) -> Vec<Change> {
        self.changes
    }

    /// Whether every record has its partner, and both are there.
    pub(super) fn is_plain(&self) -> bool {
        let there = |item: &Item| item.image(End::Source).is_some() && item.image(End::Target).is_some();
        self.items.iter().all(|item| item.linked() && there(item))
    }
}

impl Pipeline {
    /// What is known of the links of the changed keys.
    pub(super) async fn gather_all(
        &self,
        end: End,
        changes: Vec<Change>,
        plugins: &Arc<dyn Plugins>,
    ) -> Result<Gathered> {
        let mut done = Done::default();
        done.commit.counts.read = changes.len() as u64;
        let bare = |change: &Change| Change { key: change.key.clone(), image: None, ..*change };
        let again = changes.iter().map(bare).collect();
        let mut items = self.gather(end, changes, &mut done).await?;
        if self.rollout.is_whole() && !self.binding.looks_up() {
            self.map(&mut items, Item::linked, plugins).await?;
        }
        Ok(Gathered { items, done, changes: again })
    }

    /// Reconciles links.
    pub(super) async fn link(&self, gathered: Gathered, plugins: &Arc<dyn Plugins>) -> Result<Done> {
        let Gathered { mut items, mut done, .. } = gathered;
        self.hold_back(&mut items, &mut done).await?;
        self.settle(items, plugins, &mut done).await?;
        Ok(done)
    }

    /// One item per changed key, with its link and its current image.
    pub(super) async fn gather(&self, end: End, changes: Vec<Change>, done: &mut Done) -> Result<Vec<Item>> {
        let times: HashMap<Key, i64> =
            changes.iter().filter_map(|change| Some((change.key.clone(), change.at?))).collect();
        let deleted = changes.iter().filter(|change| change.op == Op::Delete);
        let deleted: HashMap<Key, i64> = deleted.filter_map(|change| Some((change.key.clone(), change.at?))).collect();
        let mut images = self.images(end, changes).await?;
        self.stay(end, &mut images, done).await?;
        let keys: Vec<Key> = images.iter().map(|(key, _)| key.clone()).collect();
        let links = self.state.links(&self.binding.pair, end, &keys).await?;
        self.distrust(end, &mut images, &links).await?;
        let item = |((key, image), link): ((Key, Option<Record>), Option<Link>)| {
            let (at, changed_at) = (deleted.get(&key).copied(), times.get(&key).copied());
            let mut item = Item::new(end, key, link, image);
            item.deleted_at = at;
            item.changed_at = changed_at;
            item
        };
        let mut items: Vec<Item> = images.into_iter().zip(links).map(item).collect();
        self.read_unknown(end.other(), &mut items).await?;
        let freed = self.freed(end, &items).await?;
        items.extend(freed);
        Ok(items)
    }

    /// An image that was carried to us may be older than the delete that we know of (I7): it is read again.
    async fn distrust(&self, end: End, images: &mut [(Key, Option<Record>)], links: &[Option<Link>]) -> Result<()> {
        let risen = images.iter_mut().zip(links).filter(|((_, image), link)| {
            image.is_some() && link.as_ref().is_some_and(|link| link.base.is_none() || link.gone == Some(end))
        });
        let (mut slots, keys): (Vec<&mut Option<Record>>, Vec<Key>) =
            risen.map(|((key, image), _)| (image, key.clone())).unzip();
        if keys.is_empty() {
            return Ok(());
        }
        for (slot, image) in slots.iter_mut().zip(self.targets.get(end).fetch(&keys).await?) {
            **slot = image;
        }
        Ok(())
    }

    /// Items of the other side's records that were held up by a review of one that is gone now, and that nothing else will wake (I3).
    async fn freed(&self, end: End, items: &[Item]) -> Result<Vec<Item>> {
        let gone = items.iter().filter(|item| !item.linked() && item.image(end).is_none());
        let keys: Vec<Key> = gone.filter_map(|item| item.keys.get(end).clone()).collect();
        if keys.is_empty() || !self.state.in_review(&self.binding.pair, end, &keys).await?.contains(&true) {
            return Ok(Vec::new());
        }
        let reviews = self.state.reviews(&ReviewFilter::pair(&self.binding.pair), usize::MAX).await?;
        let reviews = reviews.into_iter().map(|review| review.finding);
        let of_gone = reviews.filter(|finding| finding.end == end && keys.contains(&finding.key));
        let others: Vec<Key> = of_gone.filter_map(|finding| finding.other).collect();
        let links = self.state.links(&self.binding.pair, end.other(), &others).await?;
        let images = self.targets.get(end.other()).fetch(&others).await?;
        let live = |link: &Option<Link>| link.as_ref().is_some_and(|link| link.base.is_some());
        let alone = others.into_iter().zip(links).zip(images).filter(|((_, link), _)| !live(link));
        Ok(alone.map(|((key, link), image)| Item::new(end.other(), key, link, image)).collect())
    }

    /// Reads the images of `end` that cannot be assumed: nothing was agreed yet about some of their fields, or an edit of one side is in
    /// review, so that it is not what was agreed.
    async fn read_unknown(&self, end: End, items: &mut [Item]) -> Result<()> {
        let assumed = items.iter_mut().filter(|item| *item.now.get(end) == Now::Assumed);
        let (assumed, keys): (Vec<&mut Item>, Vec<Key>) =
            assumed.filter_map(|item| item.keys.get(end).clone().map(|key| (item, key))).unzip();
        if keys.is_empty() {
            return Ok(());
        }
        let in_review = self.state.in_review(&self.binding.pair, end, &keys).await?;
        let unknown = assumed.into_iter().zip(keys).zip(in_review);
        let unknown = unknown.filter(|((item, _), in_review)| *in_review || item.is_outdated(&self.binding, end));
        let (mut asking, keys): (Vec<&mut Item>, Vec<Key>) = unknown.map(|(one, _)| one).unzip();
        if keys.is_empty() {
            return Ok(());
        }
        for (item, image) in asking.iter_mut().zip(self.targets.get(end).fetch(&keys).await?) {
            item.reread(&self.binding, end, image);
        }
        Ok(())
    }

    /// Decides and writes until every item is settled or in review.
    pub(super) async fn settle(&self, mut items: Vec<Item>, plugins: &Arc<dyn Plugins>, done: &mut Done) -> Result<()> {
        loop {
            self.correlate(&mut items, plugins, done).await?;
            self.map(&mut items, |_| true, plugins).await?;
            self.take_values(&mut items, plugins, done).await?;
            self.decide(&mut items, plugins, done).await?;
            self.guard_deletes(&mut items, done).await?;
            self.stop_loops(&mut items, done);
            // The target first: a record's source is never touched for a target that refuses it.
            for end in [End::Target, End::Source] {
                self.write(end, &mut items, plugins, done).await?;
            }
            for item in &mut items {
                match item.step {
                    Step::Open if !item.fresh => item.close(&self.binding, done),
                    Step::Open | Step::Recheck | Step::Closed => item.rounds += 1,
                }
            }
            items.retain(|item| item.step != Step::Closed);
            if items.is_empty() {
                return Ok(());
            }
            self.recheck(&mut items, done).await?;
        }
    }

    /// Puts the images that need it in the other side's terms, of those that are `meant`, one batch an end.
    async fn map(&self, items: &mut [Item], meant: impl Fn(&Item) -> bool, plugins: &Arc<dyn Plugins>) -> Result<()> {
        let binding = &self.binding;
        let needs =
            |item: &Item| if item.step == Step::Open && meant(item) { item.needs(binding) } else { Ends::default() };
        let needs: Vec<Ends<bool>> = items.iter().map(needs).collect();
        for end in [End::Source, End::Target] {
            let asking = items.iter_mut().zip(&needs).filter(|(_, needs)| *needs.get(end));
            let mut asking: Vec<&mut Item> = asking.map(|(item, _)| item).collect();
            if asking.is_empty() {
                continue;
            }
            let images: Vec<&Record> = asking.iter().filter_map(|item| item.image(end)).collect();
            let checked = self.check_records(end, &images, plugins).await?;
            for (item, checked) in asking.iter_mut().zip(checked.into_cells()) {
                item.take_mapped(binding, end, checked);
            }
        }
        Ok(())
    }

    /// Decides every open item; those that hang on times once more with the times.
    async fn decide(&self, items: &mut [Item], plugins: &Arc<dyn Plugins>, done: &mut Done) -> Result<()> {
        let mut contested: Vec<&mut Item> = Vec::new();
        for item in items.iter_mut().filter(|item| item.step == Step::Open) {
            if item.decide(&self.binding, Ends::default()) {
                contested.push(item);
            }
        }
        if !contested.is_empty() {
            let source = self.times(End::Source, &contested).await?;
            let target = self.times(End::Target, &contested).await?;
            for (item, (source, target)) in contested.into_iter().zip(source.into_iter().zip(target)) {
                item.decide(&self.binding, Ends { source, target });
                item.times = Ends { source, target };
            }
            self.ask_resolvers(items, plugins).await?;
        }
        for item in items.iter_mut().filter(|item| item.step == Step::Open) {
            item.fresh = false;
            item.reject(&self.binding, done);
        }
        Ok(())
    }

    /// When the records of an end changed: its timestamp field, else what its change table says. Never a guess by our own clock.
    async fn times(&self, end: End, items: &[&mut Item]) -> Result<Vec<Option<i64>>> {
        let stamped = |item: &Item| -> Option<i64> {
            let place = (*self.binding.timestamp.get(end))?;
            let value = item.image(end)?.values().get(place).cloned().flatten()?;
            match value.convert(crate::value::Kind::Instant) {
                Ok(crate::value::Value::Instant(micros)) => Some(micros),
                Ok(_) | Err(_) => None,
            }
        };
        let mut times: Vec<Option<i64>> = items.iter().map(|item| stamped(item)).collect();
        let (places, keys): (Vec<usize>, Vec<Key>) = items
            .iter()
            .enumerate()
            .filter(|(place, _)| times.get(*place).is_some_and(Option::is_none))
            .filter_map(|(place, item)| Some((place, item.keys.get(end).clone()?)))
            .unzip();
        if keys.is_empty() || !self.targets.get(end).capabilities().change_times {
            return Ok(times);
        }
        for (place, time) in places.into_iter().zip(self.targets.get(end).change_times(&keys).await?) {
            if let Some(slot) = times.get_mut(place) {
                *slot = time;
            }
        }
        Ok(times)
    }

    /// Puts writes at `end` on record before the first of them is done, and with them the conflicts whose losers they overwrite (I6).
    async fn intend(
        &self,
        end: End,
        writers: &mut [&mut Item],
        writes: &[Write],
        plugins: &Arc<dyn Plugins>,
    ) -> Result<Begun> {
        let intended = |(item, write): (&&mut Item, &Write)| item.intended(&self.binding, end, write);
        let writes = writers.iter().zip(writes).map(intended).collect();
        let intention = Intention { end, plugins: self.plugin_set(plugins.as_ref()), writes };
        let begun = self.state.intend(&self.binding.pair, intention).await?;
        CrashPoint::Intended.pass();
        for (item, numbers) in writers.iter_mut().zip(&begun.conflicts) {
            item.recorded(end, numbers);
        }
        Ok(begun)
    }

    /// Carries out what was decided for `end`.
    async fn write(&self, end: End, items: &mut [Item], plugins: &Arc<dyn Plugins>, done: &mut Done) -> Result<()> {
        let (mut writers, mut writes): (Vec<&mut Item>, Vec<Write>) = Default::default();
        for item in items.iter_mut() {
            let Some(intent) = item.take_write(end) else { continue };
            let write = apply::write(&self.binding, end, intent, item.image(end));
            let write = write.ok_or_else(|| SyncError::internal("a write without a key"))?;
            writers.push(item);
            writes.push(write);
        }
        if writes.is_empty() {
            return Ok(());
        }
        let begun = self.intend(end, &mut writers, &writes, plugins).await?;
        done.commit.intentions.push(begun.number);
        let mark = Mark { run: &begun.run, number: begun.number, since: begun.since, first: 0 };
        let outcomes = apply::write_all(self.targets.get(end).as_ref(), &writes, Some(mark)).await?;
        written(end).pass();
        let hands_on = self.binding.leaving(end).next().is_some();
        for ((item, write), outcome) in writers.into_iter().zip(&writes).zip(outcomes) {
            let applied = matches!(outcome, crate::connector::WriteOutcome::Applied { .. });
            let before = hands_on.then(|| item.image(end).cloned()).flatten();
            item.fold(end, write, outcome, done);
            if let (true, Write::Update { key, fields, .. }) = (applied, write) {
                item.advance(&self.binding, end, fields);
                self.note_write(end, key, fields);
            }
            if let (true, true, Write::Update { fields: sent, .. } | Write::Create { record: sent }) =
                (applied, hands_on, write)
            {
                item.hand_on(&self.binding, end, before.as_ref(), sent);
            }
        }
        Ok(())
    }

    /// Reads both images again where somebody wrote in between.
    async fn recheck(&self, items: &mut Vec<Item>, done: &mut Done) -> Result<()> {
        for item in items.iter_mut() {
            if item.step == Step::Recheck {
                item.overtake(done);
            }
            if item.step == Step::Recheck && !item.linked() && item.rounds >= CREATE_ROUNDS_MAX {
                let text = "creating it collides with another record that has one of its unique values";
                item.fail(item.origin, &SyncError::new(ErrorKind::InvalidRecord, "record.unique_conflict", text), done);
            } else if item.rounds >= ROUNDS_MAX {
                let text = format!("pair {}: a record keeps changing while it is decided", self.binding.pair);
                return Err(SyncError::new(ErrorKind::VersionMismatch, "record.contended", text));
            }
        }
        items.retain(|item| item.step != Step::Closed);
        for end in [End::Source, End::Target] {
            let (mut asking, mut keys): (Vec<&mut Item>, Vec<Key>) = Default::default();
            for item in items.iter_mut().filter(|item| item.step == Step::Recheck) {
                if let Some(key) = item.keys.get(end).clone() {
                    asking.push(item);
                    keys.push(key);
                }
            }
            if keys.is_empty() {
                continue;
            }
            let images = self.targets.get(end).fetch(&keys).await?;
            let gone = images.iter().zip(&keys).filter(|(image, _)| image.is_none()).map(|(_, key)| key.clone());
            let mut outside = self.outside(end, &gone.collect::<Vec<_>>()).await?.into_iter();
            for (item, image) in asking.into_iter().zip(images) {
                if image.is_none() && outside.next().unwrap_or_default() {
                    item.leave(done);
                } else {
                    item.reread(&self.binding, end, image);
                }
            }
        }
        items.retain(|item| item.step != Step::Closed);
        for item in items.iter_mut() {
            item.step = Step::Open;
        }
        Ok(())
    }
}

fn written(end: End) -> CrashPoint {
    match end {
        End::Source => CrashPoint::WrittenSource,
        End::Target => CrashPoint::WrittenTarget,
    }
}
