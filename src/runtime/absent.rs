//! A collection that is not there yet, as an empty one: what a plan looks at in place of a target that a run would make.

use std::time::Duration;

use async_trait::async_trait;

use crate::change::{ChangeBatch, Position};
use crate::connector::{Capabilities, Mark, Scan, ScanOrder, Side, Source, Target, Upserted, Write, WriteOutcome};
use crate::error::{Result, SyncError};
use crate::record::{Key, Record};

/// Records at a time; there are none.
const BATCH: usize = 1000;

/// A collection without records, which takes none.
pub(super) struct Empty;

/// Both halves of one.
pub(super) fn side() -> Side {
    Side { source: Box::new(Empty), target: std::sync::Arc::new(Empty) }
}

fn not_there() -> SyncError {
    SyncError::internal("a collection that is not there yet was written to")
}

#[async_trait]
impl Source for Empty {
    fn capabilities(&self) -> Capabilities {
        Target::capabilities(self)
    }

    async fn prepare(&mut self) -> Result<String> {
        Err(not_there())
    }

    async fn remove(&mut self) -> Result<()> {
        Ok(())
    }

    async fn head(&mut self) -> Result<Position> {
        Err(not_there())
    }

    async fn next_batch(&mut self, _: &Position, _: usize) -> Result<ChangeBatch> {
        Err(not_there())
    }

    async fn wait(&mut self, _: Duration) -> Result<()> {
        Err(not_there())
    }

    async fn acknowledge(&mut self, _: &Position) -> Result<()> {
        Err(not_there())
    }
}

#[async_trait]
impl Scan for Empty {
    async fn next(&mut self, _: usize) -> Result<Vec<Record>> {
        Ok(Vec::new())
    }
}

#[async_trait]
impl Target for Empty {
    fn capabilities(&self) -> Capabilities {
        Capabilities { deletes: true, change_times: true, batch: BATCH, bulk: None }
    }

    async fn scan(&self, _: ScanOrder) -> Result<Box<dyn Scan>> {
        Ok(Box::new(Self))
    }

    async fn fetch(&self, keys: &[Key]) -> Result<Vec<Option<Record>>> {
        Ok(keys.iter().map(|_| None).collect())
    }

    async fn exists(&self, keys: &[Key]) -> Result<Vec<bool>> {
        Ok(keys.iter().map(|_| false).collect())
    }

    async fn count(&self) -> Result<u64> {
        Ok(0)
    }

    async fn find(&self, _: &[String], values: &[Key]) -> Result<Vec<Vec<Record>>> {
        Ok(values.iter().map(|_| Vec::new()).collect())
    }

    async fn write_marked(&self, _: &[Write], _: Option<Mark<'_>>) -> Result<Vec<WriteOutcome>> {
        Err(not_there())
    }

    async fn upsert(&self, _: &[Record]) -> Result<Upserted> {
        Err(not_there())
    }

    async fn delete_by_correlation(&self, _: &[Key]) -> Result<u64> {
        Err(not_there())
    }

    async fn change_times(&self, keys: &[Key]) -> Result<Vec<Option<i64>>> {
        Ok(keys.iter().map(|_| None).collect())
    }
}
