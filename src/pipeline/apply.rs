//! Stage 7: decisions become guarded writes, and a batch that one record spoils is halved until only that record fails.

use crate::change::End;
use crate::connector::{Capabilities, Mark, Target, Upserted, Write, WriteOutcome};
use crate::error::{ErrorKind, Result, SyncError};
use crate::record::{Key, Record};

use super::binding::Binding;
use super::reconcile::{self, Intent};

/// The write that carries out `intent` at `end`, where `now` is the image it assumes. `None` where an update or delete has no key to go by, which cannot be.
pub fn write(binding: &Binding, end: End, intent: Intent, now: Option<&Record>) -> Option<Write> {
    // One-way pairs are meant to overwrite; two-way ones never do so blindly (I6).
    let guarded = *binding.flows.get(end);
    let guard = || now.filter(|_| guarded).map(|now| assumption(binding, end, now));
    let key = || now.and_then(|now| key_of(binding, end, now));
    Some(match intent {
        Intent::Create(record) => Write::Create { record },
        Intent::Update(fields) => Write::Update { key: key()?, fields, guard: guard() },
        Intent::Delete => Write::Delete { key: key()?, guard: guard() },
    })
}

/// The primary key of an image.
pub fn key_of(binding: &Binding, end: End, record: &Record) -> Option<Key> {
    let value = |&place: &usize| record.values().get(place).cloned().flatten().filter(|value| !value.is_null());
    binding.keys.get(end).iter().map(value).collect::<Option<Vec<_>>>().map(Key)
}

/// Names of the primary key's fields.
pub fn key_names(binding: &Binding, end: End) -> impl Iterator<Item = &str> {
    binding.keys.get(end).iter().filter_map(move |&place| binding.layouts.get(end).get(place).map(|name| &**name))
}

/// The fields of an image that the pair reads or writes.
fn assumption(binding: &Binding, end: End, now: &Record) -> Record {
    let mapped = binding.mappings.iter().map(|mapping| mapping.fields.get(end));
    let computed = binding.computed.iter().flat_map(|one| if one.from == end { &one.inputs } else { &one.outputs });
    let fields = mapped.chain(computed);
    binding.record(end, fields.filter_map(|of| Some((of.position, reconcile::field(now, of)?))))
}

/// Writes all, in order, under `mark`; a refused batch is halved until only the guilty record fails.
///
/// # Errors
/// Where the system cannot be written to at all.
pub async fn write_all(target: &dyn Target, writes: &[Write], mark: Option<Mark<'_>>) -> Result<Vec<WriteOutcome>> {
    let mut outcomes = Vec::with_capacity(writes.len());
    let mut rest: Vec<&[Write]> = writes.chunks(at_once(target, writes)).rev().collect();
    while let Some(part) = rest.pop() {
        let mark = mark.map(|mark| Mark { first: mark.first + outcomes.len(), ..mark });
        match target.write_marked(part, mark).await {
            Ok(done) if done.len() == part.len() => outcomes.extend(done),
            Ok(done) => return Err(SyncError::internal(format!("{} writes had {} outcomes", part.len(), done.len()))),
            Err(error) if error.kind != ErrorKind::InvalidRecord => return Err(error),
            Err(error) if part.len() == 1 => outcomes.push(WriteOutcome::Failed(error)),
            Err(_) => {
                let (first, second) = part.split_at(part.len() / 2);
                rest.push(second);
                rest.push(first);
            }
        }
    }
    Ok(outcomes)
}

/// Writes of one call: more where there are so many creates that the system has a cheaper way for them.
fn at_once(target: &dyn Target, writes: &[Write]) -> usize {
    let Capabilities { batch, bulk, .. } = target.capabilities();
    let creates = || writes.iter().filter(|write| matches!(write, Write::Create { .. })).count();
    bulk.filter(|bulk| creates() >= bulk.least).map_or(batch, |bulk| bulk.batch).max(1)
}

/// Upserts all, which is to be settled before anybody counts on it; a refused batch is halved until only the guilty records fail. Returns
/// them by their place.
///
/// # Errors
/// Where the system cannot be written to at all.
pub async fn upsert_all(target: &dyn Target, records: &[Record]) -> Result<(Upserted, Vec<(usize, SyncError)>)> {
    let (mut sum, mut failed) = (Upserted::default(), Vec::new());
    let mut rest: Vec<(usize, &[Record])> = vec![(0, records)];
    while let Some((start, part)) = rest.pop() {
        if part.is_empty() {
            continue;
        }
        match target.upsert_unsettled(part).await {
            Ok(done) => {
                sum.written += done.written;
                sum.unchanged += done.unchanged;
                failed.extend(done.refused.into_iter().map(|(place, error)| (start + place, error)));
            }
            Err(error) if error.kind != ErrorKind::InvalidRecord => return Err(error),
            Err(error) if part.len() == 1 => failed.push((start, error)),
            Err(_) => {
                let (first, second) = part.split_at(part.len() / 2);
                rest.push((start + first.len(), second));
                rest.push((start, first));
            }
        }
    }
    Ok((sum, failed))
}
