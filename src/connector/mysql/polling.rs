//! Captures changes by a column that moves forward at each write (layer 4): pages in the order of (time, key).
//!
//! A writer may commit later than the time it wrote, so each pass begins `overlap` before the newest time seen. What the last
//! passes delivered is remembered by its content, so that an idle table delivers nothing. Deletes are not seen, nor are rows
//! without a time.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use sqlx::mysql::MySqlRow;
use sqlx::{AssertSqlSafe, MySqlConnection, Row};

use super::collection::{Asked, Collection, read};
use super::errors::Sql;
use super::table::MyColumn;
use super::values::{Bind, decode, encode};
use super::{position, target, tracking};
use crate::change::{Change, ChangeBatch, Op, Position};
use crate::connector::change_log::list;
use crate::connector::{Capabilities, Source};
use crate::error::{ErrorKind, Result, SyncError};
use crate::record::{Key, Record, encode_values};
use crate::value::{Kind, Value};

/// Row versions that are remembered at most; beyond that, what lies in the overlap is delivered again.
const REMEMBERED_MAX: usize = 200_000;
/// Rows read at a time to remember what is behind the head.
const HEAD_PAGE: usize = 5_000;
/// Where a time without a zone may be ahead of UTC.
const ZONES: i64 = 14 * 3_600_000_000;

/// Where a poll stands. Times are microseconds since 1970.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct PollPosition {
    /// Grows with each batch that delivered something, so that no two positions are mistaken for each other.
    batch: u64,
    /// The newest time of all finished passes; none where the table was empty.
    newest: Option<i64>,
    /// The last row of the page before, inside a pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    page: Option<Page>,
}

/// A row in the order of a pass, and the newest time that is believed: one in the future must not hide what comes after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Page {
    time: i64,
    ceiling: i64,
    /// The key's canonical bytes in base64.
    key: String,
}

impl Page {
    fn of(row: &Polled) -> Self {
        Self { time: row.time, ceiling: row.ceiling, key: BASE64_STANDARD.encode(row.key.encode()) }
    }

    fn key(&self) -> Option<Key> {
        Key::decode(&BASE64_STANDARD.decode(&self.key).ok()?).ok()
    }
}

/// Polls a table.
pub(super) struct PollSource {
    collection: Arc<Collection>,
    updated_at: MyColumn,
    /// Digest and time of what was delivered, by key.
    delivered: HashMap<Key, (u64, i64)>,
    /// The position handed out last: what was delivered counts only for a reader who goes on from there.
    issued: Option<Position>,
}

/// A row of a page.
struct Polled {
    time: i64,
    ceiling: i64,
    passes: bool,
    record: Record,
    key: Key,
}

impl PollSource {
    /// A source that goes by the column named in the options.
    pub(super) fn new(collection: Arc<Collection>) -> Result<Self> {
        let refused = |message: String| collection.place.error(ErrorKind::SchemaMismatch, "mysql.updated_at", message);
        let name = collection.options.updated_at.as_deref();
        let name = name.ok_or_else(|| {
            refused("polling needs updated_at, the column that moves forward at each write".to_owned())
        })?;
        let column =
            collection.table.column(name).ok_or_else(|| refused(format!("there is no column {name} to poll by")))?;
        if !matches!(column.kind(), Kind::Instant | Kind::Local | Kind::Date) {
            let native = &column.column.native_type;
            return Err(refused(format!("{name} is of type {native}; polling goes by a timestamp or a date")));
        }
        Ok(Self { updated_at: column.clone(), collection, delivered: HashMap::new(), issued: None })
    }

    fn unreadable(&self) -> SyncError {
        let message = "the stored position is none of polling; load the pair again (tidelock resync)";
        self.collection.place.error(ErrorKind::SchemaMismatch, "source.tracking_lost", message)
    }

    /// The newest time that is believed; `None` where the table is empty.
    async fn newest_now(&self) -> Sql<Option<i64>> {
        let (row, time) = (self.collection.row(), self.updated_at.of(&self.collection.row()));
        // The order makes it the last entry of an index, where there is one.
        let sql = format!(
            "SELECT {}, {NOW} FROM {} WHERE {time} > '0001-01-01' ORDER BY {time} DESC LIMIT 1",
            self.updated_at.read(&row),
            self.collection.table.quoted()
        );
        let found = sqlx::query(AssertSqlSafe(sql)).fetch_optional(&self.collection.pool).await?;
        found
            .map(|row| {
                let time = micros(&decode(&row, 0, &self.updated_at)?).unwrap_or_default();
                Ok(time.min(self.ceiling(row.try_get_unchecked(1)?)))
            })
            .transpose()
    }

    /// A time without a zone may be that of any zone.
    fn ceiling(&self, now: i64) -> i64 {
        if self.updated_at.kind() == Kind::Instant { now } else { now.saturating_add(ZONES) }
    }

    async fn page(&self, position: &PollPosition, max: usize) -> Sql<Vec<Polled>> {
        let collection = &self.collection;
        let row = collection.row();
        let time = self.updated_at.of(&row);
        let keys = list(collection.key.iter().map(|column| column.of(&row)));
        let last = position.page.as_ref().and_then(|page| Some((page.time, page.key()?)));
        let (mut condition, mut binds) = (format!("{time} > '0001-01-01'"), Vec::new());
        if let Some(newest) = position.newest {
            condition.push_str(&format!(" AND {time} >= ?"));
            let overlap = i64::try_from(collection.options.overlap.as_micros()).unwrap_or(i64::MAX);
            binds.push(time_text(newest.saturating_sub(overlap)));
        }
        if let Some((at, key)) = &last {
            let parameters = list(collection.key.iter().map(MyColumn::parameter));
            condition.push_str(&format!(" AND ({time} > ? OR ({time} = ? AND ({keys}) > ({parameters})))"));
            binds.extend([time_text(*at), time_text(*at)]);
            let part = |(column, value)| encode(column, value).unwrap_or(Bind::Null);
            binds.extend(collection.key.iter().zip(&key.0).map(part));
        }
        let sql = format!(
            "SELECT {}, {NOW}, {} IS TRUE, {}, {} FROM {} WHERE {condition} ORDER BY {time}, {keys} LIMIT {max}",
            self.updated_at.read(&row),
            collection.filter_condition().unwrap_or_else(|| "TRUE".to_owned()),
            list(collection.key.iter().map(|column| column.read(&row))),
            collection.reads(),
            collection.table.quoted(),
        );
        let query = binds.into_iter().fold(sqlx::query(AssertSqlSafe(sql)), |query, bind| bind.to(query));
        query.fetch_all(&collection.pool).await?.iter().map(|row| self.polled(row)).collect()
    }

    fn polled(&self, row: &MySqlRow) -> Sql<Polled> {
        let width = self.collection.key.len();
        Ok(Polled {
            time: micros(&decode(row, 0, &self.updated_at)?).unwrap_or_default(),
            ceiling: self.ceiling(row.try_get_unchecked(1)?),
            passes: row.try_get_unchecked::<i64, _>(2)? != 0,
            key: Key(read(row, 3, &self.collection.key)?),
            record: self.collection.record(row, 3 + width)?,
        })
    }

    /// The changes among these rows that were not delivered before.
    fn fresh(&mut self, rows: Vec<Polled>) -> Vec<Change> {
        let mut changes = Vec::with_capacity(rows.len());
        for row in rows {
            let mut hasher = DefaultHasher::new();
            (row.passes, encode_values(row.record.values())).hash(&mut hasher);
            let known = (hasher.finish(), row.time);
            if self.delivered.get(&row.key) == Some(&known) {
                continue;
            }
            if self.delivered.len() < REMEMBERED_MAX || self.delivered.contains_key(&row.key) {
                self.delivered.insert(row.key.clone(), known);
            }
            // A record that the filter leaves out now was perhaps inside before: without an image it is fetched, and found gone.
            let image = row.passes.then_some(row.record);
            changes.push(Change { key: row.key, op: Op::Upsert, at: Some(row.time), image });
        }
        changes
    }

    fn forget_before(&mut self, newest: Option<i64>) {
        let Some(newest) = newest else { return };
        let overlap = i64::try_from(self.collection.options.overlap.as_micros()).unwrap_or(i64::MAX);
        let oldest = newest.saturating_sub(overlap);
        self.delivered.retain(|_, (_, at)| *at >= oldest);
    }
}

/// The server's clock, as microseconds since 1970.
const NOW: &str = "TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6))";

fn micros(value: &Value) -> Option<i64> {
    match value.clone().convert(Kind::Local) {
        Ok(Value::Local(micros)) => Some(micros),
        _ => None,
    }
}

fn time_text(micros: i64) -> Bind {
    // Before the calendar begins everything is later.
    let text = Value::Local(micros.max(-62_135_596_800_000_000)).to_text().unwrap_or_default();
    Bind::Text(text.replacen('T', " ", 1))
}

/// The newest time after a pass that ended with this row.
fn newest(before: Option<i64>, last: Option<Page>) -> Option<i64> {
    let time = last.map(|last| last.time.min(last.ceiling));
    time.max(before)
}

/// The times that stand in the records.
pub(super) async fn times(
    connection: &mut MySqlConnection,
    collection: &Collection,
    name: &str,
    keys: &[Key],
) -> Sql<Vec<Option<i64>>> {
    let mut times = vec![None; keys.len()];
    let (Some(column), row_name) = (collection.table.column(name), collection.row()) else { return Ok(times) };
    for asked in Asked::new(&collection.key, keys).parts() {
        let sql = format!(
            "SELECT {}, {} FROM {} WHERE {}",
            column.read(&row_name),
            list(collection.key.iter().map(|column| column.read(&row_name))),
            collection.table.quoted(),
            asked.condition(&row_name),
        );
        for row in &asked.rows(connection, sql).await? {
            let time = micros(&decode(row, 0, column)?);
            for owner in asked.owners(&Key(read(row, 1, &collection.key)?)) {
                if let Some(slot) = times.get_mut(*owner) {
                    *slot = time;
                }
            }
        }
    }
    Ok(times)
}

#[async_trait]
impl Source for PollSource {
    fn capabilities(&self) -> Capabilities {
        target::capabilities(&self.collection)
    }

    async fn prepare(&mut self) -> Result<String> {
        Ok(format!("polling:{}", self.updated_at.name()))
    }

    async fn remove(&mut self) -> Result<()> {
        let failed = |error| self.collection.place.failed("removing change tracking", error);
        let mut connection = self.collection.pool.acquire().await.map_err(failed)?;
        tracking::remove(&mut connection, &self.collection).await
    }

    async fn head(&mut self) -> Result<Position> {
        let place = self.collection.place.clone();
        let failed = |error| place.failed("asking for the newest time", error);
        let newest = self.newest_now().await.map_err(failed)?;
        let mut position = PollPosition { newest, ..PollPosition::default() };
        // What lies in the overlap is behind the head, too, for a reader that goes on from here.
        self.delivered.clear();
        loop {
            let rows = self.page(&position, HEAD_PAGE).await.map_err(failed)?;
            let more = rows.len() >= HEAD_PAGE && self.delivered.len() < REMEMBERED_MAX;
            position.page = rows.last().map(Page::of);
            self.fresh(rows);
            if !more {
                break;
            }
        }
        position.page = None;
        let head = position::write(&position);
        self.issued = Some(head.clone());
        Ok(head)
    }

    async fn next_batch(&mut self, after: &Position, max: usize) -> Result<ChangeBatch> {
        let before = position::read::<PollPosition>(after).ok_or_else(|| self.unreadable())?;
        if self.issued.as_ref() != Some(after) {
            self.delivered.clear();
        }
        let max = max.max(1);
        let rows = self.page(&before, max).await.map_err(|error| self.collection.place.failed("polling", error))?;
        let more = rows.len() >= max;
        let last = rows.last().map(Page::of);
        let changes = self.fresh(rows);
        let mut position = before.clone();
        position.batch += u64::from(!changes.is_empty());
        if more {
            position.page = last;
        } else {
            // A pass whose last page is empty ended with the row before it.
            position.newest = newest(before.newest, last.or(before.page));
            position.page = None;
            self.forget_before(position.newest);
        }
        let through = position::write(&position);
        self.issued = Some(through.clone());
        Ok(ChangeBatch { changes, through, more })
    }

    async fn wait(&mut self, timeout: Duration) -> Result<()> {
        tokio::time::sleep(timeout).await;
        Ok(())
    }

    async fn acknowledge(&mut self, _through: &Position) -> Result<()> {
        Ok(())
    }
}
