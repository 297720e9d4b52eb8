//! The Salesforce connector (layer 4), over the REST API of version 58 or later.
//!
//! `options` says how an org is reached and `auth` logs in; the `org` is shared by all pairs: its token, its `limits`, its objects
//! (`catalogue`). An opened object is a `collection`, which two halves share:
//! - the source: `polling` goes by `SystemModstamp` and asks for deletes; `cdc` is told of changes by the Pub/Sub API, with polling to fall back on;
//! - the `target`: `scan`, `lookup`, and by `collections` of 200 records, or where there are many by jobs (`bulk`), `write` and `upsert`.
//!
//! `soql` is the only place that quotes values, `values` and `ids` say how they are printed and what becomes of them.

use std::sync::Arc;

use async_trait::async_trait;

use super::{Blueprint, Connector, Creation, NewColumn, OpenOptions, Schema, Side, Source};
use crate::config::{CaptureMethod, Endpoint};
use crate::error::{ErrorKind, Result, SyncError};

mod auth;
mod bulk;
mod catalogue;
mod cdc;
mod collection;
mod collections;
mod errors;
mod ids;
mod limits;
mod lookup;
mod options;
mod org;
mod polling;
mod scan;
mod soql;
mod target;
mod upsert;
mod values;
mod write;

use collection::Collection;
use org::Org;

/// The Salesforce connector.
#[derive(Debug, Default)]
pub struct Salesforce {}

#[async_trait]
impl Connector for Salesforce {
    async fn describe(&self, endpoint: &Endpoint) -> Result<Schema> {
        Ok(Org::of(endpoint)?.object(&endpoint.collection).await?.schema())
    }

    async fn open(&self, endpoint: &Endpoint, _schema: &Schema, options: OpenOptions) -> Result<Side> {
        let capture = options.capture;
        let collection = Arc::new(Collection::open(endpoint, options).await?);
        let source: Box<dyn Source> = if capture == CaptureMethod::Cdc {
            Box::new(cdc::CdcSource::new(&collection)?)
        } else {
            Box::new(polling::PollSource::new(Arc::clone(&collection)))
        };
        Ok(Side { source, target: Arc::new(target::SalesforceTarget { collection }) })
    }

    fn creation(&self, endpoint: &Endpoint, _blueprint: &Blueprint) -> Result<Creation> {
        Err(by_hand(endpoint, "objects"))
    }

    async fn addition(&self, endpoint: &Endpoint, _column: &NewColumn) -> Result<String> {
        Err(by_hand(endpoint, "fields"))
    }

    async fn define(&self, endpoint: &Endpoint, _statements: &[String]) -> Result<()> {
        Err(by_hand(endpoint, "objects and fields"))
    }

    async fn creates_advice(&self, endpoint: &Endpoint, fields: &[Box<str>]) -> Result<Option<String>> {
        let org = Org::of(endpoint)?;
        let object = org.object(&endpoint.collection).await?;
        let named = collection::token_field(&object, &org.place(&object.name), endpoint, fields)?.is_some();
        Ok((!named).then(|| collection::NO_NAMES.to_owned()))
    }

    /// Which fields are indexed is not told; those of keys and external ids are.
    async fn missing_indexes(&self, _endpoint: &Endpoint, _wanted: &[Vec<String>]) -> Result<Vec<String>> {
        Ok(Vec::new())
    }
}

fn by_hand(endpoint: &Endpoint, what: &str) -> SyncError {
    let text = format!("salesforce, {}: {what} are made by people, in Setup", endpoint.collection);
    SyncError::new(ErrorKind::SchemaMismatch, "salesforce.create", text)
}
