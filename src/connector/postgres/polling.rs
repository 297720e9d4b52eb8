//! Captures changes by a column that moves forward at each write (layer 4): pages in the order of (time, key).
//!
//! A writer may commit later than the time it wrote, so each pass begins `overlap` before the newest time seen. What the last
//! passes delivered is remembered by row version, so that an idle table delivers nothing. Deletes are not seen, nor are rows
//! without a time.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use sqlx::postgres::PgRow;
use sqlx::{AssertSqlSafe, Row};

use super::collection::{Collection, read};
use super::errors::Sql;
use super::table::PgColumn;
use super::{position, target, tracking, values};
use crate::change::{Change, ChangeBatch, Op, Position};
use crate::connector::change_log::{list, quote};
use crate::connector::{Capabilities, Source};
use crate::error::{ErrorKind, Result, SyncError};
use crate::record::{Key, Record};
use crate::value::{Kind, Value};

/// Row versions that are remembered at most; beyond that, what lies in the overlap is delivered again.
const REMEMBERED_MAX: usize = 200_000;
/// Rows read at a time to remember what is behind the head.
const HEAD_PAGE: usize = 5_000;
const MICROS_PER_DAY: i64 = 86_400_000_000;

/// Where a poll stands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct PollPosition {
    /// Grows with each batch that delivered something, so that no two positions are mistaken for each other.
    batch: u64,
    /// The newest time of all finished passes, as the server prints it; none where the table was empty.
    newest: Option<String>,
    /// The last row of the page before, inside a pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    page: Option<Page>,
}

/// A row in the order of a pass, and the newest time that is believed: one in the future must not hide what comes after it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Page {
    time: String,
    ceiling: String,
    key: Vec<Option<String>>,
}

impl Page {
    fn of(row: &Polled) -> Self {
        let key = row.key.0.iter().map(|value| values::input(value).map(std::borrow::Cow::into_owned)).collect();
        Self { time: row.time.clone(), ceiling: row.ceiling.clone(), key }
    }
}

/// Polls a table.
pub(super) struct PollSource {
    collection: Arc<Collection>,
    updated_at: PgColumn,
    /// Row version and time of what was delivered, by key.
    delivered: HashMap<Key, (String, i64)>,
    /// The position handed out last: what was delivered counts only for a reader who goes on from there.
    issued: Option<Position>,
}

/// A row of a page.
struct Polled {
    time: String,
    ceiling: String,
    version: String,
    passes: bool,
    record: Record,
    key: Key,
}

impl PollSource {
    /// A source that goes by the column named in the options.
    pub(super) fn new(collection: Arc<Collection>) -> Result<Self> {
        let refused =
            |message: String| collection.place.error(ErrorKind::SchemaMismatch, "postgres.updated_at", message);
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

    /// The table by its own name, for the filter may qualify columns with it.
    fn row(&self) -> String {
        quote(&self.collection.table.name)
    }

    /// A time without a zone may be that of any zone.
    fn ceiling(&self) -> &'static str {
        if self.updated_at.kind() == Kind::Instant {
            "clock_timestamp()"
        } else {
            "(clock_timestamp() AT TIME ZONE 'UTC' + interval '14 hours')"
        }
    }

    /// The newest time that is believed; `None` where the table is empty.
    async fn newest_now(&self) -> Sql<Option<String>> {
        let time = self.updated_at.of(&self.row());
        // The order makes it the last entry of an index, where there is one.
        let sql = format!(
            "SELECT least({time}, {}::{})::text FROM {} WHERE isfinite({time}) ORDER BY {time} DESC LIMIT 1",
            self.ceiling(),
            self.updated_at.cast,
            self.collection.table.quoted()
        );
        sqlx::query_scalar(AssertSqlSafe(sql)).fetch_optional(&self.collection.pool).await
    }

    async fn page(&self, position: &PollPosition, max: usize) -> Sql<Vec<Polled>> {
        let collection = &self.collection;
        let (row, time) = (self.row(), self.updated_at.of(&self.row()));
        let keys = list(collection.key.iter().map(|column| column.of(&row)));
        let after_key = list(
            collection.key.iter().enumerate().map(|(index, column)| column.cast(&format!("${}::text", index + 5))),
        );
        let cast = &self.updated_at.cast;
        let after = if position.page.is_some() {
            format!("AND ({time}, {keys}) > ($4::text::{cast}, {after_key})")
        } else {
            String::new()
        };
        let filter =
            collection.filter.as_ref().map_or_else(|| "true".to_owned(), |filter| format!("({filter}\n) IS TRUE"));
        let sql = format!(
            "SELECT {time}::text, {ceiling}::{cast}::text, {row}.xmin::text || {row}.ctid::text, {filter}, {key_texts}, {texts} \
             FROM {table} WHERE isfinite({time}) AND ($1::text IS NULL OR {time} >= $1::text::{cast} - make_interval(secs => $2)) \
             {after} ORDER BY {time}, {keys} LIMIT $3",
            ceiling = self.ceiling(),
            key_texts = list(collection.key.iter().map(|column| column.text(&row))),
            texts = collection.texts(&row),
            table = collection.table.quoted(),
        );
        let mut query = sqlx::query(AssertSqlSafe(sql))
            .bind(position.newest.as_deref())
            .bind(collection.options.overlap.as_secs_f64())
            .bind(i64::try_from(max).unwrap_or(i64::MAX));
        if let Some(page) = &position.page {
            query = page.key.iter().fold(query.bind(&page.time), |query, value| query.bind(value.as_deref()));
        }
        query.fetch_all(&collection.pool).await?.iter().map(|row| self.polled(row)).collect()
    }

    fn polled(&self, row: &PgRow) -> Sql<Polled> {
        let width = self.collection.key.len();
        Ok(Polled {
            time: row.try_get(0)?,
            ceiling: row.try_get(1)?,
            version: row.try_get(2)?,
            passes: row.try_get(3)?,
            key: Key(read(row, 4, &self.collection.key)?),
            record: self.collection.record(row, 4 + width)?,
        })
    }

    fn micros(&self, time: &str) -> Option<i64> {
        let value = values::parse(self.updated_at.kind(), time);
        if let Value::Instant(micros) | Value::Local(micros) = value {
            return Some(micros);
        }
        if let Value::Date(days) = value { Some(i64::from(days) * MICROS_PER_DAY) } else { None }
    }

    /// The changes among these rows that were not delivered before.
    fn fresh(&mut self, rows: Vec<Polled>) -> Vec<Change> {
        let mut changes = Vec::with_capacity(rows.len());
        for row in rows {
            let at = self.micros(&row.time);
            let known = (row.version, at.unwrap_or(i64::MAX));
            if self.delivered.get(&row.key) == Some(&known) {
                continue;
            }
            if self.delivered.len() < REMEMBERED_MAX || self.delivered.contains_key(&row.key) {
                self.delivered.insert(row.key.clone(), known);
            }
            // A record that the filter leaves out now was perhaps inside before: without an image it is fetched, and found gone.
            changes.push(Change { key: row.key, op: Op::Upsert, at, image: row.passes.then_some(row.record) });
        }
        changes
    }

    /// The newest time after a pass that ended with this row.
    fn newest(&self, before: Option<&String>, last: Option<Page>) -> Option<String> {
        let Some(last) = last else { return before.cloned() };
        let time = if self.micros(&last.time) > self.micros(&last.ceiling) { last.ceiling } else { last.time };
        match before {
            Some(before) if self.micros(before) > self.micros(&time) => Some(before.clone()),
            _ => Some(time),
        }
    }

    fn forget_before(&mut self, newest: Option<&String>) {
        let Some(newest) = newest.and_then(|newest| self.micros(newest)) else { return };
        // A date is the beginning of its day.
        let overlap = i64::try_from(self.collection.options.overlap.as_micros()).unwrap_or(i64::MAX);
        let oldest = newest.saturating_sub(overlap);
        self.delivered.retain(|_, (_, at)| *at >= oldest);
    }
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
        let removing = async {
            let mut transaction = self.collection.pool.begin().await?;
            tracking::remove(&mut transaction, &self.collection).await?;
            transaction.commit().await
        };
        removing.await.map_err(|error| self.collection.place.failed("removing change tracking", error))
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
            position.newest = self.newest(before.newest.as_ref(), last.or(before.page));
            position.page = None;
            self.forget_before(position.newest.as_ref());
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
