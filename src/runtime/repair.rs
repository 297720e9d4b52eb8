//! Repairs what an audit found to differ, by looking at these records again through the pipeline: never by blind writes.

use std::sync::Arc;
use std::time::Duration;

use super::open::OpenPair;
use crate::change::{Change, End, Op};
use crate::error::Result;
use crate::pipeline::{Batch, Pipeline};
use crate::record::Key;
use crate::state::Counts;

/// What a repair did.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Repaired {
    /// Records that were looked at again.
    pub looked_at: u64,
    /// What came of it.
    pub counts: Counts,
}

/// Looks at records again, on the side that has them and on the one that they are linked to, at most `rate` a second, but for those
/// of which `is_decided` says that they need no more looks: a rehearsal would tell them twice.
///
/// What was agreed under another mapping flows once more, as in a load. A copy's records that only the target has stay: no record of the
/// source leads to them.
///
/// # Errors
/// Where a side, the state or a plugin cannot be used; what was committed stays.
pub async fn repair(
    pair: &mut OpenPair,
    differing: &[(End, Key)],
    rate: Option<u32>,
    is_decided: &(dyn Fn(End, &Key) -> bool + Sync),
) -> Result<Repaired> {
    Arc::make_mut(&mut pair.pipeline.binding).renewed = true;
    let done = look_again(&pair.pipeline, (pair.config.batch_size, rate), differing, is_decided).await;
    Arc::make_mut(&mut pair.pipeline.binding).renewed = false;
    done
}

pub(super) async fn look_again(
    pipeline: &Pipeline,
    (batch_size, rate): (usize, Option<u32>),
    differing: &[(End, Key)],
    is_decided: &(dyn Fn(End, &Key) -> bool + Sync),
) -> Result<Repaired> {
    let per_second = rate.map(|rate| usize::try_from(rate.max(1)).unwrap_or(usize::MAX));
    let size = per_second.map_or(batch_size, |rate| rate.min(batch_size)).max(1);
    let mut repaired = Repaired::default();
    for (place, part) in differing.chunks(size).enumerate() {
        if let Some(rate) = per_second.filter(|_| place > 0) {
            let share = u32::try_from(size.saturating_mul(1_000) / rate).unwrap_or(1_000);
            tokio::time::sleep(Duration::from_millis(u64::from(share))).await;
        }
        for end in [End::Source, End::Target] {
            let keys: Vec<Key> = part.iter().filter(|(of, _)| *of == end).map(|(_, key)| key.clone()).collect();
            repaired.looked_at += keys.len() as u64;
            let links = pipeline.state.links(&pipeline.binding.pair, end, &keys).await?;
            let others = links.into_iter().flatten().filter(|link| link.base.is_some());
            let others: Vec<Key> = others.map(|link| link.keys.get(end.other()).clone()).collect();
            for (end, mut keys) in [(end, keys), (end.other(), others)] {
                keys.retain(|key| !is_decided(end, key));
                if *pipeline.binding.flows.get(end) && !keys.is_empty() {
                    repaired.counts.add(&pipeline.process(as_if_changed(end, keys)).await?);
                }
            }
        }
    }
    Ok(repaired)
}

/// A batch that says of each key: look at it.
fn as_if_changed(end: End, keys: Vec<Key>) -> Batch {
    let changes = keys.into_iter().map(|key| Change { key, op: Op::Upsert, at: None, image: None }).collect();
    Batch { end, changes, through: None }
}
