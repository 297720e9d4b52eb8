//! The SQLite connector (layer 4). Changes come from a change table that triggers fill (`tracking`), or from an updated-at column
//! (`polling`); writes are guarded, in one transaction a batch (`write`, `upsert`). What a user has to know is in
//! `docs/connectors.md`.

use std::sync::Arc;

use async_trait::async_trait;
use sqlx::{ConnectOptions, Connection};

use super::{Blueprint, Connector, Creation, NewColumn, OpenOptions, Schema, Side};
use crate::config::{CaptureMethod, Endpoint};
use crate::error::{ErrorKind, Result, SyncError};

mod affinity;
mod catalogue;
mod connection;
mod create;
mod errors;
mod guarded;
mod lookup;
mod marks;
mod options;
mod polling;
mod scan;
mod source;
mod statement;
mod table;
mod target;
mod times;
mod tracking;
mod upsert;
mod values;
mod watch;
mod write;
mod writing;

use connection::Database;
use errors::{Place, said};
use options::File;
use table::{Fields, Table};

/// The SQLite connector.
#[derive(Debug, Default)]
pub struct Sqlite {}

#[async_trait]
impl Connector for Sqlite {
    async fn describe(&self, endpoint: &Endpoint) -> Result<Schema> {
        Ok(looked_at(endpoint, &[]).await?.0.schema())
    }

    async fn open(&self, endpoint: &Endpoint, _schema: &Schema, options: OpenOptions) -> Result<Side> {
        let opened = Arc::new(Opened::open(endpoint, options).await?);
        let capture: Box<dyn super::Source> = match opened.capture {
            CaptureMethod::DatabaseTriggers
            | CaptureMethod::LogicalReplication
            | CaptureMethod::Binlog
            | CaptureMethod::Cdc => Box::new(source::LogSource::new(Arc::clone(&opened))),
            CaptureMethod::Polling => Box::new(polling::PollingSource::new(Arc::clone(&opened))?),
        };
        Ok(Side { source: capture, target: Arc::new(target::SqliteTarget { opened }) })
    }

    fn creation(&self, endpoint: &Endpoint, blueprint: &Blueprint) -> Result<Creation> {
        create::creation(&File::of(endpoint)?.place, &endpoint.collection, blueprint)
    }

    async fn addition(&self, endpoint: &Endpoint, column: &NewColumn) -> Result<String> {
        let (table, _) = looked_at(endpoint, &[]).await?;
        create::addition(&File::of(endpoint)?.place, &table, column)
    }

    async fn define(&self, endpoint: &Endpoint, statements: &[String]) -> Result<()> {
        create::define(&Database::open(File::of(endpoint)?, None, false).await?, statements).await
    }

    async fn missing_indexes(&self, endpoint: &Endpoint, wanted: &[Vec<String>]) -> Result<Vec<String>> {
        Ok(looked_at(endpoint, wanted).await?.1)
    }
}

/// The endpoint's table as it is now, and statements for those of `wanted` that no index begins with.
async fn looked_at(endpoint: &Endpoint, wanted: &[Vec<String>]) -> Result<(Table, Vec<String>)> {
    let file = File::of(endpoint)?;
    let mut connection = file.reading().connect().await.map_err(file.place.failed("opening the database"))?;
    let table = catalogue::table(&mut connection, &file.place, endpoint).await?;
    let missing = create::missing_indexes(&mut connection, &table, wanted).await;
    let missing = missing.map_err(file.place.failed("reading the indexes"))?;
    // Read-only use: nothing can be lost where closing fails.
    connection.close().await.map_err(file.place.failed("closing the database"))?;
    Ok((table, missing))
}

/// An opened collection: what source and target share.
#[derive(Debug)]
struct Opened {
    database: Database,
    table: Table,
    /// The opened fields.
    fields: Fields,
    /// The primary key's fields.
    key: Fields,
    /// The correlation's fields.
    correlation: Fields,
    /// Row filter, in parentheses.
    filter: Option<String>,
    /// Who reads and writes.
    consumer: String,
    capture: CaptureMethod,
    updated_at: Option<String>,
    overlap: std::time::Duration,
}

impl Opened {
    async fn open(endpoint: &Endpoint, options: OpenOptions) -> Result<Self> {
        let file = File::of(endpoint)?;
        // A first connection that only reads: journal modes are not touched before the table is known to be there.
        let mut connection = file.reading().connect().await.map_err(file.place.failed("opening the database"))?;
        let table = catalogue::table(&mut connection, &file.place, endpoint).await?;
        let place = Place { table: Some(table.name.clone()), ..file.place.clone() };
        // On a line of its own, so that a comment at its end does not swallow the parenthesis.
        let filter = endpoint.filter.as_ref().map(|filter| format!("({filter}\n)"));
        if let Some(filter) = &filter {
            check_filter(&mut connection, &place, &table, filter).await?;
        }
        connection.close().await.map_err(place.failed("closing the database"))?;
        let mut findable = table.key.clone();
        findable.extend(options.correlation.iter().cloned());
        if let Some(missing) = table.key.iter().find(|name| !options.fields.contains(name)) {
            return Err(SyncError::internal(format!("{place}: opened without its key field {missing}")));
        }
        let fields = |names: &[String]| pick(&place, &table, names, &findable);
        Ok(Self {
            fields: fields(&options.fields)?,
            key: fields(&table.key)?,
            correlation: fields(&options.correlation)?,
            database: Database::open(file, Some(table.name.clone()), options.looks).await?,
            table,
            filter,
            consumer: options.consumer,
            capture: options.capture,
            updated_at: options.updated_at,
            overlap: options.overlap,
        })
    }

    fn place(&self) -> &Place {
        &self.database.place
    }

    /// ` AND (filter)`, or nothing.
    fn and_filter(&self) -> String {
        self.filter.as_ref().map(|filter| format!(" AND {filter}")).unwrap_or_default()
    }
}

fn pick(place: &Place, table: &Table, names: &[String], findable: &[String]) -> Result<Fields> {
    Fields::new(table, names, findable).ok_or_else(|| {
        let missing: Vec<&str> = names.iter().filter(|name| table.column(name).is_none()).map(String::as_str).collect();
        place.error(
            ErrorKind::SchemaMismatch,
            "sqlite.no_column",
            format_args!("there is no column {}", missing.join(", ")),
        )
    })
}

async fn check_filter(
    connection: &mut sqlx::SqliteConnection,
    place: &Place,
    table: &Table,
    filter: &str,
) -> Result<()> {
    let sql = format!("SELECT 1 FROM {} WHERE {filter} LIMIT 1", table.quoted());
    connection::rows(connection, sql, Default::default()).await.map(|_| ()).map_err(|error| {
        let message = format!("the filter is not an SQL condition on this table: {}", said(&error));
        place.error(ErrorKind::SchemaMismatch, "sqlite.filter", message)
    })
}
