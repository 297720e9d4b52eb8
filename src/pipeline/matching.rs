//! Finds the other side's record of one that has no link: by the correlation, which is what equal means (DESIGN §2, row 6).

use std::collections::HashMap;
use std::sync::Arc;

use super::apply::key_of;
use super::binding::Binding;
use super::item::{Item, Now, Step};
use super::transform::Mapped;
use super::{Done, Pipeline};
use crate::change::End;
use crate::error::Result;
use crate::plugin::Plugins;
use crate::record::{Key, Record};
use crate::value::Value;

impl Pipeline {
    /// Gives each open item without a link the record that it matches, if there is one. Ambiguous ones go to review.
    pub(super) async fn correlate(
        &self,
        items: &mut [Item],
        plugins: &Arc<dyn Plugins>,
        done: &mut Done,
    ) -> Result<()> {
        for end in [End::Source, End::Target] {
            let mut alone: Vec<&mut Item> = items
                .iter_mut()
                .filter(|item| {
                    item.step == Step::Open && item.origin == end && !item.linked() && item.image(end).is_some()
                })
                .collect();
            if !alone.is_empty() && self.binding.flows.get(end) == &true {
                let values = self.map_alone(&mut alone, end, plugins).await?;
                self.match_alone(&mut alone, end, values, done).await?;
                alone.retain(|item| item.step == Step::Open && !item.linked());
                self.match_on(alone, end, done).await?;
            }
        }
        Ok(())
    }

    /// Maps the records and returns their correlation values: what a rule refuses has its counterpart all the same, and whoever decides
    /// about it must see both.
    async fn map_alone(
        &self,
        alone: &mut [&mut Item],
        end: End,
        plugins: &Arc<dyn Plugins>,
    ) -> Result<Vec<Option<Key>>> {
        let images: Vec<&Record> = alone.iter().filter_map(|item| item.image(end)).collect();
        let checked = self.check_records(end, &images, plugins).await?;
        let values = checked.mapped.iter().map(|cells| correlation(&self.binding, end.other(), cells)).collect();
        for (item, checked) in alone.iter_mut().zip(checked.into_cells()) {
            item.take_mapped(&self.binding, end, checked);
        }
        Ok(values)
    }

    async fn match_alone(
        &self,
        alone: &mut [&mut Item],
        end: End,
        values: Vec<Option<Key>>,
        done: &mut Done,
    ) -> Result<()> {
        let other = end.other();
        let mut wanted: Vec<Key> = Vec::new();
        let mut askers: Vec<&mut &mut Item> = Vec::new();
        let mut seen: HashMap<Key, Key> = HashMap::new();
        for (item, value) in alone.iter_mut().zip(values) {
            let (Some(value), Some(own)) = (value, item.keys.get(end).clone()) else { continue };
            if let Some(first) = seen.insert(value.clone(), own.clone()) {
                let text = format!("has the same correlation value as {} record {first}", end.name());
                item.puzzle("match.ambiguous", text, done);
                continue;
            }
            wanted.push(value);
            askers.push(item);
        }
        if wanted.is_empty() {
            return Ok(());
        }
        let images: Vec<Option<&Record>> = askers.iter().map(|item| item.image(end)).collect();
        let found = self.partners(end, &images, wanted).await?;
        let mut taken = self.taken(other, &found).await?;
        for (item, matches) in askers.into_iter().zip(found) {
            self.settle_match(item, matches, &mut taken, done);
        }
        Ok(())
    }

    /// The other side's records of these records' correlation values, or of what those may have been spelt as there: what the other side is
    /// given is this one's spelling. Same order and length.
    pub(super) async fn partners(
        &self,
        end: End,
        images: &[Option<&Record>],
        mut values: Vec<Key>,
    ) -> Result<Vec<Vec<Record>>> {
        let (count, mut owners) = (values.len(), Vec::new());
        for (place, image) in images.iter().enumerate() {
            if let Some(alias) = values.get(place).and_then(|value| self.alias(end, (*image)?, value)) {
                owners.push(place);
                values.push(alias);
            }
        }
        let other = end.other();
        let mut found = self.targets.get(other).find(self.binding.correlation.get(other), &values).await?;
        for (place, records) in owners.into_iter().zip(found.split_off(count)) {
            if let Some(found) = found.get_mut(place) {
                found.extend(records);
            }
        }
        Ok(found)
    }

    /// Another spelling of a record's correlation value, where a part that is mapped as it is has one.
    fn alias(&self, end: End, image: &Record, value: &Key) -> Option<Key> {
        let other = end.other();
        let mut spelt = value.clone();
        let mut any = false;
        for (name, part) in self.binding.correlation.get(other).iter().zip(&mut spelt.0) {
            let own = &self.binding.mappings.get(place_of(&self.binding, other, name)?)?.fields.get(end).name;
            if image.get(own) == Some(&*part)
                && let Some(alias) = self.targets.get(end).alias(own, part)
            {
                (*part, any) = (alias, true);
            }
        }
        any.then_some(spelt)
    }

    /// Keys of `other`'s records that are linked already, and to what.
    pub(super) async fn taken(&self, other: End, found: &[Vec<Record>]) -> Result<HashMap<Key, Key>> {
        let keys: Vec<Key> = found.iter().flatten().filter_map(|record| key_of(&self.binding, other, record)).collect();
        if keys.is_empty() {
            return Ok(HashMap::new());
        }
        let links = self.state.links(&self.binding.pair, other, &keys).await?;
        let live = links.into_iter().flatten().filter(|link| link.base.is_some());
        Ok(live.map(|link| (link.keys.get(other).clone(), link.keys.get(other.other()).clone())).collect())
    }

    fn settle_match(&self, item: &mut Item, mut matches: Vec<Record>, taken: &mut HashMap<Key, Key>, done: &mut Done) {
        let end = item.origin;
        let other = end.other();
        let Some(own) = item.keys.get(end).clone() else { return };
        let count = matches.len();
        match (matches.pop(), count) {
            (Some(record), 1) => {
                let key = key_of(&self.binding, other, &record);
                match key.as_ref().and_then(|key| taken.get(key)).filter(|linked| **linked != own) {
                    Some(linked) => {
                        let text = format!(
                            "its match on the {} side is linked to {} record {linked} already",
                            other.name(),
                            end.name()
                        );
                        item.puzzle("match.taken", text, done);
                    }
                    None => {
                        // Another item of the batch may have been spelt otherwise, and match the same record.
                        taken.extend(key.clone().map(|key| (key, own)));
                        *item.keys.get_mut(other) = key;
                        *item.now.get_mut(other) = Now::Known(Some(record));
                    }
                }
            }
            (Some(_), _) => {
                let text = format!("{count} records on the {} side have its correlation value", other.name());
                item.puzzle("match.ambiguous", text, done);
            }
            (None, _) => {}
        }
    }
}

/// The correlation value of a record in the terms of `end`, from its mapped cells; `None` where a part is null or a transform refused it.
fn correlation(binding: &Binding, end: End, cells: &Mapped) -> Option<Key> {
    let part = |name: &String| -> Option<Value> {
        cells.get(place_of(binding, end, name)?)?.as_ref().ok()?.clone().filter(|value| !value.is_null())
    };
    binding.correlation.get(end).iter().map(part).collect::<Option<Vec<_>>>().map(Key)
}

/// The mapping of a correlation field of `end`.
fn place_of(binding: &Binding, end: End, name: &str) -> Option<usize> {
    binding.mappings.iter().position(|mapping| mapping.correlation && mapping.fields.get(end).name == name)
}
