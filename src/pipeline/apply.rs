//! Stage 7: decisions become guarded writes, and a batch that one record spoils is halved until only that record fails.

use crate::change::End;
use crate::connector::{Target, Upserted, Write, WriteOutcome};
use crate::error::{ErrorKind, Result, SyncError};
use crate::record::{Key, Record};

use super::binding::Binding;
use super::reconcile::{self, Intent};

/// The write that carries out `intent` at `end`, where `now` is the image it assumes and `other` the key on the other side.
/// `None` where an update or delete has no key to go by, which cannot be.
pub fn write(
    binding: &Binding,
    end: End,
    intent: Intent,
    now: Option<&Record>,
    consumer_key: (&str, Option<&Key>),
) -> Option<Write> {
    // One-way pairs are meant to overwrite; two-way ones never do so blindly (I6).
    let guarded = *binding.flows.get(end);
    let guard = || now.filter(|_| guarded).map(|now| assumption(binding, end, now));
    let key = || now.and_then(|now| key_of(binding, end, now));
    Some(match intent {
        Intent::Create(record) => {
            let names = binding.keys.get(end).iter().filter_map(|&place| binding.layouts.get(end).get(place));
            let generated = names.clone().any(|name| record.get(name).is_none());
            let token = consumer_key.1.filter(|_| generated).map(|key| token(consumer_key.0, key));
            Write::Create { record, token }
        }
        Intent::Update(fields) => Write::Update { key: key()?, fields, guard: guard() },
        Intent::Delete => Write::Delete { key: key()?, guard: guard() },
    })
}

/// The primary key of an image.
pub fn key_of(binding: &Binding, end: End, record: &Record) -> Option<Key> {
    let value = |&place: &usize| record.values().get(place).cloned().flatten().filter(|value| !value.is_null());
    binding.keys.get(end).iter().map(value).collect::<Option<Vec<_>>>().map(Key)
}

/// The fields of an image that the pair reads or writes.
fn assumption(binding: &Binding, end: End, now: &Record) -> Record {
    let mapped = binding.mappings.iter().map(|mapping| mapping.fields.get(end));
    let computed = binding.computed.iter().flat_map(|one| if one.from == end { &one.inputs } else { &one.outputs });
    let fields = mapped.chain(computed);
    binding.record(end, fields.filter_map(|of| Some((of.position, reconcile::field(now, of)?))))
}

/// Names a create whose key the system generates, and carries the other side's key.
fn token(consumer: &str, other: &Key) -> String {
    let hex: String = other.encode().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{consumer}|{hex}")
}

/// The other side's key in a token of this consumer.
pub fn key_of_token(consumer: &str, token: &str) -> Option<Key> {
    let hex = token.strip_prefix(consumer)?.strip_prefix('|')?;
    let byte = |place: usize| u8::from_str_radix(hex.get(place..place + 2)?, 16).ok();
    let bytes: Option<Vec<u8>> = (0..hex.len()).step_by(2).map(byte).collect();
    Key::decode(&bytes?).ok()
}

/// Writes all, in order; a refused batch is halved until only the guilty record fails.
///
/// # Errors
/// Where the system cannot be written to at all.
pub async fn write_all(target: &dyn Target, writes: &[Write]) -> Result<Vec<WriteOutcome>> {
    let mut outcomes = Vec::with_capacity(writes.len());
    let mut rest: Vec<&[Write]> = writes.chunks(target.capabilities().batch.max(1)).rev().collect();
    while let Some(part) = rest.pop() {
        match target.write(part).await {
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

/// Upserts all; a refused batch is halved until only the guilty records fail. Returns them by their place.
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
        match target.upsert(part).await {
            Ok(done) => {
                sum.written += done.written;
                sum.unchanged += done.unchanged;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::Value;

    #[test]
    fn a_token_carries_the_key() {
        let key = Key(vec![Value::Int(7), Value::Text("ü|".into())]);
        assert_eq!(key_of_token("store:pair", &token("store:pair", &key)), Some(key));
        assert_eq!(key_of_token("store:other", &token("store:pair", &Key(vec![Value::Int(1)]))), None);
        assert_eq!(key_of_token("a", "a|zz"), None);
    }
}
