//! The target half (layer 4): fetches and writes records.

use std::sync::Arc;

use async_trait::async_trait;

use super::collection::Collection;
use super::{ids, lookup, scan, upsert, values, write};
use crate::connector::{Capabilities, Mark, Scan, ScanOrder, Target, Upserted, Write, WriteOutcome};
use crate::error::Result;
use crate::record::{Key, Record};
use crate::value::Value;

/// Five requests of 200, whose records one request reads.
pub(super) const BATCH: usize = 1000;

/// What a side of this connector can do.
pub(super) fn capabilities(collection: &Collection) -> Capabilities {
    Capabilities { deletes: true, change_times: true, batch: BATCH, bulk: collection.bulk() }
}

/// The target half of an opened object.
#[derive(Debug)]
pub(super) struct SalesforceTarget {
    /// The object.
    pub(super) collection: Arc<Collection>,
}

/// The ids among these keys.
fn ids(keys: &[Key]) -> Vec<String> {
    keys.iter().filter_map(Collection::id_of).collect()
}

#[async_trait]
impl Target for SalesforceTarget {
    fn capabilities(&self) -> Capabilities {
        capabilities(&self.collection)
    }

    async fn scan(&self, order: ScanOrder) -> Result<Box<dyn Scan>> {
        Ok(scan::open(Arc::clone(&self.collection), order))
    }

    async fn fetch(&self, keys: &[Key]) -> Result<Vec<Option<Record>>> {
        if self.collection.filter.is_some() {
            let found = lookup::find(&self.collection, &["Id".to_owned()], keys, false).await?;
            return Ok(found.into_iter().map(|records| records.into_iter().next()).collect());
        }
        let found = self.collection.current(&ids(keys)).await?;
        Ok(keys.iter().map(|key| found.get(&Collection::id_of(key)?).cloned()).collect())
    }

    async fn exists(&self, keys: &[Key]) -> Result<Vec<bool>> {
        let found = self.collection.retrieve(&ids(keys), &["Id"]).await?;
        Ok(keys.iter().map(|key| Collection::id_of(key).is_some_and(|id| found.contains_key(&id))).collect())
    }

    async fn count(&self) -> Result<u64> {
        self.collection.count().await
    }

    async fn find(&self, fields: &[String], values: &[Key]) -> Result<Vec<Vec<Record>>> {
        lookup::find(&self.collection, fields, values, false).await
    }

    fn alias(&self, field: &str, value: &Value) -> Option<Value> {
        let is_id = matches!(self.collection.object.field(field)?.type_name(), "id" | "reference");
        let Value::Text(id) = value else { return None };
        ids::short(id).filter(|_| is_id).map(|short| Value::Text(short.to_owned()))
    }

    async fn write_marked(&self, writes: &[Write], mark: Option<Mark<'_>>) -> Result<Vec<WriteOutcome>> {
        write::write(&self.collection, writes, mark).await
    }

    async fn made(&self, of: Mark<'_>, creates: &[(usize, Record)]) -> Result<Vec<Vec<Record>>> {
        lookup::made(&self.collection, of, creates).await
    }

    async fn upsert(&self, records: &[Record]) -> Result<Upserted> {
        upsert::upsert(&self.collection, records).await
    }

    async fn delete_by_correlation(&self, values: &[Key]) -> Result<u64> {
        upsert::delete(&self.collection, values).await
    }

    /// When the record itself was last changed: by us, too, where nobody has changed it since.
    async fn change_times(&self, keys: &[Key]) -> Result<Vec<Option<i64>>> {
        let name = "LastModifiedDate";
        let found = self.collection.retrieve(&ids(keys), &["Id", name]).await?;
        let time = |key: &Key| values::instant(&Collection::text(found.get(&Collection::id_of(key)?)?, name)?);
        Ok(keys.iter().map(time).collect())
    }
}
