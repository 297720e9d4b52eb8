//! What was written, a few bytes a write: one row of the state store holds a batch (layer 3). Keys and names of fields, never values.

use std::collections::HashSet;

use async_trait::async_trait;

use super::{End, Ends};
use crate::error::Result;
use crate::record::{DecodeError, Key, Layout, push_sized, take_sized};

/// What was done to a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum WriteOp {
    /// It was created.
    Create,
    /// Some of its fields were set.
    Update,
    /// It was deleted.
    Delete,
    /// It was sent to be created or brought up to date: the system may have found it equal.
    Upsert,
}

impl WriteOp {
    /// Its stored form: two bits.
    pub(super) fn code(self) -> u8 {
        match self {
            Self::Create => 0,
            Self::Update => 1,
            Self::Delete => 2,
            Self::Upsert => 3,
        }
    }

    /// What a stored form stands for.
    pub(super) fn of_code(code: u8) -> Option<Self> {
        [Self::Create, Self::Update, Self::Delete, Self::Upsert].into_iter().find(|op| op.code() == code)
    }
}

const OP: u8 = 0b11;
const AT_TARGET: u8 = 0b100;
const SAME_KEY: u8 = 0b1000;
const HAS_TIME: u8 = 0b1_0000;
const HAS_FIELDS: u8 = 0b10_0000;

/// The writes of a batch, in order, in their stored form: a byte of flags, the source's key, the target's where it is another, the time
/// of the change where it is known, and for updates a bit for each field of the written side's layout.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    bytes: Vec<u8>,
    /// What the bits of updates stand for, where there are any.
    pub layouts: Ends<Option<Layout>>,
}

/// One write, on its way into a history.
#[derive(Debug, Clone, Copy)]
pub struct Writing<'a> {
    /// What is done.
    pub op: WriteOp,
    /// Where it is written.
    pub end: End,
    /// Keys of both sides, as far as known.
    pub keys: Ends<Option<&'a Key>>,
    /// When the change that led to it was made, by the clock of its system.
    pub changed_at: Option<i64>,
    /// What is set: the layout of the side, and whether each of its fields is.
    pub fields: Option<(&'a Layout, &'a [bool])>,
}

/// One write, read from a history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// What was done.
    pub op: WriteOp,
    /// Where it was written.
    pub end: End,
    /// Keys of both sides, as far as known, in their encoded form.
    pub keys: Ends<Option<Vec<u8>>>,
    /// When the change that led to it was made, by the clock of its system: microseconds since 1970-01-01 UTC.
    pub changed_at: Option<i64>,
    /// Names of the fields that were set, of an update.
    pub fields: Vec<String>,
}

impl History {
    /// Whether nothing was written.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// The stored form.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Adds a write.
    pub fn push(&mut self, write: Writing<'_>) {
        let Writing { op, end, keys, changed_at, fields } = write;
        let same = keys.source == keys.target;
        let flag = |holds: bool, bit| if holds { bit } else { 0 };
        self.bytes.push(
            op.code()
                | flag(end == End::Target, AT_TARGET)
                | flag(same, SAME_KEY)
                | flag(changed_at.is_some(), HAS_TIME)
                | flag(fields.is_some(), HAS_FIELDS),
        );
        self.push_key(keys.source);
        if !same {
            self.push_key(keys.target);
        }
        if let Some(at) = changed_at {
            self.bytes.extend_from_slice(&at.to_be_bytes());
        }
        if let Some((layout, set)) = fields {
            *self.layouts.get_mut(end) = Some(Layout::clone(layout));
            let bits = set
                .chunks(8)
                .map(|eight| eight.iter().enumerate().fold(0, |byte, (place, set)| byte | (u8::from(*set) << place)));
            self.bytes.extend(bits);
        }
    }

    fn push_key(&mut self, key: Option<&Key>) {
        push_sized(&mut self.bytes, &key.map(Key::encode).unwrap_or_default());
    }
}

/// The writes of a stored history whose encoded keys are `wanted` (none is known: empty), in order; `layouts` as they were when it was written.
///
/// # Errors
/// Where the bytes are not of that form.
pub fn about(
    mut bytes: &[u8],
    layouts: &Ends<Option<Layout>>,
    wanted: impl Fn(Ends<&[u8]>) -> bool,
) -> std::result::Result<Vec<Written>, DecodeError> {
    let mut found = Vec::new();
    while let Some((&flags, rest)) = bytes.split_first() {
        bytes = rest;
        let source = take_sized(&mut bytes)?;
        let target = if flags & SAME_KEY == 0 { take_sized(&mut bytes)? } else { source };
        let changed_at =
            if flags & HAS_TIME == 0 { None } else { Some(i64::from_be_bytes(*take_array::<8>(&mut bytes)?)) };
        let end = if flags & AT_TARGET == 0 { End::Source } else { End::Target };
        let bits = match layouts.get(end) {
            Some(layout) if flags & HAS_FIELDS != 0 => take(&mut bytes, layout.len().div_ceil(8))?,
            None if flags & HAS_FIELDS != 0 => return Err(DecodeError),
            Some(_) | None => &[],
        };
        if wanted(Ends { source, target }) {
            let key = |bytes: &[u8]| (!bytes.is_empty()).then(|| bytes.to_vec());
            found.push(Written {
                op: WriteOp::of_code(flags & OP).ok_or(DecodeError)?,
                end,
                keys: Ends { source: key(source), target: key(target) },
                changed_at,
                fields: names(layouts.get(end).as_ref(), bits),
            });
        }
    }
    Ok(found)
}

fn names(layout: Option<&Layout>, bits: &[u8]) -> Vec<String> {
    let is_set = |place: usize| bits.get(place / 8).is_some_and(|byte| byte & (1 << (place % 8)) != 0);
    let fields = layout.into_iter().flat_map(|layout| layout.iter()).enumerate();
    fields.filter(|(place, _)| is_set(*place)).map(|(_, name)| name.to_string()).collect()
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> std::result::Result<&'a [u8], DecodeError> {
    let (head, rest) = bytes.split_at_checked(length).ok_or(DecodeError)?;
    *bytes = rest;
    Ok(head)
}

fn take_array<'a, const N: usize>(bytes: &mut &'a [u8]) -> std::result::Result<&'a [u8; N], DecodeError> {
    let (head, rest) = bytes.split_first_chunk::<N>().ok_or(DecodeError)?;
    *bytes = rest;
    Ok(head)
}

/// A batch and what it wrote of the records that were asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrittenBatch {
    /// When it was committed: microseconds since 1970-01-01 UTC.
    pub at: i64,
    /// The end whose changes it processed.
    pub end: End,
    /// Where its stream stood behind it; `None` while loading.
    pub position: Option<String>,
    /// The plugins that it saw (I9): plugin → digest.
    pub plugins: serde_json::Value,
    /// What it wrote, in order.
    pub writes: Vec<Written>,
}

/// A conflict as it stands on record.
#[derive(Debug, Clone, PartialEq)]
pub struct RecordedConflict {
    /// What it is about and how it was settled.
    pub conflict: super::Conflict,
    /// Whether its loser has been overwritten for certain.
    pub settled: bool,
}

/// What the state store knows of the past: for `explain`. Reads only.
#[async_trait]
pub trait Past: Send + Sync {
    /// Every batch within retention that wrote one of these records, newest first. Reads all histories of the pair.
    async fn writes(&self, pair: &str, keys: &Ends<HashSet<Vec<u8>>>) -> Result<Vec<WrittenBatch>>;

    /// Conflicts about these records, newest first.
    async fn conflicts(&self, pair: &str, keys: &Ends<HashSet<Vec<u8>>>) -> Result<Vec<RecordedConflict>>;

    /// Numbers of the open reviews about these records.
    async fn reviews_about(&self, pair: &str, keys: &Ends<HashSet<Vec<u8>>>) -> Result<Vec<i64>>;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::layout;
    use crate::value::Value;

    fn set(keys: &[&Key]) -> HashSet<Vec<u8>> {
        keys.iter().map(|key| key.encode()).collect()
    }

    #[test]
    fn what_goes_in_comes_out_for_the_keys_that_are_asked_for() {
        let names = layout((0..11).map(|place| format!("f{place}")));
        let (one, long) = (Key(vec![Value::Int(1)]), Key(vec![Value::Text("x".repeat(300))]));
        let mut history = History::default();
        let write = |op, end, source, target| Writing {
            op,
            end,
            keys: Ends { source, target },
            changed_at: None,
            fields: None,
        };
        history.push(write(WriteOp::Create, End::Target, Some(&one), Some(&long)));
        let bits: Vec<bool> = (0..11).map(|place| place == 0 || place == 10).collect();
        let update = write(WriteOp::Update, End::Source, Some(&one), Some(&one));
        history.push(Writing { changed_at: Some(-7), fields: Some((&names, &bits)), ..update });
        history.push(write(WriteOp::Delete, End::Target, None, Some(&long)));
        let of = |source: &[&Key], target: &[&Key]| {
            let keys = Ends { source: set(source), target: set(target) };
            about(history.bytes(), &history.layouts, |of| {
                keys.source.contains(of.source) || keys.target.contains(of.target)
            })
            .unwrap()
        };
        let ops = |found: &[Written]| found.iter().map(|write| write.op).collect::<Vec<_>>();
        assert_eq!(ops(&of(&[&one], &[])), [WriteOp::Create, WriteOp::Update]);
        assert_eq!(ops(&of(&[], &[&long])), [WriteOp::Create, WriteOp::Delete]);
        assert!(of(&[&long], &[]).is_empty(), "a key of the other side is another record's");
        let found = of(&[&one], &[]);
        assert_eq!(found[1].fields, ["f0", "f10"]);
        assert_eq!((found[1].end, found[1].changed_at), (End::Source, Some(-7)));
        assert_eq!(found[0].keys, Ends { source: Some(one.encode()), target: Some(long.encode()) });
    }

    #[test]
    fn damaged_bytes_are_an_error() {
        let mut history = History::default();
        let key = Key(vec![Value::Int(1)]);
        let keys = Ends { source: Some(&key), target: None };
        history.push(Writing { op: WriteOp::Create, end: End::Target, keys, changed_at: Some(1), fields: None });
        for end in 1..history.bytes().len() {
            let cut = history.bytes().get(..end).unwrap();
            assert_eq!(about(cut, &Ends::default(), |_| true), Err(DecodeError), "{end}");
        }
    }
}
