//! The PostgreSQL connector (layer 4), for servers from version 13 on.
//!
//! `options` says how a server is reached, `catalogue` and `table` what its tables look like, `values` and `copy` how values are
//! printed. An opened table is a `collection`, which two halves share:
//! - the source: `source` reads the change table that `tracking` makes (`position`: what was read; `listen`: when to look),
//!   `logical` reads the server's log, or `polling` goes by a column;
//! - the `target`: `scan`, `write` (`plan`, `creates`, `marks`) and `upsert`.

use std::sync::Arc;

use async_trait::async_trait;

use super::polling::PollSource;
use super::{Blueprint, Connector, Creation, NewColumn, OpenOptions, Schema, Side, Source};
use crate::config::{CaptureMethod, Endpoint};
use crate::error::{ErrorKind, Result};

mod catalogue;
mod collection;
mod copy;
mod create;
mod creates;
mod errors;
mod listen;
mod logical;
mod marks;
mod options;
mod plan;
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

/// The PostgreSQL connector.
#[derive(Debug, Default)]
pub struct Postgres {}

#[async_trait]
impl Connector for Postgres {
    async fn describe(&self, endpoint: &Endpoint) -> Result<Schema> {
        let server = options::Server::of(endpoint)?;
        let mut connection = server.connect().await?;
        Ok(catalogue::describe(&mut connection, &server, endpoint).await?.schema())
    }

    async fn open(&self, endpoint: &Endpoint, schema: &Schema, options: OpenOptions) -> Result<Side> {
        let server = options::Server::of(endpoint)?;
        let mut connection = server.connect().await?;
        let table = catalogue::describe(&mut connection, &server, endpoint).await?;
        if table.key != schema.key {
            let place = errors::Place { table: Some(table.label()), ..server.place };
            return Err(place.error(
                ErrorKind::SchemaMismatch,
                "postgres.schema",
                "the key was altered since the table was described",
            ));
        }
        let collection = Arc::new(collection::Collection::new(server, table, endpoint.filter.clone(), options)?);
        collection.check(&mut connection).await?;
        let source: Box<dyn Source> = match collection.options.capture {
            CaptureMethod::DatabaseTriggers | CaptureMethod::Binlog | CaptureMethod::Cdc => {
                Box::new(source::LogSource::new(Arc::clone(&collection)))
            }
            CaptureMethod::LogicalReplication => Box::new(logical::StreamSource::new(Arc::clone(&collection))?),
            CaptureMethod::Polling => Box::new(PollSource::new(polling::TablePages::new(Arc::clone(&collection))?)),
        };
        Ok(Side { source, target: Arc::new(target::PgTarget::new(collection)) })
    }

    fn creation(&self, endpoint: &Endpoint, blueprint: &Blueprint) -> Result<Creation> {
        create::creation(&options::Server::of(endpoint)?, &endpoint.collection, blueprint)
    }

    async fn addition(&self, endpoint: &Endpoint, column: &NewColumn) -> Result<String> {
        let server = options::Server::of(endpoint)?;
        let mut connection = server.connect().await?;
        let table = catalogue::describe(&mut connection, &server, endpoint).await?;
        create::addition(&server.place, &table, column)
    }

    async fn define(&self, endpoint: &Endpoint, statements: &[String]) -> Result<()> {
        let server = options::Server::of(endpoint)?;
        create::define(&mut server.connect().await?, &server.place, statements).await
    }

    async fn missing_indexes(&self, endpoint: &Endpoint, wanted: &[Vec<String>]) -> Result<Vec<String>> {
        let server = options::Server::of(endpoint)?;
        let mut connection = server.connect().await?;
        let table = catalogue::describe(&mut connection, &server, endpoint).await?;
        let missing = create::missing_indexes(&mut connection, &table, wanted).await;
        missing.map_err(|error| server.place.failed("reading the indexes", error))
    }
}
