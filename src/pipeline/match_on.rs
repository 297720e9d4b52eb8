//! `match_on`: the other side's record of one that has neither a link nor a correlation, by fields that mean the same on both sides
//! (row 6). Nothing is guessed: where several come into question on either side, a person says which.

use std::collections::{BTreeSet, HashMap};

use super::apply::key_of;
use super::binding::Binding;
use super::item::{Item, Now};
use super::reconcile::field;
use super::transform::Mapped;
use super::{Done, Pipeline};
use crate::change::{End, Ends};
use crate::error::Result;
use crate::record::{Key, Record};
use crate::value::Value;

/// A record that looks for its match.
struct Asker<'a, 'b> {
    item: &'a mut &'b mut Item,
    key: Key,
    /// The values of the fields, in each side's terms.
    values: Ends<Key>,
}

impl Pipeline {
    /// Gives each record of `end` the one record of the other side that has the same values, where neither has another partner.
    pub(super) async fn match_on(&self, mut alone: Vec<&mut Item>, end: End, done: &mut Done) -> Result<()> {
        let askers: Vec<Asker<'_, '_>> = alone.iter_mut().filter_map(|item| asker(&self.binding, end, item)).collect();
        if askers.is_empty() {
            return Ok(());
        }
        let values = |of: End| askers.iter().map(|asker| asker.values.get(of).clone()).collect::<Vec<Key>>();
        let found = Ends { source: values(End::Source), target: values(End::Target) };
        let mut found = Ends {
            source: self.free(End::Source, &found.source).await?,
            target: self.free(End::Target, &found.target).await?,
        };
        // Records that are told apart by their own spelling only, before it is mapped, are rivals too.
        let mut alike: HashMap<Key, BTreeSet<Key>> = HashMap::new();
        for asker in &askers {
            alike.entry(asker.values.get(end.other()).clone()).or_default().insert(asker.key.clone());
        }
        let rivals = std::mem::take(found.get_mut(end));
        let candidates = std::mem::take(found.get_mut(end.other()));
        for ((asker, rivals), candidates) in askers.into_iter().zip(rivals).zip(candidates) {
            let alike = alike.get(asker.values.get(end.other())).into_iter().flatten().cloned();
            let mut rivals: BTreeSet<Key> = rivals.into_iter().map(|(key, _)| key).chain(alike).collect();
            rivals.insert(asker.key.clone());
            pair_up(asker.item, &rivals, candidates, done);
        }
        Ok(())
    }

    /// Records of `end` with these values that have no partner: neither a live link nor one whom their correlation names.
    async fn free(&self, end: End, values: &[Key]) -> Result<Vec<Vec<(Key, Record)>>> {
        let found = self.targets.get(end).find(&fields(&self.binding, end), values).await?;
        let mut bound: BTreeSet<Key> = self.taken(end, &found).await?.into_keys().collect();
        let (mut keys, mut images, mut values) = (Vec::new(), Vec::new(), Vec::new());
        for record in found.iter().flatten() {
            if let (Some(key), Some(named)) = (key_of(&self.binding, end, record), named(&self.binding, end, record)) {
                keys.push(key);
                images.push(Some(record));
                values.push(named);
            }
        }
        if !values.is_empty() {
            let partners = self.partners(end, &images, values).await?;
            bound.extend(
                keys.into_iter().zip(partners).filter(|(_, partners)| !partners.is_empty()).map(|(key, _)| key),
            );
        }
        let free = |record: Record| {
            let key = key_of(&self.binding, end, &record)?;
            (!bound.contains(&key)).then_some((key, record))
        };
        Ok(found.into_iter().map(|records| records.into_iter().filter_map(free).collect()).collect())
    }
}

/// The fields of `end`.
fn fields(binding: &Binding, end: End) -> Vec<String> {
    let mappings = binding.match_on.iter().filter_map(|&place| binding.mappings.get(place));
    mappings.map(|mapping| mapping.fields.get(end).name.clone()).collect()
}

fn asker<'a, 'b>(binding: &Binding, end: End, item: &'a mut &'b mut Item) -> Option<Asker<'a, 'b>> {
    if binding.match_on.is_empty() {
        return None;
    }
    let key = item.keys.get(end).clone()?;
    let own = |record: &Record, place: usize| said(field(record, binding.mappings.get(place)?.fields.get(end))?);
    let theirs = |cells: &Mapped, place: usize| said(cells.get(place)?.as_ref().ok()?.as_ref()?);
    let places = || binding.match_on.iter().copied();
    let image = item.image(end)?;
    let own = places().map(|place| own(image, place)).collect::<Option<Vec<Value>>>().map(Key)?;
    let cells = item.mapped.get(end).as_ref()?;
    let theirs = places().map(|place| theirs(cells, place)).collect::<Option<Vec<Value>>>().map(Key)?;
    let mut values = Ends { source: own, target: theirs };
    if end == End::Target {
        std::mem::swap(&mut values.source, &mut values.target);
    }
    Some(Asker { item, key, values })
}

/// A value that says something: null and blank text are equal in many records that have nothing to do with each other.
fn said(value: &Value) -> Option<Value> {
    let blank = matches!(value, Value::Text(text) if text.trim().is_empty());
    (!blank && !value.is_null()).then(|| value.clone())
}

/// The other side's correlation value of the record that this one names as its partner.
fn named(binding: &Binding, end: End, record: &Record) -> Option<Key> {
    let part = |name: &String| {
        let mapping = binding.mappings.iter().find(|one| one.correlation && &one.fields.get(end).name == name)?;
        let value = field(record, mapping.fields.get(end))?.clone();
        value.convert(mapping.fields.get(end.other()).kind).ok().filter(|value| !value.is_null())
    };
    binding.correlation.get(end).iter().map(part).collect::<Option<Vec<_>>>().map(Key)
}

fn pair_up(item: &mut Item, rivals: &BTreeSet<Key>, mut candidates: Vec<(Key, Record)>, done: &mut Done) {
    let end = item.origin;
    let count = candidates.len();
    match (candidates.pop(), count, rivals.len()) {
        (None, ..) => {}
        (Some((key, record)), 1, 1) => {
            *item.keys.get_mut(end.other()) = Some(key);
            *item.now.get_mut(end.other()) = Now::Known(Some(record));
        }
        (Some(last), ..) => {
            let keys: BTreeSet<Key> = candidates.into_iter().chain([last]).map(|(key, _)| key).collect();
            let (own, others) = (list(rivals), list(&keys));
            let text = format!(
                "the fields of \"match_on\" do not tell which belong together: {} {own}, {} {others}",
                end.name(),
                end.other().name()
            );
            item.puzzle("match.ambiguous", text, done);
        }
    }
}

/// Keys for people, a few of them.
fn list(keys: &BTreeSet<Key>) -> String {
    const NAMED_MAX: usize = 5;
    let named: Vec<String> = keys.iter().take(NAMED_MAX).map(ToString::to_string).collect();
    let more = if keys.len() > NAMED_MAX { format!(" and {} more", keys.len() - NAMED_MAX) } else { String::new() };
    format!("{}{more}", named.join(", "))
}
