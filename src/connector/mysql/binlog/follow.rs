//! Follows one table through the events of the log (layer 4): groups of events, maps and rows become changes. Nothing here waits for anybody but for
//! the catalogue, where the table was altered.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use async_trait::async_trait;

use super::ddl::{Meaning, meaning};
use super::decode::{KeyColumn, key};
use super::events::{Body, Head, Rows, RowsKind, body, head};
use super::gtid::{Gtid, Known};
use super::layout::{Layout, Stored, codes};
use super::objects::{MARK_COLUMNS, READERS};
use super::packed::Transaction;
use super::position::{File, LogPosition, Place, Spot};
use super::stream::Entry;
use super::wire::WireError;
use crate::connector::logged::What;
use crate::record::Key;

/// A transaction with more changes than this is handed on before it is read to its end, and is not known for our own.
const WHOLE_MAX: usize = 5_000;
/// Changes of transactions that are prepared and not decided, which are kept until they are.
const PREPARED_MAX: usize = 100_000;
const CHECKSUM_BYTES: usize = 4;

/// What the catalogue says of the table now.
pub(super) struct Seen {
    /// The types of its columns, in their order.
    pub(super) types: Vec<String>,
    /// Places of the key's columns.
    pub(super) places: Arc<[usize]>,
    /// What they are: see [`LogPosition::form`].
    pub(super) form: Arc<str>,
    /// The end of the log when this was asked.
    pub(super) end: (u64, u64),
}

/// Who can be asked for the catalogue.
#[async_trait]
pub(super) trait Catalogue: Send + Sync {
    /// What the table is like now; `None` where its key is not what it was, or there is none.
    async fn look(&self) -> Result<Option<Seen>, WireError>;
}

/// What is followed.
pub(super) struct Followed {
    /// Database and table.
    pub(super) table: (String, String),
    /// Whether the log may spell them otherwise.
    pub(super) any_case: bool,
    /// The columns of its key.
    pub(super) key: Vec<KeyColumn>,
    /// What our own transactions leave in the table of readers.
    pub(super) own: String,
}

/// The group that is being read.
#[derive(Default)]
struct Group {
    begin: Option<Spot>,
    /// It is one statement and has no end of its own.
    alone: bool,
    /// It is being prepared, and may be committed later.
    prepares: bool,
    at: u32,
    /// Changes so far, and rows.
    count: u64,
    rows: u64,
    /// How many rows it says that we wrote, where it is ours.
    ours: Option<u64>,
    entries: Vec<(Place, i64, What)>,
    /// Some of it was handed on.
    begun: bool,
    /// Its id, and when its first statement began.
    gtid: Option<Gtid>,
    began: Option<u32>,
    /// What was known before it.
    known: Option<Arc<Known>>,
    /// It was delivered before, from another server.
    had: bool,
}

/// A transaction that waits for its decision.
struct Prepared {
    began: Spot,
    changes: Vec<What>,
}

enum Mapped {
    Table(Layout),
    Readers(Layout),
}

/// The follower of a table.
pub(super) struct Follower {
    followed: Followed,
    catalogue: Box<dyn Catalogue>,
    /// Whether events end with a checksum, and the first must not be looked at for it.
    checksums: bool,
    /// The place behind the last event, once the file is known.
    spot: Spot,
    known: bool,
    /// What the next file is called, and where it is read from.
    turned: Option<(String, u64)>,
    /// The place behind the last whole group, as a position.
    reached: LogPosition,
    group: Group,
    maps: HashMap<u64, Mapped>,
    /// The columns that the table was last seen with in the log.
    columns: Option<Vec<Stored>>,
    /// The types that its next map must have.
    expected: Option<Vec<String>>,
    /// Until there the table must not be altered once more…
    unsure: (u64, u64),
    /// …and it was.
    doubted: bool,
    prepared: BTreeMap<String, Prepared>,
    /// What was read, where all of it has ids.
    gtids: Option<Arc<Known>>,
    /// The transaction that has to come, and its time: what is known of it was read from another server.
    sought: Option<(Gtid, u32)>,
    /// The transaction that is being unpacked.
    packed: Option<Transaction>,
    ready: Vec<Entry>,
}

impl Follower {
    /// One that begins at a position; nothing was read yet.
    pub(super) fn new(followed: Followed, catalogue: Box<dyn Catalogue>, begin: LogPosition, checksums: bool) -> Self {
        let (spot, gtids) = (begin.begin().clone(), begin.gtid.clone());
        Self {
            followed,
            catalogue,
            checksums,
            known: false,
            turned: None,
            reached: LogPosition { spot: spot.clone(), index: 0, from: None, ..begin },
            spot,
            group: Group::default(),
            maps: HashMap::new(),
            columns: None,
            expected: None,
            unsure: (0, 0),
            doubted: false,
            prepared: BTreeMap::new(),
            gtids,
            sought: None,
            packed: None,
            ready: Vec::new(),
        }
    }

    /// Has it find the last transaction that is known in the log of another server.
    pub(super) fn seek(&mut self) {
        self.sought = self.gtids.as_ref().and_then(|known| known.last);
    }

    /// Whether that did not come yet, and no more than can be kept came before it.
    pub(super) fn is_seeking(&self) -> bool {
        self.sought.is_some() && self.ready.len() < PREPARED_MAX
    }

    /// The position behind every group that was read.
    pub(super) fn reached(&self) -> LogPosition {
        self.reached.clone()
    }

    /// The same, to compare.
    pub(super) fn reached_order(&self) -> (u64, u64) {
        self.reached.spot.order()
    }

    /// Whether the file that is read has told how it begins.
    pub(super) const fn knows_file(&self) -> bool {
        self.known
    }

    /// Takes the changes that can be handed on.
    pub(super) fn take(&mut self) -> Vec<Entry> {
        std::mem::take(&mut self.ready)
    }

    /// Reads an event.
    pub(super) async fn event(&mut self, event: &[u8]) -> Result<(), WireError> {
        let unreadable = || WireError::Unreadable;
        let event = self.checked(event).ok_or_else(unreadable)?;
        let (head, content) = head(event).ok_or_else(unreadable)?;
        let begin = self.spot.clone();
        if head.stands() {
            self.spot.at = onwards(self.spot.at, head.next);
        }
        self.body(&head, begin, body(&head, content).ok_or_else(unreadable)?).await
    }

    /// Whether events are still to be taken out of the last one, before the next comes.
    pub(super) const fn is_unpacking(&self) -> bool {
        self.packed.is_some()
    }

    /// Reads the next event of those that came in one.
    pub(super) async fn unpack(&mut self) -> Result<(), WireError> {
        let unreadable = || WireError::Unreadable;
        let Some(packed) = &mut self.packed else { return Ok(()) };
        let Some(event) = packed.next().map_err(|_| unreadable())? else {
            self.packed = None;
            return Ok(());
        };
        let (head, content) = head(&event).ok_or_else(unreadable)?;
        self.body(&head, self.spot.clone(), body(&head, content).ok_or_else(unreadable)?).await
    }

    async fn body(&mut self, head: &Head, begin: Spot, body: Body<'_>) -> Result<(), WireError> {
        if matches!(body, Body::Statement { .. } | Body::Map { .. } | Body::Rows(_)) {
            self.group.began.get_or_insert(head.at);
        }
        match body {
            Body::Format => self.file(head),
            Body::Rotate { file, position } => self.turned = Some((file, position)),
            Body::Group { alone, gtid } => {
                self.maps.clear();
                let had = gtid.is_some() && self.sought.map(|sought| sought.0) == gtid;
                let (begin, alone, known) = (Some(begin), alone.unwrap_or(true), self.reached.gtid.clone());
                self.group = Group { begin, alone, at: head.at, gtid, known, had, ..Group::default() };
            }
            Body::Had(before) => {
                let had = before.map(|before| Arc::new(Known { before, last: None }));
                self.gtids = self.gtids.take().or(had);
            }
            Body::Statement { database, text } => self.statement(head, &database, &text).await?,
            Body::Map { id, database, table, rest } => {
                let layout = Layout::read(rest).ok_or(WireError::Unreadable);
                self.map(id, (&database, &table), layout).await?;
            }
            Body::Rows(rows) => self.rows(head, &rows),
            Body::Commit => self.commit(),
            Body::Prepared { name, at_once } if !at_once => self.prepare(name),
            Body::Prepared { .. } => self.commit(),
            Body::Lost => {
                self.change(head, What::Lost("the server has lost events of its log"));
                self.commit();
            }
            Body::Packed(transaction) => self.packed = Some(transaction),
            Body::Alive | Body::Other => {}
        }
        if self.group.begin.is_none() {
            self.reach();
        }
        Ok(())
    }

    /// An event without its checksum, where that is right.
    fn checked<'a>(&self, event: &'a [u8]) -> Option<&'a [u8]> {
        if !self.checksums {
            return Some(event);
        }
        let (content, sum) = event.split_at_checked(event.len().checked_sub(CHECKSUM_BYTES)?)?;
        // That of a file's first event is made before the server sets a flag in it.
        let is_format = head(content).is_some_and(|(head, _)| head.code == 15);
        (is_format || crc32fast::hash(content).to_le_bytes() == sum).then_some(content)
    }

    fn file(&mut self, head: &Head) {
        let made = (head.server, head.at);
        self.known = true;
        // What a crash cut off at the end of the last file was never committed.
        self.group = Group::default();
        if let Some((name, position)) = self.turned.take() {
            let known = self.spot.file.name == name && self.spot.file.made == made;
            if !known {
                self.spot.file = Arc::new(File { name, made });
            }
            self.spot.at = if head.stands() { u64::from(head.next) } else { position };
        }
    }

    /// Puts down that everything up to here was read.
    fn reach(&mut self) {
        let from = self.prepared.values().map(|prepared| &prepared.began).min_by_key(|spot| spot.order()).cloned();
        let gtid = if from.is_none() { self.gtids.clone() } else { self.reached.gtid.take() };
        self.reached = LogPosition { spot: self.spot.clone(), from, gtid, ..self.reached.clone() };
    }

    async fn statement(&mut self, head: &Head, database: &str, text: &str) -> Result<(), WireError> {
        let begins = |word: &str| text.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
        if text.eq_ignore_ascii_case("BEGIN") || begins("XA START") {
            self.group.alone = false;
            self.group.prepares = !text.eq_ignore_ascii_case("BEGIN");
            return Ok(());
        }
        // What was rolled back was never to be seen: whoever looks finds nothing new.
        if text.eq_ignore_ascii_case("COMMIT") || text.eq_ignore_ascii_case("ROLLBACK") {
            self.commit();
            return Ok(());
        }
        let (of, table) = (&self.followed.table.0, &self.followed.table.1);
        let readers = meaning(text, database, (of, READERS));
        match meaning(text, database, (of, table)) {
            Meaning::Truncated => self.change(head, What::Truncated),
            Meaning::Lost(why) => self.change(head, What::Lost(why)),
            Meaning::Statement => self.change(
                head,
                What::Lost("rows were changed by a statement that was logged as such (binlog_format of its session is not ROW)"),
            ),
            Meaning::Altered => self.altered(head).await?,
            Meaning::Decided { name, commit } => self.decide(head, &name, commit),
            Meaning::Nothing if matches!(readers, Meaning::Lost(_)) => {
                self.change(head, What::Lost("the table of readers was dropped (tidelock_binlog)"));
            }
            Meaning::Nothing => {}
        }
        if self.group.alone {
            self.commit();
        }
        Ok(())
    }

    /// Columns may stand in other places now. Where the log does not name them, the catalogue has them, if nothing comes after this.
    async fn altered(&mut self, head: &Head) -> Result<(), WireError> {
        if self.spot.order() <= self.unsure {
            self.doubted = true;
            return Ok(());
        }
        match self.catalogue.look().await? {
            Some(seen) if seen.form == self.reached.form => {
                self.unsure = seen.end;
                self.reached.key = seen.places;
                self.expected = Some(seen.types);
                self.doubted = false;
            }
            _ => self.change(head, What::Lost("a key column of the table was renamed, dropped or got another type")),
        }
        Ok(())
    }

    async fn map(
        &mut self,
        id: u64,
        (database, table): (&str, &str),
        layout: Result<Layout, WireError>,
    ) -> Result<(), WireError> {
        let same = |a: &str, b: &str| if self.followed.any_case { a.eq_ignore_ascii_case(b) } else { a == b };
        if !same(database, &self.followed.table.0) {
            return Ok(());
        }
        if table == READERS {
            self.maps.insert(id, Mapped::Readers(layout?));
            return Ok(());
        }
        if !same(table, &self.followed.table.1) {
            return Ok(());
        }
        let layout = layout?;
        let head = Head::of(self.group.at);
        if let Some(names) = &layout.names {
            let place = |column: &KeyColumn| names.iter().position(|name| name == column.name());
            match self.followed.key.iter().map(place).collect::<Option<Vec<_>>>() {
                Some(places) => self.reached.key = places.into(),
                None => self.change(&head, What::Lost("a key column of the table was renamed or dropped")),
            }
            (self.expected, self.doubted) = (None, false);
        } else {
            let begins = |columns: &Vec<Stored>| columns.iter().zip(&layout.columns).all(|(one, other)| one == other);
            // Columns were added at the end at most, or this was not in the log.
            if self.expected.is_none() && !self.columns.as_ref().is_none_or(begins) {
                self.altered(&head).await?;
            }
            let fits = |types: Vec<String>| {
                let columns = &layout.columns;
                types.len() <= columns.len()
                    && types.iter().zip(columns).all(|(of, stored)| codes(of).contains(&stored.code))
            };
            if self.doubted || !self.expected.take().is_none_or(fits) {
                let why = "the table was altered several times while the log was not read; binlog_row_metadata = FULL lets that be followed";
                self.change(&head, What::Lost(why));
            }
        }
        self.columns = Some(layout.columns.clone());
        self.maps.insert(id, Mapped::Table(layout));
        Ok(())
    }

    fn rows(&mut self, head: &Head, rows: &Rows<'_>) {
        let mapped = self.maps.remove(&rows.id);
        match &mapped {
            Some(Mapped::Table(layout)) => self.table_rows(head, rows, layout),
            Some(Mapped::Readers(layout)) => self.reader_rows(head, rows, layout),
            None => {}
        }
        match mapped {
            Some(mapped) if !rows.last => {
                self.maps.insert(rows.id, mapped);
            }
            _ if rows.last => self.maps.clear(),
            _ => {}
        }
    }

    fn table_rows(&mut self, head: &Head, rows: &Rows<'_>, layout: &Layout) {
        let places = Arc::clone(&self.reached.key);
        let stored: Vec<Stored> = places.iter().filter_map(|place| layout.columns.get(*place).copied()).collect();
        let mut found: Vec<(Key, Option<Key>)> = Vec::new();
        let columns = &self.followed.key;
        let read = layout.rows(rows, &places, |first, second| {
            let first = key(columns, &stored, &first, None)?;
            let second = match second {
                Some(cells) => Some(key(columns, &stored, &cells, Some(&first))?),
                None => None,
            };
            found.push((first, second));
            Some(())
        });
        for (first, second) in found {
            self.group.rows += 1;
            match (rows.kind, second) {
                (RowsKind::Insert, _) => self.change(head, What::Upsert(first)),
                (RowsKind::Delete, _) | (_, None) => self.change(head, What::Delete(first)),
                (RowsKind::Update | RowsKind::UpdatePartly, Some(second)) => {
                    if second != first {
                        self.change(head, What::Delete(first));
                    }
                    self.change(head, What::Upsert(second));
                }
            }
        }
        if read.is_none() {
            self.change(
                head,
                What::Lost("a row was logged without its key, or in a form that is not known (see binlog_row_image)"),
            );
        }
    }

    /// Our marks, and the end of our registration.
    fn reader_rows(&mut self, head: &Head, rows: &Rows<'_>, layout: &Layout) {
        // Texts of these columns are UTF-8.
        let text =
            |cell: Option<Option<&[u8]>>| cell.flatten().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        let (mut ours, mut gone) = (None, false);
        let read = layout.rows(rows, &MARK_COLUMNS, |first, second| {
            let [consumer, before] = [first.first().copied().flatten(), first.get(1).copied().flatten()];
            if text(consumer).is_none_or(|consumer| consumer != self.followed.own) {
                return Some(());
            }
            gone |= rows.kind == RowsKind::Delete;
            let after = second.and_then(|cells| text(cells.get(1).copied().flatten()));
            if let Some(said) = after.filter(|said| text(before).as_ref() != Some(said)) {
                ours = said.split(':').nth(1).and_then(|rows| rows.parse().ok());
            }
            Some(())
        });
        if read.is_some() && ours.is_some() {
            self.group.ours = ours;
        }
        if gone {
            self.change(head, What::Lost("this reader was taken away"));
        }
    }
}

/// The place that the low 32 bits of it stand for: files of the log can be larger.
fn onwards(at: u64, low: u32) -> u64 {
    const EPOCH: u64 = 1 << 32;
    let near = (at & !(EPOCH - 1)) | u64::from(low);
    if near < at { near + EPOCH } else { near }
}

mod group;
#[cfg(test)]
mod tests;
