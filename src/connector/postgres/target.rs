//! Fetches and writes the records of a table (layer 4): the port's [`Target`], each half of it in a file of its own.

use std::sync::Arc;

use async_trait::async_trait;
use sqlx::Row;

use super::collection::{Collection, columns_of, matching, query, unnest};
use super::errors::{Sql, sqlstate};
use super::table::PgColumn;
use super::tracking::Names;
use super::upsert::{self, Loaders};
use super::{marks, scan, write};
use crate::config::CaptureMethod;
use crate::connector::marks::Kept;
use crate::connector::{Capabilities, Mark, Scan, ScanOrder, Target, Upserted, Write, WriteOutcome};
use crate::error::Result;
use crate::record::{Key, Record};

/// Records in one `write`, `fetch` or `find`: more gain little, and hold locks for longer.
pub(super) const BATCH: usize = 2_000;
/// What a table that does not exist is answered with.
const NO_TABLE: &str = "42P01";

/// A table that is fetched from and written to.
pub(super) struct PgTarget {
    collection: Arc<Collection>,
    loaders: Loaders,
}

impl PgTarget {
    /// A target that uses the collection's pool.
    pub(super) fn new(collection: Arc<Collection>) -> Self {
        Self { collection, loaders: Loaders::default() }
    }

    /// Does what sees records, or changes them: the stream of the table has to know.
    async fn looking<T>(&self, doing: impl Future<Output = Result<T>>) -> Result<T> {
        match &self.collection.stream {
            Some(stream) => stream.looking(doing).await,
            None => doing.await,
        }
    }

    /// For each of `keys` the rows of `rows` whose `columns` have these values.
    async fn read(&self, doing: &str, columns: &[PgColumn], keys: &[Key], rows: &str) -> Result<Vec<Vec<Record>>> {
        let reading = async {
            let found = self.read_rows(columns, keys, rows).await;
            found.map_err(|error| self.collection.place.failed(doing, error))
        };
        self.looking(reading).await
    }

    async fn read_rows(&self, columns: &[PgColumn], keys: &[Key], rows: &str) -> Sql<Vec<Vec<Record>>> {
        let mut found: Vec<Vec<Record>> = keys.iter().map(|_| Vec::new()).collect();
        if keys.is_empty() {
            return Ok(found);
        }
        let sql = format!(
            "SELECT u.ord, {} FROM {} JOIN {} AS t ON {}",
            self.collection.texts("t"),
            unnest(columns.len(), 1),
            rows,
            matching(columns)
        );
        for row in &query(sql, columns_of(keys.iter(), columns.len())).fetch_all(&self.collection.pool).await? {
            let ord: i64 = row.try_get(0)?;
            let slot = usize::try_from(ord - 1).ok().and_then(|index| found.get_mut(index));
            if let Some(records) = slot {
                records.push(self.collection.record(row, 1)?);
            }
        }
        Ok(found)
    }

    /// By the change table, or by the `updated_at` column where changes are polled.
    async fn times(&self, keys: &[Key]) -> Sql<Vec<Option<i64>>> {
        let collection = &self.collection;
        let width = collection.key.len();
        let micros = |time: &str| format!("(extract(epoch FROM {time}) * 1000000)::bigint");
        let mut times = vec![None; keys.len()];
        let sql = match (collection.options.capture, &collection.options.updated_at) {
            (CaptureMethod::DatabaseTriggers | CaptureMethod::Binlog | CaptureMethod::Cdc, _) => {
                let on: Vec<String> = collection
                    .key
                    .iter()
                    .enumerate()
                    .map(|(index, column)| format!("t.k{index} = u.c{index}::{}", column.tracked_type()))
                    .collect();
                format!(
                    "SELECT u.ord, {} FROM {} JOIN {} AS t ON {} WHERE t.origin IS DISTINCT FROM ${} GROUP BY u.ord",
                    micros("max(t.at)"),
                    unnest(width, 1),
                    Names::of(&collection.table).changes,
                    on.join(" AND "),
                    width + 1
                )
            }
            (CaptureMethod::Polling, Some(name)) => {
                let Some(column) = collection.table.column(name) else { return Ok(times) };
                format!(
                    "SELECT u.ord, {} FROM {} JOIN {} AS t ON {} WHERE isfinite({time}) AND ${}::text IS NOT NULL",
                    micros(&column.of("t")),
                    unnest(width, 1),
                    collection.table.quoted(),
                    matching(&collection.key),
                    width + 1,
                    time = column.of("t"),
                )
            }
            (CaptureMethod::Polling, None) | (CaptureMethod::LogicalReplication, _) => return Ok(times),
        };
        let rows = query(sql, columns_of(keys.iter(), width))
            .bind(&collection.options.consumer)
            .fetch_all(&collection.pool)
            .await?;
        for row in &rows {
            let (ord, time): (i64, Option<i64>) = (row.try_get(0)?, row.try_get(1)?);
            if let Some(slot) = usize::try_from(ord - 1).ok().and_then(|index| times.get_mut(index)) {
                *slot = time;
            }
        }
        Ok(times)
    }
}

/// What both halves of an opened table can do.
pub(super) fn capabilities(collection: &Collection) -> Capabilities {
    let deletes = collection.options.capture != CaptureMethod::Polling;
    Capabilities { deletes, change_times: true, batch: BATCH, bulk: None }
}

/// The empty answer where the table that was asked does not exist yet.
fn or_empty<T>(answer: Sql<T>, empty: T) -> Sql<T> {
    match answer {
        Err(error) if sqlstate(&error).as_deref() == Some(NO_TABLE) => Ok(empty),
        other => other,
    }
}

#[async_trait]
impl Target for PgTarget {
    fn capabilities(&self) -> Capabilities {
        capabilities(&self.collection)
    }

    async fn scan(&self, order: ScanOrder) -> Result<Box<dyn Scan>> {
        self.looking(scan::start(&self.collection, &order)).await
    }

    async fn split(&self, parts: usize) -> Result<Vec<Key>> {
        let cuts = scan::split(&self.collection, parts).await;
        cuts.map_err(|error| self.collection.place.failed("looking for key ranges", error))
    }

    async fn fetch(&self, keys: &[Key]) -> Result<Vec<Option<Record>>> {
        let found = self.read("fetching", &self.collection.key, keys, &self.collection.rows()).await?;
        Ok(found.into_iter().map(|records| records.into_iter().next()).collect())
    }

    async fn exists(&self, keys: &[Key]) -> Result<Vec<bool>> {
        let (key, table) = (&self.collection.key, self.collection.table.quoted());
        let found = self.read("looking for records", key, keys, &table).await?;
        Ok(found.iter().map(|records| !records.is_empty()).collect())
    }

    async fn count(&self) -> Result<u64> {
        let sql = format!("SELECT count(*) FROM {} AS t", self.collection.rows());
        let counted = query(sql, Vec::new()).fetch_one(&self.collection.pool).await.and_then(|row| row.try_get(0));
        let count: i64 = counted.map_err(|error| self.collection.place.failed("counting", error))?;
        Ok(u64::try_from(count).unwrap_or_default())
    }

    async fn find(&self, fields: &[String], values: &[Key]) -> Result<Vec<Vec<Record>>> {
        self.read("finding", &self.collection.columns(fields)?, values, &self.collection.rows()).await
    }

    async fn write_marked(&self, writes: &[Write], mark: Option<Mark<'_>>) -> Result<Vec<WriteOutcome>> {
        Box::pin(self.looking(write::write(&self.collection, writes, mark))).await
    }

    async fn marks(&self, run: &str, number: i64) -> Result<Option<Vec<Kept>>> {
        let marks = marks::of(&self.collection, run, number).await;
        marks.map_err(|error| self.collection.place.failed("reading what became of writes", error))
    }

    async fn upsert(&self, records: &[Record]) -> Result<Upserted> {
        let upserted = self.upsert_unsettled(records).await?;
        self.settle().await?;
        Ok(upserted)
    }

    async fn upsert_unsettled(&self, records: &[Record]) -> Result<Upserted> {
        self.looking(upsert::upsert(&self.collection, &self.loaders, records)).await
    }

    async fn settle(&self) -> Result<()> {
        let settling = async { write::reach_disk(&mut *self.collection.pool.acquire().await?).await };
        settling.await.map_err(|error| self.collection.place.failed("waiting for the disk", error))
    }

    async fn delete_by_correlation(&self, values: &[Key]) -> Result<u64> {
        Box::pin(self.looking(write::delete_by_correlation(&self.collection, values))).await
    }

    async fn change_times(&self, keys: &[Key]) -> Result<Vec<Option<i64>>> {
        if let Some(stream) = &self.collection.stream {
            return stream.times(keys).await;
        }
        let empty = vec![None; keys.len()];
        or_empty(self.times(keys).await, empty)
            .map_err(|error| self.collection.place.failed("asking for change times", error))
    }
}
