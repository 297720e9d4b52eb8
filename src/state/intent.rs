//! Writes that are about to be done, and what will be agreed once they are (layer 3): durable before the first of them, closed with the batch.
//! What a crash leaves open is held against what the systems say was done, before anything else is decided.

use super::{Conflict, End, Ends, Link, WriteOp};
use crate::record::{DecodeError, Key, Layout, Packer, Record, Unpacker};

/// A write that is about to be done.
#[derive(Debug, Clone, PartialEq)]
pub struct Intended<C> {
    /// What is done.
    pub op: WriteOp,
    /// Keys of both sides; one that the system will make is not known.
    pub keys: Ends<Option<Key>>,
    /// What is agreed once it is done, as far as the system stores what it is asked to; `None`: the record is gone on both sides.
    pub base: Option<Ends<Record>>,
    /// The end whose record was deleted, while the other's is only marked as deleted.
    pub gone: Option<End>,
    /// When the change that led to it was made, by the clock of its system.
    pub changed_at: Option<i64>,
    /// What is set, of an update: the layout of the side, and whether each of its fields is.
    pub fields: Option<(Layout, Vec<bool>)>,
    /// The conflicts whose loser it overwrites: themselves on the way in, then their numbers on record.
    pub conflicts: Vec<C>,
}

/// The writes that one call does at one end.
#[derive(Debug, Clone, PartialEq)]
pub struct Intention<C> {
    /// Where they are done.
    pub end: End,
    /// Digests of the plugins that shaped them (I9).
    pub plugins: std::collections::BTreeMap<String, String>,
    /// In the order in which they are sent.
    pub writes: Vec<Intended<C>>,
}

/// What an intention is known by, and what became of its conflicts.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Begun {
    /// The run of the state store.
    pub run: String,
    /// Its number: greater than all before.
    pub number: i64,
    /// The smallest number that is still open.
    pub since: i64,
    /// Numbers of the conflicts, write by write.
    pub conflicts: Vec<Vec<i64>>,
}

/// An intention that a crash left open.
#[derive(Debug, Clone, PartialEq)]
pub struct Open {
    /// The run of the state store that gave the number.
    pub run: String,
    /// Its number.
    pub number: i64,
    /// What was to be done.
    pub intention: Intention<i64>,
}

impl<C> Intended<C> {
    /// The link as it is once this is done; `None` where a key is still to be made.
    pub fn link(&self) -> Option<Link> {
        let keys = Ends { source: self.keys.source.clone()?, target: self.keys.target.clone()? };
        Some(Link { keys, base: self.base.clone(), gone: self.gone })
    }
}

impl Intention<Conflict> {
    /// Whether it need not outlive a power failure: updates that overwrite no other edit. Done again without it they find their own value, and
    /// are agreed; another edit that came in between meets it as a conflict, which is on record before either is overwritten (I6). A create
    /// would be done twice.
    pub fn may_be_lost(&self) -> bool {
        self.writes.iter().all(|write| write.op == WriteOp::Update && write.conflicts.is_empty())
    }

    /// The same, with the numbers of its conflicts.
    pub fn numbered(self, numbers: &[Vec<i64>]) -> Intention<i64> {
        let Self { end, plugins, writes } = self;
        let numbered = |(write, numbers): (Intended<Conflict>, &Vec<i64>)| {
            let Intended { op, keys, base, gone, changed_at, fields, .. } = write;
            Intended { op, keys, base, gone, changed_at, fields, conflicts: numbers.clone() }
        };
        Intention { end, plugins, writes: writes.into_iter().zip(numbers).map(numbered).collect() }
    }
}

const BASE: u8 = 1;
const GONE_SOURCE: u8 = 2;
const GONE_TARGET: u8 = 4;
const TIME: u8 = 8;
const FIELDS: u8 = 16;

/// Writes in their stored form; `numbers` are those of their conflicts.
pub fn encode<C>(writes: &[Intended<C>], numbers: &[Vec<i64>]) -> Vec<u8> {
    let mut packer = Packer::default();
    for (write, numbers) in writes.iter().zip(numbers) {
        let flag = |holds: bool, bit| if holds { bit } else { 0 };
        packer.byte(write.op.code());
        packer.byte(
            flag(write.base.is_some(), BASE)
                | flag(write.gone == Some(End::Source), GONE_SOURCE)
                | flag(write.gone == Some(End::Target), GONE_TARGET)
                | flag(write.changed_at.is_some(), TIME)
                | flag(write.fields.is_some(), FIELDS),
        );
        packer.key(write.keys.source.as_ref());
        packer.key(write.keys.target.as_ref());
        if let Some(base) = &write.base {
            packer.record(&base.source);
            packer.record(&base.target);
        }
        if let Some(at) = write.changed_at {
            packer.number(at);
        }
        if let Some((layout, set)) = &write.fields {
            // Null stands for a field that is set.
            let set = set.iter().map(|set| set.then_some(crate::value::Value::Null)).collect();
            packer.record(&Record::new(Layout::clone(layout), set));
        }
        packer.number(i64::try_from(numbers.len()).unwrap_or(i64::MAX));
        numbers.iter().for_each(|number| packer.number(*number));
    }
    packer.finish()
}

/// Reads what [`encode`] wrote.
///
/// # Errors
/// Where the bytes are not of that form.
pub fn decode(bytes: &[u8]) -> Result<Vec<Intended<i64>>, DecodeError> {
    let (mut unpacker, mut writes) = (Unpacker::new(bytes)?, Vec::new());
    while !unpacker.is_empty() {
        let op = WriteOp::of_code(unpacker.byte()?).ok_or(DecodeError)?;
        let flags = unpacker.byte()?;
        let has = |bit| flags & bit != 0;
        let keys = Ends { source: unpacker.key()?, target: unpacker.key()? };
        let base = if has(BASE) { Some(Ends { source: unpacker.record()?, target: unpacker.record()? }) } else { None };
        let gone = match (has(GONE_SOURCE), has(GONE_TARGET)) {
            (true, _) => Some(End::Source),
            (_, true) => Some(End::Target),
            (false, false) => None,
        };
        let changed_at = if has(TIME) { Some(unpacker.number()?) } else { None };
        let fields = if has(FIELDS) {
            let set = unpacker.record()?;
            Some((Layout::clone(set.layout()), set.values().iter().map(Option::is_some).collect()))
        } else {
            None
        };
        let mut conflicts = Vec::new();
        for _ in 0..unpacker.number()? {
            conflicts.push(unpacker.number()?);
        }
        writes.push(Intended { op, keys, base, gone, changed_at, fields, conflicts });
    }
    Ok(writes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::layout;
    use crate::value::Value;

    #[test]
    fn what_goes_in_comes_out() {
        let key = Key(vec![Value::Int(1)]);
        let image = |name: &str| Record::of([("id", Value::Int(1)), ("name", Value::Text(name.to_owned()))]);
        let write = |op| Intended::<i64> {
            op,
            keys: Ends { source: Some(key.clone()), target: None },
            base: None,
            gone: None,
            changed_at: None,
            fields: None,
            conflicts: Vec::new(),
        };
        let update = Intended {
            base: Some(Ends { source: image("a"), target: image("b") }),
            gone: Some(End::Target),
            changed_at: Some(-3),
            fields: Some((layout(["id", "name"]), vec![false, true])),
            conflicts: vec![4, 5],
            ..write(WriteOp::Update)
        };
        let gone = Intended { gone: Some(End::Source), ..write(WriteOp::Delete) };
        let writes = vec![write(WriteOp::Create), update, gone];
        let numbers: Vec<Vec<i64>> = writes.iter().map(|write| write.conflicts.clone()).collect();
        let bytes = encode(&writes, &numbers);
        assert_eq!(decode(&bytes), Ok(writes));
        assert_eq!(decode(&bytes[..bytes.len() - 1]), Err(DecodeError));
    }
}
