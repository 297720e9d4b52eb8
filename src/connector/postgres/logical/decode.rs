//! Reads what the output plugin `pgoutput` sends, version 1 of its protocol (layer 4, pure): of a changed row its keys, for a change only
//! says "look at this key"; and for those who need not look, all of it.
//!
//! <https://www.postgresql.org/docs/current/protocol-logicalrep-message-formats.html>

use std::collections::HashMap;

use super::super::table::PgColumn;
use super::super::values;
use super::wire::EPOCH_MICROS;
use crate::record::{Key, Layout, Record};
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

/// The columns that make an image.
#[derive(Clone)]
pub(in super::super) struct Fields {
    columns: Vec<PgColumn>,
    layout: Layout,
}

/// The tag of the message that says what the rows of a relation are made of.
pub(super) const RELATION: u8 = b'R';

/// Types whose values the log has as a query's cast to text prints them, whatever the session.
const SAME_TEXT: [&str; 22] = [
    "bool",
    "int2",
    "int4",
    "int8",
    "float4",
    "float8",
    "numeric",
    "text",
    "varchar",
    "bpchar",
    "bytea",
    "date",
    "time",
    "timetz",
    "timestamp",
    "timestamptz",
    "interval",
    "json",
    "jsonb",
    "uuid",
    "inet",
    "cidr",
];

impl Fields {
    /// `None` where the log has a column in another form than a query.
    pub(in super::super) fn new(columns: &[PgColumn], layout: &Layout) -> Option<Self> {
        let same = columns.iter().all(|column| SAME_TEXT.contains(&column.built_in.as_str()));
        same.then(|| Self { columns: columns.to_vec(), layout: Layout::clone(layout) })
    }
}

/// A row with more bytes than this is looked at, not carried.
const IMAGE_BYTES_MAX: usize = 1 << 20;

/// Where columns stand in the rows of a relation.
struct Places {
    key: Vec<usize>,
    /// `None` where not all of them are there.
    fields: Option<Vec<usize>>,
}

/// A value of a row.
#[derive(Clone, Copy)]
enum Cell<'a> {
    Null,
    /// It was not written again, and did not come along.
    Unchanged,
    Text(&'a [u8]),
}

/// What the message of a row has.
struct Row<'p, 'a> {
    places: &'p Places,
    old: Option<Vec<Cell<'a>>>,
    new: Option<Vec<Cell<'a>>>,
}

/// Reads the messages of one table's stream.
pub(super) struct Decoder {
    key: Vec<PgColumn>,
    fields: Option<Fields>,
    /// The relations that were described.
    relations: HashMap<u32, Places>,
}

impl Decoder {
    /// A decoder of rows with this key, and of images of these fields.
    pub(super) fn new(key: Vec<PgColumn>, fields: Option<Fields>) -> Self {
        Self { key, fields, relations: HashMap::new() }
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
            RELATION => self.relation(&mut bytes).map(|()| Message::Other),
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
        let places = |columns: &[PgColumn]| columns.iter().map(place).collect::<Option<Vec<usize>>>();
        let key = places(&self.key).ok_or(Unfollowed::Renamed)?;
        self.relations.insert(id, Places { key, fields: self.fields.as_ref().and_then(|all| places(&all.columns)) });
        Ok(())
    }

    /// An insert has a new row, a delete an old one; an update has the old one where its key changed, or where all of it is logged.
    fn row(&self, bytes: &mut Bytes<'_>) -> Result<Message, Unfollowed> {
        let Row { places, old, new } = self.cells(bytes)?;
        let key = |cells: Vec<Cell<'_>>| self.key_of(&cells, places);
        Ok(Message::Row { old: old.map(key).transpose()?, new: new.map(key).transpose()? })
    }

    fn cells<'a>(&self, bytes: &mut Bytes<'a>) -> Result<Row<'_, 'a>, Unfollowed> {
        let id = bytes.u32()?;
        let places = self.relations.get(&id).ok_or(Unfollowed::Unreadable)?;
        let (mut old, mut new) = (None, None);
        while let Ok(tag) = bytes.u8() {
            let cells = cells(bytes)?;
            if tag == b'N' { new = Some(cells) } else { old = Some(cells) }
        }
        let new = new.map(|cells| filled(&cells, old.as_deref()));
        Ok(Row { places, old, new })
    }

    /// Whether the message of a row is worth keeping for [`Decoder::image`].
    pub(super) fn wants(&self, data: &[u8]) -> bool {
        self.fields.is_some() && data.len() <= IMAGE_BYTES_MAX
    }

    /// The record that the message of a row tells of, as it was made; `None` where it is not whole.
    pub(super) fn image(&self, data: &[u8]) -> Option<Record> {
        let mut bytes = Bytes(data.get(1..)?);
        let Row { places, new, .. } = self.cells(&mut bytes).ok()?;
        let (fields, places) = (self.fields.as_ref()?, places.fields.as_ref()?);
        let new = new?;
        let value = |(column, place): (&PgColumn, &usize)| match new.get(*place)? {
            Cell::Text(text) => read(column, text).ok().map(Some),
            Cell::Null => Some(Some(Value::Null)),
            Cell::Unchanged => None,
        };
        let values = fields.columns.iter().zip(places).map(value).collect::<Option<_>>()?;
        Some(Record::new(Layout::clone(&fields.layout), values))
    }

    /// A key has no nulls: one means that the row was logged without it.
    fn key_of(&self, cells: &[Cell<'_>], places: &Places) -> Result<Key, Unfollowed> {
        let value = |(column, place): (&PgColumn, &usize)| match cells.get(*place) {
            Some(Cell::Text(text)) => read(column, text),
            Some(Cell::Null | Cell::Unchanged) | None => Err(Unfollowed::Keyless),
        };
        self.key.iter().zip(&places.key).map(value).collect::<Result<_, _>>().map(Key)
    }
}

fn cells<'a>(bytes: &mut Bytes<'a>) -> Result<Vec<Cell<'a>>, Unfollowed> {
    let count = usize::from(bytes.u16()?);
    let mut cells = Vec::with_capacity(count);
    for _ in 0..count {
        cells.push(match bytes.u8()? {
            b'n' => Cell::Null,
            b'u' => Cell::Unchanged,
            b't' => {
                let length = bytes.length()?;
                Cell::Text(bytes.take(length)?)
            }
            _ => return Err(Unfollowed::Unreadable),
        });
    }
    Ok(cells)
}

/// A long value that was not written again stands in the old row, where that is logged. Of an old row that is only a key the other columns
/// are null.
fn filled<'a>(new: &[Cell<'a>], old: Option<&[Cell<'a>]>) -> Vec<Cell<'a>> {
    let fill = |(place, cell): (usize, &Cell<'a>)| match (cell, old.and_then(|old| old.get(place))) {
        (Cell::Unchanged, Some(Cell::Text(text))) => Cell::Text(text),
        (cell, _) => *cell,
    };
    new.iter().enumerate().map(fill).collect()
}

/// As a query's cast to text would print it: without the blanks that pad `char(n)`.
fn read(column: &PgColumn, text: &[u8]) -> Result<Value, Unfollowed> {
    let text = std::str::from_utf8(text).map_err(|_| Unfollowed::Unreadable)?;
    let text = if column.built_in == "bpchar" { text.trim_end_matches(' ') } else { text };
    Ok(values::parse(column.kind(), text))
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
