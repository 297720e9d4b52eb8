//! Compares both sides through the mapping: two ordered streams are merged, so that no table is ever in memory.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::sync::Arc;

use serde::Serialize;

use super::open::same_order;
use crate::change::{End, Ends};
use crate::connector::{Scan, ScanOrder, Schema};
use crate::error::Result;
use crate::pipeline::binding::Binding;
use crate::pipeline::reconcile::{field, group_agrees};
use crate::pipeline::rollout::Candidate;
use crate::pipeline::transform::Mapped;
use crate::pipeline::{Pipeline, apply};
use crate::plugin::Plugins;
use crate::record::{Key, KeyRange, Record};
use crate::value::{Kind, Value, canonical_decimal};

/// Records read of each side at a time.
const BATCH: usize = 2_000;

/// At most this many differing records are named in a report.
const NAMED_MAX: usize = 20;

/// What an audit found. `compared` is the sum of the others.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// Name of the pair.
    pub pair: String,
    /// Records looked at: those of both sides with equal keys count once.
    pub compared: u64,
    /// Equal under the mapping.
    pub matching: u64,
    /// On the target only.
    pub missing_in_source: u64,
    /// On the source only.
    pub missing_in_target: u64,
    /// On both sides, and not equal.
    pub different: u64,
    /// Not equal or on one side only, but waiting for a person.
    pub in_review: u64,
    /// Not equal or on one side only, but held back by the rollout.
    pub held: u64,
    /// Some of those that differ: their keys, and the fields at fault.
    pub samples: Vec<Difference>,
    /// Records that differ and are in nobody's review: primary keys, of both sides where both have one.
    #[serde(skip)]
    pub differing: Vec<(End, Key)>,
}

/// One record that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// `missing_in_source`, `missing_in_target` or `different`.
    pub kind: &'static str,
    /// Its correlation value.
    pub key: String,
    /// Target's names of the fields that differ.
    pub fields: Vec<String>,
}

impl Report {
    /// Whether nothing differs but what is in review.
    pub fn equal(&self) -> bool {
        self.missing_in_source + self.missing_in_target + self.different == 0
    }
}

/// Compares the two sides of an open pair. Of `differing_max` records that differ the keys are kept.
///
/// # Errors
/// Where a side cannot be read.
pub async fn audit(pipeline: &Pipeline, schemas: &Ends<Schema>, differing_max: usize) -> Result<Report> {
    let binding = &pipeline.binding;
    let plugins = pipeline.catalogue.snapshot();
    let as_text = binding
        .mappings
        .iter()
        .any(|mapping| mapping.correlation && !same_order(mapping.fields.source.kind, mapping.fields.target.kind));
    let mut streams = Ends {
        source: Stream::open(pipeline, End::Source, as_text).await?,
        target: Stream::open(pipeline, End::Target, as_text).await?,
    };
    let mut merge = Merge {
        pipeline,
        plugins,
        report: Report { pair: binding.pair.to_string(), ..Report::default() },
        doubtful: Vec::new(),
        keep: differing_max,
    };
    loop {
        streams.source.fill(merge.pipeline, &merge.plugins).await?;
        streams.target.fill(merge.pipeline, &merge.plugins).await?;
        let order = match (streams.source.ready.front(), streams.target.ready.front()) {
            (None, None) => break,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some(source), Some(target)) => compare(&source.order, &target.order, as_text),
        };
        let source = if order == Ordering::Greater { None } else { streams.source.ready.pop_front() };
        let target = if order == Ordering::Less { None } else { streams.target.ready.pop_front() };
        merge.add(source, target);
        if merge.doubtful.len() >= BATCH {
            merge.settle().await?;
        }
    }
    merge.settle().await?;
    if binding.flows.target && nullable(binding, &schemas.target) {
        merge.unmatched_target(pipeline).await?;
    }
    Ok(merge.report)
}

/// Whether the target may hold records without a correlation value: the ordered scan leaves them out.
fn nullable(binding: &Binding, schema: &Schema) -> bool {
    binding.correlation.target.iter().any(|name| schema.column(name).is_some_and(|column| column.nullable))
}

fn compare(a: &Key, b: &Key, as_text: bool) -> Ordering {
    if !as_text {
        return a.cmp(b);
    }
    let text = |key: &Key| key.0.iter().map(ordered_text).collect::<Vec<_>>();
    text(a).cmp(&text(b))
}

/// The canonical text. Systems print a number with zeros at its end, or without.
fn ordered_text(value: &Value) -> String {
    let text = value.to_text().unwrap_or_default();
    if value.kind() == Kind::Decimal { canonical_decimal(&text) } else { text }
}

/// A record of one side, with what it is ordered by: its correlation value in the target's terms.
struct Row {
    order: Key,
    record: Record,
    mapped: Option<Mapped>,
}

/// One side, in correlation order.
struct Stream {
    end: End,
    scan: Box<dyn Scan>,
    ready: VecDeque<Row>,
    ended: bool,
}

impl Stream {
    async fn open(pipeline: &Pipeline, end: End, as_text: bool) -> Result<Self> {
        let fields = pipeline.binding.correlation.get(end).clone();
        let scan = pipeline.targets.get(end).scan(ScanOrder::Fields { fields, as_text }).await?;
        Ok(Self { end, scan, ready: VecDeque::new(), ended: false })
    }

    async fn fill(&mut self, pipeline: &Pipeline, plugins: &Arc<dyn Plugins>) -> Result<()> {
        while self.ready.is_empty() && !self.ended {
            let records = self.scan.next(BATCH).await?;
            self.ended = records.is_empty();
            let mapped = match self.end {
                End::Source => {
                    let records: Vec<&Record> = records.iter().collect();
                    let checked = pipeline.check_records(End::Source, &records, plugins).await?;
                    checked.mapped.into_iter().map(Some).collect()
                }
                End::Target => vec![None; records.len()],
            };
            for (record, mapped) in records.into_iter().zip(mapped) {
                let key = order_of(&pipeline.binding, self.end, &record);
                self.ready.extend(key.map(|order| Row { order, record, mapped }));
            }
        }
        Ok(())
    }
}

/// The correlation value in the target's kinds.
fn order_of(binding: &Binding, end: End, record: &Record) -> Option<Key> {
    let kind = |name: &String| {
        let mapping =
            binding.mappings.iter().find(|mapping| mapping.correlation && &mapping.fields.get(end).name == name)?;
        Some(mapping.fields.target.kind)
    };
    let part = |name: &String| record.get(name)?.clone().convert(kind(name)?).ok();
    binding.correlation.get(end).iter().map(part).collect::<Option<Vec<_>>>().map(Key)
}

struct Doubt {
    kind: &'static str,
    key: Key,
    fields: Vec<usize>,
    records: Ends<Option<Record>>,
}

struct Merge<'a> {
    pipeline: &'a Pipeline,
    plugins: Arc<dyn Plugins>,
    report: Report,
    /// Seem to differ: looked at again in batches, for reviews and for what only the way back explains.
    doubtful: Vec<Doubt>,
    /// So many records that differ are still to be kept.
    keep: usize,
}

impl Merge<'_> {
    fn add(&mut self, source: Option<Row>, target: Option<Row>) {
        self.report.compared += 1;
        if self.is_marked(End::Source, source.as_ref(), target.is_none())
            || self.is_marked(End::Target, target.as_ref(), source.is_none())
        {
            self.report.matching += 1;
            return;
        }
        let (kind, key, fields) = match (&source, &target) {
            (Some(one), Some(other)) => {
                let fields = self.differing(one, &other.record);
                if fields.is_empty() {
                    self.report.matching += 1;
                    return;
                }
                ("different", one.order.clone(), fields)
            }
            (Some(one), None) => ("missing_in_target", one.order.clone(), Vec::new()),
            (None, Some(other)) => ("missing_in_source", other.order.clone(), Vec::new()),
            (None, None) => return,
        };
        let records = Ends { source: source.map(|row| row.record), target: target.map(|row| row.record) };
        self.doubtful.push(Doubt { kind, key, fields, records });
    }

    /// Whether a record that is alone is marked as deleted.
    fn is_marked(&self, end: End, row: Option<&Row>, alone: bool) -> bool {
        alone && row.is_some_and(|row| self.pipeline.binding.is_marked(end, &row.record))
    }

    /// Mappings that reach the target and whose value is not what the source maps to; behind them, groups of computed fields.
    fn differing(&self, source: &Row, target: &Record) -> Vec<usize> {
        let mappings = self.pipeline.binding.mappings.iter().enumerate();
        mappings
            .filter(|(index, mapping)| {
                if mapping.functions.source.is_none() {
                    return mapping.functions.target.is_some();
                }
                let now = field(target, &mapping.fields.target).unwrap_or(&Value::Null);
                match source.mapped.as_ref().and_then(|cells| cells.get(*index)) {
                    Some(Ok(Some(value))) => value != now,
                    Some(Ok(None)) | None => false,
                    Some(Err(_)) => true,
                }
            })
            .map(|(index, _)| index)
            .chain(self.differing_groups(source, target))
            .collect()
    }

    /// Groups whose computed fields are not what the source makes: numbered behind the mappings.
    fn differing_groups(&self, source: &Row, target: &Record) -> Vec<usize> {
        let binding = &self.pipeline.binding;
        let groups = binding.groups.iter().enumerate();
        let differs = groups.filter(|(_, group)| {
            let cells = source.mapped.as_ref();
            !cells.is_some_and(|cells| group_agrees(binding, group, End::Source, cells, target))
        });
        differs.map(|(place, _)| binding.mappings.len() + place).collect()
    }

    /// Looks at the doubtful again: a field that flows both ways is equal too if the target's value maps to the source's.
    async fn settle(&mut self) -> Result<()> {
        let doubtful = std::mem::take(&mut self.doubtful);
        let binding = &self.pipeline.binding;
        let targets: Vec<&Record> = doubtful.iter().filter_map(|doubt| doubt.records.target.as_ref()).collect();
        let mut back = self.pipeline.check_records(End::Target, &targets, &self.plugins).await?.mapped.into_iter();
        let mut open = Vec::new();
        for mut doubt in doubtful {
            let back = if doubt.records.target.is_some() { back.next() } else { None };
            if let (Some(source), Some(cells)) = (&doubt.records.source, back) {
                doubt.fields.retain(|index| {
                    let group = index.checked_sub(binding.mappings.len()).and_then(|place| binding.groups.get(place));
                    if let Some(group) = group {
                        return !group_agrees(binding, group, End::Target, &cells, source);
                    }
                    let of = binding.mappings.get(*index).map(|mapping| &mapping.fields.source);
                    let now = of.and_then(|of| field(source, of)).unwrap_or(&Value::Null);
                    !matches!(cells.get(*index), Some(Ok(Some(value))) if value == now)
                });
            }
            if doubt.kind == "different" && doubt.fields.is_empty() {
                self.report.matching += 1;
            } else {
                open.push(doubt);
            }
        }
        self.count(open).await
    }

    async fn count(&mut self, open: Vec<Doubt>) -> Result<()> {
        let reviews = Ends {
            source: self.in_review(End::Source, &open).await?,
            target: self.in_review(End::Target, &open).await?,
        };
        let held = self.held_back(&open).await?;
        let aside = reviews.source.into_iter().zip(reviews.target).map(|(source, target)| source || target);
        for ((doubt, in_review), held) in open.into_iter().zip(aside).zip(held) {
            let counter = match doubt.kind {
                _ if held => &mut self.report.held,
                _ if in_review => &mut self.report.in_review,
                "different" => &mut self.report.different,
                "missing_in_source" => &mut self.report.missing_in_source,
                _ => &mut self.report.missing_in_target,
            };
            let aside = held || in_review;
            *counter += 1;
            if !aside && self.keep > 0 {
                self.keep -= 1;
                let binding = &self.pipeline.binding;
                let key = |end: End| Some((end, apply::key_of(binding, end, doubt.records.get(end).as_ref()?)?));
                self.report.differing.extend([End::Source, End::Target].into_iter().filter_map(key));
            }
            if !aside && self.report.samples.len() < NAMED_MAX {
                let name = |index: &usize| {
                    let binding = &self.pipeline.binding;
                    let mapped = binding.mappings.get(*index).map(|mapping| mapping.fields.target.name.clone());
                    mapped.or_else(|| Some("computed fields".to_owned()))
                };
                let fields = doubt.fields.iter().filter_map(name).collect();
                self.report.samples.push(Difference { kind: doubt.kind, key: doubt.key.to_string(), fields });
            }
        }
        Ok(())
    }

    async fn held_back(&self, doubts: &[Doubt]) -> Result<Vec<bool>> {
        if self.pipeline.rollout.is_whole() {
            return Ok(vec![false; doubts.len()]);
        }
        fn candidate(doubt: &Doubt) -> Candidate<'_> {
            Candidate { now: Ends::from_fn(|end| doubt.records.get(end).as_ref()), base: None }
        }
        let candidates: Vec<Candidate<'_>> = doubts.iter().map(candidate).collect();
        self.pipeline.held_back(&candidates).await
    }

    async fn in_review(&self, end: End, doubts: &[Doubt]) -> Result<Vec<bool>> {
        let binding = &self.pipeline.binding;
        let key =
            |doubt: &Doubt| doubt.records.get(end).as_ref().and_then(|record| apply::key_of(binding, end, record));
        let (places, keys): (Vec<usize>, Vec<Key>) =
            doubts.iter().enumerate().filter_map(|(place, doubt)| Some((place, key(doubt)?))).unzip();
        let mut answers = vec![false; doubts.len()];
        for (place, answer) in places.into_iter().zip(self.pipeline.state.in_review(&binding.pair, end, &keys).await?) {
            if let Some(slot) = answers.get_mut(place) {
                *slot = answer;
            }
        }
        Ok(answers)
    }

    /// Records of the target that have no correlation value, so that no record of the source can be theirs.
    async fn unmatched_target(&mut self, pipeline: &Pipeline) -> Result<()> {
        let mut scan = pipeline.targets.target.scan(ScanOrder::Key(KeyRange::ALL)).await?;
        loop {
            let records = scan.next(BATCH).await?;
            if records.is_empty() {
                return Ok(());
            }
            let alone = records.into_iter().filter(|record| order_of(&pipeline.binding, End::Target, record).is_none());
            let doubt = |record: Record| Doubt {
                kind: "missing_in_source",
                key: apply::key_of(&pipeline.binding, End::Target, &record).unwrap_or(Key(Vec::new())),
                fields: Vec::new(),
                records: Ends { source: None, target: Some(record) },
            };
            let open: Vec<Doubt> = alone.map(doubt).collect();
            self.report.compared += open.len() as u64;
            self.count(open).await?;
        }
    }
}
