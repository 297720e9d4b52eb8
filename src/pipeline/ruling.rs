//! Carries out what people decided about reviews: the record is decided anew, with their ruling (row 6).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::coalesce::coalesce;
use super::item::{Item, MOVED_ON, Step};
use super::reconcile::Answer;
use super::{Done, Pipeline, transform, validation};
use crate::change::{Change, End, Ends, Op};
use crate::error::Result;
use crate::plugin::Plugins;
use crate::record::{Key, Record};
use crate::state::review::version;
use crate::state::{Counts, Decision, Link, Review, Ruling, Verdict, Winner};
use crate::value::Value;

/// A field by its mapping, and a person's value for it in the target's kind.
pub(super) type SetValue = (usize, Value);

impl Pipeline {
    /// Carries out decisions, in the order in which they are given, and commits what came of them. One that was made about other images
    /// than there are now is stale: the record is decided without it, so that the review shows what there is.
    ///
    /// # Errors
    /// As `process`: the decisions wait.
    pub async fn carry_out(&self, decisions: Vec<(Decision, Review)>) -> Result<Counts> {
        let plugins = self.catalogue.snapshot();
        let mut done = Done::default();
        if self.binding.upsert_only {
            self.copy_ruled(decisions, &plugins, &mut done).await?;
        } else {
            let mut items = Vec::with_capacity(decisions.len());
            for end in [End::Source, End::Target] {
                let of_end = decisions.iter().filter(|(_, review)| review.finding.end == end).collect();
                self.ruled(end, of_end, &mut items, &mut done).await?;
            }
            self.settle(items, &plugins, &mut done).await?;
        }
        done.commit.plugins = self.plugin_set(plugins.as_ref());
        self.commit(&done).await?;
        Ok(done.commit.counts)
    }

    /// Looks at records of `end` again, and lets one side's win wherever they differ: each loser is on record as in any conflict.
    ///
    /// # Errors
    /// As `process`.
    pub async fn settle_for(&self, winner: End, end: End, keys: Vec<Key>) -> Result<Counts> {
        let plugins = self.catalogue.snapshot();
        let changes = keys.into_iter().map(|key| Change { key, op: Op::Upsert, at: None, image: None }).collect();
        let mut done = Done::default();
        let mut items = self.gather(end, coalesce(changes), &mut done).await?;
        self.hold_back(&mut items, &mut done).await?;
        let other = end.other();
        let linked = items.iter_mut().filter_map(|item| item.keys.get(other).clone().map(|key| (item, key)));
        let (linked, keys): (Vec<&mut Item>, Vec<Key>) = linked.unzip();
        let images = if keys.is_empty() { Vec::new() } else { self.targets.get(other).fetch(&keys).await? };
        for (item, image) in linked.into_iter().zip(images) {
            item.reread(&self.binding, other, image);
        }
        items.iter_mut().for_each(|item| item.prefer(&self.binding, winner));
        self.settle(items, &plugins, &mut done).await?;
        done.commit.end = Some(end);
        done.commit.plugins = self.plugin_set(plugins.as_ref());
        self.commit(&done).await?;
        Ok(done.commit.counts)
    }

    /// Adds the items of decisions about records of `end`, with both images as they are. One about a link that is among the items already
    /// waits for its turn (I4).
    async fn ruled(
        &self,
        end: End,
        mut decisions: Vec<&(Decision, Review)>,
        items: &mut Vec<Item>,
        done: &mut Done,
    ) -> Result<()> {
        let taken: HashSet<Key> = items.iter().filter_map(|item| item.keys.get(end).clone()).collect();
        decisions.retain(|(_, review)| !taken.contains(&review.finding.key));
        let keys: Vec<Key> = decisions.iter().map(|(_, review)| review.finding.key.clone()).collect();
        let links = self.state.links(&self.binding.pair, end, &keys).await?;
        let images = self.targets.get(end).fetch(&keys).await?;
        let linked = |link: &Option<Link>| {
            link.as_ref().filter(|link| link.base.is_some()).map(|link| link.keys.get(end.other()).clone())
        };
        let others = links.iter().zip(&decisions);
        let others: Vec<Option<Key>> =
            others.map(|(link, (_, review))| linked(link).or_else(|| review.finding.other.clone())).collect();
        let asked: Vec<Key> = others.iter().flatten().cloned().collect();
        let mut counterparts = self.targets.get(end.other()).fetch(&asked).await?.into_iter();
        let mut holders = self.state.links(&self.binding.pair, end.other(), &asked).await?.into_iter();
        for ((((decision, review), link), image), other) in decisions.into_iter().zip(links).zip(images).zip(others) {
            let (counterpart, holder) = match other {
                Some(_) => (counterparts.next().flatten(), holders.next().flatten()),
                None => (None, None),
            };
            // Brought back under another key by a write that a crash left open: its review of before has nothing left to decide.
            let is_elsewhere = holder.is_some_and(|one| one.base.is_some() && *one.keys.get(end) != review.finding.key);
            if image.is_none() && is_elsewhere {
                done.commit.decided.push((decision.id, Verdict::Stale, MOVED_ON.to_owned()));
                done.commit.cleared.push((end, review.finding.key.clone()));
                continue;
            }
            let known = linked(&link).is_some() || counterpart.is_some();
            let mut item = Item::new(end, review.finding.key.clone(), link, image);
            if known {
                item.reread(&self.binding, end.other(), counterpart);
            }
            if decision.ruling.is_retry() || self.is_fresh(decision, review, Ends::from_fn(|end| item.image(end))) {
                item.rule(decision.id, decision.ruling.clone());
            } else {
                done.commit.decided.push((decision.id, Verdict::Stale, MOVED_ON.to_owned()));
            }
            items.push(item);
        }
        Ok(())
    }

    /// Whether nothing would be overwritten that the person has not seen: both images are as they were, or the target has the person's own
    /// values already, because a crash kept the rest of the decision from being carried out.
    fn is_fresh(&self, decision: &Decision, review: &Review, now: Ends<Option<&Record>>) -> bool {
        if decision.version != review.version || version(now) == decision.version {
            return decision.version == review.version;
        }
        let Ruling { take, set } = &decision.ruling;
        let of_source = |image| version(Ends { source: image, target: None });
        let in_place = |(place, value): &SetValue| {
            let name = self.binding.mappings.get(*place).map(|mapping| &mapping.fields.target.name);
            name.is_some_and(|name| now.target.and_then(|target| target.get(name)) == Some(value))
        };
        !set.is_empty()
            && *take != Some(End::Source)
            && of_source(now.source) == of_source(review.finding.now.source.as_ref())
            && self.set_values(set).is_ok_and(|values| values.iter().all(in_place))
    }

    async fn copy_ruled(
        &self,
        decisions: Vec<(Decision, Review)>,
        plugins: &Arc<dyn Plugins>,
        done: &mut Done,
    ) -> Result<()> {
        let mut changes = Vec::with_capacity(decisions.len());
        let (mut set, mut asked) = (HashMap::new(), HashMap::new());
        let keys: Vec<Key> = decisions.iter().map(|(_, review)| review.finding.key.clone()).collect();
        let images = self.targets.source.fetch(&keys).await?;
        for (((decision, _), key), image) in decisions.into_iter().zip(keys).zip(images) {
            let now = Ends { source: image.as_ref(), target: None };
            let values = self.set_values(&decision.ruling.set);
            let fresh = decision.ruling.is_retry() || version(now) == decision.version;
            let refused = match (fresh, &values, decision.ruling.take) {
                (false, ..) => Some((Verdict::Stale, MOVED_ON.to_owned())),
                (true, Err(why), _) => Some((Verdict::Refused, why.clone())),
                (true, Ok(_), Some(End::Target)) => {
                    Some((Verdict::Refused, "nothing flows from the target of this pair".to_owned()))
                }
                (true, Ok(_), _) => None,
            };
            match refused {
                Some((verdict, why)) => done.commit.decided.push((decision.id, verdict, why)),
                None => {
                    set.insert(key.clone(), values.unwrap_or_default());
                    asked.insert(key.clone(), decision.id);
                }
            }
            changes.push(Change { key, op: Op::Upsert, at: None, image });
        }
        let copied = self.copy((changes, true), &set, plugins).await?;
        let decided = std::mem::take(&mut done.commit.decided);
        *done = copied;
        done.commit.decided = decided;
        let refused =
            done.commit.reviews.iter().filter_map(|finding| {
                asked.remove(&finding.key).map(|id| (id, Verdict::Refused, finding.message.clone()))
            });
        done.commit.decided.extend(refused);
        done.commit.decided.extend(asked.into_values().map(|id| (id, Verdict::Applied, String::new())));
        Ok(())
    }

    /// Values by the target's names, in the kinds of its fields.
    fn set_values(
        &self,
        set: &serde_json::Map<String, serde_json::Value>,
    ) -> std::result::Result<Vec<SetValue>, String> {
        let one = |(name, json): (&String, &serde_json::Value)| {
            let mapping = self.binding.mappings.iter().enumerate().find(|(_, one)| one.fields.target.name == *name);
            match mapping {
                None => Err(format!("no mapping has the target field \"{name}\"")),
                Some((_, mapping)) if mapping.correlation => Err(format!("\"{name}\" is the key: it cannot be set")),
                Some((_, mapping)) if mapping.functions.source.is_none() && !self.binding.flows.target => {
                    Err(format!("nothing is written to \"{name}\""))
                }
                Some((place, mapping)) => Value::from_json(mapping.fields.target.kind, json)
                    .map(|value| (place, value))
                    .map_err(|error| format!("the value for \"{name}\" does not fit: {error}")),
            }
        };
        set.iter().map(one).collect()
    }

    /// Puts people's own values in place of what the records hold: they are held to the rules as an edit would be (I8), and reach both
    /// ends.
    pub(super) async fn take_values(
        &self,
        items: &mut [Item],
        plugins: &Arc<dyn Plugins>,
        done: &mut Done,
    ) -> Result<()> {
        for item in items.iter_mut().filter(|item| item.step == Step::Open) {
            let Some(set) = item.set_values() else { continue };
            match self.set_values(&set) {
                Ok(values) => self.edit(item, &values, plugins).await?,
                Err(why) => item.decline(why, done),
            }
        }
        Ok(())
    }

    /// Both images as they are with the person's values in them, in the other side's terms and held to its rules.
    async fn edit(&self, item: &mut Item, set: &[SetValue], plugins: &Arc<dyn Plugins>) -> Result<()> {
        let binding = &self.binding;
        if let Some(source) = item.image(End::Source).cloned() {
            let mut mapped = self.map_records(End::Source, &[&source], plugins).await?;
            mapped.iter_mut().for_each(|cells| overlay(cells, set));
            let checked = validation::check_mapped(binding, End::Source, mapped, plugins).await?;
            checked.into_cells().for_each(|checked| item.take_mapped(binding, End::Source, checked));
        }
        if binding.flows.target {
            let mut edited = item.image(End::Target).cloned().unwrap_or_else(|| binding.record(End::Target, []));
            let flowing = item.flowing(binding).map(|(place, value)| (place, value.clone()));
            for (place, value) in flowing.collect::<Vec<_>>().into_iter().chain(set.iter().cloned()) {
                if let Some(mapping) = binding.mappings.get(place) {
                    edited.set(&mapping.fields.target.name, value);
                }
            }
            let checked = self.check_records(End::Target, &[&edited], plugins).await?;
            checked.into_cells().for_each(|checked| item.take_mapped(binding, End::Target, checked));
        }
        let cell = |from: End, place: usize| item.mapped.get(from).as_ref().and_then(|cells| cells.get(place).cloned());
        let answers = set.iter().map(|(place, value)| {
            let onward = cell(End::Source, *place).unwrap_or_else(|| Ok(Some(value.clone())));
            let cells = Ends { source: cell(End::Target, *place), target: Some(onward) };
            (*place, Answer { winner: Winner::Merged, cells, person: true })
        });
        item.answer_by_person(answers.collect());
        Ok(())
    }
}

/// Values of a person's own take the place of what was mapped, refused or not.
pub(super) fn overlay(cells: &mut transform::Mapped, set: &[SetValue]) {
    for (place, value) in set {
        if let Some(cell) = cells.get_mut(*place) {
            *cell = Ok(Some(value.clone()));
        }
    }
}
