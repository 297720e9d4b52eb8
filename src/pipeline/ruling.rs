//! Carries out what people decided about reviews: the record is decided anew, with their ruling (row 6).

use std::collections::HashMap;
use std::sync::Arc;

use super::item::{Item, Step};
use super::reconcile::Answer;
use super::{Done, Pipeline, transform, validation};
use crate::change::{Change, End, Ends, Op};
use crate::error::Result;
use crate::plugin::Plugins;
use crate::record::{Key, Record};
use crate::state::review::version;
use crate::state::{Counts, Decision, Review, Verdict, Winner};
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
            for (decision, review) in decisions {
                items.extend(self.ruled(decision, review, &mut done).await?);
            }
            self.settle(items, &plugins, &mut done).await?;
        }
        done.commit.plugins = self.plugin_set(plugins.as_ref());
        self.commit(&done).await?;
        Ok(done.commit.counts)
    }

    /// The item of a decision, with both images as they are.
    async fn ruled(&self, decision: Decision, review: Review, done: &mut Done) -> Result<Option<Item>> {
        let end = review.finding.end;
        let key = review.finding.key;
        let link = self.state.links(&self.binding.pair, end, std::slice::from_ref(&key)).await?.pop().flatten();
        let linked = link.as_ref().filter(|link| link.base.is_some()).map(|link| link.keys.get(end.other()).clone());
        let other = linked.or(review.finding.other);
        let image = self.read(end, Some(&key)).await?;
        let counterpart = self.read(end.other(), other.as_ref()).await?;
        let mut now = Ends { source: image.as_ref(), target: counterpart.as_ref() };
        if end == End::Target {
            std::mem::swap(&mut now.source, &mut now.target);
        }
        let fresh = decision.version == review.version && version(now) == decision.version;
        if !fresh {
            let text = "the record has changed since it was looked at".to_owned();
            done.commit.decided.push((decision.id, Verdict::Stale, text));
        }
        let mut item = Item::new(end, key, link, image);
        if other.is_some() {
            item.reread(&self.binding, end.other(), counterpart);
        }
        if fresh {
            item.rule(decision.id, decision.ruling);
        }
        Ok(Some(item))
    }

    async fn read(&self, end: End, key: Option<&Key>) -> Result<Option<Record>> {
        let Some(key) = key else { return Ok(None) };
        Ok(self.targets.get(end).fetch(std::slice::from_ref(key)).await?.pop().flatten())
    }

    async fn copy_ruled(
        &self,
        decisions: Vec<(Decision, Review)>,
        plugins: &Arc<dyn Plugins>,
        done: &mut Done,
    ) -> Result<()> {
        let mut changes = Vec::with_capacity(decisions.len());
        let (mut set, mut asked) = (HashMap::new(), Vec::new());
        for (decision, review) in decisions {
            let key = review.finding.key;
            let image = self.read(End::Source, Some(&key)).await?;
            let now = Ends { source: image.as_ref(), target: None };
            let values = self.set_values(&decision.ruling.set);
            let refused = match (version(now) == decision.version, &values, decision.ruling.take) {
                (false, ..) => Some((Verdict::Stale, "the record has changed since it was looked at".to_owned())),
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
                    asked.push((decision.id, key.clone()));
                }
            }
            changes.push(Change { key, op: Op::Upsert, at: None, image });
        }
        let copied = self.copy(changes, &set, plugins).await?;
        let decided = std::mem::take(&mut done.commit.decided);
        *done = copied;
        done.commit.decided = decided;
        for (id, key) in asked {
            let found = done.commit.reviews.iter().find(|finding| finding.key == key);
            let verdict = if found.is_some() { Verdict::Refused } else { Verdict::Applied };
            let why = found.map(|finding| finding.message.clone()).unwrap_or_default();
            done.commit.decided.push((id, verdict, why));
        }
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

    async fn edit(&self, item: &mut Item, set: &[SetValue], plugins: &Arc<dyn Plugins>) -> Result<()> {
        let binding = &self.binding;
        let name = |place: usize| binding.mappings.get(place).map(|mapping| mapping.fields.target.name.clone());
        let mut edited = match item.image(End::Target) {
            Some(target) => target.clone(),
            None => binding.record(End::Target, []),
        };
        if let Some(source) = item.image(End::Source).cloned() {
            let mut mapped = self.map_records(End::Source, &[&source], plugins).await?;
            for cells in &mut mapped {
                overlay(cells, set);
                for (mapping, cell) in binding.mappings.iter().zip(cells.iter()) {
                    if let Ok(Some(value)) = cell {
                        edited.set(&mapping.fields.target.name, value.clone());
                    }
                }
            }
            let checked = validation::check_mapped(binding, End::Source, mapped, plugins).await?;
            checked.into_cells().for_each(|checked| item.take_mapped(binding, End::Source, checked));
        }
        for (place, value) in set {
            if let Some(name) = name(*place) {
                edited.set(&name, value.clone());
            }
        }
        let mut back = None;
        if binding.flows.target {
            let checked = self.check_records(End::Target, &[&edited], plugins).await?;
            back = checked.into_cells().next();
        }
        let cell = |place: usize| back.as_ref().and_then(|(cells, _)| cells.get(place).cloned());
        let onward = |place: usize, value: &Value| match item.mapped.source.as_ref() {
            Some(cells) => cells.get(place).cloned(),
            None => Some(Ok(Some(value.clone()))),
        };
        let answers = set.iter().map(|(place, value)| {
            let cells = Ends { source: cell(*place), target: onward(*place, value) };
            (*place, Answer { winner: Winner::Merged, cells, person: true })
        });
        let answers = answers.collect();
        if let (None, Some(back)) = (item.image(End::Source), back) {
            item.take_mapped(binding, End::Target, back);
        }
        item.answer_by_person(answers);
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
