//! Fetches and writes the records of a table (layer 4): the port's [`Target`], each half of it in a file of its own.

use std::sync::Arc;

use async_trait::async_trait;

use super::collection::{Collection, Look};
use super::errors::Sql;
use super::marks::or_empty;
use super::table::MyColumn;
use super::{binlog, marks, polling, scan, tracking, upsert, write};
use crate::config::CaptureMethod;
use crate::connector::marks::Kept;
use crate::connector::{Capabilities, Mark, Scan, ScanOrder, Target, Upserted, Write, WriteOutcome};
use crate::error::Result;
use crate::record::{Key, Record};

/// Records in one `write`, `fetch` or `find`: more gain little, and hold locks for longer.
pub(super) const BATCH: usize = 2_000;

/// A table that is fetched from and written to.
pub(super) struct MyTarget {
    collection: Arc<Collection>,
    filling: upsert::Filling,
}

impl MyTarget {
    /// A target that uses the collection's pool.
    pub(super) fn new(collection: Arc<Collection>) -> Self {
        Self { collection, filling: upsert::Filling::default() }
    }

    async fn read(&self, columns: &[MyColumn], keys: &[Key], look: Look) -> Sql<Vec<Vec<Record>>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let mut connection = self.collection.pool.acquire().await?;
        let found = self.collection.find(&mut connection, columns, keys, look).await?;
        Ok(found.into_iter().map(|records| records.into_iter().map(|(_, record)| record).collect()).collect())
    }

    /// By the change table, or by the `updated_at` column where changes are polled.
    async fn times(&self, keys: &[Key]) -> Sql<Vec<Option<i64>>> {
        let collection = &self.collection;
        let mut connection = collection.pool.acquire().await?;
        match (collection.options.capture, &collection.options.updated_at) {
            (CaptureMethod::DatabaseTriggers | CaptureMethod::LogicalReplication | CaptureMethod::Cdc, _) => {
                tracking::times(&mut connection, collection, keys).await
            }
            (CaptureMethod::Polling | CaptureMethod::Binlog, Some(name)) => {
                polling::times(&mut connection, collection, name, keys).await
            }
            (CaptureMethod::Polling | CaptureMethod::Binlog, None) => Ok(vec![None; keys.len()]),
        }
    }
}

/// What both halves of an opened table can do.
pub(super) fn capabilities(collection: &Collection) -> Capabilities {
    let deletes = collection.options.capture != CaptureMethod::Polling;
    Capabilities { deletes, change_times: true, batch: BATCH, bulk: None }
}

#[async_trait]
impl Target for MyTarget {
    fn capabilities(&self) -> Capabilities {
        capabilities(&self.collection)
    }

    async fn scan(&self, order: ScanOrder) -> Result<Box<dyn Scan>> {
        scan::start(&self.collection, &order).await
    }

    async fn split(&self, parts: usize) -> Result<Vec<Key>> {
        let cuts = scan::split(&self.collection, parts).await;
        cuts.map_err(|error| self.collection.place.failed("looking for key ranges", error))
    }

    async fn fetch(&self, keys: &[Key]) -> Result<Vec<Option<Record>>> {
        let found = self.read(&self.collection.key, keys, Look::Filtered).await;
        let found = found.map_err(|error| self.collection.place.failed("fetching", error))?;
        Ok(found.into_iter().map(|records| records.into_iter().next()).collect())
    }

    async fn exists(&self, keys: &[Key]) -> Result<Vec<bool>> {
        let found = self.read(&self.collection.key, keys, Look::All).await;
        let found = found.map_err(|error| self.collection.place.failed("looking for records", error))?;
        Ok(found.iter().map(|records| !records.is_empty()).collect())
    }

    async fn count(&self) -> Result<u64> {
        let counted = self.collection.count().await;
        let count = counted.map_err(|error| self.collection.place.failed("counting", error))?;
        Ok(u64::try_from(count).unwrap_or_default())
    }

    async fn find(&self, fields: &[String], values: &[Key]) -> Result<Vec<Vec<Record>>> {
        let found = self.read(&self.collection.columns(fields)?, values, Look::Filtered).await;
        found.map_err(|error| self.collection.place.failed("finding", error))
    }

    async fn write_marked(&self, writes: &[Write], mark: Option<Mark<'_>>) -> Result<Vec<WriteOutcome>> {
        write::write(&self.collection, writes, mark).await
    }

    async fn marks(&self, run: &str, number: i64) -> Result<Option<Vec<Kept>>> {
        let marks = or_empty(marks::of(&self.collection, run, number).await.map(Some), None);
        marks.map_err(|error| self.collection.place.failed("reading what became of writes", error))
    }

    async fn upsert(&self, records: &[Record]) -> Result<Upserted> {
        upsert::upsert(&self.collection, &self.filling, records).await
    }

    async fn delete_by_correlation(&self, values: &[Key]) -> Result<u64> {
        write::delete_by_correlation(&self.collection, values).await
    }

    async fn change_times(&self, keys: &[Key]) -> Result<Vec<Option<i64>>> {
        if self.collection.stream.is_some() {
            return binlog::times(&self.collection, keys).await;
        }
        let empty = vec![None; keys.len()];
        or_empty(self.times(keys).await, empty)
            .map_err(|error| self.collection.place.failed("asking for change times", error))
    }
}
