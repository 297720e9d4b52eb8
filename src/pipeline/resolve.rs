//! Asks the plugins' resolvers about contested fields, one call a resolver and batch (row 6).

use std::sync::Arc;

use super::item::{Item, Step};
use super::reconcile::{self, Answer};
use super::transform::{self, Stage};
use super::{Pipeline, validation};
use crate::change::{End, Ends};
use crate::error::Result;
use crate::plugin::{Choice, Contested, FunctionRef, Plugins, Resolution};
use crate::record::Record;
use crate::state::{Resolver, Winner};
use crate::value::Value;

/// A contested record that a resolver was asked about: its fields, and what was chosen for them.
struct Asked<'a> {
    item: &'a mut Item,
    open: Vec<usize>,
    chosen: Vec<(usize, Choice)>,
    said: Resolver,
}

impl Pipeline {
    /// Hands the open items' contested fields to their resolvers and decides once more. What is not settled then waits in review.
    pub(super) async fn ask_resolvers(&self, items: &mut [Item], plugins: &Arc<dyn Plugins>) -> Result<()> {
        for (place, resolver) in self.binding.resolvers.iter().enumerate() {
            let asking = items.iter_mut().filter(|item| item.step == Step::Open).filter_map(|item| {
                let open = item.open(place);
                (!open.is_empty()).then_some((item, open))
            });
            let asking: Vec<(&mut Item, Vec<usize>)> = asking.collect();
            if !asking.is_empty() {
                let mut asked = self.ask_resolver(resolver, asking, plugins).await?;
                self.carry(&mut asked, plugins, place).await?;
            }
        }
        Ok(())
    }

    async fn ask_resolver<'a>(
        &self,
        resolver: &FunctionRef,
        asking: Vec<(&'a mut Item, Vec<usize>)>,
        plugins: &Arc<dyn Plugins>,
    ) -> Result<Vec<Asked<'a>>> {
        let stage = Stage::new(&self.binding, End::Source, plugins);
        let contested = asking.iter().map(|(item, open)| self.contested(item, open)).collect();
        let answers = plugins.resolve(resolver, &stage.context, contested).await;
        let answers = answers.map_err(|error| transform::unusable(resolver, &error))?;
        let digest = plugins.info(&resolver.name).ok().map(|info| info.digest);
        let asked = asking.into_iter().zip(answers).map(|((item, open), answer)| {
            let (fields, reason) = match answer {
                Ok(Resolution::Settled { fields, reason }) => (fields, reason),
                Ok(Resolution::Review { reason }) => (Vec::new(), reason),
                Err(error) => (Vec::new(), format!("{}: {} [{}]", resolver.name, error.message, error.code)),
            };
            let name = |place: usize| self.binding.mappings.get(place).map(|mapping| &mapping.fields.target.name);
            let mut fields = fields;
            let mut choice = |place: usize| {
                let found = fields.iter().position(|(field, _)| Some(field) == name(place))?;
                Some((place, fields.swap_remove(found).1))
            };
            let chosen = open.iter().filter_map(|place| choice(*place)).collect();
            let said = Resolver { name: resolver.name.clone(), digest: digest.clone(), reason };
            Asked { item, open, chosen, said }
        });
        Ok(asked.collect())
    }

    /// A record as a resolver sees it: all in the target's terms.
    fn contested(&self, item: &Item, open: &[usize]) -> Contested {
        let binding = &self.binding;
        let fields = || binding.mappings.iter().map(|mapping| &mapping.fields.target).enumerate();
        let of_target = |record: &Record| {
            Record::of(fields().filter_map(|(_, of)| Some((of.name.as_str(), reconcile::field(record, of)?.clone()))))
        };
        let source = item.mapped.source.as_ref().map(|cells| {
            let cell = |place: usize| cells.get(place)?.as_ref().ok()?.clone();
            Record::of(fields().filter_map(|(place, of)| Some((of.name.as_str(), cell(place)?))))
        });
        let nothing = || Record::of::<&str>([]);
        let target = item.image(End::Target).map(of_target).unwrap_or_else(nothing);
        let key = binding.correlation.target.iter().filter_map(|name| Some((name, target.get(name)?.clone())));
        Contested {
            key: Record::of(key),
            base: item.base.as_ref().map(|base| of_target(&base.target)),
            values: Ends { source: source.unwrap_or_else(nothing), target: target.clone() },
            modified: item.times,
            fields: fields().filter(|(place, _)| open.contains(place)).map(|(_, of)| of.name.clone()).collect(),
        }
    }

    /// Turns choices into what each side is to have. A value of the resolver's own reaches the source as an edit of the target would:
    /// through the mapping and the rules.
    async fn carry(&self, asked: &mut [Asked<'_>], plugins: &Arc<dyn Plugins>, place: usize) -> Result<()> {
        let edited: Vec<Option<Record>> = asked.iter().map(|one| self.edited(one)).collect();
        let records: Vec<&Record> = edited.iter().flatten().collect();
        let checked = validation::check_records(&self.binding, End::Target, &records, plugins).await?;
        let mut back = checked.into_cells().into_iter();
        for (one, edited) in asked.iter_mut().zip(edited) {
            let cells = if edited.is_some() { back.next() } else { None };
            let answer = |(field, choice): (usize, Choice)| {
                let mapping = self.binding.mappings.get(field)?;
                let base = |end: End| {
                    let base = one.item.base.as_ref()?;
                    reconcile::field(base.get(end), mapping.fields.get(end)).cloned()
                };
                let (winner, cells) = match choice {
                    Choice::Source => (Winner::Source, Ends::default()),
                    Choice::Target => (Winner::Target, Ends::default()),
                    Choice::Base => (Winner::Base, Ends::from_fn(|end| base(end).map(|value| Ok(Some(value))))),
                    Choice::Custom(value) => {
                        let of = &mapping.fields.target;
                        let target = transform::fit(Some(value), &of.name, of);
                        let source = cells.as_ref().and_then(|cells| cells.get(field)).cloned();
                        (Winner::Merged, Ends { source, target: Some(target) })
                    }
                };
                Some((field, Answer { winner, cells }))
            };
            let settled = std::mem::take(&mut one.chosen);
            let complete = settled.len() == one.open.len();
            let answers: Vec<(usize, Answer)> =
                if complete { settled.into_iter().filter_map(answer).collect() } else { Vec::new() };
            one.item.answer((place, one.said.clone()), answers);
            let times = one.item.times;
            one.item.decide(&self.binding, times);
        }
        Ok(())
    }

    /// The target's record with the values of the resolver's own in it, where there are any.
    fn edited(&self, asked: &Asked<'_>) -> Option<Record> {
        let own = |(place, choice): &(usize, Choice)| -> Option<(usize, Value)> {
            let of = &self.binding.mappings.get(*place)?.fields.target;
            match choice {
                Choice::Custom(value) => Some((of.position, value.clone().convert(of.kind).ok()?)),
                Choice::Base | Choice::Source | Choice::Target => None,
            }
        };
        let own: Vec<(usize, Value)> = asked.chosen.iter().filter_map(own).collect();
        if own.is_empty() {
            return None;
        }
        let now = asked.item.image(End::Target)?;
        let mut values = now.values().to_vec();
        for (place, value) in own {
            if let Some(slot) = values.get_mut(place) {
                *slot = Some(value);
            }
        }
        Some(Record::new(Arc::clone(now.layout()), values))
    }
}
