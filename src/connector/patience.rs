//! A time limit on what a system is asked (layer 4, shared): a server that never answers, over a connection that is never reset, is given up,
//! and the pair connects anew. It is a limit on silence: a scan may take as long as it likes, as long as records keep coming.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::marks::Kept;
use super::{
    Blueprint, Capabilities, Connector, Creation, Mark, NewColumn, OpenOptions, Scan, ScanOrder, Schema, Side, Source,
    Target, Upserted, Write, WriteOutcome,
};
use crate::change::{ChangeBatch, Position};
use crate::config::{CaptureMethod, Endpoint};
use crate::error::{ErrorKind, Result, SyncError};
use crate::record::{Key, Record};
use crate::value::Value;

/// How long a system may be silent, and which one it is.
#[derive(Debug, Clone)]
struct Limit {
    silence: Duration,
    place: Arc<str>,
}

impl Limit {
    /// The answer, or an error once the system has been silent for too long. What it was asked may still be carried out, as after any
    /// lost connection.
    async fn on<T>(&self, doing: &str, answer: impl Future<Output = Result<T>> + Send) -> Result<T> {
        match tokio::time::timeout(self.silence, answer).await {
            Ok(answer) => answer,
            Err(_) => {
                let text = format!("{}: {doing}: no answer within {} s", self.place, self.silence.as_secs());
                Err(SyncError::new(ErrorKind::Unavailable, "connector.no_answer", text))
            }
        }
    }
}

/// A connector that does not wait for ever.
pub struct Patient(pub Arc<dyn Connector>);

/// The limit of an endpoint; `None` where it has none.
fn limit(endpoint: &Endpoint) -> Option<Limit> {
    let place = format!("{} \"{}\", {}", endpoint.system_type, endpoint.name, endpoint.collection).into();
    endpoint.timeout.map(|silence| Limit { silence, place })
}

#[async_trait]
impl Connector for Patient {
    async fn describe(&self, endpoint: &Endpoint) -> Result<Schema> {
        let Some(limit) = limit(endpoint) else { return self.0.describe(endpoint).await };
        limit.on("reading the catalogue", self.0.describe(endpoint)).await
    }

    async fn open(&self, endpoint: &Endpoint, schema: &Schema, options: OpenOptions) -> Result<Side> {
        let Some(limit) = limit(endpoint) else { return self.0.open(endpoint, schema, options).await };
        let Side { source, target } = limit.on("opening", self.0.open(endpoint, schema, options)).await?;
        let source = Box::new(Limited { inner: source, limit: limit.clone() });
        Ok(Side { source, target: Arc::new(Limited { inner: target, limit }) })
    }

    fn creation(&self, endpoint: &Endpoint, blueprint: &Blueprint) -> Result<Creation> {
        self.0.creation(endpoint, blueprint)
    }

    async fn addition(&self, endpoint: &Endpoint, column: &NewColumn) -> Result<String> {
        let Some(limit) = limit(endpoint) else { return self.0.addition(endpoint, column).await };
        limit.on("reading the catalogue", self.0.addition(endpoint, column)).await
    }

    /// A system may rewrite a whole table before it answers.
    async fn define(&self, endpoint: &Endpoint, statements: &[String]) -> Result<()> {
        self.0.define(endpoint, statements).await
    }

    async fn advice(&self, endpoint: &Endpoint, schema: &Schema, capture: CaptureMethod) -> Result<Vec<String>> {
        let Some(limit) = limit(endpoint) else { return self.0.advice(endpoint, schema, capture).await };
        limit.on("asking how changes can be found", self.0.advice(endpoint, schema, capture)).await
    }

    async fn creates_advice(&self, endpoint: &Endpoint, fields: &[Box<str>]) -> Result<Option<String>> {
        let Some(limit) = limit(endpoint) else { return self.0.creates_advice(endpoint, fields).await };
        limit.on("asking how records are created", self.0.creates_advice(endpoint, fields)).await
    }

    async fn missing_indexes(&self, endpoint: &Endpoint, wanted: &[Vec<String>]) -> Result<Vec<String>> {
        let Some(limit) = limit(endpoint) else { return self.0.missing_indexes(endpoint, wanted).await };
        limit.on("reading the indexes", self.0.missing_indexes(endpoint, wanted)).await
    }
}

/// One half of a side, or a scan, with its limit.
struct Limited<T> {
    inner: T,
    limit: Limit,
}

#[async_trait]
impl Scan for Limited<Box<dyn Scan>> {
    async fn next(&mut self, max: usize) -> Result<Vec<Record>> {
        self.limit.on("scanning", self.inner.next(max)).await
    }

    fn resumable(&self) -> bool {
        self.inner.resumable()
    }
}

#[async_trait]
impl Source for Limited<Box<dyn Source>> {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn prepare(&mut self) -> Result<String> {
        self.limit.on("preparing", self.inner.prepare()).await
    }

    fn tracking(&self) -> Vec<String> {
        self.inner.tracking()
    }

    fn notice(&self) -> Option<String> {
        self.inner.notice()
    }

    async fn remove(&mut self) -> Result<()> {
        self.limit.on("taking the tracking away", self.inner.remove()).await
    }

    async fn head(&mut self) -> Result<Position> {
        self.limit.on("asking for the position", self.inner.head()).await
    }

    async fn next_batch(&mut self, after: &Position, max: usize) -> Result<ChangeBatch> {
        self.limit.on("reading changes", self.inner.next_batch(after, max)).await
    }

    async fn wait(&mut self, timeout: Duration) -> Result<()> {
        let limit = Limit { silence: self.limit.silence.saturating_add(timeout), ..self.limit.clone() };
        limit.on("waiting for changes", self.inner.wait(timeout)).await
    }

    async fn acknowledge(&mut self, through: &Position) -> Result<()> {
        self.limit.on("acknowledging", self.inner.acknowledge(through)).await
    }
}

#[async_trait]
impl Target for Limited<Arc<dyn Target>> {
    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn scan(&self, order: ScanOrder) -> Result<Box<dyn Scan>> {
        let inner = self.limit.on("beginning a scan", self.inner.scan(order)).await?;
        Ok(Box::new(Limited { inner, limit: self.limit.clone() }))
    }

    async fn split(&self, parts: usize) -> Result<Vec<Key>> {
        self.limit.on("looking for key ranges", self.inner.split(parts)).await
    }

    async fn fetch(&self, keys: &[Key]) -> Result<Vec<Option<Record>>> {
        self.limit.on("fetching", self.inner.fetch(keys)).await
    }

    async fn exists(&self, keys: &[Key]) -> Result<Vec<bool>> {
        self.limit.on("fetching", self.inner.exists(keys)).await
    }

    async fn count(&self) -> Result<u64> {
        self.limit.on("counting", self.inner.count()).await
    }

    async fn find(&self, fields: &[String], values: &[Key]) -> Result<Vec<Vec<Record>>> {
        self.limit.on("finding", self.inner.find(fields, values)).await
    }

    fn alias(&self, field: &str, value: &Value) -> Option<Value> {
        self.inner.alias(field, value)
    }

    async fn write_marked(&self, writes: &[Write], mark: Option<Mark<'_>>) -> Result<Vec<WriteOutcome>> {
        self.limit.on("writing", self.inner.write_marked(writes, mark)).await
    }

    async fn made(&self, of: Mark<'_>, creates: &[(usize, Record)]) -> Result<Vec<Vec<Record>>> {
        self.limit.on("looking for what was created", self.inner.made(of, creates)).await
    }

    async fn upsert(&self, records: &[Record]) -> Result<Upserted> {
        self.limit.on("writing", self.inner.upsert(records)).await
    }

    async fn upsert_unsettled(&self, records: &[Record]) -> Result<Upserted> {
        self.limit.on("writing", self.inner.upsert_unsettled(records)).await
    }

    async fn settle(&self) -> Result<()> {
        self.limit.on("waiting for the disk", self.inner.settle()).await
    }

    async fn delete_by_correlation(&self, values: &[Key]) -> Result<u64> {
        self.limit.on("deleting", self.inner.delete_by_correlation(values)).await
    }

    async fn change_times(&self, keys: &[Key]) -> Result<Vec<Option<i64>>> {
        self.limit.on("asking for times", self.inner.change_times(keys)).await
    }

    async fn marks(&self, run: &str, number: i64) -> Result<Option<Vec<Kept>>> {
        self.limit.on("reading what became of writes", self.inner.marks(run, number)).await
    }
}
