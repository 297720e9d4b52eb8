//! What connectors share that capture changes by a column which moves forward at each write: pages in the order of (time, key).
//!
//! A writer may commit later than the time it wrote, so each pass begins `overlap` before the newest time seen. What the last
//! passes delivered is remembered by its version, so that an idle table delivers nothing. Deletes are not seen, nor are rows
//! without a time.

use std::collections::HashMap;
use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Capabilities, Source};
use crate::change::{Change, ChangeBatch, Op, Position};
use crate::error::{Result, SyncError};
use crate::record::{Key, Record};
use crate::value::Kind;

/// Row versions that are remembered at most; beyond that, what lies in the overlap is delivered again.
const REMEMBERED_MAX: usize = 200_000;
/// Rows read at a time to remember what is behind the head.
const HEAD_PAGE: usize = 5_000;

/// Where a poll stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PollPosition<T, K> {
    /// Grows with each batch that delivered something, so that no two positions are mistaken for each other.
    batch: u64,
    /// The newest time of all finished passes; none where the table was empty.
    pub newest: Option<T>,
    /// The last row of the page before, inside a pass.
    #[serde(default = "Option::default", skip_serializing_if = "Option::is_none")]
    pub page: Option<Page<T, K>>,
}

/// A row in the order of a pass, and the newest time that is believed: one in the future must not hide what comes after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page<T, K> {
    /// Its time.
    pub time: T,
    ceiling: T,
    /// Its key.
    pub key: K,
}

/// A row of a page.
#[derive(Debug)]
pub struct Polled<T, V> {
    /// Its time.
    pub time: T,
    /// The newest time that is believed.
    pub ceiling: T,
    /// Differs from that of every other content that the record had.
    pub version: V,
    /// Whether the pair's filter lets it through.
    pub passes: bool,
    /// The record.
    pub record: Record,
    /// Its key.
    pub key: Key,
}

/// The position of a table's poll.
pub type PositionOf<P> = PollPosition<<P as Pages>::Time, <P as Pages>::Cursor>;
/// A row of a table's page.
pub type PolledOf<P> = Polled<<P as Pages>::Time, <P as Pages>::Version>;

/// The column that is named to poll by, found by its name; `kind` says what it holds, and what its system calls that.
///
/// # Errors
/// Why there is none that will do.
pub fn polled_column<'a, C>(
    name: Option<&str>,
    find: impl FnOnce(&str) -> Option<&'a C>,
    kind: impl FnOnce(&'a C) -> (Kind, &'a str),
) -> std::result::Result<&'a C, String> {
    let name = name.ok_or("polling needs updated_at, the column that moves forward at each write")?;
    let column = find(name).ok_or_else(|| format!("there is no column {name} to poll by"))?;
    match kind(column) {
        (Kind::Instant | Kind::Local | Kind::Date, _) => Ok(column),
        (_, native) => Err(format!("{name} is of type {native}; polling goes by a timestamp or a date")),
    }
}

/// How one system's table is read in the order of (time, key).
#[async_trait]
pub trait Pages: Send + Sync {
    /// A time as the system gives it, without loss.
    type Time: Debug + Clone + PartialEq + Serialize + DeserializeOwned + Send + Sync;
    /// A key as a position keeps it.
    type Cursor: Debug + Clone + PartialEq + Serialize + DeserializeOwned + Send + Sync;
    /// What tells the versions of a row apart.
    type Version: PartialEq + Send + Sync;

    /// What the source can do.
    fn capabilities(&self) -> Capabilities;
    /// The column that moves forward.
    fn column(&self) -> &str;
    /// How far a pass looks back.
    fn overlap(&self) -> Duration;
    /// A time as microseconds since 1970; `None` where it is beyond them.
    fn micros(&self, time: &Self::Time) -> Option<i64>;
    /// A key as a position keeps it.
    fn cursor(&self, key: &Key) -> Self::Cursor;
    /// The error that a stored position cannot be gone on from.
    fn lost(&self, message: &str) -> SyncError;
    /// The newest time that is believed; `None` where the table is empty.
    ///
    /// # Errors
    /// Where the table cannot be read.
    async fn newest(&self) -> Result<Option<Self::Time>>;
    /// At most `max` rows of a pass behind `position`, in the order of (time, key).
    ///
    /// # Errors
    /// Where the table cannot be read.
    async fn page(&self, position: &PositionOf<Self>, max: usize) -> Result<Vec<PolledOf<Self>>>;
    /// Gives up what another capture method would hold on to while nobody reads it.
    ///
    /// # Errors
    /// Where that is refused.
    async fn leave(&self) -> Result<()> {
        Ok(())
    }
    /// Removes what another capture method has left.
    ///
    /// # Errors
    /// Where that is refused.
    async fn remove(&self) -> Result<()>;
}

/// What the last passes delivered.
#[derive(Debug)]
pub struct Delivered<V> {
    /// Version and time, by key.
    known: HashMap<Key, (V, Option<i64>)>,
    /// The position handed out last: what was delivered counts only for a reader who goes on from there.
    issued: Option<Position>,
}

impl<V> Default for Delivered<V> {
    fn default() -> Self {
        Self { known: HashMap::new(), issued: None }
    }
}

impl<V: PartialEq> Delivered<V> {
    /// Begins anew.
    pub fn clear(&mut self) {
        self.known.clear();
    }

    /// Begins anew where a reader does not go on from the position handed out last; says whether it does.
    pub fn goes_on(&mut self, after: &Position) -> bool {
        let goes_on = self.issued.as_ref() == Some(after);
        if !goes_on {
            self.clear();
        }
        goes_on
    }

    /// The position to hand out.
    pub fn issue<T: Serialize>(&mut self, position: &T) -> Position {
        let position = Position(serde_json::to_string(position).unwrap_or_default());
        self.issued = Some(position.clone());
        position
    }

    /// Whether this version of a record was not delivered before; from now on it was.
    pub fn is_new(&mut self, key: &Key, version: V, at: Option<i64>) -> bool {
        let known = (version, at);
        if self.known.get(key) == Some(&known) {
            return false;
        }
        if !self.is_full() || self.known.contains_key(key) {
            self.known.insert(key.clone(), known);
        }
        true
    }

    /// Whether no more records are remembered.
    pub fn is_full(&self) -> bool {
        self.known.len() >= REMEMBERED_MAX
    }

    /// Forgets what no pass will look at again, once the newest time of all passes is this one: microseconds since 1970.
    pub fn forget_before(&mut self, newest: Option<i64>, overlap: Duration) {
        let Some(newest) = newest else { return };
        let oldest = newest.saturating_sub(i64::try_from(overlap.as_micros()).unwrap_or(i64::MAX));
        self.known.retain(|_, (_, at)| at.is_none_or(|at| at >= oldest));
    }
}

/// Polls a table.
pub struct PollSource<P: Pages> {
    pages: P,
    delivered: Delivered<P::Version>,
}

impl<P: Pages> PollSource<P> {
    /// A source that has delivered nothing yet.
    pub fn new(pages: P) -> Self {
        Self { pages, delivered: Delivered::default() }
    }

    fn page_of(&self, row: &PolledOf<P>) -> Page<P::Time, P::Cursor> {
        Page { time: row.time.clone(), ceiling: row.ceiling.clone(), key: self.pages.cursor(&row.key) }
    }

    /// The changes among these rows that were not delivered before.
    fn fresh(&mut self, rows: Vec<PolledOf<P>>) -> Vec<Change> {
        let mut changes = Vec::with_capacity(rows.len());
        for row in rows {
            let at = self.pages.micros(&row.time);
            if !self.delivered.is_new(&row.key, row.version, at) {
                continue;
            }
            // A record that the filter leaves out now was perhaps inside before: without an image it is fetched, and found gone.
            changes.push(Change { key: row.key, op: Op::Upsert, at, image: row.passes.then_some(row.record) });
        }
        changes
    }

    /// The newest time after a pass that ended with this row.
    fn newest(&self, before: Option<P::Time>, last: Option<Page<P::Time, P::Cursor>>) -> Option<P::Time> {
        let micros = |time: &P::Time| self.pages.micros(time);
        let Some(Page { time, ceiling, .. }) = last else { return before };
        let time = if micros(&time) > micros(&ceiling) { ceiling } else { time };
        match before {
            Some(before) if micros(&before) > micros(&time) => Some(before),
            _ => Some(time),
        }
    }
}

#[async_trait]
impl<P: Pages> Source for PollSource<P> {
    fn capabilities(&self) -> Capabilities {
        self.pages.capabilities()
    }

    async fn prepare(&mut self) -> Result<String> {
        self.pages.leave().await?;
        Ok(format!("polling:{}", self.pages.column()))
    }

    async fn remove(&mut self) -> Result<()> {
        self.pages.remove().await
    }

    async fn head(&mut self) -> Result<Position> {
        let mut position = PollPosition { batch: 0, newest: self.pages.newest().await?, page: None };
        // What lies in the overlap is behind the head, too, for a reader that goes on from here.
        self.delivered.clear();
        loop {
            let rows = self.pages.page(&position, HEAD_PAGE).await?;
            let more = rows.len() >= HEAD_PAGE && !self.delivered.is_full();
            position.page = rows.last().map(|row| self.page_of(row));
            self.fresh(rows);
            if !more {
                break;
            }
        }
        position.page = None;
        Ok(self.delivered.issue(&position))
    }

    async fn next_batch(&mut self, after: &Position, max: usize) -> Result<ChangeBatch> {
        let mut position: PositionOf<P> = serde_json::from_str(&after.0).map_err(|_| {
            self.pages.lost("the stored position is none of polling; load the pair again (tidelock resync)")
        })?;
        self.delivered.goes_on(after);
        let max = max.max(1);
        let rows = self.pages.page(&position, max).await?;
        let more = rows.len() >= max;
        let last = rows.last().map(|row| self.page_of(row));
        let changes = self.fresh(rows);
        position.batch += u64::from(!changes.is_empty());
        if more {
            position.page = last;
        } else {
            // A pass whose last page is empty ended with the row before it.
            position.newest = self.newest(position.newest, last.or(position.page));
            position.page = None;
            let newest = position.newest.as_ref().and_then(|newest| self.pages.micros(newest));
            self.delivered.forget_before(newest, self.pages.overlap());
        }
        Ok(ChangeBatch { changes, through: self.delivered.issue(&position), more })
    }

    async fn wait(&mut self, timeout: Duration) -> Result<()> {
        tokio::time::sleep(timeout).await;
        Ok(())
    }

    async fn acknowledge(&mut self, _through: &Position) -> Result<()> {
        Ok(())
    }
}
