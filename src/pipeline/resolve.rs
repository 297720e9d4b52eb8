//! Asks the plugins' resolvers about contested fields, one call a resolver and batch (row 6).

use std::sync::Arc;

use super::binding::BoundField;
use super::item::{Item, Step};
use super::reconcile::{self, Answer};
use super::transform::{self, Mapped, Stage};
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
    /// The record with the resolver's own values in it, as each end is to have it; `None` where it has none.
    cells: Ends<Option<Mapped>>,
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
            Asked { item, open, chosen, cells: Ends::default(), said }
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

    /// Turns choices into what each side is to have. A value of the resolver's own is held to the rules as an edit of the source would
    /// be, and reaches the source as an edit of the target would: through the mapping and the rules.
    async fn carry(&self, asked: &mut [Asked<'_>], plugins: &Arc<dyn Plugins>, place: usize) -> Result<()> {
        let mut edited: Vec<(&mut Asked<'_>, Record)> =
            asked.iter_mut().filter_map(|one| self.edited(one).map(|record| (one, record))).collect();
        let terms = edited.iter().map(|(_, record)| self.terms(record)).collect();
        let checked = validation::check_mapped(&self.binding, End::Source, terms, plugins).await?;
        for ((one, record), (cells, warnings)) in edited.iter_mut().zip(checked.into_cells()) {
            self.accept(record, &cells);
            one.item.warn(End::Source, warnings);
            one.cells.target = Some(cells);
        }
        let records: Vec<&Record> = edited.iter().map(|(_, record)| record).collect();
        let checked = self.check_records(End::Target, &records, plugins).await?;
        for ((one, _), (cells, warnings)) in edited.into_iter().zip(checked.into_cells()) {
            one.item.warn(End::Target, warnings);
            one.cells.source = Some(cells);
        }
        self.settle_asked(asked, place);
        Ok(())
    }

    /// A record of the target as it would be written there.
    fn terms(&self, record: &Record) -> Mapped {
        let mapped = self.binding.mappings.iter().map(|mapping| &mapping.fields.target);
        let made = self.binding.computed.iter().filter(|one| one.from == End::Source).flat_map(|one| &one.outputs);
        mapped.chain(made).map(|of| Ok(reconcile::field(record, of).cloned())).collect()
    }

    /// What a rule has put in a value's place goes to both sides.
    fn accept(&self, record: &mut Record, cells: &Mapped) {
        for (mapping, cell) in self.binding.mappings.iter().zip(cells) {
            if let Ok(Some(value)) = cell {
                record.set(&mapping.fields.target.name, value.clone());
            }
        }
    }

    fn settle_asked(&self, asked: &mut [Asked<'_>], place: usize) {
        for one in asked {
            let settled = std::mem::take(&mut one.chosen);
            let answers: Vec<(usize, Answer)> = settled
                .into_iter()
                .filter_map(|(field, choice)| Some((field, self.answer(one, field, choice)?)))
                .collect();
            // One field that is left to a person leaves the record to it.
            let complete = answers.len() == one.open.len();
            one.item.answer((place, one.said.clone()), if complete { answers } else { Vec::new() });
            let times = one.item.times;
            one.item.decide(&self.binding, times);
        }
    }

    /// `None`: a base that there is not.
    fn answer(&self, asked: &Asked<'_>, place: usize, choice: Choice) -> Option<Answer> {
        let mapping = self.binding.mappings.get(place)?;
        let base = |end: End| {
            let base = asked.item.base.as_ref()?;
            reconcile::field(base.get(end), mapping.fields.get(end)).cloned()
        };
        Some(match choice {
            Choice::Source => Answer { winner: Winner::Source, cells: Ends::default(), person: false },
            Choice::Target => Answer { winner: Winner::Target, cells: Ends::default(), person: false },
            Choice::Base => {
                let cells =
                    Ends { source: Some(Ok(Some(base(End::Source)?))), target: Some(Ok(Some(base(End::Target)?))) };
                Answer { winner: Winner::Base, cells, person: false }
            }
            Choice::Custom(value) => {
                let of = &mapping.fields.target;
                let cell = |end: End| asked.cells.get(end).as_ref().and_then(|cells| cells.get(place)).cloned();
                let unfit = transform::fit(Some(value), &of.name, of).err().map(Err);
                let target = unfit.or_else(|| cell(End::Target));
                Answer { winner: Winner::Merged, cells: Ends { source: cell(End::Source), target }, person: false }
            }
        })
    }

    /// The target's record with the values of the resolver's own in it, where there are any, and with what else comes from the source.
    fn edited(&self, asked: &Asked<'_>) -> Option<Record> {
        let target = |place: usize| self.binding.mappings.get(place).map(|mapping| &mapping.fields.target);
        let own = |(place, choice): &(usize, Choice)| match choice {
            Choice::Custom(value) => target(*place).and_then(|of| Some((of, value.clone().convert(of.kind).ok()?))),
            Choice::Base | Choice::Source | Choice::Target => None,
        };
        let own: Vec<(&BoundField, Value)> = asked.chosen.iter().filter_map(own).collect();
        if own.is_empty() {
            return None;
        }
        let mut record = asked.item.image(End::Target)?.clone();
        let flowing = asked.item.flowing(&self.binding).filter(|(place, _)| !asked.open.contains(place));
        let flowing = flowing.filter_map(|(place, value)| Some((target(place)?, value.clone())));
        for (of, value) in flowing.chain(own) {
            record.set(&of.name, value);
        }
        Some(record)
    }
}
