//! The MySQL connector (layer 4), for MySQL from version 8 on and MariaDB from 10.6 on.
//!
//! `options` says how a server is reached, `catalogue` and `table` what its tables look like, `values` how values are sent and read.
//! An opened table is a `collection`, which two halves share:
//! - the source: `source` reads the change table that `tracking` makes (`position`: what was read; `gates`: what can still come), or
//!   `binlog` reads the server's log, or `polling` goes by a column;
//! - the `target`: `scan`, `write` (`creates`, `marks`) and `upsert`.

use std::sync::Arc;

use async_trait::async_trait;

use super::polling::PollSource;
use super::{Blueprint, Connector, Creation, NewColumn, OpenOptions, Schema, Side, Source};
use crate::config::{CaptureMethod, Endpoint};
use crate::error::{ErrorKind, Result};

mod binlog;
mod catalogue;
mod collection;
mod create;
mod creates;
mod errors;
mod gates;
mod marks;
mod options;
mod polling;
mod position;
mod scan;
mod source;
mod table;
mod target;
mod tracking;
mod upsert;
mod values;
mod write;

/// The connector for MySQL and MariaDB.
#[derive(Debug, Default)]
pub struct Mysql {}

#[async_trait]
impl Connector for Mysql {
    async fn describe(&self, endpoint: &Endpoint) -> Result<Schema> {
        let server = options::Server::of(endpoint)?;
        let mut connection = server.connect().await?;
        Ok(catalogue::describe(&mut connection, &server, (&endpoint.collection, &endpoint.key)).await?.schema())
    }

    async fn open(&self, endpoint: &Endpoint, schema: &Schema, options: OpenOptions) -> Result<Side> {
        let server = options::Server::of(endpoint)?;
        let mut connection = server.connect().await?;
        let table = catalogue::describe(&mut connection, &server, (&endpoint.collection, &endpoint.key)).await?;
        if table.key != schema.key {
            let place = errors::Place { table: Some(table.label()), ..server.place };
            let message = "the key was altered since the table was described";
            return Err(place.error(ErrorKind::SchemaMismatch, "mysql.schema", message));
        }
        let collection = Arc::new(collection::Collection::new(server, table, endpoint.filter.clone(), options)?);
        collection.check(&mut connection).await?;
        let source: Box<dyn Source> = match collection.options.capture {
            CaptureMethod::DatabaseTriggers | CaptureMethod::LogicalReplication | CaptureMethod::Cdc => {
                Box::new(source::LogSource::new(Arc::clone(&collection)))
            }
            CaptureMethod::Binlog => Box::new(binlog::StreamSource::new(Arc::clone(&collection))),
            CaptureMethod::Polling => Box::new(PollSource::new(polling::TablePages::new(Arc::clone(&collection))?)),
        };
        Ok(Side { source, target: Arc::new(target::MyTarget::new(collection)) })
    }

    fn creation(&self, endpoint: &Endpoint, blueprint: &Blueprint) -> Result<Creation> {
        create::creation(&options::Server::of(endpoint)?, &endpoint.collection, blueprint)
    }

    async fn addition(&self, endpoint: &Endpoint, column: &NewColumn) -> Result<String> {
        let server = options::Server::of(endpoint)?;
        let mut connection = server.connect().await?;
        let table = catalogue::describe(&mut connection, &server, (&endpoint.collection, &endpoint.key)).await?;
        create::addition(&server.place, &table, column)
    }

    async fn define(&self, endpoint: &Endpoint, statements: &[String]) -> Result<()> {
        let server = options::Server::of(endpoint)?;
        create::define(&mut server.connect().await?, &server.place, statements).await
    }

    async fn advice(&self, endpoint: &Endpoint, schema: &Schema, capture: CaptureMethod) -> Result<Vec<String>> {
        if capture != CaptureMethod::Binlog {
            return Ok(Vec::new());
        }
        let server = options::Server::of(endpoint)?;
        let table =
            catalogue::describe(&mut server.connect().await?, &server, (&endpoint.collection, &endpoint.key)).await?;
        let options = OpenOptions {
            fields: schema.key.clone(),
            correlation: Vec::new(),
            consumer: "check".to_owned(),
            capture,
            updated_at: None,
            looks: true,
            images: false,
            overlap: std::time::Duration::ZERO,
        };
        binlog::advice(&Arc::new(collection::Collection::new(server, table, None, options)?)).await
    }

    async fn missing_indexes(&self, endpoint: &Endpoint, wanted: &[Vec<String>]) -> Result<Vec<String>> {
        let server = options::Server::of(endpoint)?;
        let mut connection = server.connect().await?;
        let table = catalogue::describe(&mut connection, &server, (&endpoint.collection, &endpoint.key)).await?;
        let missing = create::missing_indexes(&mut connection, &table, wanted).await;
        missing.map_err(|error| server.place.failed("reading the indexes", error))
    }
}
