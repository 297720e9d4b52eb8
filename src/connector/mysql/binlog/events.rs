//! The events of the log (layer 4, pure): their common head, and of their bodies what a follower of one table needs.
//!
//! <https://dev.mysql.com/doc/dev/mysql-server/latest/page_protocol_replication_binlog_event.html>,
//! <https://mariadb.com/kb/en/2-binlog-event-header/>

use std::borrow::Cow;

use super::bytes::{Fields, bit};
use super::gtid::{Gtid, Gtids};
use super::packed::{Transaction, unpacked};

/// Bytes of an event's head.
pub(super) const HEAD: usize = 19;
/// Made for us; it stands nowhere in the log.
const ARTIFICIAL: u16 = 0x20;

/// The head of an event.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head {
    /// When its statement began, seconds since 1970.
    pub(super) at: u32,
    /// Its kind, as a number.
    pub(super) code: u8,
    /// Which server wrote it.
    pub(super) server: u32,
    /// Where the next begins, the low 32 bits; 0 where it stands nowhere in the log.
    pub(super) next: u32,
    artificial: bool,
}

/// What stands in an event.
pub(super) enum Body<'a> {
    /// The first of a file: how it is written.
    Format,
    /// The log goes on in this file.
    Rotate { file: String, position: u64 },
    /// A group of events begins that belongs together; `alone` where its only statement ends it. Its id, where it has one that is read.
    Group { alone: Option<bool>, gtid: Option<Gtid> },
    /// What the files before this one have.
    Had(Option<Gtids>),
    /// A statement, and the database that it is run in.
    Statement { database: String, text: String },
    /// What the next rows are of.
    Map { id: u64, database: String, table: String, rest: Fields<'a> },
    /// Rows of a table.
    Rows(Rows<'a>),
    /// The group is committed.
    Commit,
    /// It is prepared and may be committed later, under this name.
    Prepared { name: String, at_once: bool },
    /// Nothing happens.
    Alive,
    /// The server lost events.
    Lost,
    /// A whole transaction in one event, packed.
    Packed(Transaction),
    /// Nothing that concerns us.
    Other,
}

/// What happened to rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RowsKind {
    /// Inserted.
    Insert,
    /// Updated: two images each.
    Update,
    /// The same, and documents may be told in part.
    UpdatePartly,
    /// Deleted.
    Delete,
}

/// Rows of a table.
#[derive(Debug)]
pub(super) struct Rows<'a> {
    /// Of which table, by the number that its map has.
    pub(super) id: u64,
    /// What happened.
    pub(super) kind: RowsKind,
    /// Columns of the table, then.
    pub(super) width: usize,
    /// Which of them the first image has, and the second.
    pub(super) present: [&'a [u8]; 2],
    /// The images.
    pub(super) images: Cow<'a, [u8]>,
    /// The last of the statement: numbers of tables may be given anew.
    pub(super) last: bool,
}

/// Cuts an event into its head and its body. A checksum was taken off.
pub(super) fn head(event: &[u8]) -> Option<(Head, &[u8])> {
    let (head, body) = event.split_at_checked(HEAD)?;
    let mut head = Fields(head);
    let number = |fields: &mut Fields<'_>| u32::try_from(fields.little(4)?).ok();
    let at = number(&mut head)?;
    let code = head.byte()?;
    let server = number(&mut head)?;
    head.take(4)?;
    let next = number(&mut head)?;
    let flags = u16::try_from(head.little(2)?).ok()?;
    Some((Head { at, code, server, next, artificial: flags & ARTIFICIAL != 0 }, body))
}

impl Head {
    /// Whether it stands in the log.
    pub(super) const fn stands(&self) -> bool {
        self.next != 0 && !self.artificial
    }
}

/// Reads a body; `None` where it is not what it should be.
pub(super) fn body<'a>(head: &Head, body: &'a [u8]) -> Option<Body<'a>> {
    let mut fields = Fields(body);
    Some(match head.code {
        2 | 18 | 165 => statement(fields, head.code)?,
        4 => {
            let position = fields.little(8)?;
            Body::Rotate { file: String::from_utf8_lossy(fields.0).into_owned(), position }
        }
        15 => Body::Format,
        16 => Body::Commit,
        19 => map(fields)?,
        23..=25 | 30..=32 | 39 | 166..=171 => Body::Rows(rows(head.code, fields)?),
        26 => Body::Lost,
        27 | 41 => Body::Alive,
        33 => {
            fields.take(1)?;
            let server = uuid::Uuid::from_slice(fields.take(16)?).ok()?;
            Body::Group { alone: None, gtid: Some(Gtid::Numbered(server, fields.little(8)?)) }
        }
        // Without an id, and with one that has a tag.
        34 | 42 => Body::Group { alone: None, gtid: None },
        35 => Body::Had(Gtids::of_file(fields, false)),
        38 => {
            let at_once = fields.byte()? != 0;
            let [format, first, second] = [fields.little(4)?, fields.little(4)?, fields.little(4)?];
            let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
            let (first, second) = (usize::try_from(first).ok()?, usize::try_from(second).ok()?);
            let (first, second) = (hex(fields.take(first)?), hex(fields.take(second)?));
            Body::Prepared { name: format!("X'{first}',X'{second}',{format}"), at_once }
        }
        40 => Body::Packed(Transaction::read(fields)?),
        162 => {
            let number = fields.little(8)?;
            let domain = u32::try_from(fields.little(4)?).ok()?;
            let gtid = Some(Gtid::InDomain(domain, head.server, number));
            Body::Group { alone: Some(fields.byte()? & 1 == 1), gtid }
        }
        163 => Body::Had(Gtids::of_file(fields, true)),
        _ => Body::Other,
    })
}

/// Kind 18 is that of `LOAD DATA` where it is logged as such, and says where its file is; MariaDB packs some (165).
fn statement<'a>(mut fields: Fields<'_>, code: u8) -> Option<Body<'a>> {
    fields.take(8)?;
    let database = usize::from(fields.byte()?);
    fields.take(2)?;
    let variables = fields.size(2)?;
    if code == 18 {
        fields.take(13)?;
    }
    fields.take(variables)?;
    let database = String::from_utf8_lossy(fields.take(database)?).into_owned();
    fields.byte()?;
    let text = if code == 165 { Cow::Owned(unpacked(fields.0)?) } else { Cow::Borrowed(fields.0) };
    Some(Body::Statement { database, text: String::from_utf8_lossy(&text).into_owned() })
}

fn map(mut fields: Fields<'_>) -> Option<Body<'_>> {
    let id = fields.little(6)?;
    fields.take(2)?;
    let (database, table) = (fields.name()?, fields.name()?);
    Some(Body::Map { id, database, table, rest: fields })
}

/// Kinds 23 to 25 are those of old, 30 to 32 have a head that may be longer; MariaDB packs both (166 to 171).
fn rows(code: u8, mut fields: Fields<'_>) -> Option<Rows<'_>> {
    let kind = match code {
        23 | 30 | 166 | 169 => RowsKind::Insert,
        24 | 31 | 167 | 170 => RowsKind::Update,
        39 => RowsKind::UpdatePartly,
        _ => RowsKind::Delete,
    };
    let id = fields.little(6)?;
    let last = fields.little(2)? & 1 == 1;
    if matches!(code, 30..=32 | 39 | 169..=171) {
        let more = fields.size(2)?.checked_sub(2)?;
        fields.take(more)?;
    }
    let width = fields.packed()?;
    let first = fields.take(width.div_ceil(8))?;
    let second = match kind {
        RowsKind::Update | RowsKind::UpdatePartly => fields.take(width.div_ceil(8))?,
        RowsKind::Insert | RowsKind::Delete => first,
    };
    let images = if code >= 166 { Cow::Owned(unpacked(fields.0)?) } else { Cow::Borrowed(fields.0) };
    Some(Rows { id, kind, width, present: [first, second], images, last })
}

impl Rows<'_> {
    /// Whether the first or second image has a column.
    pub(super) fn has(&self, image: usize, column: usize) -> bool {
        self.present.get(image).is_some_and(|present| bit(present, column))
    }
}

impl Head {
    /// One for what is noticed between events.
    pub(super) const fn of(at: u32) -> Self {
        Self { at, code: 0, server: 0, next: 0, artificial: true }
    }
}
