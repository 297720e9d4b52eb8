//! The target half (layer 4): fetches and writes records.

use std::sync::Arc;

use async_trait::async_trait;
use sqlx::Row;

use super::Opened;
use super::lookup::{self, Asked};
use super::scan;
use super::statement::Statement;
use super::{marks, pick, tracking, upsert, write};
use crate::config::CaptureMethod;
use crate::connector::change_log::quote;
use crate::connector::marks::Kept;
use crate::connector::{Capabilities, Mark, Scan, ScanOrder, Target, Upserted, Write, WriteOutcome};
use crate::error::Result;
use crate::record::{Key, Record};

/// More records than this in one transaction gain nothing.
pub(super) const BATCH: usize = 1000;

/// What a side of this connector can do.
pub(super) fn capabilities(capture: CaptureMethod) -> Capabilities {
    Capabilities { deletes: capture != CaptureMethod::Polling, change_times: true, batch: BATCH, bulk: None }
}

/// The target half of an opened collection.
#[derive(Debug)]
pub(super) struct SqliteTarget {
    /// The collection.
    pub(super) opened: Arc<Opened>,
}

impl SqliteTarget {
    async fn find_by(&self, by: &super::Fields, keys: &[Key], doing: &str) -> Result<Vec<Vec<Record>>> {
        self.find_filtered(by, keys, (&self.opened.and_filter(), doing)).await
    }

    async fn find_filtered(
        &self,
        by: &super::Fields,
        keys: &[Key],
        (filter, doing): (&str, &str),
    ) -> Result<Vec<Vec<Record>>> {
        let opened = &self.opened;
        let mut lease = opened.database.read().await?;
        let found = lookup::find(lease.connection(), opened, by, keys, filter).await;
        let found = found.map_err(opened.place().failed(doing))?;
        lease.give_back();
        Ok(found)
    }
}

#[async_trait]
impl Target for SqliteTarget {
    fn capabilities(&self) -> Capabilities {
        capabilities(self.opened.capture)
    }

    async fn scan(&self, order: ScanOrder) -> Result<Box<dyn Scan>> {
        scan::open(Arc::clone(&self.opened), order).await
    }

    async fn fetch(&self, keys: &[Key]) -> Result<Vec<Option<Record>>> {
        let found = self.find_by(&self.opened.key, keys, "fetching records").await?;
        Ok(found.into_iter().map(|records| records.into_iter().next()).collect())
    }

    async fn exists(&self, keys: &[Key]) -> Result<Vec<bool>> {
        let found = self.find_filtered(&self.opened.key, keys, ("", "looking for records")).await?;
        Ok(found.iter().map(|records| !records.is_empty()).collect())
    }

    async fn count(&self) -> Result<u64> {
        let opened = &self.opened;
        let failed = || opened.place().failed("counting records");
        let mut lease = opened.database.read().await?;
        let sql = format!("SELECT count(*) FROM {} WHERE true{}", opened.table.quoted(), opened.and_filter());
        let rows = Statement::new(sql).rows(lease.connection()).await.map_err(failed())?;
        let count: i64 = rows.first().map_or(Ok(0), |row| row.try_get(0)).map_err(failed())?;
        lease.give_back();
        Ok(u64::try_from(count).unwrap_or_default())
    }

    async fn find(&self, fields: &[String], values: &[Key]) -> Result<Vec<Vec<Record>>> {
        let by = pick(self.opened.place(), &self.opened.table, fields, fields)?;
        self.find_by(&by, values, "finding records").await
    }

    async fn write_marked(&self, writes: &[Write], mark: Option<Mark<'_>>) -> Result<Vec<WriteOutcome>> {
        write::write(&self.opened, writes, mark).await
    }

    async fn marks(&self, run: &str, number: i64) -> Result<Option<Vec<Kept>>> {
        marks::of(&self.opened, run, number).await.map(Some)
    }

    async fn upsert(&self, records: &[Record]) -> Result<Upserted> {
        upsert::upsert(&self.opened, records).await
    }

    async fn delete_by_correlation(&self, values: &[Key]) -> Result<u64> {
        upsert::delete(&self.opened, values).await
    }

    async fn change_times(&self, keys: &[Key]) -> Result<Vec<Option<i64>>> {
        if self.opened.capture == CaptureMethod::Polling {
            return super::polling::times(&self.opened, keys).await;
        }
        let opened = &self.opened;
        let failed = || opened.place().failed("reading the change table");
        let mut times = vec![None; keys.len()];
        let mut lease = opened.database.read().await?;
        let table = tracking::change_table(&opened.table);
        if !tracking::exists(lease.connection(), &table).await.map_err(failed())? {
            return Ok(times);
        }
        let changes = quote(&table);
        // The list is the inner table here: one pass over the changes, however many keys are asked for. `at` is that of the row with
        // the largest `seq` (<https://www.sqlite.org/lang_select.html#bareagg>).
        let rest = format!(
            "SELECT tidelock_i, at, max(seq) FROM {changes} CROSS JOIN tidelock_q WHERE {} AND origin IS NOT {} GROUP BY tidelock_i",
            tracking::matching(&opened.key, "tidelock_q"),
            tracking::literal(&opened.consumer)
        );
        for (statement, owners) in Asked::new(&opened.key, keys).statements(opened.key.len(), &rest) {
            for row in statement.rows(lease.connection()).await.map_err(failed())? {
                let ordinal: i64 = row.try_get(0).map_err(failed())?;
                let owner = usize::try_from(ordinal).ok().and_then(|ordinal| owners.get(ordinal)).copied();
                if let Some(slot) = owner.and_then(|owner| times.get_mut(owner)) {
                    *slot = (*slot).max(Some(row.try_get(1).map_err(failed())?));
                }
            }
        }
        lease.give_back();
        Ok(times)
    }
}
