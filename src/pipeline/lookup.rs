//! Reads the links of other pairs that a batch's keys refer to (row 6), and maps with them.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::binding::BoundLookup;
use super::item::Item;
use super::transform::{self, Mapped, Translations};
use super::validation::{self, Checked};
use super::{Done, Pipeline, reconcile};
use crate::change::{Change, End, Op};
use crate::error::Result;
use crate::plugin::Plugins;
use crate::record::{Key, Record};
use crate::state::Counts;

impl Pipeline {
    /// Maps records that come from `from`; see [`transform::map_records`].
    ///
    /// # Errors
    /// Where a function cannot be called at all, or the state store cannot be read.
    pub async fn map_records(&self, from: End, records: &[&Record], plugins: &Arc<dyn Plugins>) -> Result<Vec<Mapped>> {
        let translations = self.translations(from, records).await?;
        transform::map_records(&self.binding, from, records, plugins, &translations).await
    }

    /// Maps records that come from `from` and checks them; see [`validation::check_records`].
    ///
    /// # Errors
    /// As [`Pipeline::map_records`].
    pub async fn check_records(&self, from: End, records: &[&Record], plugins: &Arc<dyn Plugins>) -> Result<Checked> {
        let translations = self.translations(from, records).await?;
        validation::check_records(&self.binding, from, records, plugins, &translations).await
    }

    /// Brings records of `end` to the other side that wait in a circle with others, without what they wait for.
    ///
    /// # Errors
    /// As `process`.
    pub async fn untie(&self, end: End, keys: Vec<Key>) -> Result<Counts> {
        let plugins = self.catalogue.snapshot();
        let mut done = Done::default();
        done.commit.counts.read = keys.len() as u64;
        let change = |key: Key| Change { key, op: Op::Upsert, at: None, image: None };
        let changes = keys.into_iter().map(change).collect();
        let mut items = self.gather(end, changes, &mut done).await?;
        items.iter_mut().for_each(Item::untie);
        self.settle(items, &plugins, &mut done).await?;
        done.commit.end = Some(end);
        done.commit.plugins = self.plugin_set(plugins.as_ref());
        self.commit(&done).await?;
        Ok(done.commit.counts)
    }

    async fn translations(&self, from: End, records: &[&Record]) -> Result<Translations> {
        let mut translations = Translations::default();
        for (place, mapping) in self.binding.mappings.iter().enumerate() {
            let Some(lookup) = mapping.lookup.as_ref().filter(|_| mapping.functions.get(from).is_some()) else {
                continue;
            };
            let value = |record: &&Record| reconcile::field(record, mapping.fields.get(from)).cloned();
            let values = records.iter().filter_map(value).filter(|value| !value.is_null());
            let keys: BTreeSet<Key> =
                values.filter_map(|value| Some(Key(vec![lookup.key(from, value).ok()?]))).collect();
            self.translate((place, lookup), from, keys.into_iter().collect(), &mut translations).await?;
        }
        Ok(translations)
    }

    async fn translate(
        &self,
        (place, lookup): (usize, &BoundLookup),
        from: End,
        keys: Vec<Key>,
        translations: &mut Translations,
    ) -> Result<()> {
        if keys.is_empty() {
            return Ok(());
        }
        let ends = |end: End| lookup.keys.get(end).0;
        let links = self.state.links(&lookup.pair, ends(from), &keys).await?;
        for (key, link) in keys.into_iter().zip(links) {
            // A tombstone is nobody's parent.
            let Some(link) = link.filter(|link| link.base.is_some()) else { continue };
            let other = link.keys.get(ends(from.other())).0.first().cloned();
            if let (Some(key), Some(other)) = (key.0.into_iter().next(), other) {
                translations.insert(place, key, other);
            }
        }
        Ok(())
    }
}
