//! Reads what the output plugin `pgoutput` sends, version 1 of its protocol (layer 4, pure): of a changed row its keys and nothing else, for
//! a change only says "look at this key".
//!
//! <https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html>

use std::collections::HashMap;

use super::super::table::PgColumn;
use super::super::values;
use super::wire::EPOCH_MICROS;
use crate::record::Key;
use crate::value::Value;

/// A message, as far as it matters.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Message {
    /// A transaction begins, whose commit stands at `lsn`: its number, and when it was committed (microseconds since 1970).
    Begin { lsn: u64, at: i64, xid: u32 },
    /// It has ended; the next begins at `end` or later.
    Commit { end: u64 },
    /// A row that was written has `new` as its key; one that is not there any more had `old`.
    Row { old: Option<Key>, new: Option<Key> },
    /// The table was emptied.
    Truncated,
    /// What a writer said of its transaction.
    Said { prefix: String, content: String },
    /// Something that is of no concern.
    Other,
}

/// Why a message cannot be followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unfollowed {
    /// It is of another form than is written in the protocol.
    Unreadable,
    /// The table has a key column no more.
    Renamed,
    /// The key of a row did not come with it.
    Keyless,
}

/// Reads the messages of one table's stream.
pub(super) struct Decoder {
    key: Vec<PgColumn>,
    /// For each relation that was described the places of the key columns.
    relations: HashMap<u32, Vec<usize>>,
}

impl Decoder {
    /// A decoder of rows with this key.
    pub(super) fn new(key: Vec<PgColumn>) -> Self {
        Self { key, relations: HashMap::new() }
    }

    /// Reads a message.
    pub(super) fn read(&mut self, data: &[u8]) -> Result<Message, Unfollowed> {
        let mut bytes = Bytes(data);
        let tag = bytes.u8()?;
        match tag {
            b'B' => {
                let (lsn, at) = (bytes.u64()?, bytes.i64()?);
                Ok(Message::Begin { lsn, at: at.saturating_add(EPOCH_MICROS), xid: bytes.u32()? })
            }
            b'C' => {
                bytes.skip(9)?;
                Ok(Message::Commit { end: bytes.u64()? })
            }
            b'R' => self.relation(&mut bytes).map(|()| Message::Other),
            b'I' | b'U' | b'D' => self.row(&mut bytes),
            b'T' => Ok(Message::Truncated),
            b'M' => {
                bytes.skip(9)?;
                let prefix = bytes.text()?;
                let length = bytes.length()?;
                Ok(Message::Said { prefix, content: String::from_utf8_lossy(bytes.take(length)?).into_owned() })
            }
            _ => Ok(Message::Other),
        }
    }

    fn relation(&mut self, bytes: &mut Bytes<'_>) -> Result<(), Unfollowed> {
        let id = bytes.u32()?;
        // Schema, name, and which kind of identity it has.
        bytes.text()?;
        bytes.text()?;
        bytes.skip(1)?;
        let mut names = Vec::new();
        for _ in 0..bytes.u16()? {
            bytes.skip(1)?;
            names.push(bytes.text()?);
            bytes.skip(8)?;
        }
        let place = |column: &PgColumn| names.iter().position(|name| name == column.name());
        let places: Option<Vec<usize>> = self.key.iter().map(place).collect();
        self.relations.insert(id, places.ok_or(Unfollowed::Renamed)?);
        Ok(())
    }

    /// An insert has a new row, a delete an old one; an update has the old one where its key changed, or where all of it is logged.
    fn row(&self, bytes: &mut Bytes<'_>) -> Result<Message, Unfollowed> {
        let id = bytes.u32()?;
        let places = self.relations.get(&id).ok_or(Unfollowed::Unreadable)?;
        let (mut old, mut new) = (None, None);
        while let Ok(tag) = bytes.u8() {
            let cells = self.cells(bytes, places)?;
            if tag == b'N' { new = Some(cells) } else { old = Some(cells) }
        }
        let new = new.map(|cells| {
            // A long value that was not written again stands in the old row, where it is part of the key.
            let filled = cells
                .into_iter()
                .enumerate()
                .map(|(index, cell)| cell.or_else(|| old.as_ref().and_then(|old| old.get(index).cloned().flatten())));
            filled.collect::<Vec<_>>()
        });
        Ok(Message::Row { old: old.map(whole).transpose()?, new: new.map(whole).transpose()? })
    }

    /// The cells of the key columns; `None` where a value did not come along.
    fn cells(&self, bytes: &mut Bytes<'_>, places: &[usize]) -> Result<Vec<Option<Value>>, Unfollowed> {
        let mut cells: Vec<Option<Value>> = vec![None; places.len()];
        for column in 0..usize::from(bytes.u16()?) {
            let value = match bytes.u8()? {
                b'n' => Some(None),
                b'u' => None,
                b't' => {
                    let length = bytes.length()?;
                    Some(Some(bytes.take(length)?))
                }
                _ => return Err(Unfollowed::Unreadable),
            };
            let Some(value) = value else { continue };
            for (place, cell) in places
                .iter()
                .zip(self.key.iter())
                .zip(&mut cells)
                .filter_map(|((place, key), cell)| (*place == column).then_some((key, cell)))
            {
                *cell = Some(value.map_or(Ok(Value::Null), |text| read_key(place, text))?);
            }
        }
        Ok(cells)
    }
}

/// As a query's cast to text would print it: without the blanks that pad `char(n)`.
fn read_key(column: &PgColumn, text: &[u8]) -> Result<Value, Unfollowed> {
    let text = std::str::from_utf8(text).map_err(|_| Unfollowed::Unreadable)?;
    let text = if column.built_in == "bpchar" { text.trim_end_matches(' ') } else { text };
    Ok(values::parse(column.kind(), text))
}

fn whole(cells: Vec<Option<Value>>) -> Result<Key, Unfollowed> {
    // A key has no nulls: one means that the row was logged without it.
    let known = cells.into_iter().map(|cell| cell.filter(|value| *value != Value::Null));
    known.collect::<Option<_>>().map(Key).ok_or(Unfollowed::Keyless)
}

struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], Unfollowed> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Unfollowed::Unreadable)?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Unfollowed> {
        let (taken, rest) = self.0.split_first_chunk::<N>().ok_or(Unfollowed::Unreadable)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn skip(&mut self, count: usize) -> Result<(), Unfollowed> {
        self.take(count).map(|_| ())
    }

    fn u8(&mut self) -> Result<u8, Unfollowed> {
        self.array::<1>().map(|[byte]| byte)
    }

    fn u16(&mut self) -> Result<u16, Unfollowed> {
        self.array().map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, Unfollowed> {
        self.array().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, Unfollowed> {
        self.array().map(u64::from_be_bytes)
    }

    fn i64(&mut self) -> Result<i64, Unfollowed> {
        self.array().map(i64::from_be_bytes)
    }

    fn length(&mut self) -> Result<usize, Unfollowed> {
        usize::try_from(self.u32()?).map_err(|_| Unfollowed::Unreadable)
    }

    /// A text that ends with a zero.
    fn text(&mut self) -> Result<String, Unfollowed> {
        let length = self.0.iter().position(|byte| *byte == 0).ok_or(Unfollowed::Unreadable)?;
        let text = String::from_utf8_lossy(self.take(length)?).into_owned();
        self.skip(1)?;
        Ok(text)
    }
}
