//! The way of two-way pairs, and of one-way pairs whose target key does not follow from the record: links with a base per side (row 6).
//!
//! The other side's image is assumed to be the base, and the write carries that assumption. Where it does not hold, both images are
//! read and the link is decided again.

use std::collections::HashMap;
use std::sync::Arc;

use super::item::{Item, Now, Step};
use super::{Done, Pipeline, apply};
use crate::change::{Change, End, Ends, Op};
use crate::connector::Write;
use crate::error::{ErrorKind, Result, SyncError};
use crate::plugin::Plugins;
use crate::record::{Key, Record};
use crate::state::{Link, ReviewFilter};
use crate::telemetry::CrashPoint;

/// A record that changes under our hands this many times in a row is left to a later batch.
const ROUNDS_MAX: u32 = 8;

/// A create that collides this often with something that cannot be found collides with another unique value.
const CREATE_ROUNDS_MAX: u32 = 3;

/// A record as it is, and whether somebody else has changed it.
type Survivor = (Option<Record>, bool);

impl Pipeline {
    /// Reconciles the links of the changed keys.
    pub(super) async fn link(&self, end: End, changes: Vec<Change>, plugins: &Arc<dyn Plugins>) -> Result<Done> {
        let mut done = Done::default();
        done.commit.counts.read = changes.len() as u64;
        let mut items = self.gather(end, changes, &mut done).await?;
        self.hold_back(&mut items, &mut done).await?;
        self.settle(items, plugins, &mut done).await?;
        Ok(done)
    }

    /// Finishes creates that a crash kept from their links.
    ///
    /// # Errors
    /// As `process`.
    pub async fn recover(&self) -> Result<()> {
        let plugins = self.catalogue.snapshot();
        for end in [End::Source, End::Target] {
            let pending = self.targets.get(end).pending_creates().await?;
            let (tokens, created): (Vec<String>, Vec<(Key, Key)>) = pending
                .into_iter()
                .filter_map(|(token, key)| {
                    apply::key_of_token(&self.consumer, &token).map(|other| (token, (key, other)))
                })
                .unzip();
            if tokens.is_empty() {
                continue;
            }
            let keys: Vec<Key> = created.iter().map(|(key, _)| key.clone()).collect();
            let others: Vec<Key> = created.into_iter().map(|(_, other)| other).collect();
            let links = self.state.links(&self.binding.pair, end, &keys).await?;
            let images = self.survivors(end, &keys).await?;
            let origins = self.survivors(end.other(), &others).await?;
            let mut items = Vec::new();
            for ((key, other), ((link, image), origin)) in
                keys.into_iter().zip(others).zip(links.into_iter().zip(images).zip(origins))
            {
                if link.is_none() {
                    items.push(self.recovered(end, (key, other), image, origin));
                }
            }
            let mut done = Done::default();
            // Whatever becomes of them now: once the tokens are forgotten, nothing else knows that they belong together.
            done.commit.links.extend(items.iter().filter_map(Item::link));
            self.settle(items, &plugins, &mut done).await?;
            done.commit.plugins = self.plugin_set(plugins.as_ref());
            self.state.commit(&self.binding.pair, &done.commit).await?;
            self.targets.get(end).forget_creates(&tokens).await?;
        }
        Ok(())
    }

    /// Records as they are now, and whether others have changed them, as far as the stream knows.
    async fn survivors(&self, end: End, keys: &[Key]) -> Result<Vec<Survivor>> {
        let target = self.targets.get(end);
        let images = target.fetch(keys).await?;
        let times =
            if target.capabilities().change_times { target.change_times(keys).await? } else { vec![None; keys.len()] };
        Ok(images.into_iter().zip(times.into_iter().map(|time| time.is_some())).collect())
    }

    /// The item of a create at `end` that reached the system, but not the state store. What was agreed is not known any more, because
    /// either side may have been edited since: nothing counts as agreed, so that what differs is contested. Where one record is gone, the
    /// other goes too, unless somebody has edited it.
    fn recovered(
        &self,
        end: End,
        keys: (Key, Key),
        (image, edited): Survivor,
        (origin, origin_edited): Survivor,
    ) -> Item {
        let mut item = Item::new(end.other(), keys.1, None, origin.clone());
        *item.keys.get_mut(end) = Some(keys.0);
        item.reread(&self.binding, end, image.clone());
        item.fresh = end == End::Source && image.is_some() && origin.is_some();
        let mut base = Ends::from_fn(|end| self.binding.nothing_agreed(end, item.keys.get(end).as_ref()));
        match (image, origin) {
            (Some(image), None) if !edited => *base.get_mut(end) = image,
            (None, Some(origin)) if !origin_edited => *base.get_mut(end.other()) = origin,
            _ => {}
        }
        item.base = Some(base);
        item
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
            self.map(&mut items, plugins).await?;
            self.take_values(&mut items, plugins, done).await?;
            self.decide(&mut items, plugins, done).await?;
            self.guard_deletes(&mut items, done).await?;
            self.stop_loops(&mut items, done);
            self.record_conflicts(&mut items).await?;
            // The target first: a record's source is never touched for a target that refuses it.
            for end in [End::Target, End::Source] {
                self.write(end, &mut items, done).await?;
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

    /// Puts the images that need it in the other side's terms, one batch an end.
    async fn map(&self, items: &mut [Item], plugins: &Arc<dyn Plugins>) -> Result<()> {
        for end in [End::Source, End::Target] {
            let binding = &self.binding;
            let mut asking: Vec<&mut Item> =
                items.iter_mut().filter(|item| item.step == Step::Open && *item.needs(binding).get(end)).collect();
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

    /// No loser is overwritten before that is on record (I6).
    async fn record_conflicts(&self, items: &mut [Item]) -> Result<()> {
        let (mut places, mut conflicts) = (Vec::new(), Vec::new());
        for (index, item) in items.iter().enumerate().filter(|(_, item)| item.step == Step::Open) {
            for (place, conflict) in item.to_record() {
                places.push((index, place));
                conflicts.push(conflict);
            }
        }
        if conflicts.is_empty() {
            return Ok(());
        }
        let ids = self.state.intend(&self.binding.pair, &conflicts).await?;
        CrashPoint::ConflictsRecorded.pass();
        for ((index, place), id) in places.into_iter().zip(ids) {
            if let Some(item) = items.get_mut(index) {
                item.recorded(place, id);
            }
        }
        Ok(())
    }

    /// Carries out what was decided for `end`.
    async fn write(&self, end: End, items: &mut [Item], done: &mut Done) -> Result<()> {
        let (mut writers, mut writes): (Vec<&mut Item>, Vec<Write>) = Default::default();
        for item in items.iter_mut() {
            let Some(intent) = item.take_write(end) else { continue };
            let other = item.keys.get(end.other()).as_ref();
            let write = apply::write(&self.binding, end, intent, item.image(end), (&self.consumer, other));
            let write = write.ok_or_else(|| SyncError::internal("a write without a key"))?;
            if let Write::Create { token: Some(token), .. } = &write {
                done.tokens.get_mut(end).push(token.clone());
            }
            writers.push(item);
            writes.push(write);
        }
        if writes.is_empty() {
            return Ok(());
        }
        let outcomes = apply::write_all(self.targets.get(end).as_ref(), &writes).await?;
        written(end).pass();
        for ((item, write), outcome) in writers.into_iter().zip(&writes).zip(outcomes) {
            let applied = matches!(outcome, crate::connector::WriteOutcome::Applied { .. });
            item.fold(end, write, outcome, done);
            if let (true, Write::Update { key, fields, .. }) = (applied, write) {
                item.advance(&self.binding, end, fields);
                self.note_write(end, key, fields);
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
